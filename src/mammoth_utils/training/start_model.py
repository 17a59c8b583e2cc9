"""The start of a run: a base model, a finished run's model, or an adapter that it goes on training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records, scales
from mammoth_utils.base_models import is_adapter

# What an adapter must be for this book to go on with it, as its configuration says; the values are PEFT's defaults.
PLAIN = {
    "peft_type": "LORA", "use_dora": False, "use_rslora": False, "bias": "none", "fan_in_fan_out": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "layers_to_transform": None,
}  # fmt: skip


LABEL = 60  # characters of a start in a run's name, so that a chain of runs stays below the 255 of a folder's name


@dataclass(frozen=True)
class StartModel:
    """The start of a run.

    Attributes:
        base: Hub name or folder of the base model; empty for the scale's.
        revision: Of the base, where the run that is gone on from had one.
        label: How the name of the run calls it.
        adapter: Folder of the adapter to go on from, or empty; the other fields are then the adapter's own.
        method: ``lora`` or ``qlora``; empty where the adapter's folder does not say.
        reason: Why the run has this method, in a sentence; empty without an adapter.
    """

    base: str
    revision: str = ""
    label: str = ""
    adapter: str = ""
    method: str = ""
    rank: int = 0
    alpha: float = 0.0
    targets: str = ""
    dropout: float | None = None
    reason: str = ""


def find_start(base: str, scale: scales.Scale) -> StartModel:
    """Return what the parameter ``base`` of a run of that scale means; nothing is loaded.

    Raises:
        ValueError: If it is a run of another scale, or an adapter that is no plain LoRA.
        FileNotFoundError: If it is a run that did not finish.
    """
    places = [place for place in (Path(base).expanduser(), paths.root() / base) if base and place.is_dir()]
    if not places:
        return StartModel(base, label=label_of(base))
    folder = places[0].resolve()
    own = next((place for place in (folder, folder.parent) if _is_run(place)), None)
    if own is None:
        label = label_of(str(folder))
        return _adapter(folder, label, {}) if is_adapter(folder) else StartModel(base, label=label)
    run = records.read_json(own / "run.json")
    if not (own / "record.json").is_file():
        raise FileNotFoundError(f"the training in {own} did not finish; start it again, it goes on where it was")
    if (run["size"], run["family"]) != (scale.size, scale.family):
        raise ValueError(f"{own} is of size {run['size']}, family {run['family']}; asked were {scale.size} and "
                         f"{scale.family}: use -p size {run['size']} -p family {run['family']}")  # fmt: skip
    if run["method"] == "full" or folder.name == "model":
        return StartModel(str(own / "model"), label=label_of(str(own)))
    return _adapter(own / "adapter", label_of(str(own)), run)


def label_of(folder: str) -> str:
    """Return how a model or adapter is called: its folder's name, or that of the run in which it lies, cut if long."""
    path = Path(folder)
    label = path.parent.name if path.name in ("model", "adapter") else path.name or folder
    return label if len(label) <= LABEL else f"{label[: LABEL - 9]}.{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _is_run(folder: Path) -> bool:
    file = folder / "run.json"
    return file.is_file() and records.read_json(file).get("page") == "train"


def _adapter(folder: Path, label: str, run: dict[str, Any]) -> StartModel:
    """Return the start from an adapter's folder; ``run`` describes the run of this book that made it, if one did."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} holds no adapter_model.safetensors, so training cannot go on from it")
    config, beside = records.read_json(folder / "adapter_config.json"), folder / "record.json"
    if absent := [key for key in ("r", "lora_alpha") if not isinstance(config.get(key), int | float)]:
        raise ValueError(f"{folder / 'adapter_config.json'} lacks {', '.join(absent)}, which a LoRA adapter has")
    other = [f"{key}={config[key]!r}" for key, plain in PLAIN.items() if (config.get(key) or plain) != plain]
    if other:
        raise ValueError(f"{folder} is no plain LoRA adapter ({', '.join(other)}), and training cannot go on from it; "
                         "merge it into its base with PEFT and give -p base the merged folder")  # fmt: skip
    if not run and beside.is_file():  # of a published adapter
        run = {"method": records.read_json(beside).get("parameters", {}).get("method", "")}
    targets = config.get("target_modules") or []
    names = [targets] if isinstance(targets, str) else sorted({name.split(".")[-1] for name in targets})
    return StartModel(
        base=run.get("base") or config.get("base_model_name_or_path") or "",
        revision=run.get("revision") or config.get("revision") or "",
        label=label, adapter=str(folder), method=run.get("method", ""), rank=int(config["r"]),
        alpha=float(config["lora_alpha"]), targets=",".join(names), dropout=float(config.get("lora_dropout") or 0.0),
        reason=f"as the adapter in {label} that it goes on from",
    )  # fmt: skip
