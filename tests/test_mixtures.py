"""Mixtures hold what Table 5 and Figure 2 say, in an order that the seed decides, and load elsewhere."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mammoth_utils import records
from mammoth_utils.curation import export, mixtures
from mammoth_utils.curation.sources import MINI, SOURCES
from mammoth_utils.scales import MIXTURES


def one_row(source: str, number: int, author: str) -> dict:
    kind = SOURCES[source].kind
    return {
        "source": MINI + source, "instruction": f"{source} {number}", "output": "print(1)", "kind": kind, "gold": "1",
        "options": None, "field": "", "family": "", "author": author, "key": f"{source}{number}", "history": {},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A finished curation with three rows a source; the teacher's sources have one more before execution."""
    kept, unfiltered = [], []
    for name, source in SOURCES.items():
        author = "teacher:m" if source.asks_teacher else "human"
        kept += [one_row(name, number, author) for number in range(3)]
        if source.asks_teacher:
            unfiltered += [one_row(name, number, author) for number in range(4)]
    records.write_jsonl(tmp_path / mixtures.KEPT, kept)
    records.write_jsonl(tmp_path / mixtures.UNFILTERED, unfiltered)
    records.write_json(tmp_path / "run.json", {"schema": 1, "dataset": "miniature", "seed": 42})
    records.write_record(tmp_path, {"page": "curate"})
    return tmp_path


EXPECTED = {
    "hybrid": 13 * 3,
    "cot": 7 * 3,
    "pot": 6 * 3,
    "G": 3 * 3,
    "G+M": 5 * 3,
    "G+M+C": 6 * 3,
    "G+M+C+A": 8 * 3,
    "existing": 7 * 3,
    "unfiltered": 13 * 3 + 4,
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_each_mixture_holds_its_sources(folder, mixture):
    rows = mixtures.read(folder, mixture, seed=0)
    assert len(rows) == EXPECTED[mixture]
    kept, unfiltered = (list(records.read_jsonl(folder / name)) for name in (mixtures.KEPT, mixtures.UNFILTERED))
    assert mixtures.sizes(kept, unfiltered)[mixture] == len(rows)


def test_every_mixture_has_a_meaning():
    assert set(mixtures.MEANING) == set(MIXTURES)


def test_growing_mixtures_hold_the_ones_before():
    growing = list(mixtures.GROWING.values())
    assert all(set(small) < set(large) for small, large in zip(growing, growing[1:], strict=False))


def test_the_existing_sources_are_the_seven_that_the_paper_did_not_make(folder):
    found = {row["source"].removeprefix(MINI) for row in mixtures.read(folder, "existing", 0)}
    assert found == {name for name, source in SOURCES.items() if not source.new}


def test_the_seed_alone_orders_the_rows(folder):
    order = {seed: [row["key"] for row in mixtures.read(folder, "hybrid", seed)] for seed in (1, 2)}
    assert order[1] == [row["key"] for row in mixtures.read(folder, "hybrid", 1)]
    assert order[1] != order[2]
    assert sorted(order[1]) == sorted(order[2])


def test_an_unknown_mixture_names_those_there_are(folder):
    with pytest.raises(ValueError, match=r"known: hybrid, cot, pot, G, G\+M"):
        mixtures.read(folder, "hybird", 0)


def test_a_mixture_without_rows_is_refused(folder):
    records.write_jsonl(folder / mixtures.KEPT, [one_row("MathQA (PoT)", 0, "human")])
    with pytest.raises(ValueError, match=r"'cot' holds no row.*mini-MathQA"):
        mixtures.read(folder, "cot", 0)


def test_a_missing_data_set_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"papermill notebooks/curate.ipynb .* -p dataset release"):
        mixtures.ensure("release")
    with pytest.raises(FileNotFoundError, match="papermill notebooks/curate.ipynb"):
        mixtures.read(tmp_path / "rebuild", "hybrid", 0)


def test_an_export_loads_with_datasets_and_has_a_card(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "out"
    told = export.export(folder, out, "cot", seed=3)
    assert told["rows"] == 21
    rows = json.loads((out / "train.json").read_text(encoding="utf8"))
    assert set(rows[0]) == {"source", "instruction", "output"}
    assert [row["instruction"] for row in rows] == [row["instruction"] for row in mixtures.read(folder, "cot", 3)]
    import datasets

    for loaded in (
        datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache")),
        datasets.load_dataset("json", data_files=str(out / "train.json"), split="train", cache_dir=str(tmp_path / "c")),
    ):
        assert [dict(row) for row in loaded] == rows
    card = (out / "README.md").read_text(encoding="utf8")
    assert card.startswith("---\npretty_name: mini-MathInstruct, mixture cot\n")
    assert "| mini-Camel-Math (CoT) | 3 | CC-BY-NC-4.0 |" in card
    for name, entry in told["files"].items():
        assert records.sha256(out / name) == entry["sha256"]
        assert entry["sha256"] in card


def test_a_real_card_says_which_licences_a_model_inherits(folder):
    rows = [{**row, "source": row["source"].removeprefix(MINI)} for row in mixtures.read(folder, "G+M+C", 0)]
    assert export.licences(rows) == Counter({"MIT": 12, "none listed": 3, "CC-BY-NC-4.0": 3})
    card = export.card(rows, "G+M+C", {}, {"dataset": "release"})
    assert "inherits: MIT (12 rows)" in card
    assert "forbids commercial use" in card
