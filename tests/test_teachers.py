"""How a teacher is asked: limits, refusals, prices, samples, lost answers, the dry run, and the batch API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from scripted_teacher import PROGRAM, completion, fine, problems, refusal, scripted

from mammoth_utils.curation.teacher import batches, live_requests, messages, rate_limits, synthesis
from mammoth_utils.curation.teacher.answer_store import LOST, Store
from mammoth_utils.curation.teacher.cost_ledger import Budget, Ledger
from mammoth_utils.curation.teacher.live_requests import OVER_BUDGET
from mammoth_utils.curation.teacher.prices import price_table
from mammoth_utils.curation.teacher.prompt_files import SUBSETS, load_prompt, prompt_for
from mammoth_utils.curation.teacher.synthesis import ask, plan_requests, rationale
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.curation.teacher.unsupported_parameters import find_adaptation

pytestmark = pytest.mark.usefixtures("quick")


# --- models that want their requests otherwise --------------------------------------------------------------


def reasoning(body):
    """Refuses what reasoning models refuse, in their words."""
    if "max_tokens" in body:
        said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        return 400, refusal(said, "max_tokens", "unsupported_parameter"), {}
    if "temperature" in body:
        said = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is."
        return 400, refusal(said, "temperature", "unsupported_value"), {}
    return fine(body)


def test_a_model_that_refuses_temperature_and_max_tokens_is_asked_as_it_wants_and_that_is_recorded(store):
    with scripted(reasoning) as served:
        who = Teacher(served.base_url, "thinker", concurrency=1, max_tokens=99)
        answers = ask(problems(4), who, store, Budget(0))
        assert [answer.adapted for answer in answers] == [("max_completion_tokens", "no temperature")] * 4
        assert len(served.bodies) == 2 + 4, "each refusal is met once"
        assert served.bodies[-1]["max_completion_tokens"] == 99
        assert not {"max_tokens", "temperature"} & set(served.bodies[-1])
        row = rationale(answers[0], "GSM8K (PoT)", who, load_prompt("pot"))
        assert row.history["adapted"] == ["max_completion_tokens", "no temperature"]
        assert "Only the default" in store.learned(who.key)["no temperature"], "with what the model said"
        ask(problems(6), who, store, Budget(0))
        assert len(served.bodies) == 2 + 6, "what was learnt holds in a new start, and stored answers are found"


def test_a_model_without_a_system_message_gets_it_in_the_users(store):
    def no_system(body):
        if body["messages"][0]["role"] == "system":
            return 400, refusal("System role not supported"), {}
        return fine(body)

    with scripted(no_system) as served:
        ask(problems(1), Teacher(served.base_url, "m"), store, Budget(0))
        (message,) = served.bodies[-1]["messages"]
        assert message["role"] == "user"
        assert message["content"] == "\n\n".join(
            each["content"] for each in load_prompt("pot").messages(problems(1)[0])
        )


@pytest.mark.parametrize(
    ("message", "parameter", "expected", "because"),
    [
        ("max_tokens is too large: 9. This model supports at most 4 completion tokens", "max_tokens", None,
         "another name would not help"),
        ("temperature must be at most 1", "temperature", None, "a wrong value is the caller's to mend"),
        ("Unrecognized request argument supplied: seed", None, "no seed", "older servers"),
        ("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]", None,
         "no seed", "servers that validate with pydantic"),
        ("invalid temperature: only 1 is allowed for this model", None, "no temperature", "a reasoning model"),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", None, "system in user",
         "a model without a system message, behind an endpoint that calls it another name"),
        ("Conversation roles must alternate user/assistant/user/assistant/...", None, "system in user",
         "a chat template that expects the user first"),
        ("The content was filtered", None, None, "nothing to adapt"),
    ],
)  # fmt: skip
def test_what_a_refusal_asks_for(message, parameter, expected, because):
    assert find_adaptation(message, parameter, []) == expected, because


def test_a_refused_problem_does_not_stop_the_others(store):
    def strict(body):
        if "What is 2" in body["messages"][1]["content"]:
            return 400, refusal("The content was filtered", code="content_filter"), {}
        return fine(body)

    with scripted(strict) as served:
        answers = ask(problems(5), Teacher(served.base_url, "m"), store, Budget(0))
    assert [bool(answer.text) for answer in answers] == [True, True, False, True, True]
    assert answers[2].error == "status 400: The content was filtered"


def refusing(body):
    """Refuses every third problem for what it says."""
    number = int(body["messages"][1]["content"].split("What is ")[1].split(" ")[0])
    return (400, refusal("content policy"), {}) if number % 3 == 0 else fine(body)


@pytest.mark.parametrize("batch", [False, True])
def test_problems_that_are_always_refused_do_not_end_a_second_run(store, batch):
    with scripted(refusing) as served:
        who = Teacher(served.base_url, "m", concurrency=1, batch=batch)
        first = ask(problems(45), who, store, Budget(0))
        assert sum(answer.refused for answer in first) == 15
        again = ask(problems(45), who, store, Budget(0))
    assert [answer.text for answer in again] == [answer.text for answer in first]
    assert len(served.bodies) == 45 + 15


def test_outages_in_a_row_end_a_run_and_a_refusal_between_them_shows_that_the_endpoint_is_there(store, monkeypatch):
    monkeypatch.setattr(live_requests, "RETRIES", 0)

    def broken(body):
        status, *rest = refusing(body)
        return (500, refusal("out of order"), {}) if status == 200 else (status, *rest)

    with scripted(broken) as served:
        who = Teacher(served.base_url, "m", concurrency=1)
        assert not any(answer.text for answer in ask(problems(40), who, store, Budget(0)))
        with pytest.raises(TeacherError, match="failed 12 times in a row, last with 'status 500"):
            ask([one for one in problems(40) if int(one.id[2:]) % 3], who, store, Budget(0))


def test_a_model_that_refuses_whatever_it_is_asked_is_given_up(store):
    with scripted(lambda body: (400, refusal("max_tokens is too large"), {})) as served:
        with pytest.raises(TeacherError, match="refused all of 100 requests.*too large"):
            ask(problems(300), Teacher(served.base_url, "m"), store, Budget(0))
        assert len(served.bodies) < 300


# --- limits and waits ---------------------------------------------------------------------------------------


def windows_begun(arrivals: list[float], started: float, each: int) -> list[float]:
    """Seconds from the start to the first request beyond each full window.

    Counted from before the first request can have been sent, since that one may arrive late on a busy machine: what
    is sent no sooner than allowed cannot arrive sooner, whatever the machine does.
    """
    return [arrival - started for arrival in sorted(arrivals)[each::each]]


def test_no_minute_holds_more_requests_than_allowed(store, monkeypatch):
    monkeypatch.setattr(rate_limits, "MINUTE_S", 0.5)
    with scripted(fine) as served:
        started = time.monotonic()
        ask(problems(12), Teacher(served.base_url, "m", requests_per_minute=4), store, Budget(0))
        fifth, ninth = windows_begun(served.arrivals, started, 4)
    assert fifth >= 0.5
    assert ninth >= 1.0


def test_the_window_of_a_minute_slides(monkeypatch):
    """By a clock of our own, so that every moment is exact."""
    now = [100.0]

    class Waits:
        def wait(self, seconds):
            now[0] += seconds

    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(rate_limits.random, "uniform", lambda least, most: least)
    pace, turns = rate_limits.RateLimiter(requests=2), []
    for pause in (0, 20, 0, 0, 50):
        now[0] += pause
        pace.take(1, Waits())
        turns.append(now[0] - 100)
    assert turns == [0, 20, 60, 80, 130]


def test_a_new_start_has_no_fresh_allowance(store, monkeypatch):
    monkeypatch.setattr(rate_limits, "MINUTE_S", 1.0)
    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", requests_per_minute=3)
        started = time.monotonic()
        ask(problems(3), who, store, Budget(0))
        ask(problems(4), who, store, Budget(0))
        (fourth,) = windows_begun(served.arrivals, started, 3)
    assert fourth >= 1.0


def test_tokens_a_minute_are_kept_and_a_request_that_never_fits_is_refused(monkeypatch):
    monkeypatch.setattr(rate_limits, "MINUTE_S", 0.4)
    pace, stop = rate_limits.RateLimiter(tokens=100), threading.Event()
    started = time.monotonic()
    for _ in range(4):
        pace.take(50, stop)
    assert time.monotonic() - started >= 0.39
    with pytest.raises(ValueError, match="101 tokens, and tokens_per_minute=100"):
        pace.take(101, stop)
    stop.set()
    with pytest.raises(rate_limits.Stopped):
        pace.take(100, stop)


def test_retry_after_holds_every_thread(store):
    refused = threading.Event()

    def busy_once(body):
        if not refused.is_set():
            refused.set()
            return 429, refusal("slow down"), {"Retry-After": "0.6"}
        return fine(body)

    with scripted(busy_once) as served:
        answers = ask(problems(3), Teacher(served.base_url, "m", concurrency=1), store, Budget(0))
        assert all(answer.text for answer in answers)
        assert served.arrivals[1] - served.arrivals[0] >= 0.6


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_retry_after_says(headers, expected):
    assert rate_limits.retry_after_s(headers) == expected


def test_retry_after_may_be_a_date():
    until = int(time.time()) + 30  # a date has whole seconds
    before = time.time()
    asked = rate_limits.retry_after_s({"retry-after": formatdate(until, usegmt=True)})
    assert until - time.time() <= asked <= until - before


def test_back_off_doubles_is_bounded_and_differs(monkeypatch):
    monkeypatch.setattr(rate_limits, "FIRST_WAIT_S", 0.5)
    for failures in range(1, 12):
        waits = {rate_limits.back_off_s(failures) for _ in range(50)}
        bound = min(rate_limits.LONGEST_WAIT_S, 0.5 * 2 ** (failures - 1))
        assert len(waits) == 50
        assert bound * 0.1 <= min(waits) <= max(waits) <= bound


@pytest.mark.parametrize(
    ("status", "code", "headers", "expected"),
    [
        (429, "insufficient_quota", {}, "no credit left"),
        (402, None, {}, "no credit left"),
        (429, None, {"Retry-After": "7200"}, "wait 7200 s"),
        (401, None, {}, "refuses 'm'"),
    ],
)
def test_an_endpoint_that_will_not_answer_soon_ends_the_run_at_once(store, status, code, headers, expected):
    with scripted(lambda body: (status, refusal("no", code=code), headers)) as served:
        with pytest.raises(TeacherError, match=expected):
            ask(problems(20), Teacher(served.base_url, "m", concurrency=2), store, Budget(0))
        assert len(served.bodies) <= 2, "what was under way; the thread that is refused stops the others itself"
    assert store.account()["open"] == 0


# --- money --------------------------------------------------------------------------------------------------


def test_prices_are_dated_and_say_where_they_were_read():
    for model, price in price_table().items():
        assert time.strptime(price.read, "%Y-%m-%d"), model
        assert price.where
        assert 0 < price.batch_share <= 1
        assert price.output > price.input > 0


def test_the_batch_api_costs_its_share():
    plain = Teacher("https://teacher.example/v1", "gpt-4o-mini", budget_usd=1)
    batch = Teacher("https://teacher.example/v1", "gpt-4o-mini", budget_usd=1, batch=True)
    assert batch.prices() == tuple(price / 2 for price in plain.prices())


def test_a_usage_that_is_not_reported_counts_at_most(store):
    with scripted(lambda body: (200, completion(PROGRAM, usage=None), {})) as served:
        who = Teacher(served.base_url, "m", price="1,1", budget_usd=1, max_tokens=7)
        budget = Budget(1)
        (answer,) = ask(problems(1), who, store, budget)
    assert (answer.usage, answer.completion_tokens) == ("at most", 7)
    assert budget.spent_usd == pytest.approx(who.most_a_request_costs(load_prompt("pot").messages(problems(1)[0])))


@pytest.mark.parametrize("nonsense", [b'{"choices": [', b"<html>", b'{"choices": []}', b"[]", b'{"choices": [null]}'])
def test_a_lost_answer_counts_as_spent_and_is_listed(store, nonsense):
    first = threading.Event()

    def garbled_once(body):
        if not first.is_set():
            first.set()
            return 200, nonsense, {}
        return fine(body)

    with scripted(garbled_once) as served:
        who = Teacher(served.base_url, "m", price="1,1", budget_usd=1)
        budget = Budget(1)
        answers = ask(problems(1), who, store, budget)
    (lost,) = store.lost()
    assert (lost["outcome"], lost["reason"], lost["request"]) == (LOST, "malformed answer", answers[0].request)
    assert budget.spent_usd == pytest.approx(lost["most_usd"] + answers[0].dollars)
    again = Budget(1)
    ask(problems(1), who, store, again)
    assert again.spent_usd == pytest.approx(budget.spent_usd), "a new start counts it too, once"
    ledger = Ledger(who.prices(), who.model)
    name = ledger.add("GSM8K (PoT)", answers, lost=store.lost([answers[0].request]))
    ledger.accept(name, 1)
    entry = ledger.as_dict()["total"]
    assert entry["lost"] == 1
    assert entry["dollars_per_accepted"] == pytest.approx(budget.spent_usd, abs=1e-6)


def test_a_budget_lets_every_request_through_that_it_can_hold(store):
    """What is set aside for requests under way comes back once they cost less: nobody is refused too early."""
    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", price="0,1000", max_tokens=1000, budget_usd=1.1, concurrency=8)
        budget = Budget(1.1)
        answers = ask(problems(30), who, store, budget)
    # A request may cost a dollar and does cost half a cent, so one at a time fits until 10 cents are spent.
    assert sum(bool(answer.text) for answer in answers) == 21
    assert budget.spent_usd == pytest.approx(21 * 0.005)
    assert {answer.error for answer in answers if not answer.text} == {OVER_BUDGET}


def test_the_ledger_parts_sources_and_models(store):
    with scripted(fine) as served:
        ledger = Ledger((1, 1))
        for model, price in (("small", "1,1"), ("large", "10,10")):
            who = Teacher(served.base_url, model, price=price, budget_usd=1)
            for source in ("GSM8K (PoT)", "MATH (PoT)"):
                ledger.accept(ledger.add(source, ask(problems(3), who, store, Budget(1)), model), 2)
    found = ledger.as_dict()
    assert list(found["sources"]) == ["GSM8K (PoT)", "MATH (PoT)", "GSM8K (PoT) · large", "MATH (PoT) · large"]
    assert found["models"]["large"]["dollars"] == pytest.approx(10 * found["models"]["small"]["dollars"])
    assert found["sources"]["MATH (PoT) · large"]["dollars_per_accepted"] == pytest.approx(3 * 150e-6 / 2)
    assert found["total"]["accepted"] == 8


# --- the dry run --------------------------------------------------------------------------------------------


def test_the_dry_run_sends_nothing_and_foretells_requests_tokens_and_dollars(store):
    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", price="1,2", budget_usd=1)
        before = plan_requests(problems(10), who, store)
        assert (before.requests, before.stored, served.bodies) == (10, 0, [])
        assert before.completion_tokens == 10 * who.max_tokens
        assert 0 < before.dollars <= before.dollars_most
        ask(problems(4), who, store, Budget(1))
        after = plan_requests(problems(10), who, store)
        assert (after.requests, after.stored) == (10, 4)
        assert after.completion_tokens == 6 * 5, "as in the stored answers"
        assert after.dollars < before.dollars
        assert "10 requests, 4 of them answered before; to send: 6" in str(after)
        budget = Budget(after.dollars_most + before.dollars)
        assert all(answer.text for answer in ask(problems(10), who, store, budget)), "the most is enough"
    with pytest.raises(TeacherError, match="price of 'nobody'"):
        plan_requests(problems(1), Teacher("https://teacher.example/v1", "nobody"), store)


def test_the_dry_run_of_a_priced_teacher_wants_no_budget(store):
    found = plan_requests(problems(10), Teacher("https://teacher.example/v1", "gpt-4o-mini"), store)
    assert 0 < found.dollars <= found.dollars_most


def test_a_local_endpoint_that_passes_a_priced_model_on_costs_what_the_model_does(store):
    listed, proxy = price_table()["gpt-4o"], "http://localhost:4000/v1"
    who = Teacher(proxy, "gpt-4o", budget_usd=1)
    assert who.prices() == (listed.input, listed.output)
    assert who.as_dict()["prices_read"] == listed.read
    assert Teacher(proxy, "qwen3-32b").prices() == Teacher(proxy, "gpt-4o", price="0,0").prices() == (0, 0)
    with pytest.raises(TeacherError, match="budget_usd is 0.*price='0,0'"):
        ask(problems(1), Teacher(proxy, "gpt-4o"), store, Budget(0))


# --- samples, kinds and prompts -----------------------------------------------------------------------------


def test_several_samples_are_several_requests_with_seeds_of_their_own(store):
    with scripted(lambda body: (200, completion(f"```python\nprint({body.get('seed', 0)})\n```"), {})) as served:
        who = Teacher(served.base_url, "m", temperature=0.7, samples=3)
        answers = ask(problems(2), who, store, Budget(0))
        assert [(one.problem.id, one.sample) for one in answers] == [(f"p/{p}", s) for p in (0, 1) for s in (0, 1, 2)]
        texts = [rationale(one, "GSM8K (PoT)", who, load_prompt("pot")).text for one in answers]
        assert texts == ["print(0)", "print(1)", "print(2)"] * 2
        one = Teacher(served.base_url, "m", temperature=0.7)
        ask(problems(2), one, store, Budget(0))
        assert len(served.bodies) == 6, "the first sample is the request without samples"
    with pytest.raises(ValueError, match="samples=2 at temperature 0"):
        Teacher("http://localhost/v1", "m", samples=2)


def test_each_new_subset_has_a_prompt_of_its_kind():
    kinds = {name: prompt_for(name).kind for name in SUBSETS}
    assert len(kinds) == 6
    assert all(kind == ("pot" if "(PoT)" in name else "cot") for name, kind in kinds.items())
    assert prompt_for("mini-MATH (PoT)") == prompt_for("MATH (PoT)") == load_prompt("pot_math")
    with pytest.raises(ValueError, match="MathQA.*those that are: GSM8K"):
        prompt_for("MathQA (PoT)")


def test_a_chain_of_thought_becomes_a_row_with_its_prompt_and_its_model(store):
    asked = prompt_for("TheoremQA (CoT)")
    text = "By Lagrange the order divides 12.\nThe answer is 4."
    with scripted(lambda body: (200, completion(text, model="m-2026-01-01"), {})) as served:
        who = Teacher(served.base_url, "m")
        (answer,) = ask(problems(1), who, store, Budget(0), asked)
    row = rationale(answer, "TheoremQA (CoT)", who, asked)
    assert (row.kind, row.text, row.author) == ("cot", text, "teacher:m")
    assert row.history["prompt"] == f"cot_theorem/{asked.version}/{asked.sha256}"
    assert row.history["answered_by"] == "m-2026-01-01"
    assert messages.prose("It is four.") is None


# --- the store ----------------------------------------------------------------------------------------------

_HOLD = """
import sys, time
from pathlib import Path
from mammoth_utils.curation.teacher.answer_store import Store
with Store(Path(sys.argv[1])) as store, store.sending("local m"):
    store.intend("local m", {"asked": (5, 0.25)})
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_waits_for_the_first_and_finds_what_it_lost_when_killed(tmp_path):
    path = tmp_path / "answers.sqlite"
    held = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout.readline() == "held\n"
        with Store(path) as store:
            entered = threading.Event()

            def enter():
                with store.sending("local m"):
                    entered.set()

            waiting = threading.Thread(target=enter)
            waiting.start()
            assert not entered.wait(0.5)
            assert store.account()["open"] == 1
            os.kill(held.pid, signal.SIGKILL)
            assert entered.wait(20)
            waiting.join()
            assert store.account()["open"] == 0
            (lost,) = store.lost(["asked", "other"])
            assert (lost["most_usd"], lost["tokens"]) == (0.25, 5)
    finally:
        held.kill()
        held.communicate()


