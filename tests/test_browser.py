"""The built book in a browser with the network blocked: every page in light, dark, wide and 380 px, and what it offers.

Run by `make test-browser` after `make book`. Each finding names the page, the mode, the element with its text, and what
was measured against what is expected.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow"))

import check_book  # noqa: E402  (the workflow is scripts beside each other, no package)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = [*check_book.contents(), "search", "genindex"]
# A mode is a width of the window in pixels and a theme.
MODES = {"light": (1280, "light"), "dark": (1280, "dark"), "wide": (1920, "light"), "380 px": (380, "light")}
LEAST_CONTRAST = 4.5
INSIDE = ("file:", "data:", "blob:")
# All of axe's rules once; again only those that a theme or a width can change.
AXE_RULES = {
    "light": {},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
    "380 px": {"runOnly": {"type": "rule", "values": ["scrollable-region-focusable"]}},
}
THEME_SETTLES_MS = 350  # after a change of width, before it makes what scrolls reachable by the keyboard
NOTHING_MOVES = "*, *::before, *::after { transition: none !important; animation: none !important; }"

pytestmark = pytest.mark.browser


@dataclass
class Findings:
    """What a browser found on one page, one line each, by kind."""

    page: str
    console: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    sideways: list[str] = field(default_factory=list)
    contrast: list[str] = field(default_factory=list)
    axe: list[str] = field(default_factory=list)


KINDS = ("pictures", "sideways", "contrast", "axe")


def expect_none(lines: list[str]) -> None:
    assert not lines, "\n" + "\n".join(dict.fromkeys(lines))


@functools.cache
def axe_script() -> str:
    """The text of axe-core."""
    import axe_playwright_python

    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf8")


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """A browser without a network."""
    if not (check_book.HTML / "book" / "index.html").is_file():
        pytest.skip(f"no built book in {check_book.HTML}: make book")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[browser]'")
    pytest.importorskip("axe_playwright_python", reason="no axe-core: pip install -e '.[browser]'")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        context = browser.new_context(reduced_motion="reduce")
        context.route("**/*", lambda route: route.continue_() if is_inside(route.request.url) else route.abort())
        yield context
        browser.close()


def is_inside(address: str) -> bool:
    return address.startswith(INSIDE)


def open_page(context: Any, name: str, findings: Findings, more: str = "") -> Any:
    """Return a page of the book, opened from the disk; what it says or asks for goes to the findings."""
    tab = context.new_page()
    tab.on("console", lambda said: findings.console.append(f"{name}: {said.text}") if said.type == "error" else None)
    tab.on("pageerror", lambda error: findings.console.append(f"{name}: {error}"))
    tab.on("request", lambda asked: None if is_inside(asked.url) else findings.outside.append(f"{name}: {asked.url}"))
    tab.goto((check_book.HTML / f"{name}.html").as_uri() + more)
    tab.add_style_tag(content=NOTHING_MOVES)
    tab.evaluate("async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }")
    return tab


@pytest.fixture(scope="module", params=PAGES)
def findings(context: Any, request: pytest.FixtureRequest) -> Findings:
    """What is found on a page, which is opened once and then shown in each mode."""
    found = Findings(request.param)
    tab = open_page(context, request.param, found)
    prepare(tab)
    for mode, (width, theme) in MODES.items():
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=theme)
        tab.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        measure(tab, found, mode)
    tab.close()
    return found


def prepare(tab: Any) -> None:
    """Unfold what a reader can unfold, the first problem with its completions too, and load what measures."""
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if tab.locator("#item-browser").count():
        tab.locator("#item-browser").scroll_into_view_if_needed()
        tab.locator(".ib-row").first.click()
    tab.evaluate((ROOT / "tests" / "page_measures.js").read_text(encoding="utf8"))
    tab.evaluate(axe_script())


def measure(tab: Any, found: Findings, mode: str) -> None:
    """Add what is found on a page in one mode."""
    where = f"{found.page}, {mode}"
    if wide := tab.evaluate("pageMeasures.sideways()"):
        found.sideways.append(f"{where}: {wide['excess']} px wider than the window: {'; '.join(wide['elements'])}")
    for picture in tab.evaluate("pageMeasures.pictures()"):
        words = picture["words"]
        if not words or check_book.PATH_LIKE.fullmatch(words):
            source = f" ({picture['source']})" if picture["source"] else ""
            found.pictures.append(f"{where}: {picture['where']}{source} has {words!r}, expected words for what is seen")
    found.pictures += [f"{where}: {icon}, expected no icon font" for icon in tab.evaluate("pageMeasures.icons()")]
    for text in tab.evaluate("least => pageMeasures.contrast(least)", LEAST_CONTRAST):
        times = f", {text['times']} times" if text["times"] > 1 else ""
        found.contrast.append(
            f"{where}: {text['where']} '{text['text']}'{times}: contrast {text['ratio']:.2f} of {text['colour']} on "
            f"{text['ground']}, expected at least {LEAST_CONTRAST}"
        )
    if mode in AXE_RULES:
        tab.wait_for_timeout(THEME_SETTLES_MS)
        # Without preload: axe would ask for the style sheets again, which a browser refuses on a page from the disk.
        options = {"resultTypes": ["violations"], "iframes": False, "preload": False, **AXE_RULES[mode]}
        for rule in tab.evaluate("options => axe.run(document, options)", options)["violations"]:
            if rule["impact"] in ("serious", "critical"):
                found.axe += [f"{where}: {rule['id']} ({rule['impact']}): {describe(node)}" for node in rule["nodes"]]


def describe(node: dict[str, Any]) -> str:
    """The element of one of axe's findings, and what axe measured."""
    reasons = [check["message"] for kind in ("any", "all", "none") for check in node[kind]]
    return f"{' '.join(map(str, node['target']))} {node['html'][:80]!r}: {'; '.join(reasons)}"


