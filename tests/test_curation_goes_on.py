"""A finished curation with requests that have no answer: the same command goes on where an answer can come now."""

from __future__ import annotations

import re

import pytest
from scripted_teacher import completion, refusal, scripted

from mammoth_utils import records
from mammoth_utils.curation import curate, describe, mixtures
from mammoth_utils.curation.teacher import live_requests, rate_limits
from mammoth_utils.miniature import teacher as mini


@pytest.fixture(autouse=True)
def quick(runs_dir, monkeypatch):
    """Runs of this test alone, and a teacher that is asked twice at most."""
    monkeypatch.setattr(rate_limits, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(live_requests, "RETRIES", 1)


class Endpoint:
    """Answers as the miniature's teacher does; problems of a third kind get a status as long as it is ``down``."""

    def __init__(self, status: int):
        self.status, self.down = status, True

    def __call__(self, body):
        true = mini.find_problem(body["messages"][1]["content"])
        if self.down and sum(map(ord, true.problem.instruction)) % 3 == 0:
            return self.status, refusal("out of order"), {}
        return 200, completion(mini.reply(true).text, prompt_tokens=100, completion_tokens=100), {}


def described(served, **more):
    return describe("miniature", "GSM8K (PoT)", teacher=served.base_url, teacher_model="m", limit=24, **more)


def test_what_an_outage_left_unanswered_is_asked_for_by_the_same_command():
    endpoint, said = Endpoint(500), []
    with scripted(endpoint) as served:
        first = curate(described(served))["ledger"]["total"]
        assert 0 < first["unanswered"] < 24
        assert first["answered"] == 24 - first["unanswered"]
        endpoint.down, before = False, len(served.bodies)
        record = curate(described(served), say=said.append)
        assert record["ledger"]["total"]["answered"] == 24
        assert len(served.bodies) == before + first["unanswered"], "and nothing else"
        assert any(re.match(rf"{first['unanswered']} requests have no answer yet", line) for line in said)
        assert curate(described(served)) == record, "complete, it is read"
    for name, told in record["files"].items():
        assert records.sha256(described(served).folder / name) == told["sha256"]


def test_what_is_refused_for_good_is_not_asked_for_again():
    with scripted(Endpoint(400)) as served:
        record = curate(described(served))
        total, before = record["ledger"]["total"], len(served.bodies)
        assert 0 < total["refused"] == 24 - total["answered"]
        assert curate(described(served)) == record
        assert len(served.bodies) == before


def test_a_run_that_its_budget_stopped_goes_on_with_a_larger_one():
    endpoint, said = Endpoint(500), []
    endpoint.down = False
    terms = {"price": "100,100", "max_tokens": 200}
    with scripted(endpoint) as served:
        small = described(served, budget_usd=0.4, **terms)
        first = curate(small)
        total = first["ledger"]["total"]
        assert 0 < total["over_budget"] == 24 - total["answered"]
        assert curate(small, say=said.append) == first
        assert "budget_usd=0.4; the same command with a larger budget_usd sends them" in said[-1]
        before = len(served.bodies)
        larger = described(served, budget_usd=9.0, requests_per_minute=100_000, **terms)
        record = curate(larger)
        assert record["ledger"]["total"]["answered"] == 24
        assert len(served.bodies) == before + total["over_budget"]
        assert record["parameters"]["budget_usd"] == 9.0
        assert len(list(records.read_jsonl(larger.folder / mixtures.KEPT))) > 0
        with pytest.raises(records.RunMismatchError, match="samples: there 1, asked 2"):
            curate(described(served, name=larger.name, samples=2, temperature=0.5, **{**terms, "budget_usd": 9.0}))
