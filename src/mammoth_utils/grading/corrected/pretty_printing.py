"""What SymPy's ``pprint`` draws over several lines, as one line: matrices, fractions, powers."""

from __future__ import annotations

import re

_MATRIX_LINE = re.compile(r"[⎡⎢⎣](.*)[⎤⎥⎦]")
_BAR = re.compile(r"\s*(?:[─━]+|-{2,})\s*")
_UPPER = re.compile(r"[\d\sA-Za-z+-]*[\dA-Za-z][\d\sA-Za-z+-]*")
_SIGNS = str.maketrans({"⋅": "*", "ⅈ": "i", "ℯ": "e", "∞": "oo", "−": "-"})


def as_one_line(printed: str) -> str | None:
    """Return a drawn formula in one line, ``Matrix([[1, 2], [3, 4]])`` or ``(√6)/(3)``; None for any other text."""
    lines = [line for line in printed.translate(_SIGNS).split("\n") if line.strip()]
    if len(lines) < 2:
        return None
    if len(lines) == 2 and set(lines[0].strip()) == {"_"} and (root := re.fullmatch(r"\s*\\/\s*(\S.*?)\s*", lines[1])):
        return f"sqrt({root[1]})"
    return _matrix(lines) or _fraction(lines) or _power(lines)


def _matrix(lines: list[str]) -> str | None:
    inside = [_MATRIX_LINE.fullmatch(line.strip()) for line in lines]
    if None in inside:
        return None
    rows = [re.split(r"\s{2,}", match[1].strip()) for match in inside if match[1].strip()]
    if len({len(row) for row in rows}) != 1:  # an entry is drawn over several lines itself
        return None
    return "Matrix([" + ", ".join(f"[{', '.join(row)}]" for row in rows) + "])"


def _fraction(lines: list[str]) -> str | None:
    if len(lines) != 3 or not _BAR.fullmatch(lines[1]) or any(map(_BAR.fullmatch, (lines[0], lines[2]))):
        return None
    return f"({lines[0].strip()})/({lines[2].strip()})"


def _power(lines: list[str]) -> str | None:
    """Return a line with the exponents that stand above it, each over a gap behind its base."""
    if len(lines) != 2 or not _UPPER.fullmatch(lines[0]):
        return None
    exponents, base = list(re.finditer(r"\S+", lines[0])), lines[1].ljust(len(lines[0]))
    if any(base[mark.start() : mark.end()].strip() or not mark.start() for mark in exponents):
        return None
    if any(not re.match(r"[\w)\]]", base[mark.start() - 1]) for mark in exponents):
        return None
    for mark in reversed(exponents):
        base = f"{base[: mark.start()]}^{{{mark.group()}}}{base[mark.end() :]}"
    return base.strip()
