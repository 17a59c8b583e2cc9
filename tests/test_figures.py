"""Figures and tables: what they must show, not how they look to the pixel."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from evaluation_records import record

from mammoth_utils import paths
from mammoth_utils.report import (
    claim_cards,
    claim_definitions,
    claims,
    figure_style,
    figures,
    measured_models,
    palette,
    published,
    statistics,
    table_markup,
    tables,
)

RECORDS = [
    record("hybrid", 0.7, also={"pot": 0.6, "cot": 0.3}),
    record("pot", 0.6, "pot"),
    record("cot", 0.3, "cot"),
    record("none", 0.1),
    record("G", 0.3, looser=0.1),
    record("unfiltered", 0.6),
]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@cache
def main_figure():
    """The main figure of `RECORDS`, drawn once: its intervals take half a second."""
    return figures.main_figure(RECORDS)


@cache
def results():
    return claims.evaluate_claims(RECORDS)


def words(figure) -> str:
    figure.canvas.draw()
    texts = [text.get_text().replace("\n", " ") for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join(texts)


def markers(figure) -> list:
    return [line for axis in figure.axes for line in axis.get_lines() if line.get_marker() not in ("None", "|", "")]


def test_the_main_figure_parts_the_domains_and_says_n_seeds_and_interval():
    figure = main_figure()
    shown = words(figure)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["in domain", "out of domain"]
    for one in ("n = 100 problems a set", "1 seed", "95 % intervals", "correct, %", "hybrid", "PoT only", "CoT only"):
        assert one in shown, one
    assert [len(axis.get_yticks()) for axis in figure.axes] == [4, 5]
    assert len(markers(figure)) == 9 * 4


def test_the_main_figure_counts_the_seeds_of_what_was_trained():
    again = [record("hybrid", 0.7, seed=1), record("pot", 0.6, "pot", seed=1), record("cot", 0.3, "cot", seed=1)]
    assert "2 seeds" in words(figures.main_figure([*RECORDS, *again])), "an untuned base has no seed to repeat"


def test_no_miniature_accuracy_shares_an_axis_with_a_published_one():
    ours = words(main_figure()) + words(figures.growing_mixtures(figures.mixtures_frame(RECORDS)))
    theirs = words(figures.decodings(published.decodings())) + words(figures.published_main(published.main_results()))
    assert "mini-" in ours
    assert "published" not in ours
    assert "mini-" not in theirs
    assert "published" in theirs
    assert "SVAMP" not in ours.replace("mini-svamp", "")


def test_ours_is_filled_and_published_hollow():
    ours, theirs = markers(main_figure()), markers(figures.decodings(published.decodings()))
    assert {line.get_markerfacecolor() for line in theirs} == {"white"}
    assert "white" not in {line.get_markerfacecolor() for line in ours}


def test_a_method_has_one_colour_and_one_marker_in_every_figure():
    main = {line.get_label(): line for line in markers(main_figure()) if not line.get_label().startswith("_")}
    seven = {line.get_label(): line for line in markers(figures.decodings(published.decodings()))}
    for ours, theirs in (("hybrid", "Hybrid decoding"), ("PoT only", "PoT decoding"), ("CoT only", "CoT decoding")):
        assert main[ours].get_color() == seven[theirs].get_color()
        assert main[ours].get_marker() == seven[theirs].get_marker()
    compared = ("hybrid", "pot", "cot", "none")
    assert (
        len({figure_style.COLOURS[one] for one in compared})
        == len({figure_style.MARKERS[one] for one in compared})
        == 4
    )


def test_the_claims_figure_shows_every_part_with_its_verdict():
    figure = figures.claims_figure(results())
    parts = [part for one in results() for part in one.parts]
    assert len(figure.axes[0].get_yticks()) == len(parts) >= 8
    shown = words(figure).replace("\n", " ")
    assert "difference, points" in shown
    for part in parts:
        assert part.verdict in shown
        assert part.name.split()[0] in shown


def test_a_figure_without_records_says_what_measures_it():
    assert "make book" in words(figures.main_figure([]))
    assert "make book" in words(figures.claims_figure(claims.evaluate_claims([])))
    assert "make book" in words(figures.growing_mixtures(figures.mixtures_frame([])))


def test_the_shares_of_wrong_programs_are_told_in_words():
    rows = [
        {"mixture": mixture, "wrong": wrong, "accuracy": statistics.Interval(share, 0.0, 1.0, 9, 9, 1)}
        for mixture, wrong, share in
        (("hybrid", 0.0, 0.5), ("unfiltered", 0.0, 0.4), ("hybrid", 60.0, 0.3), ("unfiltered", 60.0, 0.5))
    ]  # fmt: skip
    told = figures.wrong_shares_in_words(pd.DataFrame(rows))
    assert "ahead at 1 of 2 shares: by -10.0 points where 0 %" in told
    assert told.endswith("by +20.0 where 60 % are.")
    assert figures.wrong_shares_in_words(figures.wrong_shares_frame(RECORDS)) == ""


def test_accuracy_by_benchmark_takes_the_evaluation_page_s_table():
    rows = [
        {"benchmark": "mini-math", "in_domain": True, "choice": False, "n": 200, "published": 0.5, "corrected": 0.6},
        {"benchmark": "mini-sat", "in_domain": False, "choice": True, "n": 200, "published": 0.2, "corrected": 0.2},
        {"benchmark": "average", "in_domain": None, "choice": None, "n": 400, "published": 0.35, "corrected": 0.4},
    ]
    figure = figures.accuracy_by_benchmark(pd.DataFrame(rows))
    shown = words(figure)
    assert "n = 200" in shown
    assert "average" not in shown
    assert "upright tick: published rule" in shown
    with pytest.raises(ValueError, match="no benchmark"):
        figures.accuracy_by_benchmark(pd.DataFrame(rows[2:]))


def test_a_training_curve_has_its_axis_and_needs_a_point():
    curve = figures.training_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    assert "loss, nats a token" in words(curve)
    with pytest.raises(ValueError, match="at least one point"):
        figures.training_curve([])


@pytest.mark.parametrize("version", ["v3", "v1"])
def test_published_figures_name_their_version(version):
    assert version in words(figures.published_main(published.main_results(version=version)))
    assert version in words(figures.sources_ablation(published.sources_ablation(version)))


def test_a_wide_table_scrolls_inside_its_own_box_and_escapes_what_it_shows():
    shown = tables.show(pd.DataFrame({"a": ["<b>"], "b": [1.26], "c": [None]}), note="n < 2")
    assert "overflow-x:auto" in shown._repr_html_()
    assert 'scope="row" class="bk-text" data-label="a"' in shown._repr_html_(), "the first column names the row"
    assert 'class="bk-num" data-label="b"' in shown._repr_html_(), "numbers go to the right"
    assert "&lt;b&gt;" in shown._repr_html_()
    assert "1.3" in shown._repr_html_()
    assert ">None<" not in shown._repr_html_()
    assert "n &lt; 2" in shown._repr_html_()


def test_the_published_table_marks_what_is_not_the_authors_own():
    shown = tables.published_main(None, "v3")._repr_html_()
    assert "54.9<sup>a</sup>" in shown, "WizardMath on GSM8K was checked against v3"
    assert "25.2<sup>d</sup>" in shown, "Code Llama on GSM8K stands in another paper only"
    assert ">53.6<" in shown, "MAmmoTH's own cells carry no mark"
    assert "as found in the authors&#x27; model cards" in shown
    assert "Version v3" in shown


def test_complete_rows_come_first_and_gaps_say_what_was_looked_at():
    for table, complete in (
        (tables.published_main(None, "v3"), 7),
        (tables.published_training(published.subsets(), "Table 5"), 1),
        (tables.published_training(published.sources_ablation(), "Table 6"), 1),
    ):
        first, folded = table._repr_html_().split("<details", 1)
        assert first.count("<tr>") == 1 + complete
        assert not [name for name in published.NINE if f'bk-empty" data-label="{name}"' in first]
        assert "Looked at:" in folded
        assert 'href="https://arxiv.org/abs/2310.03731"' in folded
        assert "could be opened" not in table._repr_html_()


def test_a_source_with_an_address_is_a_link_and_another_its_name():
    assert published.linked("WizardMath README; abstract") == (
        '<a href="https://github.com/nlpxucan/WizardLM">WizardMath README</a>; abstract'
    )
    assert 'issues/13"' in published.linked("authors' issue tracker (issue 13)")


def test_the_miniature_s_table_shows_both_rules_and_every_decoding():
    shown = tables.miniature(RECORDS, "1m")
    frame = shown.frame.set_index(["model", "decoding"])
    assert frame.loc[("llama-1m G", "hybrid"), "mini-math"] == "40.0 / 30.0", "published before corrected"
    assert frame.loc[("llama-1m pot", "pot"), "mini-math"] == "60.0", "once where the rules agree"
    assert frame.loc[("llama-1m G", "hybrid"), "rules differ on"] == 9 * 10
    assert {decoding for model, decoding in frame.index if model == "llama-1m hybrid"} == {"hybrid", "pot", "cot"}
    assert ("llama-1m untuned base", "hybrid") in frame.index
    averages = [float(value.split(" / ")[-1]) for value in frame["nine sets"][:-1]]
    assert averages == sorted(averages, reverse=True)
    assert frame.loc[("guessing an option", ""), "mini-sat"] == "20.0"
    assert frame.loc[("guessing an option", ""), "mini-math"] == ""
    assert "Seeds of each trained model: 1." in shown._repr_html_()
    assert "make book-full" in repr(tables.miniature(RECORDS, "3m"))


def test_a_choice_of_models_is_shown_in_its_order():
    chosen = (claim_definitions.POT, claim_definitions.HYBRID, claim_definitions.COT, claim_definitions.BASE)
    rows = tables.miniature(RECORDS, "1m", chosen).frame["model"]
    assert list(rows[:-1]) == ["llama-1m pot", "llama-1m hybrid", "llama-1m cot", "llama-1m untuned base"]


def test_committed_records_decide_and_this_run_stands_beside_them():
    committed = [measured_models.EvaluationRecord(one, measured_models.COMMITTED) for one in RECORDS]
    here = [measured_models.EvaluationRecord(record(mixture, 0.2), measured_models.THIS_RUN)
            for mixture in ("hybrid", "G+M")]  # fmt: skip
    frame = tables.miniature([*here, *committed]).frame.set_index(["model", "decoding"])
    beside = frame[["nine sets", "this run", "measured in"]]
    assert list(beside.loc[("llama-1m hybrid", "hybrid")]) == ["70.0", "20.0", "committed"]
    assert list(beside.loc[("llama-1m G+M", "hybrid")]) == ["20.0", "", "this run"]
    assert "hybrid 70" in figures.main_figure([*here, *committed]).alternative


def test_ours_on_real_benchmarks_is_shown_only_where_measured():
    assert tables.real(RECORDS) is None
    stored = record("hybrid", 0.5, world="real", decoding="stored")
    stored["model"] = {
        "name": "completions-pot_gsm8k",
        "size": "",
        "family": "",
        "mixture": "",
        "method": "",
        "seed": 0,
    }
    stored["benchmarks"] = {"gsm8k": stored["benchmarks"]["mini-gsm8k"]}
    frame = tables.real([*RECORDS, stored]).frame
    assert list(frame["benchmark"]) == ["gsm8k"]
    assert list(frame["run"]) == ["completions-pot_gsm8k"]


def test_claims_tables_tell_every_claim_and_what_the_world_builds_in():
    assert len(tables.claims_table(results()).frame) == 9
    reasons = tables.claim_reasons(results()).frame
    assert (reasons["what the world builds in"] != "").all()
    parts = tables.claim_parts(results()).frame
    assert set(parts["role"]) == {"decides", "reported"}
    assert claims.count_verdicts(results()).startswith("Of 9 claims: ")
    for one in results():
        assert claims.outcome(one).startswith(f"{one.id}: {one.verdict}")


def test_the_style_does_not_leak_into_the_page():
    before = dict(matplotlib.rcParams)
    figures.main_figure(RECORDS[:1])
    assert dict(matplotlib.rcParams) == before
    assert measured_models.MINI_BENCHMARKS[0] == "mini-gsm8k"


# --- on a page ------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """WCAG's relative luminance of ``#rrggbb``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#14181e"], ids=["light", "dark"])
def test_every_colour_of_figures_and_cards_has_a_contrast_of_three(background):
    for colours in (palette.METHODS, palette.VERDICTS, palette.MEMORY, palette.METHODS_OF_TRAINING):
        for name, colour in colours.items():
            dark, light = sorted((luminance(colour), luminance(background)))
            assert (light + 0.05) / (dark + 0.05) >= 3, (name, colour)


