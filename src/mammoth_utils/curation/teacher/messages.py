"""A teacher's message: the program or chain of thought in it, or why it holds neither."""

from __future__ import annotations

from mammoth_utils.grading import fenced_blocks, is_bare_value, program_in
from mammoth_utils.prompts import ANSWER_TRIGGER
from mammoth_utils.rationale import Kind

CUT = "cut at max_tokens"
NO_ANSWER = "no answer in the prose"
BARE_VALUE = "a bare value, no program"


def program(message: str) -> str | None:
    """Return the program in a message.

    Text without a fence counts only if it is Python: a broken answer without one is no program, and was mostly cut.
    A bare value explains nothing, so that it is none either.
    """
    text = message.replace("\r\n", "\n")
    code = program_in(text, broken=False)
    if code is None or is_bare_value(code):
        return None
    return code.strip() if code == text else code


def prose(message: str) -> str | None:
    """Return the chain of thought in a message; None where it never says ``The answer is``.

    Whether it is the right answer is for the comparison with the gold to say.
    """
    bare = message.strip()
    return bare if ANSWER_TRIGGER.strip().lower() in bare.lower() else None


def read_rationale(message: str, kind: Kind) -> str | None:
    """Return the rationale of a kind in a message; None if it holds none."""
    return program(message) if kind == "pot" else prose(message)


def why_not(message: str, kind: Kind, finish: str = "", refusal: str = "") -> str:
    """Return why a message holds no rationale of a kind.

    Args:
        finish: Why it ended, as the endpoint says.
        refusal: The model's words where it refused instead of answering.
    """
    if refusal or finish == "content_filter":
        return f"refused: {' '.join(refusal.split())[:120] or 'the content was filtered'}"
    if finish == "length":
        return CUT
    if not message.strip():
        return "an empty answer"
    if kind == "cot":
        return NO_ANSWER
    texts = [block.text for block in fenced_blocks(message)] or [message]
    return BARE_VALUE if any(map(is_bare_value, texts)) else "no program"
