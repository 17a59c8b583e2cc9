"""The clean subset of each benchmark, which a curated set does not touch, and a finished evaluation's scores on it.

``python -m mammoth_utils.curation.clean_subset runs/evaluate/NAME runs/curate/NAME --rule near`` computes the scores
again on the clean problems alone; nothing is decoded or graded anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.command_line import in_one_line
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MARKS, RULES, check_known

CLEAN = "clean.json"


def clean_counts(clean: Record) -> list[Record]:
    """Return, per benchmark, its problems and how many of them the kept rows leave clean under each rule."""
    return [
        {"benchmark": key, "name": entry["name"], "problems": entry["problems"],
         **{rule: len(ids) for rule, ids in entry["clean"].items()}}
        for key, entry in clean["benchmarks"].items()
    ]  # fmt: skip


def clean_ids(folder: Path, benchmark: str, rule: str, sources: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the ids of a benchmark's problems that a curated set does not touch, in the benchmark's order.

    They are the evaluation's ids, so its items can be picked by them.

    Args:
        benchmark: Such as ``"numglue"`` or ``"mini-numglue"``.
        rule: One of ``contamination.rules()``.
        sources: Count only what these sources touch, for a model that was trained on them; None counts all.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such benchmark, rule or source, naming those it has.
        TypeError: If ``sources`` is one text and no list of names.
    """
    clean = _read_clean(folder, sources)
    check_known("benchmark", benchmark, clean["benchmarks"])
    entry = clean["benchmarks"][benchmark]
    check_known("rule", rule, entry["clean"])
    if sources is None:
        return tuple(entry["clean"][rule])
    counted, touched = set(sources), entry["touched"][rule]
    untouched = [id for id, names in touched.items() if counted.isdisjoint(names)]
    return tuple(sorted([*entry["clean"][rule], *untouched], key=lambda id: int(id.rsplit("/", 1)[1])))


def _read_clean(folder: Path, sources: Iterable[str] | None) -> Record:
    """Return the content of a ``clean.json``, if the sources asked for are among those that it is about."""
    file = Path(folder) / CLEAN
    if not file.is_file():
        raise FileNotFoundError(
            f"expected {file}, found none: these rows were not compared with the benchmarks; the page `curate` does so"
        )
    clean = records.read_json(file)
    if sources is None:
        return clean
    if isinstance(sources, str):
        raise TypeError(f"expected a list of sources, got the text {sources!r}; write [{sources!r}]")
    if "sources" not in clean:
        raise ValueError(f"{file} does not say which sources it is about: older code made it; curate the set again")
    if unknown := [name for name in sources if name not in clean["sources"]]:
        raise ValueError(f"unknown source {', '.join(map(repr, unknown))}; known: {', '.join(clean['sources'])}")
    return clean


def score_clean_subset(
    evaluation: Record,
    folder: Path,
    rule: str = "equal",
    sources: Sequence[str] | None = None,
    graded_by: str = "corrected",
) -> list[Record]:
    """Return a finished evaluation's scores on the clean subset of each benchmark, beside those on the whole.

    Args:
        folder: The curation that the model was trained on.
        rule: One of ``contamination.rules()``: which problems the set touches.
        sources: Count only what these sources touch; None counts all.
        graded_by: Whose verdicts are counted, one of ``RULES``.

    Returns:
        For each benchmark ``problems``, ``correct`` and ``accuracy`` of the evaluation's items, and the same of its
        clean ones as ``clean``, ``clean_correct`` and ``clean_accuracy``: None where the set was not compared with
        that benchmark, or where no clean item is left.

    Raises:
        ValueError: If record and curation are of different worlds, an item is none of the benchmark's, or a rule,
            source or grading is unknown.
    """
    clean = _read_clean(folder, sources)
    check_known("grading", graded_by, RULES)
    if not isinstance(evaluation, dict) or not {"world", "benchmarks"} <= set(evaluation):
        raise ValueError("expected the record of a finished evaluation, with its world and benchmarks")
    if evaluation["world"] not in clean["world"].split("+"):
        raise ValueError(f"expected an evaluation of the world {clean['world']!r} as {folder} is, got one of "
                         f"{evaluation['world']!r}")  # fmt: skip
    lines = []
    for name, scores in evaluation["benchmarks"].items():
        items = scores["items"]
        right = dict(zip(items["ids"], (mark == MARKS["correct"] for mark in items[graded_by]), strict=True))
        line = {"benchmark": name, **_share(right, "problems", "correct", "accuracy"),
                "clean": None, "clean_correct": None, "clean_accuracy": None}  # fmt: skip
        if name in clean["benchmarks"]:
            ids, known = set(clean_ids(folder, name, rule, sources)), clean["benchmarks"][name]
            if unknown := right.keys() - known["clean"][rule] - known["touched"][rule].keys():
                raise ValueError(f"{folder} was compared with another {name}: it has no problem {min(unknown)}")
            picked = {id: verdict for id, verdict in right.items() if id in ids}
            line |= _share(picked, "clean", "clean_correct", "clean_accuracy")
        lines.append(line)
    return lines


def _share(right: Mapping[str, bool], count: str, correct: str, accuracy: str) -> Record:
    return {
        count: len(right),
        correct: sum(right.values()),
        accuracy: sum(right.values()) / len(right) if right else None,
    }


@in_one_line("not computed")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores on the clean subset of each benchmark; return 1 if they cannot be computed."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.clean_subset",
        description="Scores on the clean subset of each benchmark.",
    )
    parser.add_argument("evaluation", type=Path, help="folder of a finished evaluation, or its record")
    parser.add_argument("curation", type=Path, help="folder of the curated set that the model was trained on")
    parser.add_argument("--rule", default="equal", help="which problems count as touched: equal, near, ngram_8, ...")
    parser.add_argument("--sources", help="count only what these sources touch, with commas between them")
    parser.add_argument("--graded-by", default="corrected", choices=RULES, help="whose verdicts")
    chosen = parser.parse_args(arguments)
    file = chosen.evaluation / "record.json" if chosen.evaluation.is_dir() else chosen.evaluation
    sources = [name.strip() for name in chosen.sources.split(",")] if chosen.sources else None
    lines = score_clean_subset(records.read_json(file), chosen.curation, chosen.rule, sources, chosen.graded_by)
    print(f"{'benchmark':<16}{'all':>8}{'accuracy':>10}{'clean':>8}{'accuracy':>10}")
    for line in lines:
        whole, part = (f"{line[key]:.1%}" if line[key] is not None else "-" for key in ("accuracy", "clean_accuracy"))
        count = "-" if line["clean"] is None else f"{line['clean']:,}"
        print(f"{line['benchmark']:<16}{line['problems']:>8,}{whole:>10}{count:>8}{part:>10}")
    if unseen := [line["benchmark"] for line in lines if line["clean"] is None]:
        print(f"not compared with the set, so nothing is known of: {', '.join(unseen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
