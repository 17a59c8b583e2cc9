"""Self-Instruct for College-Math: new problems with their solutions, bootstrapped from a few of our own."""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from mammoth_utils import records
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import TEACHER
from mammoth_utils.curation.near_duplicates import jaccard, shingles
from mammoth_utils.curation.teacher import messages, synthesis
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.prompt_files import Prompt, prompt_for
from mammoth_utils.curation.teacher.synthesis import Answer
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.grading import SIMILARITY, grade, question_tokens, read_answer
from mammoth_utils.prompts import ANSWER_TRIGGER
from mammoth_utils.rationale import Problem, Rationale

SOURCE = "College-Math (CoT)"
CONFIRMING = "TheoremQA (CoT)"  # whose prompt puts a problem alone
BENCHMARK = "theoremqa"  # whose rule compares two answers to one college problem
SHOWN = 4  # examples in a request
GROWN = 1  # of them, at most so many from what was written before; Self-Instruct shows 2 of 8
WANTED = 4  # problems asked for in a request
PER_ROUND = 8  # requests that may be under way together; the next round can show what they gave
BARREN = 3  # rounds in a row without a new problem after which the teacher has no more

_PROBLEM, _SOLUTION = "### Problem", "### Solution"
# A heading of the form that was asked for, which takes its whole line, or a bold one, behind which a text may begin.
_HEADING = (
    r"^(?:#{{1,4}}[ \t]*(?:\*\*|__)?{0}\b[^\n]*(?:\n|\Z)|(?:\*\*|__){0}(?:[ \t]+\d+)?[.:]?(?:\*\*|__)[.:]?[ \t]*\n?)"
)
_BLOCK = re.compile(_HEADING.format("Problem"), re.MULTILINE | re.IGNORECASE)
_PARTS = re.compile(_HEADING.format("Solution"), re.MULTILINE | re.IGNORECASE)
_RULE = re.compile(r"(?:^[ \t]*(?:-{3,}|\*{3,}|_{3,})[ \t]*(?:\n+|\Z))+\Z", re.MULTILINE)
_ANSWER = re.compile(re.escape(ANSWER_TRIGGER.strip()) + r"(?:\*\*|__)?[ :]+(.+?)\s*\Z", re.IGNORECASE)
SURPLUS = "more than were asked for"


@dataclass(frozen=True)
class Example:
    """A problem with its solution, which ends in ``The answer is X.``; a seed has its field and a check besides."""

    problem: str
    solution: str
    field: str = ""
    answer: str = ""
    check: str = ""

    @property
    def text(self) -> str:
        """Return the text that is shown to the teacher, in the form in which it is to write."""
        return f"{_PROBLEM}\n{self.problem}\n{_SOLUTION}\n{self.solution}"


@dataclass
class Written:
    """Problems that Self-Instruct gave, and those thrown out.

    Attributes:
        answers: The teacher's messages, which the ledger counts.
        unfinished: Why it ended before there were enough; empty if there are.
    """

    rationales: list[Rationale] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    unfinished: str = ""


@cache
def seeds() -> tuple[Example, ...]:
    """Return the examples of ``college_math_seeds.yaml``."""
    import yaml

    rows = yaml.safe_load(_seed_text())["seeds"]
    return tuple(Example(**{key: str(value).strip() for key, value in row.items()}) for row in rows)


def seed_hash() -> str:
    """Return a short hash of the seeds' file, which is part of every row's history."""
    return records.fingerprint(_seed_text())


def _seed_text() -> str:
    return (resources.files("mammoth_utils.curation.teacher") / "college_math_seeds.yaml").read_text(encoding="utf8")