# --- the batch API ------------------------------------------------------------------------------------------


def test_a_batch_answers_everything_at_its_share_of_the_price(store):
    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", price="2,4", budget_usd=1, batch=True)
        budget = Budget(1)
        steps = []
        answers = ask(problems(7), who, store, budget, on_step=lambda done, of: steps.append((done, of)))
        assert [answer.problem.id for answer in answers] == [f"p/{number}" for number in range(7)]
        assert all(answer.text and answer.batch for answer in answers)
        assert steps == [(number, 7) for number in range(1, 8)]
        assert (served.created, len(served.bodies)) == (1, 7)
        assert budget.spent_usd == pytest.approx(7 * (10 * 1 + 5 * 2) / 1e6)
        ask(problems(7), Teacher(served.base_url, "m", price="2,4", budget_usd=1), store, Budget(1))
        assert (served.created, len(served.bodies)) == (1, 7), "found without the batch API too"
    assert store.account()["answered"] == 7
    assert not list(store.path.parent.glob("batch-*.jsonl"))


@pytest.mark.parametrize("where", ["_create", "_fetch", "upload"])
def test_a_batch_that_was_begun_is_gone_on_with(store, monkeypatch, where):
    class Killed(BaseException):
        pass

    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", batch=True)
        with monkeypatch.context() as patch:
            if where == "upload":
                patch.setattr(served, "upload", lambda *given: (_ for _ in ()).throw(OSError()))
                patch.setattr(batches, "RETRIES", 0)
                with pytest.raises(TeacherError, match="goes on from there"):
                    ask(problems(5), who, store, Budget(0))
            else:
                real = batches._create

                def begun(*given):
                    if where == "_create":
                        real(*given)  # created at the endpoint, and killed before its name was noted
                    raise Killed

                patch.setattr(batches, where, begun)
                with pytest.raises(Killed):
                    ask(problems(5), who, store, Budget(0))
        assert store.account()["open"] == 5
        answers = ask(problems(5), who, store, Budget(0))
        assert all(answer.text for answer in answers)
        assert (served.created, len(served.bodies)) == (1, 5), "created and paid once"
    assert store.account()["lost"] == 0


