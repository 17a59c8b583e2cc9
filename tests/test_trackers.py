"""Trackers: what is sent, once, to whom; what is missing is said at once; nothing leaves the machine."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import textwrap
import time
import types

import pytest
import tiny_base

from mammoth_utils import records
from mammoth_utils.training import finetune
from mammoth_utils.training.description import TRACKERS, describe
from mammoth_utils.training.loop import model, trackers

RECORD = {
    "steps": 20, "seconds": 3.5, "losses": {"first": 2.0, "last": 0.5, "mean": 1.0}, "name": "a",
    "tokens": {"seen": 4000}, "packing": {"fill": 0.9, "packed_minus_unpacked_nats": None},
    "model": {"folders": ["model"]},
}  # fmt: skip


def described(names: str):
    return dataclasses.replace(describe("1m", name="a"), trackers=names)


def points(*steps: int) -> list[dict[str, float]]:
    return [{"step": s, "loss": 2.0 / s, "lr": 1e-3, "tokens": 100.0 * s, "seconds": 0.5 * s} for s in steps]


# Each writes what it is told into one list, as wandb's and trackio's own modules would send it.
FAKE = """
    said = []
    class Settings(dict):
        def __init__(self, **given): self.update(given)
    class Summary(dict):
        def update(self, values): said.append(("summary", dict(values)))
    class Run:
        summary = Summary()
        def log(self, values, step): said.append(("point", step, values))
        def finish(self, exit_code=None): said.append(("closed", exit_code))
    def init(**given):
        said.append(("init", given))
        return Run()
    def finish(): said.append(("closed", None))
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch, runs_dir):
    """Small modules in the place of the three trackers; what each was told."""
    for name in TRACKERS:
        (tmp_path / "fakes" / name).mkdir(parents=True)
        (tmp_path / "fakes" / name / "__init__.py").write_text(textwrap.dedent(FAKE))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "fakes"))
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    import tensorboard
    import trackio
    import wandb

    class SummaryWriter:
        def __init__(self, folder):
            tensorboard.said.append(("init", folder))

        def add_scalar(self, label, value, step):
            tensorboard.said.append(("point", step, {label: value}))

        def add_text(self, label, text, step):
            tensorboard.said.append(("text", label, text))

        def flush(self):
            pass

        def close(self):
            tensorboard.said.append(("closed", None))

    writer = types.ModuleType("torch.utils.tensorboard")
    writer.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", writer)
    yield {"tensorboard": tensorboard.said, "trackio": trackio.said, "wandb": wandb.said}
    for name in TRACKERS:
        sys.modules.pop(name, None)


def losses(said: list) -> list[tuple[int, float]]:
    return [(e[1], e[2]["train/loss"]) for e in said if e[0] == "point" and "train/loss" in e[2]]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_is_told_each_point_the_summary_and_the_end(fakes, name):
    with trackers.open(described(name)) as told:
        for point in points(1, 10, 20):
            told(point)
        told.summary(RECORD)
    said = fakes[name]
    assert losses(said) == [(1, 2.0), (10, 0.2), (20, 0.1)]
    sent = {label: value for entry in said for label, value in _values(entry).items()}
    assert sent["summary/losses/last"] == 0.5
    assert sent["summary/tokens/seen"] == 4000
    assert sent["summary/seconds"] == 3.5
    assert not [label for label in sent if "packed_minus" in label], "what was not measured is not sent"
    assert [entry[0] for entry in said].count("init") == 1
    assert said[-1][0] == "closed"
    assert not [other for other in TRACKERS if other != name and fakes[other]], "only the one that was asked for"


def _values(entry: tuple) -> dict[str, float]:
    return entry[-1] if isinstance(entry[-1], dict) and entry[0] in ("point", "summary") else {}


