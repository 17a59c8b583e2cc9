"""Upload of a trained model to the hub, which happens on request only.

``python -m mammoth_utils.training.export.publish runs/train/NAME OWNER/NAME`` sends what a finished run saved as one
commit, compares it there with what was sent, and loads its settings back by name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import paths, prompts, records
from mammoth_utils.hub import HubError, Upload, run_command, upload_files
from mammoth_utils.silence_libraries import silent_training
from mammoth_utils.training.export import model_card, model_folder
from mammoth_utils.training.export.merge_adapter import merge_command

TEXT = (".json", ".md", ".jinja", ".txt")


def publish(
    folder: Path, name: str, kind: str = "auto", base: str = "", private: bool = True, dry_run: bool = False
) -> Upload:
    """Upload what a finished run left, with its card, licences and record.

    Args:
        name: ``owner/name`` on the hub; made if it is not there.
        kind: ``model``, ``adapter``, or ``auto`` for the model where there is one.
        base: Hub name of the base, where the run trained one from a folder.
        private: Whether a new one is visible to its owner alone.
        dry_run: Say what would be uploaded, and ask the hub nothing.

    Returns:
        The page, its commit (None in a dry run), and each file's size and SHA-256.

    Raises:
        FileNotFoundError: If the run has not finished, or left no such folder.
        ValueError: If its weights are not those of its record, or a file names a place on this machine.
        HubError: If there is no token, or the hub refuses, or holds another content afterwards.
    """
    folder = Path(folder).resolve()
    if not (folder / "record.json").is_file():
        raise FileNotFoundError(f"{folder} holds no record.json: the run has not finished, or is none")
    record = records.read_json(folder / "record.json")
    kind = _choose_kind(folder, kind)
    _check_unchanged(folder, kind, record)
    files = hub_files(folder, kind, record, name, base)
    _check_no_local_path(files, folder, record)
    upload = upload_files(name, files, "model", f"{record['name']}: {kind}", private, dry_run)
    if not dry_run:
        with silent_training():
            _check_loads_back(name, upload.commit, folder / kind, files)
    return upload


def hub_files(folder: Path, kind: str, record: dict[str, Any], name: str, base: str = "") -> dict[str, Path | bytes]:
    """Return what is sent under each name: the folder's files, with the texts for the hub in place of this machine's.

    Raises:
        ValueError: If an adapter's base has no name on the hub.
    """
    base = base or model_card.hub_base(record)
    files: dict[str, Path | bytes] = {file.name: file for file in sorted((folder / kind).iterdir()) if file.is_file()}
    files |= {file: text.encode() for file, text in model_card.card_files(record, kind, name, base).items()}
    if kind == "adapter":
        if not base:
            raise ValueError(
                f"the adapter's base is {record['parameters']['base']!r}, which is no name on the hub, and whoever "
                "loads the adapter needs one: say --base OWNER/NAME, or publish the merged model"
            )
        config = records.read_json(folder / kind / "adapter_config.json")
        config |= {"base_model_name_or_path": base, "revision": record["base"].get("revision")}
        files["adapter_config.json"] = (json.dumps(config, indent=1) + "\n").encode()
    return files


def _choose_kind(folder: Path, kind: str) -> str:
    saved = [name for name in model_card.KINDS if any((folder / name).glob("*.safetensors"))]
    if not saved:
        raise FileNotFoundError(f"{folder} holds neither model/ nor adapter/ with safetensors")
    if kind == "auto":
        return saved[0]
    if kind not in saved:
        merge = f"; `{merge_command(folder)}` makes model/" if kind == "model" else ""
        raise FileNotFoundError(f"{folder} holds no {kind}/, only {' and '.join(saved)}{merge}")
    return kind


def _check_unchanged(folder: Path, kind: str, record: dict[str, Any]) -> None:
    """Raise ValueError unless the weights are those that the record was written for."""
    known = {"model": (record.get("merging") or {}).get("hash"), record["model"]["folder"]: record["model"]["hash"]}
    if not known.get(kind):
        raise ValueError(
            f"the record of {folder} knows no hash of {kind}/, so nothing says that it is what was trained; "
            f"`{merge_command(folder)}` makes it, checks it and records it"
        )
    if (digest := model_folder.weights_hash(folder / kind)) != known[kind]:
        raise ValueError(f"the weights in {folder / kind} have SHA-256 {digest}, the record is of {known[kind]}: they "
                         "were changed after the run")  # fmt: skip


def _check_no_local_path(files: dict[str, Path | bytes], folder: Path, record: dict[str, Any]) -> None:
    """Raise ValueError if a text that is sent names a folder of this machine."""
    base = record["parameters"]["base"]
    places = {str(folder), str(paths.runs()), str(Path.home()), *([base] if Path(base).is_absolute() else [])}
    for name, content in files.items():
        if not name.endswith(TEXT):
            continue
        text = (content if isinstance(content, bytes) else content.read_bytes()).decode("utf8", errors="replace")
        for place in places:
            if len(place) > 1 and (f'"{place}' in text or f"{place}/" in text):
                raise ValueError(f"{name} names {place}, a place on this machine; nothing was sent")


def _check_loads_back(name: str, commit: str, here: Path, files: dict[str, Path | bytes]) -> None:
    """Raise HubError unless transformers or PEFT find by name and commit what was sent: settings and tokenizer.

    The weights were compared by their SHA-256; loading them again would fetch all of them.
    """
    from transformers import AutoConfig, AutoTokenizer

    text = prompts.alpaca("What is 7 plus 5?" + prompts.POT_TRIGGER)
    ids = [AutoTokenizer.from_pretrained(place, **at)(text).input_ids for place, at in
           ((here, {}), (name, {"revision": commit}))]  # fmt: skip
    if ids[0] != ids[1]:
        raise HubError(f"{name} at {commit}: its tokenizer reads the prompt otherwise than the one that was sent")
    if "adapter_config.json" in files:
        from peft import PeftConfig

        sent = json.loads(files["adapter_config.json"])["base_model_name_or_path"]
        loaded = PeftConfig.from_pretrained(name, revision=commit).base_model_name_or_path
    else:
        sent = AutoConfig.from_pretrained(here).to_diff_dict()
        loaded = AutoConfig.from_pretrained(name, revision=commit).to_diff_dict()
    if loaded != sent:
        raise HubError(f"{name} at {commit}: loaded back as {loaded}, sent was {sent}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish what a run saved, or say what would be; return 0 if that went well."""
    parser = argparse.ArgumentParser(description="Publish a trained model on the hub.")
    parser.add_argument("folder", type=Path, help="a finished run, such as runs/train/NAME")
    parser.add_argument("name", help="OWNER/NAME on the hub")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", action="store_const", const="model", dest="kind", help="the whole model (default)")
    which.add_argument("--adapter", action="store_const", const="adapter", dest="kind", help="the adapter alone")
    parser.add_argument("--base", default="", help="the base's OWNER/NAME, where the run trained one from a folder")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--public", action="store_true", help="let everybody see a new one; private otherwise")
    seen.add_argument("--private", action="store_true", help="let its owner alone see a new one (default)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and ask the hub nothing")
    chosen = parser.parse_args(arguments)
    kind = chosen.kind or "auto"
    private = not chosen.public
    return run_command(lambda: publish(chosen.folder, chosen.name, kind, chosen.base, private, chosen.dry_run))


if __name__ == "__main__":
    sys.exit(main())
