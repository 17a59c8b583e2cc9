"""The batch API: many requests in one file, answered within a day at a share of the price."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import sending
from mammoth_utils.curation.ledger import Budget
from mammoth_utils.curation.sending import Body
from mammoth_utils.curation.store import LOST, REFUSED, UNSENT, Store
from mammoth_utils.curation.teachers import Teacher, TeacherError

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000  # of one batch, and the bytes of its file: the vendor's limits, a margin left on the second
MOST_BYTES = 150_000_000
POLL_S = 30.0
ROUNDS = 4  # of batches whose answers say that asking again may help
RETRIES = 8  # of what costs nothing: uploading, looking and fetching, by the client's own back-off
MARK = "mammoth_batch"  # the key in a batch's metadata under which it is found again after a kill
MADE, UPLOADED, CREATED, FETCHED = "made", "uploaded", "created", "fetched"
ENDED = ("completed", "failed", "expired", "cancelled")


def send(
    bodies: dict[str, Body], teacher: Teacher, store: Store, budget: Budget, on_answer: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    """The answers to requests by the batch API; the caller holds ``store.sending``.

    Each step is on disk before the next: intents, the file's name, the batch's. A process that was killed goes on
    with the batches that it finds, and one that was created but not noted is found by its metadata, so that nothing
    is paid twice. A model's refusal of a parameter is learnt, and those requests go into another batch.

    Raises:
        TeacherError: If the endpoint has no batch API, refuses a batch, or what it refuses cannot be adapted.
    """
    import openai

    answers: dict[str, dict[str, Any]] = {}
    tried: set[str] = set()
    missing, again, failures = bodies, False, 0
    with sending.open_client(teacher) as client:
        try:
            _finish(client, teacher, store, budget)
            missing = _collect(missing, store, answers, on_answer)
            while failures < ROUNDS:
                # Answers mostly cost less than was allowed for, so after a round there may be money for others.
                wanted = {request: body for request, body in missing.items() if again or request not in tried}
                affordable = _affordable(wanted, teacher, budget)
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
        answers[request] = sending.failed(store.reason(request) if request in tried else sending.OVER_BUDGET)
        on_answer()
    return answers


def _collect(
    bodies: dict[str, Body], store: Store, answers: dict[str, dict[str, Any]], on_answer: Callable[[], None]
) -> dict[str, Body]:
    """Move what is stored by now into the answers; the rest."""
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
    """Those that the budget holds together, at the most that each can cost; no batch is open meanwhile."""
    chosen, most = {}, 0.0
    for request, body in bodies.items():
        dollars = teacher.most_a_request_costs(body["messages"])
        if not dollars or budget.spent_usd + most + dollars <= budget.limit_usd:
            chosen[request] = body
            most += dollars
    return chosen


def _parts(bodies: dict[str, Body], teacher: Teacher, store: Store) -> Iterator[dict[str, Body]]:
    """Requests as they are sent, in parts that one batch can hold."""
    names = store.learned(teacher.key)
    part: dict[str, Body] = {}
    size = 0
    for request, body in bodies.items():
        sent = sending.adapted(body, names)
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
    records.write_text(_file(store, name), b"".join(_line(*one) for one in part.items()).decode())
    most = {request: (0, teacher.most_a_request_costs(body["messages"])) for request, body in part.items()}
    store.add_batch({"name": name, "teacher": teacher.key, "state": MADE, "file": "", "batch": ""}, most)


def _file(store: Store, name: str) -> Path:
    return store.path.with_name(f"batch-{name}.jsonl")


def _finish(client: Any, teacher: Teacher, store: Store, budget: Budget) -> bool:
    """Upload, create, wait for and fetch every batch that is not fetched; whether asking again may help."""
    patient = client.with_options(max_retries=RETRIES)
    unfinished = [batch for batch in store.batches(teacher.key) if batch["state"] != FETCHED]
    for batch in unfinished:  # all are under way before the first is waited for
        if batch["state"] == MADE:
            content = _file(store, batch["name"]).read_bytes()
            uploaded = patient.files.create(file=(f"{batch['name']}.jsonl", content), purpose="batch")
            batch |= {"state": UPLOADED, "file": uploaded.id}
            store.save_batch(batch)
        if batch["state"] == UPLOADED:
            batch |= {"batch": _created(client, patient, batch["name"], batch["file"]), "state": CREATED}
            store.save_batch(batch)
    return any([_fetch(patient, batch, teacher, store, budget) for batch in unfinished])


def _created(client: Any, patient: Any, name: str, file: str) -> str:
    """The batch's name at the endpoint, created unless an earlier start did so without noting it.

    Creating is what costs money, so it is never sent twice blindly: after a failure the endpoint's list is read.
    """
    import openai

    for last in (False, False, True):
        found = next((one for one in patient.batches.list() if (one.metadata or {}).get(MARK) == name), None)
        if found is not None:
            return found.id
        try:
            made = client.batches.create(
                completion_window="24h", endpoint=URL, input_file_id=file, metadata={MARK: name}
            )
            return made.id
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
            if last:
                raise
            time.sleep(POLL_S)
    raise AssertionError("the last try returns or raises")


def _fetch(patient: Any, batch: dict[str, Any], teacher: Teacher, store: Store, budget: Budget) -> bool:
    """Wait until a batch has ended, store its answers and end its intents; whether asking again may help."""
    while (state := patient.batches.retrieve(batch["batch"])).status not in ENDED:
        time.sleep(POLL_S)
    file = _file(store, batch["name"])
    bodies = {row["custom_id"]: row["body"] for row in records.read_jsonl(file)}
    names = list(store.learned(teacher.key, before=batch["made"]))
    waiting = {one["request"]: one for one in store.intents_of(batch["name"]) if one["outcome"] is None}
    again, unreadable = False, 0
    for result in filter(None, (state.output_file_id, state.error_file_id)):
        for line in patient.files.content(result).content.decode("utf8", "replace").split("\n"):
            if not line.strip():
                continue
            row = _row(line)
            intent = waiting.pop(row.get("custom_id", ""), None)  # none: stored before a kill
            unreadable += "custom_id" not in row
            if intent is not None:
                again |= _keep(row, bodies[intent["request"]], intent, names, teacher, store, budget)
    for intent in waiting.values():
        if unreadable:  # one of those lines may be its answer
            again |= _lose(intent, "malformed line", store, budget)
        else:  # neither answered nor charged
            store.end(intent["intent"], UNSENT if state.status == "failed" else REFUSED, f"batch {state.status}")
    store.save_batch(batch | {"state": FETCHED})
    file.unlink(missing_ok=True)
    if state.status == "failed":
        said = "; ".join(error.message or "" for error in (state.errors.data if state.errors else None) or ())
        raise TeacherError(f"{teacher.base_url} refuses the batch {batch['batch']}: {said or 'without a reason'}")
    return again or state.status == "expired"


def _row(line: str) -> dict[str, Any]:
    """A line of a batch's results; of one that is no JSON object what can be read: the name of its request, if any.

    Only a line feed ends a line: an answer may hold what Unicode calls a line separator as it stands.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("custom_id"), str):
        return row
    named = re.search(r'"custom_id"\s*:\s*"([^"\\]+)"', line)
    return {"custom_id": named[1]} if named else {}


