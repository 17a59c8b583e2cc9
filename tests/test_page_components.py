"""The built book's own parts: tables in one markup, numbered captions, the footer, and what is left out."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from mammoth_utils import pages
from mammoth_utils.programs import isolation
from mammoth_utils.report import row_browser, tables

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "workflow")]

import check_book  # noqa: E402
import citation_footer  # noqa: E402  (extensions of the book, no package)
import page_components  # noqa: E402
import site_weight  # noqa: E402

MARKDOWN = (
    '<div class="pst-scrollable-table-container"><table class="table">\n<thead><tr class="row-odd">'
    '<th class="head"><p>term</p></th><th class="head"><p>n</p></th></tr></thead>'
    "<tbody><tr><td><p>a <code>b</code></p></td><td><p>1,234</p></td></tr></tbody></table>\n</div>"
)


def adopted(html: str) -> str:
    return page_components.rewrite(f"<p>before</p>{html}<p>after</p>", 8)


def test_a_data_frame_loses_its_running_index_and_its_style():
    frame = pd.DataFrame({"name": ["x", "y"], "n": [3, None]})
    shown = adopted(frame._repr_html_())
    assert shown.startswith('<p>before</p><figure class="bk-table')
    assert shown.endswith("</figure><p>after</p>")
    assert "<style" not in shown
    assert "NaN" not in shown
    assert re.findall(r'<th scope="row" class="bk-text" data-label="name">(.)</th>', shown) == ["x", "y"]
    assert '<td class="bk-num" data-label="n">3.0</td>' in shown


def test_a_named_index_stays_as_the_first_column():
    frame = pd.DataFrame({"n": [3, 4]}, index=pd.Index(["a", "b"], name="rule"))
    shown = adopted(frame._repr_html_())
    assert 'data-label="rule">a</th>' in shown
    assert shown.count("<tr>") == 3


def test_a_table_of_markdown_keeps_its_markup_and_leaves_its_box():
    shown = adopted(MARKDOWN)
    assert "pst-scrollable" not in shown
    assert 'data-label="term">a <code>b</code></th>' in shown
    assert '<td class="bk-num" data-label="n">1,234</td>' in shown
    assert shown.count("<div") == shown.count("</div>")


def test_values_and_heads_of_a_table_are_in_words():
    rows = [(True, None, ["a", "b"], {"x": 1, "y": False}, float("nan"), 0.25, -0.04)]
    shown = tables.show(pd.DataFrame(rows, columns=["in_domain", "b", "c", "d", "e", "f", "g"]), label="one").markup
    cells = re.findall(r"<t[hd] [^>]*data-label[^>]*>(.*?)</t[hd]>", shown)
    assert cells == ["yes", "", "a, b", "x: 1, y: no", "", "0.2", "0.0"]
    assert ">in domain</th>" in shown


def test_a_table_without_a_class_is_taken_too():
    plain = (
        "<table><thead><tr><th>meets</th><th>how</th></tr></thead><tbody><tr><td>a</td><td>b</td></tr></tbody></table>"
    )
    assert 'data-label="meets">a</th>' in adopted(plain)


def test_a_table_without_a_caption_has_its_headings():
    heading = '<h2>Sizes &amp; costs<a class="headerlink" href="#sizes">#</a></h2>'
    shown = page_components.rewrite(f"{heading}<p>Two:</p>{MARKDOWN}{MARKDOWN}", 3)
    captions = re.findall(r'data-kind="table">(.*?)</figcaption>', shown)
    assert captions == [
        '<span class="bk-number">Table 3.1</span> Sizes &amp; costs',
        '<span class="bk-number">Table 3.2</span> Sizes &amp; costs (2)',
    ]


def test_parameters_the_sandbox_and_a_browser_of_rows_have_captions():
    shown = [pages.Resolved("audit", {}, {})._repr_html_(), isolation.IsolationReport("", True, "", ())._repr_html_()]
    assert all("<caption>" in markup for markup in shown)
    assert '<span class="bk-number">Table 8.1</span> Rows' in adopted(row_browser.browse_rows([{"a": 1}], "rows").data)


@pytest.mark.parametrize(
    "html",
    [
        '<table class="dataframe"><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr>'
        "</tbody></table>",
        '<table aria-label="rows"><thead><tr><th>a</th></tr></thead><tbody></tbody></table>',
        '<figure class="bk-table"><div><table class="bk"><thead></thead></table></div></figure>',
    ],
    ids=["cells over several columns", "of a browser of rows", "of the library"],
)
def test_another_table_stays_as_it_is(html):
    assert adopted(html) == f"<p>before</p>{html}<p>after</p>"


def test_captions_are_numbered_by_page_and_a_cell_s_second_caption_goes():
    figure = (
        '<figure class="bk-figure"><svg></svg><figcaption class="bk-caption" data-kind="figure">A</figcaption></figure>'
    )
    outer = f'<figure class="align-default" id="f">\n<div>{figure}</div><figcaption>Fig. 5 again</figcaption></figure>'
    shown = adopted(outer + figure)
    assert re.findall(r'class="bk-number">([^<]+)<', shown) == ["Figure 8.1", "Figure 8.2"]
    assert "Fig. 5" not in shown
    assert shown.count("<figure") == shown.count("</figure>")


def test_entries_of_the_bibliography_are_items_of_their_list():
    entry = '<div role="list"><div class="citation" id="id4" role="doc-biblioentry"><p>A</p></div></div>'
    assert '<div role="list"><div class="citation" id="id4" role="listitem">' in adopted(entry)


def test_the_footer_names_the_paper_s_authors_the_licence_and_how_to_cite():
    citation = citation_footer.read_citation(ROOT)
    shown = citation_footer.footer_html(citation, "abc1234", "2026-01-02")
    for one in (
        "Xiang Yue",
        "Wenhu Chen",
        "MIT licence",
        "version 0.1.0",
        "commit abc1234 of 2026-01-02",
        "Copy BibTeX",
    ):
        assert one in shown, one
    assert "github.com" not in shown, "no link to a repository that has no address"
    assert citation_footer.bibtex(citation["preferred-citation"]).startswith(
        "@article{yue2023mammoth,\n  title   = {{MAmm"
    )
    linked = citation_footer.footer_html(citation, "abc1234", "2026-01-02", "https://github.com/a/b")
    assert 'href="https://github.com/a/b/commit/abc1234"' in linked
    assert "commit" not in citation_footer.footer_html(citation, "", "")


SCRIPT = (
    'var a={sun:[1,1,[],"f0","M9z"]},b={sun:[512,256,[9728],"f185","M1z"],'
    '"circle-half-stroke":[8,8,["x"],"f042","M2z"]};'
)


def test_icons_are_cut_out_of_the_theme_s_script():
    assert site_weight.icon_names(['<i class="fa-solid fa-sun fa-lg">', 'x="fas fa-sun"']) == ["sun"]
    assert site_weight.read_icon(SCRIPT, "sun") == (512, 256, "M1z")
    assert "fa-circle-half-stroke" in site_weight.icon_style(SCRIPT, ["circle-half-stroke"])
    with pytest.raises(LookupError, match="no icon 'moon'"):
        site_weight.read_icon(SCRIPT, "moon")


@pytest.mark.parametrize("formula", [True, False])
def test_a_built_book_keeps_what_its_pages_use(tmp_path, formula):
    static = tmp_path / "_static"
    for name in ("scripts/fontawesome.js", "scripts/a.js.map", "vendor/fontawesome/f.woff2", "mathjax/tex-chtml.js",
                 "mathjax/sre/en.json", "styles/theme.css"):  # fmt: skip
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_text(SCRIPT if "awesome.js" in name else "@font-face{src:url(fontawesome/f)}p{}")
    math = '<span class="math notranslate">x</span>' if formula else ""
    page = tmp_path / "page.html"
    page.write_text(
        '<script defer src="_static/scripts/fontawesome.js?digest=1"></script>'
        f'<script defer="defer" src="_static/mathjax/tex-chtml.js"></script><i class="fa-solid fa-sun"></i>{math}'
    )
    site_weight.trim(tmp_path)
    left = {file.relative_to(static).as_posix() for file in static.rglob("*") if file.is_file()}
    assert left == {"styles/theme.css", "icons.css"} | ({"mathjax/tex-chtml.js"} if formula else set())
    text = page.read_text()
    assert '<link rel="stylesheet" href="_static/icons.css" />' in text
    assert "fontawesome" not in text + (static / "styles" / "theme.css").read_text()
    assert ("mathjax" in text) is formula


@pytest.mark.parametrize(
    ("image", "faults"),
    [
        ('<img alt="Bars of accuracy by set." src="a.png">', 0),
        ('<img alt="" src="icon.svg">', 0),
        ('<img alt="../_images/a.png" src="a.png">', 1),
        ('<img alt="/tmp/_build/jupyter_execute/a.svg" src="a.svg">', 1),
        ('<img src="a.png">', 1),
    ],
    ids=["says what is seen", "an ornament", "a path", "a path of the build", "no text"],
)
def test_an_image_without_words_is_a_fault_of_the_book(image, faults):
    assert len(list(check_book._readable(image))) == faults


def test_a_page_that_is_too_large_is_a_fault_of_the_book():
    assert list(check_book._readable("x" * (check_book.MAX_PAGE_BYTES + 1)))


EVERY_PAGE = sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb"))
# What a cell may end in: what has a caption by itself, and text.
COMPONENTS = {
    "browse_rows", "curve.show", "fetching.last", "glue", "isolation.describe", "items", "missing", "nothing",
    "open_side_by_side", "print", "run", "solution", "training.mark_rationale", "training.planner_choices", "unseen",
    "everything", "None",
}  # fmt: skip


def cells_of_code(page):
    cells = json.loads((ROOT / "notebooks" / f"{page}.ipynb").read_text(encoding="utf8"))["cells"]
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells if cell["cell_type"] == "code"
    ]


def shown_by(text):
    """What a cell displays: the functions or names of its last expression and of its calls of display."""
    body = ast.parse(text).body
    last = body[-1].value if isinstance(body[-1], ast.Expr) and not text.rstrip().endswith(";") else None
    shown = [last.body, last.orelse] if isinstance(last, ast.IfExp) else [last] if last else []
    shown += [call.args[0] for call in ast.walk(ast.parse(text))
              if isinstance(call, ast.Call) and ast.unparse(call.func) == "display"]  # fmt: skip
    return [ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in shown]


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_a_table_is_shown_by_the_table_component_which_gives_it_a_caption(page):
    for text, tags in cells_of_code(page):
        for shown in [] if "remove-cell" in tags else shown_by(text):
            assert shown.startswith(("tables.", "figures.")) or shown in COMPONENTS, f"{shown} has no caption: {text}"
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "tables.show":
                assert len(call.args) > 2 or "label" in {word.arg for word in call.keywords}, ast.unparse(call)
