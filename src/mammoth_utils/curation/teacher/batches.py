"""The batch API: many requests in one file, answered within a day at a share of the price."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation.teacher import batch_results, live_requests
from mammoth_utils.curation.teacher.answer_store import UNSENT, Store
from mammoth_utils.curation.teacher.batch_results import FETCHED
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.curation.teacher.unsupported_parameters import Body, adapt_request
from mammoth_utils.records import Record

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000  # of one batch, and the bytes of its file: the vendor's limits, a margin left on the second
MOST_BYTES = 150_000_000
POLL_S = 30.0
ROUNDS = 4  # of batches whose answers say that asking again may help
RETRIES = 8  # of what costs nothing: uploading, looking and fetching, by the client's own back-off
MARK = "mammoth_batch"  # the key in a batch's metadata under which it is found again after a kill
MADE, UPLOADED, CREATED = "made", "uploaded", "created"
ENDED = ("completed", "failed", "expired", "cancelled")


def send(
    bodies: dict[str, Body], teacher: Teacher, store: Store, budget: Budget, on_answer: Callable[[], None]
) -> dict[str, Record]:
    """Return the answers to requests by the batch API; the caller holds ``store.sending``.

    Each step is on disk before the next: intents, the file's name, the batch's. A process that was killed goes on
    with the batches that it finds, and one that was created but not noted is found by its metadata, so that nothing
    is paid twice. A model's refusal of a parameter is learnt, and those requests go into another batch.

    Raises:
        TeacherError: If the endpoint has no batch API, refuses a batch, or what it refuses cannot be adapted.
    """
    import openai

    answers: dict[str, Record] = {}
    tried: set[str] = set()
    missing, again, failures = bodies, False, 0
    with live_requests.open_client(teacher) as client:
        try:
            _finish(client, teacher, store, budget)
            missing = _collect(missing, store, answers, on_answer)
            while failures < ROUNDS:
                # Answers mostly cost less than was allowed for, so after a round there may be money for others.
                untried = {request: body for request, body in missing.items() if again or request not in tried}
                affordable = _affordable(untried, teacher, budget)
                if not affordable:
                    break
                for part in _parts(affordable, teacher, store):
                    _make(part, teacher, store)
                again = _finish(client, teacher, store, budget)
                failures += again
                tried |= set(affordable)
                missing = _collect(missing, store, answers, on_answer)
        except openai.OpenAIError as error:
            raise TeacherError(
                f"the batch API of {teacher.base_url} does not answer as expected: {error}; what was made so far is "
                "noted, the same command goes on from there"
            ) from error
    for request in missing:
        answers[request] = live_requests.failed(
            store.reason(request) if request in tried else live_requests.OVER_BUDGET
        )
        on_answer()
    return answers


def _collect(
    bodies: dict[str, Body], store: Store, answers: dict[str, Record], on_answer: Callable[[], None]
) -> dict[str, Body]:
    """Move what is stored by now into the answers; return the rest."""
    missing = {}
    for request, body in bodies.items():
        stored = store.get(request)
        if stored is None:
            missing[request] = body
        else:
            answers[request] = stored
            on_answer()
    return missing


def _affordable(bodies: dict[str, Body], teacher: Teacher, budget: Budget) -> dict[str, Body]:
    """Return the requests that the budget holds together, at the most that each can cost."""
    chosen, most = {}, 0.0
    for request, body in bodies.items():
        dollars = teacher.most_a_request_costs(body["messages"])
        if not dollars or budget.spent_usd + most + dollars <= budget.limit_usd:
            chosen[request] = body
            most += dollars
    return chosen


def _parts(bodies: dict[str, Body], teacher: Teacher, store: Store) -> Iterator[dict[str, Body]]:
    """Yield requests as they are sent, in parts that one batch can hold."""
    names = store.learned(teacher.key)
    part: dict[str, Body] = {}
    size = 0
    for request, body in bodies.items():
        sent = adapt_request(body, names)
        length = len(_line(request, sent))
        if part and (len(part) == MOST_REQUESTS or size + length > MOST_BYTES):
            yield part
            part, size = {}, 0
        part[request] = sent
        size += length
    if part:
        yield part


def _line(request: str, body: Body) -> bytes:
    return json.dumps({"custom_id": request, "method": "POST", "url": URL, "body": body}).encode() + b"\n"


def _make(part: dict[str, Body], teacher: Teacher, store: Store) -> None:
    """Put a batch on disk with the intents of its requests, before anything of it is sent."""
    name = records.fingerprint([teacher.key, len(store.batches(teacher.key)), sorted(part)])
    records.write_text(batch_results.file_of(store, name), b"".join(_line(*entry) for entry in part.items()).decode())
    most = {request: (0, teacher.most_a_request_costs(body["messages"])) for request, body in part.items()}
    store.add_batch({"name": name, "teacher": teacher.key, "state": MADE, "file": "", "batch": ""}, most)


def _finish(client: Any, teacher: Teacher, store: Store, budget: Budget) -> bool:
    """Upload, create, wait for and fetch every open batch; return whether asking again may help."""
    import openai

    patient = client.with_options(max_retries=RETRIES)
    unfinished = [batch for batch in store.batches(teacher.key) if batch["state"] != FETCHED]
    for batch in unfinished:  # all are under way before the first is waited for
        if batch["state"] == MADE:
            content = batch_results.file_of(store, batch["name"]).read_bytes()
            uploaded = patient.files.create(file=(f"{batch['name']}.jsonl", content), purpose="batch")
            batch |= {"state": UPLOADED, "file": uploaded.id}
            store.save_batch(batch)
        if batch["state"] == UPLOADED:
            try:
                batch |= {"batch": _create(client, patient, batch["name"], batch["file"]), "state": CREATED}
            except (openai.BadRequestError, openai.NotFoundError) as error:  # its file is gone, or it may not be
                batch_results.close(batch, store, UNSENT, "the batch was refused")
                raise TeacherError(f"{teacher.base_url} refuses to create a batch: {error}") from error
            store.save_batch(batch)
    return any([_fetch(patient, batch, teacher, store, budget) for batch in unfinished])


def collect_earlier(
    bodies: dict[str, Body], teacher: Teacher, store: Store, budget: Budget, on_answer: Callable[[], None]
) -> dict[str, Record]:
    """Return the answers that a teacher's earlier batches hold, before it is asked live: what is in one is paid once.

    Ended batches are fetched; one that was never created is given up. The caller holds ``store.sending``.

    Raises:
        TeacherError: If a batch with some of these requests is under way, naming it, or the batch API does not answer.
    """
    import openai

    unfinished = [batch for batch in store.batches(teacher.key) if batch["state"] != FETCHED]
    if not unfinished:
        return {}
    by_batch = dataclasses.replace(teacher, batch=True)  # whose answers cost a batch's share
    under_way = []
    with live_requests.open_client(teacher) as client:
        patient = client.with_options(max_retries=RETRIES)
        try:
            for batch in unfinished:
                if batch["state"] == UPLOADED and (created := _find_created(patient, batch["name"])):
                    batch |= {"batch": created, "state": CREATED}
                    store.save_batch(batch)
                if batch["state"] != CREATED:
                    batch_results.close(batch, store, UNSENT, "given up for asking live")
                    continue
                intents = store.intents_of(batch["name"])
                mine = sum(intent["request"] in bodies for intent in intents if not intent["outcome"])
                if _fetch(patient, batch, by_batch, store, budget, wait=False) is None and mine:
                    under_way.append(f"{batch['batch']} ({mine:,} of these requests)")
        except openai.OpenAIError as error:
            raise TeacherError(
                f"the batch API of {teacher.base_url}, where {len(unfinished)} batches of an earlier start lie, does "
                f"not answer as expected: {error}; nothing is asked live that one of them may hold"
            ) from error
    if under_way:
        raise TeacherError(
            f"{teacher.base_url} is still at work on {', '.join(under_way)}; asked live they would be paid twice. "
            "Either ask by batch (batch=True), which waits for them, or cancel them at the endpoint: then this command "
            "fetches what they gave and asks live for the rest"
        )
    answers: dict[str, Record] = {}
    _collect(bodies, store, answers, on_answer)
    return answers


def _find_created(patient: Any, name: str) -> str:
    """Return the name at the endpoint of a batch that an earlier start created; empty if there is none."""
    return next((batch.id for batch in patient.batches.list() if (batch.metadata or {}).get(MARK) == name), "")


def _create(client: Any, patient: Any, name: str, file: str) -> str:
    """Return the batch's name at the endpoint, created unless an earlier start did so without noting it.

    Creating is what costs money, so it is never sent twice blindly: after a failure the endpoint's list is read.
    """
    import openai

    for last in (False, False, True):
        if created := _find_created(patient, name):
            return created
        try:
            return client.batches.create(
                completion_window="24h", endpoint=URL, input_file_id=file, metadata={MARK: name}
            ).id
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
            if last:
                raise
            time.sleep(POLL_S)
    raise AssertionError("the last try returns or raises")


def _fetch(
    patient: Any, batch: Record, teacher: Teacher, store: Store, budget: Budget, wait: bool = True
) -> bool | None:
    """Wait until a batch has ended, store its answers and end its intents; return whether asking again may help.

    Without ``wait`` a batch under way gives None, and one that failed raises nothing: it has cost nothing.
    """
    import openai

    try:
        while (state := patient.batches.retrieve(batch["batch"])).status not in ENDED:
            if not wait:
                return None
            time.sleep(POLL_S)
        again = batch_results.settle(patient, batch, state, teacher, store, budget)
    except openai.NotFoundError:
        return batch_results.gone(batch, store, budget)
    if wait and state.status == "failed":
        reason = "; ".join(error.message or "" for error in (state.errors.data if state.errors else None) or ())
        raise TeacherError(f"{teacher.base_url} refuses the batch {batch['batch']}: {reason or 'without a reason'}")
    return again
