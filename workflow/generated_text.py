"""Writes what the README and the pages draw from committed records: blocks between two markers, and the main figure.

``python workflow/generated_text.py all`` writes the blocks of every file, ``README`` those of the README; ``--check``
only compares them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import introduction_blocks as introduction

from mammoth_utils import audit, paths, records
from mammoth_utils.records import Record
from mammoth_utils.report import claims, development, figures, measured_models, page_svg

EvaluationRecord = measured_models.EvaluationRecord
FILES = {
    "README": "README.md", "index": "book/index.md", "paper": "book/paper.md", "miniature": "book/miniature.md",
    "grading": "book/grading.md", "training": "book/training.md", "real": "book/real_model.md",
}  # fmt: skip
ALL = "all"


def committed_evaluations() -> list[EvaluationRecord]:
    """Return the miniature's committed evaluation records."""
    return [one for one in measured_models.read("miniature") if one.origin == measured_models.COMMITTED]


def results_block(evaluations: Iterable[EvaluationRecord | Mapping[str, Any]]) -> str:
    """Return the claims as a Markdown table, one row a claim: its deciding difference, interval and verdict."""
    results = claims.evaluate_claims(evaluations)
    names = ("points", "95 % interval", "half-width expected", "seeds", "verdict")
    told = claims.table(results).rename(columns={"difference": "points"}).to_dict("records")
    rows = [
        [result.id, result.deciding, *(str(row[name]) for name in names)]
        for result, row in zip(results, told, strict=True)
    ]
    return (
        "Points between models of the miniature (corrected rule, 95 % interval). Each row is the claim's weakest "
        "difference, the one that decides its verdict.\n\n" + _table(("claim", "difference", *names), rows)
    )


def counters_block(evaluations: Iterable[EvaluationRecord | Mapping[str, Any]]) -> str:
    """Return the counter-worlds as a Markdown table: what is otherwise, and what came of the claim there."""
    worlds = {claim.id: claim.counter for claim in claims.CLAIMS if claim.counter}
    rows = [
        (result.id, f"`miniature-{worlds[result.id].variant}`", result.verdict, f"{result.counter}.")
        for result in claims.evaluate_claims(evaluations)
        if result.id in worlds
    ]
    return _table(("claim", "data set", "in the miniature", "in the counter-world"), rows)


def development_block(record: Record) -> str:
    """Return the figures of the development split as a Markdown table, each beside what was required."""
    shares = {name: f"{100 * share:.1f} %" for name, share in record["hybrid"].items()}
    by_benchmark = {name: record["hybrid"][name] for name in measured_models.MINI_BENCHMARKS}
    ends = [f"{100 * share:.1f}" for share in (min(by_benchmark.values()), max(by_benchmark.values()))]
    inside, outside = shares["average in domain"], shares["average out of domain"]
    rows = [
        ("programs on in-domain open questions", "", shares["programs on open questions in domain"]),
        ("prose on the same questions", "", shares["prose on open questions in domain"]),
        ("prose on logic and abstract algebra", "above 20 %", shares["prose on logic and abstract algebra"]),
        ("every benchmark by hybrid decoding", "10 to 95 %", f"{ends[0]} to {ends[1]} %"),
        ("average in domain and out of domain", "", f"{inside} and {outside}"),
    ]  # fmt: skip
    return _table(("measured", "required", "result"), rows)


def widths_block(record: Record) -> str:
    """Return the half-widths that the development split foretells for the claims, as a Markdown table."""
    rows = [
        (claim, part, f"{100 * width:.1f}")
        for claim, parts in record["half_widths"].items()
        for part, width in parts.items()
    ]
    return _table(("claim", "difference", f"half-width expected of {record['seeds']} seeds, points"), rows)


