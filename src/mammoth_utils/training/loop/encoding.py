"""Rows to token ids: the prompt exactly as decoding will give it, then the rationale and its end."""

from __future__ import annotations

import html
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils import prompts

IGNORE_INDEX = -100
_BATCH = 512
_NAMED = 5  # rows that are left out, by name
_IDS = "i"  # four bytes an id: 262,039 rationales are 0.3 GB, as lists of integers they would be 2 GB


@dataclass(frozen=True)
class Example:
    """One rationale with its prompt as token ids; the loss sees ``answer`` only.

    Attributes:
        prompt: Ids of the prompt, as ``generate`` is given them.
        answer: Ids of the rationale and, last, of the end of sequence.
        kind: ``cot`` or ``pot``.
    """

    prompt: Sequence[int]
    answer: Sequence[int]
    kind: str = ""
    source: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @property
    def input_ids(self) -> list[int]:
        """Return prompt and answer."""
        return [*self.prompt, *self.answer]

    @property
    def labels(self) -> list[int]:
        """Return the ids with ``IGNORE_INDEX`` on the prompt."""
        return [IGNORE_INDEX] * len(self.prompt) + list(self.answer)


@dataclass
class EncodingReport:
    """Counts of what became of the rows.

    Attributes:
        kept: Examples that are trained on.
        too_long: Rows over ``max_length``, left out: cut, they would lose their answer and their end of sequence.
        special: Rows whose text holds a special token of the tokenizer, left out.
        empty: Rows without a rationale or a question, left out.
        named: The first rows that were left out, each with the reason.
        tokens: Tokens of the kept examples.
        supervised: Tokens among them that the loss sees.
        longest: Tokens of the longest example, kept or not.
        kinds: Kept examples by kind.
        sources: Kept examples by source.
    """

    rows: int = 0
    kept: int = 0
    too_long: int = 0
    special: int = 0
    empty: int = 0
    named: list[str] = field(default_factory=list)
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    kinds: Counter = field(default_factory=Counter)
    sources: Counter = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        """Return the number of rows that were left out for any reason."""
        return self.too_long + self.special + self.empty

    def name_row(self, row: dict[str, Any], reason: str) -> None:
        """Name a row that was left out, by its place in the file that it is from or by its first words."""
        if len(self.named) < _NAMED:
            place = (row.get("history") or {}).get("problem") or repr(row["instruction"][:60])
            self.named.append(f"{place}: {reason}")

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name, as a record keeps them."""
        counts = {key: value for key, value in vars(self).items() if not isinstance(value, Counter | list)}
        return counts | {"kinds": dict(self.kinds), "sources": dict(self.sources)}


def encode(prompt: str, answer: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the prompt's ids as ``generate`` is given them, and the answer's, which end in the end of sequence.

    Encoded jointly a byte-level tokenizer merges ``:#`` across the border, so that the model is trained on a prompt
    that decoding never shows; encoded apart a SentencePiece tokenizer puts a space in front of the answer. So the
    joint form is taken where the prompt is its prefix, else the answer is encoded behind a line break, which is cut
    off again, and the whole must decode to the text it came from.

    Raises:
        ValueError: If a text is empty, or holds the end of sequence, or no encoding gives the text back.
    """
    if not prompt or not answer:
        raise ValueError("a prompt and a rationale are needed; one of them is empty")
    if special := special_text(prompt + answer, tokenizer):
        raise ValueError(f"the text holds the special token {special!r}, which would become its id")
    return _join(prompt, answer, tokenizer(prompt).input_ids, tokenizer(prompt + answer).input_ids, tokenizer)


