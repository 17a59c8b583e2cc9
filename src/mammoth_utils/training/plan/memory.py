"""The memory that a run needs, by part, computed from the architecture alone, without torch.

Weights, gradients and optimiser states are exact. What the forward pass saves was fitted to torch's own hooks, term by
term, on random shapes: the coefficients are whole numbers and the residue is zero, since they count tensors.
:mod:`mammoth_utils.training.plan.measurements` compares all of it with measured runs. No formula counts the allocator's
slack and NCCL's buffers, so a plan may take only ``FIT`` of a GPU's memory.
"""

from __future__ import annotations

import math

from mammoth_utils.base_models import Architecture, adapted
from mammoth_utils.vocabulary import check_known

GIB = 2**30
METHODS = ("full", "lora", "qlora")
PARTS = ("weights", "gradients", "optimiser", "activations", "logits", "extra", "loading")
# The share of a GPU's free memory that a plan may take; the rest is the allocator's slack and NCCL's buffers, which
# were not measured here. A published run bounds it from below: QLoRA's 65B is planned at 0.945 of its 48 GB.
FIT = 0.95
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
DEVICES = ("cuda", "cpu")
MASK = {"cuda": 1, "cpu": 4}  # bytes a value of a dropout's mask: booleans, or numbers of the adapters' own type
MASTERS = ("fp32", "bf16")
# AdamW with both moments in fp32; in 8 bit, by bitsandbytes; the same with the moments in the machine's own memory,
# from which a card fetches them a matrix at a time.
OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_8bit")

CONTEXT = 1.5 * GIB  # CUDA's context and the libraries' workspaces
PROCESS = 11_000_000  # a CPU process's trainer, data set and loader: runs on a net of 0.1M weights leave 10 to 14 MB
TILE_TOKENS, TILE_VOCABULARY = 4096, 32_768  # TRL scores the vocabulary in tiles of at most this size
# In torch instead of one fused kernel the gradient of a tile holds it seven times in fp32 and once as booleans.
TILE_ON_CPU = 7 * 4 + 1
# On a CPU the labels' scores alone are built, and whole, if those of a full row are within this: a logit takes ten
# bytes (in 16 bit, in 32, and its gradient), and beyond that TRL's tiles are about this size.
WHOLE_BYTES, WHOLE_ROOM = 10, 2**28
# bitsandbytes: half a byte a weight; one byte for each 64, and four for each 256 of these; two tables and an offset.
BLOCK, NESTED_BLOCK, TABLES = 64, 256, 16 * 4 + 256 * 4 + 4
# Its 8-bit moments: a byte each, and four for each 256. Smaller tensors have them in fp32, as transformers asks for
# embeddings too. Those of fewer than 100,000 weights are not paged.
STATE_BLOCK, STATE_LEAST, PAGED_LEAST = 256, 4096, 100_000


