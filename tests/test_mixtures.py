"""Mixtures hold what Table 5 and Figure 2 say, in an order that the seed decides, and load elsewhere."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import yaml

from mammoth_utils import licences, records
from mammoth_utils.curation import dataset_card, ensure_dataset, export, mixtures
from mammoth_utils.curation.sources import download
from mammoth_utils.curation.sources.registry import NUMBER_COMPARISON, SOURCES
from mammoth_utils.scales import MIXTURES
from mammoth_utils.vocabulary import MINI


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
    "G-cot": 2 * 3,
    "G+M-cot": 3 * 3,
    "existing": 7 * 3,
    "unfiltered": 13 * 3 + 4,
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_each_mixture_holds_its_sources(folder, mixture):
    rows = mixtures.read_mixture(folder, mixture, seed=0)
    assert len(rows) == EXPECTED[mixture]
    kept, unfiltered = (list(records.read_jsonl(folder / name)) for name in (mixtures.KEPT, mixtures.UNFILTERED))
    assert mixtures.count_mixtures(kept, unfiltered)[mixture] == len(rows)


def test_every_mixture_has_a_meaning():
    assert set(mixtures.MEANING) == set(MIXTURES)


def test_what_a_teacher_wrote_in_prose_stands_once_in_the_unfiltered_mixture(folder):
    """As in a rebuild, where a teacher writes prose of TheoremQA and College-Math besides the programs."""
    kept, unfiltered = (list(records.read_jsonl(folder / name)) for name in (mixtures.KEPT, mixtures.UNFILTERED))
    prose = one_row("College-Math (CoT)", 9, "teacher:m")
    records.write_jsonl(folder / mixtures.KEPT, [*kept, prose])
    records.write_jsonl(folder / mixtures.UNFILTERED, [*unfiltered, prose])
    keys = [row["key"] for row in mixtures.read_mixture(folder, "unfiltered", 0)]
    assert keys.count(prose["key"]) == 1
    assert len(keys) == len(set(keys)) == EXPECTED["unfiltered"] + 1
    assert mixtures.count_mixtures([*kept, prose], [*unfiltered, prose])["unfiltered"] == len(keys)


def test_growing_mixtures_hold_the_ones_before():
    growing = list(mixtures.GROWING.values())
    assert all(set(small) < set(large) for small, large in zip(growing, growing[1:], strict=False))


def test_the_existing_sources_are_the_seven_that_the_paper_did_not_make(folder):
    found = {row["source"].removeprefix(MINI) for row in mixtures.read_mixture(folder, "existing", 0)}
    assert found == {name for name, source in SOURCES.items() if not source.new}


def test_the_seed_alone_orders_the_rows(folder):
    order = {seed: [row["key"] for row in mixtures.read_mixture(folder, "hybrid", seed)] for seed in (1, 2)}
    assert order[1] == [row["key"] for row in mixtures.read_mixture(folder, "hybrid", 1)]
    assert order[1] != order[2]
    assert sorted(order[1]) == sorted(order[2])


def test_the_first_rows_are_each_sources_share_and_stand_among_those_of_a_larger_number(folder):
    rows = mixtures.read_mixture(folder, "hybrid", 3)
    few, more = (mixtures.read_mixture(folder, "hybrid", 3, most) for most in (len(rows) // 4, len(rows) // 2))
    assert (len(few), len(more)) == (len(rows) // 4, len(rows) // 2)
    assert [row for row in rows if row in more] == more, "in the order of the seed"
    assert all(row in more for row in few)
    whole = Counter(row["source"] for row in rows)
    for source, count in Counter(row["source"] for row in few).items():
        assert abs(count - whole[source] / 4) <= 1, source
    assert mixtures.first_rows(rows, 0) == mixtures.first_rows(rows, len(rows) + 1) == rows


def test_an_unknown_mixture_names_those_there_are(folder):
    with pytest.raises(ValueError, match=r"known: hybrid, cot, pot, G, G\+M"):
        mixtures.read_mixture(folder, "hybird", 0)


def test_a_mixture_without_rows_is_refused(folder):
    records.write_jsonl(folder / mixtures.KEPT, [one_row("MathQA (PoT)", 0, "human")])
    with pytest.raises(ValueError, match=r"'cot' holds no row.*mini-MathQA"):
        mixtures.read_mixture(folder, "cot", 0)


@pytest.mark.parametrize(("name", "mixture"), [(mixtures.KEPT, "hybrid"), (mixtures.UNFILTERED, "unfiltered")])
def test_a_file_that_is_cut_at_the_end_of_a_line_is_refused(folder, name, mixture):
    rows = {each: len(list(records.read_jsonl(folder / each))) for each in (mixtures.KEPT, mixtures.UNFILTERED)}
    records.write_record(folder, {"page": "curate", "files": {each: {"rows": count} for each, count in rows.items()}})
    whole = mixtures.read_mixture(folder, mixture, 0)
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(lines[:-2]))
    with pytest.raises(ValueError, match=rf"{name} has {rows[name] - 2} rows, expected {rows[name]} .*make it again: "):
        mixtures.read_mixture(folder, mixture, 0)
    (folder / name).write_text("".join(lines))
    assert mixtures.read_mixture(folder, mixture, 0) == whole


def test_a_missing_data_set_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"papermill notebooks/curate.ipynb .* -p dataset release"):
        ensure_dataset("release")
    with pytest.raises(FileNotFoundError, match="papermill notebooks/curate.ipynb"):
        mixtures.read_mixture(tmp_path / "rebuild", "hybrid", 0)


def test_an_export_loads_with_datasets_and_has_a_card(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "out"
    written = export.export_mixture(folder, out, "cot", seed=3)
    assert written.rows == 21
    rows = json.loads((out / "train.json").read_text(encoding="utf8"))
    assert set(rows[0]) == {"source", "instruction", "output"}
    assert [row["instruction"] for row in rows] == [
        row["instruction"] for row in mixtures.read_mixture(folder, "cot", 3)
    ]
    import datasets

    for loaded in (
        datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache")),
        datasets.load_dataset("json", data_files=str(out / "train.json"), split="train", cache_dir=str(tmp_path / "c")),
    ):
        assert [dict(row) for row in loaded] == rows
    text = (out / "README.md").read_text(encoding="utf8")
    assert text.startswith("---\npretty_name: mini-MathInstruct, mixture cot\n")
    assert "| mini-Camel-Math (CoT) | 3 | CC-BY-NC-4.0 |" in text
    for name, entry in written.files.items():
        assert records.sha256(out / name) == entry["sha256"]
        assert entry["sha256"] in text


def test_a_real_card_says_which_licences_a_mixture_and_a_model_inherit(folder):
    rows = [{**row, "source": row["source"].removeprefix(MINI)} for row in mixtures.read_mixture(folder, "G+M+C", 0)]
    counts = dataset_card.MixtureCounts()
    counts.add(rows)
    assert licences.of_rows(counts.sources) == {"MIT": 12, "none listed": 3, "CC-BY-NC-4.0": 3}
    text = dataset_card.dataset_card(counts, "G+M+C", {}, {"dataset": "release"})
    assert "inherits: MIT (12 rows)" in text
    assert "forbids commercial use" in text
    assert "For 3 rows no licence is stated" in text
    assert set(yaml.safe_load(text.split("---\n")[1])["license"]) == {"mit", "unknown", "cc-by-nc-4.0"}
    assert "teacher:m (6 rows)" in text


def test_a_rebuilt_sets_card_has_the_licences_of_the_files_that_were_read(folder, tmp_path):
    """Lila's copies stand under more than Table 1 lists, and what `make data` says is what the card says."""
    rows = [{**row, "source": row["source"].removeprefix(MINI)} for row in records.read_jsonl(folder / mixtures.KEPT)]
    read = {"MathQA (PoT)": "train/lila_mathqa_gain.jsonl.gz", "NumGLUE (PoT)": "train/numglue_pot_from_htl.jsonl.gz",
            "GSM8K (CoT)": "train/gsm8k_train.jsonl.gz", "Camel-Math (CoT)": "train/camel_math.zip"}  # fmt: skip
    records.write_jsonl(folder / mixtures.KEPT, [row for row in rows if row["source"] in read])
    sources = [{"name": name, "files": {file: "sha"}} for name, file in read.items()]
    records.write_record(folder, {"page": "curate", "sources": sources})
    records.write_json(folder / "run.json", {"schema": 1, "dataset": "rebuild"})
    export.export_mixture(folder, tmp_path / "out", "hybrid")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    assert "| MathQA (PoT) | 3 | Apache-2.0, CC-BY-4.0 |" in text
    assert "| NumGLUE (PoT) | 3 | ODC-By-1.0, CC-BY-4.0 |" in text
    assert "| Camel-Math (CoT) | 3 | CC-BY-NC-4.0 |" in text, "of a file that is not known, Table 1's"
    assert "inherits: CC-BY-4.0 (6 rows), MIT (3 rows)" in text
    assert "| CC-BY-4.0 | 6 | name the authors and say what was changed |" in text
    tags = {"cc-by-4.0", "mit", "apache-2.0", "odc-by", "cc-by-nc-4.0"}
    assert set(yaml.safe_load(text.split("---\n")[1])["license"]) == tags
    for item in download.public_files():
        assert item.licence == ", ".join(licences.of_file(item.name)) != "", item.name


