"""Readiness: whether this machine has what a run needs, checked in seconds, before torch is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import paths, scales
from mammoth_utils.base_models import (
    Architecture,
    BaseModelError,
    architecture_of,
    check_access,
    check_adapter,
    check_weights,
    find_cached,
    find_folder,
    missing_files,
    read_config,
    training_problems,
)
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import guards
from mammoth_utils.training.plan import planner, run_cost, this_machine
from mammoth_utils.training.plan.memory import GIB, METHODS, memory_by_part, states_in_8_bit

LIBRARIES = {
    "full": ("torch", "transformers", "trl", "accelerate", "datasets"),
    "lora": ("torch", "transformers", "trl", "accelerate", "datasets", "peft"),
    "qlora": ("torch", "transformers", "trl", "accelerate", "datasets", "peft", "bitsandbytes"),
}
BF16_CAPABILITY = 8.0  # Ampere; a T4 has 7.5, a V100 7.0
LIBRARIES_GIB = 0.6  # a process after importing torch, transformers, TRL and PEFT; 0.5 were measured


class NotReadyError(RuntimeError):
    """A run cannot start on this machine; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class _Check:
    passed: bool
    text: str


def check_readiness(description: RunDescription) -> list[str]:
    """Check that a run can start on this machine and return a line for each check; nothing is loaded.

    Of a hub's base the configuration alone is fetched. With ``description.force`` a run that cannot fit passes with a
    warning; what is missing altogether is refused all the same.

    Raises:
        NotReadyError: If libraries, weights, a GPU, memory or disk are missing; the message says how to get each.
    """
    weights, to_fetch = _weights(description)
    configuration = _configuration(description) if weights.passed else []
    scale = scales.scale(description.size, description.family)
    try:
        architecture = architecture_of(scale, description.base_path, description.revision)
    except (BaseModelError, ValueError):  # then nothing can be planned
        _raise_missing(description, [weights, *configuration])
        raise
    checks = [
        _libraries(description), weights, *configuration, _device(description, architecture), _torch(description),
        _step(description), _memory(description, architecture), *_disks(description, architecture, to_fetch),
    ]  # fmt: skip
    _raise_missing(description, checks)
    return [check.text for check in checks if check.text]


def _raise_missing(description: RunDescription, checks: list[_Check]) -> None:
    """Raise NotReadyError with what is missing, if something is."""
    if missing := [check.text for check in checks if not check.passed]:
        raise NotReadyError(
            f"{description.name} cannot start here:\n- " + "\n- ".join(missing)
            + "\nThe miniature trains anywhere: -p size 1m"
        )  # fmt: skip


def _libraries(description: RunDescription) -> _Check:
    """Check that the method's libraries and the run's trackers are installed."""
    trackers = description.tracker_names
    eight_bit = ("bitsandbytes",) if description.optimizer != "adamw" else ()
    needed = tuple(dict.fromkeys((*LIBRARIES[description.method], *eight_bit, *trackers)))
    absent = [name for name in needed if not this_machine.is_installed(name)]
    if not absent:
        return _Check(True, f"{', '.join(needed)} are installed")
    advice = []
    if set(absent) - set(trackers):
        advice.append("`pip install -e '.[train]'` installs them")
    if absent == ["bitsandbytes"]:
        advice.append(f"-p {'optimizer adamw' if eight_bit else 'method lora'} needs no bitsandbytes")
    advice += [f"`pip install {name}`, or leave it out of trackers" for name in absent if name in trackers]
    return _Check(False, f"{', '.join(absent)}, which method={description.method} imports: {'; '.join(advice)}")