def test_a_creation_whose_answer_was_cut_is_not_repeated(store):
    with scripted(fine) as served:
        served.fail_after_creating = 1
        answers = ask(problems(3), Teacher(served.base_url, "m", batch=True), store, Budget(0))
        assert all(answer.text for answer in answers)
        assert served.created == 1


def test_a_batch_learns_what_a_model_refuses_and_asks_again(store):
    with scripted(reasoning) as served:
        answers = ask(problems(3), Teacher(served.base_url, "m", batch=True), store, Budget(0))
        assert all(answer.text for answer in answers)
        assert {answer.adapted for answer in answers} == {("max_completion_tokens", "no temperature")}
        assert served.created == 3


def test_an_expired_batch_keeps_what_it_gave_and_asks_for_the_rest(store):
    with scripted(fine) as served:
        served.end = "expired"
        answers = ask(problems(8), Teacher(served.base_url, "m", batch=True), store, Budget(0))
        assert all(answer.text for answer in answers)
        assert served.created == 4
        assert len(served.bodies) == 8, "half of what was left came each time: 4, 2, 1, 1"


def test_a_refused_batch_says_why_and_costs_nothing(store):
    with scripted(fine) as served:
        served.end = "failed"
        budget = Budget(1)
        with pytest.raises(TeacherError, match="refuses the batch.*no such model"):
            ask(problems(2), Teacher(served.base_url, "m", price="1,1", budget_usd=1, batch=True), store, budget)
        assert budget.spent_usd == 0
    assert store.account()["unsent"] == 2


