"""Launching a run: in this process on one device, by ``torchrun`` on several, by printed lines on several nodes."""

from __future__ import annotations

import collections
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import parent_watch, paths, records
from mammoth_utils.records import Record
from mammoth_utils.training.cluster import node_errors
from mammoth_utils.training.description import FORCE_VARIABLE, RunDescription
from mammoth_utils.training.loop.run_folder import lock_folder, log_line
from mammoth_utils.training.plan import planner, this_machine
from mammoth_utils.training.plan.this_machine import Gpu
from mammoth_utils.training.readiness import count_processes
from mammoth_utils.training.training_run import finetune, prepare_folder

TAIL = 60  # last lines of a failed run that its error holds
MODULE = "mammoth_utils.training"
AGENT = "mammoth_utils.training.cluster.torchrun_agent"  # torchrun, whose errors reach the page
GRACE_S = 30.0
POLL_S = 0.5
PORT = 29500
FOLDERS = ("MAMMOTH_RUNS_DIR", "MAMMOTH_BASES", "HF_HOME", "HF_HUB_CACHE", "TRACKIO_DIR")
SETTINGS = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_MODE", "WANDB_PROJECT")


def train(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
    on_line: Callable[[str], None] | None = None,
    module: str = MODULE,
) -> Record:
    """Train a run on the devices that it asks for, in this process or by ``torchrun``, and return its record.

    A run of several nodes is prepared; the page then waits until the lines of ``cluster_lines``, started on them, end.

    Args:
        on_step: Called with each point of the curve, from one device or several.
        resume: Whether a finished or unfinished run in the folder is used.
        on_line: Called with each line that torchrun and its workers write; ``train.log`` has them all.
        module: The module that each process of torchrun runs.

    Raises:
        NotReadyError: If weights, a GPU or disk are missing.
        RuntimeError: If a worker failed, with its last lines, its traceback among them.
    """
    if description.nodes > 1:
        return _follow_nodes(description, rows, on_step, resume, on_line)
    gpus = [] if description.on_cpu else this_machine.find_gpus()
    count = count_processes(description, gpus)
    # A process that sees several GPUs must be one of torchrun's, even alone: trainers refuse it otherwise.
    if count == 1 and len(gpus) <= 1:
        return finetune(description, rows, on_step, resume)
    with lock_folder(description.folder):
        if (record := prepare_folder(description, rows, resume)) is not None:
            return record
        _torchrun(description.folder / "run.json", count, on_step, on_line, module, description.force)
        return records.read_json(description.folder / "record.json")


def _follow_nodes(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None,
    resume: bool,
    on_line: Callable[[str], None] | None,
) -> Record:
    """Prepare a run for other nodes, follow it until they are done or one fails, and return its record."""
    folder = description.folder

    def report(line: str) -> None:
        log_line(folder, line)
        if on_line is not None:
            on_line(line)

    with lock_folder(folder):
        if (record := prepare_folder(description, rows, resume)) is not None:
            return record
        attempt = node_errors.begin_attempt(folder)
    report(f"prepared for {description.nodes} nodes; what they do shows here once their lines are started")
    watch, seen, ended = node_errors.ProgressWatch(folder, report), 0, False
    while not ended:
        ended = (folder / "record.json").is_file()  # before the last look at the curve, which is written first
        seen = _follow_curve(folder / "curve.jsonl", seen, on_step)
        if not ended:
            node_errors.raise_errors(folder, attempt)
            watch.check()
            time.sleep(POLL_S)
    return records.read_json(folder / "record.json")


@dataclass(frozen=True)
class GpuSetup:
    """How a run uses its GPUs, as the planner takes it.

    Attributes:
        sharing: GPUs that share one copy of the run.
        replicas: GPUs that each hold a copy of it.
        gib: Memory of the smallest.
    """

    sharing: int
    replicas: int
    gib: float


def gpu_setup(description: RunDescription, gpus: Sequence[Gpu]) -> GpuSetup:
    """Return how a run uses GPUs, those of each of its machines; without any, one of 24 GB for each process."""
    processes = count_processes(description, gpus)
    taken = [] if description.devices == "cpu" else gpus[:processes]
    smallest = min((gpu.gib for gpu in taken), default=planner.SMALL_GPU_GIB)
    return GpuSetup(*planner.sharing_and_replicas(processes * description.nodes, description.sharding), smallest)


