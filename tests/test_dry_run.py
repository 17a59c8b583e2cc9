"""The dry run: what a teacher would be asked and paid, told in full and without a budget, and what comes after it."""

from __future__ import annotations

import math
import random

import pytest
from scripted_teacher import completion, scripted

from mammoth_utils.curation import describe, pipeline, tables, teacher_stage
from mammoth_utils.curation.sources.registry import SOURCES, LoadedSource
from mammoth_utils.curation.teacher import self_instruct, synthesis
from mammoth_utils.curation.teacher.synthesis import Plan
from mammoth_utils.rationale import Problem

PRICED = {"teacher": "https://teacher.example/v1", "teacher_model": "gpt-4o-mini"}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Runs and data of this test alone; there is no real data."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()


def entries(monkeypatch, problems: int, wanted: int) -> None:
    """Let a data set hold problems for programs, and College-Math."""
    asked = [Problem(f"p/{number}", f"What is {number} + 1?", str(number + 1)) for number in range(problems)]
    loaded = [LoadedSource(SOURCES["GSM8K (PoT)"], "GSM8K (PoT)", problems=asked),
              LoadedSource(SOURCES["College-Math (CoT)"], "College-Math (CoT)", to_write=wanted)]  # fmt: skip
    monkeypatch.setattr(teacher_stage, "load_sources", lambda *given, **more: loaded)


def test_a_priced_teacher_is_planned_without_a_budget_and_the_last_row_is_the_sum(monkeypatch):
    entries(monkeypatch, problems=5, wanted=40)
    planned = teacher_stage.plan_teacher_requests(describe("rebuild", **PRICED))
    table = tables.teacher_plans(planned)
    assert list(table["source"]) == ["GSM8K (PoT)", "College-Math (CoT)", "all"]
    assert list(table["requests"]) == [5, 16, 21]
    assert table["dollars"].iloc[-1] == pytest.approx(table["dollars"].iloc[:-1].sum())
    assert 0 < planned["GSM8K (PoT)"].dollars <= planned["GSM8K (PoT)"].dollars_most < math.inf
    assert planned["College-Math (CoT)"].dollars_most == math.inf, "what repeats itself costs further requests"
    assert "no bound but the budget" in str(planned["College-Math (CoT)"])


def test_second_answers_are_planned_where_all_prose_must_agree(monkeypatch):
    entries(monkeypatch, problems=0, wanted=40)
    planned = teacher_stage.plan_teacher_requests(describe("rebuild", **PRICED, agreement="all"))
    assert {name: plan.requests for name, plan in planned.items()} == {
        "College-Math (CoT)": 16, "College-Math (CoT): second answers": 40}  # fmt: skip
    thrice = teacher_stage.plan_teacher_requests(
        describe("rebuild", **PRICED, agreement="all", samples=3, temperature=1.0)
    )
    assert {name: plan.requests for name, plan in thrice.items()} == {
        "College-Math (CoT)": 24, "College-Math (CoT): second answers": 120}  # fmt: skip


def test_a_plan_counts_what_is_sent_when_every_problem_is_new(monkeypatch):
    entries(monkeypatch, problems=3, wanted=40)
    written = iter(range(10_000))

    def author(body):
        if "### Problem" not in body["messages"][1]["content"]:
            return 200, completion("So.\nThe answer is 7."), {}
        blocks = []
        for number in (next(written) for _ in range(self_instruct.WANTED)):
            words = " ".join(
                "".join(random.Random(f"{number}/{each}").choices("aeioklmnrst", k=6)) for each in range(12)
            )
            blocks.append(f"### Problem\nFind the {words}.\n### Solution\nSo.\nThe answer is 7.")
        return 200, completion("\n\n".join(blocks)), {}

    with scripted(author) as served:
        description = describe("rebuild", teacher=served.base_url, teacher_model="m", agreement="all")
        planned = synthesis.total(teacher_stage.plan_teacher_requests(description).values())
        teacher_stage.ask_for_rows(teacher_stage.load_sources(), description, 0, lambda line: None)
        assert len(served.bodies) == planned.requests == 3 + 16 + 40


@pytest.mark.parametrize(
    ("dollars", "most", "expected"),
    [
        (0.0, 0.0, "0.00 dollars expected, 0.00 at most"),
        (0.00012, 0.0034567, "0.00012 dollars expected, 0.003457 at most"),
        (1e-9, 2e-6, "0.000001 dollars expected, 0.000002 at most"),
        (0.3, 1.001, "0.30 dollars expected, 1.01 at most"),
        (12.0, 345.678, "12.00 dollars expected, 345.68 at most"),
    ],
)
def test_no_small_sum_reads_as_nothing(dollars, most, expected):
    assert str(Plan(1, 0, 10, 10, dollars, most, "a rule")).endswith(expected)


def test_after_a_dry_run_of_a_teachers_sources_alone_the_page_goes_on_with_the_miniature():
    said = []
    description = describe("rebuild", "GSM8K (PoT),College-Math (CoT)", **PRICED)
    left = teacher_stage.description_after_dry_run(description, said.append)
    assert (left.dataset, left.teacher, left.name) == ("miniature", "miniature", f"{description.name}-dry")
    assert "miniature" in said[0]
    assert said[1].startswith("missing: College-Math (CoT)") or said[1].startswith("missing: GSM8K (PoT)")
    assert not any(entry.missing for entry in pipeline.load_described(left))


def test_after_a_dry_run_the_sources_that_are_there_go_on(monkeypatch):
    there = [
        LoadedSource(SOURCES["GSM8K (CoT)"], "GSM8K (CoT)"),
        LoadedSource(SOURCES["GSM8K (PoT)"], "x", missing="a teacher's"),
    ]
    monkeypatch.setattr(teacher_stage, "load_sources", lambda *given, **more: there)
    left = teacher_stage.description_after_dry_run(describe("rebuild", **PRICED), pytest.fail)
    assert (left.dataset, left.teacher) == ("rebuild", "miniature")
    assert teacher_stage.description_after_dry_run(describe(), pytest.fail) == describe(), (
        "the miniature's own costs nothing"
    )
