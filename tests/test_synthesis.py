"""The teacher is asked once, paid within the budget, and its miniature is wrong at the stated rate."""

from __future__ import annotations

import ast

import pytest

from mammoth_utils.curation.teacher import live_requests, messages, synthesis
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget, Ledger
from mammoth_utils.curation.teacher.live_requests import OVER_BUDGET
from mammoth_utils.curation.teacher.prompt_files import load_prompt
from mammoth_utils.curation.teacher.synthesis import ask
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.miniature import WORLDS, sources, teacher
from mammoth_utils.rationale import Problem

SOURCE = "mini-TheoremQA (PoT)"


@pytest.fixture
def problems() -> list[Problem]:
    return sources.unsolved(SOURCE)[:24]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "answers.sqlite") as opened:
        yield opened


def test_answers_come_in_the_order_of_the_problems_and_none_is_asked_twice(problems, store):
    with teacher.serve() as served:
        who = Teacher(served.base_url, served.model)
        first = ask(problems[:10], who, store, Budget(0))
        assert served.requests == 10
        both = ask(problems, who, store, Budget(0))
        assert served.requests == len(problems), "the ten stored answers were not asked again"
        assert [answer.problem for answer in both] == problems
        assert both[:10] == first


def test_a_store_that_was_closed_goes_on_in_another_process_and_at_another_port(problems, tmp_path):
    with teacher.serve() as served, Store(tmp_path / "answers.sqlite") as opened:
        ask(problems, Teacher(served.base_url, served.model), opened, Budget(0))
    with teacher.serve() as served, Store(tmp_path / "answers.sqlite") as opened:
        ask(problems, Teacher(served.base_url, served.model), opened, Budget(0))
        assert served.requests == 0


def test_a_busy_teacher_is_asked_again(problems, store):
    with teacher.serve(busy=5) as served:
        answers = ask(problems, Teacher(served.base_url, served.model, concurrency=3), store, Budget(0))
        assert all(answer.text for answer in answers)
        assert served.requests == len(problems) + 5


def test_the_same_question_gets_the_same_answer_from_another_server(problems, tmp_path):
    texts = []
    for number in range(2):
        with teacher.serve() as served, Store(tmp_path / f"{number}.sqlite") as opened:
            texts.append([a.text for a in ask(problems, Teacher(served.base_url, served.model), opened, Budget(0))])
    assert texts[0] == texts[1]


def test_two_equal_problems_in_one_list_are_one_request(problems, store):
    with teacher.serve() as served:
        answers = ask([problems[0], problems[0]], Teacher(served.base_url, served.model), store, Budget(0))
        assert served.requests == 1
        assert answers[0].text == answers[1].text


def asked_truths():
    return [true for name, one in sources.SOURCES.items() if one.asks_teacher for true in sources.truths(name)]


OFTEN_WRONG = "miniature-wrong-60"


def test_a_quarter_of_the_programs_is_wrong_and_the_rest_is_the_truth():
    truths = asked_truths()
    replies = [teacher.reply(true) for true in truths]
    wrong = [one for one in replies if one.fault != teacher.RIGHT]
    assert len(wrong) / len(replies) == pytest.approx(WORLDS["miniature"].wrong_share, abs=0.04)
    assert {one.fault for one in wrong} == set(teacher.FAULTS)
    for true, one in zip(truths, replies, strict=True):
        assert (one.program == true.pot) == (one.fault == teacher.RIGHT), true.problem.instruction


@pytest.mark.parametrize("fault", teacher.FAULTS)
def test_a_fault_is_what_its_name_says(fault):
    found = [(true, one) for true in asked_truths() if (one := teacher.reply(true, OFTEN_WRONG)).fault == fault]
    assert found
    for true, one in found:
        if fault == "syntax":
            with pytest.raises(SyntaxError):
                ast.parse(one.program)
            continue
        ast.parse(one.program)
        if fault == "constant":
            assert one.program.startswith("answer = ")
        if fault == "loop":
            assert "while" in one.program
        if fault in ("number", "operation"):
            assert one.program.count("\n") == true.pot.count("\n")


def test_constants_are_right_by_luck_now_and_then():
    constants = [(t, r) for t in asked_truths() if (r := teacher.reply(t, OFTEN_WRONG)).fault == "constant"]
    lucky = sum(one.program.startswith(f"answer = {true.value}\n") for true, one in constants)
    assert 0 < lucky < len(constants)


def test_a_problem_that_the_teacher_does_not_know_gets_prose(store):
    unknown = Problem("x", "What is the colour of the sky?", "blue")
    with teacher.serve() as served:
        (answer,) = ask([unknown], Teacher(served.base_url, served.model), store, Budget(0))
    assert answer.text
    assert messages.program(answer.text) is None


def test_an_unknown_model_is_refused_by_name(problems, store):
    with teacher.serve() as served, pytest.raises(TeacherError, match=f"known: {served.model}"):
        ask(problems, Teacher(served.base_url, "gpt-of-tomorrow"), store, Budget(0))


