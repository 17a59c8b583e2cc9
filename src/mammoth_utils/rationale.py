"""Problems and rationales, which every stage shares."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils.vocabulary import KINDS, Kind, check_known

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Problem:
    """A task with its reference answer.

    Attributes:
        id: Unique within its set, such as ``mini-gsm8k/test/17``.
        question: The task text as a reader sees it, without options, trigger or template.
        gold: The reference answer as text; for multiple choice the option's letter.
        options: Texts of the options in the order A, B, ...; None for an open question.
        set: Name of the source or benchmark that it belongs to.
        field: Field of mathematics, such as ``number theory``.
        family: Problem family (the miniature) or subject (the real sets); intervals cluster by it.
    """

    id: str
    question: str
    gold: str
    options: tuple[str, ...] | None = None
    set: str = ""
    field: str = ""
    family: str = ""

    def __post_init__(self) -> None:
        if self.options is not None:
            object.__setattr__(self, "options", tuple(self.options))
            if not 2 <= len(self.options) <= len(LETTERS):
                raise ValueError(f"problem {self.id}: expected 2 to {len(LETTERS)} options, got {len(self.options)}")

    @property
    def instruction(self) -> str:
        """Return the question as it is asked, followed by its options in the paper's form."""
        return self.question if self.options is None else with_options(self.question, self.options)


@dataclass(frozen=True)
class Rationale:
    """A worked solution of one problem, with its history.

    Attributes:
        kind: ``"cot"`` (prose) or ``"pot"`` (a program).
        text: The solution, exactly as a model is trained to write it.
        source: Name of the source in Table 1's words, such as ``GSM8K (PoT)`` or ``mini-GSM8K (PoT)``.
        author: Who wrote it: ``human``, ``teacher:<model>``, ``generator`` ...
        history: What happened to it, oldest first: prompt hash, execution status, filters passed.
    """

    problem: Problem
    kind: Kind
    text: str
    source: str
    author: str = ""
    history: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known("kind", self.kind, KINDS)

    def replaced(self, **changes: Any) -> Rationale:
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def with_history(self, **events: Any) -> Rationale:
        """Return a copy with events added to its history."""
        return self.replaced(history={**self.history, **events})

    @property
    def key(self) -> str:
        """Return a short fingerprint of instruction, kind and text; equal rows have equal keys."""
        parts = "\x1f".join((self.problem.instruction, self.kind, self.text))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def with_options(question: str, options: tuple[str, ...]) -> str:
    """Return a multiple-choice question in the form of the release: ``question\\nAnswer Choices: (A) ... (B) ...``."""
    listed = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    return f"{question}\nAnswer Choices: {listed}"
