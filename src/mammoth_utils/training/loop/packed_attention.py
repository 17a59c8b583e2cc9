"""Attention that keeps the documents of a packed row apart: the update is that of the unpacked batch."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "packed"
VARLEN_CAPABILITY = (8, 0)  # flash attention's, which the kernel is


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **other: Any,
) -> tuple[Tensor, None]:
    """Compute causal attention within each document of one flattened row.

    On a card of compute capability 8.0 or more, in 16 bit, this is torch's own variable-length kernel. Elsewhere it is
    one call of SDPA per document: on older cards (T4, V100), which that kernel does not know, and on a CPU, where it is
    over twice as fast as one call with a block mask, since the mask's empty blocks are computed too, and computes in
    fp32, whose backward pass takes a CPU less than half the time of 16 bit. Which one is decided once for each device;
    ``guards.check_packing`` runs whichever it is before a run begins.

    Args:
        query: Shape (1, heads, tokens, head_dim).
        key: Shape (1, kv_heads, tokens, head_dim).
        value: Shape (1, kv_heads, tokens, head_dim).
        attention_mask: Not used: the borders are in ``cu_seq_lens_q``.
        dropout: Must be 0; no recipe of the book drops attention weights.
        cu_seq_lens_q: Where documents begin and the last one ends, shape (documents + 1,).
        max_length_q: Tokens of the longest document.
        sliding_window: Must be no shorter than that, so that it hides nothing.
        softcap: Must be None, as must ``s_aux`` (attention sinks): neither is computed here.
        is_causal: Must not be False.

    Returns:
        Shape (1, tokens, heads, head_dim), and None for the weights.

    Raises:
        ValueError: If the borders are missing or the batch is not one flattened row: attention over everything would
            train, with rationales that read each other, and nothing would say so.
    """
    if cu_seq_lens_q is None or query.shape[0] != 1:
        raise ValueError(
            "attention 'packed' needs one flattened row with cu_seq_lens_q, as TRL's padding-free collator makes it; "
            f"got a batch of {query.shape[0]} {'without' if cu_seq_lens_q is None else 'with'} borders. "
            "Use attn_implementation='sdpa' to generate"
        )
    if dropout:
        raise ValueError(f"attention 'packed' has no dropout; the model asks for {dropout}")
    if sliding_window is not None and sliding_window < (max_length_q or int(cu_seq_lens_q.diff().max())):
        raise ValueError(f"attention 'packed' sees whole documents; the model sees {sliding_window} tokens back")
    if softcap or s_aux is not None or is_causal is False:
        raise ValueError("attention 'packed' is causal, without softcap and sinks; the model asks for another")
    groups = query.shape[1] // key.shape[1]
    # Beside fp32 weights autocast gives 16-bit values, but the rotary embedding turns queries and keys to fp32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if value.dtype in (torch.float16, torch.bfloat16) and has_varlen_kernel(value.device):
        return _varlen(query, key, value, cu_seq_lens_q, max_length_q, scaling, groups), None
    return _by_document(query, key, value, cu_seq_lens_q.diff().tolist(), scaling, groups), None


@cache
def has_varlen_kernel(device: torch.device) -> bool:
    """Return whether a device has the variable-length kernel: cards from Ampere on (compute capability 8.0), no CPU."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= VARLEN_CAPABILITY


def _by_document(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scaling: float | None, groups: int
) -> Tensor:
    """Call SDPA once per document."""
    dtype, device = value.dtype, value.device.type
    if device == "cpu":
        query, key, value = query.float(), key.float(), value.float()
    elif groups > 1:  # the kernels of older cards share no heads: SDPA would fall back to plain multiplications
        key, value, groups = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), 1
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    with torch.autocast(device, enabled=False):  # it would cast back to 16 bit
        attended = [
            F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=groups > 1)
            for q, k, v in parts
        ]
    return torch.cat(attended, 2).transpose(1, 2).to(dtype)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int | None, scaling: float | None, groups: int
) -> Tensor:
    """Call torch's CUDA kernel; keys are repeated where several query heads share one."""
    from torch.nn.attention.varlen import varlen_attn

    if groups > 1:
        key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
    q, k, v = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    longest = int(borders.diff().max()) if longest is None else longest
    # torch 2.10 named causality `is_causal`; later versions give a window instead.
    parameters = inspect.signature(varlen_attn).parameters
    options: dict[str, Any] = {"is_causal": True} if "is_causal" in parameters else {"window_size": (-1, 0)}
    if "scale" in parameters:
        options["scale"] = scaling
    elif scaling is not None and abs(scaling - q.shape[-1] ** -0.5) > 1e-6:
        raise ValueError(f"this torch's varlen_attn takes no scale, and the model asks for {scaling}")
    return varlen_attn(q, k, v, borders, borders, longest, longest, **options)[None]


def register_packed_attention() -> str:
    """Make :func:`packed_attention` known to transformers and return its name; call before a model is loaded."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME


def row_inputs(lengths: list[int], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return what a model needs besides ids to read a flattened row of documents with these lengths."""
    borders = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device=device)
    positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
    return {
        "position_ids": positions[None],
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
        "use_cache": False,
    }
