"""A run that was killed goes on as if it had not been: SIGKILL at random steps, a full disk, half a checkpoint."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_base

from mammoth_utils import records
from mammoth_utils.training import describe, finetune
from mammoth_utils.training.loop import checkpoints

pytest.importorskip("torch")

STEPS, KILLS = 60, 5
TRAIN = (
    "import sys; from mammoth_utils import records; from mammoth_utils.training import finetune\n"
    "from mammoth_utils.training.description import RunDescription\n"
    "description = RunDescription.from_dict(records.read_json(sys.argv[1]))\n"
    "def told(point):\n    print(point['step'], flush=True)\n"
    "finetune(description, list(records.read_jsonl(sys.argv[2])), told)\n"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def run(name, **changes):
    """A run of the miniature's own base on rows of its own kind, with a checkpoint after each step."""
    asked = {key: changes.pop(key) for key in ("method", "base", "max_steps", "learning_rate") if key in changes}
    description = describe("1m", name=name, **({"max_steps": STEPS} | asked))
    return dataclasses.replace(description, logging_steps=1, checkpoint_minutes=1e-9, **changes)


def start(folder: Path, description, rows) -> subprocess.Popen:
    """The run in a process of its own, which prints each step."""
    asked, mixture = folder / f"{description.name}.json", folder / "mixture.jsonl"
    records.write_json(asked, description.as_dict())
    records.write_jsonl(mixture, rows)
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(asked), str(mixture)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )


def curve(description):
    """The run's curve without what a clock and other processes put there."""
    return [
        {key: value for key, value in point.items() if key not in ("seconds", "memory_gib")}
        for point in records.read_jsonl(description.folder / "curve.jsonl")
    ]


@pytest.mark.long
@pytest.mark.parametrize("method", ["full", "qlora"])
def test_five_sigkills_at_random_steps_leave_the_weights_of_an_undisturbed_run_to_the_bit(here, method):
    rows = tiny_base.rows(400)
    undisturbed, killed = run("undisturbed", method=method), run("killed", method=method)
    whole = finetune(undisturbed, rows)
    draw = random.Random(2024)
    steps = sorted(draw.sample(range(3, STEPS - 2), KILLS))
    for step in steps:
        process = start(here, killed, rows)
        for line in process.stdout:
            if int(line) >= step:
                # In the middle of whatever comes next: a step, a checkpoint that is written, or its renaming.
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        assert process.returncode == -signal.SIGKILL
        assert not (killed.folder / "record.json").exists()
        assert len(checkpoints.list_checkpoints(killed.folder / "checkpoints")) <= 3, (
            "two, and one that was just renamed"
        )
    process = start(here, killed, rows)
    last = [int(line) for line in process.stdout]
    assert process.wait() == 0
    log = (killed.folder / "train.log").read_text()
    assert log.count("goes on from checkpoint-") == KILLS
    assert len([step for step in last if step > steps[-1]]) >= STEPS - steps[-1] - 1
    record = records.read_json(killed.folder / "record.json")
    assert record["model"]["hash"] == whole["model"]["hash"]
    assert curve(killed) == curve(undisturbed)
    assert record["tokens"]["seen"] == whole["tokens"]["seen"]
    assert not (killed.folder / "checkpoints").exists(), "a finished run needs none"


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="a small disk of one's own needs root on Linux"
)
def test_a_full_disk_costs_one_checkpoint_and_not_the_run(here, monkeypatch):
    base = tiny_base.base(here / "tiny", width=64)
    rows = tiny_base.rows(24)
    small = {"base": str(base), "max_steps": 8, "max_length": 640}
    roomy = run("roomy", **{k: small[k] for k in ("base", "max_steps")})
    whole = finetune(roomy, rows)
    disk = here / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(disk)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(disk / "runs"))
        description = run("full", **{k: small[k] for k in ("base", "max_steps")})
        filler = disk / "filler"

        def fill(point):
            # Two checkpoints fit, then somebody else's file takes the room, and at step 7 it is gone again.
            if point["step"] == 3:
                free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
                filler.write_bytes(bytes(free - 200_000))
            if point["step"] == 7:
                filler.unlink()

        seen = []
        record = finetune(description, rows, lambda point: (fill(point), seen.append(last_of(description))))
        log = (description.folder / "train.log").read_text()
        assert "the checkpoint of step 3 was not written, the disk has no room" in log
        assert "the last good one is checkpoint-2" in log
        assert seen[5] == "checkpoint-2", "it stays while no new one can be written"
        assert record["model"]["hash"] == whole["model"]["hash"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def last_of(description) -> str | None:
    last = checkpoints.find_checkpoint(description.folder / "checkpoints")
    return last and last.name


def test_an_error_that_is_not_the_disks_ends_the_run(here, monkeypatch):
    import torch

    base = tiny_base.base(here / "tiny")

    def broken(*arguments, **options):
        raise RuntimeError("an optimiser that cannot be pickled")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        finetune(run("a", base=str(base), max_steps=4), tiny_base.rows(24))
    assert not checkpoints.list_checkpoints(run("a", base=str(base), max_steps=4).folder / "checkpoints")


def stopped(here):
    """A run that was interrupted in its fifth step, with checkpoints of the third and fourth."""
    description = run("a", base=str(tiny_base.base(here / "tiny")), max_steps=6)

    def stop(point):
        if point["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(description, tiny_base.rows(24), stop)
    return description


def test_checkpoints_hold_weights_as_safetensors_only(here):
    description = stopped(here)
    kept = checkpoints.list_checkpoints(description.folder / "checkpoints")
    assert [folder.name for folder in kept] == ["checkpoint-4", "checkpoint-3"]
    for folder in kept:
        listed = set(records.read_json(folder / checkpoints.MANIFEST)["files"])
        assert listed == {file.name for file in folder.iterdir()} - {checkpoints.MANIFEST}
        assert "model.safetensors" in listed
        assert not [name for name in listed if name.endswith((".bin", ".pt")) and "model" in name]
        assert not checkpoints.faults(folder)


def test_half_a_checkpoint_under_its_final_name_is_passed_over(here):
    """As an older program, or a copy that broke off, may leave it: every file, but no list of them."""
    description = stopped(here)
    (description.folder / "checkpoints" / "checkpoint-4" / checkpoints.MANIFEST).unlink()
    finetune(description, tiny_base.rows(24))
    log = (description.folder / "train.log").read_text()
    assert "checkpoint-4 is passed over: complete.json is missing" in log
    assert "goes on from checkpoint-3" in log