def unmatched_block(record: Record) -> str:
    """Return the benchmarks with golds that no prediction can match, as a Markdown table."""
    counts = audit.tables.unmatched_counts(record).set_index("benchmark")
    rules = ["published rule", "corrected rule"]
    rows = [(name, f"{row['problems']:,}", *(str(row[rule]) for rule in rules)) for name, row in counts.iterrows()]
    return _table(["benchmark", "golds", *rules], [row for row in rows if row[2:] != ("0", "0")])


def agreement_block(record: Record) -> str:
    """Return how often the corrected rule and the authors of stored outputs agree, as a Markdown table."""
    rows = [
        (f"`{row['outputs']}`", row["benchmark"], f"{row['rows']:,}",
         *(f"{row[name]:.2f} %" for name in ("published", "corrected", "authors")), f"{row['judged alike']:.1f} %")
        for row in audit.tables.author_agreement(record).to_dict("records")
    ]  # fmt: skip
    names = ["outputs", "benchmark", "rows", "published rule", "corrected rule", "their authors", "rows judged alike"]
    return _table(names, rows)


def reports_block(record: Record) -> str:
    """Return how graders judge the answers of the kinds that public bug reports name, as a Markdown table."""
    rows = [
        (row["answers"], row["grader"], f"{row['asked']:,}", f"{row['as labelled, %']:.1f} %",
         f"{row['accepts a wrong answer']:,}", f"{row['refuses a right one']:,}")
        for row in audit.tables.reported_answers(record).to_dict("records")
    ]  # fmt: skip
    names = ["answers", "grader", "asked", "as labelled", "accepts a wrong answer", "refuses a right one"]
    return _table(names, rows)


def first_try_block(record: Record) -> str:
    """Return how the corrected rule did on answers that it had not met, in a sentence."""
    tried = audit.tables.reported_answers(record).set_index("grader").loc["corrected rule, first try of later batches"]
    return (
        f"On {tried['asked']:,} answers that it had not met, it gave the reader's label on "
        f"{tried['as labelled, %']:.1f} % at its first try: it accepted {tried['accepts a wrong answer']:,} wrong ones "
        f"and refused {tried['refuses a right one']:,} right ones.\n"
    )


def optimizers_block(record: Record) -> str:
    """Return what moments in 8 bit cost at the miniature and at 100 million weights, in sentences."""
    mini, large = record["miniature"], record["large"]
    percent, difference = mini["percent"], mini["difference"]
    losses = {name: " and ".join(f"{loss:.3f}" for loss in found) for name, found in large["held-out loss"].items()}
    return (
        f"What that costs in quality was measured on a CPU ({record['date']}). The miniature's hybrid model, trained "
        f"with 8-bit moments at {mini['seeds']} seeds, has {percent['adamw_8bit']:.1f} % of the nine mini-benchmarks "
        f"where the committed records of the same seeds have {percent['adamw']:.1f} %: a difference of "
        f"{difference['estimate']:+.1f} points (95 % interval {difference['low']:.1f} to {difference['high']:.1f}). "
        f"{large['parameters'] / 1e6:.0f} million weights that start at random have, after {large['steps']} steps of "
        f"{large['examples a step']} of the miniature's rows, a loss on held-out rows of {losses['adamw_8bit']} where "
        f"32 bit has {losses['adamw']}.\n"
    )


def disagreements_block(judged: audit.JudgedDisagreements) -> str:
    """Return who is right where the corrected rule and Math-Verify disagree, as a Markdown table."""
    counts = judged.counts()
    return _table(counts.columns, counts.astype(str).itertuples(index=False))


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return introduction.table([list(names), *map(list, rows)])


