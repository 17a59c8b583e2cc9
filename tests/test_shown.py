"""The problems that the introduction shows: of this world, asked as the code asks, run and graded again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import evaluation_records
import pytest

from mammoth_utils import prompts, records
from mammoth_utils.grading import answer_from_execution, grade, read_answer
from mammoth_utils.miniature import WORLD, benchmarks, sources
from mammoth_utils.programs import run_program
from mammoth_utils.report import claims
from mammoth_utils.report.claim_definitions import CLAIMS
from mammoth_utils.vocabulary import RULES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

import introduction_blocks as introduction  # noqa: E402  (the workflow is scripts beside each other, no package)
import keep_shown  # noqa: E402

SHOWN = introduction.read_shown()
PROBLEMS = {name: SHOWN[name] for name in ("numbers", "logic")}
ATTEMPTS = [(name, number) for name in PROBLEMS for number in (0, 1)]


def problem_of(shown):
    return next(problem for problem in benchmarks.load(shown["benchmark"]) if problem.id == shown["id"])


def test_the_shown_problems_are_of_this_world_and_of_these_versions():
    again = "run `make book`, then `python workflow/keep_shown.py` and `python workflow/generated_text.py all`"
    assert SHOWN["inputs"]["world"] == WORLD, again
    assert not records.outdated(SHOWN["inputs"]["versions"], records.versions(*SHOWN["inputs"]["versions"])), again
    for shown in PROBLEMS.values():
        problem = problem_of(shown)
        assert (problem.question, problem.gold) == (shown["question"], shown["gold"])
        assert list(problem.options or ()) == (shown["options"] or [])


@pytest.mark.parametrize(("name", "number"), ATTEMPTS)
def test_a_shown_completion_was_asked_for_as_the_code_asks(name, number):
    shown = PROBLEMS[name]
    attempt = shown["attempts"][number]
    assert attempt["prompt"] == prompts.prompt(problem_of(shown), attempt["kind"])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("name", "number"), ATTEMPTS)
def test_a_shown_completion_has_the_verdict_that_is_shown(name, number, rule):
    shown = PROBLEMS[name]
    attempt, how = shown["attempts"][number], {"benchmark": shown["benchmark"].removeprefix("mini-"), "rule": rule}
    how["benchmark"] = {"mmlu": "mmlu_math"}.get(how["benchmark"], how["benchmark"])
    options = shown["options"]
    if attempt["kind"] == "pot":
        execution = run_program(attempt["completion"], isolation="auto")
        assert (execution.status, execution.printed) == (attempt["status"], attempt["printed"])
        answer = answer_from_execution(execution.output, options=options, **how)
    else:
        answer = read_answer(attempt["completion"], options=options, **how)
    verdict = grade(answer, shown["gold"], options=options, **how)
    assert (verdict.outcome, verdict.reason) == tuple(attempt["verdicts"][rule][key] for key in ("outcome", "reason"))


def test_the_shown_rows_are_of_the_sources_and_one_program_was_dropped_for_its_answer():
    rows = SHOWN["rows"]
    true = {row.problem.instruction: row for row in sources.load("mini-GSM8K (CoT)")}
    assert true[rows["prose"]["instruction"]].text == rows["prose"]["output"]
    assert prompts.pot_instruction(rows["prose"]["instruction"]) == rows["program"]["instruction"]
    for name, kept in (("program", True), ("dropped", False)):
        row = rows[name]
        assert run_program(row["output"], isolation="auto").output.strip() == row["history"]["output"]
        assert (row["history"]["output"] == row["gold"]) is kept


BOTH_SIZES = [evaluation_records.record("hybrid", 0.5), evaluation_records.record("hybrid", 0.8, size="3m")]


def row(pot: str, cot: str, **more) -> dict:
    verdicts = {kind: dict.fromkeys(RULES, {"outcome": outcome}) for kind, outcome in (("pot", pot), ("cot", cot))}
    ran = {"status": "ok", "printed": "3\n"}
    return {"field": "logic", "decodings": verdicts, "attempts": [{"kind": "pot", "execution": ran | more}]}


def test_the_rules_of_choice_say_which_problem_is_shown():
    assert keep_shown.shows_numbers(row("correct", "incorrect"), row("correct", "incorrect"))
    assert not keep_shown.shows_numbers(row("correct", "no_answer"), row("correct", "no_answer"))
    prose = row("", "correct")
    assert keep_shown.shows_logic(row("incorrect", ""), prose)
    assert not keep_shown.shows_logic(row("incorrect", "", status="error"), prose), "the program has to run"
    assert not keep_shown.shows_logic(row("incorrect", "") | {"field": "arithmetic"}, prose)


def test_what_a_model_wrote_is_no_markdown():
    assert introduction.plain("2 * 3 * 4 = 24, x_1 < y_2 | $5\nnext") == (
        "2 \\* 3 \\* 4 = 24, x\\_1 \\< y\\_2 \\| \\$5\\\nnext"
    )
    assert "&lt;b&gt;" in introduction.preformatted("<b>")


def test_verdicts_in_words_name_what_holds_what_does_not_and_what_is_open():
    lines = introduction.verdict_lines(claims.evaluate_claims(BOTH_SIZES), CLAIMS, "here")
    assert lines == "- **Reproduced here** (1 of 9 claims): the larger model is ahead by 30.0 points (C6).\n"
    worse = [BOTH_SIZES[1], evaluation_records.record("unfiltered", 0.9), evaluation_records.record("hybrid", 0.5)]
    lines = introduction.verdict_lines(claims.evaluate_claims(worse), CLAIMS, "here")
    assert (
        "**Not reproduced here** (1 of 9 claims): that rationales kept by execution beat unfiltered ones (-40.0 ["
        in lines
    )


def test_verdicts_in_words_tell_what_the_world_does_not_test_and_where_the_rules_differ():
    results = [one for one in claims.evaluate_claims(BOTH_SIZES) if one.id == "C6"]
    untested = [replace(one, counter_parts=one.parts) for one in results]
    assert introduction.verdict_lines(untested, CLAIMS, "here").startswith(
        "- **Reproduced here, but also where it had to fail, and so not tested** (1 of 1 claims): the larger model"
    )
    wide = replace(results[0].parts[0].interval, estimate=-0.02, low=-0.06, high=0.02)
    part = replace(results[0].parts[0], verdict=claims.CANNOT_TELL, interval=wide, published_rule=0.09)
    untold = [replace(one, verdict=claims.CANNOT_TELL, parts=(part,)) for one in results]
    assert (
        "whether the larger model is ahead (-2.0 [-6.0, 2.0], +9.0 by the published rule) (C6)"
        in introduction.verdict_lines(untold, CLAIMS, "here")
    )


def test_the_real_model_comes_first_where_it_was_measured(monkeypatch):
    results = claims.evaluate_claims([])
    measured = [replace(results[0], verdict=claims.REPRODUCED), *results[1:]]
    monkeypatch.setattr(introduction.measured_models, "read", lambda world: [])
    monkeypatch.setattr(introduction.claims, "evaluate_claims", lambda given, definitions: measured)
    assert [where for _, _, where in introduction.measured_worlds()] == [introduction.REAL, introduction.MINIATURE]
    monkeypatch.setattr(introduction.claims, "evaluate_claims", lambda given, definitions: results)
    assert introduction.measured_worlds() == []


def test_later_work_names_its_source():
    block = introduction.later_block()
    assert block.count("](https://") == block.count("- **") >= 8
    assert block.index(":::{dropdown}") > block.index("- **"), "some stand open, the others are folded"