def write_problems(
    count: int,
    teacher: Teacher,
    store: Store,
    budget: Budget,
    seed: int = 42,
    on_step: Callable[[int, int], None] | None = None,
) -> Written:
    """Return as many new problems with solutions as are asked for, if the teacher and the budget give them.

    Each request shows a few examples, seeds and at most one that was written in an earlier round, and asks for new
    ones. The draw follows from ``seed`` and from what came before, so a run that was killed replays its stored rounds
    and goes on with the next. As in the paper the solutions are not validated, so the problems have no gold;
    ``confirm_answers`` asks a second time and keeps those whose answers agree.

    Args:
        on_step: Called with (problems written, count).
    """
    prompt = prompt_for(SOURCE)
    written, known = Written(), [_shape(example.problem) for example in seeds()]
    grown: list[Example] = []
    number = barren = 0
    while len(written.rationales) < count and barren < BARREN:
        before = len(written.rationales)
        requests = [_request(f"{seed}/{number}/{each}", grown) for each in range(PER_ROUND)]
        answers = synthesis.ask(requests, teacher, store, budget, prompt)
        written.answers += answers
        for answer in answers:
            examples = parse(answer.text or "")
            if not examples and answer.text is not None:
                written.dropped.append(_empty(answer, prompt, teacher))
            for example in examples:
                row = _row(answer, example, prompt, teacher, len(written.rationales) + len(written.dropped))
                reason, detail = _fault(example, known)
                if answer.finish == "length" and example is examples[-1]:  # though it may look whole
                    reason, detail = messages.CUT, ""
                if reason:
                    written.dropped.append(Dropped(row, "teacher", reason, detail))
                    continue
                known.append(_shape(example.problem))
                grown.append(example)
                written.rationales.append(row)
        if on_step:
            on_step(min(len(written.rationales), count), count)
        errors = [answer.error for answer in answers if answer.text is None]
        if errors and len(written.rationales) < count:
            # The next round would be drawn from another pool than in a run without the gap.
            written.unfinished = f"{len(errors)} of {len(answers)} requests have no answer: {errors[0]}"
            return written
        barren = barren + 1 if len(written.rationales) == before else 0
        number += 1
    if len(written.rationales) < count:
        written.unfinished = f"{BARREN} rounds in a row gave nothing new"
    written.dropped += [Dropped(row, "teacher", SURPLUS) for row in written.rationales[count:]]
    del written.rationales[count:]
    return written


def plan_problems(count: int, teacher: Teacher, store: Store, seed: int = 42) -> synthesis.Plan:
    """Return what ``write_problems`` would send if every problem that the teacher writes were a new one.

    Later requests show what earlier ones gave, so those after the first round are priced as if they showed seeds, and
    count as not answered before. Problems that are thrown out cost further rounds, as many as the teacher's repeating
    itself makes, so nothing but the budget bounds the cost. An unknown price is an error, as in ``plan_requests``.
    """
    rounds = math.ceil(count / (WANTED * PER_ROUND * teacher.samples))
    requests = [_request(f"{seed}/{number}/{each}", []) for number in range(rounds) for each in range(PER_ROUND)]
    plan = synthesis.plan_requests(requests, teacher, store, prompt_for(SOURCE))
    return _unbounded(plan, teacher, f"{plan.basis}; {WANTED} new problems from each request")


def plan_confirmations(count: int, teacher: Teacher, store: Store) -> synthesis.Plan:
    """Return what ``confirm_answers`` would send for so many problems, priced as if they were like the seeds."""
    alike = [
        Problem(f"{number}", f"{seeds()[number % len(seeds())].problem} ({number})", "") for number in range(count)
    ]
    plan = synthesis.plan_requests(alike, teacher, store, prompt_for(CONFIRMING))
    return _unbounded(plan, teacher, f"{plan.basis}; problems as long as the seeds")


def _unbounded(plan: synthesis.Plan, teacher: Teacher, basis: str) -> synthesis.Plan:
    most = math.inf if any(teacher.prices()) else 0.0
    return dataclasses.replace(plan, dollars_most=most, basis=basis)


def _request(name: str, grown: list[Example]) -> Problem:
    """Return the request of a name; which examples it shows follows from the name and the pool."""
    rng = random.Random(f"self-instruct/{name}")
    shown = rng.sample(grown, min(GROWN, len(grown)))
    shown = rng.sample(seeds(), SHOWN - len(shown)) + shown
    examples = "\n\n".join(example.text for example in shown)
    return Problem(f"self-instruct/{name}", f"{examples}\n\n(Now {WANTED} new ones.)", "", set=SOURCE)


def parse(text: str) -> list[Example]:
    """Return the problems in a teacher's message, in its order; one without a solution has an empty one."""
    examples = []
    for block in _BLOCK.split(text)[1:]:
        problem, *solution = _PARTS.split(block, maxsplit=1)
        body = _without_rule(solution[0]) if solution else ""
        answer = _ANSWER.search(body)
        examples.append(Example(_without_rule(problem), body, answer=_plain(answer[1]) if answer else ""))
    return examples


