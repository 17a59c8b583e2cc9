"""Ask a teacher for rationales: prompts from files, answers stored, nothing asked twice."""

from __future__ import annotations

import ast
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation.teachers import Budget, Teacher, TeacherError
from mammoth_utils.rationale import Problem, Rationale

API_KEY = "OPENAI_API_KEY"
RETRIES = 8  # by the client, with its back-off (0.5 s doubling to 8 s, or what Retry-After says)
GIVE_UP_AFTER = 12  # failures in a row: the endpoint is down, and asking on would fill a file with its errors
OVER_BUDGET = "the budget would be passed"

_FENCE = re.compile(r"```[ \t]*(?:python|py|Python)?[ \t]*\n(.*?)(?:\n```|```|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """A prompt file: its name, version, hash and the texts of the two messages."""

    name: str
    version: str
    sha256: str
    system: str
    user: str

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """The chat messages that put a problem; options are part of it."""
        # str.replace, not format: a problem may hold braces.
        asked = self.user.replace("{instruction}", problem.instruction)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": asked}]


def prompt(name: str) -> Prompt:
    """A prompt of ``curation/prompts/``.

    Raises:
        ValueError: If there is none of that name, naming those there are, or the file lacks a part.
    """
    folder = resources.files("mammoth_utils.curation") / "prompts"
    known = sorted(file.name.removesuffix(".md") for file in folder.iterdir() if file.name.endswith(".md"))
    if name not in known:
        raise ValueError(f"unknown prompt {name!r}; known: {', '.join(known)}")
    text = (folder / f"{name}.md").read_text(encoding="utf8")
    parts = re.fullmatch(r"---\nversion: (\S+)\n.*?---\n## system\n(.*?)\n+## user\n(.*?)\n*", text, re.DOTALL)
    if parts is None or "{instruction}" not in parts[3]:
        raise ValueError(f"prompts/{name}.md: expected a version, '## system', '## user' and {{instruction}}")
    return Prompt(name, parts[1], records.fingerprint(text), parts[2], parts[3])


@dataclass(frozen=True)
class Answer:
    """What came back for one problem; ``text`` is None where nothing did, and ``error`` says why."""

    problem: Problem
    request: str
    text: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = ""
    error: str = ""


class Store:
    """Answers on disk, each under the hash of its whole request; SQLite, so a kill loses nothing stored.

    Requests under way when a process is killed are lost, at most ``concurrency`` of them.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=60, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, body TEXT, answer TEXT, stored REAL)"
        )
        self._database.commit()

    def get(self, request: str) -> dict[str, Any] | None:
        """The stored answer of a request, or None."""
        with self._lock:
            row = self._database.execute("SELECT answer FROM answers WHERE request = ?", (request,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, request: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
        """Store an answer; on disk when this returns."""
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (request, json.dumps(body, ensure_ascii=False), json.dumps(answer, ensure_ascii=False), time.time()),
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def request_body(problem: Problem, teacher: Teacher, asked: Prompt) -> dict[str, Any]:
    """The body of the chat request."""
    return {
        "model": teacher.model,
        "messages": asked.messages(problem),
        "temperature": teacher.temperature,
        "max_tokens": teacher.max_tokens,
    }


def request_key(body: dict[str, Any], teacher: Teacher) -> str:
    """The hash under which an answer is stored: the whole body, and the endpoint unless it is local.

    A local server has another port each time; its model's name says who answered.
    """
    return records.fingerprint({"endpoint": "local" if teacher.local else teacher.base_url.rstrip("/"), **body})


def ask(
    problems: Iterable[Problem],
    teacher: Teacher,
    store: Store,
    budget: Budget,
    asked: Prompt | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """The teacher's answers in the order of the problems; stored ones are not asked again.

    Args:
        problems: What is asked.
        teacher: Whom.
        store: Where answers are kept.
        budget: Shared by all sources of a run. Stored answers count as spent, so a new start does not reset it;
            when it could be passed, the rest comes back unanswered with ``OVER_BUDGET``.
        asked: The prompt; ``prompt("pot")`` by default.
        on_step: Called with (answered, all).

    Raises:
        TeacherError: If the price is unknown, the endpoint refuses (key, model, path), or it is down.
    """
    problems, asked = list(problems), asked or prompt("pot")
    prices = teacher.prices()
    bodies = [request_body(problem, teacher, asked) for problem in problems]
    keys = [request_key(body, teacher) for body in bodies]
    found: dict[str, dict[str, Any]] = {}
    open_requests: dict[str, dict[str, Any]] = {}
    for key, body in zip(keys, bodies, strict=True):
        if key in found or key in open_requests:
            continue
        stored = store.get(key)
        if stored is None:
            open_requests[key] = body
        else:
            found[key] = stored
            budget.settle(0.0, _dollars(stored, prices))
    if open_requests:
        found |= _send(open_requests, teacher, store, budget, len(found), on_step)
    return [Answer(problem, key, **found[key]) for problem, key in zip(problems, keys, strict=True)]


def _dollars(answer: dict[str, Any], prices: tuple[float, float]) -> float:
    return (answer["prompt_tokens"] * prices[0] + answer["completion_tokens"] * prices[1]) / 1_000_000


def _send(
    bodies: dict[str, dict[str, Any]],
    teacher: Teacher,
    store: Store,
    budget: Budget,
    done: int,
    on_step: Callable[[int, int], None] | None,
) -> dict[str, dict[str, Any]]:
    """Send what is not stored, at most ``teacher.concurrency`` at once."""
    import openai

    prices = teacher.prices()
    # Only the environment holds a key; a local server wants none, but the client insists on one.
    key = os.environ.get(API_KEY) or ("none" if teacher.local else "")
    if not key:
        raise TeacherError(f"expected an API key for {teacher.base_url} in the environment ({API_KEY}), found none")
    client = openai.OpenAI(api_key=key, base_url=teacher.base_url, max_retries=RETRIES, timeout=300)
    stop = threading.Event()

    def one(request: str, body: dict[str, Any]) -> dict[str, Any]:
        most = teacher.most_a_request_costs(body["messages"])
        if stop.is_set() or not budget.reserve(most):
            return _failed(OVER_BUDGET)
        spent = 0.0
        try:
            answer = _read(client.chat.completions.create(**body))
            spent = _dollars(answer, prices)
            store.put(request, body, answer)
            return answer
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code not in (408, 409, 429):
                raise TeacherError(f"{teacher.base_url} refuses {teacher.model!r}: {error}") from error
            return _failed(f"status {error.status_code}")
        except (openai.APIError, ValueError) as error:  # cut connections, time-outs, answers that are no JSON
            return _failed(type(error).__name__)
        finally:
            budget.settle(most, spent)

    answers: dict[str, dict[str, Any]] = {}
    in_a_row, total = 0, done + len(bodies)
    with client, ThreadPoolExecutor(teacher.concurrency, thread_name_prefix="teacher") as pool:
        futures = {pool.submit(one, request, body): request for request, body in bodies.items()}
        try:
            for future in as_completed(futures):
                answer = future.result()
                answers[futures[future]] = answer
                failed = answer["text"] is None and answer["error"] != OVER_BUDGET
                in_a_row = in_a_row + 1 if failed else 0
                if in_a_row >= GIVE_UP_AFTER:
                    raise TeacherError(
                        f"{teacher.base_url} failed {in_a_row} times in a row, last with {answer['error']!r}; the "
                        "answers so far are stored, the same command goes on from there"
                    )
                if on_step:
                    on_step(done + len(answers), total)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return answers


def _read(response: Any) -> dict[str, Any]:
    """What is stored of a response.

    Raises:
        ValueError: If it is no chat completion.
    """
    choices = getattr(response, "choices", None)
    if not choices or choices[0].message is None:
        raise ValueError(f"expected a chat completion, got {type(response).__name__}")
    usage = response.usage
    return {
        "text": choices[0].message.content or "",
        "prompt_tokens": usage.prompt_tokens if usage else 0,
        "completion_tokens": usage.completion_tokens if usage else 0,
        "finish": choices[0].finish_reason or "",
        "error": "",
    }


def _failed(reason: str) -> dict[str, Any]:
    return {"text": None, "prompt_tokens": 0, "completion_tokens": 0, "finish": "", "error": reason}


def program(text: str) -> str | None:
    """The program in a teacher's message: its last fenced block, else the message if it is Python as it stands.

    A fenced block that does not parse is still a program: that it fails is for the execution to say.
    """
    blocks = [block.strip("\n") for block in _FENCE.findall(text) if block.strip()]
    if blocks:
        return blocks[-1]
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    bare = text.strip()
    return bare if body and ("print(" in bare or "ans" in bare or "\n" in bare) else None


def rationale(answer: Answer, source: str, teacher: Teacher, asked: Prompt) -> Rationale | None:
    """The answer as a PoT rationale with its history; None where it holds no program."""
    text = program(answer.text) if answer.text is not None else None
    if text is None:
        return None
    history = {"request": answer.request, "prompt": f"{asked.name}/{asked.version}/{asked.sha256}"}
    return Rationale(answer.problem, "pot", text, source, f"teacher:{teacher.model}", history)
