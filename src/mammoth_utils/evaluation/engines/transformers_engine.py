"""A decoder in this process: a transformers model in one of three loops, each row ended as soon as it may."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils.base_models import load_causal_model
from mammoth_utils.evaluation.engines.requests import Completion, Request, RequestQueue
from mammoth_utils.paths import public_name
from mammoth_utils.processors import count_cores
from mammoth_utils.prompts import MAMMOTH_STOP
from mammoth_utils.records import Record
from mammoth_utils.silence_libraries import import_transformers
from mammoth_utils.vocabulary import check_known

if TYPE_CHECKING:
    from mammoth_utils.evaluation.engines.batched_loop import Row

ENGINES = ("own loop", "batched loop", "generate")
# Below this many parameters a Llama on a CPU goes through our own loop for small Llamas, above through the batched one.
OWN_LOOP_PARAMETERS = 50_000_000
FLOAT32_PARAMETERS = 1_000_000_000  # on a CPU: smaller models decode in float32, larger ones in bfloat16
MOST_ROWS = {"own loop": 64, "cpu": 64, "cuda": 256}  # decoded together, where the memory holds them
# Of the memory that is free once the model is loaded; the rest is for libraries and, on a CPU, for other programs.
MEMORY_SHARE = {"cpu": 0.5, "cuda": 0.85}
PREFILL_TOKENS = 4096  # of prompts, read in one pass: more would be no faster and need more memory
ADMIT_EVERY = 8  # steps of the batched loop between two looks for rows that wait: to read a prompt costs a step or more
MEMINFO = Path("/proc/meminfo")


class LocalDecoder:
    """Greedy decoding in this process; ``load_decoder`` returns one.

    A completion ends before the first end-of-sequence token or stop text and holds the text after the prompt to the
    byte, without beginning-, end- and padding tokens.

    Attributes:
        engine: What decodes: one of ``ENGINES``; ``"batched loop and generate"`` after rows went beyond a sliding
            window, which the loop does not have.
        batch: Most rows decoded together; halved where the memory of a card does not hold them.
        budget: Bytes for keys and values; rows whose worst case goes beyond are not decoded together. Infinite where
            the system does not say how much memory is free.

    Args:
        model: A folder or a hub name.
        adapter: Folder of a PEFT adapter that is merged.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
        batch: Most rows decoded together; 0 chooses.
        threads: Threads on a CPU; 0 is one for the own loop, which is fastest so, and all cores for other models.
        dequantise: Whether the adapter was trained on the 4-bit base.
        engine: ``"auto"`` or one of ``ENGINES``.

    Raises:
        ValueError: If the device is not there, or the engine is unknown or cannot run the model.
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

        check_known("engine", engine, ("auto", *ENGINES))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} was asked for and no CUDA card is visible; device='cpu' runs here")
        if device == "cpu" and threads:
            torch.set_num_threads(threads)
        self.name, self.adapter, self.device = model, adapter, device
        self.tokenizer = import_transformers().AutoTokenizer.from_pretrained(model, padding_side="left")
        self.model = _loaded(model, adapter, device, dequantise)
        self.stop = stop_ids(self.model, self.tokenizer)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._hidden = {*self.stop, self.tokenizer.bos_token_id, self.tokenizer.pad_token_id} - {None}
        filler = self.tokenizer.pad_token_id
        self._filler = next(iter(sorted(self.stop)), 0) if filler is None else filler
        self._choose_engine(engine)
        self.threads = threads or (1 if self.engine == "own loop" else count_cores())
        kind = "cpu" if device == "cpu" else "cuda"
        if device == "cpu":
            torch.set_num_threads(self.threads)
        self.batch = batch or MOST_ROWS["own loop" if self.engine == "own loop" else kind]
        self._plan_memory(MEMORY_SHARE[kind] * _free_bytes(self.model))

    def _choose_engine(self, engine: str) -> None:
        from mammoth_utils.evaluation.engines import batched_loop, llama_loop

        self._window, self._spare = 0.0, 0
        small = self.device == "cpu" and self.parameters < OWN_LOOP_PARAMETERS
        if engine == "own loop" or (engine == "auto" and small and not llama_loop.unsupported_reason(self.model)):
            self.engine, self._loop = "own loop", llama_loop.GreedyLlama(self.model)
        elif engine == "batched loop" or (engine == "auto" and not batched_loop.unsupported_reason(self.model)):
            self.engine, self._loop = "batched loop", batched_loop.BatchedLoop(self.model, self._filler)
            self._window, self._spare = batched_loop.attention_window(self.model), batched_loop.SPARE_COLUMNS
        else:
            self.engine, self._loop = "generate", None

    def _plan_memory(self, usable: float) -> None:
        """Divide memory between keys and values and what a pass over prompts needs besides."""
        config = self.model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_attention_heads", 1)
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        self._token_bytes = 2 * config.num_hidden_layers * kv_heads * width * self.model.dtype.itemsize
        passing = self._token_bytes + (8 * config.hidden_size + 4 * inner) * self.model.dtype.itemsize
        if self.engine == "batched loop":
            # Prompts are read apart from the rows that go on, a few at a time.
            self._prefill_tokens = max(1, int(min(PREFILL_TOKENS, usable / 4 / passing)))
            self.budget = usable - self._prefill_tokens * passing
        else:
            self._token_bytes, self.budget = passing, usable

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

    def run(self, queue: RequestQueue) -> None:
        """Complete what a queue holds until it is closed and empty.

        Raises:
            ValueError: If a chat is asked for and the tokenizer has no chat template.
        """
        waiting = _Waiting(self, queue)
        while waiting.fill(1) and not queue.cancelled:
            if waiting.rows[0].most <= self._window:
                self._run_loop(waiting)
            else:
                self._run_batch(waiting)

    def _run_batch(self, waiting: _Waiting) -> None:
        """Decode one batch, the longest rows: one that is too large shows at once, and little of it is padding."""
        waiting.fill(self.batch)
        every = len(waiting.rows) + waiting.queue.waiting
        most = min(self.batch, self._places(waiting.rows[0].most))
        size = -(-every // -(-every // most))  # equal batches: 200 prompts are 4 x 50, not 3 x 64 and 8
        rows = [row for row in waiting.rows[:size] if self.engine == "own loop" or row.limit == waiting.rows[0].limit]
        waiting.rows = [row for row in waiting.rows if row not in rows]
        decoded = self._loop.decode(rows) if self.engine == "own loop" else self._generate(rows)
        failed = ""
        while not failed and not waiting.queue.cancelled:
            try:
                row = next(decoded, None)
            except RuntimeError as error:
                failed = _out_of_memory(error)
                continue
            if row is None:
                return
            waiting.finish(row)
        if failed:
            rows = [row for row in rows if not row.finish]
            for row in rows:
                row.written.clear()
            self._halve(rows, waiting, failed)

    def _run_loop(self, waiting: _Waiting) -> None:
        """Decode rows in the batched loop until none goes on and none waits that it can take."""
        loop, steps, failed = self._loop, 0, ""
        while not waiting.queue.cancelled:
            rows: list[Row] = []
            steps = steps if loop.rows else 0
            if steps % ADMIT_EVERY == 0:
                rows, places = self._admitted(waiting)
            if not rows and not loop.rows:
                break
            try:
                ended = loop.add(rows, places) if rows else loop.step()
            except RuntimeError as error:
                failed = _out_of_memory(error)
            if failed:
                rows = list(dict.fromkeys([*loop.clear(), *rows]))
                ended = [row for row in rows if row.finish]
                self._halve([row for row in rows if not row.finish], waiting, failed)
                failed = ""
            else:
                steps += not rows
            for row in ended:
                waiting.finish(row)
        loop.clear()

    def _admitted(self, waiting: _Waiting) -> tuple[list[Row], int]:
        """Return rows that join the loop now, as many as one pass reads, and how many may go on together then."""
        going = self._loop.rows
        waiting.fill(self.batch - len(going), wait=not going)
        rows: list[Row] = []
        longest = max((row.most for row in going), default=0)
        widest = 0
        while waiting.rows and waiting.rows[0].most <= self._window:
            row = waiting.rows[0]
            longest, widest = max(longest, row.most), max(widest, row.length)
            if len(going) + len(rows) >= self._places(longest):
                break
            if rows and (len(rows) + 1) * widest > self._prefill_tokens:
                break
            rows.append(waiting.rows.pop(0))
        most = len(going) + len(rows) + len(waiting.rows) + waiting.queue.waiting
        return rows, min(most, self._places(max((row.most for row in [*going, *rows]), default=0)))

    def _places(self, tokens: int) -> int:
        """Return how many rows of so many tokens are decoded together at most."""
        fit = self.budget / ((tokens + self._spare) * self._token_bytes)
        return self.batch if fit >= self.batch else int(fit)

    def _halve(self, rows: list[Row], waiting: _Waiting, failed: str) -> None:
        """Let rows that ran out of memory wait for a batch half as large; a row that was alone has no completion."""
        import torch

        if self.device != "cpu":
            torch.cuda.empty_cache()
        if len(rows) == 1:
            waiting.queue.fail(rows[0].request, f"{rows[0].most} tokens do not fit the memory alone: {failed}")
        elif rows:
            self.batch = len(rows) // 2
            waiting.rows = [*rows, *waiting.rows]

    def _generate(self, rows: list[Row]) -> Iterator[Row]:
        """Decode a batch by Hugging Face's ``generate``, up to its longest row; all rows have the same limit."""
        import torch
        from transformers import GenerationConfig

        if self.engine == "batched loop":
            self.engine = "batched loop and generate"
        longest = max(len(row.prompt) for row in rows)
        # Padding stands left: right of a prompt it would be read as part of the text (1 of 24 texts was right so).
        pads = [longest - len(row.prompt) for row in rows]
        device = self.model.device
        ids = [[self._filler] * pad + row.prompt for pad, row in zip(pads, rows, strict=True)]
        mask = [[0] * pad + [1] * (longest - pad) for pad in pads]
        settings = GenerationConfig(
            max_new_tokens=rows[0].limit, do_sample=False, num_beams=1, use_cache=True, pad_token_id=self._filler,
            eos_token_id=sorted(self.stop) or None,
        )  # fmt: skip
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=torch.tensor(ids, device=device), attention_mask=torch.tensor(mask, device=device),
                generation_config=settings,
            )  # fmt: skip
        for row, tokens in zip(rows, written[:, longest:].tolist(), strict=True):
            # After its end a row holds padding, which would read as a wrong answer.
            row.written.clear()
            while not row.finish:
                row.add(tokens[len(row.written)])
            yield row

    def _text(self, prompt: list[int], continuation: list[int]) -> str:
        """Return what a continuation adds to its prompt: decoded together, since some decoders drop a first space."""
        shown = [token for token in continuation if token not in self._hidden]
        before, whole = self._decode(prompt), self._decode(prompt + shown)
        return whole[len(before) :] if whole.startswith(before) else self._decode(shown)

    def _decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _tokens(self, request: Request) -> list[int]:
        """Return a request's prompt as token ids, within the chat template if it asks for that.

        Raises:
            ValueError: If the tokenizer has no chat template.
        """
        if not request.chat:
            return self.tokenizer(request.prompt).input_ids
        if not self.tokenizer.chat_template:
            raise ValueError(f"{public_name(self.name)} has no chat template, so it cannot be asked as a chat; "
                             "`-p prompt mammoth` asks it with the prompt template of the paper")  # fmt: skip
        messages = [{"role": "user", "content": request.prompt}]
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer(text, add_special_tokens=False).input_ids  # the template has written them


