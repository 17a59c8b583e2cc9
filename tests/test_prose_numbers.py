"""Numbers in prose: a result comes from a record through a generated block, and is typed nowhere.

What may stand in prose by hand is listed in ``cases/prose_numbers.csv`` with its reason: settings of the code,
examples, published figures, expectations, and measurements that stand beside their date. A paragraph of the deviations
that begins with a date is an entry of a log, and says itself when and on what it was measured. Of a notebook the cells
of Markdown are its prose.
"""

from __future__ import annotations

import csv
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"{file.parent.name}/{file.name}" for pattern in ("book/*.md", "notebooks/*.ipynb")
                              for file in ROOT.glob(pattern))]  # fmt: skip
KINDS = {"setting", "example", "published", "expectation", "measured"}
NUMBER = r"[+±-]?\d[\d,.]*"
RESULT = re.compile(
    rf"{NUMBER}(?:\s*(?:to|and|,|or)\s*{NUMBER})*\s*(?:%|per cent|percentage points?|points?\b)"
    rf"|{NUMBER}(?:\s*(?:to|and|,)\s*{NUMBER})*\s+times\b"
)
FIGURE_CELL = re.compile(r"[+-]?(?:\d+\.\d+|\d{1,3}(?:,\d{3})+|\d+)(?:\s*%)?")
DATE = re.compile(r"20\d\d-\d\d-\d\d|(?:\d+ )?(?:November|December) 20\d\d")


def allowed() -> list[dict[str, str]]:
    with open(ROOT / "tests" / "cases" / "prose_numbers.csv", encoding="utf8", newline="") as file:
        return [{**row, "text": row["text"].replace("\\n", "\n")} for row in csv.DictReader(file)]


def prose_of(page: str) -> str:
    """A page's text; of a notebook its cells of Markdown."""
    text = (ROOT / page).read_text(encoding="utf8")
    if not page.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def blanked(text: str) -> str:
    """A page with generated blocks, code and addresses blank, each line still in its place; a box is no code."""
    box = r"^```(\{(?:admonition|note|tip|important|warning)\}[^\n]*)\n(.*?)^```"
    text = re.sub(box, lambda match: f"   {' ' * len(match[1])}\n{match[2]}   ", text, flags=re.DOTALL | re.MULTILINE)
    for hidden in (r"<!-- ([\w-]+):begin -->.*?<!-- \1:end -->", r"^```.*?^```", r"`[^`\n]*`", r"\]\([^)]*\)"):
        text = re.sub(hidden, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.DOTALL | re.MULTILINE)
    return text


def entries_of_a_log(text: str) -> list[tuple[int, int]]:
    """Where a page's entries of a log stand: from a bold date to the next entry or heading."""
    starts = [match.start() for match in re.finditer(r"^(?:\*\*20\d\d-\d\d-\d\d|#)", text, re.MULTILINE)]
    return [span for span in pairwise([*starts, len(text)]) if text[span[0]] == "*"]


def tables_of_figures(text: str) -> list[tuple[int, int]]:
    """Where tables stand that are mostly figures: half of the cells of a row beside its name, in most rows."""
    found = []
    for table in re.finditer(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]
        figures = [sum(bool(FIGURE_CELL.fullmatch(cell)) for cell in row[1:]) > len(row[1:]) / 2 for row in rows]
        if len(rows) > 1 and sum(figures) > len(rows) / 2:
            found.append(table.span())
    return found


def typed_results(page: str, text: str, listed: list[dict[str, str]]) -> list[str]:
    """A page's numbers that look like results and are not allowed, each with its line."""
    prose, log = blanked(text), entries_of_a_log(text)
    own = [re.escape(row["text"]) for row in listed if row["page"] == page]
    free = [match.span() for snippet in own for match in re.finditer(snippet, text)]
    found = []
    for begin, end in [*(match.span() for match in RESULT.finditer(prose)), *tables_of_figures(prose)]:
        if any(first < end and begin < last for first, last in [*free, *log]):
            continue
        line = text.count("\n", 0, begin) + 1
        found.append(f"{page}:{line}: {text[begin:end].splitlines()[0]!r} is typed by hand")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_no_result_is_typed_in_prose(page):
    found = typed_results(page, prose_of(page), allowed())
    advice = "draw it from a record (workflow/generated_text.py), or give its reason in tests/cases/prose_numbers.csv"
    assert not found, "\n".join([*found, advice])


def test_what_is_allowed_still_stands_on_its_page_and_has_a_reason():
    for row in allowed():
        assert row["kind"] in KINDS, row
        assert row["reason"], row
        assert row["text"] in prose_of(row["page"]), f"no longer there: {row}"


def test_a_measurement_in_prose_stands_beside_its_date():
    for row in allowed():
        if row["kind"] == "measured":
            text = prose_of(row["page"])
            at = text.index(row["text"])
            heading = text.rfind("\n#", 0, at)
            assert DATE.search(text[heading:at]), f"no date before {row['text']!r} on {row['page']}"


@pytest.mark.parametrize(
    "text",
    ["Prose reached 21 % there.", "It leads by 4.2 points.", "between 65 and 70 per cent", "ours is 2.4 times as fast",
     "```{admonition} In short\n:class: tip\nIt reached 21 %.\n```",
     "1.46, 0.95 and 1.03 times", "| set | ours |\n|---|---|\n| a | 42.1 |\n| b | 12,345 |\n"],
)  # fmt: skip
def test_a_typed_result_is_found(text):
    assert typed_results("a.md", f"# A page\n\n{text}\n", [])


@pytest.mark.parametrize(
    "text",
    ["{glue:text}`a:.1f` % of them", "<!-- x:begin -->\nProse reached 21 %.\n<!-- x:end -->", "```\n21 %\n```",
     "**2026-11-22 · A try.** It had 21 %.", "`limit=5 %`", "It ran 3 seeds and 76 families.",
     "| size | needs |\n|---|---|\n| 7b | one GPU |\n| 13b | two |\n"],
)  # fmt: skip
def test_what_is_generated_logged_or_no_result_is_let_be(text):
    assert typed_results("a.md", f"# A page\n\n{text}\n", []) == []
