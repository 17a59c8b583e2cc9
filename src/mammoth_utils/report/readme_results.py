"""The results block of the README, written from committed records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.report import claims, measured_models
from mammoth_utils.report.measured_models import EvaluationRecord

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def committed_evaluations() -> list[EvaluationRecord]:
    """Return the miniature's committed evaluation records."""
    return [one for one in measured_models.read("miniature") if one.origin == measured_models.COMMITTED]


def results_block(evaluations: Iterable[EvaluationRecord | Mapping[str, Any]]) -> str:
    """Return the claims table as Markdown, then the claims that are not reproduced, undecided or not measured."""
    results = claims.evaluate_claims(evaluations)
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
        listed = [result for result in results if result.verdict == verdict]
        if listed:
            lines += ["", f"**{title}**", ""]
            lines += [f"- {r.id}: {r.reason}{f' (`{r.command}`)' if r.command else ''}." for r in listed]
    return "\n".join(lines) + "\n"


def replace_block(text: str, evaluations: Iterable[EvaluationRecord | Mapping[str, Any]]) -> str:
    """Return a README's text with its results block made anew.

    Raises:
        ValueError: If the two markers do not stand there once each, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected {BEGIN} and, after it, {END}, once each")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{results_block(evaluations)}{END}{rest.partition(END)[2]}"


def update(file: Path, check: bool = False) -> bool:
    """Return whether a README's block agrees with the committed records; write it if not, unless ``check`` is set."""
    text = Path(file).read_text(encoding="utf8")
    new = replace_block(text, committed_evaluations())
    if new != text and not check:
        records.write_text(Path(file), new)
    return new == text
