"""Greedy decoding of any transformers model with a plain cache: rows leave as they end, others take their places.

``generate`` goes on with a whole batch until its longest row has ended. Here every row has a place in one allocated
cache: the place of a row that has ended goes to the last row or to a new one, whose prompt is read in a pass of its
own. Padding stands left of each row, and columns that are padding in all rows are left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mammoth_utils.evaluation.engines.requests import Request

STOP_TEXT_EVERY = 16  # tokens between two looks for a stop text: a look decodes the row's end, some 15 microseconds
# Columns beyond the longest row: the cache moves to its front once in so many steps instead of at each.
SPARE_COLUMNS = 64


@dataclass(eq=False, slots=True)
class Row:
    """A request that is being decoded.

    Attributes:
        request: What is asked.
        prompt: Token ids of the prompt.
        limit: Most tokens that are written.
        ends: Ids of tokens that end a row.
        decode: Turns token ids into text.
        stop: Texts before the first of which it ends.
        written: Token ids so far, without the one that ended the row.
        finish: How it ended, as in ``Completion``; empty while it goes on.
    """

    request: Request
    prompt: list[int]
    limit: int
    ends: Collection[int]
    decode: Callable[[list[int]], str]
    stop: tuple[str, ...] = ()
    written: list[int] = field(default_factory=list)
    finish: str = ""

    @property
    def most(self) -> int:
        """Return the most tokens that it will have, with its prompt."""
        return len(self.prompt) + self.limit

    @property
    def length(self) -> int:
        """Return the tokens that it has, with its prompt."""
        return len(self.prompt) + len(self.written)

    def add(self, token: int) -> None:
        """Add the next token, or end the row if the token or a stop text ends it or the limit is reached."""
        if token in self.ends:
            self.finish = "stop"
            return
        self.written.append(token)
        if len(self.written) >= self.limit:
            self.finish = "length"
        elif self.stop and len(self.written) % STOP_TEXT_EVERY == 0:
            # A token is at least one byte long, so a stop text that is new lies within these last ones.
            longest = max(len(text.encode()) for text in self.stop)
            end = self.decode(self.written[-(STOP_TEXT_EVERY + longest + 1) :])
            if any(text in end for text in self.stop):
                self.finish = "stop"


def unsupported_reason(model: Any) -> str:
    """Return why this loop cannot run a Hugging Face causal language model, or an empty text if it can."""
    config = model.config.get_text_config(decoder=True)
    if getattr(model, "_is_stateful", False) or getattr(model.config, "is_encoder_decoder", False):
        return f"architecture {config.model_type!r} keeps another state than keys and values"
    if missing := {"attention_mask", "position_ids", "past_key_values"} - set(_parameters(model)):
        return f"its forward takes no {', '.join(sorted(missing))}"
    other = {type(layer) for layer in DynamicCache(config=config).layers} - {DynamicLayer, DynamicSlidingWindowLayer}
    if other:
        return f"its cache has {', '.join(sorted(layer.__name__ for layer in other))}"
    # These position tables depend on the longest row of a batch, so that a text would depend on its neighbours.
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {one.get("rope_type", "") for one in (rope, *rope.values()) if isinstance(one, dict)}
    if kinds := {kind for kind in kinds if "dynamic" in kind or kind == "longrope"}:
        return f"rope type {', '.join(sorted(kinds))} depends on the longest row of a batch"
    return ""


def attention_window(model: Any) -> float:
    """Return how many tokens a row may have before a layer no longer sees all of them; infinite without a window.

    Within it a sliding window hides nothing, so that the loop may keep plain keys and values.
    """
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min(windows, default=float("inf"))


class BatchedLoop:
    """Rows that are decoded together: ``add`` begins some, ``step`` writes a token of each.

    Both return the rows that ended. If either raises, ``clear`` takes the rows out; a row that is added again goes on
    where it was.

    Attributes:
        rows: Rows that go on, in the order of their places in the cache.

    Args:
        model: A causal language model of Hugging Face.
        filler: Token id in places of padding.

    Raises:
        ValueError: If the loop cannot run the model, with the reason.
    """

    def __init__(self, model: Any, filler: int) -> None:
        if reason := unsupported_reason(model):
            raise ValueError(f"this model needs Hugging Face's generate: {reason}")
        self.model, self.filler = model, filler
        self.rows: list[Row] = []
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in _parameters(model) else {}
        self._layers: list[_Places] = []
        self._frame = _Frame()

    def clear(self) -> list[Row]:
        """Return the rows that go on after giving up their places and the memory of the cache."""
        rows, self.rows, self._layers, self._frame = self.rows, [], [], _Frame()
        return rows

    @torch.inference_mode()
    def add(self, rows: Sequence[Row], places: int = 0) -> list[Row]:
        """Read the prompts of some rows and write a token of each; they go on beside the others.

        Args:
            places: Rows that will go on together soon, for whom memory is taken at once.
        """
        longest = max(row.length for row in rows)
        texts = [row.prompt + row.written for row in rows]
        ids = torch.tensor([[self.filler] * (longest - len(text)) + text for text in texts])
        cache = DynamicCache()
        tokens = self._forward(ids, torch.tensor([len(text) for text in texts]), cache)
        if not self._layers:
            self._layers = [_Places(self._frame, layer) for layer in cache.layers]
        every = [*self.rows, *rows]
        self._make_room(max(places, len(every)), max(row.most for row in every) + SPARE_COLUMNS, longest)
        first, end = len(self.rows), self._frame.end
        for layer, new in zip(self._layers, cache.layers, strict=True):
            for kept, read in ((layer.keys, new.keys), (layer.values, new.values)):
                kept[first : first + len(rows), :, end - longest : end] = read
        self.rows += rows
        return self._write(rows, tokens)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Write a token of each row."""
        places, _, columns, _ = self._layers[0].keys.shape
        self._make_room(places, columns, self._frame.length)
        self._frame.rows = len(self.rows)
        ids = torch.tensor([[row.written[-1]] for row in self.rows])
        tokens = self._forward(ids, torch.tensor([row.length for row in self.rows]), Cache(layers=self._layers))
        self._frame.end += 1
        return self._write(self.rows, tokens)

    def _forward(self, ids: Tensor, lengths: Tensor, cache: Cache) -> list[int]:
        """Return the likeliest next tokens of rows that have ``lengths`` tokens, of which ``ids`` are not read yet."""
        device, columns = self.model.device, cache.get_seq_length() + ids.shape[1]
        lengths = lengths.to(device)
        place = torch.arange(columns, device=device) - (columns - lengths)[:, None]  # negative left of a row
        logits = self.model(
            input_ids=ids.to(device), attention_mask=(place >= 0).long(), past_key_values=cache, use_cache=True,
            position_ids=place[:, -ids.shape[1] :].clamp_min(0), **self._last,
        ).logits  # fmt: skip
        return logits[:, -1].argmax(-1).tolist()

    def _write(self, rows: Sequence[Row], tokens: list[int]) -> list[Row]:
        """Add a token to each row; take those that ended out, the last rows into their places, and return them."""
        for row, token in zip(rows, tokens, strict=True):
            row.add(token)
        ended = [row for row in self.rows if row.finish]
        left = len(self.rows) - len(ended)
        holes = [place for place, row in enumerate(self.rows[:left]) if row.finish]
        movers = [place for place, row in enumerate(self.rows) if place >= left and not row.finish]
        for layer in self._layers if holes else ():
            for kept in (layer.keys, layer.values):
                frame = kept[:, :, self._frame.start : self._frame.end]
                frame[holes] = frame[movers]
        for hole, mover in zip(holes, movers, strict=True):
            self.rows[hole] = self.rows[mover]
        del self.rows[left:]
        # The last token of a row is not in the cache yet.
        self._frame.start = self._frame.end - max((row.length - 1 for row in self.rows), default=0)
        return ended

    def _make_room(self, rows: int, columns: int, length: int) -> None:
        """Let the cache hold so many rows and columns, its frame at least ``length`` of them and one more to come."""
        frame, length = self._frame, max(length, self._frame.length)
        held_rows, _, held_columns, _ = self._layers[0].keys.shape
        fits = rows <= held_rows and columns <= held_columns
        if fits and length <= frame.end < held_columns:
            frame.start = frame.end - length
            return
        size = (held_rows, held_columns) if fits else (rows, columns)
        for layer in self._layers:
            layer.move(len(self.rows), size, length)
        frame.start, frame.end = 0, length


