"""Sphinx extension: every table of a page in the book's own markup, and a number before every caption.

Tables come from three places: the library (which writes this markup itself), pandas, and Markdown. The last two are
rewritten here, a data frame's running index left out; one that has no caption is captioned by the heading above it.
Figures and tables are numbered by page, ``Table 8.2`` being the second one of the eighth page of the contents, so that
none is taken for a table of the paper.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup, Tag

from mammoth_utils.report import table_markup

# A data frame brings a style of its own; Sphinx wraps a table of Markdown into a box that scrolls.
TABLE = re.compile(
    r'(?:<div class="pst-scrollable-table-container">\s*|<div>\s*(?=<style scoped))?'
    r"(?:<style scoped[^>]*>.*?</style>\s*)?"
    r"<table(?P<attributes>[^>]*)>.*?</table>"
    r"(?P<close>\s*</div>)?",
    re.DOTALL,
)
CAPTION = re.compile(r'(<figcaption class="bk-caption" data-kind="(figure|table)">)')
# A caption that a page gave its cell stands around the figure's own, which is made from the data.
OUTER_CAPTION = re.compile(
    r'(?P<figure><figure class="bk-figure".*?</figure>)(?P<between>(?:\s*</div>)*)\s*<figcaption>.*?</figcaption>',
    re.DOTALL,
)
HEADING = re.compile(r"<h[1-6][^>]*>(.*?)</h[1-6]>", re.DOTALL)
ADOPTED = {"dataframe", "table", "docutils", "parameters"}


def rewrite(body: str, chapter: int) -> str:
    """Return a page's HTML with its tables in the book's markup and its captions numbered."""
    counts: Counter[str] = Counter()

    def number(found: re.Match[str]) -> str:
        counts[found[2]] += 1
        place = f"{chapter}.{counts[found[2]]}" if chapter else str(counts[found[2]])
        return f'{found[1]}<span class="bk-number">{found[2].capitalize()} {place}</span> '

    body = OUTER_CAPTION.sub(r"\g<figure>\g<between>", body)
    # A list for a screen reader has list items; docutils writes a role of book publishing that has been given up.
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    return CAPTION.sub(number, TABLE.sub(_adopt, body))


def _adopt(found: re.Match[str]) -> str:
    """Return a table in the book's markup; as it was where it has that already, or is none of rows and columns."""
    named = re.search(r'class="([^"]*)"', found["attributes"])
    classes = set(named[1].split()) if named else set()
    if "bk" in classes or (found["attributes"] and not classes & ADOPTED):
        return found[0]
    opened = found[0].startswith("<div")
    tail = "" if opened or not found["close"] else found["close"]
    table = BeautifulSoup(found[0], "html.parser").find("table")
    if opened and not found["close"]:
        return found[0]
    columns, rows = read_table(table)
    if not columns:
        return found[0]
    caption = table.find("caption")
    text = caption.decode_contents() if caption else _heading_above(found)
    return table_markup.table_html(columns, rows, text, tools="parameters" not in classes) + tail


def _heading_above(found: re.Match[str]) -> str:
    """Return the last heading before a table as HTML, numbered from its second table on; empty if there is none."""
    headings = list(HEADING.finditer(found.string, 0, found.start()))
    if not headings:
        return ""
    heading = BeautifulSoup(headings[-1][1], "html.parser")
    for link in heading.find_all("a", class_="headerlink"):
        link.decompose()
    place = found.string.count("<table", headings[-1].end(), found.start()) + 1
    return html.escape(heading.get_text().strip(), quote=False) + (f" ({place})" if place > 1 else "")


def read_table(table: Tag) -> tuple[list[str], list[list[str]]]:
    """Return a table's columns and rows as HTML; none where cells span several places or rows differ in length."""
    lines = [line for line in table.find_all("tr") if line.find_parent("table") is table]
    cells = [line.find_all(["th", "td"], recursive=False) for line in lines]
    if any(int(cell.get(span, 1)) != 1 for line in cells for cell in line for span in ("colspan", "rowspan")):
        return [], []
    texts = [[_content(cell) for cell in line] for line in cells]
    head = [line for line in lines if line.find_parent("thead") is not None]
    columns, rows = (texts[0], texts[len(head) :]) if head else ([], [])
    if len(head) == 2 and texts[0] and not texts[0][0]:  # the second line names a data frame's index
        columns = [texts[1][0], *texts[0][1:]]
    elif len(head) != 1:
        return [], []
    if any(len(row) != len(columns) for row in rows) or not rows:
        return [], []
    if not columns[0] and [row[0] for row in rows] == [str(at) for at in range(len(rows))]:
        columns, rows = columns[1:], [row[1:] for row in rows]
    return columns, rows


def _content(cell: Tag) -> str:
    """Return a cell's HTML, out of the paragraph that Markdown puts it into; a missing value is empty."""
    children = [child for child in cell.children if isinstance(child, Tag) or str(child).strip()]
    if len(children) == 1 and isinstance(children[0], Tag) and children[0].name == "p":
        cell = children[0]
    text = cell.decode_contents().strip()
    return "" if text in ("NaN", "None", "&lt;NA&gt;", "NaT") else text


def pages_in_order(app: Any) -> Iterator[str]:
    """Yield the pages of the contents in order, the first one not among them."""
    includes, seen = app.env.toctree_includes, set()

    def walk(page: str) -> Iterator[str]:
        for child in includes.get(page, ()):
            if child not in seen:
                seen.add(child)
                yield child
                yield from walk(child)

    yield from walk(app.config.root_doc)


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Rewrite a page's body (Sphinx's ``html-page-context``)."""
    if not context.get("body"):
        return
    order = list(pages_in_order(app))
    chapter = order.index(pagename) + 1 if pagename in order else 0
    context["body"] = rewrite(context["body"], chapter)


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("html-page-context", on_page, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