def test_several_are_told_the_same(fakes):
    with trackers.open(described("tensorboard,trackio,wandb")) as told:
        for point in points(1, 10):
            told(point)
    assert losses(fakes["tensorboard"]) == losses(fakes["trackio"]) == losses(fakes["wandb"]) == [(1, 2.0), (10, 0.2)]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resumed_run_sends_no_point_twice_and_is_the_same_run(fakes, name):
    with trackers.open(described(name)) as told:
        for point in points(1, 10, 20):
            told(point)
    first = dict(fakes[name][0][1]) if name != "tensorboard" else fakes[name][0][1]
    fakes[name].clear()
    with trackers.open(described(name)) as told:  # killed after step 20, goes on from a checkpoint at step 10
        for point in points(1, 10, 20, 30):
            told(point)
    assert losses(fakes[name]) == [(30, 2.0 / 30)]
    again = fakes[name][0][1]
    if name == "wandb":
        assert again["id"] == first["id"]
        assert again["resume"] == "allow"
    elif name == "trackio":
        assert again["name"] == first["name"]
        assert (first["resume"], again["resume"]) == ("never", "allow")
    else:
        assert again == first


def test_another_run_in_another_folder_is_another_one_to_a_tracker(fakes):
    for name in ("a", "b"):
        trackers.open(dataclasses.replace(described("wandb"), name=name)).close()
    ids = [entry[1]["id"] for entry in fakes["wandb"] if entry[0] == "init"]
    assert len(set(ids)) == 2


