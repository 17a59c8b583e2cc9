"""Decoders: prompts to completions, greedy, in this process or at an OpenAI-compatible endpoint."""

from __future__ import annotations

from pathlib import Path

from mammoth_utils.base_models import check_adapter, check_weights, find_cached, find_model, require_weights
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder, is_endpoint
from mammoth_utils.evaluation.engines.requests import Decoder
from mammoth_utils.evaluation.engines.transformers_engine import LocalDecoder


def load_decoder(
    model: str | Path,
    adapter: str | Path | None = None,
    device: str = "auto",
    batch: int = 0,
    threads: int = 1,
    dequantise: bool = False,
) -> Decoder:
    """Load a decoder for a model, greedy and ready.

    Args:
        model: A folder, a hub name, or an endpoint such as ``http://localhost:8000/v1#model-name``.
        adapter: Folder of a PEFT adapter of that model; it is merged before decoding.
        device: ``"auto"`` (CUDA where there is a card, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
        batch: Prompts decoded together, or requests at once at an endpoint; 0 chooses.
        threads: Threads on a CPU. One process on one thread is the measured optimum of the miniature.
        dequantise: Whether the adapter was trained on the 4-bit base: it is then merged into that base, dequantised,
            which is the net that was trained.

    Raises:
        FileNotFoundError: If the model's or the adapter's folder is not there or holds no weights.
        ValueError: If the arguments do not go together.
        BaseModelError: If the files are not a whole model, or the adapter is another model's.
    """
    if is_endpoint(model):
        if adapter is not None:
            raise ValueError(f"an endpoint serves its own weights; start it with the adapter {adapter} merged")
        return EndpointDecoder(str(model), concurrency=batch or 16)
    if dequantise and adapter is None:
        raise ValueError("dequantise is for an adapter that was trained on the 4-bit base; no adapter was given")
    adapter = require_weights(adapter) if adapter is not None else None
    name = find_model(model)
    folder = Path(name) if Path(name).is_dir() else find_cached(name)
    if folder is not None:
        check_weights(folder, training=False, finite=True)
        if adapter is not None:
            check_adapter(adapter, folder)
    return LocalDecoder(name, adapter, device, batch, threads, dequantise)
