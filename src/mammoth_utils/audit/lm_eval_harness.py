"""The comparisons of lm-evaluation-harness, rewritten from its published code: one for numbers, one for expressions.

On number sets its GSM8K tasks take the last number of a text (``flexible-extract``) and compare texts without commas,
dollar signs and a final dot, so ``140.0`` is not 140. On MATH it normalises both sides as ``hendrycks`` does, with two
differences: 0.5 becomes a half, and where the normalisation fails the two texts are compared as they stand. It fails
on a quotient of anything but two whole numbers, so ``x/2`` equals only ``x/2``.
"""

from __future__ import annotations

import re

from mammoth_utils.grading import braces_of_fractions, short_name_before_equals, units_after_a_space_in_text

READ_AT = (
    "EleutherAI/lm-evaluation-harness@04bc51ff1493:lm_eval/tasks/hendrycks_math/utils.py",
    "EleutherAI/lm-evaluation-harness@01fe40a1f4d8:lm_eval/tasks/gsm8k/gsm8k-cot.yaml",
)
_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")
_REPLACED = (
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""),
)  # fmt: skip


def is_same_number(answer: str, gold: str) -> bool:
    """Return whether the last number of an answer is the gold's text (``flexible-extract`` of the GSM8K tasks)."""
    numbers = _NUMBER.findall(answer)
    return bool(numbers) and _without_ignored(numbers[-1].strip()) == _without_ignored(gold)


def _without_ignored(text: str) -> str:
    for pattern in _IGNORED:
        text = re.sub(pattern, "", text)
    return text.lower()


def holds_expression(text: str, gold: str) -> bool:
    """Return whether what stands between a completion's first and last dollar sign, or all of it, equals the gold."""
    signs = [at for at, character in enumerate(text) if character == "$"]
    return is_equivalent(text[signs[0] + 1 : signs[-1]] if len(signs) > 1 else text, gold)


def is_equivalent(answer: str | None, gold: str | None) -> bool:
    """Return whether the rule for MATH accepts an answer; a missing answer equals a missing gold."""
    if answer is None or gold is None:
        return answer is None and gold is None
    ours, theirs = normalized(answer), normalized(gold)
    return answer == gold if ours is None or theirs is None else ours == theirs


def normalized(text: str) -> str | None:
    """Return the normal form of a text; None where the harness's own normalisation would raise."""
    for old, new in _REPLACED:
        text = text.replace(old, new)
    if text.count("\\text{ ") > 1:
        return None  # a unit is expected once
    text = units_after_a_space_in_text(text)
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = short_name_before_equals("0" + text if text.startswith(".") else text)
    if text.endswith("\\sqrt") or "\\sqrt\\sqrt" in text:
        return None  # a root of nothing
    text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text).replace(" ", "")
    for piece in text.split("\\frac")[1:]:
        if not piece:
            return None  # a fraction of nothing
        if not piece.startswith("{") and len(piece) < 2:
            break
    text = braces_of_fractions(text)
    return "\\frac{1}{2}" if text == "0.5" else _quotient(text)


def _quotient(text: str) -> str | None:
    """Return ``a/b`` of whole numbers as a fraction; None where a side of the only slash is no whole number."""
    sides = text.split("/")
    if len(sides) != 2:
        return text
    try:
        above, below = (int(side) for side in sides)
    except ValueError:
        return None
    return f"\\frac{{{above}}}{{{below}}}" if text == f"{above}/{below}" else text