def _join(prompt: str, answer: str, head: list[int], joint: list[int], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Split the whole's ids after those of the prompt."""
    end = tokenizer.eos_token_id
    if end is None or (head and head[-1] == end):
        raise ValueError(
            "expected a tokenizer with an end-of-sequence token that it does not append by itself; "
            f"its eos_token is {tokenizer.eos_token!r}, the encoded prompt ends in {head[-1] if head else None}"
        )
    if joint[: len(head)] == head and len(joint) > len(head):
        return list(head), [*joint[len(head) :], end]
    for lead in ("", "\n", "a\n"):
        before = tokenizer(lead, add_special_tokens=False).input_ids if lead else []
        ids = tokenizer(lead + answer, add_special_tokens=False).input_ids
        if ids[: len(before)] != before or len(ids) == len(before):
            continue
        ids = ids[len(before) :]
        # SentencePiece's dummy prefix is a token of its own where the answer begins with a sign.
        if not lead and answer[0] != " " and tokenizer.convert_ids_to_tokens(ids[0]) == "▁":
            ids = ids[1:]
        if tokenizer.decode([*head, *ids], skip_special_tokens=False).endswith(prompt + answer):
            return list(head), [*ids, end]
    raise ValueError(f"no encoding of this rationale gives its text back after its prompt: {answer[:80]!r}")


def special_text(text: str, tokenizer: Any) -> str | None:
    """Return the first special token in a text, or None; the template's own parts are none.

    The miniature's tokenizer holds the header, the response marker and the triggers as tokens of their own.
    """
    fixed = prompts.ALPACA + "".join(prompts.POT_TRIGGERS.values()) + prompts.CHOICE_PREFILL
    return next((t for t in tokenizer.all_special_tokens if t and t not in fixed and t in text), None)


def encode_rows(rows: list[dict[str, Any]], tokenizer: Any, max_length: int) -> tuple[list[Example], EncodingReport]:
    """Encode a mixture in the rows' order, and count what was left out.

    Args:
        rows: Each with ``instruction`` (a PoT row's ends in its trigger), ``output``, ``kind`` and ``source``.
        max_length: Tokens of a packed row.

    Raises:
        ValueError: If a row lacks a key, or nothing is left.
    """
    report, examples = EncodingReport(rows=len(rows)), []
    for number, row in enumerate(rows):
        missing = [key for key in ("instruction", "output", "kind") if not isinstance(row.get(key), str)]
        if missing:
            raise ValueError(f"row {number} lacks {', '.join(missing)}; expected instruction, output, kind and source")
    for start in range(0, len(rows), _BATCH):
        part = []
        for row in rows[start : start + _BATCH]:
            if not row["instruction"].strip() or not row["output"].strip():
                report.empty += 1
                report.name_row(row, "empty")
            elif special := special_text(row["instruction"] + row["output"], tokenizer):
                report.special += 1
                report.name_row(row, f"holds the special token {special!r}")
            else:
                part.append(row)
        if not part:
            continue
        filled = [prompts.alpaca(row["instruction"]) for row in part]
        heads = tokenizer(filled).input_ids
        joints = tokenizer([text + row["output"] for text, row in zip(filled, part, strict=True)]).input_ids
        for row, text, head, joint in zip(part, filled, heads, joints, strict=True):
            prompt, answer = _join(text, row["output"], head, joint, tokenizer)
            example = Example(array(_IDS, prompt), array(_IDS, answer), row["kind"], row.get("source", ""))
            report.longest = max(report.longest, len(example))
            if len(example) > max_length:
                report.too_long += 1
                report.name_row(row, f"{len(example):,} tokens")
                continue
            examples.append(example)
            report.tokens += len(example)
            report.supervised += len(example.answer)
            report.kinds[example.kind] += 1
            report.sources[example.source] += 1
    report.kept = len(examples)
    if not examples:
        raise ValueError(
            f"of {report.rows} rows none is left to train on: {report.too_long} are over {max_length} tokens (the "
            f"longest has {report.longest}), {report.special} hold special tokens, {report.empty} are empty: "
            f"{'; '.join(report.named)}"
        )
    return examples, report


def columns(packed: list[list[Example]]) -> dict[str, list[list[int]]]:
    """Return packed rows as the columns that TRL's padding-free collator reads."""
    return {
        "input_ids": [[token for example in row for token in example.input_ids] for row in packed],
        "labels": [[label for example in row for label in example.labels] for row in packed],
        "seq_lengths": [[len(example) for example in row] for row in packed],
    }


class MarkedRow:
    """One row token by token, each with its label, those that the loss sees marked; shows itself on a page."""

    def __init__(self, example: Example, tokenizer: Any) -> None:
        self.example = example
        self.prompt, self.trained = tokenizer.decode(example.prompt), tokenizer.decode(example.answer)
        self.pieces = [tokenizer.decode([token]) for token in example.input_ids]

    def __repr__(self) -> str:
        return f"{self.prompt}⟦{self.trained}⟧\n{len(self.example.prompt)} + {len(self.example.answer)} tokens"

    def _repr_html_(self) -> str:
        boxes = "".join(map(_token_box, self.pieces, self.example.labels))
        return (
            f'<div class="tex2jax_ignore mathjax_ignore" style="font-family:monospace">{boxes}</div>'
            f"<p>{len(self.example.prompt)} tokens of the prompt with the label {IGNORE_INDEX}, "
            f"{len(self.example.answer)} tokens that the loss sees (marked).</p>"
        )


def _token_box(piece: str, label: int) -> str:
    """Return the HTML of one token above its label; a line of the text ends where its line break stands."""
    tag = "span" if label == IGNORE_INDEX else "mark"
    style = (
        "display:inline-block;max-width:100%;white-space:pre-wrap;text-align:center;border:1px solid #8888;"
        "border-radius:3px;margin:1px;padding:0 .25em"
    )
    text = html.escape(piece).replace("\n", "↵")
    return f'<{tag} style="{style}">{text}<br><small>{label}</small></{tag}>' + ("<br>" if "\n" in piece else "")


def mark_rationale(row: dict[str, Any], tokenizer: Any) -> MarkedRow:
    """Return a row as its token ids and labels, to be shown with the part that the loss sees marked."""
    prompt, answer = encode(prompts.alpaca(row["instruction"]), row["output"], tokenizer)
    return MarkedRow(Example(tuple(prompt), tuple(answer), row["kind"], row.get("source", "")), tokenizer)