def memory_by_part(
    architecture: Architecture,
    method: str,
    tokens: int = 2048,
    gpus: int = 1,
    rank: int = 64,
    adapter_bytes: int = 4,
    *,
    checkpointing: bool = True,
    compute: str = "bf16",
    master: str = "fp32",
    dropout: float = 0.05,
    device: str = "cuda",
    labels: float = 1.0,
    replicas: int = 1,
    whole_first: bool = True,
    targets: str = "",
    optimizer: str = "adamw",
) -> dict[str, float]:
    """Return the bytes that one device needs, by part, with AdamW, from the second pass of the second step on.

    The sum assumes that all parts are held at once. Without checkpointing they are; with it the logits, one layer's
    activations and the 16-bit copies follow each other, so that the sum exceeds the peak by the smaller of them.
    If loading takes more than a step, ``loading`` is the difference, and the sum is loading's peak.

    Args:
        method: ``full``: master weights and autocast. ``lora``: a base in the compute type. ``qlora``: a base in nf4
            with double quantisation.
        tokens: Tokens of one device pass, ``micro_batch * max_length``.
        gpus: GPUs that share weights, gradients and optimiser states (FSDP2); activations are each GPU's own.
        adapter_bytes: Bytes of one adapter weight, which this book keeps in fp32; others keep 16 bit.
        checkpointing: Whether a layer's activations are recomputed in the backward pass instead of kept.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        master: Type in which ``full`` keeps its weights, ``fp32`` or ``bf16``.
        dropout: Dropout in front of the adapters; any but 0 keeps the dropped inputs and their masks.
        device: ``cuda`` or ``cpu``.
        labels: Share of the tokens that the loss sees; all of them is the safe side.
        replicas: GPUs that each hold all of it (DDP, without sharding); with more than one a GPU sums its gradients in
            buckets as large as they are.
        whole_first: Whether each GPU holds a 4-bit net whole before it is cut, as the libraries of this book do.
        targets: Matrices that have adapters, with commas; all for any other text.
        optimizer: One of ``OPTIMIZERS``; those with 8 bit are for cards that each hold the whole run.

    Returns:
        Bytes by part of ``PARTS``. ``activations``: what the backward pass reads, up to the head. ``logits``: the
        head's own, its scores and their gradients. ``extra``: 16-bit copies or gathered layers, a dequantised matrix,
        the context. ``loading``: what loading takes beyond the step, see :func:`loading_bytes`.

    Raises:
        ValueError: If a name is unknown or a number out of range.
    """
    for name, value, known in (("method", method, METHODS), ("compute", compute, tuple(BYTES)),
                               ("master", master, MASTERS), ("device", device, DEVICES),
                               ("optimizer", optimizer, OPTIMIZERS)):  # fmt: skip
        check_known(name, value, known)
    if tokens < 1 or gpus < 1 or rank < 1:
        raise ValueError(f"expected at least one token, GPU and rank, got {tokens}, {gpus} and {rank}")
    if replicas < 1 or (replicas > 1 and gpus > 1):
        raise ValueError(f"expected cards that share a run or cards that each hold it, got {gpus} and {replicas}")
    if optimizer != "adamw" and gpus > 1:
        raise ValueError(f"optimizer is {optimizer!r}; over cards that share a run only adamw works")
    if not 0 < labels <= 1:
        raise ValueError(f"labels is {labels}; expected the share of tokens that the loss sees, above 0 and at most 1")
    a, width = architecture, BYTES[compute]
    count, adapters = a.parameters, a.lora_parameters(rank, targets)
    if method == "full":
        trained, each, tensors = count, BYTES[master], a.tensors
        weights = float(each * count)
    else:
        trained, each, tensors = adapters, adapter_bytes, 0
        tensors = 2 * len(adapted(a.matrices, targets)) * a.layers
        base = width * count if method == "lora" else quantised_bytes(a, width)
        weights = float(base + each * adapters)
    autocast = compute != "fp32" and (method != "full" or master == "fp32")
    # The residual stream has the embedding's type, which is the compute type where FSDP2 gathers it.
    stream = each if method == "full" and gpus == 1 else width
    layer, kept, outside = saved_activations(a, method, rank, width, stream, dropout > 0, device, targets)
    held = (layer + a.layers * kept if checkpointing else a.layers * layer) + outside
    if method != "full" and not checkpointing:  # nothing before the first adapter asks for a gradient
        held -= 4 * a.hidden + 4 + (3 * MASK[device] * a.hidden if dropout > 0 else 0)
    whole = scores_whole_head(a.vocabulary, tokens, device)
    states = 2.0 * each * trained + 4 * tensors
    if optimizer != "adamw":
        states = float(states_in_8_bit(a, method, rank, targets, optimizer == "paged_adamw_8bit" and device == "cuda"))
    parts = {
        "weights": weights / gpus,
        "gradients": each * trained / gpus,
        "optimiser": states / gpus,
        "activations": float(held * tokens),
        "logits": float(sum(head_bytes(a, method, tokens, width, stream, device, labels))),
        "extra": float(extra_bytes(a, method, gpus, width, adapters, autocast, device, whole))
        + (each * trained if replicas > 1 else 0.0),
    }
    cut_late = method == "qlora" and gpus > 1 and device == "cuda" and whole_first
    beyond = loading_bytes(a, gpus, width, each * adapters) - sum(parts.values()) if cut_late else 0.0
    return parts | {"loading": max(0.0, beyond)}


