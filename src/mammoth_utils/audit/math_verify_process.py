"""Math-Verify in a process of its own: a question a line on standard input, a verdict a line on standard output.

`mathverify` starts it and kills it where an input hangs. Its own time limits rest on signals, so they hold only in a
main thread like this one, and not for every input.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time

MEMORY_GB = 4


def main() -> None:
    """Answer until standard input ends or the parent is gone."""
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _limit_memory()
    out = os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # what the library prints is no verdict
    import logging

    logging.disable(logging.CRITICAL)
    import math_verify

    out.write(json.dumps({"version": math_verify.__version__ if hasattr(math_verify, "__version__") else ""}) + "\n")
    out.flush()
    for line in sys.stdin:
        form, gold, text, whole = json.loads(line)
        try:
            verdict = judged(form, gold, text, whole)
        except Exception as error:  # whatever the library raises on a text is its verdict, not our fault
            verdict = ["e", type(error).__name__]
        out.write(json.dumps(verdict) + "\n")
        out.flush()


def judged(form: str, gold: str, text: str, whole: bool) -> list[str]:
    """A mark and what was read: ``1`` right, ``0`` wrong, ``n`` no answer, ``g`` a gold that it cannot read.

    Args:
        form: ``"number"``, ``"expression"`` or ``"option"``: how the gold's benchmark writes its answers.
        gold: The reference.
        text: An answer, or a whole completion.
        whole: Whether ``text`` is a completion, to be read as its users do, or an answer that somebody read.
    """
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

    if form == "option":
        config = [StringExtractionConfig(strings=tuple("ABCDEFGHIJ"))]
    else:
        config = [LatexExtractionConfig(), ExprExtractionConfig()]

    def read(one: str) -> list:
        # What the first way of handing it over leaves unread is handed over in the other way too.
        return next((got for way in ways(form, one) if (got := parse(way, extraction_config=config))), [])

    wanted = read(gold)
    if not wanted:
        return ["g", ""]
    found = parse(text, extraction_config=config) if whole else read(text)
    if not found:
        return ["n", ""]
    return ["1" if verify(wanted, found) else "0", str(found[-1])[:60]]


def ways(form: str, text: str) -> list[str]:
    """How an answer is handed over: expressions between dollar signs first, numbers bare first, letters bare.

    Its documentation asks for LaTeX in an environment; a bare ``48 {grams}`` is read as a number, and between dollars
    as a product of letters; ``\\$40`` is read between dollars alone.
    """
    if form == "option":
        return [text]
    inside = text if "\\boxed" in text or re.search(r"(?<!\\)\$", text) else f"${text}$"
    return [inside, text] if form == "expression" else [text, inside]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GB << 30, MEMORY_GB << 30))


if __name__ == "__main__":
    main()
