"""Hybrid decoding: which prompts are asked, when prose follows a program, and which attempt counts under each rule."""

from __future__ import annotations

import dataclasses
import itertools
import threading

import pytest
from scripted_decoder import ScriptedDecoder

from mammoth_utils import prompts
from mammoth_utils.evaluation import attempts as reading
from mammoth_utils.evaluation import hybrid
from mammoth_utils.evaluation.completion_store import CompletionStore
from mammoth_utils.evaluation.scheduler import Schedule
from mammoth_utils.programs import Sandbox
from mammoth_utils.rationale import Problem

OPEN = Problem("gsm8k/0", "What is 6 times 7?", "42", set="gsm8k")
CHOICE = Problem("aqua/0", "What is 6 times 7?", "B", ("41", "42", "43"), set="aqua")
NUMGLUE = Problem("numglue/0", "Which is warmer?", "A", ("ice", "fire"), set="numglue")

OPEN_POT = prompts.prompt(OPEN, "pot")
OPEN_COT = prompts.prompt(OPEN, "cot")
CHOICE_POT = prompts.prompt(CHOICE, "pot")
CHOICE_COT = prompts.prompt(CHOICE, "cot")


class Fixed(ScriptedDecoder):
    """A decoder that gives fixed completions."""

    def __init__(self, **completions: str) -> None:
        super().__init__()
        self.completions = completions

    def write(self, prompt):
        kind = (
            "match" if "Please find the closest option" in prompt else "pot" if prompts.POT_TRIGGER in prompt else "cot"
        )
        return self.completions[kind]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))


_weights = itertools.count()


def ask(problems, decoder, decodings, timeout_s=5.0):
    """Each problem's attempts by way of decoding; every call has a store of its own."""
    store, settings = CompletionStore(f"weights {next(_weights)}"), hybrid.PromptSettings(100)
    with Sandbox(timeout_s=timeout_s, isolation="auto") as sandbox:
        attempts, failures = Schedule(problems, decodings, settings, store, lambda: decoder, sandbox).run()
    assert not failures
    return attempts


def decoded(problem, decoding, timeout_s=5.0, **completions):
    decoder = Fixed(**completions)
    (attempts,) = ask([problem], decoder, [decoding], timeout_s)
    return attempts[decoding], [request.prompt for request in decoder.asked]


@pytest.mark.parametrize(("program", "kinds", "because"), [
    ("print(6 * 7)", ["pot"], "a program that prints an answer is enough"),
    ("print(6 / 0)", ["pot", "cot"], "it raised"),
    ("x = 3\nprint()", ["pot", "cot"], "it printed nothing"),
    ("print('none')", ["pot", "cot"], "it printed no number"),
    ("print(6 *", ["pot", "cot"], "it does not parse"),
    ("print(1)\nraise ValueError", ["pot", "cot"], "the authors' runner drops what a failing program printed"),
    ("The answer is 41.", ["pot"], "prose at the program's prompt is read as text, and 41 is an answer"),
    ("I cannot say.", ["pot", "cot"], "prose without an answer"),
])  # fmt: skip
def test_prose_is_asked_for_on_an_open_question_exactly_where_the_program_gave_nothing(program, kinds, because):
    attempts, asked = decoded(OPEN, "hybrid", pot=program, cot="The answer is 42.")
    assert [attempt.kind for attempt in attempts] == kinds, because
    assert asked == [OPEN_POT, OPEN_COT][: len(kinds)], because


def test_hybrid_decoding_asks_for_prose_on_multiple_choice_and_the_prompt_begins_the_response():
    attempts, asked = decoded(CHOICE, "hybrid", cot="6 * 7 = 42. The answer is B.")
    assert asked == [CHOICE_COT]
    assert CHOICE_COT.endswith("### Response:" + prompts.CHOICE_PREFILL)
    assert attempts[0].answers == {"published": "B", "corrected": "B"}


def test_numglues_questions_with_options_are_asked_as_open_ones_without_the_prefill():
    attempts, asked = decoded(NUMGLUE, "hybrid", pot="I cannot say?", cot="The answer is A")
    assert [attempt.kind for attempt in attempts] == ["pot", "cot"] or attempts[0].answers["published"]
    assert not any(prompt.endswith(prompts.CHOICE_PREFILL) for prompt in asked)


@pytest.mark.parametrize(("program", "asked", "because"), [
    ("print('B')", [CHOICE_POT + prompts.CHOICE_PREFILL], "a program first, the response begun for it too"),
    ("print()", [CHOICE_POT + prompts.CHOICE_PREFILL, CHOICE_COT], "a program that printed nothing"),
    ("So it is (B)", [CHOICE_POT + prompts.CHOICE_PREFILL], "no program: never asked again"),
])  # fmt: skip
def test_the_papers_runner_asks_for_a_program_on_multiple_choice_and_falls_back_only_on_empty_output(
    program, asked, because
):
    attempts, seen = decoded(CHOICE, "paper", pot=program, cot="The answer is B.", match="unused")
    assert seen == asked, because
    assert reading.counting_attempt(attempts, "published").answers["published"] == "B"


def test_the_papers_runner_has_the_model_map_an_answer_that_is_no_option():
    attempts, seen = decoded(CHOICE, "paper", pot="print(42)", cot="unused", match="The closest is (B).")
    assert [attempt.kind for attempt in attempts] == ["pot", "match"], "42 is an output, so prose is not asked for"
    assert seen[1] == (
        prompts.alpaca("Please find the closest option to 42. The options are (A) 41 (B) 42 (C) 43")
        + prompts.CHOICE_PREFILL
    )
    assert reading.counting_attempt(attempts, "published").answers["published"] == "B"
    assert reading.answering_kind(attempts) == "p"
    assert reading.counting_attempt(attempts, "corrected").kind == "pot", "the value of an option is an answer there"


