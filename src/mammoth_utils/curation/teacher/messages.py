"""What a teacher's message holds: a program, a chain of thought, or neither, and why."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from mammoth_utils.prompts import ANSWER_TRIGGER
from mammoth_utils.rationale import Kind

CUT = "cut at max_tokens"
NO_ANSWER = "no answer in the prose"
BARE_VALUE = "a bare value, no program"

# An opening fence with its language. Words may stand before one of backticks; a single backtick there is inline code.
_OPENS = (
    re.compile(r"(?P<before>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^`]*)"),
    re.compile(r"(?P<before>[^`]*?)(?P<fence>`{3,})[ \t]*(?P<language>[^\s`]*)[ \t]*"),
)
_PYTHON = re.compile(r"\{?\.?i?py(?:thon)?[ \t]?[\d.]*\}?(?:[\s:,].*)?", re.IGNORECASE)
_SAYS = re.compile(r"\bprint\(|^ans\w*[ \t]*=", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language as the fence names it, and its text."""

    language: str
    text: str

    @property
    def python(self) -> bool:
        """Whether the fence says that it is Python."""
        return bool(_PYTHON.fullmatch(self.language))


def blocks(message: str) -> Iterator[Block]:
    """The fenced blocks of a message, fences in pairs; the last may be open, since a message can be cut."""
    fence, language, indent, lines = "", "", False, []

    def block() -> Iterator[Block]:
        text = "\n".join(lines)
        text = (textwrap.dedent(text) if indent else text).strip("\n")
        if text.strip():
            yield Block(language, text)

    for line in message.replace("\r\n", "\n").split("\n"):
        if fence:
            closing = re.search(rf"{re.escape(fence)}{fence[0]}*(?P<after>[^{fence[0]}]*)$", line)
            before, after = (line[: closing.start()], closing["after"]) if closing else ("", "")
            if closing is None or (before.strip() and after.strip()):  # three marks within a line of the program
                lines.append(line)
                continue
            lines += [before] if before.strip() else []
            yield from block()
            fence, lines = "", []
            if not after.strip() or after[0].isspace():
                continue
            # The block before was never closed, and a language says that this fence opens another.
        opened = _OPENS[0].fullmatch(line) or _OPENS[1].fullmatch(line)
        if opened:
            fence, language = opened["fence"], opened["language"].strip()
            indent = bool(opened["before"]) and not opened["before"].strip()
    if fence:
        yield from block()


def program(message: str) -> str | None:
    """The program in a message: the last block that says it is Python, else the last that is a program by itself.

    What a model shows as the output of its program is a block too, so one whose fence names no language counts only
    if it parses and prints or assigns something. A block that says it is Python is a program though it does not
    parse: that it fails is for the execution to say. Without any block the message is one if it is Python as it
    stands.
    """
    found = list(blocks(message))
    if not found:
        bare = message.replace("\r\n", "\n").strip()
        return bare if _acts(bare) or (_statements(bare) and "\n" in bare and not _literal(bare)) else None
    tagged = [block.text for block in found if block.python and not _literal(block.text)]
    if tagged:
        return tagged[-1]
    plain = [block.text for block in found if not block.language and not _literal(block.text)]
    says = [block.text for block in found if _SAYS.search(block.text) and _acts(block.text)]
    acting = [text for text in plain if _acts(text)]
    broken = [text for text in plain if _statements(text) is None]
    return next((texts[-1] for texts in (says, acting, broken) if texts), None)


def prose(message: str) -> str | None:
    """The chain of thought in a message; None where it never says ``The answer is``.

    Whether it is the right answer is for the comparison with the gold to say.
    """
    bare = message.strip()
    return bare if ANSWER_TRIGGER.strip().lower() in bare.lower() else None


def read(message: str, kind: Kind) -> str | None:
    """The rationale of a kind in a message."""
    return program(message) if kind == "pot" else prose(message)


def why_not(message: str, kind: Kind, finish: str = "", refusal: str = "") -> str:
    """Why a message holds no rationale of a kind.

    Args:
        message: The message.
        kind: What was asked for.
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
    given = list(blocks(message)) or [Block("", message)]
    return BARE_VALUE if any(_literal(block.text) for block in given) else "no program"


def _statements(text: str) -> list[ast.stmt] | None:
    """The statements of a text; None if it is no Python."""
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _literal(text: str) -> bool:
    """Whether a text computes nothing: values as they are written, a line each."""
    body = _statements(text.strip())
    return bool(body) and all(isinstance(one, ast.Expr) and _value(one.value) for one in body)


def _value(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _acts(text: str) -> bool:
    """Whether a text is Python that does more than name values: it assigns, defines or prints."""
    body = _statements(text) or []
    return any(not isinstance(one, ast.Expr) for one in body) or (bool(body) and bool(_SAYS.search(text)))