def test_a_page_says_no_error_and_asks_for_nothing_outside(findings):
    expect_none(findings.outside)
    expect_none(findings.console)


def test_every_picture_has_words_and_no_icon_is_an_empty_box(findings):
    expect_none(findings.pictures)


def test_no_page_scrolls_sideways(findings):
    expect_none(findings.sideways)


def test_all_text_has_contrast(findings):
    expect_none(findings.contrast)


def test_axe_finds_nothing_serious(findings):
    expect_none(findings.axe)


PLANTED = """<!doctype html><html lang="en" data-theme="light"><title>planted</title><body style="background:#fff">
<style>#pale::before { content: "pale"; color: #aaa } #icon::after { content: "\\f0eb" }</style>
<main><h1>Planted</h1><p id="pale"></p><p id="icon"></p><p id="faded" style="opacity:.4">faded</p><p id="fine">fine</p>
<p style="color:#999"><span hidden>hidden</span></p><button disabled style="color:#ccc">off</button>
<svg role="img" aria-label="a drawing" width="200" height="60"><rect width="200" height="60" fill="#333"/>
<text id="dark" x="20" y="30" fill="#000">dark</text><text id="light" x="120" y="30" fill="#fff">light</text></svg>
<img id="unnamed" src="data:,"><img id="path" alt="_images/a.png" src="data:,"><img alt="words" src="data:,">
<div style="overflow:auto;width:100px"><div style="width:3000px">in a box</div></div>
<div id="broad" style="width:2100px">broad</div></main><script src="https://example.org/a.js"></script>"""


def test_what_is_planted_is_found(context, tmp_path, monkeypatch):
    (tmp_path / "planted.html").write_text(PLANTED, encoding="utf8")
    monkeypatch.setattr(check_book, "HTML", tmp_path)
    found = Findings("planted")
    tab = open_page(context, "planted", found)
    prepare(tab)
    measure(tab, found, "light")
    tab.close()
    assert found.outside == ["planted: https://example.org/a.js"]
    assert len(found.console) == 1
    named = {kind: [re.search(r"#(\w+)|$", line)[1] for line in getattr(found, kind)] for kind in KINDS}
    assert named == {
        "pictures": ["unnamed", "path", "icon"], "sideways": ["broad"], "contrast": ["faded", "dark", "pale"],
        "axe": ["faded", "unnamed"],
    }  # fmt: skip


# --- what pages offer -----------------------------------------------------------------------------------------------