def _device(description: RunDescription, architecture: Architecture) -> _Check:
    """Check that the GPUs of this machine, or its processor, carry the run."""
    parameters, size = architecture.parameters, description.size
    cards = [] if description.devices == "cpu" else this_machine.find_gpus()
    if description.nodes > 1 and not cards:
        return _Check(
            True, f"the cards of {description.nodes} nodes are not seen from here; each node looks at its own"
        )
    if not cards or description.on_cpu:
        if parameters <= planner.CPU_PARAMETERS:
            return _Check(True, f"{parameters:,} parameters train on the CPU")
        if description.devices == "cpu":
            return _Check(True, f"{parameters:,} parameters on the CPU, as devices=cpu asks: slow, and after three "
                                "passes the run says how long it will take")  # fmt: skip
        needs = {row.method: row for row in planner.plan_methods(description, 1, 80e9 / GIB)}
        row = needs[description.method]
        others = ", ".join(f"{m} {needs[m].total:.0f} GiB" for m in METHODS if m != description.method)
        return _unless_forced(
            description,
            f"an NVIDIA GPU: {size} has {parameters:,} parameters, and nvidia-smi lists none here. "
            f"{description.method} needs {row.total:.0f} GiB on one card (80 GB cards: {row.fewest or 'over 64'}); on "
            f"one card {others}; -p devices cpu trains without one, where the memory suffices and time does not matter",
        )
    count = len(cards) if description.devices == "auto" else int(description.devices)
    if count > len(cards):
        return _Check(False, f"{count} GPUs, as devices={count} asks; this machine has {len(cards)}")
    cards = cards[:count]
    tightest = min(cards, key=lambda card: card.gib)
    sharded = description.sharding == "fsdp2"
    sharing, replicas = planner.sharing_and_replicas(_processes(description), description.sharding)
    advice = planner.advise(description, sharing, tightest.gib, not description.miniature, replicas)
    old = _without_bf16(cards)
    if old and sharded:
        return _Check(
            False,
            f"bf16: {old} has none, and the loss scaling that fp16 needs is not tested on weights cut over cards; use "
            "-p sharding none, or -p devices 1",
        )
    held = tightest.whole - tightest.gib  # by other programs, and a little by the driver
    busy = f"; other programs hold {held:.0f} of its {tightest.whole:.0f} GiB" if held >= 1 else ""
    if advice.fits:
        half = f"; {old} has no bf16, so the run computes in fp16 with loss scaling" if old else ""
        return _Check(True, f"{cards[0].name}: {advice.sentence}{busy}{half}")
    return _unless_forced(description, f"memory: {advice.sentence}{busy}")


def count_processes(description: RunDescription, gpus: Sequence[this_machine.Gpu]) -> int:
    """Return how many processes a run has on one machine."""
    if description.devices.isdigit():
        return int(description.devices)
    return 1 if description.on_cpu else max(1, len(gpus))


