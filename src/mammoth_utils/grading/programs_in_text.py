"""The one place that says which part of a text is a program, and under which rule it is run.

It serves live decoding, stored completions and a teacher's messages. Nothing here runs a program.

* Published rule: a completion that contains ``print(`` is run, cut where the model begins a next problem.
* Corrected rule: the kind that was asked for counts. A chain of thought is read as prose. A ``pot`` completion is run
  if it is Python, or holds Python in a fence; a program that was cut off is a broken program, and has no answer. Prose
  with fenced cells and their quoted outputs, as MathCoder writes it, is read as text.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

PRINT_CALL = "print("
NEXT_PROBLEM = "### Instruction"  # what an unstopped model writes after its answer

# An opening fence with its language. Words may stand before one of backticks; a single backtick there is inline code.
_OPENINGS = (
    re.compile(r"(?P<before>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^`]*)"),
    re.compile(r"(?P<before>[^`]*?)(?P<fence>`{3,})[ \t]*(?P<language>[^\s`]*)[ \t]*"),
)
_CELL_FENCE = re.compile(r"^[ \t]*```([^\n`]*)$", re.M)
_FRAMES = frozenset(("", "json", "text", "txt", "plaintext", "latex", "tex", "math", "markdown", "md", "answer"))
_JSON = re.compile(r"\s*\{\s*\"")
_PROGRAMS_OWN = re.compile(r"^[ \t]*(?:print\(|import |from \w+ import |def \w+\()", re.MULTILINE)
_FENCE_LINE = re.compile(r"^[ \t]*(?:`{3}|~{3})", re.MULTILINE)
_QUOTED_OUTPUT = re.compile(r"^[ \t]*```[ \t]*output[ \t]*$", re.MULTILINE)
_PYTHON = re.compile(r"\{?\.?i?py(?:thon)?[ \t]?[\d.]*\}?(?:[\s:,].*)?", re.IGNORECASE)
_GIVES_A_VALUE = re.compile(r"\bprint\(|^ans\w*[ \t]*=|^def solution\b", re.MULTILINE)
_CODE_LINE = re.compile(
    r"import |from \w[\w.]* import|def |class \w+[(:]|return\b|print\(|for |while |if |elif |else:|try:|except\b|with "
    r"|[A-Za-z_][\w.]*(?:\[[^]]*\])?(?:, ?[A-Za-z_][\w.]*)*\s*(?:[-+*/%]|//|\*\*)?=[^=]"
)
_STRING = re.compile(
    r"""(?<!\w)[rbfu]{0,2}(?:\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)""",
    re.DOTALL | re.IGNORECASE,
)
_COMMENT = re.compile(r"(?:^|(?<=\s))#(?!\d)[^\n]*", re.MULTILINE)
_STATED = re.compile(r"the answer is|\\boxed", re.IGNORECASE)
_STATED_LAST = re.compile(r"^####[ \t]*[-+$€£]*[\d.,/]+[ \t]*$", re.MULTILINE)  # and no "#### Step 2"
_NUMERIC = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.UAdd, ast.USub)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language as the fence names it, and its text."""

    language: str
    text: str

    @property
    def python(self) -> bool:
        """Return whether the fence says that it is Python."""
        return bool(_PYTHON.fullmatch(self.language))


def published_program(completion: str) -> str | None:
    """Return what the authors' runner executes of a completion; None where it reads the text.

    Prose that mentions ``print(`` is run too, and so is a fence, which is no Python and prints nothing.
    """
    return completion.split(NEXT_PROBLEM)[0] if PRINT_CALL in completion else None


def corrected_program(completion: str, kind: str) -> str | None:
    """Return the program of a completion under the corrected rule; None where its text is read.

    Only completions of which the kind ``"pot"`` was asked for hold programs.
    """
    if kind != "pot":
        return None
    text = completion.split(NEXT_PROBLEM)[0]
    if is_program(text):
        return text
    if _QUOTED_OUTPUT.search(text):
        return None
    program = program_in(text)
    if program is not None and not _may_answer(program) and _states_an_answer(without_cells(text)[0]):
        return None  # prose that shows a line of Python and answers in words
    return program


def program_under(rule: str, completion: str, kind: str) -> str | None:
    """Return the program of a completion under a rule, None where the rule reads its text.

    Where both rules see a program and the two differ, the published one is no Python and prints nothing: a text that
    is Python as it stands is the program under both.
    """
    return published_program(completion) if rule == "published" else corrected_program(completion, kind)


