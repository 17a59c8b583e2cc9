"""Trackers: the trainer's reports, each point once; a missing one is refused at once; nothing leaves the machine."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.machinery
import importlib.util
import json
import os
import socket
import sys
import time
import types
from types import SimpleNamespace

import pytest
import tiny_base

from mammoth_utils import records
from mammoth_utils.training import finetune
from mammoth_utils.training.description import TRACKERS, describe
from mammoth_utils.training.loop import trackers, training_loop

pytest.importorskip("transformers")

RECORD = {
    "steps": 20, "seconds": 3.5, "losses": {"first": 2.0, "last": 0.5, "mean": 1.0}, "name": "a",
    "tokens": {"seen": 4000}, "packing": {"fill": 0.9, "packed_minus_unpacked_nats": None},
    "model": {"folders": ["model"]},
}  # fmt: skip


def described(names: str):
    return dataclasses.replace(describe("1m", name="a"), trackers=names)


class Config(dict):
    def update(self, values, allow_val_change=False):
        super().update(values)


def module(name: str, **attributes) -> types.ModuleType:
    """A module that imports as if it were installed."""
    made = types.ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="made by a test")
    vars(made).update(attributes)
    return made


def fake_wandb(events: list) -> types.ModuleType:
    wandb = module("wandb", run=None, config=Config(), log=lambda values: events.append(("values", values)))

    def finish(exit_code):
        events.append(("closed", exit_code))
        wandb.run = None

    def init(**given):
        events.append(("init", {name: os.environ[name] for name in os.environ if name.startswith("WANDB_")} | given))
        wandb.run = SimpleNamespace(finish=finish, summary={}, _label=lambda **given: None)

    wandb.init = init
    return wandb


def fake_trackio(events: list) -> types.ModuleType:
    space = SimpleNamespace(get=lambda: None)
    return module(
        "trackio", config=Config(), context_vars=SimpleNamespace(current_space_id=space),
        init=lambda **given: events.append(("init", given)), finish=lambda: events.append(("closed", None)),
        log=lambda values: events.append(("values", values)),
    )  # fmt: skip


def fake_writer(events: list) -> type:
    class SummaryWriter:
        def __init__(self, log_dir):
            events.append(("init", {"log_dir": log_dir}))

        def add_scalar(self, name, value, step):
            events.append(("values", {name: value, "train/global_step": step}))

        def add_text(self, *given): ...

        def flush(self): ...

        def close(self):
            events.append(("closed", None))

    return SummaryWriter


@pytest.fixture
def fakes(monkeypatch, runs_dir):
    """Small modules in the place of the three trackers, and what each was called with."""
    events: dict[str, list] = {name: [] for name in TRACKERS}
    for made in (
        fake_wandb(events["wandb"]), fake_trackio(events["trackio"]), module("tensorboard"),
        module("torch.utils.tensorboard", SummaryWriter=fake_writer(events["tensorboard"])),
        module("wandb.sdk"), module("wandb.sdk.lib"), module("wandb.sdk.lib.config_util", ConfigError=ValueError),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, made.__name__, made)
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    return events


@contextlib.contextmanager
def tracking(names: str, name: str = "a", first: bool = True):
    """The trackers of a run, and a call by which a trainer reports a step to its callbacks."""
    from transformers.integrations import get_reporting_integration_callbacks

    with trackers.Trackers(dataclasses.replace(described(names), name=name)) as tracked:
        handler = SimpleNamespace(callbacks=[kind() for kind in get_reporting_integration_callbacks(tracked.names)])
        tracked.attach(SimpleNamespace(callback_handler=handler))
        state = SimpleNamespace(
            is_world_process_zero=first, is_hyper_param_search=False, trial_name=None, global_step=0, logging_steps=10
        )
        args = SimpleNamespace(
            output_dir="out", run_name=tracked.run_name, project=trackers.PROJECT, to_dict=dict,
            to_json_string=lambda: "{}", trackio_space_id=None, trackio_bucket_id=None, hub_private_repo=None,
        )  # fmt: skip
        for callback in handler.callbacks:
            callback.on_train_begin(args, state, None, model=None)

        def report(*steps):
            for step in steps:
                state.global_step = step
                for callback in handler.callbacks:
                    callback.on_log(args, state, None, logs={"loss": 2.0 / step, "tokens": 100.0 * step})

        yield tracked, report


def sent(events: list, name: str) -> list[tuple[int, float]]:
    """Step and value of each time that a number was sent."""
    values = [entry for kind, entry in events if kind == "values"]
    return [(entry["train/global_step"], entry[name]) for entry in values if name in entry]


POINTS = [(1, 2.0), (10, 0.2), (20, 0.1)]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_gets_each_point_the_record_and_the_end(fakes, name):
    with tracking(name) as (tracked, report):
        report(1, 10, 20)
        tracked.send_record(RECORD)
    assert sent(fakes[name], "train/loss") == POINTS
    assert sent(fakes[name], "train/tokens") == [(step, 100.0 * step) for step, _ in POINTS]
    assert sent(fakes[name], "train/record/losses/last") == [(20, 0.5)]
    assert sent(fakes[name], "train/record/tokens/seen") == [(20, 4000.0)]
    assert sent(fakes[name], "train/record/seconds") == [(20, 3.5)]
    assert "packed_minus" not in repr(fakes[name]), "what was not measured is not sent"
    assert [kind for kind, _ in fakes[name]].count("init") == 1
    assert fakes[name][-1][0] == "closed"
    assert not [other for other in TRACKERS if other != name and fakes[other]], "only the one that was asked for"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resumed_run_sends_no_point_twice_and_is_the_same_run(fakes, name):
    with tracking(name) as (_, report):
        report(1, 10, 20)
    first = fakes[name][0][1]
    fakes[name].clear()
    with tracking(name) as (_, report):  # killed after step 20, goes on from a checkpoint at step 10
        report(20, 30)
    assert sent(fakes[name], "train/loss") == [(30, 2.0 / 30)]
    assert fakes[name][0][1] == first
    if name != "tensorboard":
        assert first["name"].startswith("a-")


def test_another_run_in_another_folder_is_another_one_to_a_tracker(fakes):
    for name in ("a", "b"):
        with tracking("wandb", name):
            pass
    runs = [given for kind, given in fakes["wandb"] if kind == "init"]
    assert len(runs) == 2, "the first was closed, or the second would go into it"
    assert len({given["WANDB_RUN_ID"] for given in runs}) == len({given["WANDB_DIR"] for given in runs}) == 2


def test_a_run_that_dies_is_closed_as_failed_and_one_that_ends_as_finished(fakes):
    def die() -> None:
        with tracking("wandb") as (_, report):
            report(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert fakes["wandb"][-1] == ("closed", 1)
    with tracking("wandb") as (tracked, _):
        tracked.send_record(RECORD)
    assert fakes["wandb"][-1] == ("closed", 0)


def test_wandb_is_offline_unless_the_environment_says_otherwise(fakes, monkeypatch):
    before = dict(os.environ)
    with tracking("wandb"):
        pass
    assert dict(os.environ) == before, "and what was set for the run is gone after it"
    monkeypatch.setenv("WANDB_MODE", "online")
    with tracking("wandb"):
        pass
    runs = [given for kind, given in fakes["wandb"] if kind == "init"]
    assert [given["WANDB_MODE"] for given in runs] == ["offline", "online"]
    assert {given["project"] for given in runs} == {trackers.PROJECT}
    assert runs[0]["WANDB_DIR"].endswith("runs/train/a/trackers")


def test_only_the_first_of_several_processes_writes(fakes, monkeypatch, runs_dir):
    monkeypatch.setenv("RANK", "1")
    with tracking("wandb,trackio,tensorboard", first=False) as (tracked, report):
        report(1)
        tracked.send_record(RECORD)
    assert not any(sent(events, "train/loss") for events in fakes.values())
    assert not (runs_dir / "train" / "a" / trackers.STATE).exists()


def test_without_a_tracker_nothing_is_written(runs_dir):
    with tracking("") as (tracked, report):
        report(1)
        tracked.send_record(RECORD)
    assert not list(runs_dir.iterdir())


def test_a_tracker_that_is_not_installed_is_refused_with_the_line_that_installs_it(runs_dir, monkeypatch):
    monkeypatch.setattr(trackers, "is_installed", lambda name: False)
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
    if not importlib.util.find_spec("wandb").origin:
        with pytest.raises(trackers.MissingTrackerError, match="wandb"):
            trackers.check(described("wandb"))
    else:  # a regular package later on the path wins over the folder, and is one
        assert trackers.check(described("wandb")) == ["wandb"]


def test_an_unknown_tracker_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown tracker 'mlflow'; known: tensorboard, trackio, wandb"):
        describe("1m", trackers="mlflow")


def test_the_versions_are_those_of_the_extra(root):
    import tomllib

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(extras["track"]) == sorted(trackers.PIP.values())


# ---- within a run


def run(base, names: str):
    description = describe("1m", base=str(base), max_length=320, max_steps=12, learning_rate=1e-3, name="a")
    return dataclasses.replace(description, trackers=names)


def test_a_run_sends_the_very_points_of_its_curve_and_its_record(fakes, base, runs_dir):
    record = finetune(run(base, "wandb,trackio,tensorboard"), tiny_base.rows(8))
    curve = list(records.read_jsonl(runs_dir / "train" / "a" / "curve.jsonl"))
    assert [point["step"] for point in curve] == [1, 10, 12]
    for name in TRACKERS:
        for key in ("loss", "tokens", "seconds", "memory_gib"):
            assert sent(fakes[name], f"train/{key}") == [(point["step"], point[key]) for point in curve]
        assert sent(fakes[name], "train/record/losses/last") == [(12, record["losses"]["last"])]
        assert sent(fakes[name], "train/record/drift/model_nats") == [(12, record["drift"]["model_nats"])]
        assert not sent(fakes[name], "train/train_loss"), "the trainer's mean, wrong in a run that went on"
    assert fakes["wandb"][-1] == ("closed", 0)


def test_a_run_that_dies_closes_its_trackers(fakes, base):
    def die(point):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(run(base, "wandb"), tiny_base.rows(8), die)
    assert fakes["wandb"][-1] == ("closed", 1)


def test_a_run_whose_tracker_is_missing_is_refused_before_anything_is_loaded(base, runs_dir, monkeypatch):
    monkeypatch.setattr(trackers, "is_installed", lambda name: False)
    monkeypatch.setattr(training_loop, "load_tokenizer", lambda description: pytest.fail("something was loaded"))
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
    with tracking(name) as (_, report):
        report(1, 10, 20)
    time.sleep(1.1)  # wandb names an offline run's folder by the second in which it began
    with tracking(name) as (tracked, report):
        report(20, 30)
        tracked.send_record(RECORD)


WHOLE = [*POINTS, (30, 2.0 / 30)]


def test_tensorboard_reads_the_curve_back(runs_dir, no_network):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    twice("tensorboard")
    read = EventAccumulator(str(runs_dir / "train" / "a" / "trackers" / "tensorboard"))
    read.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in read.Scalars("train/loss")] == WHOLE
    assert read.Scalars("train/record/losses/last")[-1].value == 0.5


def test_trackio_reads_the_curve_back_from_this_machine(runs_dir, tmp_path, monkeypatch, no_network):
    pytest.importorskip("trackio")
    for variable in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(variable, raising=False)
    import trackio.sqlite_storage as storage

    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    twice("trackio")
    runs = storage.SQLiteStorage.get_runs(trackers.PROJECT)
    assert runs == [f"a-{records.read_json(runs_dir / 'train' / 'a' / trackers.STATE)['id']}"]
    logged = storage.SQLiteStorage.get_logs(trackers.PROJECT, runs[0])
    assert [(row["train/global_step"], row["train/loss"]) for row in logged if "train/loss" in row] == WHOLE
    assert [row["train/record/losses/last"] for row in logged if "train/record/losses/last" in row] == [0.5]


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
    rows = []
    for file in sorted((runs_dir / "train" / "a" / "trackers" / "wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(file):
            one = wandb_internal_pb2.Record()
            one.ParseFromString(data)
            rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item})
    assert [(row["train/global_step"], row["train/loss"]) for row in rows if "train/loss" in row] == WHOLE
    assert [row["train/record/losses/last"] for row in rows if "train/record/losses/last" in row] == [0.5]
