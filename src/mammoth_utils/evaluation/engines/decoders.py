"""Decoders: prompts to completions, greedy, in this process or at an OpenAI-compatible endpoint."""

from __future__ import annotations

from pathlib import Path

from mammoth_utils.base_models import check_adapter, check_weights, find_cached, find_model, require_weights
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder, is_endpoint
from mammoth_utils.evaluation.engines.requests import Decoder
from mammoth_utils.evaluation.engines.servers import describe_server
from mammoth_utils.evaluation.engines.transformers_engine import LocalDecoder
from mammoth_utils.paths import public_name
from mammoth_utils.records import Record

# Nobody starts a server again that this evaluation has started: one that does not answer is soon said to have ended.
SERVED_PATIENCE_S = 20.0


def load_decoder(
    model: str | Path,
    adapter: str | Path | None = None,
    device: str = "auto",
    batch: int = 0,
    threads: int = 0,
    dequantise: bool = False,
) -> Decoder:
    """Load a decoder for a model, greedy and ready.

    Args:
        model: A folder, a hub name, or an endpoint such as ``http://localhost:8000/v1#model-name``.
        adapter: Folder of a PEFT adapter of that model; it is merged before decoding.
        device: ``"auto"`` (CUDA where there is a card, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
        batch: Prompts decoded together, or requests at once at an endpoint; 0 chooses.
        threads: Threads on a CPU; 0 takes one for the miniature, which is its measured optimum, else every core.
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
        return EndpointDecoder(str(model), concurrency=batch)
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


class ServedDecoder(EndpointDecoder):
    """A decoder at a server that this evaluation has started; a record names the engine in place of the address.

    Args:
        address: As ``servers.serve`` yields it.
        engine: ``"vllm"`` or ``"llama.cpp"``.
        model: What is served: a folder, a hub name or a GGUF file.
        adapter: The adapter that is served with it, or empty.
        batch: Requests at once; 0 as in ``EndpointDecoder``.
    """

    def __init__(self, address: str, engine: str, model: str, adapter: str = "", batch: int = 0) -> None:
        super().__init__(address, concurrency=batch, patience_s=SERVED_PATIENCE_S)
        self._served = {"model": public_name(model), "adapter": public_name(adapter) if adapter else None}
        self._served |= {"device": "local server", "engine": engine, "version": describe_server(engine)}

    def describe(self) -> Record:
        """Return model, engine, its version and settings, as a record keeps them."""
        return {**super().describe(), **self._served}
