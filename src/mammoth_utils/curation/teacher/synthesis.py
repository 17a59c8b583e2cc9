"""Ask a teacher for rationales: prompts from files, answers stored, nothing asked twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mammoth_utils import records
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import TEACHER
from mammoth_utils.curation.teacher import batches, live_requests, messages
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.live_requests import OVER_BUDGET
from mammoth_utils.curation.teacher.prompt_files import Prompt, load_prompt
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record

CHARACTERS_PER_TOKEN = 4  # a rough rule for English, where no stored answer of the model says better


@dataclass(frozen=True)
class Answer:
    """An answer to one request; ``text`` is None where none came, and ``error`` says why.

    Attributes:
        request: The hash of the whole request, under which the answer is stored.
        prompt_tokens: As the endpoint reports them; ``usage`` says where it did not.
        completion_tokens: The same of the answer, reasoning included.
        finish: Why it ended: ``stop``, or ``length`` where ``max_tokens`` cut it.
        refusal: The model's own words where its message is a refusal.
        answered_by: The model's name in the response, which can be a dated version of the one that was asked.
        usage: ``reported``, or ``at most`` where upper bounds stand for what the endpoint does not report.
        dollars: What it cost when it was asked.
        batch: Whether it came by the batch API.
        adapted: Names of the ``unsupported_parameters.ADAPTATIONS`` by which the request was changed for the model.
        sample: The number of this answer among those to the same problem, from 0.
    """

    problem: Problem
    request: str
    text: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = ""
    error: str = ""
    answered_by: str = ""
    usage: str = "reported"
    dollars: float = 0.0
    batch: bool = False
    adapted: tuple[str, ...] = ()
    sample: int = 0
    refusal: str = ""

    @property
    def refused(self) -> bool:
        """Return whether there is no answer because the endpoint refuses this request, whenever it is asked."""
        return self.text is None and live_requests.is_permanent(self.error)

    @property
    def over_budget(self) -> bool:
        """Return whether it was not asked for because of the budget."""
        return self.error == OVER_BUDGET


def request_body(problem: Problem, teacher: Teacher, prompt: Prompt, sample: int = 0) -> Record:
    """Return the body of the chat request; further samples carry a seed of their own, which tells them apart."""
    body = {"model": teacher.model, "messages": prompt.messages(problem), "max_tokens": teacher.max_tokens}
    body |= {} if teacher.temperature is None else {"temperature": teacher.temperature}
    return body | ({"seed": sample} if sample else {})


def request_key(body: Record, teacher: Teacher) -> str:
    """Return the hash under which an answer is stored: of the whole body, and the endpoint unless it is local.

    A local server has another port each time; its model's name says who answered. It is the body before a model's
    refusals adapt it, so that the answer is found whatever was learnt meanwhile.
    """
    return records.fingerprint({"endpoint": teacher.endpoint, **body})


def _requests(problems: list[Problem], teacher: Teacher, prompt: Prompt) -> list[tuple[Problem, int, str, dict]]:
    bodies = [(problem, sample, request_body(problem, teacher, prompt, sample))
              for problem in problems for sample in range(teacher.samples)]  # fmt: skip
    return [(problem, sample, request_key(body, teacher), body) for problem, sample, body in bodies]


def ask(
    problems: Iterable[Problem],
    teacher: Teacher,
    store: Store,
    budget: Budget,
    prompt: Prompt | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Return the teacher's answers in the order of the problems; stored ones are not asked again.

    Args:
        teacher: Whom, and for how many samples of each; the answers to one problem follow one another.
        store: Where answers are kept. One process at a time asks a teacher out of a store; others wait.
        budget: Shared by all sources of a run. What these requests cost in an earlier start counts as spent, the
            lost ones among them with the most they can have cost; when the limit could be passed, the rest comes
            back unanswered with ``OVER_BUDGET``.
        prompt: The prompt; ``load_prompt("pot")`` by default.
        on_step: Called with (answered, all).

    Raises:
        TeacherError: If the price is unknown, there is one and no budget, the endpoint refuses (key, model, path), or
            it is down; or if it is asked live for what a batch under way holds.
    """
    teacher.check_budget()
    requests = _requests(list(problems), teacher, prompt or load_prompt("pot"))
    bodies = {key: body for _, _, key, body in requests}
    answers = _stored(bodies, store)
    if len(answers) < len(bodies):
        with store.sending(teacher.key):
            answers = _stored(bodies, store)  # another process may have asked while this one waited
            _count_earlier(answers, bodies, teacher, store, budget)
            done = len(answers)

            def step() -> None:
                nonlocal done
                done += 1
                if on_step:
                    on_step(done, len(bodies))

            send = batches.send
            if not teacher.batch:
                answers |= batches.collect_earlier(_without(bodies, answers), teacher, store, budget, step)
                send = live_requests.send
            answers |= send(_without(bodies, answers), teacher, store, budget, step)
    else:
        _count_earlier(answers, bodies, teacher, store, budget)
    return [_answer(problem, key, sample, answers[key]) for problem, sample, key, _ in requests]


def _without(bodies: dict[str, Record], answers: dict[str, Record]) -> dict[str, Record]:
    return {key: body for key, body in bodies.items() if key not in answers}


def _stored(bodies: Iterable[str], store: Store) -> dict[str, Record]:
    return {key: answer for key in bodies if (answer := store.get(key)) is not None}


def _count_earlier(
    answers: dict[str, Record], bodies: Iterable[str], teacher: Teacher, store: Store, budget: Budget
) -> None:
    for key, answer in answers.items():
        known = teacher.dollars(answer["prompt_tokens"], answer["completion_tokens"])
        budget.count(key, answer.get("dollars", known))
    for intent in store.lost(bodies):
        budget.count(intent["intent"], intent["most_usd"])