def states_in_8_bit(architecture: Architecture, method: str, rank: int, targets: str, paged: bool) -> int:
    """Return the bytes of 8-bit AdamW's moments on a device; the paged ones are in the machine's own memory."""
    if method == "full":
        sizes = {name: math.prod(shape) for name, shape in architecture.tensor_shapes().items()}
    else:
        each = [rank * side for matrix in adapted(architecture.matrices, targets) for side in matrix]
        sizes = {str(number): size for number, size in enumerate(each * architecture.layers)}
    total = 0
    for name, size in sizes.items():
        wide = size < STATE_LEAST or "embed_tokens" in name
        total += 0 if paged and size >= PAGED_LEAST else (8 if wide else 2) * size
        total += 0 if wide else 2 * 4 * math.ceil(size / STATE_BLOCK)
    return total


def quantised_bytes(architecture: Architecture, width: int) -> int:
    """Return the bytes of a whole base in nf4: its layers' matrices, and what stays in the compute type."""
    return four_bit_bytes(architecture) + width * (architecture.parameters - architecture.linear)


def loading_bytes(architecture: Architecture, gpus: int, width: int, adapters: float) -> float:
    """Return the bytes that each of several GPUs holds while it loads a 4-bit net that FSDP2 will cut.

    A net in 16 or 32 bit waits in the first process's own memory and reaches a GPU in its share. One in nf4 does not
    (by the source of transformers 5.23 and accelerate 1.15): every process quantises the whole net on its GPU, since
    4-bit tensors lose their class on torch's ``meta`` device, and accelerate keeps the whole state until the last share
    is cut from it. So this is the whole net and its adapters, this GPU's share of both, a matrix being quantised, and
    CUDA's context. ``width`` is the bytes of one weight in the compute type, ``adapters`` those of all adapters.
    """
    whole = quantised_bytes(architecture, width) + adapters
    return whole * (1 + 1 / gpus) + width * max(i * o for i, o in architecture.matrices) + CONTEXT


def four_bit_bytes(architecture: Architecture) -> int:
    """Return the bytes of the layers' matrices in nf4 with double quantisation, scales and tables included."""
    packed = sum(math.ceil(inputs * outputs / 2) for inputs, outputs in architecture.matrices)
    return architecture.layers * packed + quantisation_scales(architecture)


def quantisation_scales(architecture: Architecture) -> int:
    """Return the bytes of the scales and tables of nf4 with double quantisation.

    They are attributes of the matrices (bitsandbytes 0.50), so FSDP2 cuts the matrices and leaves these whole on every
    GPU.
    """
    blocks = [math.ceil(inputs * outputs / BLOCK) for inputs, outputs in architecture.matrices]
    return architecture.layers * sum(count + 4 * math.ceil(count / NESTED_BLOCK) + TABLES for count in blocks)


