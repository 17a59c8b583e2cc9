"""What comes back from a batch API in another form than it should: what was paid is kept, and each loss is told."""

from __future__ import annotations

import json

import pytest
from scripted_teacher import completion, scripted

from mammoth_utils.curation import batches, pacing
from mammoth_utils.curation.ledger import Budget
from mammoth_utils.curation.store import LOST, Store
from mammoth_utils.curation.synthesis import ask
from mammoth_utils.curation.teachers import Teacher
from mammoth_utils.rationale import Problem

PROGRAM = "```python\nprint(5)\n```"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits as long as one does for a real endpoint."""
    monkeypatch.setattr(pacing, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(batches, "POLL_S", 0.01)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "answers.sqlite") as opened:
        yield opened


def problems(count: int) -> list[Problem]:
    return [Problem(f"p/{number}", f"What is {number} + 1?", str(number + 1)) for number in range(count)]


def fine(body):
    return 200, completion(PROGRAM), {}


def priced(served, **more) -> Teacher:
    return Teacher(served.base_url, "m", price="2,4", budget_usd=1, **{"batch": True, **more})


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85"])
def test_what_unicode_calls_a_line_separator_ends_no_line_of_a_batchs_answers(store, sign):
    text = f"First.{sign}Then.\n{PROGRAM}"

    def as_it_stands(lines):
        return [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]

    with scripted(lambda body: (200, completion(text), {})) as served:
        served.lines = as_it_stands
        answers = ask(problems(3), priced(served), store, Budget(1))
        assert [answer.text for answer in answers] == [text] * 3
        assert served.created == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"error": "plain words"}, "plain words"),
        ("plain words", "plain words"),
        ({"error": {"message": "plain words"}}, "plain words"),
        ({"error": ["plain words"]}, "['plain words']"),
        ({"detail": "plain words"}, "plain words"),
        ({}, "no reason given"),
        (None, "no reason given"),
    ],
)
def test_a_refusal_in_any_form_is_told_in_its_own_words(store, content, said):
    def strict(body):
        return (400, content, {}) if "What is 1 " in body["messages"][1]["content"] else fine(body)

    with scripted(strict) as served:
        answers = ask(problems(3), priced(served), store, Budget(1))
    assert [answer.error for answer in answers] == ["", f"status 400: {said}", ""]
    assert store.account()["open"] == 0


@pytest.mark.parametrize(
    ("spoilt", "because"),
    [
        (lambda line: line[: len(line) // 2], "a line that was cut: it names its request"),
        (lambda line: "<html>busy</html>", "a line that names none: what else has no line is its request"),
        (lambda line: json.dumps([json.loads(line)]), "a list"),
        (lambda line: json.dumps({"custom_id": json.loads(line)["custom_id"]}), "neither response nor error"),
    ],
)
def test_a_malformed_line_is_lost_asked_again_and_costs_the_others_nothing(store, spoilt, because):
    with scripted(fine) as served:
        served.lines = lambda lines: [spoilt(lines[0]), *lines[1:]] if served.created == 1 else lines
        budget = Budget(1)
        answers = ask(problems(4), priced(served), store, budget)
        assert all(answer.text for answer in answers), because
        assert (served.created, len(served.bodies)) == (2, 5), because
        (lost,) = store.lost()
        assert (lost["outcome"], lost["reason"]) == (LOST, "malformed line")
        assert budget.spent_usd == pytest.approx(lost["most_usd"] + sum(answer.dollars for answer in answers))


def test_a_live_refusal_in_plain_words_is_told_too(store):
    with scripted(lambda body: (400, {"error": "plain words"}, {})) as served:
        (answer,) = ask(problems(1), priced(served, batch=False), store, Budget(1))
    assert answer.error == "status 400: plain words"


def test_an_adaptation_is_learnt_from_a_batch_whatever_the_form_of_the_refusal(store):
    def no_temperature(body):
        if "temperature" in body:
            return 400, {"error": "Unsupported value: 'temperature' does not support 0 with this model."}, {}
        return fine(body)

    with scripted(no_temperature) as served:
        answers = ask(problems(2), priced(served), store, Budget(1))
    assert {answer.adapted for answer in answers} == {("no temperature",)}