def test_a_run_that_dies_is_closed_as_failed_and_one_that_ends_as_finished(fakes):
    def die() -> None:
        with trackers.open(described("wandb")) as told:
            told(points(1)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert fakes["wandb"][-1] == ("closed", 1)
    with trackers.open(described("wandb")) as told:
        told.summary(RECORD)
    assert fakes["wandb"][-1] == ("closed", 0)


def test_wandb_is_offline_unless_the_environment_says_otherwise(fakes, monkeypatch):
    trackers.open(described("wandb")).close()
    monkeypatch.setenv("WANDB_MODE", "online")
    trackers.open(described("wandb")).close()
    modes = [entry[1]["mode"] for entry in fakes["wandb"] if entry[0] == "init"]
    assert modes == ["offline", "online"]


def test_only_the_first_of_several_processes_writes(fakes, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with trackers.open(described("wandb")) as told:
        told(points(1)[0])
        told.summary(RECORD)
    assert not fakes["wandb"]


def test_without_a_tracker_nothing_is_written(runs_dir):
    with trackers.open(described("")) as told:
        told(points(1)[0])
        told.summary(RECORD)
    assert not list(runs_dir.iterdir())


def test_a_tracker_that_is_not_installed_is_refused_with_the_line_that_installs_it(runs_dir, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(trackers.MissingTrackerError) as error:
        trackers.check(described("tensorboard,wandb"))
    said = str(error.value)
    assert "asks for tensorboard and wandb" in said
    assert f"pip install '{trackers.PIP['tensorboard']}' '{trackers.PIP['wandb']}'" in said
    assert "curve.jsonl without any tracker" in said
    assert trackers.check(described("")) == []


def test_a_folder_that_wandb_left_is_no_installed_wandb(tmp_path, monkeypatch):
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    if not trackers.importlib.util.find_spec("wandb").origin:
        with pytest.raises(trackers.MissingTrackerError, match="wandb"):
            trackers.check(described("wandb"))
    else:  # a regular package later on the path wins over the folder, and is one
        assert trackers.check(described("wandb")) == ["wandb"]


def test_an_unknown_tracker_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown tracker 'mlflow'; known: tensorboard, trackio, wandb"):
        trackers.chosen(described("mlflow"))


def test_the_versions_are_those_of_the_extra(root):
    import tomllib

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(extras["track"]) == sorted(trackers.PIP.values())


# ---- within a run


def run(base, names: str):
    description = describe("1m", base=str(base), max_length=320, max_steps=12, learning_rate=1e-3, name="a")
    return dataclasses.replace(description, trackers=names)


def test_a_run_sends_the_very_points_of_its_curve_and_its_record(fakes, base, runs_dir):
    record = finetune(run(base, "wandb,trackio"), tiny_base.rows(8))
    curve = [(row["step"], row["loss"]) for row in records.read_jsonl(runs_dir / "train" / "a" / "curve.jsonl")]
    assert [step for step, _ in curve] == [1, 10, 12]
    for name in ("wandb", "trackio"):
        assert losses(fakes[name]) == curve
        sent = {label: value for entry in fakes[name] for label, value in _values(entry).items()}
        assert sent["summary/losses/last"] == record["losses"]["last"]
        assert sent["summary/drift/model_nats"] == record["drift"]["model_nats"]
    assert fakes["wandb"][-1] == ("closed", 0)


def test_a_run_that_dies_closes_its_trackers(fakes, base):
    def die(point):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(run(base, "wandb"), tiny_base.rows(8), die)
    assert fakes["wandb"][-1] == ("closed", 1)


def test_a_run_whose_tracker_is_missing_is_refused_before_anything_is_loaded(base, runs_dir, monkeypatch):
    monkeypatch.setattr(trackers, "installed", lambda name: False)
    monkeypatch.setattr(model, "load_tokenizer", lambda description: pytest.fail("something was loaded"))
    with pytest.raises(trackers.MissingTrackerError, match="pip install 'trackio"):
        finetune(run(base, "trackio"), tiny_base.rows(8))


# ---- the real ones, where they are installed: pip install -e '.[track]'


@pytest.fixture
def no_network(monkeypatch):
    """Any connection beyond this machine is an error."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a tracker connects to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


def twice(name: str) -> None:
    """A run that dies after step 20 and one that goes on from step 10 and ends."""
    with trackers.open(described(name)) as told:
        for point in points(1, 10, 20):
            told(point)
    time.sleep(1.1)  # wandb names an offline run's folder by the second in which it began
    with trackers.open(described(name)) as told:
        for point in points(1, 10, 20, 30):
            told(point)
        told.summary(RECORD)


def test_tensorboard_reads_the_curve_back(runs_dir, no_network):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    twice("tensorboard")
    read = EventAccumulator(str(runs_dir / "train" / "a" / "trackers" / "tensorboard"))
    read.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in read.Scalars("train/loss")] == [
        (p["step"], p["loss"]) for p in points(1, 10, 20, 30)
    ]
    assert read.Scalars("summary/losses/last")[-1].value == 0.5
    assert any("record.json" in tag for tag in read.Tags()["tensors"])


def test_trackio_reads_the_curve_back_from_this_machine(runs_dir, tmp_path, monkeypatch, no_network):
    pytest.importorskip("trackio")
    for variable in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(variable, raising=False)
    import trackio.sqlite_storage as storage

    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    twice("trackio")
    runs = storage.SQLiteStorage.get_runs(trackers.PROJECT)
    held = records.read_json(runs_dir / "train" / "a" / trackers.STATE)
    assert runs == [f"a-{held['trackio']['id']}"]
    logged = storage.SQLiteStorage.get_logs(trackers.PROJECT, runs[0])
    curve = [(row["step"], row["train/loss"]) for row in logged if "train/loss" in row]
    assert curve == [(p["step"], p["loss"]) for p in points(1, 10, 20, 30)]
    assert [row["summary/losses/last"] for row in logged if "summary/losses/last" in row] == [0.5]


def wandb_records(file) -> list[bytes]:
    """The records of an offline run's file: LevelDB's log format behind a header of seven bytes."""
    data, at, part, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + length]
        if kind in (1, 4):  # whole, or the last piece of one
            found.append(part)
            part = b""
        at += 7 + length
    return found


def test_wandb_leaves_an_offline_run_in_the_runs_folder(runs_dir, monkeypatch, no_network):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    from wandb.proto import wandb_internal_pb2

    twice("wandb")
    found, summary = [], {}
    for file in sorted((runs_dir / "train" / "a" / "trackers" / "wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(file):
            one = wandb_internal_pb2.Record()
            one.ParseFromString(data)
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item}
            if "train/loss" in row:
                found.append((row["_step"], row["train/loss"]))
            summary |= {u.key or u.nested_key[0]: json.loads(u.value_json) for u in one.summary.update}
    assert found == [(p["step"], p["loss"]) for p in points(1, 10, 20, 30)]
    assert summary["summary/losses/last"] == 0.5
