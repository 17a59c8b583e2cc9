"""Trackers: where a curve goes besides ``curve.jsonl``, if they are installed.

None is ever required, and nothing leaves this machine unless the environment says so: TensorBoard writes files into the
run's folder, trackio into its own folder (``TRACKIO_DIR``), wandb writes an offline run that ``wandb sync`` sends when
somebody asks for it (``WANDB_MODE=online`` sends it at once). They are fed by the curve, not by the trainer, so that
each of them shows what ``curve.jsonl`` holds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

from mammoth_utils import records
from mammoth_utils.training.description import TRACKERS, RunDescription

PROJECT = "mammoth"
STATE = "trackers.json"
FOLDER = "trackers"
PIP = {"tensorboard": "tensorboard>=2.20,<3", "trackio": "trackio>=0.43,<1", "wandb": "wandb>=0.31,<1"}
SHOWN = {
    "loss": "train/loss", "lr": "train/learning_rate", "tokens": "train/tokens", "seconds": "train/seconds",
    "memory_gib": "train/memory_gib",
}  # fmt: skip


class MissingTrackerError(ModuleNotFoundError):
    """A tracker was asked for that is not installed; the message holds the line that installs it."""


def chosen(description: RunDescription) -> list[str]:
    """The trackers that a description asks for, each once.

    Raises:
        ValueError: If one is unknown, naming the choices.
    """
    names = list(dict.fromkeys(part.strip() for part in description.trackers.split(",") if part.strip()))
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"unknown tracker {name!r}; known: {', '.join(TRACKERS)}")
    return names


def check(description: RunDescription) -> list[str]:
    """The trackers of a run, all of which are installed; imports none of them.

    Raises:
        MissingTrackerError: If one is not installed, naming the line that installs it. Said before anything is loaded:
            a run of hours must not find out at its first point.
    """
    names = chosen(description)
    missing = [name for name in names if not installed(name)]
    if missing:
        lines = " ".join(f"'{PIP[name]}'" for name in missing)
        raise MissingTrackerError(
            f"trackers={description.trackers} asks for {' and '.join(missing)}, which this environment does not have: "
            f"pip install {lines}, or pip install -e '.[track]' for all three. The curve is kept in "
            f"{description.folder / 'curve.jsonl'} without any tracker"
        )
    return names


def installed(name: str) -> bool:
    """Whether a package can be imported; a folder of that name, as wandb leaves one, is found and is none."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


def open(description: RunDescription) -> Trackers:
    """The run's trackers, to be called with each point of the curve; without any, something that does nothing.

    Only the first of several processes writes. A run that goes on is sent its kept points again by the curve: those
    that a tracker has already are not sent twice.

    Raises:
        MissingTrackerError: If one is not installed.
    """
    names = check(description) if int(os.environ.get("RANK", 0)) == 0 else []
    return Trackers(description, names)


class Trackers:
    """Several trackers as one: called with each point, told the record at the end, closed in any case."""

    def __init__(self, description: RunDescription, names: list[str]) -> None:
        self.folder, self._ended, self._state, self._open = description.folder, False, {}, {}
        file = self.folder / STATE
        held = records.read_json(file) if names and file.is_file() else {}
        for name in names:
            resumed = name in held
            self._state[name] = held.get(name, {"id": uuid.uuid4().hex[:12], "step": -1})
            self._open[name] = _KINDS[name](description, self._state[name]["id"], resumed)
        self._keep()

    def __call__(self, point: dict[str, float]) -> None:
        """Send a point of the curve to each tracker that does not have it yet."""
        step = int(point["step"])
        values = {label: float(point[key]) for key, label in SHOWN.items() if key in point}
        behind = [name for name in self._open if step > self._state[name]["step"]]
        for name in behind:
            self._open[name].point(step, values)
            self._state[name]["step"] = step
        if behind:
            self._keep()

    def summary(self, record: dict[str, Any]) -> None:
        """Send what the run came to: the record's numbers by name, and the whole record as text where there is room."""
        values = {f"summary/{key}": float(value) for key, value in _numbers(record)}
        for tracker in self._open.values():
            tracker.summary(int(record.get("steps", 0)), values, record)
        self._ended = True

    def close(self) -> None:
        """Close every tracker; a run without a summary is marked as failed where a tracker has such a mark."""
        held, self._open = self._open, {}
        with contextlib.ExitStack() as stack:
            for tracker in held.values():
                stack.callback(tracker.close, self._ended)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keep(self) -> None:
        if self._state:
            records.write_json(self.folder / STATE, self._state)


def _numbers(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a record that tell runs apart, by their path; counts per source stay in the text."""
    for key in ("losses", "tokens", "packing", "drift"):
        for name, value in (record.get(key) or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield f"{key}/{name}", value
    for key in ("steps", "seconds", "training_seconds", "tokens_per_second"):
        if isinstance(record.get(key), int | float):
            yield key, record[key]


class _TensorBoard:
    """Event files in the run's folder: ``tensorboard --logdir runs/train``."""

    def __init__(self, description: RunDescription, identity: str, resumed: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(description.folder / FOLDER / "tensorboard"))
        if not resumed:
            self.writer.add_text("run.json", _fenced(description.as_dict()), 0)

    def point(self, step: int, values: dict[str, float]) -> None:
        for label, value in values.items():
            self.writer.add_scalar(label, value, step)
        self.writer.flush()

    def summary(self, step: int, values: dict[str, float], record: dict[str, Any]) -> None:
        for label, value in values.items():
            self.writer.add_scalar(label, value, step)
        self.writer.add_text("record.json", _fenced(record), step)

    def close(self, ended: bool) -> None:
        self.writer.close()


class _Trackio:
    """A run in trackio's folder on this machine: ``trackio show --project mammoth``."""

    def __init__(self, description: RunDescription, identity: str, resumed: bool) -> None:
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):  # its advertisement of dashboards, in the middle of a page
            self.run = trackio.init(
                project=PROJECT, name=f"{description.name}-{identity}", config=description.as_dict(), embed=False,
                resume="allow" if resumed else "never", auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def point(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def summary(self, step: int, values: dict[str, float], record: dict[str, Any]) -> None:
        self.run.log(values, step=step)

    def close(self, ended: bool) -> None:
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()


class _Wandb:
    """An offline run in the run's folder: ``wandb sync`` sends it; ``WANDB_MODE`` decides otherwise."""

    def __init__(self, description: RunDescription, identity: str, resumed: bool) -> None:
        import wandb

        place = description.folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=description.name, id=identity, dir=str(place),
            resume="allow", mode=os.environ.get("WANDB_MODE", "offline"), config=description.as_dict(),
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def point(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def summary(self, step: int, values: dict[str, float], record: dict[str, Any]) -> None:
        self.run.summary.update(values)

    def close(self, ended: bool) -> None:
        self.run.finish(exit_code=0 if ended else 1)


_KINDS = {"tensorboard": _TensorBoard, "trackio": _Trackio, "wandb": _Wandb}


def _fenced(value: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(value, indent=1, ensure_ascii=False)}\n```"
