"""The audit's record: golds, overlaps and graders, measured over the benchmarks of one world.

``python -m mammoth_utils.audit`` makes the committed record of the real benchmarks in some five minutes on one core;
where Math-Verify's verdicts are stored it takes less.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.audit import golds, lm_eval_harness, overlaps, worked_solutions
from mammoth_utils.audit.grader_comparison import compare_graders
from mammoth_utils.audit.math_verify_client import (
    WRAPPER,
    MathVerify,
    answer_form,
    open_fresh_math_verify,
    open_math_verify,
)
from mammoth_utils.audit.reported_cases import compare_on_reports
from mammoth_utils.curation import contamination
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.grading import benchmark_named, corrected_gold, question_stem
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record

COMMITTED = "real/audit.json"
COMMAND = f"python -m mammoth_utils.audit --data DIR --out records/{COMMITTED}"
DECIDING = ("audit", "grading")  # the packages whose versions the record keeps
# Training sources as far as they are public: files below the data folder, with the key of the question.
TRAINING_FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "GSM8K": (("train/gsm8k_train.jsonl.gz", "question"),),
    "MATH": (("train/math_train.jsonl.gz", "problem"), ("train/math_train_no_solution.jsonl", "problem")),
    "AQuA-RAT": (("train/aqua_train_flan_as_aqua.jsonl.gz", "question"),),
    "MathQA": (("train/lila_mathqa_gain.jsonl.gz", "Input"), ("train/mathqa_dev.jsonl.gz", "Problem"),
               ("train/mathqa_test.jsonl.gz", "Problem"), ("train/mathqa_challenge_test.jsonl.gz", "Problem")),
    "NumGLUE": (("train/numglue_pot_from_htl.jsonl.gz", "question"),),
    "TheoremQA": (("eval/theoremqa.jsonl", "Question"),),
}  # fmt: skip


def read_audit_record() -> Record:
    """Return the committed record of the real benchmarks."""
    return records.committed(COMMITTED, COMMAND)


def measure_audit(
    world: str,
    benchmarks: str | Sequence[str] = "all",
    data_dir: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    store: Path | None = None,
) -> Record:
    """Return the audit of a world as a record.

    The graders are compared on every file of ``outputs/`` in the data folder, and in the miniature on the correct
    rationales of its benchmarks, which every grader should accept.

    Args:
        world: ``"real"`` or ``"miniature"``.
        benchmarks: ``"all"`` (in the real world with TheoremQA), or names.
        store: File of Math-Verify's verdicts; None takes a file below ``runs/audit``.

    Raises:
        FileNotFoundError: If the real data is missing.
    """
    started = time.perf_counter()
    names = sets.names(world) if benchmarks == "all" else sets.resolve(benchmarks, world)
    problems = {name: sets.load(name, data_dir=data_dir) for name in names}
    files = sorted((data_dir / "outputs").glob("*.jsonl.gz")) if world == "real" and data_dir is not None else []
    with open_math_verify(store) as verifier:
        entries = {}
        for name, rows in problems.items():
            entries[name] = audit_benchmark(name, rows, data_dir, verifier)
            say(f"{name}: {len(rows)} golds, {sum(entries[name]['flags'].values())} findings")
        index = overlaps.question_index(problems)
        shared = [
            {"first": first, "second": second, "pairs": [[_row(a), _row(b), agree] for a, b, agree in pairs]}
            for (first, second), pairs in overlaps.find_shared(index).items()
        ]
        training = list(training_overlaps(world, index, data_dir))
        say(f"overlaps: {len(shared)} pairs of benchmarks, {len(training)} pairs of a source and a benchmark")
        compared = []
        if world == "miniature":
            with tempfile.TemporaryDirectory() as folder:
                file = records.write_jsonl(Path(folder) / "right-rationales.jsonl", correct_completions(names))
                compared = [compare_graders(file, verifier)]
        reports = {}
        if world == "real":
            with open_fresh_math_verify() as fresh:
                reports = compare_on_reports(fresh)
        for file in files:
            compared.append(compare_graders(file, verifier, names))
            say(f"{file.name}: {compared[-1]['rows']} rows, graders differ on {len(compared[-1]['differing'])}")
    timed_out = sum(marks.count("t") for file in compared for marks in file["marks"].values())
    return {
        "schema": records.SCHEMA,
        "page": "audit",
        "world": world,
        "inputs": {
            "versions": records.versions(*DECIDING),
            "files": _input_hashes(names, data_dir, files) if world == "real" else {},
        },
        "graders": {
            "math-verify": {"version": verifier and verifier.version, "wrapper": WRAPPER, "hung": timed_out},
            "lm-evaluation-harness": {"read_at": list(lm_eval_harness.READ_AT)},
        },
        "benchmarks": entries,
        "shared": shared,
        "training": training,
        "outputs": compared,
        "reports": reports,
        "environment": records.environment(threads=1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _row(problem_id: str) -> int:
    return int(problem_id.rsplit("/", 1)[1])


def audit_benchmark(
    name: str, problems: Sequence[Problem], data_dir: Path | None, verifier: MathVerify | None
) -> Record:
    """Return the part of the record on one benchmark: its golds, their acceptance by each grader, findings, repeats."""
    about = sets.info(name)
    real = about.world == "real"
    rows = list(records.read_jsonl(sets.file(name, data_dir))) if real else [{}] * len(problems)
    check_solution = worked_solutions.CHECKS.get(name) if real else None
    kinds, accepts, refused, verbatim, findings = Counter(), {}, [], [], []
    for problem, row in zip(problems, rows, strict=True):
        kinds[golds.gold_kind(problem, about.rules)] += 1
        acceptance = golds.acceptance(problem, about.rules)
        if verifier:
            benchmark = benchmark_named(about.rules, problem.options)
            gold = corrected_gold(problem.gold, benchmark)
            accepted = verifier.judge(answer_form(benchmark, gold), gold, gold)[0] == "1"
            acceptance["math_verify"] = golds.ACCEPTS if accepted else golds.NEVER
        for grader, status in acceptance.items():
            accepts.setdefault(grader, Counter())[status] += 1
        if refusing := [grader for grader, status in acceptance.items() if status != golds.ACCEPTS]:
            refused.append([_row(problem.id), problem.gold, refusing])
        if golds.gold_matches_as_text_only(problem, about.rules):
            verbatim.append([_row(problem.id), problem.gold])
        of_problem = [
            *golds.check_gold(problem, about.rules),
            *(check_solution(problem, row) if check_solution else ()),
        ]
        findings += [[_row(finding.problem), finding.flag, finding.detail] for finding in dict.fromkeys(of_problem)]
    repeats = overlaps.find_repeats(problems)
    for group in repeats:
        if not group.agree:
            findings += [[_row(problem), "other gold", " | ".join(group.golds)] for problem in group.ids]
    return {
        "paper_name": about.paper_name,
        "in_domain": about.in_domain,
        "choice": about.choice,
        "n": len(problems),
        "kinds": dict(kinds.most_common()),
        "accepts": {grader: dict(counts) for grader, counts in accepts.items()},
        "flags": dict(Counter(flag for _, flag, _ in findings)),
        "refused": refused,
        "verbatim": verbatim,
        "findings": sorted(findings),
        "repeats": [[[_row(problem) for problem in group.ids], list(group.golds), group.agree] for group in repeats],
    }


def training_questions(world: str, data_dir: Path | None) -> Iterator[tuple[str, list[str]]]:
    """Yield each training source of a world with its questions."""
    if world == "miniature":
        from mammoth_utils.miniature import sources

        for name in sources.SOURCES:
            yield name, [question_stem(truth.problem) for truth in sources.truths(name)]
        return
    for source, files in TRAINING_FILES.items():
        present = [(data_dir / name, key) for name, key in files if (data_dir / name).is_file()]
        if present:
            rows = (row[key] for file, key in present for row in records.read_jsonl(file))
            yield source, [question.split("\nAnswer Choices:")[0] for question in rows]


def training_overlaps(world: str, index: contamination.BenchmarkIndex, data_dir: Path | None) -> Iterator[Record]:
    """Yield the part of the record on each training source and benchmark that have a question in common."""
    for source, questions in training_questions(world, data_dir):
        for name, overlap in overlaps.find_in_training(index, questions).items():
            if source == sets.info(name).paper_name == "TheoremQA":
                continue  # the same set, as a benchmark and as a source
            if overlap.equal_rows or overlap.near_rows:
                yield {
                    "source": source,
                    "benchmark": name,
                    "rows": overlap.rows,
                    "equal_rows": overlap.equal_rows,
                    "near_rows": overlap.near_rows,
                    "equal": sorted(map(_row, overlap.equal)),
                    "near": sorted(map(_row, overlap.near)),
                }


def correct_completions(names: Sequence[str]) -> Iterator[Record]:
    """Yield the correct rationales of the miniature's problems as completions, prose and programs."""
    from mammoth_utils.miniature import benchmarks as miniature

    for name in names:
        for truth in miniature.truths(name):
            problem = truth.problem
            options = list(problem.options) if problem.options else None
            row = {"benchmark": name, "question": problem.question, "gold": problem.gold, "options": options}
            for kind, rationale in (("cot", truth.cot), ("pot", truth.pot)):
                if rationale is not None:
                    yield {**row, "id": f"{problem.id}/{kind}", "kind": kind, "completion": rationale}


def _input_hashes(names: Sequence[str], data_dir: Path | None, outputs: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of every file that was read, by its path below the data folder."""
    files = [sets.file(name, data_dir) for name in names]
    files += [data_dir / name for of in TRAINING_FILES.values() for name, _ in of if (data_dir / name).is_file()]
    files += outputs
    return {
        file.relative_to(data_dir).as_posix() if file.is_relative_to(data_dir) else file.name: records.sha256(file)
        for file in {file.resolve(): file for file in files}.values()
    }
