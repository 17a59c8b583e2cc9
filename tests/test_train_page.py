"""The page `train` at every real size and by every method, unchanged, by papermill on a CPU.

Bases are random weights in the published architecture at small width, in hub form below ``MAMMOTH_BASES``; the data is
a small release. Two runs go at once, as on two cores; each case waits for its own.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import hub_bases
import pytest

from mammoth_utils import pages, paths, records, scales
from mammoth_utils.curation.sources import release
from mammoth_utils.evaluation import describe_evaluation

ROOT = Path(__file__).resolve().parent.parent
# Every size and every method: what a method does differs by size in its numbers only.
CASES = [("7b", "lora"), ("7b", "qlora"), ("13b", "lora"), ("34b", "qlora"), ("70b", "full")]


def two_steps(size: str, method: str) -> list[str]:
    """The parameters of a page that trains two short steps."""
    return ["-p", "size", size, "-p", "method", method, "-p", "max_steps", "2", "-p", "max_length", "512"]


class Runs:
    """Pages that are executed in the background, and what was seen in a page's file while it ran."""

    def __init__(self, folder: Path, cases: list[tuple[str, str]]) -> None:
        self.folder, self.pool = folder, ThreadPoolExecutor(2)
        hub_bases.small_release(folder / "data" / release.FILE)
        for size in dict(cases):
            hub_bases.write(folder / "bases" / scales.scale(size).base, size)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self.environment = {
            **kept, "HF_HUB_OFFLINE": "1", "MAMMOTH_BASES": str(folder / "bases"), "CUDA_VISIBLE_DEVICES": "",
            "MAMMOTH_DATA_DIR": str(folder / "data"), "MAMMOTH_RUNS_DIR": str(folder / "runs"), "OMP_NUM_THREADS": "1",
            "MAMMOTH_ROOT": str(ROOT),
        }  # fmt: skip
        self.seen: dict[str, list[str]] = {}
        self.futures: dict[tuple[str, str], Future] = {case: self.pool.submit(self._run, *case) for case in cases}

    def page(self, size: str, method: str) -> Path:
        return self.folder / f"train-{size}-{method}.ipynb"

    def _run(self, size: str, method: str) -> subprocess.CompletedProcess:
        out = self.page(size, method)
        command = [
            sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(out), "--autosave-cell-every", "1",
            *two_steps(size, method),
        ]  # fmt: skip
        with open(self.folder / f"{out.stem}.log", "w+") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
            lines = self.seen.setdefault(out.stem, [])
            while process.poll() is None:
                text = out.read_text(encoding="utf8") if out.is_file() else ""
                lines += [line for line in ("step 1 of 2", "step 2 of 2") if line in text and line not in lines]
                time.sleep(0.1)
            log.seek(0)
            return subprocess.CompletedProcess(command, process.returncode, stderr=log.read()[-4000:])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = Runs(tmp_path_factory.mktemp("pages"), CASES)
    yield made
    made.pool.shutdown(cancel_futures=True)


def outputs(page: Path) -> str:
    """All that a page shows, as plain text."""
    shown = []
    for cell in json.loads(page.read_text(encoding="utf8"))["cells"]:
        for output in cell.get("outputs", ()):
            shown.append("".join(output.get("text") or output.get("data", {}).get("text/plain", "")))
    return "\n".join(shown)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize(("size", "method"), CASES)
def test_the_page_runs_unchanged_for_every_size_and_every_method(runs, monkeypatch, size, method):
    done = runs.futures[size, method].result(timeout=1800)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(runs.folder / "runs"))
    monkeypatch.setenv("MAMMOTH_BASES", str(runs.folder / "bases"))
    scale = scales.scale(size)
    folder = paths.run_dir("train", f"{scale.family}-{size}-hybrid-{method}-s0-max_steps2-max_length512")
    record = records.read_json(folder / "record.json")
    assert record["steps"] == 2
    assert record["packing"]["examples_per_step"] == scale.recipe.batch(method), "examples, not rows"
    assert record["base"]["name"] == scale.base
    layers, heads, keys, theta, _ = hub_bases.SHAPES[size]
    config = records.read_json(folder / "model" / "config.json")
    assert (config["num_hidden_layers"], config["num_attention_heads"], config["num_key_value_heads"]) == (
        layers, heads, keys,
    )  # fmt: skip
    assert config["rope_parameters"]["rope_theta"] == theta
    assert config["vocab_size"] == hub_bases.VOCABULARY
    assert (folder / "adapter").is_dir() == (method != "full")
    assert record["model"]["trained"] == record["model"]["parameters"] or method != "full"
    shown = outputs(runs.page(size, method))
    counted = record["model"]["parameters"] - (record["model"]["trained"] if method != "full" else 0)
    assert f"{counted:,} parameters train on the CPU" in shown, "the plan counted with the base's own numbers"
    assert "step 2 of 2 · loss" in shown
    assert runs.seen[f"train-{size}-{method}"], "the page's file showed the steps while they were made"
    assert shown.count("step ") < 12, "and holds the last state only"


