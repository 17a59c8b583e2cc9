"""Readiness: what a run needs of this machine, found out in seconds, before anything heavy is loaded."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import paths, scales
from mammoth_utils.base_models import architectures, download, locations
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import trackers
from mammoth_utils.training.plan import advice as planner
from mammoth_utils.training.plan import cost, this_machine

LIBRARIES = {
    "full": ("torch", "transformers", "trl", "accelerate", "datasets"),
    "lora": ("torch", "transformers", "trl", "accelerate", "datasets", "peft"),
    "qlora": ("torch", "transformers", "trl", "accelerate", "datasets", "peft", "bitsandbytes"),
}
BF16_CAPABILITY = 8.0  # Ampere; a T4 has 7.5, a V100 7.0
LIBRARIES_GIB = 0.6  # of a process that has imported torch, transformers, TRL and PEFT; 0.5 were measured


class NotReadyError(RuntimeError):
    """A run cannot start on this machine; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class _Finding:
    ok: bool
    said: str


def ready(description: RunDescription) -> list[str]:
    """What was found for a run, line by line; it loads nothing and takes seconds.

    Of a hub's base the configuration alone is fetched. With ``description.force`` a run that cannot fit is let
    through with a warning among the lines; what is missing altogether is refused all the same.

    Raises:
        NotReadyError: If libraries, weights, a card, memory or disk are missing, with all of it and how to get each.
    """
    weights, to_fetch = _weights(description)
    scale = scales.scale(description.size, description.family)
    architecture = architectures.architecture_of(scale, description.base_path, description.revision)
    findings = [
        _libraries(description), weights, _device(description, architecture), _torch(description), _step(description),
        _memory(description, architecture), *_disks(description, architecture, to_fetch),
    ]  # fmt: skip
    missing = [one.said for one in findings if not one.ok]
    if missing:
        raise NotReadyError(
            f"{description.name} cannot start here:\n- " + "\n- ".join(missing)
            + "\nThe miniature trains anywhere: -p size 1m"
        )  # fmt: skip
    return [one.said for one in findings if one.said]


def _libraries(description: RunDescription) -> _Finding:
    """Whether what the method imports is installed, and the trackers that were asked for."""
    asked = trackers.chosen(description)
    wanted = (*LIBRARIES[description.method], *asked)
    absent = [name for name in wanted if not trackers.installed(name)]
    if not absent:
        return _Finding(True, f"{', '.join(wanted)} are installed")
    advice = []
    if set(absent) - set(asked):
        advice.append("`pip install -e '.[train]'` installs them")
    if absent == ["bitsandbytes"]:
        advice.append("-p method lora needs no bitsandbytes")
    advice += [f"`pip install {name}`, or leave it out of trackers" for name in absent if name in asked]
    return _Finding(False, f"{', '.join(absent)}, which method={description.method} imports: {'; '.join(advice)}")


def _device(description: RunDescription, architecture: architectures.Architecture) -> _Finding:
    """Whether the cards, or the processor, of this machine carry the run."""
    count, size = architecture.parameters, description.size
    cards = [] if description.devices == "cpu" else planner.gpus()
    if description.nodes > 1 and not cards:
        return _Finding(
            True, f"the cards of {description.nodes} nodes are not seen from here; each node looks at its own"
        )
    if not cards or (description.miniature and description.devices == "auto"):
        if count <= planner.CPU_PARAMETERS:
            return _Finding(True, f"{count:,} parameters train on the CPU")
        needs = {row.method: row for row in planner.plan(description, 1, 80e9 / planner.GIB)}
        row = needs[description.method]
        others = ", ".join(f"{m} {needs[m].total:.0f} GiB" for m in planner.METHODS if m != description.method)
        why = "devices=cpu leaves it none" if description.devices == "cpu" else "nvidia-smi lists none here"
        return _unless_forced(
            description,
            f"an NVIDIA GPU: {size} has {count:,} parameters, and {why}. {description.method} needs "
            f"{row.total:.0f} GiB on one card (80 GB cards: {row.fewest or 'over 64'}); on one card {others}",
        )
    asked = len(cards) if description.devices == "auto" else int(description.devices)
    if asked > len(cards):
        return _Finding(False, f"{asked} GPUs, as devices={asked} asks; this machine has {len(cards)}")
    cards = cards[:asked]
    tightest = min(cards, key=lambda card: card.gib)
    sharded = description.sharding == "fsdp2"
    shares, replicas = planner.shares(_processes(description), description.sharding)
    advice = planner.advice(description, shares, tightest.gib, not description.miniature, replicas)
    old = _without_bf16(cards)
    if old and sharded:
        return _Finding(
            False,
            f"bf16: {old} has none, and the loss scaling that fp16 needs is not tested on weights cut over cards; use "
            "-p sharding none, or -p devices 1",
        )
    held = tightest.whole - tightest.gib  # by other programs, and a little by the driver
    busy = f"; other programs hold {held:.0f} of its {tightest.whole:.0f} GiB" if held >= 1 else ""
    if advice.fits:
        half = f"; {old} has no bf16, so the run computes in fp16 with loss scaling" if old else ""
        return _Finding(True, f"{cards[0].name}: {advice.sentence}{busy}{half}")
    return _unless_forced(description, f"memory: {advice.sentence}{busy}")