@dataclass
class _Frame:
    """The columns of the cache that hold tokens now, and the rows that the next step reads."""

    start: int = 0
    end: int = 0
    rows: int = 0

    @property
    def length(self) -> int:
        return self.end - self.start


class _Places(DynamicLayer):
    """Keys and values of one layer, shape (places, heads, columns, width); those of a frame count.

    Args:
        frame: The frame, one for all layers.
        like: A layer of the same model, for heads, widths, dtype and device.
    """

    def __init__(self, frame: _Frame, like: DynamicLayer) -> None:
        super().__init__()
        self.frame, self.is_initialized = frame, True
        self.keys, self.values = like.keys[:0, :, :0], like.values[:0, :, :0]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the next column and return the frame with it; the loop moves the frame's end after the last layer."""
        rows, start, end = self.frame.rows, self.frame.start, self.frame.end
        for kept, new in ((self.keys, key_states), (self.values, value_states)):
            kept[:rows, :, end : end + 1] = new
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_seq_length(self) -> int:
        """Return the columns of the frame."""
        return self.frame.length

    def move(self, rows: int, size: tuple[int, int], length: int) -> None:
        """Put what the frame holds of the first rows at the end of the first ``length`` columns.

        Args:
            size: Places and columns from now on.
        """
        self.keys, self.values = (self._moved(kept, rows, size, length) for kept in (self.keys, self.values))

    def _moved(self, kept: Tensor, rows: int, size: tuple[int, int], length: int) -> Tensor:
        held = kept[:rows, :, self.frame.start : self.frame.end]
        if size == (kept.shape[0], kept.shape[2]):
            held = held.clone()
        else:
            # Zeros, since chance bits that read as NaN would pass through a mask.
            kept = kept.new_zeros((size[0], kept.shape[1], size[1], kept.shape[3]))
        kept[:rows, :, length - held.shape[2] : length] = held
        return kept


def _parameters(model: Any) -> list[str]:
    return list(inspect.signature(model.forward).parameters)