@pytest.mark.alone
@pytest.mark.long
def test_the_line_that_ends_the_page_evaluates_this_very_model(runs, monkeypatch):
    runs.futures["7b", "qlora"].result(timeout=1800)
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(runs.folder / "runs"))
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(runs.folder / "data"))
    line = next(line for line in outputs(runs.page("7b", "qlora")).splitlines() if "notebooks/evaluate.ipynb" in line)
    words = line.split()
    given = {words[at + 1]: words[at + 2] for at, word in enumerate(words) if word == "-p"}
    asked = pages.resolve("evaluate", given).as_dict()
    described = inspect.signature(describe_evaluation).parameters  # the page's others say how fast, and not what
    plan = describe_evaluation(**{name: value for name, value in asked.items() if name in described})
    folder = paths.run_dir("train", "llama-7b-hybrid-qlora-s0-max_steps2-max_length512")
    assert Path(plan.model) == folder / "model"
    assert plan.world == "real"


# --- a finished run on a machine that could not train it ------------------------------------------------------------

FINISHED = "llama-7b-hybrid-lora-s0-max_steps2-max_length512"


@pytest.fixture(scope="module")
def finished(runs):
    """A run of the 7B that finished on a machine which has its base."""
    done = runs.futures["7b", "lora"].result(timeout=1800)
    assert done.returncode == 0, done.stderr
    return runs


@pytest.mark.long
@pytest.mark.parametrize(("left", "shown", "not_shown"), [
    (None, ["examples of", "⟦"], ["not here:"]),  # the weights, and the tokenizer beside them
    (["run.json", "record.json", "curve.jsonl"], ["not here: the base's tokenizer", "not here: tokens"], ["⟦"]),
])  # fmt: skip
def test_a_finished_run_is_read_to_the_pages_end_where_neither_its_base_nor_a_card_is(
    finished, tmp_path, left, shown, not_shown
):
    there, here = finished.folder / "runs" / "train" / FINISHED, tmp_path / "runs" / "train" / FINISHED
    shutil.copytree(there, here, ignore=None if left is None else lambda _, names: set(names) - set(left))
    # As cards would have left it: `auto` cuts the model over several, and asks for none where there is none.
    records.write_json(here / "run.json", records.read_json(here / "run.json") | {"sharding": "fsdp2"})
    before = {file.name: file.stat().st_mtime_ns for file in here.iterdir()}
    bases = tmp_path / "no bases"
    bases.mkdir()
    environment = finished.environment | {
        "MAMMOTH_RUNS_DIR": str(tmp_path / "runs"), "MAMMOTH_BASES": str(bases), "HF_HOME": str(tmp_path / "hub"),
    }  # fmt: skip
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(out), *two_steps("7b", "lora")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    said = outputs(out)
    assert f"{FINISHED} was finished: its record is read, which needs neither its base nor a card" in said
    assert "nothing was fetched" in said
    assert "step 2 of 2 · loss" in said, "the curve"
    assert "papermill notebooks/evaluate.ipynb" in said, "the page's last cell"
    for words in shown:
        assert words in said
    for words in not_shown:
        assert words not in said
    assert {file.name: file.stat().st_mtime_ns for file in here.iterdir()} == before, "read, and not made again"
    assert [folder.name for folder in (tmp_path / "runs" / "train").iterdir() if folder.is_dir()] == [FINISHED]


# --- refused within seconds, by the page ----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(("given", "words"), [
    ({"size": "14b"}, ["parameter 'size' cannot be '14b'; did you mean", "known: 1m, 3m, 0.5b"]),
    ({"siez": "13b"}, ["unknown parameter 'siez'; did you mean 'size'?"]),
    ({"size": "7b", "base": "nowhere"}, ["'nowhere' is neither a folder here nor a hub name"]),
    ({"size": "13b"}, ["the weights of meta-llama/Llama-2-13b-hf", "an NVIDIA GPU", "-p force true"]),
])  # fmt: skip
def test_a_page_that_cannot_run_says_so_within_seconds_and_what_to_do(tmp_path, given, words):
    command = [sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(tmp_path / "out.ipynb")]
    for name, value in given.items():
        command += ["-p", name, value]
    environment = {**os.environ, "MAMMOTH_RUNS_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path),
                   "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    shown = " ".join((tmp_path / "out.ipynb").read_text(encoding="utf8").split())
    for word in words:
        assert word in done.stderr or word in shown
    cells = json.loads((tmp_path / "out.ipynb").read_text(encoding="utf8"))["cells"]
    took = sum(cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells)
    assert took < 30, "the cells themselves, without the kernel's start"
    ran = sum(bool(cell.get("execution_count")) for cell in cells)
    assert ran <= 4 or set(given) & {"base", "sharding"} or given == {"size": "13b"}, (
        "a parameter that cannot be used stops the page in the cell that resolves them"
    )
