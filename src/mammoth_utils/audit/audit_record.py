"""The audit: golds, repeats and graders measured over a world's benchmarks, and the record that keeps it.

The committed record of the real sets is made again by::

    python -m mammoth_utils.audit --data DIR --out records/real/audit.json

in some five minutes on one core, fewer where Math-Verify's verdicts are remembered; the record keeps the seconds.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.audit import golds, lm_eval_harness, overlaps, worked_solutions
from mammoth_utils.audit.grader_comparison import compared
from mammoth_utils.audit.math_verify_client import WRAPPER, MathVerify, form_of, installed
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.grading import question_stem
from mammoth_utils.grading.benchmarks import benchmark_named
from mammoth_utils.grading.verdicts import corrected_gold
from mammoth_utils.rationale import Problem

COMMITTED = Path("real") / "audit.json"
COMMAND = "python -m mammoth_utils.audit --data DIR --out records/real/audit.json"
DECIDING = ("audit", "grading")
# Training sources as far as they are public: the file below the data folder, and the key of its question.
TRAINING: dict[str, tuple[tuple[str, str], ...]] = {
    "GSM8K": (("train/gsm8k_train.jsonl.gz", "question"),),
    "MATH": (("train/math_train.jsonl.gz", "problem"), ("train/math_train_no_solution.jsonl", "problem")),
    "AQuA-RAT": (("train/aqua_train_flan_as_aqua.jsonl.gz", "question"),),
    "MathQA": (("train/lila_mathqa_gain.jsonl.gz", "Input"), ("train/mathqa_dev.jsonl.gz", "Problem"),
               ("train/mathqa_test.jsonl.gz", "Problem"), ("train/mathqa_challenge_test.jsonl.gz", "Problem")),
    "NumGLUE": (("train/numglue_pot_from_htl.jsonl.gz", "question"),),
    "TheoremQA": (("eval/theoremqa.jsonl", "Question"),),
}  # fmt: skip
Say = Callable[[str], None]


@contextlib.contextmanager
def verifier(store: Path | None = None) -> Iterator[MathVerify | None]:
    """Math-Verify with its verdicts remembered in a file, by default below ``runs/audit``; None if not installed."""
    version = installed()
    if version is None:
        yield None
        return
    with MathVerify(store or paths.runs() / "audit" / f"math-verify-{version}-{WRAPPER}.jsonl") as verify:
        yield verify


def measure(
    world: str,
    benchmarks: str | Sequence[str] = "all",
    data_dir: Path | None = None,
    outputs: Sequence[Path] | None = None,
    say: Say = lambda line: None,
    store: Path | None = None,
) -> dict[str, Any]:
    """The audit of a world as a record.

    Args:
        world: ``"real"`` or ``"miniature"``.
        benchmarks: ``"all"`` (in the real world TheoremQA too), or names.
        data_dir: Folder of the real data.
        outputs: Files of stored completions; None takes every file of ``outputs/`` in the data folder, and in the
            miniature the right rationales of its benchmarks, which every grader should accept.
        say: Called with a line of progress.
        store: Where Math-Verify's verdicts are remembered; None takes a file below ``runs/audit``.

    Raises:
        FileNotFoundError: If the real data is not there.
    """
    started = time.perf_counter()
    names = sets.names(world) if benchmarks == "all" else sets.resolve(benchmarks, world)
    problems = {name: sets.load(name, data_dir=data_dir) for name in names}
    with verifier(store) as verify:
        entries = {}
        for name, found in problems.items():
            entries[name] = _benchmark(name, found, data_dir, verify)
            say(f"{name}: {len(found)} golds, {sum(entries[name]['flags'].values())} findings")
        questions = {name: overlaps.Questions(found) for name, found in problems.items()}
        shared = [
            {"first": one, "second": other, "pairs": [[_at(a), _at(b), same] for a, b, same in pairs]}
            for (one, other), pairs in overlaps.all_shared(questions).items()
        ]
        training = list(_training(world, questions, data_dir))
        say(f"overlaps: {len(shared)} pairs of benchmarks, {len(training)} of a source and a benchmark")
        files = list(_outputs(world, names, data_dir, outputs, verify, say))
    return {
        "schema": records.SCHEMA,
        "page": "audit",
        "world": world,
        "inputs": {
            "versions": records.versions(*DECIDING),
            "files": _inputs(world, names, data_dir, outputs),
        },
        "graders": {
            "math-verify": {"version": installed(), "wrapper": WRAPPER, "hung": sum(_hung(one) for one in files)},
            "lm-evaluation-harness": {"read_at": list(lm_eval_harness.READ_AT)},
        },
        "benchmarks": entries,
        "shared": shared,
        "training": training,
        "outputs": files,
        "environment": records.environment(threads=1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _hung(file: dict[str, Any]) -> int:
    """Questions of a file of outputs on which Math-Verify was killed."""
    return sum(marks.count("t") for marks in file["marks"].values())


def _at(problem_id: str) -> int:
    return int(problem_id.rsplit("/", 1)[1])


def _benchmark(
    name: str, problems: Sequence[Problem], data_dir: Path | None, verify: MathVerify | None
) -> dict[str, Any]:
    """One benchmark's golds: their kinds, what each grader accepts of them, findings and repeats."""
    about = sets.info(name)
    rows = list(records.read_jsonl(sets.file(name, data_dir))) if about.world == "real" else [{}] * len(problems)
    check = worked_solutions.CHECKS.get(name) if about.world == "real" else None
    kinds, accepts, refused, verbatim, findings = Counter(), {}, [], [], []
    for problem, row in zip(problems, rows, strict=True):
        kinds[golds.kind_of_gold(problem, about.rules)] += 1
        found = golds.acceptances(problem, about.rules)
        if verify:
            known = benchmark_named(about.rules, problem.options)
            gold = corrected_gold(problem.gold, known)
            accepted = verify.verdict(form_of(known, gold), gold, gold)[0] == "1"
            found["math_verify"] = golds.ACCEPTS if accepted else golds.NEVER
        for grader, status in found.items():
            accepts.setdefault(grader, Counter())[status] += 1
        if set(found.values()) != {golds.ACCEPTS}:
            refused.append([_at(problem.id), problem.gold, [one for one, s in found.items() if s != golds.ACCEPTS]])
        if golds.only_as_written(problem, about.rules):
            verbatim.append([_at(problem.id), problem.gold])
        raised = [*golds.flags(problem, about.rules), *(check(problem, row) if check else ())]
        findings += [[_at(one.problem), one.flag, one.detail] for one in dict.fromkeys(raised)]
    groups = overlaps.repeats(problems)
    for group in groups:
        if not group.agree:
            findings += [[_at(one), "other gold", " | ".join(group.golds)] for one in group.ids]
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
        "repeats": [[[_at(one) for one in group.ids], list(group.golds), group.agree] for group in groups],
    }


