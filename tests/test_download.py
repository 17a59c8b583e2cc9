"""`make data` puts upstream files into the layout, checks them, and goes on where one cannot be had."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from local_server import serving

from mammoth_utils import records
from mammoth_utils.curation.sources import download
from mammoth_utils.curation.sources.download import Item, Part, public_files

REAL = os.environ.get("MAMMOTH_DATA_DIR", "")
needs_real = pytest.mark.skipif(not REAL, reason="MAMMOTH_DATA_DIR names no folder of real data")
RAW = "https://raw.githubusercontent.com"
ROWS = [{"question": "Wie viele Äpfel?", "answer": 1}, {"question": "x?", "answer": "B"}]
UPSTREAM = json.dumps(ROWS, indent=2).encode()
MADE = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def upstream(tmp_path):
    """A web server over a folder; yields the folder and its address."""
    root = tmp_path / "upstream"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def log_message(self, *args):
            pass

    with serving(Quiet) as server:
        yield root, server.url


def item(*homes: str, sha256: str | None = None, name: str = "eval/x.jsonl", made: bytes = MADE) -> Item:
    return Item(name, (Part(homes, sha256),), sha(made), download.list_to_lines)


def test_a_file_is_fetched_checked_and_brought_into_the_layout(upstream, tmp_path):
    root, url = upstream
    (root / "x.json").write_bytes(UPSTREAM)
    one = item(f"{RAW}/x.json", sha256=sha(UPSTREAM))
    path = download.fetch(one, tmp_path / "data", hosts={RAW: url})
    assert path.read_bytes() == MADE
    assert download.is_there(one, tmp_path / "data")


def test_a_compressed_file_has_the_same_bytes_each_time(upstream, tmp_path):
    root, url = upstream
    (root / "x.json").write_bytes(UPSTREAM)
    one = item(f"{RAW}/x.json", name="train/x.jsonl.gz")
    first = download.fetch(one, tmp_path / "a", hosts={RAW: url}).read_bytes()
    assert first == download.fetch(one, tmp_path / "b", hosts={RAW: url}).read_bytes()
    assert gzip.decompress(first) == MADE


@pytest.mark.parametrize("damage", [lambda whole: whole[:-9], lambda whole: whole[:10] + b"\xff" * 9 + whole[19:]])
def test_a_cut_or_spoilt_archive_is_not_there(upstream, tmp_path, damage):
    root, url = upstream
    (root / "x.json").write_bytes(UPSTREAM)
    one = item(f"{RAW}/x.json", name="train/x.jsonl.gz")
    path = download.fetch(one, tmp_path, hosts={RAW: url})
    path.write_bytes(damage(path.read_bytes()))
    assert not download.is_there(one, tmp_path)


def test_the_second_home_is_taken_where_the_first_has_nothing(upstream, tmp_path):
    root, url = upstream
    (root / "second.json").write_bytes(UPSTREAM)
    one = item(f"{RAW}/first.json", f"{RAW}/second.json", sha256=sha(UPSTREAM))
    assert download.fetch(one, tmp_path, hosts={RAW: url}).read_bytes() == MADE


def test_a_changed_upstream_file_is_refused(upstream, tmp_path):
    root, url = upstream
    (root / "x.json").write_bytes(UPSTREAM.replace(b"1", b"2"))
    with pytest.raises(OSError, match="no second home is known"):
        download.fetch(item(f"{RAW}/x.json", sha256=sha(UPSTREAM)), tmp_path, hosts={RAW: url})
    with pytest.raises(ValueError, match=r"eval/x\.jsonl: expected content with SHA-256"):
        download.fetch(item(f"{RAW}/x.json"), tmp_path, hosts={RAW: url})
    assert not (tmp_path / "eval" / "x.jsonl").exists()


def test_what_cannot_be_fetched_is_listed_and_the_rest_goes_on(upstream, tmp_path, monkeypatch, capsys):
    root, url = upstream
    (root / "x.json").write_bytes(UPSTREAM)
    monkeypatch.delenv("MAMMOTH_DATA_DIR", raising=False)
    monkeypatch.setattr(download.paths, "root", lambda: tmp_path)
    items = (item(f"{RAW}/gone.json", name="eval/gone.jsonl"), item(f"{RAW}/x.json"))
    monkeypatch.setattr(download, "public_files", lambda: items)
    assert download.main(["--mirror", f"{RAW}={url}"]) == 1
    told = capsys.readouterr().out
    assert "eval/gone.jsonl: FAILED" in told
    assert "eval/x.jsonl: fetched" in told
    assert "1 of 2 files are there" in told
    assert "release/MathInstruct.json: by hand" in told
    monkeypatch.setattr(download, "public_files", lambda: items[1:])
    (root / "x.json").unlink()
    assert download.main([]) == 0, "what is there is not fetched again"


def test_a_host_that_does_not_answer_is_tried_once(tmp_path):
    dead: set[str] = set()
    one = item("http://127.0.0.1:9/x.json")
    for expected in ("ConnectionError", "does not answer"):
        with pytest.raises(OSError, match=expected):
            download.fetch(one, tmp_path, dead)


def test_with_a_data_folder_named_nothing_is_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(download, "fetch", lambda *args, **more: pytest.fail("fetched"))
    assert download.main([]) == 1
    assert "nothing is fetched" in capsys.readouterr().out


def test_every_file_is_named_once_at_a_fixed_commit():
    assert len({one.name for one in public_files()}) == len(public_files())
    assert sum(one.name.startswith("eval/") for one in public_files()) == 10
    for one in public_files():
        assert len(one.sha256) == 64
        for part in one.parts:
            assert part.homes
            for home in part.homes:
                assert any(len(piece) == 40 and set(piece) <= set("0123456789abcdef") for piece in home.split("/")), (
                    home
                )


def as_upstream(name: str, folder: Path) -> list[bytes]:
    """The upstream form of a file of the layout, written back from it."""
    file = folder / name
    rows = [] if name.endswith(".tsv.gz") else list(records.read_jsonl(file))
    if name == "eval/math.jsonl":
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for row in reversed(rows):
                data = json.dumps({key: row[key] for key in row if key != "file"}).encode()
                entry = tarfile.TarInfo(f"MAmmoTH2-9c67/math_eval/dataset/math/{row['file']}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return [packed.getvalue()]
    if name == "train/lila_mathqa_gain.jsonl.gz":
        return [json.dumps({"Source": "x", "Instances": rows}).encode()]
    if name == "train/numglue_pot_from_htl.jsonl.gz":
        parts = ("train/htl_mistral_numglue.jsonl.gz", "train/htl_llama_my_numglue.jsonl.gz")
        return [json.dumps(list(records.read_jsonl(folder / part))).encode() for part in parts]
    if name.startswith("eval/") and name not in ("eval/gsm8k.jsonl", "eval/aqua.jsonl"):
        plain = name in ("eval/numglue.jsonl", "eval/mmlu_mathematics.jsonl", "eval/theoremqa.jsonl")
        return [json.dumps(rows, indent=4 if "svamp" in name else 2, ensure_ascii=plain).encode()]
    return [download.content(file)]


@needs_real
@pytest.mark.parametrize("one", public_files(), ids=lambda one: one.name)
def test_the_real_upstream_form_becomes_the_layouts_file(one, tmp_path):
    if not (Path(REAL) / one.name).is_file():
        pytest.skip(f"{one.name} is not in the folder of real data")
    parts = as_upstream(one.name, Path(REAL))
    for part, expected in zip(parts, one.parts, strict=True):
        if expected.sha256:
            assert sha(part) == expected.sha256, "the file that upstream serves"
    path = download.make(one, parts, tmp_path)
    assert download.is_there(one, tmp_path)
    assert download.is_there(one, Path(REAL))
    assert download.content(path) == download.content(Path(REAL) / one.name)
