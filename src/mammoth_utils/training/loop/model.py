"""The base model as each method trains it, and the configuration of its adapters."""

from __future__ import annotations

import os
from typing import Any

from mammoth_utils.base_models import load_causal_model
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import guards


def torch_dtype(compute: str) -> Any:
    """Return torch's type for ``bf16``, ``fp16`` or ``fp32``."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[compute]


def quantisation_config(compute: str, sharded: bool) -> Any:
    """Return nf4 with double quantisation; stored in 16 bit where FSDP2 must cut it, since it does not cut bytes."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype(compute),
        bnb_4bit_quant_storage=torch.bfloat16 if sharded else torch.uint8,
    )


def load_model(description: RunDescription, compute: str, device: str = "cpu", sharded: bool = False) -> Any:
    """Load the base model with packed attention, as the method trains it.

    Args:
        compute: ``bf16``, ``fp16`` or ``fp32``.
        device: ``cpu`` or ``cuda``.
        sharded: Whether FSDP2 will cut it over several cards.

    Returns:
        A causal language model: its master weights' type for ``full`` (fp32 unless bf16 was asked for), the compute
        type for ``lora``, nf4 for ``qlora``.

    Raises:
        ValueError: If the base's rotary embedding is not what it needs.
        BaseModelError: If weights are missing, of another model or not finite.
    """
    from transformers import AutoConfig

    from mammoth_utils.training.loop.packed_attention import register_packed_attention

    revision = description.revision or "main"
    config = AutoConfig.from_pretrained(description.base_path, revision=revision)
    guards.check_rope(config, description.rope_theta)
    full = description.method == "full"
    options: dict[str, Any] = {
        "attn_implementation": register_packed_attention(),
        "revision": revision,
        "dtype": torch_dtype(description.master_weights if full else compute),
    }
    if description.method == "qlora":
        options["quantization_config"] = quantisation_config(compute, sharded)
    if device == "cuda" and not sharded:
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", 0))}
    first = not sharded or os.environ.get("LOCAL_RANK", "0") == "0"
    model = load_causal_model(description.base_path, numbers=first, config=config, **options)
    if device == "cpu":
        guards.keep_four_bit(model)
    return model


def lora_config(description: RunDescription) -> Any:
    """Return PEFT's configuration of the adapters, or None for full fine-tuning."""
    if description.method == "full":
        return None
    from peft import LoraConfig

    targets = description.lora_targets
    return LoraConfig(
        r=description.lora_rank,
        lora_alpha=description.lora_alpha,
        lora_dropout=description.lora_dropout,
        # "all-linear" is every matrix but the embeddings and the head, as the QLoRA paper found necessary.
        target_modules=targets if targets == "all-linear" else targets.split(","),
        bias="none",
        task_type="CAUSAL_LM",
    )


def load_adapter(model: Any, folder: str) -> None:
    """Put an adapter's weights in the place of the fresh ones of a model, so that training goes on from them.

    Raises:
        ValueError: If the adapter is of another shape than the model's, or its weights are not finite.
    """
    import torch
    from safetensors.torch import load_file

    stored = load_file(f"{folder}/adapter_model.safetensors")
    own = {name.replace(".default.", "."): p for name, p in model.named_parameters() if "lora_" in name}
    differ = sorted(set(own) ^ set(stored)) or [name for name in own if own[name].shape != stored[name].shape]
    differ = differ or [f"{name} is not finite" for name, value in stored.items() if not value.isfinite().all()]
    if differ:
        raise ValueError(f"the adapter in {folder} does not belong to this base: {len(differ)} of {len(own)} tensors "
                         f"differ in name, shape or are not finite, such as {', '.join(differ[:3])}")  # fmt: skip
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])


def use_fast_dropout(model: Any) -> None:
    """Put a dropout that a CPU draws fast in the place of the adapters', with the same shares and expectation.

    torch draws one number after the other, 7 ns each, a tenth of a step at 0.5B; four draws of 16 bit out of one of 64
    take a third of that. The draws follow from torch's seed.
    """
    import torch

    class FastDropout(torch.nn.Module):
        def __init__(self, share: float) -> None:
            super().__init__()
            self.dropped = round(share * 2**16)  # of 65,536 draws

        def forward(self, x: Any) -> Any:
            if not self.training:
                return x
            words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
            draws = words.view(torch.int16)[: x.numel()].view(x.shape)
            return (x * (draws >= self.dropped - 2**15)).mul_(2**16 / (2**16 - self.dropped))

    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Dropout and child.p > 0:
                setattr(module, name, FastDropout(child.p))


def count_weights(model: Any) -> tuple[int, int]:
    """Count the weights that are trained, and all weights; a 4-bit matrix counts its weights, not its bytes."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += state.shape.numel() if state is not None else parameter.numel()
    return trained, total


def cast_trained_to_fp32(model: Any) -> None:
    """Cast the trained weights to fp32 in place.

    TRL casts the adapters of a 4-bit base to bf16, where most updates are smaller than a weight's steps and are lost.
    FSDP2 asks for one type among the trained weights of a group, not among all of them.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