def _answer(problem: Problem, key: str, sample: int, stored: Record) -> Answer:
    return Answer(problem, key, **{**stored, "adapted": tuple(stored.get("adapted", ()))}, sample=sample)


@dataclass(frozen=True)
class Plan:
    """The requests that asking would send and their cost, before anything is asked.

    Attributes:
        requests: Requests in all, equal ones once.
        stored: Those whose answer is stored, which cost nothing more.
        prompt_tokens: Expected tokens of the others' prompts.
        completion_tokens: Expected tokens of their answers.
        dollars: What they are expected to cost.
        dollars_most: What they can cost at most; a budget of this much, besides what the stored ones cost, never stops
            them unless answers are lost. Infinite where nothing but the budget bounds them.
        basis: What the expectation rests on.
    """

    requests: int
    stored: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float
    dollars_most: float
    basis: str

    def __str__(self) -> str:
        bounded = math.isfinite(self.dollars_most)
        most = f"{_money(self.dollars_most)} at most" if bounded else "no bound but the budget"
        return (
            f"{self.requests:,} requests, {self.stored:,} of them answered before; to send: "
            f"{self.requests - self.stored:,} with about {self.prompt_tokens:,} + {self.completion_tokens:,} tokens "
            f"({self.basis}), {_money(self.dollars)} dollars expected, {most}"
        )


def _money(dollars: float) -> str:
    """Return dollars rounded up, to cents from a dollar on and to millionths below; no small sum reads as nothing."""
    digits = 2 if dollars >= 1 else 6
    whole, part = f"{math.ceil(round(dollars * 10**digits, 6)) / 10**digits:.{digits}f}".split(".")
    return f"{whole}.{part.rstrip('0'):0<2}"


_ADDED = ("requests", "stored", "prompt_tokens", "completion_tokens", "dollars", "dollars_most")


def total(plans: Iterable[Plan]) -> Plan:
    """Return several plans as one."""
    plans = list(plans)
    return Plan(**{key: sum(getattr(plan, key) for plan in plans) for key in _ADDED}, basis="the rows above")


def plan_requests(problems: Iterable[Problem], teacher: Teacher, store: Store, prompt: Prompt | None = None) -> Plan:
    """Return what ``ask`` with the same arguments would send and what that costs; nothing is sent.

    It wants no budget, since it says what one would have to be.

    Raises:
        TeacherError: If the price is unknown.
    """
    teacher.prices()
    bodies = {key: body for _, _, key, body in _requests(list(problems), teacher, prompt or load_prompt("pot"))}
    unanswered = {key: body for key, body in bodies.items() if store.get(key) is None}
    known = [(body, answer) for body, answer in store.answers_of(teacher.model) if answer["prompt_tokens"]]
    characters = sum(map(_characters, unanswered.values()))
    if known:
        per_token = sum(_characters(body) for body, _ in known) / sum(answer["prompt_tokens"] for _, answer in known)
        each = sum(answer["completion_tokens"] for _, answer in known) / len(known)
        basis = f"as in {len(known):,} stored answers of this model"
    else:
        per_token, each = CHARACTERS_PER_TOKEN, teacher.max_tokens
        basis = f"{CHARACTERS_PER_TOKEN} characters a token and answers of max_tokens={teacher.max_tokens}"
    prompt_tokens, completion_tokens = round(characters / per_token), round(each * len(unanswered))
    most = sum(teacher.most_a_request_costs(body["messages"]) for body in unanswered.values())
    return Plan(len(bodies), len(bodies) - len(unanswered), prompt_tokens, completion_tokens,
                teacher.dollars(prompt_tokens, completion_tokens), most, basis)  # fmt: skip


def _characters(body: Record) -> int:
    return sum(len(message["content"]) for message in body["messages"])


def rationale(answer: Answer, source: str, teacher: Teacher, prompt: Prompt) -> Rationale | None:
    """Return the answer as a rationale of the kind that was asked for; None where it holds none."""
    text = messages.read_rationale(answer.text, prompt.kind) if answer.text is not None else None
    return None if text is None else _row(answer, text, source, teacher, prompt)


def dropped(answer: Answer, source: str, teacher: Teacher, prompt: Prompt) -> Dropped:
    """Return an answer that holds no rationale as dropped, with its text, its history and why."""
    if answer.text is None:
        reason = answer.error
    else:
        reason = messages.why_not(answer.text, prompt.kind, answer.finish, answer.refusal)
    return Dropped(_row(answer, answer.text or "", source, teacher, prompt), "teacher", reason)


def _row(answer: Answer, text: str, source: str, teacher: Teacher, prompt: Prompt) -> Rationale:
    author = f"{TEACHER}{teacher.model}"
    return Rationale(answer.problem, prompt.kind, text, source, author, history(answer, teacher, prompt))


def history(answer: Answer, teacher: Teacher, prompt: Prompt) -> Record:
    """Return where a row of a teacher comes from: the request, the prompt, and what was out of the ordinary."""
    entries: Record = {"request": answer.request, "prompt": prompt.label}
    entries |= {"sample": answer.sample} if teacher.samples > 1 else {}
    entries |= {"adapted": list(answer.adapted)} if answer.adapted else {}
    entries |= {"finish": answer.finish} if answer.finish not in ("", "stop") else {}
    answered_by = answer.answered_by or teacher.model
    return entries | ({"answered_by": answered_by} if answered_by != teacher.model else {})