def test_a_batch_stays_in_the_budget_and_splits_by_size(store, monkeypatch):
    with scripted(fine) as served:
        who = Teacher(served.base_url, "m", price="0,2000", max_tokens=1000, budget_usd=1.002, batch=True)
        budget = Budget(1.002)
        answers = ask(problems(4), who, store, budget)
        assert [bool(answer.text) for answer in answers] == [True, False, False, False], "a dollar each at most"
        assert {answer.error for answer in answers[1:]} == {OVER_BUDGET}
        larger = Budget(3.0)
        answers = ask(problems(6), who, store, larger)
        assert all(answer.text for answer in answers), "what a round leaves over pays for the next: 2, 2 and 1"
        assert larger.spent_usd == pytest.approx(6 * 0.005)
        assert served.created == 4
        monkeypatch.setattr(batches, "MOST_REQUESTS", 2)
        free = Teacher(served.base_url, "other", batch=True)
        assert all(answer.text for answer in ask(problems(5), free, store, Budget(0)))
        assert served.created == 4 + 3


# --- answers without a rationale ----------------------------------------------------------------------------


def thinking(body):
    """Thinks until it is cut, refuses, is refused, or answers: by the problem."""
    number = int(body["messages"][1]["content"].split("What is ")[1].split(" ")[0]) % 4
    if number == 0:
        cut = completion(None, completion_tokens=body["max_tokens"])
        cut["choices"][0]["finish_reason"] = "length"
        return 200, cut, {}
    if number == 1:
        refused = completion(None)
        refused["choices"][0]["message"]["refusal"] = "I cannot help with that."
        return 200, refused, {}
    return (400, refusal("content policy"), {}) if number == 2 else fine(body)


