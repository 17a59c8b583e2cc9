"""A curation's description: what cannot be is refused whoever is asked, and what decides no row makes no other run."""

from __future__ import annotations

import math

import pytest

from mammoth_utils import pages
from mammoth_utils.curation import describe
from mammoth_utils.curation.description import TERMS

ENDPOINT = {"teacher": "https://teacher.example/v1", "teacher_model": "gpt-4o-mini"}
REASONING = {"max_tokens": 16384, "tokens_per_minute": 200_000, "teacher_timeout_s": 1800.0}


@pytest.mark.parametrize("teacher", [{}, ENDPOINT], ids=["miniature", "endpoint"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget_usd": -5.0}, "budget_usd of at least 0"),
        ({"budget_usd": math.inf}, "budget_usd of at least 0 and finite"),
        ({"budget_usd": math.nan}, "budget_usd of at least 0"),
        ({"price": "abc"}, "a price such as '0.15,0.60'"),
        ({"price": "1,-2"}, "a price such as '0.15,0.60'"),
        ({"requests_per_minute": -3}, "requests_per_minute of at least 0"),
        ({"tokens_per_minute": -3}, "tokens_per_minute of at least 0"),
        ({"teacher_timeout_s": 0.0}, "seconds above 0 and finite for an answer"),
        ({"teacher_timeout_s": math.nan}, "seconds above 0 and finite for an answer"),
        ({"timeout_s": math.nan}, "timeout_s above 0 and finite"),
        ({"timeout_s": math.inf}, "timeout_s above 0 and finite"),
        ({"temperature": math.nan}, "temperature"),
        ({"limit": -1}, "limit of at least 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_allowed_whoever_is_asked(teacher, wrong, message):
    with pytest.raises(ValueError, match=message):
        describe(**teacher, **wrong)


def test_no_answer_of_no_tokens_is_asked_for():
    with pytest.raises(ValueError, match="max_tokens of at least 1"):
        describe(**ENDPOINT, max_tokens=0)
    with pytest.raises(ValueError, match="at its own length.*max_tokens=2048"):
        describe(max_tokens=2048)


def test_a_reasoning_teachers_settings_reach_its_requests():
    made = describe("rebuild", **ENDPOINT, **REASONING)
    who = made.teacher_at(made.teacher, made.teacher_model)
    assert (who.max_tokens, who.tokens_per_minute, who.timeout_s) == tuple(REASONING.values())
    assert made.name == "rebuild-gpt-4o-mini-max16384", "other answers are another run"
    assert set(REASONING) < set(pages.declared("curate")), "the page has them"


def test_the_page_asks_as_the_library_does_without_a_parameter():
    """A page's default that differed from the library's would make the page's miniature another run."""
    apart = ("export", "workers", "dry_run")
    defaults = {name: one.default for name, one in pages.declared("curate").items() if name not in apart}
    assert describe(**defaults) == describe()


def test_what_decides_no_row_makes_no_other_run():
    plain = describe("rebuild", **ENDPOINT)
    terms = {"budget_usd": 5.0, "price": "1,2", "batch": True, "requests_per_minute": 9, "tokens_per_minute": 9_999,
             "teacher_timeout_s": 9.0}  # fmt: skip
    assert set(terms) == set(TERMS)
    other = describe("rebuild", **ENDPOINT, **terms)
    assert other.identity() == plain.identity()
    assert other.as_dict() != plain.as_dict(), "a record says them all the same"
    assert describe("rebuild", **ENDPOINT, max_tokens=99).identity() != plain.identity()