def test_a_page_s_figure_is_svg_with_words_caption_and_text_of_the_page_s_size():
    figure = main_figure()
    shown = figure._repr_html_()
    assert shown.startswith('<figure class="bk-figure"')
    assert 'role="img" aria-label="Dot plot of accuracy in per cent. mini-gsm8k: hybrid 70, PoT only 60' in shown
    assert "<figcaption" in shown
    assert "<text" in shown, "text stays text"
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', shown)[1])
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", shown)]
    assert sizes
    assert min(sizes) * 348 / width >= 12, "348 pixels is what a phone of 380 shows of a page"
    assert max(sizes) * 348 / width >= 15
    assert not re.search(r"#(?:000000|ffffff)", shown), "black and white would vanish in one of the themes"
    assert shown == figure._repr_html_(), "two drawings are the same text"


def test_no_two_figures_of_a_page_share_a_name():
    both = [main_figure()._repr_html_(), figures.decodings(published.decodings())._repr_html_()]
    names = [set(re.findall(r' id="([^"]+)"', shown)) for shown in both]
    assert names[0]
    assert not names[0] & names[1]
    for shown, own in zip(both, names, strict=True):
        assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", shown)) <= own


def test_a_card_shows_every_interval_the_verdicts_and_what_lies_behind_them():
    real = [dataclasses.replace(results()[0], verdict=claims.NOT_REPRODUCED)]
    shown = claim_cards.cards(results(), real)
    assert shown.count("<section") == 9
    for result in results():
        card = shown[shown.index(f'id="claim-{result.id}"') :].split("</section>")[0]
        assert f"<strong>{result.verdict}</strong> (miniature)" in card
        assert "What the world builds in." in card
        for part in result.parts:
            assert f"{part.interval.points()}, miniature" in card.replace("&gt;", ">")
        if result.verdict in (claims.CANNOT_TELL, claims.NOT_MEASURED):
            assert "What it would take." in card, result.reason
    first = shown.split("</section>")[0]
    assert "<strong>not reproduced</strong> (real, 0.5B, one seed)" in first
    assert first.count(", real, 0.5B, one seed</text>") == len(results()[0].parts)
    assert "%</text>" not in first.split("difference, points")[0], "no published figure stands on the axis"


