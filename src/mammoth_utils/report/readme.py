"""The results block of the README, written from committed records and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.report import cells, claims
from mammoth_utils.report.cells import Measured

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def block(given: Iterable[Measured | Mapping[str, Any]]) -> str:
    """The claims table as Markdown, then what was not reproduced and what was not measured."""
    results = claims.evaluate_claims(given)
    lines = [
        "Differences in percentage points between models of the miniature (corrected rule, 95 % interval clustered by",
        "problem family and by seed), beside the paper's own figures at 7B; only sign and size are comparable.",
        "",
        "| | claim | difference | 95 % interval | seeds | verdict | the paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in claims.table(results).to_dict("records"):
        entries = ("claim", "statement", "difference", "95 % interval", "seeds", "verdict", "the paper")
        lines.append("| " + " | ".join(str(row[name]).replace("|", "/") for name in entries) + " |")
    for verdict, title in (
        (claims.NOT_REPRODUCED, "Not reproduced"),
        (claims.CANNOT_TELL, "Cannot tell"),
        (claims.NOT_MEASURED, "Not in the committed records"),
    ):
        found = [one for one in results if one.verdict == verdict]
        if found:
            lines += ["", f"**{title}**", ""]
            lines += [f"- {one.id}: {one.reason}{f' (`{one.command}`)' if one.command else ''}." for one in found]
    return "\n".join(lines) + "\n"


def updated(text: str, given: Iterable[Measured | Mapping[str, Any]]) -> str:
    """A README's text with its results block made anew.

    Raises:
        ValueError: If the markers are not there once each, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected {BEGIN} and, after it, {END}, once each")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{block(given)}{END}{rest.partition(END)[2]}"


def update(file: Path, check: bool = False) -> bool:
    """Whether a README's block agrees with the committed records; without ``check`` it is written if it does not."""
    text = Path(file).read_text(encoding="utf8")
    committed = [one for one in cells.read("miniature") if one.origin == cells.COMMITTED]
    new = updated(text, committed)
    if new != text and not check:
        records.write_text(Path(file), new)
    return new == text