@pytest.mark.parametrize("batch", [False, True])
def test_an_answer_without_a_rationale_says_why_with_its_history_and_is_counted_apart(store, batch):
    asked = load_prompt("pot")
    with scripted(thinking) as served:
        who = Teacher(served.base_url, "m", price="1,1", budget_usd=1, max_tokens=50, batch=batch)
        for _ in range(2):  # the second time as it is stored
            answers = ask(problems(8), who, store, Budget(1), asked)
    rows = [rationale(answer, "GSM8K (PoT)", who, asked) for answer in answers]
    assert [row is not None for row in rows] == [False, False, False, True] * 2
    out = [synthesis.dropped(answer, "GSM8K (PoT)", who, asked) for answer in answers[:3]]
    assert [one.reason for one in out] == ["cut at max_tokens", "refused: I cannot help with that.",
                                           "status 400: content policy"]  # fmt: skip
    told = [one.as_row()["history"] for one in out]
    assert all(one["request"] and one["prompt"] == asked.label for one in told)
    assert told[0]["finish"] == "length"
    ledger = Ledger(who.prices(), who.model)
    ledger.accept(ledger.add("GSM8K (PoT)", answers), 2)
    total = ledger.as_dict()["total"]
    counted = {key: total[key] for key in ("requests", "answered", "empty", "refused", "unanswered")}
    assert counted == {"requests": 8, "answered": 2, "empty": 4, "refused": 2, "unanswered": 0}
    assert total["completion_tokens"] == 2 * 50 + 4 * 5, "what is empty was paid"
