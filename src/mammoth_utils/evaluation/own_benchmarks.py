"""A reader's own benchmark: problems from a file, graded as one of the paper's benchmarks is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammoth_utils import row_files
from mammoth_utils.evaluation.benchmarks import BENCHMARKS, OWN, Benchmark, thinned
from mammoth_utils.grading import bare_options, gold_letter, gold_text, grade
from mammoth_utils.rationale import LETTERS, Problem
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import check_known

COLUMNS = {
    "question": ("question", "problem", "instruction", "prompt"),
    "gold": ("gold", "answer", "target", "label"),
    "options": ("options", "choices"),
}
SHOWN = 5  # faults that a message names


def is_file(name: str) -> bool:
    """Return whether a benchmark's name is a file: it has a folder in front or a known ending."""
    return "/" in name or "\\" in name or name.lower().endswith(row_files.ENDINGS)


def read_benchmark(name: str, graded_as: str = "") -> Benchmark:
    """Return what is known of a reader's own benchmark, whose file is read and checked row by row.

    It is called ``own-`` and the file's name, so that it never stands for a published one.

    Args:
        name: A file of rows with a question, a gold and perhaps options, under one of ``COLUMNS``.
        graded_as: The benchmark whose grading rules apply; empty takes ``aqua`` where every row has options,
            ``numglue`` where some have, else ``math``.

    Raises:
        ValueError: If the file cannot be read, or rows are no problems; the message names them by their lines.
    """
    file = row_files.find_file(name)
    if graded_as:
        check_known("graded_as", graded_as, tuple(BENCHMARKS))
    problems, faults, seen = [], [], {}
    for place, row in row_files.read_rows(file):
        try:
            problem = _problem(row, len(problems) + 1)
        except ValueError as error:
            faults.append(f"{place}: {error}")
            continue
        if problem.id in seen:
            faults.append(f"{place}: its id {problem.id!r} stands at {seen[problem.id]} already")
        seen[problem.id] = place
        problems.append((place, problem))
    rules = graded_as or _rules([problem for _, problem in problems])
    faults += [f"{place}: {fault}" for place, problem in problems if (fault := _ungradable(problem, rules))]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ValueError(f"{file}: {len(faults)} rows are no problems. {'; '.join(faults[:SHOWN])}{more}")
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", file.name.split(".")[0]).strip("-.") or "benchmark"
    choice = all(problem.options is not None for _, problem in problems)
    return Benchmark(f"own-{stem}", f"own-{stem}", False, choice, len(problems), str(file), rules, OWN)


def read_problems(benchmark: Benchmark, limit: int = 0) -> list[Problem]:
    """Return the problems of a reader's own benchmark that ``read_benchmark`` has checked, as ``benchmarks.load``."""
    rows = row_files.read_rows(Path(benchmark.file))
    problems = [_problem(row, number) for number, (_, row) in enumerate(rows, 1)]
    name = benchmark.name
    # Answers are read as the set's are whose rules apply.
    return thinned([replace(problem, id=f"{name}/{problem.id}", set=benchmark.rules) for problem in problems], limit)


def read_question(question: str, answer: str = "", options: str = "") -> Problem:
    """Return a question of the reader's own as a problem, checked as the rows of ``read_benchmark`` are.

    Args:
        answer: The reference answer; of multiple choice the letter or the text of an option. Empty for none: the
            problem's ``gold`` is then empty, and nothing can be graded.
        options: The options with ``|`` between them, or a list in JSON; empty for an open question.

    Raises:
        ValueError: If question, answer or options cannot be used, with the reason.
    """
    listed = options if options.lstrip().startswith(("[", "{")) else json.dumps(options.split("|"))
    row = {"question": question, "gold": answer.strip(), "options": listed if options.strip() else None}
    problem = _problem(row, 1, gold_needed=bool(row["gold"]))
    problem = replace(problem, id="own/1", set=_rules([problem]))
    if problem.gold and (fault := _ungradable(problem, problem.set)):
        raise ValueError(fault)
    return problem


def _rules(problems: Sequence[Problem]) -> str:
    """Return the benchmark whose grading rules apply to problems that name none."""
    chosen = [problem.options is not None for problem in problems]
    return "aqua" if all(chosen) else "numglue" if any(chosen) else "math"


def _problem(row: Record, number: int, gold_needed: bool = True) -> Problem:
    """Return a row as a problem, or raise ValueError with what it lacks."""
    values = {}
    for column, names in COLUMNS.items():
        values[column] = next((row[name] for name in names if row.get(name) not in (None, "")), None)
        if values[column] is None and (column == "question" or (column == "gold" and gold_needed)):
            raise ValueError(f"no {column} (looked for {', '.join(names)}); the row has {', '.join(row) or 'nothing'}")
    if not isinstance(values["question"], str) or not values["question"].strip():
        raise ValueError(f"the question is {values['question']!r}; expected text")
    if isinstance(values["gold"], dict | bool):
        raise ValueError(f"the gold is {values['gold']!r}; expected text or a number")
    options = _options(values["options"])
    about = {key: str(row.get(key) or "") for key in ("field", "family")}
    if values["gold"] is None:
        return Problem(str(row.get("id") or number), values["question"].strip(), "", options, **about)
    gold = gold_text(values["gold"])
    if options is not None:
        letter = gold_letter(int(gold) if gold.isdigit() and gold not in options else values["gold"], options)
        if letter is None:
            raise ValueError(f"the gold {gold!r} is none of the {len(options)} options; expected a letter or its text")
        gold = letter
    elif "####" in gold:  # GSM8K's worked answers
        gold = gold.rpartition("####")[2].replace(",", "").strip()
    if not gold:
        raise ValueError("the gold is empty")
    return Problem(str(row.get("id") or number), values["question"].strip(), gold, options, **about)


def _options(value: Any) -> tuple[str, ...] | None:
    """Return options given as a list, as an object by letters, or as either in JSON (in CSV); None for none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"the options are {value!r}; expected a list, in CSV as JSON") from None
    if isinstance(value, dict) and "text" in value:  # {"text": [...], "label": [...]}, as hubs keep them
        value = value["text"]
    try:
        options = bare_options(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if options is not None and len(options) < 2:
        raise ValueError(f"the options are {value!r}; expected a list of 2 to {len(LETTERS)}")
    return options


def _ungradable(problem: Problem, rules: str) -> str:
    """Return why a gold cannot be graded under the corrected rule; empty if it can."""
    verdict = grade(problem.gold, problem.gold, rules, "corrected", problem.options)
    if verdict.outcome == "correct":
        return ""
    return f"the gold {problem.gold!r} cannot be graded as {rules} is ({verdict.reason})"
