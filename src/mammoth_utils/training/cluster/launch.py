"""Where a run is trained: in this process on one device, by ``torchrun`` on several."""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models.download import fetch
from mammoth_utils.training.cluster import node_errors
from mammoth_utils.training.description import FORCE_VARIABLE, RunDescription
from mammoth_utils.training.loop import guards
from mammoth_utils.training.loop.finetune import finetune
from mammoth_utils.training.loop.run_folder import alone, claim, say
from mammoth_utils.training.plan import advice

TAIL = 60
MODULE = "mammoth_utils.training"
AGENT = "mammoth_utils.training.cluster.torchrun_agent"  # torchrun, whose errors reach the page
PAGE = "MAMMOTH_PAGE_PID"  # the process that workers end with
GRACE_S = 30.0
POLL_S = 0.5
PORT = 29500
FOLDERS = ("MAMMOTH_RUNS_DIR", "MAMMOTH_BASES", "HF_HOME", "HF_HUB_CACHE", "TRACKIO_DIR")
WORDS = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_MODE", "WANDB_PROJECT")


def train(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
    on_line: Callable[[str], None] | None = None,
    module: str = MODULE,
) -> dict[str, Any]:
    """The record of a run on as many devices as it asks for: ``finetune`` here, or ``torchrun`` on the same folder.

    A run of several nodes is prepared, and waited for until the lines of ``cluster_lines`` have been started on them.

    Args:
        description: The run.
        rows: The mixture.
        on_step: Called with each point of the curve, from one device or several.
        resume: Whether what stands in the run's folder is used.
        on_line: Called with each line that torchrun and its workers write; ``train.log`` has them all.
        module: What each process of torchrun runs.

    Raises:
        NotReadyError: If weights, a GPU or disk are missing.
        RuntimeError: If a worker failed, with the last lines that it wrote, its own traceback among them.
    """
    if description.nodes > 1:
        return _elsewhere(description, rows, on_step, resume, on_line)
    count, cards = devices(description)
    if count == 1 and cards <= 1:
        return finetune(description, rows, on_step, resume)
    with alone(description.folder):
        finished = claim(description, rows, resume)
        if finished is not None:
            return finished
        for line in guards.ready(description):
            say(description.folder, line)
        fetch(description, lambda line: say(description.folder, line))
        _torchrun(description.folder / "run.json", count, on_step, on_line, module, description.force)
        return records.read_json(description.folder / "record.json")


def _elsewhere(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None,
    resume: bool,
    on_line: Callable[[str], None] | None,
) -> dict[str, Any]:
    """The record of a run that other nodes train: prepared here, and followed until they are done or one fails."""
    folder = description.folder

    def told(line: str) -> None:
        say(folder, line)
        if on_line is not None:
            on_line(line)

    with alone(folder):
        finished = claim(description, rows, resume)
        if finished is not None:
            return finished
        for line in guards.ready(description):
            say(folder, line)
        fetch(description, lambda line: say(folder, line))
        attempt = node_errors.begin(folder)
    told(f"prepared for {description.nodes} nodes; what they do shows here once their lines are started")
    watch, seen, ended = node_errors.Watch(folder, told), 0, False
    while not ended:
        ended = (folder / "record.json").is_file()  # before the last look at the curve, which is written first
        if on_step is not None:
            seen = _follow(folder / "curve.jsonl", seen, on_step)
        if not ended:
            node_errors.look_for_errors(folder, attempt)
            watch.look()
            time.sleep(POLL_S)
    return records.read_json(folder / "record.json")


def prepare(description: RunDescription, rows: list[dict[str, Any]], resume: bool = True) -> Path:
    """The ``run.json`` of a run that other nodes will train, with its rows beside it; nothing is trained here.

    Raises:
        RunMismatchError: If the folder holds a run of another description.
    """
    with alone(description.folder):
        claim(description, rows, resume)
    return description.folder / "run.json"


def devices(description: RunDescription) -> tuple[int, int]:
    """How many processes a run has, and how many cards this machine shows them.

    A process that sees several cards must be one of torchrun's, even alone: trainers refuse it otherwise.
    """
    if description.devices == "cpu" or (description.miniature and description.devices == "auto"):
        return 1, 0
    cards = len(advice.gpus())
    if description.devices == "auto":
        return max(1, cards), cards
    return int(description.devices), cards


def spread(description: RunDescription) -> tuple[int, int, float]:
    """What will run, as the planner asks: cards that share one copy, cards that each hold one, GiB of the smallest.

    On a machine without cards it is one of 24 GB for each process that the run would have here.
    """
    processes, _ = devices(description)
    seen = [] if description.devices == "cpu" else advice.gpus()[:processes]
    smallest = min((card.gib for card in seen), default=advice.SMALL_CARD)
    return (*advice.shares(processes * description.nodes, description.sharding), smallest)


