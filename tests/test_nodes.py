"""A run of several nodes: the lines that start it on each, and what its page sees of errors and of silence there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import test_live
import tiny_base

from mammoth_utils import records, training
from mammoth_utils.training import NotReadyError, check_readiness, train
from mammoth_utils.training.cluster import launch, node_errors
from mammoth_utils.training.description import FORCE_VARIABLE
from mammoth_utils.training.plan import planner, this_machine

SETTINGS = (*launch.FOLDERS, *launch.SETTINGS, FORCE_VARIABLE, "PYTHONPATH")


def describe(*arguments, **parameters):
    """Describe a run for the GPUs that a test gives this machine."""
    return training.describe(*arguments, **parameters, gpus=this_machine.find_gpus())


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path


# --- the lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "cards", "expected", "because"), [
    ({"size": "70b"}, 0, "gpu", "a login node shows no card, so each node counts its own"),
    ({"size": "70b"}, 8, "8", "the page runs on one of the nodes"),
    ({"size": "70b", "devices": "4"}, 0, "4", "what was asked for, also where no card is seen"),
    ({"size": "70b", "devices": "4"}, 8, "4", "what was asked for, and not all that are seen"),
    ({"size": "70b", "devices": "cpu"}, 8, "1", "a processor is one device"),
    ({"size": "1m"}, 8, "1", "the miniature trains on the CPU unless it is told otherwise"),
    ({"size": "1m"}, 0, "1", "and needs no card on a node"),
])  # fmt: skip
def test_each_node_starts_a_process_for_each_device_that_the_run_has_there(
    here, monkeypatch, given, cards, expected, because
):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 79.6)] * cards)
    for line in launch.cluster_lines(describe(method="full", nodes=2, **given)):
        assert f"--nproc-per-node {expected} " in line, because


@pytest.mark.parametrize(("given", "cards", "expected", "because"), [
    ({"devices": "2"}, 8, (1, 2, 79.0), "two of eight are two, which each hold it"),
    ({}, 8, (1, 8, 40.0), "auto takes all, and the smallest card decides"),
    ({"sharding": "fsdp2"}, 8, (8, 1, 40.0), "asked to share it"),
    ({"sharding": "none"}, 8, (1, 8, 40.0), "each card holds a whole run"),
    ({"devices": "2", "sharding": "none"}, 8, (1, 2, 79.0), "two cards with a whole run each"),
    ({"nodes": 4}, 8, (1, 32, 40.0), "as many on each further node"),
    ({"devices": "4", "nodes": 2}, 0, (8, 1, planner.SMALL_GPU_GIB), "asked for on nodes that are not seen from here"),
    ({"devices": "cpu"}, 8, (1, 1, planner.SMALL_GPU_GIB), "the cards of this machine are not the run's"),
    ({}, 0, (1, 1, planner.SMALL_GPU_GIB), "one of 24 GB where there is none"),
])  # fmt: skip
def test_the_page_plans_the_cards_that_the_run_will_take(here, monkeypatch, given, cards, expected, because):
    seen = [this_machine.Gpu("H100", 79.0 if at < 7 else 40.0) for at in range(cards)]
    monkeypatch.setattr(this_machine, "find_gpus", lambda: seen)
    setup = launch.gpu_setup(describe("7b", method="lora", **given), seen)
    assert (setup.sharing, setup.replicas, setup.gib) == expected, because


def test_the_lines_name_interpreter_nodes_module_and_file(here, monkeypatch):
    monkeypatch.setattr(this_machine, "find_gpus", list)
    description = describe("70b", method="full", nodes=4, name="a")
    by_hand, slurm = launch.cluster_lines(description)
    words = shlex.split(by_hand)
    at = words.index("-m")
    assert Path(words[at - 1]).absolute() == Path(sys.executable), "no torchrun has to be on a node's PATH"
    assert words[at + 1] == launch.AGENT
    assert "--nnodes 4 --nproc-per-node gpu --node-rank $NODE --master-addr $HEAD --master-port 29500" in by_hand
    assert words[-3:] == ["-m", "mammoth_utils.training", str(here / "runs" / "train" / "a" / "run.json")]
    assert "srun --nodes 4 --ntasks-per-node 1 bash -c " in slurm
    assert shlex.split(slurm.split("bash -c ")[1]) == [f"NODE=$SLURM_NODEID; {by_hand}"]
    assert "--nnodes 2 " in launch.cluster_lines(description, 2)[0], "a page of one node shows what two would be told"


def test_a_run_in_the_project_is_named_from_the_projects_folder(here, monkeypatch):
    monkeypatch.delenv("MAMMOTH_RUNS_DIR")
    words = shlex.split(launch.cluster_lines(describe("70b", method="full", nodes=2, name="a"))[0])
    assert words[-1] == "runs/train/a/run.json"
    assert "PYTHONPATH=src" in words


@pytest.mark.parametrize(("variable", "value"), [
    ("MAMMOTH_RUNS_DIR", "a folder"),
    ("MAMMOTH_BASES", "bases"),
    ("HF_HOME", "hub"),
    ("HF_HUB_CACHE", "hub/cache"),
    ("HF_HUB_OFFLINE", "1"),
    ("TRANSFORMERS_OFFLINE", "1"),
    ("HF_ENDPOINT", "https://hub.example/?a=b&c"),
    ("WANDB_MODE", "online"),
])  # fmt: skip
def test_a_process_that_a_line_starts_has_the_settings_of_the_page(here, monkeypatch, variable, value):
    if variable in launch.FOLDERS:
        value = str(here / value)
        Path(value).mkdir(parents=True)
    monkeypatch.setenv(variable, value)
    described = describe("70b", method="full", nodes=2, name="a")
    assert started(launch.cluster_lines(described)[0], [variable, FORCE_VARIABLE]) == [value, "None"]
    forced = describe("70b", method="full", nodes=2, name="a", force=True)
    assert started(launch.cluster_lines(forced)[0], [variable, FORCE_VARIABLE]) == [value, "1"]


def started(line: str, names: list[str]) -> list[str]:
    """What a process sees of some variables that is started by the line, torchrun left out, in an empty environment."""
    code = f"import os; print(*(repr(os.environ.get(name)) for name in {names!r}), sep='\\n')"
    interpreter = shlex.quote(sys.executable)
    head = line.split(f" -m {launch.AGENT}")[0]
    head = head[: head.rindex(" ") + 1] + interpreter
    done = subprocess.run(["bash", "-c", f"{head} -c {shlex.quote(code)}"], env={"PATH": os.environ["PATH"]},
                          capture_output=True, text=True, check=True)  # fmt: skip
    return [word.strip("'") for word in done.stdout.splitlines()]


def test_no_token_or_key_stands_in_a_line(here, monkeypatch):
    for name in ("HF_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "secret-of-mine")
    for line in launch.cluster_lines(describe("70b", method="full", nodes=2, force=True)):
        assert "secret-of-mine" not in line


def test_a_login_node_without_cards_and_with_little_memory_lets_a_run_of_several_nodes_wait(here, monkeypatch):
    test_live.tiny_base_of_70b(here, monkeypatch)
    monkeypatch.setattr(this_machine, "find_gpus", list)
    monkeypatch.setattr(this_machine, "free_memory", lambda: 4.0)
    lines = check_readiness(describe("70b", method="full", nodes=4))
    assert "the cards of 4 nodes are not seen from here; each node looks at its own" in lines
    with pytest.raises(NotReadyError, match="an NVIDIA GPU"):
        check_readiness(describe("70b", method="full"))


# --- what the page sees ---------------------------------------------------------------------------------------------


class Page:
    """A page that waits for two nodes in the background: what it said, and what became of it."""

    def __init__(self, description, rows):
        self.lines, self.record, self.error = [], None, None
        self._thread = threading.Thread(target=self._wait, args=(description, rows), daemon=True)
        self._thread.start()
        self.until(lambda: any("prepared for 2 nodes" in line for line in self.lines))

    def _wait(self, description, rows):
        try:
            self.record = train(description, rows, on_line=self.lines.append)
        except Exception as error:
            self.error = error

    def until(self, true, seconds=30.0):
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; said: {self.lines}, {self.error!r}"
            time.sleep(0.05)

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()


@pytest.fixture
def quick(monkeypatch):
    """Looks of fractions of a second."""
    monkeypatch.setattr(launch, "POLL_S", 0.05)
    monkeypatch.setattr(node_errors, "GATHER_S", 0.3)
    monkeypatch.setattr(node_errors, "CHECK_S", 0.05)


@pytest.fixture
def described(here):
    pytest.importorskip("torch")
    base = tiny_base.base(here / "base")
    return describe("1m", base=str(base), max_length=320, nodes=2, sharding="none", name="a")


def fail(folder, said, monkeypatch, rank=0):
    """A worker that ends by an error."""
    monkeypatch.setenv("RANK", str(rank))
    with pytest.raises(OSError, match=said), node_errors.store_errors(folder):
        raise OSError(said)
    monkeypatch.delenv("RANK")


def test_the_error_of_a_worker_on_a_node_ends_the_page_with_its_own_traceback(quick, described, monkeypatch):
    page = Page(described, tiny_base.rows(8))
    fail(described.folder, "no space left on this node", monkeypatch, rank=3)
    fail(described.folder, "connection to rank 3 is lost", monkeypatch, rank=0)
    page.until(lambda: not page.waits)
    said = str(page.error)
    assert isinstance(page.error, RuntimeError)
    assert "rank3; after it failed rank0:" in said
    assert "Traceback" in said
    assert "no space left on this node" in said
    assert "connection to rank 3" not in said, "the first error is the cause"


def test_what_is_left_of_an_attempt_that_failed_is_not_taken_for_an_error_of_the_next(quick, described, monkeypatch):
    rows = tiny_base.rows(8)
    page = Page(described, rows)
    monkeypatch.setenv("RANK", "1")
    late = node_errors.store_errors(described.folder)
    late.__enter__()  # a worker of the first attempt, which hangs until its peers are long gone
    fail(described.folder, "of the first attempt", monkeypatch)
    page.until(lambda: not page.waits)
    again = Page(described, rows)
    monkeypatch.setenv("RANK", "1")
    assert not late.__exit__(TimeoutError, TimeoutError("of the first attempt, too late"), None), "it ends by it"
    assert len(list((described.folder / node_errors.FOLDER).glob("*-rank1.json"))) == 1
    time.sleep(0.5)
    assert again.waits, again.error
    fail(described.folder, "of the second attempt", monkeypatch)
    again.until(lambda: not again.waits)
    assert "of the second attempt" in str(again.error)


def test_a_page_that_is_opened_again_sees_the_errors_of_workers_that_it_left_running(quick, described, monkeypatch):
    first = node_errors.begin_attempt(described.folder)
    assert node_errors.begin_attempt(described.folder) == first
    fail(described.folder, "of a worker that runs on", monkeypatch)
    assert node_errors.begin_attempt(described.folder) != first


def test_points_of_an_attempt_that_failed_before_its_first_checkpoint_are_not_shown_again(described, monkeypatch):
    node_errors.begin_attempt(described.folder)
    curve = described.folder / "curve.jsonl"
    curve.write_text('{"step": 1}\n')
    node_errors.begin_attempt(described.folder)
    assert curve.exists(), "an attempt that may still run writes there"
    fail(described.folder, "early", monkeypatch)
    node_errors.begin_attempt(described.folder)
    assert not curve.exists()


def test_a_worker_of_one_machine_leaves_no_file_of_its_error(described, monkeypatch):
    described.folder.mkdir(parents=True)
    fail(described.folder, "seen by torchrun", monkeypatch)
    assert list(described.folder.iterdir()) == []


def test_a_page_says_aloud_that_nothing_moves_and_waits_on(quick, described, monkeypatch):
    monkeypatch.setattr(node_errors, "QUIET_S", 0.6)
    page = Page(described, tiny_base.rows(8))
    page.until(lambda: sum("nothing has moved for" in line for line in page.lines) == 2)
    assert page.waits
    assert max(map(len, page.lines)) <= 160, "a page cuts a line of workers there"
    assert "nothing has moved for" in (described.folder / "train.log").read_text()
    (described.folder / "curve.jsonl").write_text('{"step": 1}\n')
    page.until(lambda: page.lines[-1] == "the run moves again")
    records.write_record(described.folder, {"steps": 1})
    page.until(lambda: not page.waits)
    assert page.record["steps"] == 1


def test_what_a_run_lacks_is_said_before_the_page_waits(here, monkeypatch):
    monkeypatch.setattr(this_machine, "find_gpus", list)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotReadyError, match="neither a folder here nor a hub name"):
        train(describe("70b", method="full", base="nowhere", nodes=2), tiny_base.rows(8))


@pytest.mark.long
def test_a_worker_started_by_the_line_leaves_its_traceback_for_the_page(quick, here, monkeypatch):
    pytest.importorskip("torch")
    base = tiny_base.base(here / "base")
    monkeypatch.setenv("MAMMOTH_BASES", str(here))
    description = describe("1m", base=str(base), max_length=320, nodes=2, sharding="none", name="a")
    page = Page(description, [{**row, "output": " "} for row in tiny_base.rows(8)])
    command = [sys.executable, "-m", "mammoth_utils.training", str(description.folder / "run.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "RANK": "0"})
    assert done.returncode != 0
    page.until(lambda: not page.waits)
    assert "of 8 rows none is left to train on" in str(page.error)
    assert "encoding.py" in str(page.error)
