"""The format of each primary source: its file to raw rows, and a raw row to a ``Rationale`` with its gold.

A row function takes one row, its number and the source's name; it touches no file, so that the same function runs in
a loop, in a pool or on an engine. What it returns:

- a ``Rationale`` where the row holds a solution,
- a ``Problem`` where a teacher must still write one,
- None where the row belongs to no training split.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.prompts import ANSWER_TRIGGER, CHOICE_PREFILL
from mammoth_utils.rationale import Problem, Rationale

Row = dict[str, Any]
Converted = Rationale | Problem | None

# The last line of these rationales is written here from the gold, so that line cannot disagree with it.
BY_GOLD = {"answer_line": "gold"}
# GSM8K marks each sum as <<48/2=24>>24 for a calculator; MathInstruct has the sums without the marks.
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_OPTION = re.compile(r"^\(?([A-E])\)\s*", re.MULTILINE)


def gsm8k_text(answer: str) -> tuple[str, str]:
    """Return rationale and gold of a GSM8K answer: no calculator marks, ``#### x`` as ``The answer is x``.

    Thousands separators leave the gold alone, as MathInstruct's rows have them.

    Raises:
        ValueError: If the answer has no ``####``.
    """
    prose, mark, gold = answer.rpartition("####")
    if not mark:
        raise ValueError(f"expected '#### <answer>' in a GSM8K answer, got {answer[-60:]!r}")
    gold = gold.strip().replace(",", "")
    return f"{_CALCULATOR.sub('', prose).rstrip()}\n{ANSWER_TRIGGER}{gold}", gold


def gsm8k(row: Row, number: int, name: str) -> Converted:
    """Convert GSM8K's own form; the difficulty is the lines of the solution, which the set counts as steps."""
    text, gold = gsm8k_text(row["answer"])
    steps = row["answer"].rpartition("####")[0].strip().count("\n") + 1
    problem = Problem(f"gsm8k/train/{number}", row["question"], gold, set=name, field="Pre-Algebra")
    history = {"level": f"{steps} step{'s' if steps > 1 else ''}", **BY_GOLD}
    return Rationale(problem, "cot", text, name, "human", history)


def rft(row: Row, number: int, name: str) -> Converted:
    """Convert a sampled solution as gsm8k-ScRel writes it: ``query``, and ``response`` in GSM8K's form.

    The sample's own answer stands after ``####``; ``gold`` is GSM8K's, joined by the reader, or empty.
    """
    text, _ = gsm8k_text(row["response"])
    gold = str(row.get("gold", ""))
    problem = Problem(f"gsm8k-rft/{number}", row["query"], gold, set=name, field="Pre-Algebra")
    return Rationale(problem, "cot", text, name, "Llama")


def last_boxed(solution: str) -> str | None:
    """Return the content of the last ``\\boxed`` of a MATH solution, braces matched; None if there is none."""
    start = solution.rfind("\\boxed")
    if start < 0:
        return None
    rest = solution[start + len("\\boxed") :]
    if not rest.startswith("{"):
        return rest.split("$")[0].strip() or None  # a few solutions write \boxed 5
    depth = 0
    for index, sign in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[1:index]
    return None


def math(row: Row, number: int, name: str) -> Converted:
    """Convert MATH's own form: the gold is the last box, the field its ``type``, the difficulty its ``level``."""
    gold = last_boxed(row["solution"]) or ""
    id = f"math/train/{row.get('file') or number}"
    problem = Problem(id, row["problem"], gold, set=name, field=row["type"], family=row["type"])
    text = f"{row['solution']}\n{ANSWER_TRIGGER}{gold}" if gold else row["solution"]
    return Rationale(problem, "cot", text, name, "human", {"level": row["level"], **(BY_GOLD if gold else {})})


def math_unsolved(row: Row, number: int, name: str) -> Converted:
    """Convert a MATH problem without its solution: its final answer is enough for a teacher's program."""
    id = f"math/train/{row.get('file') or number}"
    return Problem(id, row["problem"], row["answer"], set=name, field=row["type"], family=row["type"])


def aqua(row: Row, number: int, name: str) -> Converted:
    """Convert AQuA-RAT's own form: ``question``, ``options`` such as ``A)21``, ``rationale``, ``correct``."""
    options = tuple(_OPTION.sub("", option, count=1).strip() for option in row["options"])
    problem = Problem(row.get("id") or f"aqua/train/{number}", row["question"], row["correct"], options, name)
    text = f"{CHOICE_PREFILL}{row['rationale']}\n{ANSWER_TRIGGER}{problem.gold}."
    return Rationale(problem, "cot", text, name, "human", dict(BY_GOLD))


def aqua_flan(row: Row, number: int, name: str) -> Converted:
    """Convert a line of FLAN's AQuA-RAT: question with options, ``(LETTER)``, rationale; line breaks as two signs."""
    first, letter, prose = (cell.replace("\\n", "\n") for cell in row["cells"])
    question, _, listed = first.partition("\nOptions:\n")
    options = [text.strip() for text in _OPTION.split(listed)[2::2]]
    own = {"id": f"aqua/train-flan/{number}", "question": question, "options": options, "rationale": prose,
           "correct": letter.strip("()")}  # fmt: skip
    return aqua(own, number, name)


def lila(row: Row, number: int, name: str) -> Converted:
    """Convert Lila's form: ``Input``, a list of programs, a list of answers and the split; other splits give None."""
    if row.get("split", "train") != "train":
        return None
    set_, category = row.get("set", "lila"), row.get("category", "")
    gold = str(row["Output Answer"][0]) if row.get("Output Answer") else ""
    problem = Problem(f"{set_}/{number}", row["Input"].strip(), gold, set=name, field=category, family=category)
    text, history = line_ends(row["Output Program"][0])
    return Rationale(problem, "pot", text, name, "human", history)