@pytest.fixture
def opened(context: Any) -> Iterator[Any]:
    """A function that opens a page; at the end no page may have said an error or asked for anything outside."""
    found, tabs = Findings("what pages offer"), []

    def open_one(name: str, more: str = "") -> Any:
        tabs.append(open_page(context, name, found, more))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()
    expect_none(found.outside)
    expect_none(found.console)


def test_search_finds_a_word(opened):
    tab = opened("search", "?q=sandbox")
    tab.locator("#search-results li a").first.wait_for()
    tab.wait_for_function("() => !document.querySelector('#search-progress')?.textContent.match(/Searching|Preparing/)")
    places = tab.locator("#search-results li a").evaluate_all("links => links.map((one) => one.href.split(/[?#]/)[0])")
    assert (check_book.HTML / "book" / "sandbox.html").as_uri() in places


def saved(tab: Any, kind: str) -> str:
    """The text of the file that a button of the browser of problems saves."""
    with tab.expect_download() as download:
        tab.locator("#item-browser").get_by_role("button", name=kind, exact=True).click()
    return Path(download.value.path()).read_text(encoding="utf8")


def test_problems_are_filtered_sorted_searched_saved_and_linked(opened):
    tab = opened("notebooks/problems")
    index = json.loads(tab.locator("#item-browser .ib-index").text_content())
    model = next(one for one in index["models"] if any(name.startswith("mini-") for name in one["sets"]))
    ids = tab.locator(".ib-id")
    tab.locator("#ib-model").select_option(model["name"])
    tab.locator("#ib-set").select_option(next(name for name in model["sets"] if name.startswith("mini-")))
    tab.locator("#ib-show").select_option("")
    tab.wait_for_function("() => / of [\\d,]+ problems/.test(document.querySelector('.ib-status').textContent)")
    everything = json.loads(saved(tab, "JSON"))
    assert len(everything) in model["sets"].values()

    tab.locator("#ib-show").select_option("program")
    chips = tab.locator(".ib-row .ib-chips").all_inner_texts()
    assert chips
    assert all("program: right" in chip and "prose: wrong" in chip for chip in chips)

    tab.locator("#ib-sort").select_option("short")
    rows = json.loads(saved(tab, "JSON"))
    lengths = [len(row["question"]) for row in rows]
    assert 0 < len(rows) < len(everything)
    assert lengths == sorted(lengths)
    assert ids.all_inner_texts() == [row["id"] for row in rows[: ids.count()]]
    assert [row["id"] for row in csv.DictReader(io.StringIO(saved(tab, "CSV")))] == [row["id"] for row in rows]

    wanted = rows[-1]["id"]
    tab.locator("#ib-find").fill(wanted)
    tab.locator(".ib-row", has=tab.get_by_text(wanted, exact=True)).click()
    address = tab.evaluate("location.hash")
    linked = opened("notebooks/problems", address)
    row = linked.locator('.ib-row[aria-expanded="true"]')
    row.wait_for()
    assert row.locator(".ib-id").inner_text() == wanted
    assert rows[-1]["question"].strip() in linked.locator(".ib-panel:not([hidden])").inner_text()


def test_the_planner_s_choices_show_the_planner_s_figures(opened):
    from mammoth_utils.training import hardware_tables, planner_choices

    widget = opened("notebooks/hardware").locator("#mammoth-planner")
    # The page plans for its parameters' own defaults: one card, rows of 2,048 tokens, one a pass, checkpointing.
    plans = planner_choices(hardware_tables.Hardware.of("H100", 1, 0, 2048, 1, True)).plans
    for choice in (("RTX 4090", "7b llama", "qlora"), ("T4", "70b llama", "full"), ("A100 80GB", "34b coder", "lora")):
        for label, value in zip(("Card", "Model", "Method"), choice, strict=True):
            widget.get_by_label(label).select_option(value)
        card, model, method = choice
        plan = plans[card][model][method]
        shown = [widget.locator(".mp-sentence").inner_text(), *widget.locator("dd:visible").all_inner_texts()]
        # Where nothing carries a run, there is no figure to show.
        assert shown == [plan["sentence"], *(figure for figure in plan["figures"] if figure != "-")], choice
