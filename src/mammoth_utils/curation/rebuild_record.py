"""Committed record of the rebuild: counts, ids and hashes of the real training files, and no question's text.

Made again in a minute on one core, from the folder that ``make data`` fills or ``MAMMOTH_DATA_DIR`` names, by::

    python -m mammoth_utils.curation.rebuild_record --data DIR --out records/real/curate.json
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.command_line import in_one_line
from mammoth_utils.curation import clean_subset, mixtures
from mammoth_utils.curation.benchmark_questions import benchmark_files, load_questions
from mammoth_utils.curation.description import Curation, describe
from mammoth_utils.curation.pipeline import curate
from mammoth_utils.curation.sources.loaders import load_sources
from mammoth_utils.grading import question_stem, question_tokens
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record

COMMITTED = Path("real") / "curate.json"
# The sandbox is left out: what a program prints is Python's to say.
DECIDING = ("curation", "grading")
COMMAND = "python -m mammoth_utils.curation.rebuild_record --data DIR --out records/real/curate.json"
# Overlaps that were counted before: source, benchmark, what was found, and how the texts were compared there.
KNOWN = (
    ("NumGLUE (PoT)", "NumGLUE", "357", "training questions, lower-cased letters and digits"),
    ("NumGLUE (PoT)", "SimulEq", "35", "training questions, lower-cased letters and digits"),
    ("MATH (CoT)", "MATH", "5 to 10", "training questions, by the normalisation"),
    ("MATH (CoT)", "MMLU-Math", "74", "training questions, without their options"),
)


def distill_rebuild(record: Record, description: Curation) -> Record:
    """Return what is committed of a finished rebuild: its record without texts, and ids of what was dropped or touched.

    The sources and the folder that the description names are read.
    """
    loaded = load_sources(description.dataset, description.sources, description.limit, description.seed, False)
    questions = load_questions(description.world)
    dropped: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in records.read_jsonl(description.folder / mixtures.DROPPED):
        dropped[row["source"]][f"{row['stage']}: {row['reason']}"].append(row["history"]["problem"])
    clean = records.read_json(description.folder / clean_subset.CLEAN)
    files = {name: sha for entry in loaded for name, sha in entry.files.items()}
    files |= {f"eval/{file.name}": records.sha256(file) for file in benchmark_files().values()}
    parameters = {key: value for key, value in record["parameters"].items() if key not in ("versions", "teacher")}
    return {
        "schema": records.SCHEMA,
        **{key: record[key] for key in ("page", "world", "name")},
        "parameters": parameters,
        "inputs": {"versions": records.versions(*DECIDING), "files": dict(sorted(files.items()))},
        **{key: record[key] for key in ("sources", "statuses", "rules")},
        "contamination": [
            line for line in record["contamination"] if any(line[f"{rule}_rows"] for rule in record["rules"])
        ],
        "known": known_overlaps({entry.name: [row.problem for row in entry.rationales] for entry in loaded}, questions),
        "touched": {name: _numbers(entry["touched"]) for name, entry in clean["benchmarks_before"].items()},
        "problems": {name: entry["problems"] for name, entry in clean["benchmarks_before"].items()},
        "clean": record["clean"],
        "dropped": {source: dict(reasons) for source, reasons in dropped.items()},
        "mixtures": record["mixtures"],
        "isolation": record["isolation"]["level"],
        **{key: record[key] for key in ("environment", "stages", "seconds")},
    }


def _numbers(touched: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[int]]]:
    """Return, by rule and source, the numbers of the benchmark's problems that the source touches."""
    numbers: dict[str, dict[str, list[int]]] = {}
    for rule, by_id in touched.items():
        sources: dict[str, list[int]] = defaultdict(list)
        for id, names in by_id.items():
            for name in names:
                sources[name].append(int(id.rsplit("/", 1)[1]))
        numbers[rule] = dict(sources)
    return numbers


def known_overlaps(training: dict[str, Sequence[Problem]], benchmarks: dict[str, list[Problem]]) -> list[Record]:
    """Return the overlaps that were counted before, counted again three ways, and what tells the ways apart."""
    overlaps = []
    for source, benchmark, before, how in KNOWN:
        if not training.get(source) or not benchmarks.get(benchmark):
            continue
        pairs = training[source], benchmarks[benchmark]
        ours = _equal_pairs(*pairs, lambda problem: " ".join(question_tokens(question_stem(problem))))
        plain = _equal_pairs(*pairs, lambda problem: letters_and_digits(question_stem(problem)))
        bare = _equal_pairs(*pairs, lambda problem: letters_and_digits(problem.question))
        overlaps.append({
            "source": source, "benchmark": benchmark, "before": before, "how": how, "ours": _counts(ours),
            "letters_and_digits": _counts(plain), "without_options": _counts(bare),
            "only_by_letters_and_digits": [[row.id, test.id, _differing(row, test)]
                                           for row, test in plain if (row, test) not in ours],
            "only_without_options": [[row.id, test.id] for row, test in bare if (row, test) not in plain],
        })  # fmt: skip
    return overlaps


def letters_and_digits(text: str) -> str:
    """Return a text under the loose normalisation of earlier counts, which loses signs and dots."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _equal_pairs(
    training: Iterable[Problem], benchmark: Iterable[Problem], form: Callable[[Problem], str]
) -> list[tuple[Problem, Problem]]:
    by_form: dict[str, list[Problem]] = defaultdict(list)
    for problem in benchmark:
        by_form[form(problem)].append(problem)
    return [(row, test) for row in training for test in by_form.get(form(row), ())]


def _counts(pairs: Sequence[tuple[Problem, Problem]]) -> dict[str, int]:
    return {
        "rows": len({row.id for row, _ in pairs}),
        "training_questions": len({letters_and_digits(row.question) for row, _ in pairs}),
        "benchmark_questions": len({test.id for _, test in pairs}),
    }


def _differing(row: Problem, test: Problem) -> str:
    """Return the words, numbers and signs in which two questions differ: ``- | +``."""
    first, second = question_tokens(question_stem(row)), question_tokens(question_stem(test))
    parts = [f"{' '.join(first[a:b])} | {' '.join(second[c:d])}"
             for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, False).get_opcodes()
             if kind != "equal"]  # fmt: skip
    return "; ".join(parts)[:60]


@in_one_line("not rebuilt")
def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild from the real files and write what is committed of it; return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.rebuild_record", description="Rebuild from the real files into a record."
    )
    parser.add_argument("--data", type=Path, help="folder of real data; MAMMOTH_DATA_DIR, else data/, if left out")
    parser.add_argument("--out", type=Path, required=True, help="the record, such as records/real/curate.json")
    chosen = parser.parse_args(arguments)
    if chosen.data:
        os.environ["MAMMOTH_DATA_DIR"] = str(chosen.data.resolve())
    folder = paths.data()
    if folder is None or not (folder / "eval").is_dir():
        parser.error(f"{chosen.data or 'data/'} has no eval/; `make data` fetches it, or name a folder with --data")
    description = describe("rebuild")
    record = curate(description, say=lambda line: print(line, flush=True))
    file = records.write_items(chosen.out, distill_rebuild(record, description))
    print(f"wrote {chosen.out}, {file.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