def test_the_titles_of_neighbouring_funnels_do_not_meet():
    rows = [
        {"source": source, "kind": "cot", "step": step, "rows": count}
        for source in ("mini-GSM8K (CoT)", "mini-College-Math (CoT)") for step, count in (("read", 10), ("left", 7))
    ]  # fmt: skip
    drawn = figures.source_funnels(pd.DataFrame(rows))
    drawn.canvas.draw()
    left, right = (axis.title.get_window_extent() for axis in drawn.axes[:2])
    assert left.x1 < right.x0
    assert drawn.axes[1].get_title(loc="left") == "mini-College-\nMath (CoT)", "no word is broken"


def test_the_columns_that_tell_rows_apart_are_the_title_of_a_card():
    columns = ["size", "family", "method", "total"]
    shown = table_markup.table_html(columns, [["7b", "llama", "full", "1"], ["7b", "llama", "lora", "2"]])
    assert 'data-more=", llama, lora" class="bk-num" data-label="size, family, method">7b</th>' in shown
    assert shown.count('class="bk-text bk-key"') == 4
    counted = table_markup.table_html(["set", "n", "right", "of"], [["a", "1", "2", "3"], ["a", "2", "2", "3"]])
    assert "data-more" not in counted, "a count is no name"


def test_colours_that_the_dark_theme_makes_lighter_are_named_in_the_style_sheet():
    style = (paths.root() / "book" / "_static" / "book.css").read_text(encoding="utf8")
    for colour, name in palette.THEMED.items():
        lighter = re.search(rf"{name}: (#[0-9a-f]{{6}})", style)[1]
        assert (luminance(lighter) + 0.05) / (luminance("#14181e") + 0.05) >= 4.5, (colour, lighter)
    assert "var(--bk-blue, #0072B2)" in main_figure()._repr_html_()
