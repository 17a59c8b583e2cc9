"""The folder of a saved model or adapter: weights, configuration, tokenizer, chat template and generation settings."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from mammoth_utils import prompts, records
from mammoth_utils.training.description import RunDescription

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt",
)  # fmt: skip


def fresh_part(folder: Path) -> Path:
    """Make an empty folder beside the place of another, to be filled and then put there."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def put_in_place(part: Path, folder: Path) -> Path:
    """Rename a complete folder to where it belongs, so that half of one is never read there."""
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def save(
    folder: Path, model: Any, tokenizer: Any, description: RunDescription, state: dict[str, Any] | None = None
) -> Path:
    """Write the folder that transformers, PEFT and servers load, and return it.

    It is written beside its place and renamed. ``model`` is the model, or the adapter on its base; ``state`` its
    weights, where the model itself holds only this process's share of them.
    """
    part = fresh_part(folder)
    model.config.use_cache = True  # checkpointing switches it off, and decoding would crawl
    model.generation_config = generation_config(tokenizer)
    model.save_pretrained(part, state_dict=state, max_shard_size="5GB")
    (part / "README.md").unlink(missing_ok=True)  # PEFT's, with nothing filled in; the run's own card takes its place
    if (part / "config.json").is_file():
        _write_dtype(part)
    add_tokenizer(part, tokenizer, description)
    return put_in_place(part, folder)


def _write_dtype(folder: Path) -> None:
    """Write into ``config.json`` the type that the files hold; gathered weights may differ from the model's own."""
    from safetensors import safe_open

    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    with safe_open(sorted(folder.glob("*.safetensors"))[0], "pt") as opened:
        held = names[opened.get_slice(next(iter(opened.keys()))).get_dtype()]
    config = records.read_json(folder / "config.json")
    records.write_json(folder / "config.json", config | {"dtype": held})


def add_tokenizer(folder: Path, tokenizer: Any, description: RunDescription) -> None:
    """Write the tokenizer's files into a folder: the base's own where it has them, as servers and converters know them.

    What this transformers would write names classes that older ones do not have, and no ``tokenizer.model``, from which
    llama.cpp converts a SentencePiece vocabulary. Settings gain the padding token, padding on the left as decoding
    needs, and a chat template that gives the training's prompt; the base's own would ask what was never trained.
    """
    from transformers.utils import cached_file

    tokenizer.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        file = cached_file(
            description.base_path, name, revision=description.revision or None, local_files_only=True,
            _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if file is not None:
            shutil.copyfile(file, folder / name)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = records.read_json(folder / "tokenizer_config.json")
    for key in ("is_local", "local_files_only", "name_or_path"):  # how a machine found it
        config.pop(key, None)
    own = {"pad_token": tokenizer.pad_token, "padding_side": "left", "chat_template": chat_template(tokenizer)}
    records.write_json(folder / "tokenizer_config.json", config | own)


def chat_template(tokenizer: Any) -> str:
    """Return a chat template by which a server gives one question the very prompt that was trained on."""
    start = tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    before, after = ("{{ " + json.dumps(part) + " }}" for part in (prompts.ALPACA_HEADER, prompts.ALPACA_RESPONSE))
    refused = "{{ raise_exception('expected one message, of the user: the question') }}"
    return (
        "{% if messages | length != 1 or messages[0]['role'] != 'user' %}" + refused + "{% endif %}"
        + ("{{ bos_token }}" if start else "") + before + "{{ messages[0]['content'] }}" + after
    )  # fmt: skip


def generation_config(tokenizer: Any) -> Any:
    """Return settings for greedy decoding that ends at the token which the labels taught."""
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )


def point_to_base(adapter: Path, base: str) -> None:
    """Write into an adapter where its base is, so that PEFT finds it from any folder."""
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])  # a set, written in another order each time
    records.write_json(file, config)


def weights_hash(folder: Path) -> str:
    """Return one SHA-256 over a folder's safetensors, by file name, or raise FileNotFoundError if it holds none."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no safetensors")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {records.sha256(file)}\n".encode())
    return digest.hexdigest()