def _lose(intent: dict[str, Any], reason: str, store: Store, budget: Budget) -> bool:
    """Note that an answer may have been given, and charged, that is not to be had; asking again may help."""
    store.end(intent["intent"], LOST, reason)
    budget.count(intent["intent"], intent["most_usd"])
    return True


def _keep(
    row: dict[str, Any], body: Body, intent: dict[str, Any], names: list[str], teacher: Teacher, store: Store,
    budget: Budget,
) -> bool:  # fmt: skip
    """Store one line's answer, or note why it holds none; whether asking again may help."""
    if not {"response", "error"} & set(row):
        return _lose(intent, "malformed line", store, budget)
    response, wrong = _dict(row.get("response")), row.get("error")
    status, content = response.get("status_code"), response.get("body")
    status = status if isinstance(status, int) else 0
    if wrong or status != 200:
        said = wrong or _dict(content).get("error") or content
        message = sending.message_of(said) or "no reason given"
        store.end(intent["intent"], REFUSED, f"status {status}: {message[:300]}" if status else message[:300])
        parameter = _dict(said).get("param")
        name = sending.wanted_adaptation(message, parameter, names) if status in (400, 422) else None
        if name is not None:
            store.learn(teacher.key, name, message)
        return name is not None or status == 429 or status >= 500
    try:
        answer = sending.read_completion(content, teacher.most_tokens(body["messages"]))
    except ValueError:
        return _lose(intent, "malformed answer", store, budget)
    answer = sending.priced(answer, teacher, names)
    store.put(intent["request"], body, answer, intent["intent"])
    budget.count(intent["request"], answer["dollars"])
    return False


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
