"""Answers on disk and the log of every request that was sent: nothing answered is asked again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.records import Record

# How an intent ends. Only the first has a stored answer; only a lost one may have been answered, and charged, without
# our having the answer. An intent without an outcome is under way or belongs to a process that was killed.
ANSWERED, REFUSED, UNSENT, LOST = "answered", "refused", "unsent", "lost"
OUTCOMES = (ANSWERED, REFUSED, UNSENT, LOST)
KILLED = "the process ended before the answer came"

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, body TEXT, answer TEXT, stored REAL);
CREATE TABLE IF NOT EXISTS intents (
    intent TEXT PRIMARY KEY, request TEXT, teacher TEXT, sent REAL, tokens INTEGER, most_usd REAL, batch TEXT,
    ended REAL, outcome TEXT, reason TEXT
);
CREATE INDEX IF NOT EXISTS intents_of_a_request ON intents (request);
CREATE INDEX IF NOT EXISTS intents_of_a_teacher ON intents (teacher, sent);
CREATE TABLE IF NOT EXISTS adaptations (teacher TEXT, name TEXT, said TEXT, learned REAL, PRIMARY KEY (teacher, name));
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, teacher TEXT, state TEXT, file TEXT, batch TEXT, made REAL
);
"""


class Store(contextlib.AbstractContextManager["Store"]):
    """Answers, each under the hash of its whole request, and the intents to ask; SQLite in one file.

    An intent is on disk before its request is sent, an answer before it is used, and both change in one transaction,
    so a process may be killed at any moment: what was stored stays, and what was under way is found again as lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(_TABLES)

    def get(self, request: str) -> Record | None:
        """Return the stored answer of a request, or None."""
        rows = self._read("SELECT answer FROM answers WHERE request = ?", request)
        return json.loads(rows[0]["answer"]) if rows else None

    def put(self, request: str, body: Record, answer: Record, intent: str = "") -> None:
        """Store an answer and end the intent that it answers; on disk when this returns."""
        now = time.time()
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (request, _json(body), _json(answer), now)
            )
            if intent:
                self._database.execute(
                    "UPDATE intents SET ended = ?, outcome = ?, reason = '' WHERE intent = ?", (now, ANSWERED, intent)
                )

    def intend(self, teacher: str, requests: dict[str, tuple[int, float]]) -> list[str]:
        """Log that requests are about to be sent; return the intents' names, in order, on disk when this returns.

        Args:
            teacher: ``Teacher.key``.
            requests: By request, the tokens to allow for and the most dollars that it can cost.
        """
        with self._lock, self._database:
            return self._intend(teacher, requests)

    def end(self, intent: str, outcome: str, reason: str) -> None:
        """Note how an intent without an answer ended.

        Raises:
            ValueError: If the outcome is unknown, or an answer's, which ``put`` notes.
        """
        if outcome not in OUTCOMES[1:]:
            raise ValueError(f"unknown outcome {outcome!r} of an unanswered intent; known: {', '.join(OUTCOMES[1:])}")
        with self._lock, self._database:
            self._database.execute(
                "UPDATE intents SET ended = ?, outcome = ?, reason = ? WHERE intent = ?",
                (time.time(), outcome, reason, intent),
            )

    @contextlib.contextmanager
    def sending(self, teacher: str) -> Iterator[None]:
        """Hold the right to ask a teacher, as one process at a time does; what a killed one left open is lost.

        The lock is the system's, so it ends with its holder however that ended, and every intent of that teacher
        that is open once the lock is ours belongs to a process that is gone.
        """
        import filelock

        with filelock.FileLock(self.path.with_name(f"{self.path.name}.{records.fingerprint(teacher)}.lock")):
            with self._lock, self._database:
                self._database.execute(
                    "UPDATE intents SET ended = ?, outcome = ?, reason = ? "
                    "WHERE teacher = ? AND outcome IS NULL AND batch = ''",
                    (time.time(), LOST, KILLED, teacher),
                )
            yield

    def lost(self, requests: Iterable[str] | None = None) -> list[Record]:
        """Return the requests that were sent and whose answer never came, oldest first; of the given ones, or all."""
        rows = self._read("SELECT * FROM intents WHERE outcome = ? ORDER BY sent, intent", LOST)
        given = None if requests is None else set(requests)
        return [dict(row) for row in rows if given is None or row["request"] in given]

    def account(self) -> Record:
        """Return the log in numbers: answers stored, intents, and how the intents ended, with the reasons.

        Every intent has one outcome, so ``intents`` is the sum of ``answered``, ``refused``, ``unsent``, ``lost`` and
        ``open``; an endpoint's own count of requests is ``intents`` without those that were never sent.
        """
        answers = self._read("SELECT COUNT(*) AS count FROM answers")[0]["count"]
        ended = self._read("SELECT outcome, reason, COUNT(*) AS count FROM intents GROUP BY outcome, reason")
        counts: Counter[str] = Counter()
        reasons: dict[str, dict[str, int]] = {}
        for row in ended:
            outcome = row["outcome"] or "open"
            counts[outcome] += row["count"]
            if row["reason"]:
                reasons.setdefault(outcome, {})[row["reason"]] = row["count"]
        return {"answers": answers, "intents": counts.total(),
                **{outcome: counts[outcome] for outcome in (*OUTCOMES, "open")}, "reasons": reasons}  # fmt: skip

    def sent_since(self, teacher: str, moment: float) -> list[tuple[float, int]]:
        """Return when each request to a teacher was sent after a moment (Unix time), with its tokens; batches apart."""
        rows = self._read(
            "SELECT sent, tokens FROM intents WHERE teacher = ? AND sent > ? AND batch = '' ORDER BY sent",
            teacher, moment,
        )  # fmt: skip
        return [(row["sent"], row["tokens"]) for row in rows]

    def answers_of(self, model: str, limit: int = 1000) -> list[tuple[Record, Record]]:
        """Return bodies and answers of a model's latest stored answers."""
        rows = self._read("SELECT body, answer FROM answers ORDER BY stored DESC LIMIT ?", limit)
        pairs = [(json.loads(row["body"]), json.loads(row["answer"])) for row in rows]
        return [pair for pair in pairs if pair[0].get("model") == model]

    def has_answered(self, teacher: str) -> bool:
        """Return whether a teacher ever answered."""
        query = "SELECT 1 FROM intents WHERE teacher = ? AND outcome = ? LIMIT 1"
        return bool(self._read(query, teacher, ANSWERED))

    def learn(self, teacher: str, name: str, message: str) -> None:
        """Keep that a teacher wants its requests adapted, in its own words."""
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO adaptations VALUES (?, ?, ?, ?)", (teacher, name, message[:500], time.time())
            )

    def learned(self, teacher: str, before: float = float("inf")) -> dict[str, str]:
        """Return the adaptations that a teacher wants, with what it said; those learnt before a moment (Unix time)."""
        query = "SELECT name, said FROM adaptations WHERE teacher = ? AND learned < ? ORDER BY learned, name"
        return {row["name"]: row["said"] for row in self._read(query, teacher, before)}

    def add_batch(self, batch: Record, requests: dict[str, tuple[int, float]]) -> None:
        """Keep a new batch and the intents of its requests, together."""
        with self._lock, self._database:
            self._save_batch({**batch, "made": time.time()})
            self._intend(batch["teacher"], requests, batch["name"])

    def save_batch(self, batch: Record) -> None:
        """Keep a batch's new state."""
        with self._lock, self._database:
            self._save_batch(batch)

    def batches(self, teacher: str) -> list[Record]:
        """Return a teacher's batches, oldest first."""
        return [dict(row) for row in self._read("SELECT * FROM batches WHERE teacher = ? ORDER BY made, name", teacher)]

    def intents_of(self, batch: str) -> list[Record]:
        """Return the intents of a batch."""
        return [dict(row) for row in self._read("SELECT * FROM intents WHERE batch = ?", batch)]

    def reason(self, request: str) -> str:
        """Return why a request has no answer: how the last of its intents ended; empty if it was never sent."""
        last = "SELECT reason FROM intents WHERE request = ? ORDER BY ended DESC, sent DESC LIMIT 1"
        rows = self._read(last, request)
        return (rows[0]["reason"] or "") if rows else ""

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _intend(self, teacher: str, requests: dict[str, tuple[int, float]], batch: str = "") -> list[str]:
        now = time.time()
        names = [uuid.uuid4().hex for _ in requests]
        self._database.executemany(
            "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
            [(name, request, teacher, now, tokens, most, batch)
             for name, (request, (tokens, most)) in zip(names, requests.items(), strict=True)],
        )  # fmt: skip
        return names

    def _save_batch(self, batch: Record) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO batches VALUES (:name, :teacher, :state, :file, :batch, :made)", batch
        )

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def __exit__(self, *exception: object) -> None:
        self.close()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