def program_to_run(programs: Mapping[str, str | None]) -> str | None:
    """Return the one program whose execution serves all rules: the corrected rule's, else the published one's."""
    return programs.get("corrected") or programs.get("published")


def program_in(text: str, broken: bool = True) -> str | None:
    """Return the program in a text that was asked to be one; None for prose.

    A text that is Python as it stands is the program. Otherwise the last fenced block that says it is Python is, with
    the earlier blocks whose names it uses; without such a block the last that prints or assigns something. A fenced
    block that says it is Python is a program though it does not parse: that it fails is for the execution to say.
    Outside of fences, sentences before and behind a program are left out.

    Args:
        broken: Whether an unfenced text counts that does not parse, but is mostly code and states no answer in words.
    """
    if is_program(text):
        return text
    blocks = list(fenced_blocks(text))
    fence = _FENCE_LINE.search(text)
    if fence and is_program(head := text[: fence.start()].strip("\n")):
        blocks.insert(0, Block("python", head))  # only its closing fence was written
    return _fenced_program(blocks) if blocks else _unfenced_program(text, broken)


def is_program(text: str) -> bool:
    """Return whether a whole text is Python that does something: ``42``, ``Yes`` and ``Answer: 5`` parse and do not.

    A list in brackets counts, since its value is what is written; ``1,200`` is a number and not two.
    """
    return _acts(text) or _computes(text)


def is_bare_value(text: str) -> bool:
    """Return whether a text computes nothing: values as they are written, a line each."""
    body = _statements(text.strip())
    return bool(body) and all(isinstance(statement, ast.Expr) and _literal(statement.value) for statement in body)