class _Waiting:
    """Rows of a queue that wait for a place, the longest first."""

    def __init__(self, decoder: LocalDecoder, queue: RequestQueue) -> None:
        self.decoder, self.queue = decoder, queue
        self.rows: list[Row] = []

    def fill(self, most: int, wait: bool = True) -> bool:
        """Take requests until so many rows wait or the queue is empty; return whether any wait.

        Args:
            wait: Whether to wait for requests while there is no row.
        """
        while len(self.rows) < most and (
            requests := self.queue.take(most - len(self.rows), wait=wait and not self.rows)
        ):
            self.rows += filter(None, map(self._row, requests))
            self.rows.sort(key=lambda row: -row.most)
        return bool(self.rows)

    def _row(self, request: Request) -> Row | None:
        """Return a request as a row; None after saying why it cannot be one."""
        from mammoth_utils.evaluation.engines.batched_loop import Row

        if request.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}")
        prompt = self.decoder._tokens(request)
        context = getattr(self.decoder.model.config, "max_position_embeddings", None) or math.inf
        if len(prompt) >= context:
            self.queue.fail(request, f"a prompt of {len(prompt)} tokens leaves no room in a context of {context}: "
                                     f"{request.prompt[:200]!r} ...")  # fmt: skip
            return None
        limit = int(min(request.max_new_tokens, context - len(prompt)))
        # The published rule cuts there itself. The miniature writes it in one text of a hundred, at no cost of time,
        # and its records hold these texts whole.
        cut_by_rule = self.decoder.engine == "own loop" and request.stop == MAMMOTH_STOP
        stop = () if cut_by_rule else request.stop
        row = Row(request, prompt, limit, self.decoder.stop, self.decoder._decode, stop)
        if self.decoder._places(row.most) < 1:
            self.queue.fail(request, f"{len(prompt)} tokens of a prompt and {limit} new ones do not fit the memory: "
                                     f"keys and values may take {self.decoder.budget / 2**30:.2f} GiB")  # fmt: skip
            return None
        return row

    def finish(self, row: Row) -> None:
        """Hand in a row that has ended."""
        text, finish = self.decoder._text(row.prompt, row.written), row.finish
        if places := [place for stop in row.stop if (place := text.find(stop)) >= 0]:
            text, finish = text[: min(places)], "stop"
        self.queue.finish(row.request, Completion(text, finish, len(row.written), len(row.prompt)))


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every id that ends a completion: the tokenizer's, the configuration's and the generation settings'."""
    ids: set[int] = set()
    settings = getattr(model, "generation_config", None)
    for value in (tokenizer.eos_token_id, model.config.eos_token_id, getattr(settings, "eos_token_id", None)):
        ids.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return frozenset(ids)


def _free_bytes(model: Any) -> float:
    """Return the memory that is free where a model lies; infinite where the system does not say, as on macOS.

    Layers of a model on several cards are spread evenly, so the card with the least memory counts for each of them.
    """
    import torch

    cards = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    if cards:
        held = {card: torch.cuda.memory_reserved(card) - torch.cuda.memory_allocated(card) for card in cards}
        return len(cards) * min(torch.cuda.mem_get_info(card)[0] + held[card] for card in cards)
    text = MEMINFO.read_text(encoding="ascii") if MEMINFO.is_file() else ""
    available = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return 1024.0 * int(available[1]) if available else math.inf


def _out_of_memory(error: RuntimeError) -> str:
    """Return the message of an error that says that memory ran out; any other is raised again."""
    message = " ".join(str(error).split())
    told = ("out of memory", "can't allocate memory")
    if type(error).__name__ == "OutOfMemoryError" or any(words in message.lower() for words in told):
        return message[:300] or "out of memory"
    raise error


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
