"""The clean part of each benchmark, which a curated set leaves untouched, and a finished evaluation's scores on it.

``python -m mammoth_utils.curation.clean_part runs/evaluate/NAME runs/curate/NAME --rule near`` computes the scores again on
the clean problems alone; nothing is decoded or graded anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import records

CLEAN = "clean.json"
GRADED_BY = ("published", "corrected")


def clean_counts(clean: dict[str, Any]) -> list[dict[str, Any]]:
    """Per benchmark, its problems and how many of them the kept rows leave clean under each rule."""
    return [
        {"benchmark": key, "name": one["name"], "problems": one["problems"],
         **{rule: len(ids) for rule, ids in one["clean"].items()}}
        for key, one in clean["benchmarks"].items()
    ]  # fmt: skip


def clean_ids(folder: Path, benchmark: str, rule: str, sources: Iterable[str] | None = None) -> tuple[str, ...]:
    """The problems of a benchmark that a curated set leaves untouched, in the benchmark's order.

    A score on these alone is a score on the clean part. The ids are the evaluation's, so its items can be picked by
    them.

    Args:
        folder: A finished curation, with its ``clean.json``.
        benchmark: Such as ``"numglue"`` or ``"mini-numglue"``.
        rule: One of ``contamination.rules()``.
        sources: Count only what these sources touch, for a model that was trained on them; None counts all.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such benchmark, rule or source, naming those it has.
        TypeError: If ``sources`` is one text and no list of names.
    """
    told = _told(folder, sources)
    if benchmark not in told["benchmarks"]:
        raise ValueError(f"unknown benchmark {benchmark!r}; known: {', '.join(told['benchmarks'])}")
    found = told["benchmarks"][benchmark]
    if rule not in found["clean"]:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(found['clean'])}")
    if sources is None:
        return tuple(found["clean"][rule])
    wanted, touched = set(sources), found["touched"][rule]
    spared = [id for id, by in touched.items() if wanted.isdisjoint(by)]
    return tuple(sorted([*found["clean"][rule], *spared], key=lambda id: int(id.rsplit("/", 1)[1])))


def _told(folder: Path, sources: Iterable[str] | None) -> dict[str, Any]:
    """The content of a ``clean.json``, if the sources asked for are among those that it is about."""
    file = Path(folder) / CLEAN
    told = records.read_json(file)
    if sources is None:
        return told
    if isinstance(sources, str):
        raise TypeError(f"expected a list of sources, got the text {sources!r}; write [{sources!r}]")
    if "sources" not in told:
        raise ValueError(f"{file} does not say which sources it is about: older code made it; curate the set again")
    if unknown := [name for name in sources if name not in told["sources"]]:
        raise ValueError(f"unknown source {', '.join(map(repr, unknown))}; known: {', '.join(told['sources'])}")
    return told


def scores(
    evaluation: Mapping[str, Any],
    folder: Path,
    rule: str = "equal",
    sources: Sequence[str] | None = None,
    graded_by: str = "corrected",
) -> list[dict[str, Any]]:
    """A finished evaluation's scores on the clean part of each benchmark, beside those on the whole.

    Args:
        evaluation: The record of an evaluation.
        folder: The curation that the model was trained on.
        rule: One of ``contamination.rules()``: which problems the set touches.
        sources: Count only what these sources touch; None counts all.
        graded_by: Whose verdicts are counted, one of ``GRADED_BY``.

    Returns:
        For each benchmark ``problems``, ``correct`` and ``accuracy`` of the evaluation's items, and the same of its
        clean ones as ``clean``, ``clean_correct`` and ``clean_accuracy``: None where the set was not compared with
        that benchmark, or where no clean item is left.

    Raises:
        ValueError: If record and curation are of different worlds, an item is none of the benchmark's, or a rule,
            source or grading is unknown.
    """
    told = _told(folder, sources)
    if graded_by not in GRADED_BY:
        raise ValueError(f"unknown grading {graded_by!r}; known: {', '.join(GRADED_BY)}")
    if evaluation["world"] not in told["world"].split("+"):
        raise ValueError(f"expected an evaluation of the world {told['world']!r} as {folder} is, got one of "
                         f"{evaluation['world']!r}")  # fmt: skip
    found = []
    for name, one in evaluation["benchmarks"].items():
        items = one["items"]
        right = dict(zip(items["ids"], (mark == "1" for mark in items[graded_by]), strict=True))
        line = {"benchmark": name, **_share(right, "problems", "correct", "accuracy"),
                "clean": None, "clean_correct": None, "clean_accuracy": None}  # fmt: skip
        if name in told["benchmarks"]:
            clean, known = set(clean_ids(folder, name, rule, sources)), told["benchmarks"][name]
            if unknown := right.keys() - known["clean"][rule] - known["touched"][rule].keys():
                raise ValueError(f"{folder} was compared with another {name}: it has no problem {min(unknown)}")
            picked = {id: verdict for id, verdict in right.items() if id in clean}
            line |= _share(picked, "clean", "clean_correct", "clean_accuracy")
        found.append(line)
    return found


def _share(right: Mapping[str, bool], count: str, correct: str, accuracy: str) -> dict[str, Any]:
    return {
        count: len(right),
        correct: sum(right.values()),
        accuracy: sum(right.values()) / len(right) if right else None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores on the clean part of each benchmark; 1 if they cannot be computed."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.clean_part", description="Scores on the clean part of each benchmark."
    )
    parser.add_argument("evaluation", type=Path, help="folder of a finished evaluation, or its record")
    parser.add_argument("curation", type=Path, help="folder of the curated set that the model was trained on")
    parser.add_argument("--rule", default="equal", help="which problems count as touched: equal, near, ngram_8, ...")
    parser.add_argument("--sources", help="count only what these sources touch, with commas between them")
    parser.add_argument("--graded-by", default="corrected", choices=GRADED_BY, help="whose verdicts")
    chosen = parser.parse_args(arguments)
    file = chosen.evaluation / "record.json" if chosen.evaluation.is_dir() else chosen.evaluation
    sources = [name.strip() for name in chosen.sources.split(",")] if chosen.sources else None
    try:
        found = scores(records.read_json(file), chosen.curation, chosen.rule, sources, chosen.graded_by)
    except (FileNotFoundError, ValueError) as error:
        print(f"not computed: {error}", file=sys.stderr)
        return 1
    print(f"{'benchmark':<16}{'all':>8}{'accuracy':>10}{'clean':>8}{'accuracy':>10}")
    for one in found:
        whole, part = (f"{one[key]:.1%}" if one[key] is not None else "-" for key in ("accuracy", "clean_accuracy"))
        count = "-" if one["clean"] is None else f"{one['clean']:,}"
        print(f"{one['benchmark']:<16}{one['problems']:>8,}{whole:>10}{count:>8}{part:>10}")
    if unseen := [one["benchmark"] for one in found if one["clean"] is None]:
        print(f"not compared with the set, so nothing is known of: {', '.join(unseen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
