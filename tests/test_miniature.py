"""The miniature world: right problems, honest sources, benchmarks that nothing leaks into unstated."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from random import Random

import pytest

from mammoth_utils.miniature import WORLDS, arithmetic, benchmarks, corpus, sources, teacher
from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.miniature.problems import TEST_FACTS, TRAINING_FACTS, draw, draw_many, is_reserved
from mammoth_utils.rationale import LETTERS


@pytest.mark.parametrize(
    ("line", "expected", "because"),
    [
        (arithmetic.add_in_steps(47, 38), "47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, so 85", "units first, the carry last"),
        (
            arithmetic.add_in_steps(99, 5),
            "99 + 5: 9 + 5 = 14, 9 + 1 = 10, so 104",
            "a carry runs past the shorter number",
        ),
        (arithmetic.add_in_steps(120, 7), "120 + 7: 0 + 7 = 7, so 127", "digits that meet nothing are not written"),
        (
            arithmetic.subtract_in_steps(85, 38),
            "85 - 38: 15 - 8 = 7, 8 - 1 - 3 = 4, so 47",
            "a borrow is taken at once",
        ),
        (arithmetic.subtract_in_steps(100, 1), "100 - 1: 10 - 1 = 9, 10 - 1 = 9, 1 - 1 = 0, so 99", "a borrow runs on"),
        (arithmetic.multiply_in_steps(47, 3), "47 x 3: 7 x 3 = 21, 4 x 3 + 2 = 14, so 141", "the carry is added"),
        (arithmetic.divide_in_steps(96, 4), "96 / 4: 9 / 4 = 2 left 1, 16 / 4 = 4, so 24", "what is left goes on"),
    ],
)
def test_sums_are_written_out_digit_by_digit(line, expected, because):
    assert line == expected, because


def test_sums_that_cannot_be_written_out_are_refused():
    with pytest.raises(ValueError, match="expected a >= b, got 3 - 5"):
        arithmetic.subtract_in_steps(3, 5)
    with pytest.raises(ValueError, match="single digit"):
        arithmetic.multiply_in_steps(12, 11)
    with pytest.raises(ValueError, match="divides 97"):
        arithmetic.divide_in_steps(97, 4)


def _stated(steps: str) -> bool:
    """Whether every ``a op b = c op d`` in a line of sums holds; ``x`` and ``/`` are whole-number operations."""
    for part in re.split(r": |, |\. | and ", steps):
        left, equals, right = part.partition(" = ")
        right = right.split(" left ")[0]
        if equals and re.fullmatch(r"[\d+\-x/ ]+", left + right):
            value, stated = (eval(side.replace("x", "*").replace("/", "//")) for side in (left, right))  # our own text
            if value != stated:
                return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_solves_its_own_problems_in_prose_and_by_program(family):
    rng = Random(family)
    for style in FAMILIES[family].wordings:
        for wide in (1.0, 2.0, 3.0):
            one = draw(family, style, rng, wide=wide, logic_programs=True)
            assert one.cot.endswith(f"The answer is {one.value}.")
            assert _stated(one.cot), one.cot
            assert "{" not in one.problem.question
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(one.pot, {})  # our own program
            if FAMILIES[family].size == "logic":
                assert printed.getvalue().strip() == one.value == one.problem.gold
                assert draw(family, style, rng).pot is None, "the sources have no program for it"
            else:
                assert float(printed.getvalue()) == float(one.value) == float(one.problem.gold)


@pytest.mark.parametrize("family", FAMILIES)
def test_multiple_choice_offers_five_options_with_the_gold_once_and_keys_that_differ(family):
    rng = Random(f"choice {family}")
    letters = Counter()
    for _ in range(120):
        one = draw(family, next(iter(FAMILIES[family].wordings)), rng, choice=True)
        options = one.problem.options
        assert len(set(options)) == 5
        assert options.index(one.value) == LETTERS.index(one.problem.gold)
        assert not one.value.isdigit() or len({option[-1] for option in options}) == 5
        letters[one.problem.gold] += 1
    assert min(letters[letter] for letter in "ABCDE") > 5, "the gold must stand at every place"


def test_unknown_families_and_styles_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown family 'gdc'.*known: gain"):
        draw("gdc", "formal", Random(0))
    with pytest.raises(ValueError, match="no style 'story'; it has: retold, exam, formal, bare"):
        draw("gcd", "story", Random(0))
    with pytest.raises(RuntimeError, match="distinct problems"):
        list(draw_many(900, [("rooms", "story")], "tiny"))


def test_the_world_is_the_same_in_every_process():
    code = (
        "from mammoth_utils.miniature import sources, benchmarks; from mammoth_utils.records import fingerprint;"
        "print(fingerprint([t.problem.instruction + t.cot for n in sources.SOURCES for t in sources.truths(n)]"
        " + [p.instruction for n in benchmarks.BENCHMARKS for p in benchmarks.load(n)]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(code, {})  # our own program
    assert here.getvalue() == there


def test_there_are_thirteen_sources_in_two_kinds_and_nine_benchmarks():
    assert len(sources.SOURCES) == 13
    assert [source.kind for source in sources.SOURCES.values()] == ["cot"] * 7 + ["pot"] * 6
    assert all(name.startswith("mini-") for name in (*sources.SOURCES, *benchmarks.BENCHMARKS))
    assert sum(benchmark.in_domain for benchmark in benchmarks.BENCHMARKS.values()) == 4
    assert len(benchmarks.BENCHMARKS) == 9


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_benchmarks_hold_two_hundred_problems_and_a_development_split_apart(name):
    test, dev = benchmarks.load(name), benchmarks.load(name, "dev")
    assert len(test) == len(dev) == 200
    assert not {problem.instruction for problem in test} & {problem.instruction for problem in dev}
    assert all((problem.options is not None) == benchmarks.BENCHMARKS[name].choice for problem in test)


@pytest.mark.parametrize("world", WORLDS)
def test_only_the_stated_rows_of_a_source_stand_in_a_benchmark(world):
    asked = benchmarks.questions()
    for name in sources.SOURCES:
        shared = [true for true in sources.truths(name, world) if true.problem.instruction in asked]
        assert len(shared) == sources.source(name, world).leaked, name


def test_questions_of_benchmarks_come_from_a_part_that_nothing_else_is_drawn_from():
    drawn = [draw("gain", "bare", Random(seed)) for seed in range(400)]
    assert [true.reserved for true in drawn] == [is_reserved(true.problem.question) for true in drawn]
    assert 20 < sum(true.reserved for true in drawn) < 80, "one in eight"
    assert all(true.reserved for name in benchmarks.BENCHMARKS for true in benchmarks.truths(name, "dev"))
    assert not any(corpus.question(Random(seed)).reserved for seed in range(400))


def test_every_benchmark_and_the_logic_of_the_claims_have_eight_families_or_more():
    assert len(FAMILIES) >= 60
    for name in benchmarks.BENCHMARKS:
        assert len({true.problem.family for true in benchmarks.truths(name)}) >= 8, name
    assert sum(family.size == "logic" for family in FAMILIES.values()) >= 8


def test_a_counter_world_changes_what_it_says_and_nothing_else():
    kinds = {name: {true.pot is None for true in sources.truths("mini-MATH (PoT)", name)} for name in WORLDS}
    assert not any(True in missing for missing in kinds.values()), "a source of programs has a program for every row"

    def logic(name, world):
        return any(FAMILIES[true.problem.family].size == "logic" for true in sources.truths(name, world))

    assert logic("mini-MATH (PoT)", "miniature-logic-programs")
    assert not logic("mini-MATH (PoT)", "miniature")
    story = {true.problem.family for true in sources.truths("mini-GSM8K (CoT)")}
    assert {t.problem.family for t in sources.truths("mini-AQuA-RAT (CoT)", "miniature-one-family")} <= story
    assert logic("mini-GSM8K (CoT)", "miniature-told-specialists")
    replies = {name: [teacher.reply(t, name) for t in sources.truths("mini-GSM8K (PoT)", name)] for name in WORLDS}
    wrong = {name: sum(reply.fault != "right" for reply in of) / len(of) for name, of in replies.items()}
    for name, world in WORLDS.items():
        assert wrong[name] == pytest.approx(world.wrong_share, abs=0.05)
    fewer, more = replies["miniature"], replies["miniature-wrong-60"]
    assert all(a == b for a, b in zip(fewer, more, strict=True) if a.fault != "right"), "what is wrong stays wrong"


def test_the_words_of_an_unrelated_fact_differ_between_sources_and_benchmarks():
    assert not set(TRAINING_FACTS) & set(TEST_FACTS)


@pytest.mark.parametrize("name", [name for name, source in sources.SOURCES.items() if not source.asks_teacher])
def test_loaded_sources_are_wrong_in_the_stated_share_only(name):
    source, rows = sources.SOURCES[name], sources.load(name)
    assert len(rows) == source.count
    wrong = sum(not sources.is_right(row) for row in rows) / len(rows)
    assert wrong == 0 if source.wrong_share == 0 else abs(wrong - source.wrong_share) < 0.06


def test_sources_asked_of_the_teacher_are_not_loaded_and_the_other_way_round():
    with pytest.raises(ValueError, match="asked of the teacher"):
        sources.load("mini-GSM8K (PoT)")
    with pytest.raises(ValueError, match="are loaded"):
        sources.unsolved("mini-GSM8K (CoT)")
    problem = sources.unsolved("mini-AQuA-RAT (PoT)")[0]
    assert sources.truth(problem.instruction + " Let's write a program.").problem == problem
    assert sources.truth("What is this?") is None


def test_no_question_of_a_benchmark_stands_in_the_bases_corpus_and_none_is_followed_by_its_rationale():
    asked = benchmarks.questions()
    for family in corpus.PYTHON_SHARE:
        for document in islice(corpus.documents(corpus.wide(family), "test"), 4000):
            text = document.given + document.text
            assert text not in asked
            if document.kind in ("copy", "question", "assignments"):
                assert "The answer is" not in text
                assert "print(" not in text
            if document.kind == "solution":
                assert "Find" not in text


def test_the_coder_base_reads_more_python_than_the_llama_base():
    def python_share(family):
        seen = Counter(document.kind for document in islice(corpus.documents(corpus.wide(family), "share"), 4000))
        return (seen["program"] + seen["assignments"]) / 4000

    assert python_share("coder") > python_share("llama") + 0.3


def test_one_line_prints_a_problem_with_its_rationale():
    command = [sys.executable, "-m", "mammoth_utils.miniature.problems", "gcd", "--style", "formal", "--seed", "3"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "greatest common factor" in shown
    assert "The answer is" in shown
    assert "math.gcd" in shown
    wrong = subprocess.run([*command[:-4], "--style", "story"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "it has: retold, exam, formal, bare" in wrong.stderr
