"""GGUF files as base models: read once into a folder, told from each other by their hash, decoded in this process."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_base
import tiny_gguf

from mammoth_utils import records
from mammoth_utils.base_models import BaseModelError, dequantised_folder, describe_gguf, identify_base, weights_hash
from mammoth_utils.evaluation import Request, complete, describe_evaluation, evaluate, load_decoder
from mammoth_utils.training import describe

ROOT = Path(__file__).resolve().parent.parent
gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture
def file(tmp_path, runs):
    tiny_gguf.write(tmp_path / "tiny-q8_0.gguf")
    return tmp_path / "tiny-q8_0.gguf"


def tensors(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_its_numbers_are_those_that_its_reader_gives(file):
    folder = dequantised_folder(file)
    ours, reader = tensors(folder), gguf.GGUFReader(str(file))
    theirs = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    pairs = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight",
             "blk.1.attn_q.weight": "model.layers.1.self_attn.q_proj.weight",
             "blk.1.attn_k.bias": "model.layers.1.self_attn.k_proj.bias",
             "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight"}  # fmt: skip
    for name, ours_name in pairs.items():
        # float16 keeps eleven bits.
        assert np.allclose(ours[ours_name].astype(np.float32), theirs[name], rtol=2**-11, atol=1e-7), name
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("tied", [False, True])
def test_the_head_is_tied_where_the_file_has_none(tmp_path, runs, tied):
    tiny_gguf.write(tmp_path / "m.gguf", tied)
    folder = dequantised_folder(tmp_path / "m.gguf")
    assert records.read_json(folder / "config.json")["tie_word_embeddings"] is tied
    assert ("lm_head.weight" in tensors(folder)) is not tied


def test_it_is_read_once_and_says_what_it_was_made_from(file):
    said = []
    folder = dequantised_folder(file, said.append)
    assert dequantised_folder(file, said.append) == folder
    assert len(said) == 1
    known = identify_base(str(file))
    assert known["sha256"] == records.sha256(file)
    assert (known["file"], known["called"]) == ("tiny-q8_0.gguf", "Tiny Qwen2")
    assert known["tensors"].startswith("Q8_0 ")
    tiny_gguf.write(file, codes="Q5_0")
    assert dequantised_folder(file, said.append) != folder, "another content is another model"


def test_what_is_no_gguf_file_is_named(tmp_path, runs):
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(BaseModelError, match=r"cut\.gguf is no GGUF file, or was cut"):
        dequantised_folder(tmp_path / "cut.gguf")
    with pytest.raises(FileNotFoundError, match="expected a GGUF file, there is none at"):
        describe_evaluation(model=str(tmp_path / "away.gguf"))
    assert not list((tmp_path / "runs" / "bases").glob("*"))


def test_it_is_decoded_and_evaluated_in_this_process(file, tmp_path):
    (completion,) = complete(load_decoder(str(file), device="cpu"), [Request("2 + 2", 5)])
    assert completion.tokens <= 5
    (own := tmp_path / "own.jsonl").write_text('{"question": "What is 2 + 2?", "gold": "4"}\n')
    asked = {"model": str(file), "benchmarks": str(own), "max_new_tokens": 4, "engine": "transformers"}
    record = evaluate(describe_evaluation(**asked, prompt="chat_pot+chat_cot"))
    assert record["model"]["hash"] == records.sha256(file)
    assert record["decoder"]["engine"] == "batched loop"
    assert weights_hash(str(file)) == records.sha256(file), "and not of the folder that was made of it"
    assert describe_gguf(file)["architecture"] == "qwen2"


def test_a_run_takes_the_scale_that_the_file_is_nearest_to(file):
    description = describe(base=str(file), method="lora", devices="cpu", max_rows=8)
    assert (description.size, description.family, description.world) == ("0.5b", "qwen", "real")
    assert description.name.startswith("qwen-0.5b-hybrid-lora-s0-")
    assert "max_rows8" in description.name


@pytest.mark.long
def test_the_page_trains_it_is_killed_goes_on_and_its_last_line_evaluates(file, tmp_path):
    data, own, page = tmp_path / "mine.jsonl", tmp_path / "own.jsonl", tmp_path / "train.ipynb"
    data.write_text("".join(json.dumps(row) + "\n" for row in tiny_base.rows(40)))
    own.write_text('{"question": "What is 2 + 2?", "gold": "4"}\n')
    given = {"base": file, "method": "lora", "devices": "cpu", "dataset": data, "max_rows": 30, "global_batch": 2,
             "max_length": 512, "lora_rank": 4, "checkpoint_minutes": 1e-9}  # fmt: skip
    papermill = [sys.executable, "-m", "papermill"]
    train = [*papermill, "notebooks/train.ipynb", str(page)]
    train += [word for name, value in given.items() for word in ("-p", name, str(value))]
    with open(tmp_path / "killed.log", "w") as log:
        started = subprocess.Popen(train, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        runs_folder = tmp_path / "runs" / "train"
        wait_until(lambda: len(points(runs_folder)) >= 5, started)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    before = points(runs_folder)
    done = subprocess.run(train, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder,) = (path.parent for path in runs_folder.glob("*/record.json"))
    record = records.read_json(folder / "record.json")
    assert (record["steps"], record["dataset"]["rows"]) == (45, 30), "three epochs of thirty rows"
    assert points(runs_folder)[:4] == before[:4], "what was done is not done again"
    assert "goes on from checkpoint-" in (folder / "train.log").read_text()
    base = records.read_json(folder / "run.json")["inputs"]["base"]
    assert (base["sha256"], base["called"]) == (records.sha256(file), "Tiny Qwen2")
    text = "\n".join(
        "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
        for cell in json.loads(page.read_text())["cells"] for output in cell.get("outputs", ())
    )  # fmt: skip
    assert "about" in next(line for line in text.splitlines() if "if nothing else runs beside it" in line)
    line = next(line for line in text.splitlines() if "notebooks/evaluate.ipynb" in line)
    words = shlex.split(line.removeprefix("papermill "))
    words[1] = str(tmp_path / "evaluated.ipynb")
    few = ["-p", "benchmarks", str(own), "-p", "max_new_tokens", "4"]
    evaluated = subprocess.run([*papermill, *words, *few], cwd=ROOT, capture_output=True, text=True)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    (verdicts,) = (records.read_json(path) for path in (tmp_path / "runs" / "evaluate").glob("*/record.json"))
    assert verdicts["model"]["hash"] not in ("", records.sha256(file))


def points(folder):
    """The points of the one curve below a folder."""
    files = list(folder.glob("*/curve.jsonl"))
    return list(records.read_jsonl(files[0])) if files else []


def wait_until(holds, process, seconds=300):
    """Wait until something holds while a process goes on."""
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, "it ended first"
        assert time.monotonic() < end
        time.sleep(0.2)