def test_every_licence_of_the_table_has_its_terms():
    listed = {source.licence for source in (*SOURCES.values(), NUMBER_COMPARISON)}
    listed |= {licence for found in licences.FILES.values() for licence in found}
    assert listed <= set(licences.TERMS)
    assert set(licences.SOURCES) == {*SOURCES, NUMBER_COMPARISON.name}


def test_the_card_is_read_by_the_hubs_own_library(folder, tmp_path):
    from huggingface_hub import DatasetCard

    export.export_mixture(folder, tmp_path / "out", "pot", seed=0)
    read = DatasetCard.load(tmp_path / "out" / "README.md").data.to_dict()
    assert read["license"] == "mit"
    assert read["size_categories"] == ["n<1K"]
    assert read["configs"][0]["data_files"] == [{"split": "train", "path": "data/train.parquet"}]
    assert read["dataset_info"]["splits"][0]["num_examples"] == 18


def test_rows_go_by_one_at_a_time_in_the_order_in_which_they_are_read(folder):
    for mixture in MIXTURES:
        assert list(mixtures.stream_mixture(folder, mixture, 5)) == mixtures.read_mixture(folder, mixture, 5)
    kept = list(records.read_jsonl(folder / mixtures.KEPT))
    random.Random("mixture/5").shuffle(kept)
    assert mixtures.read_mixture(folder, "hybrid", 5) == kept, "the order of a shuffled list, as records were made with"


def test_an_export_leaves_no_half_file_behind(folder, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text("[]")
    lines = (folder / mixtures.KEPT).read_text().splitlines()
    (folder / mixtures.KEPT).write_text(
        "\n".join([*lines, '{"source": "mini-GSM8K (CoT)", "kind": "cot", "author": ""}'])
    )
    with pytest.raises(KeyError):
        export.export_mixture(folder, tmp_path / "out", "hybrid", seed=0)
    assert (tmp_path / "out" / "train.json").read_text() == "[]"
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "train.json"]


def test_the_command_line_exports_and_says_what_comes_next(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    assert export.main(["release", "pot", str(tmp_path / "out")]) == 1
    assert "-p dataset release" in capsys.readouterr().err
    monkeypatch.setattr(export, "ensure_dataset", lambda dataset: folder)
    assert export.main(["miniature", "pot", str(tmp_path / "out")]) == 0
    assert "18 rows; publish them with" in capsys.readouterr().out