def generated_blocks(target: str) -> dict[str, str]:
    """Return the blocks of one of ``FILES`` by the name of their markers."""
    if target == "grading":
        record = audit.read_audit_record()
        judged = audit.read_judged_disagreements()
        return {"unmatched": unmatched_block(record), "agreement": agreement_block(record),
                "reports": reports_block(record), "disagreements": disagreements_block(judged),
                "first-try": first_try_block(record)}  # fmt: skip
    if target == "training":
        return {"optimizers": optimizers_block(records.read_json(paths.records() / "miniature" / "optimizers.json"))}
    if target == "real":
        return {"cells": introduction.real_cells_block()}
    if target == "README":
        return {"results": introduction.verdicts_block()}
    if target == "index":
        return {"shown": introduction.shown_block(introduction.read_shown()), "verdicts": introduction.verdicts_block()}
    if target == "paper":
        shown = introduction.read_shown()
        return {
            "row": introduction.row_block(shown), "asked": introduction.asked_block(shown),
            "chosen": introduction.chosen_block(shown), "logic": introduction.logic_block(shown),
            "counts": introduction.counts_block(), "published": introduction.published_block(),
            "later": introduction.later_block(), "verdicts": introduction.verdict_counts_block(),
        }  # fmt: skip
    record = development.read()
    if record is None:
        raise SystemExit(
            "no committed record of the development split: workflow/measure_models.py measures the grid "
            "development.yaml, workflow/keep_records.py keeps it"
        )
    return {
        "claims": results_block(committed_evaluations()), "counters": counters_block(committed_evaluations()),
        "bases": introduction.bases_block(),
        "development": development_block(record), "widths": widths_block(record),
    }  # fmt: skip


def replace_block(text: str, name: str, block: str) -> str:
    """Return a text with a block between its two markers replaced.

    Raises:
        ValueError: If the two markers do not stand there once each, in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected {begin} and, after it, {end}, once each")
    before, _, rest = text.partition(begin)
    separator = "\n\n" if block[:1] in "|>:-*" else "\n"  # Markdown ends a paragraph of HTML only behind an empty line
    return f"{before}{begin}{separator}{block}{separator[1:]}{end}{rest.partition(end)[2]}"


def update(target: str, file: Path | None = None, check: bool = False) -> bool:
    """Return whether the blocks of a file agree with the committed records; write them if not, unless ``check`` is set.

    Args:
        target: One of ``FILES``.
        file: Another file than the project's.
        check: Write nothing.
    """
    file = Path(file or paths.root() / FILES[target])
    text = new = file.read_text(encoding="utf8")
    for name, block in generated_blocks(target).items():
        new = replace_block(new, name, block)
    if new != text and not check:
        records.write_text(file, new)
    return new == text


def write_main_figure(file: Path) -> None:
    """Draw the README's main figure from committed records, and beside it as SVG for the book's first page.

    Raises:
        SystemExit: If there is no committed record of the miniature.
    """
    evaluations = committed_evaluations()
    if not evaluations:
        raise SystemExit("no committed record of the miniature to draw; `make book-full` makes them")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure = figures.main_figure(evaluations)
    figure.savefig(file, metadata={"Software": None})
    file.with_suffix(".svg").write_text(page_svg(figure) + "\n", encoding="utf8")
    print(f"{file.name}: drawn from {len(evaluations)} committed records")


def main(arguments: list[str] | None = None) -> int:
    """Write or check one target; return 1 where ``--check`` finds a block out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*FILES, ALL, "figure"], help="what to write")
    parser.add_argument("--file", type=Path, help="another file than the project's own")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a block is out of date")
    options = parser.parse_args(arguments)
    if options.target == "figure":
        write_main_figure(options.file or paths.root() / "book" / "_static" / "main_figure.png")
        return 0
    if options.target == ALL and options.file:
        parser.error("--file takes one target")
    states = {target: update(target, options.file, options.check)
              for target in (FILES if options.target == ALL else [options.target])}  # fmt: skip
    for target, current in states.items():
        stale = f"out of date; run `python workflow/generated_text.py {target}`" if options.check else "written"
        print(f"{target}: {'up to date' if current else stale}")
    return int(options.check and not all(states.values()))


if __name__ == "__main__":
    sys.exit(main())