def _processes(description: RunDescription) -> int:
    """How many processes share a step; torchrun tells each of its own."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    if description.devices.isdigit():
        return int(description.devices) * description.nodes
    on_cards = description.devices == "auto" and not description.miniature
    return max(1, len(planner.gpus()) if on_cards else 1) * description.nodes


def _step(description: RunDescription) -> _Finding:
    """Whether a step's examples give every row of every process something to read."""
    processes, rows, examples = _processes(description), description.micro_batch, description.global_batch
    if processes * rows < examples or (processes * rows == examples and description.max_steps):
        return _Finding(True, f"{examples} examples a step; a pass reads at least {processes * rows}")
    if processes * rows == examples:
        return _Finding(
            True, f"warning: a step's {examples} examples are as many as the rows of {processes} processes; if the "
            "epochs' last examples leave some step with one less, the run ends before it loads the model"
        )  # fmt: skip
    many = f"{processes} process{'es' if processes > 1 else ''}"
    choices = [f"-p micro_batch {(examples - 1) // processes}"] if processes < examples else []
    choices += [f"at most {examples // rows} processes (-p devices, -p nodes)"] if rows <= examples else []
    return _Finding(
        False, f"examples: a step of {description.method} has {examples}, and {many} with micro_batch "
        f"{rows} {'have' if processes > 1 else 'has'} {processes * rows} rows to fill; use {' or '.join(choices)}"
    )  # fmt: skip


