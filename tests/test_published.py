"""The published tables: complete where they should be, empty where nothing was found, and right in their sums."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from mammoth_utils.report import published


def test_every_printed_average_is_the_mean_of_its_cells_except_three_known_ones():
    frame = published.averages()
    off = frame[~frame["rounding"]]
    assert len(frame) == 34
    assert set(off["known"]) == {True}
    found = {(row.table, row.version, row.model, row.size): row.gap for row in off.itertuples()}
    assert found == pytest.approx(published.KNOWN_DIFFERENCES, abs=0.011)


def test_table_7_is_complete():
    frame = published.decodings()
    assert len(frame) == 18
    assert frame[list(published.NINE)].notna().all(axis=None)
    assert list(frame["decoding"][:3]) == ["CoT", "PoT", "Hybrid"]


@pytest.mark.parametrize("version", ["v3", "v1"])
def test_all_six_models_of_the_paper_have_their_nine_cells(version):
    frame = published.main_results(version=version)
    ours = frame[frame["model"].str.startswith("MAmmoTH")]
    assert len(ours) == 6
    assert ours[list(published.NINE)].notna().all(axis=None)
    assert set(ours["provenance"].str.contains("primary")) == {True}


def test_hybrid_rows_of_table_7_are_those_of_tables_3_and_4():
    main = published.main_results().set_index(["model", "size"])
    for row in published.decodings().query("decoding == 'Hybrid'").to_dict("records"):
        for name in published.NINE:
            assert main.loc[(row["model"], row["size"]), name] == row[name], (row["model"], row["size"], name)


def test_the_33_per_cent_of_the_abstract_is_the_coder_model():
    main = published.main_results("7b").set_index("model")
    assert (main.loc["MAmmoTH", "MATH"], main.loc["MAmmoTH-Coder", "MATH"]) == (31.5, 33.4)
    assert published.versions().set_index("document").loc["arXiv v3 / ICLR 2024 abstract", "best_7b_on_math"] == 33


def test_what_was_not_found_is_empty():
    subsets = published.subsets().set_index("training")
    assert subsets.loc[["G+M", "G+M+C", "G+M+C+A"], list(published.NINE)].isna().all(axis=None)
    assert subsets.loc["G", "GSM8K"] == 56.6
    assert (
        published.main_results().set_index(["model", "size"]).loc[("GPT-4", ""), ["SimulEq", "SAT-Math"]].isna().all()
    )


@pytest.mark.parametrize("benchmark", ["Mathematics", "SimulEq", "SAT-Math", "MMLU-Math"])
def test_cells_of_low_confidence_are_not_shown(benchmark):
    cells = published.accuracies(version="v3").query("model == 'Llama-2' and size == '7B'")
    assert benchmark not in set(cells["benchmark"])


def test_every_figure_says_where_it_was_read():
    frame = published.accuracies()
    figures = frame[frame["percent"].notna()]
    assert (figures["read_in"] != "").all()
    assert set(figures["attribution"]) <= set(published.ATTRIBUTIONS)
    known = set(published.sources()["name"])
    for read in figures["read_in"]:
        for one in read.split("; "):
            assert re.sub(r" \(issues? [\d, ]+\)$", "", one) in known, one


def test_no_source_is_a_code_that_only_its_author_reads():
    folder = resources.files("mammoth_utils.report") / "published_tables"
    for file in folder.iterdir():
        assert not re.search(r"\bS\d{1,2}\b", file.read_text(encoding="utf8")), file.name


def test_table_1_sums_to_less_than_it_prints():
    frame = published.table1()
    own = frame[~frame["source"].isin(["all", "number_comparison"])]
    assert len(own) == 13
    assert own.groupby("kind")["printed_rows"].sum().to_dict() == {"CoT": 184_400, "PoT": 69_400}
    total = frame.set_index("source").loc["all"]
    assert (total["printed_rows"], total["released_rows"]) == (260_000, 262_039)


def test_table_2_has_the_sizes_of_the_released_files():
    frame = published.table2().set_index("benchmark")
    assert (frame["problems"] == frame["released_rows"]).all()
    assert list(frame.index[frame["in_domain"]]) == list(published.IN_DOMAIN)
    assert frame.loc["MMLU-Math", "problems"] == 974


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: published.main_results("9b"), "known: 6.7b, 7b, 13b, 30b, 34b, 70b"),
        (lambda: published.main_results(version="v2"), "known: v3, v1"),
        (lambda: published.accuracies("Table 8"), "known: Table 3"),
        (lambda: published.figure("Table 7", "average"), "18 published figures match"),
    ],
)
def test_what_is_not_there_is_refused_with_the_choices(call, says):
    with pytest.raises((ValueError, LookupError), match=says):
        call()


def test_figure_2_has_the_averages_of_both_versions():
    averages = {v: published.sources_ablation(v).set_index("training")["printed"].to_dict() for v in ("v1", "v3")}
    assert averages["v3"] == {"none": 19.9, "WizardMath data": 27.0, "CoT": 32.0, "PoT": 41.0, "hybrid": 47.9}
    assert averages["v1"] == {"WizardMath data": 27.0, "CoT": 32.0, "PoT": 37.5, "hybrid": 45.4}
