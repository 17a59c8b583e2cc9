"""College-Math by Self-Instruct: our own seeds are right, new problems are new, and a new start replays the old."""

from __future__ import annotations

import random
import re

import pytest
from scripted_teacher import completion, scripted

from mammoth_utils.curation.teacher import self_instruct
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.prompt_files import prompt_for
from mammoth_utils.curation.teacher.self_instruct import confirm_answers, parse, seeds, write_problems
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.grading import grade, read_answer
from mammoth_utils.programs import run_programs

TOPICS = (
    "How many subgroups does a cyclic group of order {} have?",
    "What is the rank of the identity matrix with {} rows?",
    "Of {} fair coins, how many heads are expected when every coin is thrown twice?",
    "Which integer is the limit of ({}n + 1)/n for growing n?",
    "How many edges has the complete graph on {} vertices?",
    "Evaluate the integral of x from 0 to {}.",
)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "answers.sqlite") as opened:
        yield opened


class Author:
    """Writes two problems a request, and some of them badly; solves every problem that is put alone."""

    def __init__(self):
        self.written = 0

    def __call__(self, body):
        asked = body["messages"][1]["content"]
        if "### Problem" not in asked:
            right = "7" if "wrong" not in asked else "8"
            return 200, completion(f"It follows.\nThe answer is {right}."), {}
        self.written += 1
        number = self.written
        topic = TOPICS[number % len(TOPICS)].format(number)
        word = "wrong" if number % 2 else "sound"
        rng = random.Random(number)
        story = " ".join("".join(rng.choices("aeioklmnrst", k=6)) for _ in range(12))
        blocks = [
            f"### Problem\nA {word} variant, {story}: {topic}\n### Solution\nSo.\nThe answer is 7.",
            f"### Problem\n{seeds()[0].problem.replace('84', '96')}\n### Solution\nSo.\nThe answer is 2.",
            "### Problem\nAn unsolved one?",
        ]
        return 200, completion("\n\n".join(blocks)), {}


def test_the_answers_of_the_seeds_are_those_that_programs_compute():
    assert len(seeds()) >= 6
    assert len({seed.field for seed in seeds()}) >= 5
    executions = run_programs([seed.check for seed in seeds()], isolation="auto")
    for seed, execution in zip(seeds(), executions, strict=True):
        assert execution.status == "ok", (seed.problem, execution.error)
        answer = read_answer(seed.solution, benchmark="theoremqa", rule="corrected")
        for claimed in (execution.output.strip(), seed.answer):
            verdict = grade(answer, claimed, benchmark="theoremqa", rule="corrected")
            assert verdict.correct, (seed.problem, claimed, verdict)


def test_the_seeds_read_as_the_teacher_is_to_write():
    (again,) = parse(seeds()[2].text)
    assert (again.problem, again.solution) == (seeds()[2].problem, seeds()[2].solution)
    assert again.answer == seeds()[2].answer


@pytest.mark.parametrize(
    ("message", "expected", "because"),
    [
        ("### Problem\nP?\n### Solution\nS.\nThe answer is $\\frac{1}{2}$.", [("P?", "$\\frac{1}{2}$")], "TeX"),
        ("## Problem 1:\nP?\n## Solution:\nThe answer is 3", [("P?", "3")], "other marks of a heading"),
        ("Here.\n### Problem\nP?\n### Solution\nThe answer is 0.25.\n\n### Problem\nQ?", [("P?", "0.25"), ("Q?", "")],
         "prose before, and a last one that was cut"),
        ("### Problem\nP?\n### Solution\nThe answer is unclear to me. Maybe 4", [("P?", "unclear to me. Maybe 4")],
         "what it says last is its answer"),
        ("I will not.", [], "a refusal"),
        ("### Problem\nP?\n### Solution\nThe answer is **3**.\n\n---\n\n"
         "### Problem\nQ?\n### Solution\nThe answer is 4.\n***",
         [("P?", "3"), ("Q?", "4")], "a bold answer, and rules between problems"),
        ("**Problem 1:**\nP?\n\n**Solution:**\n**The answer is 3.**", [("P?", "3")], "bold headings, a bold sentence"),
        ("**Problem 1.** P?\n**Solution.** S. **The answer is** 3.", [("P?", "3")], "texts behind bold headings"),
        ("### **Problem 1**\nP?\n### **Solution**\nThe answer is $2^{**}$.", [("P?", "$2^{**}$")], "both marks"),
        ("### Problem\nWhat is **2**?\n---\n### Solution\nThe answer is __2**3__.", [("What is **2**?", "2**3")],
         "a power is no bold"),
    ],
)  # fmt: skip
def test_problems_are_read_from_a_message(message, expected, because):
    assert [(one.problem, one.answer) for one in parse(message)] == expected, because


