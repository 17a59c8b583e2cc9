"""Trackers: the trainer's own reports to TensorBoard, trackio and wandb, kept on this machine and free of repeats.

None is ever required, and nothing leaves this machine unless the environment says so: TensorBoard writes into the run's
folder, trackio into its own (``TRACKIO_DIR``), and wandb writes an offline run into the run's folder that
``wandb sync`` sends (``WANDB_MODE=online`` sends it at once). The trainer's callbacks (``report_to``) alone would send
the points between the last checkpoint and a kill twice, never send the record's results, and leave wandb's run open, so
that the next run of the same process goes into it. What stands here adds no more than that.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import uuid
from typing import Any

from mammoth_utils import records
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.plan.this_machine import is_installed

PROJECT = "mammoth"
STATE = "trackers.json"
FOLDER = "trackers"
WANDB = {
    "WANDB_MODE": "offline", "WANDB_PROJECT": PROJECT, "WANDB_RESUME": "allow", "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
}  # fmt: skip
PIP = {"tensorboard": "tensorboard>=2.20,<3", "trackio": "trackio>=0.43,<1", "wandb": "wandb>=0.31,<1"}


class MissingTrackerError(ModuleNotFoundError):
    """A tracker was asked for that is not installed; the message holds the line that installs it."""


def check(description: RunDescription) -> list[str]:
    """Return the trackers of a run, all of which are installed; imports none of them.

    Raises:
        MissingTrackerError: If one is not installed, naming the line that installs it. Raised before anything is
            loaded: a run of hours must not fail at its first point.
    """
    names = list(description.tracker_names)
    missing = [name for name in names if not is_installed(name)]
    if missing:
        lines = " ".join(f"'{PIP[name]}'" for name in missing)
        raise MissingTrackerError(
            f"trackers={description.trackers} asks for {' and '.join(missing)}, which this environment does not have: "
            f"pip install {lines}, or pip install -e '.[track]' for all three. The curve is kept in "
            f"{description.folder / 'curve.jsonl'} without any tracker"
        )
    return names


class Trackers:
    """The trackers of a run: a context that prepares their environment and ends their runs.

    A run that goes on stays one run to its trackers.

    Attributes:
        names: What ``report_to`` takes.
        run_name: The run's name to trackio and wandb, which no run in another folder has.
    """

    def __init__(self, description: RunDescription) -> None:
        self.names, self.folder = check(description), description.folder
        file = self.folder / STATE
        state = records.read_json(file) if self.names and file.is_file() else {}
        self._id, self._sent = state.get("id", uuid.uuid4().hex[:12]), state.get("step", -1)
        self.run_name = f"{description.name}-{self._id}"
        self._callbacks: list[Any] = []
        self._begun: tuple[Any, ...] = ()
        self._finished = False
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> Trackers:
        if self.names:
            place = self.folder / FOLDER
            place.mkdir(parents=True, exist_ok=True)
            self._keep(self._sent)
            own = {"WANDB_DIR": str(place), "WANDB_RUN_ID": self._id, "TENSORBOARD_LOGGING_DIR": f"{place}/tensorboard"}
            values = {name: os.environ.get(name, value) for name, value in WANDB.items()} | own
            self._before = {name: os.environ.get(name) for name in values}
            os.environ.update(values)
        return self

    def attach(self, trainer: Any) -> None:
        """Put the trainer's reporting callbacks behind one that hands each step on to them once.

        It is the last of the trainer's callbacks, so that it sends what the curve has added to the trainer's values.
        """
        if not self.names:
            return
        from transformers import TrainerCallback
        from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

        tracked = self

        class Reports(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                tracked._begun = (args, state, control)
                tracked._tell("on_train_begin", **rest)

            def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **rest: Any) -> None:
                if "loss" in (logs or {}) and state.global_step > tracked._sent:
                    tracked._tell("on_log", logs=logs, **rest)
                    tracked._keep(state.global_step)

        handler, kinds = trainer.callback_handler, (TensorBoardCallback, TrackioCallback, WandbCallback)
        self._callbacks = [callback for callback in handler.callbacks if isinstance(callback, kinds)]
        others = [callback for callback in handler.callbacks if callback not in self._callbacks]
        handler.callbacks = [*others, Reports()]

    def send_record(self, record: dict[str, Any]) -> None:
        """Send the record's results by name, and let the run count as finished."""
        if self._begun:
            self._tell("on_log", logs=_results(record))
        self._finished = True

    def __exit__(self, *error: object) -> None:
        try:
            if self._begun:
                self._tell("on_train_end")
            run = getattr(sys.modules.get("wandb"), "run", None)
            if "wandb" in self.names and run is not None:
                run.finish(exit_code=0 if self._finished else 1)
        finally:
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def _tell(self, event: str, **rest: Any) -> None:
        for callback in self._callbacks:
            with contextlib.redirect_stdout(io.StringIO()):  # trackio's advertisement, in the middle of a page
                getattr(callback, event)(*self._begun, **rest)

    def _keep(self, step: int) -> None:
        self._sent = step
        if int(os.environ.get("RANK", 0)) == 0:
            records.write_json(self.folder / STATE, {"id": self._id, "step": step})


def _results(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a record that tell runs apart, by their path."""
    groups = {f"{group}/": record.get(group) or {} for group in ("losses", "tokens", "packing", "drift")}
    groups[""] = {key: record.get(key) for key in ("steps", "seconds", "training_seconds", "tokens_per_second")}
    numbers = {f"record/{group}{name}": value for group, values in groups.items() for name, value in values.items()}
    return {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}