def command(run_json: Path, processes: int, module: str = MODULE) -> list[str]:
    """The line that trains a run on several devices of this machine."""
    here = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    return [*here, "--nproc-per-node", str(processes), "-m", module, str(run_json)]


def cluster_lines(description: RunDescription, count: int = 0) -> list[str]:
    """The lines that train a prepared run on several nodes which share a disk, typed in the project's folder.

    The first is typed on every node, ``HEAD`` set to the first node's name or address and ``NODE`` to 0 on the first,
    1 on the second and so on; the second is Slurm's, within an allocation of so many nodes, and finds both itself.

    The first node holds rank 0, which writes the model while all others are done, and the meeting point of all. Where
    torchrun deals the ranks itself, the meeting point may be another node's, which leaves 300 seconds after its own
    workers: a model that takes longer to write would lose it.

    Args:
        description: The run.
        count: Nodes; 0 takes the run's.
    """
    settings = [f"{name}={shlex.quote(value)}" for name, value in variables(description).items()]
    count = count or description.nodes
    launcher = [
        *settings, shlex.quote(paths.relative_to_root(Path(sys.executable))), f"-m {AGENT} --nnodes {count}",
        f"--nproc-per-node {per_node(description)} --node-rank $NODE --master-addr $HEAD --master-port {PORT}",
        f"--rdzv-id {description.name} -m {MODULE} {shlex.quote(paths.relative_to_root(description.folder / 'run.json'))}",
    ]  # fmt: skip
    line = " ".join(launcher)
    head = "HEAD=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
    each = shlex.quote(f"NODE=$SLURM_NODEID; {line}")
    return [line, f"{head} && export HEAD && srun --nodes {count} --ntasks-per-node 1 bash -c {each}"]


def per_node(description: RunDescription) -> str:
    """How many processes torchrun starts on each node: as many as the run asks for, else a process for each card.

    Where no card is seen, as on a login node, it is torchrun's own word ``gpu``: each node counts its cards.
    """
    processes, cards = devices(description)
    if description.devices == "auto" and not cards and not description.miniature:
        return "gpu"
    return str(processes)


def variables(description: RunDescription) -> dict[str, str]:
    """What processes on another node need to be told of this one: where runs, bases and the hub's cache are, and force.

    Folders are whole paths, which must lead to the same files from each node. No key or token is among them: the base
    is fetched before, by the page.
    """
    found = {name: paths.relative_to_root(Path(os.environ[name]).expanduser()) for name in FOLDERS if os.environ.get(name)}
    found |= {name: os.environ[name] for name in WORDS if os.environ.get(name)}
    if description.force:
        found[FORCE_VARIABLE] = "1"
    return found | {"PYTHONPATH": _search(paths.relative_to_root), "PYTHONUNBUFFERED": "1"}


def _search(shown: Callable[[Path], str] = str) -> str:
    """``PYTHONPATH`` with the folder of this package first."""
    asked = [Path(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return os.pathsep.join(dict.fromkeys(shown(part) for part in (Path(__file__).resolve().parents[3], *asked)))


def _torchrun(
    run_json: Path,
    processes: int,
    on_step: Callable[[dict[str, float]], None] | None,
    on_line: Callable[[str], None] | None,
    module: str,
    force: bool,
) -> None:
    """Run the workers, keep their lines in ``train.log``, follow their curve, and bring their error here."""
    folder = run_json.parent
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _search(), PAGE: str(os.getpid())}
    if force:
        environment[FORCE_VARIABLE] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if not (folder / "checkpoints").is_dir():  # nothing to go on from: the old points would be shown as this run's
        (folder / "curve.jsonl").unlink(missing_ok=True)
    worker = subprocess.Popen(
        command(run_json, processes, module), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=environment,
    )  # fmt: skip
    lines: collections.deque[str] = collections.deque(maxlen=TAIL)

    def keep() -> None:
        with open(folder / "train.log", "a", encoding="utf8") as log:
            for line in worker.stdout or ():
                log.write(line)
                log.flush()
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))

    reader = threading.Thread(target=keep, daemon=True)
    reader.start()
    seen = 0
    try:
        while True:
            ended = worker.poll() is not None
            if on_step is not None:
                seen = _follow(folder / "curve.jsonl", seen, on_step)
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


def _follow(file: Path, seen: int, on_step: Callable[[dict[str, float]], None]) -> int:
    """Hand on the points beyond the first ``seen``; how many were handed on by now."""
    if not file.is_file():
        return seen
    text = file.read_text(encoding="utf8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    for line in whole[seen:]:
        on_step(json.loads(line))
    return max(seen, len(whole))
