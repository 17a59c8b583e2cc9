"""A decoder in this process: a transformers model, run by our own loop where it is a small Llama on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoth_utils.base_models import load_causal_model
from mammoth_utils.paths import public_name
from mammoth_utils.records import Record
from mammoth_utils.silence_libraries import import_transformers
from mammoth_utils.vocabulary import check_known

# Below this many parameters a Llama on a CPU goes through our own loop, above through Hugging Face's generate.
OWN_LOOP_PARAMETERS = 50_000_000
FLOAT32_PARAMETERS = 1_000_000_000  # on a CPU: smaller models decode in float32, larger ones in bfloat16


class LocalDecoder:
    """Greedy decoding in this process; ``load_decoder`` returns one.

    Attributes:
        engine: ``"own loop"`` or ``"generate"``.
        batch: Prompts decoded together; halved where the memory of a card does not hold them, which ``describe`` shows.
    """

    def __init__(
        self,
        model: str,
        adapter: Path | None = None,
        device: str = "auto",
        batch: int = 0,
        threads: int = 1,
        dequantise: bool = False,
        engine: str = "auto",
    ) -> None:
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} was asked for and no CUDA card is visible; device='cpu' runs here")
        if device == "cpu":
            torch.set_num_threads(threads)
        self.name, self.adapter, self.device, self.threads = model, adapter, device, threads
        self.tokenizer = import_transformers().AutoTokenizer.from_pretrained(model, padding_side="left")
        self.model = _loaded(model, adapter, device, dequantise)
        self.stop = stop_ids(self.model, self.tokenizer)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._hidden = {*self.stop, self.tokenizer.bos_token_id, self.tokenizer.pad_token_id} - {None}
        self._loop = None
        check_known("engine", engine, ("auto", "own loop", "generate"))
        small = device == "cpu" and self.parameters < OWN_LOOP_PARAMETERS
        if engine == "own loop" or (engine == "auto" and small):
            from mammoth_utils.evaluation.engines.llama_loop import GreedyLlama, unsupported_reason

            if engine == "own loop" or not unsupported_reason(self.model):
                self._loop = GreedyLlama(self.model)
        self.engine = "own loop" if self._loop else "generate"
        self.batch = batch or (64 if self._loop or device != "cpu" else 16)

    def describe(self) -> Record:
        """Return model, dtype, device, threads, engine and batch, as a record keeps them."""
        return {
            "model": public_name(self.name),
            "adapter": public_name(self.adapter) if self.adapter else None,
            "parameters": self.parameters,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.device,
            "threads": self.threads if self.device == "cpu" else None,
            "engine": self.engine,
            "batch": self.batch,
            "sampling": "greedy",
        }

    def complete(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the greedy completion of every prompt, in their order.

        A completion ends before the first end-of-sequence token and holds the text after the prompt to the byte,
        without beginning-, end- and padding tokens.

        Args:
            prompts: Whole prompts; beginning-of-sequence is added where the tokenizer adds one.

        Raises:
            ValueError: If a prompt is longer than the model's context.
        """
        if not prompts:
            return []
        rows = [self.tokenizer(prompt).input_ids for prompt in prompts]
        context = getattr(self.model.config, "max_position_embeddings", None)
        longest = max(range(len(rows)), key=lambda place: len(rows[place]))
        if context and len(rows[longest]) >= context:
            raise ValueError(f"a prompt of {len(rows[longest])} tokens leaves no room in a context of {context}: "
                             f"{prompts[longest][:200]!r} ...")  # fmt: skip
        texts = [""] * len(rows)
        # Prompts of like length share a batch, so little of it is padding; the longest go first, where a batch
        # that does not fit the memory shows at once. Equal batches: 200 prompts are 4 x 50, not 3 x 64 and 8.
        waiting = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        while waiting:
            size = -(-len(waiting) // -(-len(waiting) // self.batch))
            places = waiting[:size]
            try:
                continuations = self._batch([rows[place] for place in places], max_new_tokens)
            except RuntimeError as error:
                if not _out_of_memory(error) or self.batch == 1:
                    raise
                self.batch = max(1, min(size, self.batch) // 2)
                continue
            for place, continuation in zip(places, continuations, strict=True):
                texts[place] = self._text(rows[place], continuation)
            waiting = waiting[size:]
        return texts

    def _batch(self, rows: list[list[int]], max_new_tokens: int) -> list[list[int]]:
        """Return the continuations of one batch as token ids, each without the token that ended it."""
        if self._loop is not None:
            return self._loop.complete(rows, max_new_tokens, self.stop)
        import torch
        from transformers import GenerationConfig

        filler = self.tokenizer.pad_token_id
        filler = next(iter(sorted(self.stop)), 0) if filler is None else filler
        longest = max(len(row) for row in rows)
        # Padding stands left: right of a prompt it would be read as part of the text (1 of 24 texts was right so).
        ids = torch.tensor([[filler] * (longest - len(row)) + row for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, use_cache=True, pad_token_id=filler,
            eos_token_id=sorted(self.stop) or None,
        )  # fmt: skip
        with torch.inference_mode():
            written = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        return [_until(row, self.stop) for row in written[:, longest:].tolist()]

    def _text(self, prompt: list[int], continuation: list[int]) -> str:
        """Return what a continuation adds to its prompt: decoded together, since some decoders drop a first space."""
        shown = [token for token in continuation if token not in self._hidden]
        settings = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        before = self.tokenizer.decode(prompt, **settings)
        whole = self.tokenizer.decode(prompt + shown, **settings)
        return whole[len(before) :] if whole.startswith(before) else self.tokenizer.decode(shown, **settings)


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every id that ends a completion: the tokenizer's, the configuration's and the generation settings'."""
    ids: set[int] = set()
    settings = getattr(model, "generation_config", None)
    for value in (tokenizer.eos_token_id, model.config.eos_token_id, getattr(settings, "eos_token_id", None)):
        ids.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return frozenset(ids)


def _until(row: list[int], stop: frozenset[int]) -> list[int]:
    """Return a row up to its first end: what follows would read as a wrong answer."""
    return row[: next((place for place, token in enumerate(row) if token in stop), len(row))]


def _out_of_memory(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()


def _loaded(model: str, adapter: Path | None, device: str, dequantise: bool) -> Any:
    """Load the model with its adapter merged, in the dtype that suits the device, set to decode."""
    import torch
    from transformers import BitsAndBytesConfig, GenerationConfig

    wide = torch.bfloat16 if device == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
    place = {} if device == "cpu" else {"device_map": "auto" if device == "cuda" else {"": device}}
    if dequantise:
        four_bit = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        # Dequantised before any forward pass: on a CPU the first one repacks the 4-bit weights in place.
        net = load_causal_model(model, quantization_config=four_bit, dtype=torch.bfloat16, **place).dequantize()
        net.config.__dict__.pop("quantization_config", None)
    else:
        net = load_causal_model(model, dtype="auto" if device == "cpu" else wide, **place)
    if device == "cpu" and getattr(net.config, "quantization_config", None) is None:
        # In 32 bit the miniature's texts do not depend on the batch, whatever units the processor has.
        net = net.float() if net.num_parameters() < FLOAT32_PARAMETERS else net.to(wide)
    if adapter is not None:
        from peft import PeftModel

        net = PeftModel.from_pretrained(net, str(adapter)).merge_and_unload(safe_merge=True)
    # What a hub's generation settings say of sampling would only raise warnings: decoding here is greedy.
    ends = getattr(net.generation_config, "eos_token_id", None)
    net.generation_config = GenerationConfig(eos_token_id=ends)
    return net.eval()
