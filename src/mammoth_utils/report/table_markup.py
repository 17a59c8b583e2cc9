"""The markup that all tables of the book share.

A table has a caption, a box of its own that scrolls sideways, a first column that stays, numbers to the right, and on
every cell the name of its column, so that a style sheet can turn rows into cards on a phone. It can be read without a
style sheet and without JavaScript; ``book/_static/book.js`` adds sorting and the buttons in the built book.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence

_VALUE = r"[+\-−±<>≤≥]?\s?\d[\d.,]*\s?(?:%|[a-dBb]|[KMG]i?B|ms|s|min|h)?"
_NUMBER = re.compile(rf"{_VALUE}(?:\s?(?:/|to|of|±|\[|\(|,)\s?{_VALUE}[\])]?)*")
_TAG = re.compile(r"<[^>]*>")
LONG = 60  # characters from which a column counts as running text
MAX_PLAIN_COLUMNS = 3  # a table of more becomes cards on a phone
MAX_KEYS, MAX_TITLE = 3, 80  # columns that together may name a card, and letters that one may give to its name


class Markup(str):
    """Text that is HTML already and is not escaped again."""


def escape(value: object) -> str:
    """Return a value as HTML; :class:`Markup` stays as it is."""
    return str(value) if isinstance(value, Markup) else html.escape(str(value))


def prose(text: str) -> Markup:
    """Return a sentence as HTML, what stands between backticks as code; :class:`Markup` stays as it is."""
    if isinstance(text, Markup):
        return text
    parts = html.escape(text).split("`")
    return Markup("".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts)))


def is_number(cell: str) -> bool:
    """Return whether the text of a cell is a number, with its sign, unit, mark or interval."""
    return bool(_NUMBER.fullmatch(plain_text(cell)))


def plain_text(cell: str) -> str:
    """Return the text of a cell without its tags."""
    return html.unescape(_TAG.sub("", cell)).strip()


def table_html(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    note: str = "",
    long: Collection[str] = (),
    tools: bool = True,
) -> str:
    """Return a table as HTML.

    Args:
        columns: Names as HTML.
        rows: Cells as HTML, in the order of the columns; the first one names its row.
        caption: What the table shows, as HTML; also the name of its box for a screen reader.
        note: A paragraph below it, as HTML.
        long: Columns of running text, which get room to wrap; those with long cells are among them anyway.
        tools: Whether the built book adds buttons and sorting.
    """
    texts = [[plain_text(row[at]) for row in rows] for at in range(len(columns))]
    classes, labels = [], [html.escape(plain_text(name), quote=True) for name in columns]
    for name, column in zip(columns, texts, strict=True):
        filled = [text for text in column if text]
        is_long = name in long or any(len(text) >= LONG for text in filled)
        is_numeric = bool(filled) and all(map(_NUMBER.fullmatch, filled))
        classes.append("bk-num" if is_numeric else "bk-long" if is_long else "bk-text")
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in zip(columns, classes, strict=True))
    keys = _keys(rows)
    body = "".join(f"<tr>{_row(row, classes, labels, keys)}</tr>" for row in rows)
    shape = " bk-cards" if len(columns) > MAX_PLAIN_COLUMNS or (len(columns) > 2 and "bk-long" in classes) else ""
    shape += "" if tools else " bk-plain"
    title = f'<figcaption class="bk-caption" data-kind="table">{caption}</figcaption>' if caption else ""
    name = html.escape(plain_text(caption) or "table", quote=True)
    below = f'<p class="bk-note">{note}</p>' if note else ""
    return (
        f'<figure class="bk-table{shape}" style="margin:1em 0">{title}'
        f'<div class="bk-scroll" role="region" aria-label="{name}" tabindex="0" style="overflow-x:auto;max-width:100%">'
        f'<table class="bk"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{below}</figure>'
    )


def _keys(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the first columns tell the rows apart best, at most :data:`MAX_KEYS`.

    Those after the first hold words, not counts, and no links, which a title would lose.
    """
    texts = [[plain_text(cell) for cell in row] for row in rows]
    titles: list[int] = []  # different ones with so many columns
    for at in range(min(MAX_KEYS, len(texts[0]) - 1) if texts else 0):
        words = any(re.search("[A-Za-z]", row[at]) for row in texts)
        is_short = max(len(row[at]) for row in texts) < MAX_TITLE
        if at and not (words and is_short and not any("<a " in row[at] for row in rows)):
            break
        titles.append(len({tuple(row[: at + 1]) for row in texts}))
    return titles.index(max(titles)) + 1 if titles else 1


def _row(cells: Sequence[str], classes: Sequence[str], labels: Sequence[str], keys: int) -> str:
    """Return the cells of a row; on a card its first ``keys`` columns are its title."""
    title = html.escape("".join(f", {text}" for text in map(plain_text, cells[1:keys]) if text), quote=True)
    more = f' data-more="{title}"' if title else ""
    shown = []
    for at, (cell, kind, label) in enumerate(zip(cells, classes, labels, strict=True)):
        tag, about, name = ("th", f' scope="row"{more}', ", ".join(labels[:keys])) if at == 0 else ("td", "", label)
        empty = "" if plain_text(cell) or "<img" in cell or "<svg" in cell else " bk-empty"
        key = " bk-key" if 0 < at < keys else ""
        shown.append(f'<{tag}{about} class="{kind}{empty}{key}" data-label="{name}">{cell}</{tag}>')
    return "".join(shown)


def folded_html(summary: str, inside: str) -> str:
    """Return HTML behind a line that opens it; the line is escaped."""
    return f'<details class="bk-fold"><summary>{escape(summary)}</summary>{inside}</details>'
