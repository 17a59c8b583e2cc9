"""The base model as each method trains it, the adapters on it, and the folders that they are saved in."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from mammoth_utils import prompts, records
from mammoth_utils.silence_libraries import silent_import
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import guards

TARGETS = "all-linear"  # every matrix but the embeddings and the head, as the QLoRA paper found necessary

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt",
)  # fmt: skip


def load_tokenizer(description: RunDescription) -> Any:
    """The base's tokenizer, ready for training."""
    with silent_import():
        from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(description.base_path, revision=description.revision or "main")
    return prepare_tokenizer(found)


def prepare_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer with a padding token: its own, else the unknown token, else the end of sequence.

    No row is added to the vocabulary as the authors did: labels are set by position, so padding is never learnt.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def dtype_of(compute: str) -> Any:
    """torch's type for ``bf16``, ``fp16`` or ``fp32``."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[compute]


def quantisation(compute: str, sharded: bool) -> Any:
    """nf4 with double quantisation; stored in 16 bit where FSDP2 must cut it, since it leaves bytes whole."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype_of(compute),
        bnb_4bit_quant_storage=torch.bfloat16 if sharded else torch.uint8,
    )


def load_model(description: RunDescription, compute: str, device: str = "cpu", sharded: bool = False) -> Any:
    """The base model with packed attention, as the method trains it.

    Args:
        description: The run.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        device: ``cpu`` or ``cuda``.
        sharded: Whether FSDP2 will cut it over several cards.

    Returns:
        A causal language model: its master weights' type for ``full`` (fp32 unless bf16 was asked for), the compute
        type for ``lora``, nf4 for ``qlora``.

    Raises:
        ValueError: If the base's rotary embedding is not what its family needs.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from mammoth_utils.training.loop.attention import register

    config = AutoConfig.from_pretrained(description.base_path, revision=description.revision or "main")
    guards.rope(config, description.rope_theta)
    options: dict[str, Any] = {"attn_implementation": register(), "revision": description.revision or "main"}
    if description.method == "full":
        options["dtype"] = dtype_of(description.master_weights)
    else:
        options["dtype"] = dtype_of(compute)
    if description.method == "qlora":
        options["quantization_config"] = quantisation(compute, sharded)
    if device == "cuda" and not sharded:
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", 0))}
    model = AutoModelForCausalLM.from_pretrained(description.base_path, config=config, **options)
    if device == "cpu":
        guards.keep_four_bit(model)
    return model


def lora_config(description: RunDescription) -> Any:
    """PEFT's configuration of the adapters, or None for full fine-tuning."""
    if description.method == "full":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=description.lora_rank,
        lora_alpha=description.lora_alpha,
        lora_dropout=description.lora_dropout,
        target_modules=TARGETS,
        bias="none",
        task_type="CAUSAL_LM",
    )


def count(model: Any) -> tuple[int, int]:
    """Weights that are trained, and all weights; a 4-bit matrix counts its weights, not its bytes."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += state.shape.numel() if state is not None else parameter.numel()
    return trained, total


def to_float(model: Any) -> None:
    """Turn what is trained to fp32 in place.

    TRL casts the adapters of a 4-bit base to bf16, and a resumed run loads them as fp32: then the optimiser's states
    change type in mid-run and the curve departs.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def fresh_part(folder: Path) -> Path:
    """An empty folder beside the place of another, to be filled and then put there."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def put_in_place(part: Path, folder: Path) -> Path:
    """Rename a folder that is whole to where it belongs, so that half of one is never read there."""
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def save(
    folder: Path, model: Any, tokenizer: Any, description: RunDescription, state: dict[str, Any] | None = None
) -> Path:
    """A folder that transformers, PEFT and servers load: safetensors, configuration, tokenizer, generation settings.

    Args:
        folder: Its place; written beside it and renamed.
        model: The model, or the adapter on its base.
        tokenizer: The run's.
        description: The run.
        state: The weights, where the model itself holds only this process's share of them.
    """
    part = fresh_part(folder)
    model.config.use_cache = True  # checkpointing switches it off, and decoding would crawl
    model.generation_config = generation_config(tokenizer)
    model.save_pretrained(part, state_dict=state, max_shard_size="5GB")
    (part / "README.md").unlink(missing_ok=True)  # PEFT's, with nothing filled in; the run's own card takes its place
    if (part / "config.json").is_file():
        _state_dtype(part)
    add_tokenizer(part, tokenizer, description)
    return put_in_place(part, folder)


def _state_dtype(folder: Path) -> None:
    """Write into ``config.json`` the type that the files hold; gathered weights may differ from the model's own."""
    from safetensors import safe_open

    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    with safe_open(sorted(folder.glob("*.safetensors"))[0], "pt") as opened:
        held = names[opened.get_slice(next(iter(opened.keys()))).get_dtype()]
    config = records.read_json(folder / "config.json")
    records.write_json(folder / "config.json", config | {"dtype": held})


def add_tokenizer(folder: Path, tokenizer: Any, description: RunDescription) -> None:
    """The tokenizer's files in a folder: the base's own where it has them, as every server and converter knows them.

    What this transformers would write names classes that older ones do not have, and no ``tokenizer.model``, from which
    llama.cpp converts a SentencePiece vocabulary. Settings gain the padding token, padding on the left as decoding
    needs, and a chat template that gives the training's prompt; the base's own would ask what was never trained.
    """
    from transformers.utils import cached_file

    tokenizer.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        found = cached_file(
            description.base_path, name, revision=description.revision or None, local_files_only=True,
            _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if found is not None:
            shutil.copyfile(found, folder / name)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = records.read_json(folder / "tokenizer_config.json")
    for key in ("is_local", "local_files_only", "name_or_path"):  # how a machine found it
        config.pop(key, None)
    own = {"pad_token": tokenizer.pad_token, "padding_side": "left", "chat_template": chat_template(tokenizer)}
    records.write_json(folder / "tokenizer_config.json", config | own)


def chat_template(tokenizer: Any) -> str:
    """A template by which a server's chat gives one question the very prompt that was trained on."""
    start = tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    before, after = ("{{ " + json.dumps(part) + " }}" for part in (prompts.ALPACA_HEADER, prompts.ALPACA_RESPONSE))
    refused = "{{ raise_exception('expected one message, of the user: the question') }}"
    return (
        "{% if messages | length != 1 or messages[0]['role'] != 'user' %}" + refused + "{% endif %}"
        + ("{{ bos_token }}" if start else "") + before + "{{ messages[0]['content'] }}" + after
    )  # fmt: skip


def generation_config(tokenizer: Any) -> Any:
    """Greedy decoding that ends at the token which the labels taught, whatever the base's settings said of sampling."""
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