def fenced_blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a text that are not empty; the last may be open, since a text can be cut."""
    fence, language, indented, lines = "", "", False, []

    def block() -> Iterator[Block]:
        content = "\n".join(lines)
        content = (textwrap.dedent(content) if indented else content).strip("\n")
        if content.strip():
            yield Block(language, content)

    for line in text.replace("\r\n", "\n").split("\n"):
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
        opened = _OPENINGS[0].fullmatch(line) or _OPENINGS[1].fullmatch(line)
        if opened:
            fence, language = opened["fence"], opened["language"].strip()
            indented = bool(opened["before"]) and not opened["before"].strip()
    if fence:
        yield from block()


def without_cells(text: str) -> tuple[str, list[tuple[int, int]], int]:
    """Return the text with fenced cells blanked, the spans of quoted outputs, and where the last cell ends.

    MathCoder's completions are prose with ``python`` and ``output`` cells; a cell may be cut off by the end. A fence
    without a language, or of JSON or text, that holds no program is prose in a frame, and only its marks are blanked.
    """
    marks = list(_CELL_FENCE.finditer(text)) if "```" in text else []
    parts, outputs, at, last = [], [], 0, 0
    for opening, closing in zip_longest(marks[::2], marks[1::2]):
        end = closing.end() if closing else len(text)
        inside = slice(opening.end(), closing.start() if closing else len(text))
        language = opening.group(1).strip()
        parts += [text[at : opening.start()]]
        if language.lower() in _FRAMES and _is_prose(text[inside].strip()):
            parts += [" " * len(opening.group()), text[inside], " " * (end - inside.stop)]
        else:
            parts += [" " * (end - opening.start())]
            last = end
        if language == "output":
            outputs.append((inside.start, inside.stop))
        at = end
    return "".join(parts) + text[at:], outputs, last


def _is_prose(framed: str) -> bool:
    """Return whether what a fence frames is no program: a value, words, or JSON."""
    return not _acts(framed) or bool(_JSON.match(framed)) or ("\n" not in framed and PRINT_CALL not in framed)


def is_program_alone(text: str) -> bool:
    """Return whether a whole text is a program that prints, imports or defines something, and no prose at all."""
    return _PROGRAMS_OWN.search(text) is not None and is_program(text.strip())


def _fenced_program(blocks: list[Block]) -> str | None:
    """Return the last block that is a program, with what it needs of those before it.

    What a model shows as the output of its program is a block too, so one whose fence names no language counts only if
    it parses and prints or assigns something, or is mostly code.
    """
    blocks = [block for block in blocks if _statements(block.text) != []]  # comments alone are none
    plain = [block for block in blocks if not block.language and not is_bare_value(block.text)]
    groups = (
        [block for block in blocks if block.python and not is_bare_value(block.text)],
        [block for block in blocks if _GIVES_A_VALUE.search(block.text) and _acts(block.text)],
        [block for block in plain if _acts(block.text)],
        [block for block in plain if _statements(block.text) is None and _mostly_code(block.text)],
        [block for block in plain if _computes(block.text)],
        [block for block in blocks if (block.python or not block.language) and is_bare_value(block.text)],
    )
    chosen = next((group[-1] for group in groups if group), None)
    if chosen is None:
        return None
    parts, needed = [chosen.text], _names(chosen.text)[0]
    place = max(at for at, block in enumerate(blocks) if block is chosen)
    for block in reversed(blocks[:place]):
        uses, binds = _names(block.text)
        if needed & binds:
            parts.insert(0, block.text)
            needed = (needed - binds) | uses
    return "\n".join(parts)


def _unfenced_program(text: str, broken: bool) -> str | None:
    if is_program(text.strip()):
        return text.strip()
    if _states_an_answer(text):
        return None
    lines = text.splitlines()
    code = [at for at, line in enumerate(lines) if _CODE_LINE.match(line.lstrip())]
    if code:
        middle = textwrap.dedent("\n".join(lines[code[0] : code[-1] + 1]))
        if _GIVES_A_VALUE.search(middle) and _acts(middle):
            return middle
    return text if broken and _mostly_code(text) else None


def _states_an_answer(text: str) -> bool:
    """Return whether a text says its answer in words, and not in a string or a comment of a program."""
    words = _COMMENT.sub("", _STRING.sub("", text))
    return bool(_STATED.search(words) or _STATED_LAST.search(text))


def _may_answer(program: str) -> bool:
    """Return whether a program prints or leaves a computed value; one that was cut counts, and answers nothing."""
    body = _statements(program)
    value = body is None or bool(_GIVES_A_VALUE.search(program)) or isinstance(body[-1], ast.Expr)
    return value and not is_bare_value(program)


def _mostly_code(text: str) -> bool:
    """Return whether most lines look like code or continue it; comments and empty lines do not count."""
    code, count, before = 0, 0, False
    for line in text.splitlines():
        bare = line.strip()
        if bare and not bare.startswith("#"):
            before = bool(_CODE_LINE.match(bare)) or (before and line[0] in " \t)]}")
            code, count = code + before, count + 1
    return 2 * code > count


@lru_cache(maxsize=8)
def _statements(text: str) -> list[ast.stmt] | None:
    """Return the statements of a text; None if it is no Python."""
    try:
        with warnings.catch_warnings():  # a model's "\d" in a string is nothing to warn a reader of
            warnings.simplefilter("ignore")
            return ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _acts(text: str) -> bool:
    """Return whether a text is Python that assigns, defines, repeats or prints."""
    body = _statements(text) or []
    idle = (ast.Expr, ast.Pass, ast.Break, ast.Continue)
    return any(
        not isinstance(statement, idle) and not (isinstance(statement, ast.AnnAssign) and statement.value is None)
        for statement in body
    ) or (bool(body) and bool(_GIVES_A_VALUE.search(text)) and _computes(text))


def _computes(text: str) -> bool:
    """Return whether a text is Python that calls something, or ends in arithmetic on numbers or a list in brackets."""
    body = _statements(text)
    if not body:
        return False
    if any(isinstance(node, (ast.Call, ast.comprehension)) for statement in body for node in ast.walk(statement)):
        return True
    last = body[-1].value if isinstance(body[-1], ast.Expr) else None
    if isinstance(last, (ast.List, ast.Set, ast.Dict)) or (isinstance(last, ast.Tuple) and text.strip()[0] == "("):
        return _literal(last)
    return isinstance(last, ast.BinOp) and not is_bare_value(text) and all(map(_is_number_arithmetic, ast.walk(last)))


def _is_number_arithmetic(node: ast.AST) -> bool:
    return isinstance(node, _NUMERIC) and (
        not isinstance(node, ast.Constant) or isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    )


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _names(text: str) -> tuple[set[str], set[str]]:
    """Return the names that a block needs from elsewhere, and those that it binds; none for what does not parse."""
    needed: set[str] = set()
    bound: set[str] = set()
    for statement in _statements(text) or ():
        loaded, stored = set(), set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else stored).add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                stored.add(node.name)
            elif isinstance(node, ast.alias):
                stored.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.arg):
                stored.add(node.arg)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            own: set[str] = {node.id for part in ast.walk(statement) if isinstance(part, ast.comprehension)
                             for node in ast.walk(part.target) if isinstance(node, ast.Name)}  # fmt: skip
        elif isinstance(statement, ast.AugAssign):
            own, loaded = set(), loaded | stored
        else:
            own = stored
        needed |= loaded - own - bound - set(dir(builtins))
        bound |= stored
    return needed, bound
