"""Characters that stand for notation: fractions in one character, raised and lowered digits, the fraction's slash."""

from __future__ import annotations

import re
import unicodedata

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RUNS = [(re.compile(f"[{''.join(table)}]+"), sign, table) for sign, table in (("^", _RAISED), ("_", _LOWERED))]
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")  # ¼ to ¾, ⅐ to ⅞, ↉


def spelled(text: str) -> str:
    """The text with such characters in the notation of a keyboard: ``2⅓`` as ``2 1/3``, ``10⁻³`` as ``10^{-3}``."""
    if text.isascii():
        return text
    text = _FRACTION.sub(lambda found: " " + unicodedata.normalize("NFKC", found.group()), text)
    for run, sign, table in _RUNS:
        text = run.sub(
            lambda found, sign=sign, table=table: sign + _braced("".join(map(table.get, found.group()))), text
        )
    return text.replace("\u2044", "/")


def _braced(digits: str) -> str:
    return digits if len(digits) == 1 else f"{{{digits}}}"
