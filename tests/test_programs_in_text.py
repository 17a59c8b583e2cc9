"""Which text is a program: one table, and verdicts that are the same live, stored and of a teacher's message."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoth_utils.curation.teacher import messages
from mammoth_utils.evaluation import attempts
from mammoth_utils.grading import (
    RULES,
    corrected_program,
    grade,
    grade_file,
    is_bare_value,
    program_in,
    program_under,
    published_program,
)
from mammoth_utils.grading.programs_in_text import is_program
from mammoth_utils.programs import run_programs

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "programs_in_text.jsonl").read_text(encoding="utf8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["because"][:60])
def test_the_program_of_a_completion_under_each_rule(case):
    assert corrected_program(case["completion"], case["kind"]) == case["program"], case["because"]
    assert published_program(case["completion"]) == case["published_program"], case["because"]


def live(rows: list[dict], run=None) -> list[dict[str, tuple[str | None, str]]]:
    """Answer and outcome of rows under each rule, as decoding has them."""
    unread = [attempts.start_attempt(row["kind"], "", row["completion"]) for row in rows]
    programs = [attempt.program for attempt in unread if attempt.program is not None]
    executions = iter((run or partial(run_programs, isolation="auto"))(programs))
    ran = [attempt if attempt.program is None else replace(attempt, execution=next(executions)) for attempt in unread]
    return [
        {
            rule: (read.answers[rule], grade(read.answers[rule], row["gold"], row["benchmark"], rule).outcome)
            for rule in RULES
        }
        for row, attempt in zip(rows, ran, strict=True)
        for read in [attempts.read_answers(attempt, row["benchmark"])]
    ]


def stored(rows: list[dict], folder: Path, run=None) -> list[dict[str, tuple[str | None, str]]]:
    """The same, as a file of completions has them."""
    file = folder / "completions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return [
        {rule: (row.answers[rule].text if row.answers[rule] else None, row.verdicts[rule].outcome) for rule in RULES}
        for row in grade_file(file, RULES, run=run)
    ]


def test_verdicts_are_the_tables_both_live_and_stored(tmp_path):
    ours, theirs = live(CASES), stored(CASES, tmp_path)
    for case, decoded, read in zip(CASES, ours, theirs, strict=True):
        assert read["corrected"][1] == case["expected"], (case["because"], read)
        assert decoded == read, case["because"]


def test_a_fenced_program_prints_nothing_under_the_published_rule(tmp_path):
    rows = [case for case in CASES if case["published_program"] and case["program"]]
    rows = [case for case in rows if case["program"] != case["published_program"]]
    assert len(rows) > 20
    for case, read in zip(rows, stored(rows, tmp_path), strict=True):
        with pytest.raises(SyntaxError):
            ast.parse(case["published_program"])
        assert read["published"] == (None, "no_answer"), case["because"]


def pretended(programs: Iterable[str]) -> Iterable[SimpleNamespace]:
    """Executions without a process: what does not parse fails, the rest prints its length or leaves it as a value."""
    for program in programs:
        try:
            ast.parse(program)
            status = "ok"
        except (SyntaxError, ValueError):
            status = "error"
        printed = f"{len(program)}\n" if "print(" in program else ""
        yield SimpleNamespace(status=status, printed=printed, output=printed or f"{len(program)}", error="", seconds=0)


PIECES = (
    "x = 6 * 7", "print(x)", "print(6 *", "ans = 42", "for i in range(3):", "    y = i", "def solution():",
    "    return 42", "import math", "6 * 7", "42", "The answer is 42.", "So we get 42.", "Here is the code:",
    "```python", "```", "```output", "~~~", "```python3", "#### 42", "\\boxed{42}", "### Instruction:", "x = 3 = 4.",
    "# The answer is 7", 's = """', "", "  ", "Answer: 42", "A", "(", ")", "'", "x, y = 1, 2", "print(x, y)",
)  # fmt: skip
FENCED = st.builds(
    "{0}{1}\n{2}\n{0}".format,
    st.sampled_from(["```", "~~~"]),
    st.sampled_from(["python", "", "output", "json"]),
    st.lists(st.sampled_from(PIECES), max_size=3).map("\n".join),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), FENCED, st.text(max_size=12)), max_size=7).flatmap(
    lambda pieces: st.sampled_from(["\n", "\n", "\n", " ", "\r\n"]).map(lambda joint: joint.join(pieces))
)
ROWS = st.fixed_dictionaries(
    {
        "completion": TEXTS,
        "kind": st.sampled_from(["pot", "pot", "cot"]),
        "benchmark": st.sampled_from(["gsm8k", "math", "aqua", "theoremqa", "simuleq"]),
        "gold": st.just("42"),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(ROWS, min_size=1, max_size=20))
def test_live_and_stored_verdicts_agree_on_any_text(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows", numbered=True)
    assert live(rows, pretended) == stored(rows, folder, pretended)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(TEXTS)
def test_what_holds_of_the_program_in_any_text(text):
    assert corrected_program(text, "cot") is None
    assert published_program(text) == (text.split("### Instruction")[0] if "print(" in text else None)
    program = corrected_program(text, "pot")
    assert program == program_under("corrected", text, "pot")
    if program is None:
        return
    assert program.strip()
    published = published_program(text)
    if published is not None and published != program:
        with pytest.raises((SyntaxError, ValueError)):
            ast.parse(published)
    try:
        ast.parse(program)
    except (SyntaxError, ValueError):
        return
    # Without its fence a block that only names or annotates something is prose; nothing else is found in a program.
    assert program_in(program) in (program, None)
    if program_in(program) and not set("`~\r") & set(program):
        assert program_in(f"Here is the code:\n\n```python\n{program}\n```\nThat is all.") == program.strip("\n")


def test_a_teachers_message_holds_the_same_programs():
    compared = 0
    for case in CASES:
        program, message = case["program"], case["completion"]
        if (
            program
            and "###" not in message
            and not is_bare_value(program)
            and ("```" in message or is_program(program))
        ):
            assert messages.program(message) == program.strip(), case["because"]
            compared += 1
    assert compared > 40