def test_new_problems_are_kept_and_each_other_has_its_reason(store):
    with scripted(Author()) as served:
        who = Teacher(served.base_url, "m", concurrency=1)
        written = write_problems(12, who, store, Budget(0))
        assert not written.unfinished
        assert len(written.rationales) == 12
        assert {(one.stage, one.reason) for one in written.dropped} == {
            ("teacher", "like an earlier problem"), ("teacher", "no solution"),
            ("teacher", self_instruct.SURPLUS)}  # fmt: skip
        blocks = len(written.rationales) + len(written.dropped)
        assert blocks == 3 * len(written.answers), "each problem that was written is kept or has a reason"
        row = written.rationales[0]
        assert row.problem.gold == "", "nobody validated it"
        assert row.history["claimed"] == "7"
        assert row.history["prompt"] == prompt_for("College-Math (CoT)").label
        assert row.history["seeds"] == self_instruct.seed_hash()
        asked = len(served.bodies)
        again = write_problems(12, who, store, Budget(0))
        assert len(served.bodies) == asked, "a new start replays what is stored"
        assert again.rationales == written.rationales
        more = write_problems(20, who, store, Budget(0))
        assert more.rationales[: len(written.rationales)] == written.rationales


def test_the_dry_run_sends_nothing_and_counts_whole_rounds(store):
    with scripted(Author()) as served:
        who = Teacher(served.base_url, "m", price="1,1", budget_usd=1)
        found = self_instruct.plan_problems(33, who, store)
        assert (found.requests, served.bodies) == (2 * self_instruct.PER_ROUND, [])
        assert 0 < found.dollars <= found.dollars_most
        assert "4 new problems from each request" in str(found)


def test_later_rounds_show_what_was_written_before(store):
    with scripted(Author()) as served:
        write_problems(12, Teacher(served.base_url, "m", concurrency=1), store, Budget(0))
        shown = [len(re.findall("variant", body["messages"][1]["content"])) for body in served.bodies]
    assert shown == [0] * self_instruct.PER_ROUND + [self_instruct.GROWN] * (len(shown) - self_instruct.PER_ROUND)


def test_a_teacher_with_nothing_new_and_an_empty_purse_end_it_aloud(store):
    with scripted(lambda body: (200, completion(seeds()[0].text), {})) as served:
        written = write_problems(5, Teacher(served.base_url, "m"), store, Budget(0))
        assert written.unfinished == "3 rounds in a row gave nothing new"
        assert len(served.bodies) == 3 * self_instruct.PER_ROUND
        poor = Teacher(served.base_url, "dear", price="1,1", budget_usd=1e-6)
        assert "the budget would be passed" in write_problems(5, poor, store, Budget(1e-6)).unfinished


def test_a_second_solution_confirms_an_answer_or_throws_the_row_out(store):
    with scripted(Author()) as served:
        who = Teacher(served.base_url, "m", concurrency=1)
        written = write_problems(8, who, store, Budget(0))
        kept, dropped, answers = confirm_answers(written.rationales, who, store, Budget(0))
    assert len(answers) == len(written.rationales) == len(kept) + len(dropped)
    assert kept
    assert all("sound" in row.problem.question and row.problem.gold == "7" for row in kept)
    assert dropped
    assert all("wrong" in one.rationale.problem.question for one in dropped)
    assert {one.reason for one in dropped} == {"second answer differs"}


def test_the_last_problem_of_a_message_that_was_cut_goes_and_the_others_say_how_it_ended(store):
    def cut(body):
        status, said, headers = author(body)
        text = said["choices"][0]["message"]["content"].split("\n\n")[0]
        number = author.written
        said = completion(
            f"{text}\n\n### Problem\nFind {number} zq{number}x.\n### Solution\nThe answer is 1", model="m-2"
        )
        said["choices"][0]["finish_reason"] = "length"
        return status, said, headers

    author = Author()
    with scripted(cut) as served:
        written = write_problems(8, Teacher(served.base_url, "m", concurrency=1), store, Budget(0))
    assert len(written.rationales) == 8
    assert {one.reason for one in written.dropped} == {"cut at max_tokens"}
    for row in (*written.rationales, *(one.rationale for one in written.dropped)):
        assert (row.history["finish"], row.history["answered_by"]) == ("length", "m-2")
        assert row.problem.question.startswith("Find") == (row not in written.rationales)


@pytest.mark.parametrize(
    ("text", "finish", "refusal", "reason"),
    [
        (None, "length", None, "cut at max_tokens"),
        (None, "stop", "I will not.", "refused: I will not."),
        ("Of course! The answer is yes.", "stop", None, "no problem in the message"),
        ("Of course!", "stop", None, "no problem in the message"),
    ],
)
def test_a_message_without_a_problem_is_told_with_its_reason(store, text, finish, refusal, reason):
    def none(body):
        said = completion(text)
        said["choices"][0]["finish_reason"] = finish
        said["choices"][0]["message"]["refusal"] = refusal
        return 200, said, {}

    with scripted(none) as served:
        written = write_problems(4, Teacher(served.base_url, "m"), store, Budget(0))
    assert written.unfinished == "3 rounds in a row gave nothing new"
    assert [one.reason for one in written.dropped] == [reason] * len(written.answers)
    assert all(one.rationale.history["request"] for one in written.dropped)