def _processes(description: RunDescription) -> int:
    """Return how many processes share a step; torchrun sets it for each of its own."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    gpus = [] if description.on_cpu else this_machine.find_gpus()
    return count_processes(description, gpus) * description.nodes


def _step(description: RunDescription) -> _Check:
    """Check that a step has an example for every row of every process."""
    processes, rows, examples = _processes(description), description.micro_batch, description.global_batch
    if processes * rows < examples or (processes * rows == examples and description.max_steps):
        return _Check(True, f"{examples} examples a step; a pass reads at least {processes * rows}")
    if processes * rows == examples:
        return _Check(
            True, f"warning: a step's {examples} examples are as many as the rows of {processes} processes; if the "
            "epochs' last examples leave some step with one less, the run ends before it loads the model"
        )  # fmt: skip
    many = f"{processes} process{'es' if processes > 1 else ''}"
    choices = [f"-p micro_batch {(examples - 1) // processes}"] if processes < examples else []
    choices += [f"at most {examples // rows} processes (-p devices, -p nodes)"] if rows <= examples else []
    return _Check(
        False, f"examples: a step of {description.method} has {examples}, and {many} with micro_batch "
        f"{rows} {'have' if processes > 1 else 'has'} {processes * rows} rows to fill; use {' or '.join(choices)}"
    )  # fmt: skip


def _memory(description: RunDescription, architecture: Architecture) -> _Check:
    """Check that this machine's own memory suffices for loading, if Linux says how much is free."""
    on_other_nodes = description.nodes > 1 and description.devices != "cpu" and not this_machine.find_gpus()
    if description.miniature or on_other_nodes:  # a login node loads nothing
        return _Check(True, "")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or max(1, _processes(description) // description.nodes)
    need, what = loading_memory(description, architecture, processes)
    free = this_machine.free_memory()
    if free is None:
        return _Check(True, f"loading takes {need:.0f} GiB of this machine's own memory, {what}; how much is free "
                        "was not looked up, since only Linux says so in /proc/meminfo")  # fmt: skip
    text = f"{need:.1f} GiB of this machine's own memory for loading, {what}; {free:.0f} are free"
    if need <= free or os.environ.get("LOCAL_RANK", "0") != "0":  # later processes find what the first holds by then
        return _Check(True, text)
    return _unless_forced(description, f"memory of the machine: {text}")


def loading_memory(description: RunDescription, architecture: Architecture, processes: int) -> tuple[float, str]:
    """Return the GiB that loading takes of one machine's own memory, and what for."""
    method, count = description.method, architecture.parameters
    libraries, count_text = LIBRARIES_GIB * processes, f"{processes} process{'es' if processes > 1 else ''}"
    if description.devices == "cpu" or not this_machine.find_gpus():
        needs = memory_by_part(architecture, method, description.max_length * description.micro_batch,
                               rank=description.lora_rank or 1, device="cpu",
                               targets=description.lora_targets, optimizer=description.optimizer)  # fmt: skip
        whole = processes * (sum(needs.values()) / GIB + LIBRARIES_GIB)
        return whole, f"where {'each of ' if processes > 1 else ''}{count_text} holds the whole run"
    if description.sharding == "fsdp2" and method != "qlora" and processes * description.nodes > 1:
        width = 4 if method == "full" and description.master_weights == "fp32" else 2
        whole = width * count / GIB
        return whole + libraries, f"where the first process holds the whole net in {8 * width} bit until it is cut"
    matrix = 4 * max(inputs * outputs for inputs, outputs in architecture.matrices) / GIB
    need, paged = (matrix + LIBRARIES_GIB) * processes, 0.0
    if description.optimizer == "paged_adamw_8bit":
        states = (architecture, method, description.lora_rank, description.lora_targets)
        paged = processes * (states_in_8_bit(*states, False) - states_in_8_bit(*states, True)) / GIB
    more = f", and {paged:.0f} GiB of the optimiser's paged moments" if paged else ""
    return need + paged, f"of {count_text} that each read{'' if processes > 1 else 's'} a tensor at a time{more}"


def _torch(description: RunDescription) -> _Check:
    """Check that torch can use the GPUs that the driver lists and the run takes; ``force`` does not change that."""
    cards = [] if description.on_cpu else this_machine.find_gpus()
    count = min(len(cards), int(description.devices)) if description.devices.isdigit() else len(cards)
    problem = this_machine.explain_torch(count) if cards else ""
    if problem:
        return _Check(False, f"a card that torch can use: nvidia-smi lists {cards[0].name}, but {problem}")
    if cards and (problem := this_machine.explain_compiler()):
        return _Check(False, f"a C compiler and Python.h, without which the first step ends: {problem}")
    return _Check(True, "")


def _unless_forced(description: RunDescription, text: str) -> _Check:
    """Return a failed check, or a warning if the run is forced."""
    if description.force:
        return _Check(True, f"warning: {text}. It starts all the same, since force=true")
    return _Check(False, f"{text}; -p force true starts it all the same")


def _without_bf16(cards: list[this_machine.Gpu]) -> str:
    """Return the name of the first GPU without bf16, or an empty text; asks ``nvidia-smi``."""
    for name, capability in this_machine.compute_capabilities().items():
        if capability < BF16_CAPABILITY and any(card.name == name for card in cards):
            return name
    return ""


def _weights(description: RunDescription) -> tuple[_Check, int]:
    """Check that the base's weights are here or can be fetched, and return how many bytes are to be fetched."""
    base = description.base_path
    folder = find_folder(base)
    if folder is None and Path(base).is_absolute():
        folder = Path(base)
    if folder is not None:
        try:
            check_weights(folder, finite=True)
            if description.adapter:
                check_adapter(description.adapter, folder)
        except BaseModelError as error:
            script = " (made by `python -m mammoth_utils.miniature.pretraining`)" if not folder.is_dir() else ""
            return _Check(False, f"the base model: {error}{script}"), 0
        inside = folder.is_relative_to(paths.root())
        return _Check(True, f"base model in {folder.relative_to(paths.root()) if inside else folder}"), 0
    if base.startswith((".", "~", os.sep)) or base.count("/") != 1:
        return _Check(False, f"the base model: {base!r} is neither a folder here nor a hub name like owner/name"), 0
    snapshot = find_cached(base, description.revision)
    if snapshot is not None and not missing_files(snapshot):
        try:
            check_weights(snapshot, finite=True)
        except BaseModelError as error:
            return _Check(False, f"the base model {base}: {error}"), 0
        return _Check(True, f"base model {base} at {snapshot.name} in the hub's cache"), 0
    try:
        listing = check_access(base, description.revision)
    except BaseModelError as error:
        return _Check(False, f"the weights of {base}: {error}"), 0
    held = sum(size for path, (size, _) in listing.files.items() if snapshot and (snapshot / path).is_file())
    return _Check(
        True, f"base model {base} at {listing.commit}, {(listing.bytes - held) / 1e9:.2f} GB of it to be fetched"
    ), listing.bytes - held


def _configuration(description: RunDescription) -> list[_Check]:
    """Check that this book trains a model with the base's configuration, and in rows of this length."""
    config = read_config(description.base_path, description.revision)
    if config is None:
        return []
    problems = training_problems(config, description.max_length)
    try:
        guards.check_rope(config, description.rope_theta)
    except ValueError as error:
        problems.append(str(error))
    return [_Check(False, f"another base model or length: {problem}") for problem in problems]


def _disks(description: RunDescription, architecture: Architecture, to_fetch: int) -> list[_Check]:
    """Check that the run's folder has room for the model and its checkpoints, and the hub's cache for the base."""
    written, held = bytes_written(description, architecture), _bytes_held(description.folder)
    need = sum(max(0, whole - there) for whole, there in zip(written, held, strict=True))
    more = f", beside the {sum(held) / 1e9:.2f} of its folder" if any(held) else ""
    needs = [(f"the model and its checkpoints{more}", _existing(paths.runs()), need)]
    if to_fetch:
        from huggingface_hub import constants

        needs.append(("the base model", _existing(Path(constants.HF_HUB_CACHE)), to_fetch))
    checks, taken = [], {}
    for what, place, need in needs:
        device = place.stat().st_dev
        free = shutil.disk_usage(place).free - taken.get(device, 0)  # one disk may have to hold both
        taken[device] = taken.get(device, 0) + need
        if free < need:
            variable = "MAMMOTH_RUNS_DIR" if what != "the base model" else "HF_HOME"
            fewer = " (-p checkpoint_minutes 0 keeps no checkpoint)" if description.checkpoint_minutes else ""
            checks.append(_Check(
                False, f"disk: {need / 1e9:.2f} GB for {what}, {place} has {max(0, free) / 1e9:.2f}; make room, or "
                f"name another place in {variable}{fewer if variable != 'HF_HOME' else ''}"
            ))  # fmt: skip
        else:
            there = f"{free / 1e9:.0f} free in {paths.relative_to_root(place)}"
            checks.append(_Check(True, f"{need / 1e9:.2f} GB of disk for {what}, {there}"))
    return checks


def _existing(place: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    while not place.is_dir():
        place = place.parent
    return place


def bytes_written(description: RunDescription, architecture: Architecture) -> tuple[int, int]:
    """Return the most bytes that a run writes: its results, and the checkpoints that exist at once."""
    return run_cost.bytes_written(
        architecture,
        description.method,
        description.lora_rank,
        master=2 if description.master_weights == "bf16" else 4,
        model=4 if description.miniature else 2,
        checkpoints=bool(description.checkpoint_minutes),
        targets=description.lora_targets,
    )


def result_bytes(description: RunDescription) -> int:
    """Return the bytes of what a run saves at its end."""
    scale = scales.scale(description.size, description.family)
    return bytes_written(description, architecture_of(scale, description.base_path, description.revision))[0]


def _bytes_held(folder: Path) -> tuple[int, int]:
    """Return the bytes that an earlier start of a run left in its folder: results, and checkpoints."""

    def size(*names: str) -> int:
        files = (file for name in names for file in (folder / name).rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files)

    return size("model", "adapter", "model.part", "adapter.part"), size("checkpoints")
