"""The string normalisation that came with the MATH benchmark, as the published rule applies it.

What it does is pinned by `tests/cases/grading_published.jsonl`; the corrected rule does not use it.
"""

from __future__ import annotations

import re


def boxed_content(text: str) -> tuple[str, int]:
    """Return what the last ``boxed`` holds, and where that starts."""
    at = text.rfind("boxed") + len("boxed")
    rest = text[at:]
    if not rest.startswith("{"):
        content = rest.split("$")[0]
        return content.strip(), at + len(content) - len(content.lstrip())
    depth = 0
    for end, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:end], at + 1
    return rest[1:], at + 1


def normal(text: str) -> str:
    """Return the text without what carries no meaning to that rule, braces added where LaTeX lets them go.

    Spaces, ``\\left``, degrees, dollar and percent signs go, units after ``\\text{ `` and a short name before ``=``.
    """
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    text = text.replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    text = units_after_a_space_in_text(text)
    text = text.replace("\\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text.startswith("."):
        text = "0" + text
    text = short_name_before_equals(text)
    text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text)
    text = braces_of_fractions(text.replace(" ", ""))
    return slash_of_two_integers(text)


def units_after_a_space_in_text(text: str) -> str:
    """Return what stands before ``\\text{ `` with its space: only units are written so in the benchmark."""
    return text.split("\\text{ ")[0] if "\\text{ " in text else text


def short_name_before_equals(text: str) -> str:
    """Return what follows the only ``=`` behind at most two characters: ``k=3`` is 3, ``k = 3`` is 3 too."""
    sides = text.split("=")
    return sides[1] if len(sides) == 2 and len(sides[0]) <= 2 else text


def braces_of_fractions(text: str) -> str:
    """Return ``\\frac12`` and ``\\frac1{72}`` with their braces; a piece too short to be one is left alone."""
    head, *pieces = text.split("\\frac")
    for piece in pieces:
        if piece and not piece.startswith("{"):
            if len(piece) < 2:
                return text
            first, second, rest = piece[0], piece[1], piece[2:]
            piece = f"{{{first}}}{{{second}}}{rest}" if second != "{" else f"{{{first}}}{second}{rest}"
        head += "\\frac" + piece
    return head


def slash_of_two_integers(text: str) -> str:
    """Return ``a/b`` of two integers as ``\\frac{a}{b}``; the benchmark's own golds were changed that way."""
    match = re.fullmatch(r"(0|-?[1-9]\d{0,15})/(0|-?[1-9]\d{0,15})", text)
    return f"\\frac{{{match[1]}}}{{{match[2]}}}" if match else text
