"""The references: labels as the text cites them, and an entry for each key that a page cites."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pybtex.database import parse_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import author_year_labels  # noqa: E402  (an extension of the book, no package)

ENTRIES = parse_file(ROOT / "book" / "references.bib").entries


def test_labels_are_authors_and_year_and_differ():
    found = dict(zip(ENTRIES, author_year_labels.AuthorYearLabels().format_labels(ENTRIES.values()), strict=True))
    assert found["wei2022chain"] == "Wei et al., 2022"
    assert found["roziere2023code"] == "Rozière et al., 2023"
    assert found["mammothbook"] == "the contributors, 2026"
    assert found["toshniwal2024openmathinstruct1"] == "Toshniwal et al., 2024a"
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("folder", ["book", "notebooks"])
def test_each_cited_key_has_an_entry(folder):
    texts = [file.read_text(encoding="utf8") for file in (ROOT / folder).iterdir() if file.suffix in (".md", ".ipynb")]
    cited = ",".join(keys for text in texts for keys in re.findall(r"\{cite\}`([^`]+)`", text))
    assert {key.strip() for key in cited.split(",")} - {""} <= set(ENTRIES)
