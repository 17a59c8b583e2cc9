"""Checkpoints: which one a killed run goes on from, and what makes one complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

from mammoth_utils import records

PART = ".part"  # where a checkpoint is written before it is renamed
MANIFEST = "complete.json"
KEPT = 2
SHARDS = ("pytorch_model_fsdp_0", "optimizer_0")  # the folders of a sharded checkpoint


def commit(written: Path, place: Path, processes: int) -> Path:
    """Make a checkpoint that is written whole the latest one below ``place``, and keep the last two.

    Every file is on the disk before the name appears, and the list of files with their sizes is written last, so a
    kill or a power cut at any moment leaves either this checkpoint or the one before.

    Args:
        written: ``<place>/.part/checkpoint-<step>``.
        processes: Processes that wrote it; a run goes on with as many.

    Raises:
        RuntimeError: If shards were written without a weight that is trained. Later ones would lack it too, and each
            would take the place of one before.
    """
    missing = _shards(written) if (written / SHARDS[0]).is_dir() else []
    if missing:
        raise RuntimeError(f"{written.name} was not written whole, no run could go on from it: {'; '.join(missing)}")
    files = {}
    for file in sorted(path for path in written.rglob("*") if path.is_file()):
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
        files[file.relative_to(written).as_posix()] = file.stat().st_size
    records.write_json(written / MANIFEST, {"processes": processes, "files": files})
    target = place / written.name
    shutil.rmtree(target, ignore_errors=True)
    written.rename(target)
    shutil.rmtree(place / PART, ignore_errors=True)
    for old in list_checkpoints(place)[KEPT:]:
        shutil.rmtree(old)
    return target


def faults(checkpoint: Path) -> list[str]:
    """Return what a checkpoint lacks for an exact resume; empty if it is complete.

    Without its optimiser or scheduler a run resumes without a word, with fresh ones; without its random state it
    draws other data and dropout. So each file must be there and be whole.
    """
    checkpoint, reasons = Path(checkpoint), _unlisted(Path(checkpoint))
    if not _json(checkpoint / "trainer_state.json"):
        reasons.append("trainer_state.json is missing or damaged")
    if not _zip(checkpoint / "scheduler.pt"):
        reasons.append("scheduler.pt is missing or damaged")
    states = list(checkpoint.glob("rng_state*.pth"))
    if not states or not all(map(_zip, states)):
        reasons.append("rng_state*.pth is missing or damaged")
    if (checkpoint / SHARDS[0]).is_dir():
        return reasons + _shards(checkpoint)
    if not any(_zip(checkpoint / name) for name in ("optimizer.pt", "optimizer.bin")):
        reasons.append("optimizer.pt is missing or damaged")
    weights = [*checkpoint.glob("model*.safetensors"), *checkpoint.glob("adapter_model.safetensors")]
    weights += list(checkpoint.glob("pytorch_model_fsdp.bin"))
    index = checkpoint / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_text(encoding="utf8")).get("weight_map", {}).values())
        reasons += [f"{name} is missing" for name in sorted(named - {file.name for file in weights})]
    if not weights:
        reasons.append("model.safetensors or adapter_model.safetensors is missing")
    reasons += [f"{file.name} is damaged" for file in weights if file.suffix == ".safetensors" and not _safe(file)]
    return reasons


def _shards(checkpoint: Path) -> list[str]:
    """Return what a sharded checkpoint lacks by its own tables of contents.

    Each weight that the optimiser has averages for must be among the weights, in its shape. A run resumes without a
    word from weights of which some, or all, are missing: with the base's, or with an adapter that was never trained.
    """
    held, reasons = [], []
    for part in SHARDS:
        try:
            held.append(_contents(checkpoint / part))
        except FileNotFoundError:
            reasons.append(f"{part}/.metadata is missing")
        except Exception as error:  # it is a pickle: damaged, it may raise anything
            reasons.append(f"{part}/.metadata is damaged ({type(error).__name__}: {error})")
    if reasons:
        return reasons
    weights, states = held
    # PEFT leaves the adapter's name out of what it saves.
    trained = {
        f"model.{name.removeprefix('optimizer.state.').removesuffix('.exp_avg').replace('.default.', '.')}": shape
        for name, shape in states.items()
        if name.startswith("optimizer.state.") and name.endswith(".exp_avg")
    }
    missing = [name.removeprefix("model.") for name, shape in trained.items() if weights.get(name) != shape]
    if not trained:
        reasons.append(f"{SHARDS[1]} holds no averages of any weight")
    if missing:
        reasons.append(
            f"{SHARDS[0]} holds {len(trained) - len(missing)} of the {len(trained)} weights that are trained; "
            f"{missing[0]} is missing or has another shape"
        )
    return reasons


def _contents(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors in a folder of torch's distributed checkpoints."""
    from torch.distributed.checkpoint import FileSystemReader

    listed = FileSystemReader(folder).read_metadata().state_dict_metadata
    return {name: tuple(value.size) for name, value in listed.items() if hasattr(value, "size")}


def _unlisted(checkpoint: Path) -> list[str]:
    """Return what the checkpoint's own list of files misses."""
    if not _json(checkpoint / MANIFEST):
        return [f"{MANIFEST} is missing or damaged"]
    listed, reasons = records.read_json(checkpoint / MANIFEST)["files"], []
    for name, size in listed.items():
        file = checkpoint / name
        if not file.is_file():
            reasons.append(f"{name} is missing")
        elif file.stat().st_size != size:
            reasons.append(f"{name} has {file.stat().st_size} of its {size} bytes")
    return reasons


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the ``checkpoint-<step>`` folders below a folder, latest first."""
    folders = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(folders, key=lambda path: int(path.name.split("-")[1]), reverse=True)


def find_checkpoint(folder: Path, say: object = None) -> Path | None:
    """Return the latest checkpoint below a folder that a run can go on from exactly, or None.

    ``say`` is called with a line for each checkpoint that is passed over.
    """
    for checkpoint in list_checkpoints(folder):
        missing = faults(checkpoint)
        if not missing:
            return checkpoint
        if callable(say):
            say(f"{checkpoint.name} is passed over: {'; '.join(missing)}")
    return None


def check_sharding(checkpoint: Path, sharded: bool) -> None:
    """Raise RunMismatchError unless a checkpoint is cut over its processes, or whole, as the run that goes on is."""
    cut, place = (checkpoint / SHARDS[0]).is_dir(), checkpoint.parents[1]
    if cut == sharded:
        return
    processes = records.read_json(checkpoint / MANIFEST)["processes"]
    devices = f"-p devices {processes} -p sharding {'fsdp2' if cut else 'none'}"
    raise records.RunMismatchError(
        f"{checkpoint.name} of {place.name} is {'cut over its processes' if cut else 'whole'}, this start reads a "
        f"{'whole one' if cut else 'cut one'}: {devices} goes on from it; to train anew and keep both, -p name "
        f"{records.free_name(place)}"
    )


def _json(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text(encoding="utf8")), dict)
    except (OSError, ValueError):
        return False


def _zip(file: Path) -> bool:
    """Return whether a file of torch is complete: it is a zip whose directory, written last, must be there."""
    return file.is_file() and zipfile.is_zipfile(file)


def _safe(file: Path) -> bool:
    """Return whether a safetensors file holds a tensor and is as long as its header says."""
    try:
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > 100_000_000:
                return False
            header = json.loads(opened.read(length))
        ends = [value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"]
        return bool(ends) and file.stat().st_size == 8 + length + max(ends)
    except (OSError, ValueError, KeyError, TypeError):
        return False
