"""The child process that runs Math-Verify: a question a line on standard input, a verdict a line on standard output.

`math_verify_client` starts it, and kills it where an input hangs. Math-Verify's own time limits rest on signals, so
they hold only in a main thread like this one, and not for every input.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time

MEMORY_GB = 4


def main() -> None:
    """Answer questions until standard input ends or the parent process is gone."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(ImportError):  # on a system without such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GB << 30, MEMORY_GB << 30))
    out = os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # keeps what the library prints out of the verdicts
    import logging

    logging.disable(logging.CRITICAL)
    import math_verify

    version = math_verify.__version__ if hasattr(math_verify, "__version__") else ""
    print(json.dumps({"version": version}), file=out, flush=True)
    for line in sys.stdin:
        form, gold, text, whole = json.loads(line)
        try:
            verdict = judge(form, gold, text, whole)
        except Exception as error:  # whatever the library raises on a text counts as its verdict
            verdict = ["e", type(error).__name__]
        print(json.dumps(verdict), file=out, flush=True)


def judge(form: str, gold: str, text: str, whole: bool) -> list[str]:
    """Return a mark and the answer that was read: ``1`` right, ``0`` wrong, ``n`` no answer, ``g`` gold not readable.

    Args:
        form: ``"number"``, ``"expression"`` or ``"option"``: how the gold's benchmark writes its answers.
        text: An answer, or a whole completion.
        whole: Whether ``text`` is a whole completion, or an answer that was read before.
    """
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

    if form == "option":
        config = [StringExtractionConfig(strings=tuple("ABCDEFGHIJ"))]
    else:
        config = [LatexExtractionConfig(), ExprExtractionConfig()]

    def read(answer: str) -> list:
        # If the first notation is not read, the second one is tried.
        parsed = (parse(notation, extraction_config=config) for notation in notations(form, answer))
        return next(filter(None, parsed), [])

    gold_values = read(gold)
    if not gold_values:
        return ["g", ""]
    values = parse(text, extraction_config=config) if whole else read(text)
    if not values:
        return ["n", ""]
    return ["1" if verify(gold_values, values) else "0", str(values[-1])[:60]]


def notations(form: str, text: str) -> list[str]:
    """Return the notations of an answer in the order tried: with and without dollar signs; a letter without.

    Its documentation asks for LaTeX in an environment. A bare ``48 {grams}`` is read as a number, between dollar signs
    as a product of letters; ``\\$40`` is read between dollar signs only.
    """
    if form == "option":
        return [text]
    inside = text if "\\boxed" in text or re.search(r"(?<!\\)\$", text) else f"${text}$"
    return [inside, text] if form == "expression" else [text, inside]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


if __name__ == "__main__":
    main()