def numglue_htl(row: Row, number: int, name: str) -> Converted:
    """Convert MathInstruct's NumGLUE programs as Human-Think-Language quotes them: without gold answers."""
    problem = Problem(f"numglue/train/{number}", row["question"].strip(), "", set=name)
    text, history = line_ends(row["program"])
    return Rationale(problem, "pot", text, name, "human", history)


def line_ends(program: str) -> tuple[str, dict[str, str]]:
    """Return a program with plain line ends, and a note if it had Windows': a model would learn to write those."""
    if "\r" not in program:
        return program.strip("\n"), {}
    return program.replace("\r\n", "\n").replace("\r", "\n").strip("\n"), {"line_ends": "crlf"}


def camel(row: Row, number: int, name: str) -> Converted:
    """Convert CAMEL's form: ``message_1`` asks, ``message_2`` solves; no gold, and nobody validated it."""
    topic = (row.get("topic") or row.get("topic;") or "").strip()  # one stored copy spells the key with a semicolon
    problem = Problem(f"camel-math/{number}", row["message_1"].strip(), "", set=name, field=topic,
                      family=(row.get("sub_topic") or "").strip())  # fmt: skip
    return Rationale(problem, "cot", row["message_2"].strip(), name, "GPT-4")


def theoremqa(row: Row, number: int, name: str) -> Converted:
    """Convert TheoremQA's form, for a teacher: a question with a picture cannot be asked in text and gives None."""
    if row.get("Picture"):
        return None
    gold = row["Answer"]
    gold = str(gold) if not isinstance(gold, list) else json.dumps(gold)
    return Problem(f"theoremqa/{number}", row["Question"], gold, set=name, field=row.get("field", ""),
                   family=row.get("subfield", ""))  # fmt: skip


class DamagedError(ValueError):
    """A file of a source that is cut, is none, or holds a row of another form; the message names file and row."""


# What a cut or spoilt file, a value of another type or a missing key raises, wherever in reading a row that shows.
_WRONG = (KeyError, TypeError, IndexError, AttributeError, ValueError, EOFError, OSError, zlib.error)


@contextlib.contextmanager
def at(path: Path, number: int) -> Iterator[None]:
    """Raise what goes wrong in the block as a ``DamagedError`` that names the file and the row, counted from 1."""
    try:
        yield
    except DamagedError:  # of a file that is read besides, which it names
        raise
    except _WRONG as error:
        name = f"{path.parent.name}/{path.name}"  # of the data folder, since the word goes into records
        message = str(error).replace(str(path), name).removeprefix(f"{name}, ")
        what = message if type(error) is ValueError else f"{type(error).__name__}: {message}"
        raise DamagedError(f"{name}, row {number}: {what}") from error


def numbered(path: Path, rows: Iterator[Row]) -> Iterator[tuple[int, Row]]:
    """Yield a file's rows, counted from 1.

    Raises:
        DamagedError: If the file is cut or spoilt, naming it and the row behind the last good one.
    """
    end: Row = {}
    for number in itertools.count(1):
        with at(path, number):
            row = next(rows, end)
        if row is end:
            return
        yield number, row


def flan_lines(path: Path) -> Iterator[Row]:
    """Yield lines of three tab-separated cells.

    Raises:
        ValueError: If a line has another number of cells, naming it.
    """
    with gzip.open(path, "rt", encoding="utf8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\n").split("\t")
            if len(cells) != 3:
                raise ValueError(f"{path}, line {number}: expected 3 tab-separated cells, got {len(cells)}")
            yield {"cells": cells}


def zipped(path: Path) -> Iterator[Row]:
    """Yield the JSON objects of an archive, a file each, by name.

    Raises:
        ValueError: If the file is no archive, or holds no JSON object.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip archive: {error}") from error
    with archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".json"))
        if not names:
            raise ValueError(f"{path} holds no .json file; it has {', '.join(archive.namelist()[:5]) or 'nothing'}")
        for name in names:
            yield json.loads(archive.read(name))


def rft_rows(path: Path) -> Iterator[Row]:
    """Yield gsm8k-ScRel's lines, each with the gold of the GSM8K question that it repeats, if GSM8K lies beside it."""
    golds: dict[str, str] = {}
    beside = path.with_name("gsm8k_train.jsonl.gz")
    if beside.is_file():
        for number, row in numbered(beside, records.read_jsonl(beside)):
            with at(beside, number):
                golds[row["question"].strip()] = gsm8k_text(row["answer"])[1]
    for row in records.read_jsonl(path):
        yield {**row, "gold": golds.get(row["query"].strip(), "")}


def lila_rows(path: Path) -> Iterator[Row]:
    """Yield Lila's lines with the set and category of the file's name: ``lila_mathqa_gain`` is MathQA's gain."""
    _, set_, category = path.name.split(".")[0].split("_", 2)
    for row in records.read_jsonl(path):
        yield {**row, "set": f"{set_}/{category}", "category": category}


@dataclass(frozen=True)
class Reader:
    """One form in which a source can lie in the data folder.

    Attributes:
        pattern: Its file below the data folder, or a pattern for several.
        rows: A file to its raw rows.
        convert: A raw row to what it is here.
        full: Rows of the whole source; 0 where that is not known.
    """

    pattern: str
    rows: Callable[[Path], Iterator[Row]]
    convert: Callable[[Row, int, str], Converted]
    full: int = 0
    note: str = ""

    def files(self, folder: Path) -> list[Path]:
        """Return the files that are there, by name."""
        return sorted(path for path in folder.glob(self.pattern) if path.is_file())