def training_questions(world: str, data_dir: Path | None) -> Iterator[tuple[str, list[str]]]:
    """The questions of each training source of a world, one a row."""
    if world == "miniature":
        from mammoth_utils.miniature import sources

        for name in sources.SOURCES:
            yield name, [question_stem(one.problem) for one in sources.truths(name)]
        return
    for source, files in TRAINING.items():
        there = [(data_dir / name, key) for name, key in files if (data_dir / name).is_file()]
        if there:
            rows = (row[key] for file, key in there for row in records.read_jsonl(file))
            yield source, [question.split("\nAnswer Choices:")[0] for question in rows]


def _training(world: str, questions: dict[str, overlaps.Questions], data_dir: Path | None) -> Iterator[dict[str, Any]]:
    for source, rows in training_questions(world, data_dir):
        for name, known in questions.items():
            if source == sets.info(name).paper_name == "TheoremQA":
                continue  # a benchmark that is itself a source
            found = overlaps.in_training(known, rows)
            if found["equal_rows"] or found["near_rows"]:
                places = {key: [_at(one) for one in found[key]] for key in ("equal", "near")}
                yield {"source": source, "benchmark": name, **found, **places}


def _outputs(
    world: str, names: Sequence[str], data_dir: Path | None, outputs: Sequence[Path] | None,
    verify: MathVerify | None, say: Say,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    if world == "miniature" and outputs is None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "right-rationales.jsonl"
            records.write_jsonl(file, right_rationales(names))
            yield compared(file, verify)
        return
    for file in outputs if outputs is not None else stored_outputs(data_dir):
        yield (found := compared(file, verify, names if outputs is None else None))
        say(f"{found['file']}: {found['rows']} rows, {len(found['differing'])} on which graders differ")


def stored_outputs(data_dir: Path | None) -> list[Path]:
    """The files of stored completions in a data folder, by name."""
    return sorted((data_dir / "outputs").glob("*.jsonl.gz")) if data_dir is not None else []


def right_rationales(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The miniature's right rationales as completions: prose for every problem, a program where there is one."""
    from mammoth_utils.miniature import benchmarks as miniature

    for name in names:
        for true in miniature.truths(name):
            shown = {"benchmark": name, "question": true.problem.question, "gold": true.problem.gold}
            shown["options"] = list(true.problem.options) if true.problem.options else None
            for kind, text in (("cot", true.cot), ("pot", true.pot)):
                if text is not None:
                    yield {**shown, "id": f"{true.problem.id}/{kind}", "kind": kind, "completion": text}


def _inputs(world: str, names: Sequence[str], data_dir: Path | None, outputs: Sequence[Path] | None) -> dict[str, str]:
    """The SHA-256 of every file that was read, by its name below the data folder."""
    if world == "miniature":
        return {}
    listed = [sets.file(name, data_dir) for name in names]
    listed += [data_dir / name for files in TRAINING.values() for name, _ in files if (data_dir / name).is_file()]
    listed += list(outputs if outputs is not None else stored_outputs(data_dir))
    inside = {file.resolve(): file for file in listed}
    return {
        file.relative_to(data_dir).as_posix() if file.is_relative_to(data_dir) else file.name: records.sha256(file)
        for file in inside.values()
    }
