"""The stage of a curation that asks the teacher: which sources, with which prompt, and what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import paths
from mammoth_utils.curation.description import TERMS, Curation, describe
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.sources.loaders import load_sources
from mammoth_utils.curation.sources.registry import LoadedSource
from mammoth_utils.curation.teacher import self_instruct, synthesis
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget, Ledger
from mammoth_utils.curation.teacher.prompt_files import prompt_for
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.miniature import MINIATURE, WORLDS
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record

Say = Callable[[str], None]
SECOND = "second answers"


def store_file() -> Path:
    """Return where answers are kept: one file for all curations, so that none pays for an answer twice."""
    return paths.runs() / "teacher" / "answers.sqlite"


@contextlib.contextmanager
def teacher_of(description: Curation, workers: int = 0) -> Iterator[Teacher]:
    """Yield the teacher of a curation; the miniature's is served for as long as it is needed."""
    concurrency = workers or Teacher.concurrency
    if description.teacher != MINIATURE:
        yield description.teacher_at(description.teacher, description.teacher_model, concurrency)
        return
    from mammoth_utils.miniature import teacher

    with teacher.serve(description.dataset if description.dataset in WORLDS else MINIATURE) as served:
        yield description.teacher_at(served.base_url, served.model, concurrency)


def plan_teacher_requests(description: Curation) -> dict[str, synthesis.Plan]:
    """Return by source what asking would send and cost; sources that need no teacher are left out.

    Nothing is sent. Where all prose must agree, the second answers have a line of their own.
    """
    if description.dataset not in WORLDS and (description.dataset != "rebuild" or description.teacher == MINIATURE):
        return {}
    loaded = load_sources(description.dataset, description.sources, description.limit, description.seed)
    plans: dict[str, synthesis.Plan] = {}
    with teacher_of(description) as teacher, Store(store_file()) as store:
        for entry in loaded:
            if entry.problems:
                prompt = prompt_for(entry.name)
                plans[entry.name] = synthesis.plan_requests(entry.problems, teacher, store, prompt)
            if entry.to_write:
                plans[entry.name] = self_instruct.plan_problems(entry.to_write, teacher, store, description.seed)
            if entry.to_write and description.agreement == "all":
                plans[f"{entry.name}: {SECOND}"] = self_instruct.plan_confirmations(entry.to_write, teacher, store)
    return plans


def description_after_dry_run(description: Curation, say: Say) -> Curation:
    """Return what a page goes on with after a dry run: the sources that need no teacher, else the miniature."""
    left = description.without_teacher()
    if left is description or description.dataset not in (*WORLDS, "rebuild"):
        return left
    loaded = load_sources(left.dataset, left.sources, left.limit, left.seed, teacher=False)
    if any(not entry.missing for entry in loaded):
        return left
    say("none of these sources is there without a teacher; what follows is the miniature, which asks its own for free:")
    for entry in loaded:
        say(f"missing: {entry.name}: {entry.missing}")
    return describe(MINIATURE, agreement=description.agreement, decontaminate=description.decontaminate,
                    windows=",".join(map(str, description.windows)), name=left.name)  # fmt: skip


def has_open_requests(record: Record, description: Curation, say: Say) -> bool:
    """Return whether a finished curation has requests that the teacher may answer now, and say what stands.

    Requests that an outage left unanswered are open. Those that the budget left are open once one of ``TERMS`` was
    changed. Those that the endpoint refused for good are not.
    """
    total, before = record["ledger"]["total"], record["parameters"]
    unanswered, over_budget = total.get("unanswered", 0), total.get("over_budget", 0)
    if unanswered:
        say(f"{unanswered:,} requests have no answer yet; the others are stored, and those are sent again")
    elif over_budget:
        now = description.as_dict()
        same = all(before.get(term) == now[term] for term in TERMS)
        what = "the same command with a larger budget_usd sends them" if same else "those are sent now"
        say(f"{over_budget:,} requests did not fit into budget_usd={before['budget_usd']}; {what}")
        return not same
    return bool(unanswered)


def ask_for_rows(
    loaded: Sequence[LoadedSource], description: Curation, workers: int, say: Say
) -> tuple[list[Rationale], list[Dropped], Ledger]:
    """Return all rows in Table 1's order, the teacher's among them, those without a rationale, and the ledger."""
    rows: list[Rationale] = []
    dropped: list[Dropped] = []
    if not any(entry.problems or entry.to_write for entry in loaded):
        return [row for entry in loaded for row in entry.rationales], [], Ledger((0.0, 0.0))
    with teacher_of(description, workers) as teacher, Store(store_file()) as store:
        teacher.check_budget()
        ledger, budget = Ledger(teacher.prices(), teacher.model), Budget(teacher.budget_usd)
        for entry in loaded:
            rows += entry.rationales
            if entry.to_write:
                written, lost = _write_problems(entry, description, teacher, store, budget, ledger, say)
                rows += written
                dropped += lost
            if not entry.problems:
                continue
            prompt = prompt_for(entry.name)
            what = "programs" if prompt.kind == "pot" else "chains of thought"
            say(f"asking {teacher.model} for {len(entry.problems) * teacher.samples:,} {what}: {entry.name}")
            answers = synthesis.ask(entry.problems, teacher, store, budget, prompt)
            ledger.add(entry.name, answers, lost=store.lost({answer.request for answer in answers}))
            for answer in answers:
                row = synthesis.rationale(answer, entry.name, teacher, prompt)
                if row is None:
                    dropped.append(synthesis.dropped(answer, entry.name, teacher, prompt))
                else:
                    rows.append(row)
    return rows, dropped, ledger


def _write_problems(
    entry: LoadedSource, description: Curation, teacher: Teacher, store: Store, budget: Budget, ledger: Ledger, say: Say
) -> tuple[list[Rationale], list[Dropped]]:
    """Return problems that the teacher makes up with their solutions, and those thrown out.

    The paper left them unvalidated; where all prose must agree with a gold, a second solution makes one.
    """
    say(f"asking {teacher.model} for {entry.to_write:,} problems of its own: {entry.name}")
    written = self_instruct.write_problems(entry.to_write, teacher, store, budget, description.seed)
    rows, dropped, answers = written.rationales, written.dropped, written.answers
    if description.agreement == "all":
        rows, differing, more = self_instruct.confirm_answers(rows, teacher, store, budget)
        dropped, answers = dropped + differing, answers + more
    ledger.add(entry.name, answers, lost=store.lost({answer.request for answer in answers}))
    entry.notes = "; ".join(part for part in (entry.notes, written.unfinished) if part)
    return rows, dropped
