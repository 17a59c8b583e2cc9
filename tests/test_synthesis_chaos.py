"""Synthesis against a teacher that fails in every way while its client is killed: nothing is lost unnoticed."""

from __future__ import annotations

import dataclasses
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from chaos_proxy import FORWARDED, RATES, between

from mammoth_utils import records
from mammoth_utils.curation import filter_errors, filters
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.teacher.answer_store import KILLED, Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.prompt_files import load_prompt
from mammoth_utils.curation.teacher.synthesis import ask, rationale
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.miniature import sources, teacher
from mammoth_utils.rationale import LETTERS, Problem

CLIENT = Path(__file__).with_name("chaos_client.py")
CONCURRENCY = 8


def asked_problems() -> list[Problem]:
    """Every problem that the miniature asks its teacher, each instruction once."""
    found = [problem for name, one in sources.SOURCES.items() if one.asks_teacher for problem in sources.unsolved(name)]
    return list({problem.instruction: problem for problem in found}.values())


def run_and_kill(proxy, model, problems, folder, life_s, most_kills):
    """Start the client again and again, killing it; how often it was killed before it ended by itself.

    Each life is ``life_s`` (shortest, longest) seconds from the first request that it sends.
    """
    file, store = folder / "problems.jsonl", folder / "answers.sqlite"
    records.write_jsonl(file, map(dataclasses.asdict, problems))
    rng, kills = random.Random(3), 0
    while True:
        before = proxy.requests
        command = [sys.executable, str(CLIENT), proxy.base_url, model, str(file), str(store), str(CONCURRENCY)]
        client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            if kills < most_kills:
                proxy.wait_for(before, client)
                time.sleep(rng.uniform(*life_s))
                if client.poll() is None:
                    client.send_signal(signal.SIGKILL)
            _, said = client.communicate(timeout=300)
        finally:
            client.kill()
            client.wait()
        if client.returncode != -signal.SIGKILL:
            assert client.returncode == 0, said
            proxy.settle()
            return kills
        kills += 1


def check_the_books(proxy, served, store, problems, kills):
    """Every request that the teacher saw is a stored answer or an intent listed as lost, name by name."""
    fates, account = proxy.fates, store.account()
    assert account["answers"] == account["answered"] == len(problems), "complete, and nothing answered twice"
    assert account["open"] == 0
    lost = {one["intent"]: one for one in store.lost()}
    assert len(lost) == account["lost"]
    reached = {intent for intent in lost if fates.get(intent) in FORWARDED}
    # The teacher's own count is the stored answers and the lost intents that reached it. Those that did not were
    # killed between the note of the intent and the proxy, or while they were refused.
    assert served.requests == account["answers"] + len(reached)
    assert served.requests == sum(fate in FORWARDED for fate in fates.values())
    never_came = {intent for intent in lost if intent not in fates}
    assert proxy.requests == account["intents"] - len(never_came)
    assert {lost[intent]["reason"] for intent in never_came} <= {KILLED}
    reasons = Counter(one["reason"] for one in lost.values())
    count = proxy.count()
    assert reasons[KILLED] <= CONCURRENCY * kills
    # A cut or malformed answer whose client was killed first counts as killed.
    assert count["cut"] - reasons[KILLED] <= reasons["the connection was cut"] <= count["cut"]
    assert count["malformed"] - reasons[KILLED] <= reasons["malformed answer"] <= count["malformed"]
    assert len(lost) <= CONCURRENCY * kills + count["cut"] + count["malformed"]
    refused = account["reasons"].get("refused", {})
    assert refused.get("status 429", 0) <= count["busy"]
    assert refused.get("status 500", 0) <= count["broken"]
    assert proxy.most_under_way <= CONCURRENCY * (kills + 1)
    with sqlite3.connect(store.path) as database:
        again = database.execute("SELECT COUNT(*) FROM intents JOIN answers USING (request) WHERE sent > stored")
        assert again.fetchone()[0] == 0, "nothing whose answer was stored was asked again"
    return account


def judge(answers, who):
    """The rows that execution keeps and those it throws out."""
    rows, dropped = [], []
    for answer in answers:
        row = rationale(answer, answer.problem.set, who, load_prompt("pot"))
        assert row is not None, answer.text
        rows.append(row)
    kept, out = filters.drop_failed_programs(rows, timeout_s=5.0)
    return kept, dropped + out


def check_the_truth(kept, dropped: list[Dropped], least_right=0.99):
    """Every kept program's output is the gold, luck is counted, and what the teacher made right is kept."""
    for row in kept:
        true = sources.truth(row.problem.instruction)
        value = row.history["output"]
        options = row.problem.options
        if options is not None:
            gold = options[LETTERS.index(row.problem.gold)]
            assert value in (gold, row.problem.gold) or Fraction(value) == Fraction(gold), row
        else:
            assert Fraction(value) == Fraction(row.problem.gold) == Fraction(true.value), row
    lucky = Counter(fault for row in kept if (fault := filter_errors.planted_fault(row)) != teacher.RIGHT)
    found = filter_errors.count_filter_errors(kept, dropped)
    assert found["passed_by_luck"] == dict(lucky)
    assert found["programs"] == len(kept) + len(dropped)
    assert found["right"] == sum(filter_errors.planted_fault(row) == teacher.RIGHT for row in kept) + sum(
        found["lost"].values()
    )
    assert found["right_kept"] >= least_right * found["right"], found["lost"]
    return found


def test_a_teacher_that_fails_and_a_client_that_is_killed_leave_complete_books(tmp_path):
    problems = asked_problems()[:160]
    rates = {name: 2 * rate for name, rate in RATES.items()}
    with teacher.serve() as served, between(served.base_url, rates, delay_s=0.04, slow_s=0.3) as proxy:
        kills = run_and_kill(proxy, served.model, problems, tmp_path, (0.2, 0.5), most_kills=2)
        assert kills >= 1
        with Store(tmp_path / "answers.sqlite") as store:
            check_the_books(proxy, served, store, problems, kills)
            before = proxy.requests
            who = Teacher(proxy.base_url, served.model)
            answers = ask(problems, who, store, Budget(0))
            assert proxy.requests == before, "a new start asks nothing"
        check_the_truth(*judge(answers[:60], who))


@pytest.mark.long
def test_every_problem_of_the_miniature_under_failures_and_a_kill_every_few_seconds(tmp_path):
    problems = asked_problems()
    with teacher.serve() as served, between(served.base_url, delay_s=0.25, slow_s=2.0) as proxy:
        kills = run_and_kill(proxy, served.model, problems, tmp_path, (1.0, 4.0), most_kills=100)
        assert kills >= 5
        assert set(proxy.count()) == {*RATES, "fine"}, "every kind of failure happened"
        with Store(tmp_path / "answers.sqlite") as store:
            account = check_the_books(proxy, served, store, problems, kills)
            who = Teacher(proxy.base_url, served.model)
            answers = ask(problems, who, store, Budget(0))
        found = check_the_truth(*judge(answers, who))
        assert sum(found["passed_by_luck"].values()) > 0
        print(
            f"\n{kills} kills; the teacher counted {served.requests}: {account}\nfates {dict(proxy.count())}\n{found}"
        )