def test_an_endpoint_that_is_down_is_said_to_be(problems, store, monkeypatch):
    monkeypatch.setattr(live_requests, "RETRIES", 0)
    with teacher.serve() as served:
        url, model = served.base_url, served.model
    with pytest.raises(TeacherError, match="12 times in a row.*no connection.*refused"):
        ask(problems, Teacher(url, model), store, Budget(0))


def test_an_unknown_price_is_refused_before_the_first_request(problems, store):
    who = Teacher("https://teacher.example/v1", "model-without-a-price", budget_usd=5.0)
    with pytest.raises(TeacherError, match="price of 'model-without-a-price'.*gpt-4o-mini"):
        ask(problems, who, store, Budget(5.0))


def test_a_priced_teacher_without_a_budget_is_refused(problems, store):
    with pytest.raises(TeacherError, match="budget_usd is 0"):
        ask(problems, Teacher("https://teacher.example/v1", "gpt-4o-mini"), store, Budget(0))


def test_a_remote_teacher_without_a_key_is_refused_by_the_variables_name(problems, store, monkeypatch):
    monkeypatch.delenv(live_requests.API_KEY, raising=False)
    with pytest.raises(TeacherError, match=live_requests.API_KEY):
        ask(problems, Teacher("https://teacher.example/v1", "free", price="0,0"), store, Budget(0))


@pytest.mark.parametrize("price", ["1", "1,2,3", "cheap,dear", "-1,2"])
def test_a_price_that_is_no_pair_is_refused(price):
    with pytest.raises(ValueError, match=r"0\.15,0\.60"):
        Teacher("https://teacher.example/v1", "x", budget_usd=1, price=price).prices()


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://[::1]:9/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("https://localhost.example.com/v1", False),
    ],
)
def test_only_this_machine_and_private_networks_are_free(url, local):
    assert Teacher(url, "x").local is local


def test_the_budget_is_never_passed_and_what_is_left_says_so(problems, tmp_path):
    with teacher.serve() as served, Store(tmp_path / "answers.sqlite") as opened:
        free = Teacher(served.base_url, served.model)
        most = free.most_a_request_costs(load_prompt("pot").messages(problems[0]))
        assert most == 0
        dear = Teacher(served.base_url, served.model, price="100,100", budget_usd=0.3, concurrency=2)
        budget = Budget(dear.budget_usd)
        answers = ask(problems, dear, opened, budget)
        given = [answer for answer in answers if answer.text is not None]
        assert 0 < len(given) < len(problems)
        assert {answer.error for answer in answers if answer.text is None} == {OVER_BUDGET}
        ledger = Ledger(dear.prices())
        ledger.add(SOURCE, answers)
        assert budget.spent_usd == pytest.approx(ledger.as_dict()["total"]["dollars"])
        assert budget.spent_usd <= dear.budget_usd
        assert budget.reserved_usd == pytest.approx(0)
        again = Budget(dear.budget_usd)
        ask(problems, dear, opened, again)
        assert again.spent_usd <= dear.budget_usd, "stored answers count as spent in a new start"


def test_the_ledger_gives_the_price_of_an_accepted_rationale(problems, store):
    with teacher.serve() as served:
        who = Teacher(served.base_url, served.model, price="1,2", budget_usd=10)
        answers = ask(problems, who, store, Budget(10))
        ledger = Ledger(who.prices())
        ledger.add(SOURCE, answers)
    ledger.accept(SOURCE, 20)
    entry = ledger.as_dict()["sources"][SOURCE]
    paid = (entry["prompt_tokens"] * 1 + entry["completion_tokens"] * 2) / 1e6
    assert entry["dollars"] == pytest.approx(paid, abs=1e-6)
    assert entry["dollars_per_accepted"] == pytest.approx(paid / 20, rel=1e-3)
    assert entry["problems"] == entry["answered"] == len(problems)


def test_the_request_key_covers_the_whole_request(problems):
    who = Teacher("http://127.0.0.1:1/v1", "m")
    body = synthesis.request_body(problems[0], who, load_prompt("pot"))
    keys = {synthesis.request_key({**body, name: "other"}, who) for name in body} | {synthesis.request_key(body, who)}
    assert len(keys) == len(body) + 1
    elsewhere = Teacher("https://teacher.example/v1", "m")
    assert synthesis.request_key(body, elsewhere) != synthesis.request_key(body, who)
    assert synthesis.request_key(body, Teacher("http://127.0.0.1:2/v1", "m")) == synthesis.request_key(body, who)


def test_a_prompt_holds_the_problem_as_it_is_asked_braces_included():
    problem = Problem("x", "What is {n} in $\\frac{1}{2}$?", "B", ("1", "2"))
    system, user = load_prompt("pot").messages(problem)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"].endswith("Problem:\n" + problem.instruction)


def test_an_unknown_prompt_names_those_there_are():
    with pytest.raises(ValueError, match="known: cot_theorem, pot, pot_choice"):
        load_prompt("pto")
