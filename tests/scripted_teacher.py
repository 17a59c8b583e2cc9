"""A local endpoint whose answers a test writes: chat completions, and the batch API over the same function."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import serving

from mammoth_utils.rationale import Problem

PROGRAM = "```python\nprint(5)\n```"
Reply = tuple[int, Any, dict[str, str]]  # status, JSON or bytes, headers


def completion(text: str | None, prompt_tokens: int = 10, completion_tokens: int = 5, **more: Any) -> dict[str, Any]:
    """A chat completion with a text."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
             "total_tokens": prompt_tokens + completion_tokens}  # fmt: skip
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted", "choices": choices,
            "usage": usage, **more}  # fmt: skip


def problems(count: int) -> list[Problem]:
    """Problems that differ."""
    return [Problem(f"p/{number}", f"What is {number} + 1?", str(number + 1)) for number in range(count)]


def fine(body: Any) -> Reply:
    """A reply that answers everything alike."""
    return 200, completion(PROGRAM), {}


def refusal(message: str, parameter: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in the form of OpenAI's API."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}}


@dataclass
class Scripted:
    """A running endpoint: what it was asked, and what a batch of it does.

    Attributes:
        base_url: What a client is given.
        answer: Status, content and headers for a chat request's body.
        bodies: The chat requests, in the order of their arrival, those of batches included.
        arrivals: Seconds (monotonic) of each.
        files: Uploaded and written files by name.
        batches: Batches by name.
        created: Requests to create a batch.
        fail_after_creating: So many creations are done and then answered with a cut connection.
        polls: How often a batch is still in progress before it ends.
        end: The status in which batches end.
        lines: What becomes of the lines of a batch's results on their way into its files.
    """

    base_url: str
    answer: Callable[[dict[str, Any]], Reply]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: int = 0
    fail_after_creating: int = 0
    polls: int = 1
    end: str = "completed"
    lines: Callable[[list[str]], list[str]] = list
    lock: threading.Lock = field(default_factory=threading.Lock)

    def chat(self, body: dict[str, Any]) -> Reply:
        """One chat request."""
        import time

        with self.lock:
            self.bodies.append(body)
            self.arrivals.append(time.monotonic())
        return self.answer(body)

    def upload(self, content_type: str, data: bytes) -> Reply:
        """One file of a multipart form."""
        form: Message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + data)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        assert parts["purpose"].get_payload(decode=True) == b"batch"
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].get_payload(decode=True)
        return 200, {"id": name, "object": "file", "bytes": 0, "created_at": 0, "filename": "x", "purpose": "batch",
                     "status": "processed"}, {}  # fmt: skip

    def create(self, asked: dict[str, Any]) -> Reply:
        """One batch."""
        self.created += 1
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "completion_window": "24h", "status": "in_progress", "created_at": 0, "metadata": asked["metadata"],
            "polls": self.polls,
        }  # fmt: skip
        return 200, self.batches[name], {}

    def poll(self, name: str) -> Reply:
        """A batch's state; its requests are answered at the last poll."""
        batch = self.batches[name]
        batch["polls"] -= 1
        if batch["polls"] >= 0 or batch["status"] != "in_progress":
            return 200, batch, {}
        batch["status"] = self.end
        if self.end == "failed":
            batch["errors"] = {"object": "list", "data": [{"message": "no such model", "code": "x", "line": 1}]}
            return 200, batch, {}
        good, bad = [], []
        lines = self.files[batch["input_file_id"]].splitlines()
        for line in lines if self.end == "completed" else lines[::2]:
            row = json.loads(line)
            assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
            status, content, _ = self.chat(row["body"])
            given = {"id": "r", "custom_id": row["custom_id"], "error": None,
                     "response": {"status_code": status, "request_id": "q", "body": content}}  # fmt: skip
            (good if status == 200 else bad).append(json.dumps(given))
        for key, rows in (("output_file_id", good), ("error_file_id", bad)):
            if rows:
                batch[key] = f"{name}-{key}"
                self.files[batch[key]] = "\n".join(self.lines(rows[::-1])).encode()  # in another order than asked
        return 200, batch, {}


@contextlib.contextmanager
def scripted(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[Scripted]:
    """An endpoint on a free port, stopped at the end of the block."""
    with serving(_Handler) as server:
        server.scripted = Scripted(f"{server.url}/v1", answer)
        yield server.scripted


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Batches and files."""
        teacher: Scripted = self.server.scripted
        kind, *rest = self.path.split("?")[0].removeprefix("/v1/").split("/")
        known = teacher.batches if kind == "batches" else teacher.files
        if rest and rest[0] not in known:
            return self.give(404, refusal(f"no such {kind}: {rest[0]}"), {})
        if kind == "batches" and rest:
            return self.give(*teacher.poll(rest[0]))
        if kind == "batches":
            return self.give(200, {"object": "list", "data": list(teacher.batches.values()), "has_more": False}, {})
        return self.give(200, teacher.files[rest[0]], {})

    def do_POST(self) -> None:
        """Chat requests, uploads and new batches."""
        teacher: Scripted = self.server.scripted
        data = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.removeprefix("/v1/")
        if path == "files":
            return self.give(*teacher.upload(self.headers["Content-Type"], data))
        if path == "batches":
            reply = teacher.create(json.loads(data))
            if teacher.created <= teacher.fail_after_creating:
                self.close_connection = True
                return self.connection.close()
            return self.give(*reply)
        return self.give(*teacher.chat(json.loads(data)))

    def give(self, status: int, content: Any, headers: dict[str, str]) -> None:
        """Send an answer."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
