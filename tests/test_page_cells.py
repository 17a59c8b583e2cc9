"""How a page reads in the book: what is folded, what is hidden, how it begins and ends."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("curate", "train", "hardware", "evaluate", "solve", "problems", "audit")


def cells(page):
    return json.loads((ROOT / "notebooks" / f"{page}.ipynb").read_text(encoding="utf8"))["cells"]


def code(page):
    """The text of each cell of code with its tags."""
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells(page)
            if cell["cell_type"] == "code"]  # fmt: skip


def prose(page):
    return ["".join(cell["source"]) for cell in cells(page) if cell["cell_type"] == "markdown"]


@pytest.mark.parametrize("page", PAGES)
def test_cells_that_only_put_numbers_into_the_text_are_hidden(page):
    shown = [text for text, tags in code(page) if re.search(r"\bglue\(", text) and "remove-cell" not in tags]
    assert shown == []


@pytest.mark.parametrize("page", PAGES)
def test_parameters_are_one_folded_block_with_a_name(page):
    listed = cells(page)
    resolved = next(cell for cell in listed if "pages.resolve(" in "".join(cell["source"]))
    assert resolved["metadata"]["tags"] == ["hide-cell"]
    assert resolved["metadata"]["mystnb"]["code_prompt_show"] == "Parameters of this run"
    assert any({"parameters", "remove-cell"} <= set(tags) for _, tags in code(page))


@pytest.mark.parametrize("page", PAGES)
def test_a_folded_cell_says_what_is_inside(page):
    for cell in cells(page):
        if {"hide-cell", "hide-output"} & set(cell["metadata"].get("tags", [])):
            assert cell["metadata"].get("mystnb", {}).get("code_prompt_show"), cell["id"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_few_tables_and_few_lines_of_code_at_once(page):
    open_cells = [text for text, tags in code(page) if not {"hide-cell", "remove-cell"} & set(tags)]
    tables = [
        text for text in open_cells if re.search(r"tables\.show\(|browse_rows\(", text) and "if page.own" not in text
    ]
    assert len(tables) <= (4 if page == "curate" else 10)
    assert not [text for text in open_cells if "browse_rows(" in text and "if page.own" not in text]
    visible = [text for text, tags in code(page) if not {"hide-cell", "hide-input", "remove-cell"} & set(tags)]
    assert max((len(text.strip().splitlines()) for text in visible), default=0) <= 12


@pytest.mark.parametrize("page", PAGES)
def test_a_page_ends_with_a_box(page):
    text = "\n".join(prose(page))
    assert "## What was learnt" in text
    assert ":class: tip" in text


@pytest.mark.parametrize("page", [*PAGES, "main_results", "ablations"])
def test_a_page_names_the_page_that_its_button_leads_to(page):
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))["parts"]
    listed = [chapter["file"] for part in parts for chapter in part["chapters"]]
    after = listed[listed.index(f"notebooks/{page}") + 1]
    named = re.findall(r"^Next: \[[^\]]*\]\(([\w./]+)\.(?:ipynb|md)\)", "\n".join(prose(page)), re.MULTILINE)
    assert [os.path.normpath(f"notebooks/{name}") for name in named] == [after]


@pytest.mark.parametrize("page", PAGES)
def test_a_figure_has_a_text_that_says_what_is_seen(page):
    drawn = [cell for cell in cells(page) if re.search(r"^figures\.", "".join(cell["source"]), re.MULTILINE)]
    texts = [cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "") for cell in drawn]
    assert all(len(text.split()) > 8 for text in texts), texts


def test_the_audit_opens_with_its_finding_from_its_record():
    opening = prose("audit")[0].split("\n\n")[1]
    assert opening.startswith("**")
    assert {"audit_low_programs", "audit_high_programs"} <= set(re.findall(r"`(\w+):", opening))


def test_the_appendix_of_curate_comes_last_and_is_folded():
    listed = cells("curate")
    start = next(at for at, cell in enumerate(listed) if "".join(cell["source"]).startswith("## Appendix"))
    behind = [cell for cell in listed[start:] if cell["cell_type"] == "code"]
    assert len(behind) > 10
    assert all(cell["metadata"]["tags"] == ["hide-cell"] for cell in behind)
