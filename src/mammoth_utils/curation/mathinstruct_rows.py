"""A row of ``mathinstruct.jsonl``: MathInstruct's three keys, what it does not keep, and texts that a file can hold."""

from __future__ import annotations

from dataclasses import replace

from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record

TEACHER = "teacher:"  # the author of a row that a teacher wrote is this and its model


def is_by_teacher(author: str) -> bool:
    """Return whether a teacher of ours wrote a row."""
    return author.startswith(TEACHER)


def format_row(rationale: Rationale) -> Record:
    """Return a rationale as ``mathinstruct.jsonl`` holds it.

    A PoT row's instruction ends in its trigger: the released row's own where it had one, else the code's.
    """
    problem = rationale.problem
    trigger = rationale.history.get("trigger", POT_TRIGGER) if rationale.kind == "pot" else ""
    return {
        "source": rationale.source,
        "instruction": problem.instruction + trigger,
        "output": rationale.text,
        "kind": rationale.kind,
        "gold": problem.gold or None,
        "options": list(problem.options) if problem.options else None,
        "field": problem.field,
        "family": problem.family,
        "author": rationale.author,
        "key": rationale.key,
        "history": {"problem": problem.id, **rationale.history},
    }


def is_writable(row: Rationale | Problem) -> bool:
    """Return whether UTF-8 can hold a row's texts; it cannot hold a lone surrogate, which JSON may name."""
    problem = row.problem if isinstance(row, Rationale) else row
    texts = [problem.id, problem.question, problem.gold, problem.field, problem.family, *(problem.options or ())]
    if isinstance(row, Rationale):
        texts += [row.text, row.author, *(value for value in row.history.values() if isinstance(value, str))]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_surrogates(text: str) -> str:
    """Return a text with each lone surrogate written as ``\\udc80``."""
    return text.encode(errors="backslashreplace").decode()


def escape_row(row: Rationale) -> Rationale:
    """Return a row with the lone surrogates of all its texts escaped."""
    problem, history = row.problem, {}
    texts = {name: escape_surrogates(getattr(problem, name)) for name in ("id", "question", "gold", "field", "family")}
    options = None if problem.options is None else tuple(map(escape_surrogates, problem.options))
    for key, value in row.history.items():
        history[key] = escape_surrogates(value) if isinstance(value, str) else value
    return row.replaced(problem=replace(problem, options=options, **texts), text=escape_surrogates(row.text),
                        author=escape_surrogates(row.author), history=history)  # fmt: skip