def saved_activations(
    architecture: Architecture, method: str, rank: int, width: int, stream: int, dropout: bool, device: str,
    targets: str = "",
) -> tuple[int, int, int]:  # fmt: skip
    """Return bytes per token that the backward pass reads: of one layer, of its input alone, and outside the layers.

    Counted tensor by tensor as transformers' Llama saves them under autocast: two norms in fp32, the matrices' inputs,
    queries, keys and values after rotation, the attention's output and its row sums, gate, up, their product.

    Args:
        method: ``full`` trains the matrices themselves, so that their inputs are kept.
        width: Bytes of the compute type.
        stream: Bytes of the residual stream's type.
        dropout: Whether there is dropout in front of the adapters.
        device: On a GPU a dropout mask takes one byte a value, on a CPU four.
    """
    h, q, kv, i = architecture.hidden, architecture.queries, architecture.kv, architecture.intermediate
    # Two norms in fp32, what they hand on to five matrices, gate and up, the attention's row sums.
    layer = 16 * h + 4 * width * i + 4 * architecture.heads + 8
    # Queries, keys, values and what comes of them, in fp32 on a CPU; then the input of the last matrix.
    each = 4 if device == "cpu" else width
    layer += each * (2 * q + 2 * kv) + width * q
    outside = 2 * stream * (q // architecture.heads)  # the rotation's sines and cosines
    if method == "full":
        wide = stream == 4  # in fp32 a norm keeps its result too, and under autocast the 16-bit copy of it
        layer += (8 * h + (2 * h if width == 2 else 0)) if wide else 0
        outside += (8 if wide else 6) * h + 12
    else:
        inputs = adapted([size for size, _ in architecture.matrices], targets)
        layer += (2 * h if width == 2 else 0) + len(inputs) * width * rank
        outside += 4 * h + 4
        if dropout:
            layer += MASK[device] * sum(inputs)
            # Without a copy in the compute type, what was dropped out is kept besides, in place of what it came from.
            layer += 4 * (3 * h) if width == 4 else 0
    if device == "cuda" and kv < q:
        layer += 2 * width * (q - kv)  # the variable-length kernel wants a key for each query head
    return layer, stream * h, outside


def scores_whole_head(vocabulary: int, tokens: int, device: str) -> bool:
    """Return whether the scores of a pass are computed whole (``loop/losses.py``) instead of in TRL's tiles.

    It follows from the run, not from a row: processes that differed here would wait for each other's counts.
    """
    return device == "cpu" and tokens * vocabulary * WHOLE_BYTES <= WHOLE_ROOM


def head_bytes(
    architecture: Architecture, method: str, tokens: int, width: int, stream: int, device: str, labels: float = 1.0
) -> tuple[float, float]:
    """Return the bytes that the head saves for the backward pass, and those it needs while it scores the vocabulary."""
    h, words = architecture.hidden, architecture.vocabulary
    seen = labels * tokens
    if scores_whole_head(architecture.vocabulary, tokens, device):
        saved = seen * (4 * words + 16 + (width * h if method == "full" else 0))
        # Two more such tables in the backward pass, and the weights' gradient in the compute type and in fp32.
        passing = 8.0 * seen * words + ((4 + (width if width < 4 else 0)) * words * h if method == "full" else 0)
        return saved, passing
    scored = seen if device == "cuda" else tokens  # without Triton every position is scored
    rows, columns = min(scored, TILE_TOKENS), min(words, TILE_VOCABULARY)
    passing = width * rows * (TILE_VOCABULARY if device == "cuda" else columns) + 4.0 * h * scored
    if device == "cpu":
        passing += TILE_ON_CPU * rows * columns
    if method == "full":
        passing += 4 * words * h  # the weights' gradient, beside the one that it is added to
        passing += width * columns * h if stream > width else 0  # a tile of the weights in the compute type
    return (stream * h + 13) * scored, passing


def extra_bytes(
    architecture: Architecture,
    method: str,
    gpus: int,
    width: int,
    adapters: int,
    autocast: bool,
    device: str,
    whole: bool,
) -> float:
    """Return the bytes of copies and of what is held beside the model; ``whole``: the head is copied too."""
    a = architecture
    total = CONTEXT if device == "cuda" else float(PROCESS)
    if gpus > 1:
        layer = four_bit_bytes(a) / a.layers if method == "qlora" else float(width * a.layer_matrices)
        total += 2 * layer + width * a.embeddings  # two layers gathered at a time; the root stays
        # A layer's gradients in the compute type, and in fp32 as they are summed over the cards.
        total += (width + 4.0) * a.layer_matrices if method == "full" else 0.0
    elif autocast:
        # Copies that live as long as the forward pass, or without checkpointing until they were read backward.
        total += width * (a.linear + (a.vocabulary * a.hidden if whole else 0) if method == "full" else adapters)
    if method == "qlora":
        total += width * max(inputs * outputs for inputs, outputs in a.matrices)  # dequantised one at a time
        total += quantisation_scales(a) * (1 - 1 / gpus)  # beside this card's share of them, which the weights count
        if device == "cpu":
            total += width * a.linear  # pages of the weights' file, mapped as long as the embedding reads from it
    return total