def _without_rule(text: str) -> str:
    """Return a text without the horizontal rule by which some models part one problem from the next."""
    return _RULE.sub("", text.strip()).strip()


def _plain(answer: str) -> str:
    """Return an answer without its full stop and the marks that make it bold."""
    answer = answer.strip()
    for mark in ("**", "__"):
        if answer.count(mark) == 1 and answer.endswith(mark):  # it opened before "The answer is"
            answer = answer.removesuffix(mark)
        answer = answer.removesuffix(".").strip()
        if answer.count(mark) == 2 and answer.startswith(mark) and answer.endswith(mark):
            answer = answer[len(mark) : -len(mark)].removesuffix(".").strip()
    return answer


def _fault(example: Example, known: list[set]) -> tuple[str, str]:
    """Return reason and detail for which an example is thrown out, or two empty strings."""
    if not example.problem:
        return "empty problem", ""
    if not example.solution:
        return "no solution", ""
    if not example.answer:
        return "no final answer", example.solution[-80:]
    shape = _shape(example.problem)
    nearest = max((jaccard(shape, other) for other in known), default=0.0)
    if nearest >= SIMILARITY:
        return "like an earlier problem", f"similarity {nearest:.2f}"
    return "", ""


def _shape(problem: str) -> set:
    """Return the shingles of a problem with its numbers hidden: other numbers alone do not make a new problem."""
    return shingles(["0" if word[0].isdigit() else word for word in question_tokens(problem)])


def _row(answer: Answer, example: Example, prompt: Prompt, teacher: Teacher, number: int) -> Rationale:
    problem = Problem(f"college-math/{answer.request}/{number}", example.problem, "", set=SOURCE)
    history = synthesis.history(answer, teacher, prompt) | {"seeds": seed_hash(), "claimed": example.answer}
    return Rationale(problem, "cot", example.solution, SOURCE, f"{TEACHER}{teacher.model}", history)


def _empty(answer: Answer, prompt: Prompt, teacher: Teacher) -> Dropped:
    """Return a message that holds no problem as a dropped row: what was asked, and what came."""
    none = synthesis.dropped(answer, SOURCE, teacher, prompt)
    ordinary = answer.text and answer.finish != "length" and none.reason == messages.NO_ANSWER
    return dataclasses.replace(none, reason="no problem in the message") if ordinary else none


def confirm_answers(
    written: list[Rationale], teacher: Teacher, store: Store, budget: Budget
) -> tuple[list[Rationale], list[Dropped], list[Answer]]:
    """Return the rows whose answer a second, independent solution reaches too, with that answer as their gold.

    The problem is put alone, with the prompt of TheoremQA's chains of thought. This goes beyond the paper, which
    kept College-Math unvalidated; the second answers belong in the ledger as well.
    """
    prompt = prompt_for(CONFIRMING)
    answers = synthesis.ask([row.problem for row in written], teacher, store, budget, prompt)
    kept, dropped = [], []
    samples = teacher.samples
    for number, row in enumerate(written):
        own = answers[number * samples : (number + 1) * samples]
        claimed = row.history["claimed"]
        texts = [answer.text for answer in own if answer.text]
        if not texts:
            reason = synthesis.dropped(own[0], SOURCE, teacher, prompt).reason
            dropped.append(Dropped(row, "teacher", "no second answer", reason))
            continue
        second = [read_answer(text, benchmark=BENCHMARK, rule="corrected") for text in texts]
        verdicts = [grade(answer, claimed, benchmark=BENCHMARK, rule="corrected") for answer in second]
        agreeing = sum(verdict.correct for verdict in verdicts)
        history = {"second_answers": [answer.request for answer in own], "agreeing": agreeing}
        if 2 * agreeing > len(texts):
            problem = Problem(row.problem.id, row.problem.question, claimed, set=SOURCE)
            kept.append(row.replaced(problem=problem).with_history(**history))
        else:
            dropped.append(Dropped(row.with_history(**history), "teacher", "second answer differs", verdicts[0].reason))
    return kept, dropped, answers