def test_the_second_call_quotes_a_hundred_characters_and_never_runs_what_comes_back():
    attempts, seen = decoded(CHOICE, "paper", pot=f"print('{'7' * 200}')", cot="unused", match="print('B')")
    assert f"to {'7' * 100}. The" in seen[1]
    assert attempts[-1].execution is None


@pytest.mark.parametrize(("decoding", "asked"), [("cot", [OPEN_COT]), ("pot", [OPEN_POT])])
def test_one_kind_alone_never_falls_back(decoding, asked):
    attempts, seen = decoded(OPEN, decoding, pot="print()", cot="hm")
    assert seen == asked
    assert reading.answering_kind(attempts) == "-"


def test_several_ways_share_one_set_of_completions_and_ask_nothing_twice():
    decoder = Fixed(pot="print()", cot="The answer is B 42.")
    ways = ask([OPEN, CHOICE], decoder, ("hybrid", "cot", "pot"))
    assert sorted(request.prompt for request in decoder.asked) == sorted([OPEN_POT, OPEN_COT, CHOICE_POT, CHOICE_COT])
    assert [[attempt.kind for attempt in made["hybrid"]] for made in ways] == [["pot", "cot"], ["cot"]]
    assert ways[0]["hybrid"][1] == ways[0]["cot"][0]


def test_two_problems_with_one_prompt_ask_once():
    decoder = Fixed(pot="print(42)", cot="unused")
    twin = dataclasses.replace(OPEN, id="numglue/7", set="numglue")
    attempts = ask([OPEN, twin], decoder, ["hybrid"])
    assert len(decoder.asked) == 1
    assert attempts[0] == attempts[1]


class Numbers(Fixed):
    def write(self, prompt):
        number = int(prompt.split("number ")[1].split("?")[0])
        if prompts.POT_TRIGGER in prompt:
            return f"print({number})" if number % 2 else "print()"
        return f"The answer is {number}."


NUMBERS = [Problem(f"svamp/{n}", f"Which is number {n}?", str(n), set="svamp") for n in range(1, 9)]


def test_many_problems_keep_their_order():
    made = [attempts["hybrid"] for attempts in ask(NUMBERS, Numbers(), ["hybrid"])]
    assert [reading.counting_attempt(attempts, "published").answers["published"] for attempts in made] == [
        one.gold for one in NUMBERS
    ]
    assert "".join(reading.answering_kind(attempts) for attempts in made) == "pcpcpcpc"


def test_a_fallback_joins_the_queue_while_other_problems_are_still_to_be_asked():
    """The decoder holds the second program back until the first one's prose has been asked for."""
    asked_for_prose = threading.Event()

    class Waiting(Numbers):
        def write(self, prompt):
            if prompts.POT_TRIGGER not in prompt:
                asked_for_prose.set()
            elif "number 1?" in prompt:
                assert asked_for_prose.wait(60), "the prose for number 2 waits for the program of number 1"
            return super().write(prompt)

        def run(self, queue):
            workers = [threading.Thread(target=Numbers.run, args=(self, queue)) for _ in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    made = ask(NUMBERS[:2], Waiting(), ["hybrid"])
    assert [reading.answering_kind(attempts["hybrid"]) for attempts in made] == ["p", "c"]


@pytest.mark.parametrize(("completion", "published", "corrected", "because"), [
    ("x = 6 * 7\nprint(x)", "42", "42", "both read the output"),
    ("ans = 6 * 7", None, "42", "the authors' rule reads the text, after the last equals sign: '6 * 7' gives 7"),
    ("```python\nprint(42)\n```", None, "42", "the authors' runner runs the fence and gets nothing"),
    ("print(42)\n1/0", None, None, "a program that failed has said nothing"),
    ("We print(x) and so the answer is 42", None, "42", "prose is read as prose"),
])  # fmt: skip
def test_one_execution_serves_both_rules(completion, published, corrected, because):
    (attempt,), _ = decoded(OPEN, "pot", pot=completion)
    assert attempt.answers["corrected"] == corrected, because
    if not completion.startswith("ans"):
        assert attempt.answers["published"] == published, because
    else:
        assert attempt.answers["published"] != "42", because


def test_an_endless_program_is_a_status_and_not_an_exception():
    program = "while True:\n    pass\nprint(1)"
    attempts, _ = decoded(OPEN, "hybrid", timeout_s=0.5, pot=program, cot="The answer is 42.")
    assert attempts[0].execution.status == "timeout"
    assert reading.counting_attempt(attempts, "published").answers["published"] == "42"


def test_an_unknown_decoding_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown decoding 'beam'; known: hybrid, paper, cot, pot"):
        ask([OPEN], Fixed(), ["beam"])


@pytest.mark.parametrize(("name", "rules", "choice"), [
    ("mini-mmlu/test", "mmlu_math", True), ("deepmind", "mathematics", False), ("mini-svamp/dev", "svamp", False),
    ("my own set", "my own set", False),
])  # fmt: skip
def test_a_problems_set_says_how_it_is_asked_and_graded(name, rules, choice):
    problem = Problem("x", "q", "A", ("1", "2") if choice else None, set=name)
    assert (hybrid.rules_of(problem), hybrid.asked_as_choice(problem)) == (rules, choice)