def command(run_json: Path, processes: int, module: str = MODULE) -> list[str]:
    """Return the command that trains a run on several devices of this machine."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    return [*torchrun, "--nproc-per-node", str(processes), "-m", module, str(run_json)]


def cluster_lines(description: RunDescription, count: int = 0) -> list[str]:
    """Return the lines that train a prepared run on several nodes with a shared disk, typed in the project's folder.

    The first is typed on every node, ``HEAD`` set to the first node's name or address and ``NODE`` to 0 on the first,
    1 on the second and so on; the second is for Slurm, within an allocation of as many nodes, and finds both itself.

    The first node holds rank 0, which writes the model while all others are done, and the meeting point of all. Where
    torchrun deals the ranks itself, the meeting point may be another node's, which leaves 300 seconds after its own
    workers: a model that takes longer to write would lose it. A ``count`` of 0 takes the run's number of nodes.
    """
    settings = [f"{name}={shlex.quote(value)}" for name, value in node_environment(description).items()]
    count, gpus = count or description.nodes, this_machine.find_gpus()
    # Without a GPU, as on a login node, it is torchrun's word `gpu`, by which each node counts its GPUs.
    unknown = description.devices == "auto" and not gpus and not description.miniature
    processes = "gpu" if unknown else count_processes(description, gpus)
    python, run_json = (
        shlex.quote(paths.relative_to_root(path)) for path in (Path(sys.executable), description.folder / "run.json")
    )
    launcher = [
        *settings, python, f"-m {AGENT} --nnodes {count}",
        f"--nproc-per-node {processes} --node-rank $NODE",
        f"--master-addr $HEAD --master-port {PORT}",
        f"--rdzv-id {description.name} -m {MODULE} {run_json}",
    ]  # fmt: skip
    line = " ".join(launcher)
    head = "HEAD=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
    each = shlex.quote(f"NODE=$SLURM_NODEID; {line}")
    return [line, f"{head} && export HEAD && srun --nodes {count} --ntasks-per-node 1 bash -c {each}"]


def node_environment(description: RunDescription) -> dict[str, str]:
    """Return the environment variables for other nodes: where runs, bases and the hub's cache are, and force.

    Folders must lead to the same files from each node. No key or token is among them: the page fetches the base.
    """
    environment = {name: os.environ[name] for name in (*FOLDERS, *SETTINGS) if os.environ.get(name)}
    for name in environment.keys() & set(FOLDERS):
        environment[name] = paths.relative_to_root(Path(environment[name]).expanduser())
    if description.force:
        environment[FORCE_VARIABLE] = "1"
    return environment | {"PYTHONPATH": _python_path(paths.relative_to_root), "PYTHONUNBUFFERED": "1"}


def _python_path(shown: Callable[[Path], str] = str) -> str:
    """Return ``PYTHONPATH`` with the folder of this package first."""
    folders = [Path(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return os.pathsep.join(dict.fromkeys(shown(part) for part in (Path(__file__).resolve().parents[3], *folders)))


def _torchrun(
    run_json: Path,
    processes: int,
    on_step: Callable[[dict[str, float]], None] | None,
    on_line: Callable[[str], None] | None,
    module: str,
    force: bool,
) -> None:
    """Run the workers, write their lines to ``train.log``, follow their curve, and raise their error."""
    folder = run_json.parent
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path()}
    environment[parent_watch.PAGE] = str(os.getpid())
    if force:
        environment[FORCE_VARIABLE] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if not (folder / "checkpoints").is_dir():  # no checkpoint to resume: old points would be shown as this run's
        (folder / "curve.jsonl").unlink(missing_ok=True)
    worker = subprocess.Popen(
        command(run_json, processes, module), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=environment,
    )  # fmt: skip
    lines: collections.deque[str] = collections.deque(maxlen=TAIL)

    def read_lines() -> None:
        with open(folder / "train.log", "a", encoding="utf8") as log:
            for line in worker.stdout or ():
                log.write(line)
                log.flush()
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))

    reader = threading.Thread(target=read_lines, daemon=True)
    reader.start()
    seen = 0
    try:
        while True:
            ended = worker.poll() is not None
            seen = _follow_curve(folder / "curve.jsonl", seen, on_step)
            if ended:
                break
            time.sleep(0.5)
        reader.join(GRACE_S)
    except BaseException:  # an interrupted kernel: the workers have a session of their own and would live on
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
        raise
    if worker.returncode:
        raise RuntimeError(f"training failed with exit status {worker.returncode}:\n{''.join(lines)}")


def _follow_curve(file: Path, seen: int, on_step: Callable[[dict[str, float]], None] | None) -> int:
    """Hand on the points beyond the first ``seen``, and return how many were handed on so far."""
    if on_step is None or not file.is_file():
        return seen
    text = file.read_text(encoding="utf8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    for line in whole[seen:]:
        on_step(json.loads(line))
    return max(seen, len(whole))
