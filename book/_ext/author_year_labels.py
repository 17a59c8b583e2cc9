"""Sphinx extension: labels the references as the text cites them, such as "Wei et al., 2022"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle

NAME = "author_year"


def label(entry: Entry) -> str:
    """Return the first author's last name, or both of two, and the year."""
    authors = entry.persons["author"]
    last_names = [str(Text.from_latex(" ".join([*one.prelast_names, *one.last_names]))) for one in authors]
    names = " and ".join(last_names) if len(last_names) < 3 else f"{last_names[0]} et al."
    return f"{names}, {entry.fields['year']}"


class AuthorYearLabels(BaseLabelStyle):
    """Labels by author and year, with a letter behind those that would be the same."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        """Yield the label of each entry, in order."""
        labels = [label(entry) for entry in sorted_entries]
        count, seen = Counter(labels), Counter()
        for text in labels:
            yield text + (chr(ord("a") + seen[text]) if count[text] > 1 else "")
            seen[text] += 1


class AuthorYearStyle(Style):
    """References in order of their authors, with such labels."""

    default_label_style = AuthorYearLabels
    default_sorting_style = "author_year_title"


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    register_plugin("pybtex.style.formatting", NAME, AuthorYearStyle)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
