"""Fenced cells in a completion: code that is no prose, and the outputs that are quoted beside it."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ \t]*```([^\n`]*)$", re.M)


def without_cells(text: str) -> tuple[str, list[tuple[int, int]], int]:
    """The text with fenced cells blanked at equal length, the spans of quoted outputs, and where the last cell ends.

    MathCoder's completions are prose with ``python`` and ``output`` cells; a cell may be cut off by the end.
    """
    marks = list(_FENCE.finditer(text))
    if not marks:
        return text, [], 0
    parts, outputs, at, index = [], [], 0, 0
    while index < len(marks):
        opening = marks[index]
        closing = marks[index + 1] if index + 1 < len(marks) else None
        end = closing.end() if closing else len(text)
        parts += [text[at : opening.start()], " " * (end - opening.start())]
        if opening.group(1).strip() == "output":
            outputs.append((opening.end(), closing.start() if closing else len(text)))
        at, index = end, index + 2
    return "".join(parts) + text[at:], outputs, at
