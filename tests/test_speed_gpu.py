"""The GPU's speed run, at a small width on the CPU: every part runs, is kept as it ends, and says what it is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mammoth_utils import paths, records

pytest.importorskip("torch")
SCRIPT = str(paths.root() / "speed" / "gpu.py")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment,
    )  # fmt: skip


@pytest.mark.long
def test_every_part_runs_without_a_gpu_and_says_that_it_shows_nothing_of_one(tmp_path):
    done = run("--out", str(tmp_path / "gpu.json"), "--minutes", "30")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "no GPU here: the parts run at a small width on the CPU" in done.stdout
    record = records.read_json(tmp_path / "gpu.json")
    assert not record["shown"]
    parts = record["parts"]
    assert list(parts) == ["attention", "matrix_product", "lora", "qlora", "full", "padded", "saved", "page"]
    assert parts["attention"]["agrees"]
    assert parts["attention"]["documents"] == 6
    for name in ("lora", "qlora", "full"):
        assert parts[name]["passes"] == 1, "as many rows a pass as the plan fits"
        assert parts[name]["padding"] == 0
        assert parts[name]["examples_a_step"] == 16
    assert parts["full"]["optimizer"] == "adamw"
    assert 0 < parts["padded"]["padding"] < 1
    assert parts["saved"]["completions"] == 10
    assert parts["saved"]["merged_away"] < 1e-3
    assert (parts["page"]["steps"], parts["page"]["method"]) == (2, "qlora")


@pytest.mark.long
def test_a_part_for_which_no_time_is_left_is_left_out_and_kept_as_such(tmp_path):
    done = run("--out", str(tmp_path / "gpu.json"), "--minutes", "0", "--parts", "matrix_product")
    assert done.returncode == 0, done.stderr[-3000:]
    assert records.read_json(tmp_path / "gpu.json")["parts"]["matrix_product"]["left_out"] == "0 minutes had passed"
    assert "unknown part 'sound'; known: attention" in run("--parts", "sound").stderr
