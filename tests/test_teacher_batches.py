"""What comes back from a batch API in another form than it should: what was paid is kept, and each loss is told."""

from __future__ import annotations

import json

import pytest
from scripted_teacher import PROGRAM, completion, fine, problems, refusal, scripted

from mammoth_utils.curation.teacher import batches
from mammoth_utils.curation.teacher.answer_store import LOST
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.synthesis import ask
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.rationale import Problem

pytestmark = pytest.mark.usefixtures("quick")


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


# --- from a batch to asking live, and batches that are gone --------------------------------------------------


class Killed(BaseException):
    """The process's end while it waits for a batch."""


def begun(monkeypatch, served, store, count: int, at: str) -> None:
    """A batch of so many problems whose process was killed."""

    def killed(*given):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(batches, at, killed)
        with pytest.raises(Killed):
            ask(problems(count), priced(served), store, Budget(1))


def test_a_batch_that_ended_meanwhile_is_fetched_before_anything_is_asked_live(store, monkeypatch):
    with scripted(fine) as served:
        served.polls = 0
        begun(monkeypatch, served, store, 4, "_fetch")
        budget, steps = Budget(1), []
        answers = ask(problems(6), priced(served, batch=False), store, budget, on_step=lambda *of: steps.append(of))
        assert [answer.batch for answer in answers] == [True] * 4 + [False] * 2
        assert len(served.bodies) == 6, "nothing is paid twice"
        assert budget.spent_usd == pytest.approx((4 * 0.5 + 2) * (10 * 2 + 5 * 4) / 1e6), "each at its own price"
        assert steps == [(number, 6) for number in range(1, 7)]
    assert store.account()["open"] == 0


def test_a_batch_under_way_is_named_and_its_requests_are_not_asked_live(store, monkeypatch):
    with scripted(fine) as served:
        served.polls = 1_000
        begun(monkeypatch, served, store, 4, "_fetch")
        live = priced(served, batch=False)
        with pytest.raises(TeacherError, match=r"at work on batch-0 \(3 of these requests\).*paid twice.*batch=True"):
            ask(problems(3), live, store, Budget(1))
        assert served.bodies == []
        other = [Problem("q", "What else?", "1")]
        assert ask(other, live, store, Budget(1))[0].text, "what is in no batch is asked"
        served.batches["batch-0"]["status"] = "cancelled"
        assert all(answer.text for answer in ask(problems(4), live, store, Budget(1)))
        assert len(served.bodies) == 1 + 4


@pytest.mark.parametrize("at", ["_parts", "_create"])
def test_a_batch_that_was_never_created_is_given_up_for_asking_live(store, monkeypatch, at):
    with scripted(fine) as served:
        begun(monkeypatch, served, store, 3, at)
        budget = Budget(1)
        assert all(answer.text for answer in ask(problems(3), priced(served, batch=False), store, budget))
        assert (served.created, len(served.bodies)) == (0, 3)
        assert budget.spent_usd == pytest.approx(3 * (10 * 2 + 5 * 4) / 1e6)
    account = store.account()
    assert (account["open"], account["lost"]) == (0, 0)


def test_a_batch_that_was_created_without_being_noted_is_found_before_asking_live(store, monkeypatch):
    with scripted(fine) as served:
        real = batches._create

        def created(*given):
            real(*given)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(batches, "_create", created)
            with pytest.raises(Killed):
                ask(problems(3), priced(served), store, Budget(1))
        served.batches["batch-0"]["polls"] = 0
        assert all(answer.batch for answer in ask(problems(3), priced(served, batch=False), store, Budget(1)))
        assert len(served.bodies) == 3


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("gone", ["batch", "results"])
def test_a_batch_that_is_gone_at_the_endpoint_is_lost_and_stands_in_nobodys_way(store, monkeypatch, batch, gone):
    with scripted(fine) as served:
        served.polls = 0
        begun(monkeypatch, served, store, 3, "_fetch")
        if gone == "batch":
            served.batches.clear()
        else:
            served.poll("batch-0")
            served.files = {name: data for name, data in served.files.items() if "output" not in name}
        budget = Budget(1)
        answers = ask(problems(3), priced(served, batch=batch), store, budget)
        assert all(answer.text for answer in answers)
        lost = store.lost()
        assert [one["reason"] for one in lost] == ["the batch batch-0 is gone"] * 3
        paid = sum(answer.dollars for answer in answers)
        assert budget.spent_usd == pytest.approx(paid + sum(one["most_usd"] for one in lost)), (
            "it may have been charged"
        )
        again = Budget(1)
        ask(problems(3), priced(served, batch=batch), store, again)
        assert again.spent_usd == pytest.approx(budget.spent_usd)
    assert store.account()["open"] == 0


def test_a_batch_that_may_not_be_created_is_made_anew_by_the_next_start(store, monkeypatch):
    with scripted(fine) as served:
        create = served.create

        def refuse(asked):
            served.created += 1
            return 400, refusal("no such file"), {}

        served.create = refuse
        with pytest.raises(TeacherError, match="refuses to create a batch.*no such file"):
            ask(problems(2), priced(served), store, Budget(1))
        assert store.account()["unsent"] == 2
        served.create = create
        assert all(answer.text for answer in ask(problems(2), priced(served), store, Budget(1)))
