"""Results of a batch: answers, refusals and lines that are neither, each noted with its request."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation.teacher import live_requests
from mammoth_utils.curation.teacher.answer_store import LOST, REFUSED, UNSENT, Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.curation.teacher.unsupported_parameters import Body, find_adaptation
from mammoth_utils.records import Record

FETCHED = "fetched"  # the state of a batch from which nothing more is to come


def file_of(store: Store, name: str) -> Path:
    """Return the file of a batch's requests, which lies beside the answers until they are fetched."""
    return store.path.with_name(f"batch-{name}.jsonl")


def close(batch: Record, store: Store, outcome: str, reason: str) -> list[Record]:
    """End a batch and its open intents; return these."""
    closed = [intent for intent in store.intents_of(batch["name"]) if intent["outcome"] is None]
    for intent in closed:
        store.end(intent["intent"], outcome, reason)
    store.save_batch(batch | {"state": FETCHED})
    file_of(store, batch["name"]).unlink(missing_ok=True)
    return closed


def gone(batch: Record, store: Store, budget: Budget) -> bool:
    """End a batch that the endpoint no longer has, or whose results are gone; return True: asking again may help."""
    for intent in close(batch, store, LOST, f"the batch {batch['batch']} is gone"):
        budget.count(intent["intent"], intent["most_usd"])
    return True


def settle(patient: Any, batch: Record, state: Any, teacher: Teacher, store: Store, budget: Budget) -> bool:
    """Store the answers of a batch that has ended and end its intents; return whether asking again may help."""
    bodies = {row["custom_id"]: row["body"] for row in records.read_jsonl(file_of(store, batch["name"]))}
    names = list(store.learned(teacher.key, before=batch["made"]))
    waiting = {intent["request"]: intent for intent in store.intents_of(batch["name"]) if intent["outcome"] is None}
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
    if unreadable:  # one of those lines may be the answer to what has none
        for intent in waiting.values():
            again |= _lose(intent, "malformed line", store, budget)
    # What is left was neither answered nor charged.
    close(batch, store, UNSENT if state.status == "failed" else REFUSED, f"batch {state.status}")
    return again or state.status == "expired"


def _row(line: str) -> Record:
    """Return a line of a batch's results; of one that is no JSON object, the name of its request if it can be read.

    Only a line feed ends a line: an answer may hold what Unicode calls a line separator as it stands.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("custom_id"), str):
        return row
    name = re.search(r'"custom_id"\s*:\s*"([^"\\]+)"', line)
    return {"custom_id": name[1]} if name else {}


def _lose(intent: Record, reason: str, store: Store, budget: Budget) -> bool:
    """Note that an answer may have been given, and charged, that is not to be had; return True: ask again."""
    store.end(intent["intent"], LOST, reason)
    budget.count(intent["intent"], intent["most_usd"])
    return True


def _keep(
    row: Record, body: Body, intent: Record, names: list[str], teacher: Teacher, store: Store,
    budget: Budget,
) -> bool:  # fmt: skip
    """Store one line's answer, or note why it holds none; return whether asking again may help."""
    if not {"response", "error"} & set(row):
        return _lose(intent, "malformed line", store, budget)
    response, wrong = _dict(row.get("response")), row.get("error")
    status, content = response.get("status_code"), response.get("body")
    status = status if isinstance(status, int) else 0
    if wrong or status != 200:
        refusal = wrong or _dict(content).get("error") or content
        message = live_requests.refusal_message(refusal) or "no reason given"
        store.end(intent["intent"], REFUSED, f"status {status}: {message[:300]}" if status else message[:300])
        parameter = _dict(refusal).get("param")
        name = find_adaptation(message, parameter, names) if status in (400, 422) else None
        if name is not None:
            store.learn(teacher.key, name, message)
        return name is not None or status == 429 or status >= 500
    try:
        answer = live_requests.read_completion(content, teacher.most_tokens(body["messages"]))
    except ValueError:
        return _lose(intent, "malformed answer", store, budget)
    answer = live_requests.priced(answer, teacher, names)
    store.put(intent["request"], body, answer, intent["intent"])
    budget.count(intent["request"], answer["dollars"])
    return False


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