def _memory(description: RunDescription, architecture: architectures.Architecture) -> _Finding:
    """Whether this machine's own memory holds what loading puts there, where Linux says how much is free."""
    on_other_nodes = description.nodes > 1 and description.devices != "cpu" and not planner.gpus()
    if description.miniature or on_other_nodes:  # a login node loads nothing
        return _Finding(True, "")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or max(1, _processes(description) // description.nodes)
    need, what = _loading(description, architecture, processes)
    free = this_machine.free_memory()
    if free is None:
        return _Finding(True, f"loading takes {need:.0f} GiB of this machine's own memory, {what}; how much is free "
                        "was not looked up, since only Linux says so in /proc/meminfo")  # fmt: skip
    said = f"{need:.1f} GiB of this machine's own memory for loading, {what}; {free:.0f} are free"
    if need <= free or os.environ.get("LOCAL_RANK", "0") != "0":  # later processes find what the first holds by then
        return _Finding(True, said)
    return _unless_forced(description, f"memory of the machine: {said}")


def _loading(
    description: RunDescription, architecture: architectures.Architecture, processes: int
) -> tuple[float, str]:  # fmt: skip
    """GiB that loading puts into the memory of one machine, and for what."""
    method, count = description.method, architecture.parameters
    libraries, one = LIBRARIES_GIB * processes, f"{processes} process{'es' if processes > 1 else ''}"
    if description.devices == "cpu" or not planner.gpus():
        needs = planner.memory(architecture, method, description.max_length * description.micro_batch,
                               rank=description.lora_rank or 1, device="cpu")  # fmt: skip
        whole = processes * (sum(needs.values()) / planner.GIB + LIBRARIES_GIB)
        return whole, f"where {'each of ' if processes > 1 else ''}{one} holds the whole run"
    if description.sharding == "fsdp2" and method != "qlora" and processes * description.nodes > 1:
        width = 4 if method == "full" and description.master_weights == "fp32" else 2
        whole = width * count / planner.GIB
        return whole + libraries, f"where the first process holds the whole net in {8 * width} bit until it is cut"
    matrix = 4 * max(inputs * outputs for inputs, outputs in architecture.matrices) / planner.GIB
    return (
        matrix + LIBRARIES_GIB
    ) * processes, f"of {one} that each read{'' if processes > 1 else 's'} a tensor at a time"


def _torch(description: RunDescription) -> _Finding:
    """Whether torch can use the cards that the driver lists and the run takes; no force helps where it cannot."""
    on_cpu = description.devices == "cpu" or (description.miniature and description.devices == "auto")
    cards = [] if on_cpu else planner.gpus()
    asked = min(len(cards), int(description.devices)) if description.devices.isdigit() else len(cards)
    refused = this_machine.torch_refuses(asked) if cards else ""
    if refused:
        return _Finding(False, f"a card that torch can use: nvidia-smi lists {cards[0].name}, but {refused}")
    return _Finding(True, "")


def _unless_forced(description: RunDescription, said: str) -> _Finding:
    """A refusal, or where the run is forced a warning."""
    if description.force:
        return _Finding(True, f"warning: {said}. It starts all the same, since force=true")
    return _Finding(False, f"{said}; -p force true starts it all the same")


def _without_bf16(cards: list[planner.Gpu]) -> str:
    """The name of the first card that is older than bf16, or an empty text; asks ``nvidia-smi``."""
    for name, capability in this_machine.compute_capabilities().items():
        if capability < BF16_CAPABILITY and any(card.name == name for card in cards):
            return name
    return ""


def _weights(description: RunDescription) -> tuple[_Finding, int]:
    """Whether the base's weights are here or can be fetched, and how many bytes are to be fetched."""
    base = description.base_path
    folder = locations.folder(base)
    if folder is None and Path(base).is_absolute():
        folder = Path(base)
    if folder is not None:
        lacking = locations.lacking(folder)
        if lacking:
            made = " (made by `python -m mammoth_utils.miniature.pretraining`)" if description.miniature else ""
            return _Finding(False, f"the base model: {folder} holds no {', no '.join(lacking)}{made}"), 0
        inside = folder.is_relative_to(paths.root())
        return _Finding(True, f"base model in {folder.relative_to(paths.root()) if inside else folder}"), 0
    if base.startswith((".", "~", os.sep)) or base.count("/") != 1:
        return _Finding(False, f"the base model: {base!r} is neither a folder here nor a hub name like owner/name"), 0
    snapshot = locations.cached(base, description.revision)
    if snapshot is not None and not locations.lacking(snapshot):
        return _Finding(True, f"base model {base} at {snapshot.name} in the hub's cache"), 0
    try:
        found = download.look(base, description.revision)
    except download.BaseModelError as error:
        return _Finding(False, f"the weights of {base}: {error}"), 0
    held = sum(size for path, (size, _) in found.files.items() if snapshot and (snapshot / path).is_file())
    return _Finding(
        True, f"base model {base} at {found.commit}, {(found.bytes - held) / 1e9:.2f} GB of it to be fetched"
    ), found.bytes - held


def _disks(description: RunDescription, architecture: architectures.Architecture, to_fetch: int) -> list[_Finding]:
    """Whether the run's folder has room for the model and its checkpoints, and the hub's cache for the base."""
    wanted, held = _bytes_written(description, architecture), _bytes_held(description.folder)
    need = sum(max(0, whole - there) for whole, there in zip(wanted, held, strict=True))
    more = f", beside the {sum(held) / 1e9:.2f} of its folder" if any(held) else ""
    needs = [(f"the model and its checkpoints{more}", _existing(paths.runs()), need)]
    if to_fetch:
        from huggingface_hub import constants

        needs.append(("the base model", _existing(Path(constants.HF_HUB_CACHE)), to_fetch))
    findings, taken = [], {}
    for what, place, need in needs:
        device = place.stat().st_dev
        free = shutil.disk_usage(place).free - taken.get(device, 0)  # one disk may have to hold both
        taken[device] = taken.get(device, 0) + need
        if free < need:
            room = "MAMMOTH_RUNS_DIR" if what != "the base model" else "HF_HOME"
            fewer = " (-p checkpoint_minutes 0 keeps no checkpoint)" if description.checkpoint_minutes else ""
            findings.append(_Finding(
                False, f"disk: {need / 1e9:.2f} GB for {what}, {place} has {max(0, free) / 1e9:.2f}; make room, or "
                f"name another place in {room}{fewer if room != 'HF_HOME' else ''}"
            ))  # fmt: skip
        else:
            there = f"{free / 1e9:.0f} free in {paths.relative_to_root(place)}"
            findings.append(_Finding(True, f"{need / 1e9:.2f} GB of disk for {what}, {there}"))
    return findings


def _existing(place: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not place.is_dir():
        place = place.parent
    return place


def _bytes_written(description: RunDescription, architecture: architectures.Architecture) -> tuple[int, int]:
    """Bytes that a run writes at most: what it leaves, and the checkpoints that stand at once."""
    from mammoth_utils.training.export.verify_losses import MERGED_UP_TO

    return cost.written(
        architecture,
        description.method,
        description.lora_rank,
        master=2 if description.master_weights == "bf16" else 4,
        model=4 if description.miniature else 2,
        folded=architecture.parameters <= MERGED_UP_TO,
        checkpoints=bool(description.checkpoint_minutes),
    )


def _bytes_held(folder: Path) -> tuple[int, int]:
    """Bytes that an earlier start of a run left in its folder: results, and checkpoints."""

    def size(*names: str) -> int:
        files = (file for name in names for file in (folder / name).rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files)

    return size("model", "adapter", "model.part", "adapter.part"), size("checkpoints")
