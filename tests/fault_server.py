"""A completion server of the tests' own that fails in one named way, and counts what it is asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import local_server

Reply = tuple[int, Any, dict[str, str]]  # status; JSON, text or bytes; headers

# Faults that are an answer: of the list of models, and of a request, each with its status.
MODELS: dict[str, tuple[int, Any]] = {
    "no models": (404, {"detail": "Not Found"}),
    "models not allowed": (405, {"detail": "Method Not Allowed"}),
    "empty models": (200, {"object": "list", "data": []}),
    "models of another form": (200, {"models": ["m"]}),
    "models in HTML": (200, "<html>Please sign in</html>"),
    "models in words": (200, "not JSON"),
    "models behind a key": (401, {"error": {"message": "no key"}}),
    "loading": (503, {"error": {"message": "Loading model"}}),
}
REFUSALS: dict[str, tuple[int, Any]] = {
    "not allowed": (405, {"detail": "Method Not Allowed"}),
    "no such model": (404, {"error": {"message": "The model `m` does not exist."}}),
    "key": (401, {"error": {"message": "wrong key"}}),
    "credit": (402, {"error": {"message": "no credit left"}}),
    "context": (400, {"error": {"message": "maximum context length is 64"}}),
    "validation": (422, {"detail": [{"loc": ["body", "prompt"], "msg": "too long"}]}),
    "not ASCII": (400, {"message": "контекст 太长\n\x1b[1m\ud83d"}),
    "broken": (500, {"error": {"message": "boom"}}),
    "gateway": (502, "<html><head><title>502 Bad Gateway</title></head>\n<hr>nginx</html>"),
    "busy": (429, {"error": "slow down"}),
    "HTML": (200, "<html>\n<p>Welcome</p></html>"),
    "words": (200, "upstream timed out"),
    "no choices": (200, {"choices": []}),
    "error": (200, {"error": {"message": "out of slots é"}}),
}


class Server(local_server.Server):
    """The server; what it counts may be read and what it does may be set while it runs.

    Attributes:
        fault: A name of ``MODELS`` or ``REFUSALS``, or one that ``_Handler`` knows; empty for none.
        concerns: The fault is of prompts that begin so.
        after: So many requests are answered before the fault begins.
        models: The entries of the list of models.
        slots: What ``/props`` says; 0 for a server without it.
        asked: Requests by prompt.
        bodies: What was asked, in order, with the key that came along.
        most: Requests at once at most.
        release: Ends what hangs.
    """

    request_queue_size = 256

    def __init__(self, fault: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fault, self.concerns, self.after, self.slots = fault, "", 0, 0
        self.models: list[dict[str, Any]] = [{"id": "m", "object": "model"}]
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.at_once = self.most = 0
        self.lock, self.release, self.together = threading.Lock(), threading.Event(), threading.Barrier(150)


@contextlib.contextmanager
def serve(fault: str = "", port: int = 0) -> Iterator[Server]:
    """A server on a port, or a free one, stopped at the end of the block."""
    server = Server(fault, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(text: Any, chat: bool, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    """An answer with a text, of three tokens to a prompt of five."""
    choice = {"message": {"role": "assistant", "content": text, **message}} if chat else {"text": text}
    return {
        "choices": [{"index": 0, "finish_reason": finish, **choice}],
        "usage": {"completion_tokens": 3, "prompt_tokens": 5},
    }


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            if self.server.fault == "models hang":
                self.server.release.wait(10)
            self.send(*MODELS.get(self.server.fault, (200, {"object": "list", "data": self.server.models})))
        elif self.path == "/props" and self.server.slots:
            self.send(200, {"total_slots": self.server.slots})
        else:
            self.send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = self.path.endswith("/chat/completions")
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        server = self.server
        with server.lock:
            server.at_once += 1
            server.most = max(server.most, server.at_once)
            server.asked[prompt] += 1
            server.bodies.append({**body, "key": self.headers.get("Authorization")})
            count = len(server.bodies)
        try:
            fails = count > server.after and prompt.startswith(server.concerns)
            self.meet(server.fault if fails else "", prompt, chat, count)
        finally:
            with server.lock:
                server.at_once -= 1

    def meet(self, fault: str, prompt: str, chat: bool, count: int) -> None:
        """Answer as the fault wants it; without one, with the prompt backwards."""
        if fault in REFUSALS:
            return self.send(*REFUSALS[fault])
        if (fault == "chat only" and not chat) or (fault == "completions only" and chat):
            return self.send(404, {"detail": "Not Found"})
        if fault == "every second is too many" and count % 2:
            return self.send(429, {"error": "slow down"}, {"Retry-After": "0.01"})
        if fault == "long prompts" and len(prompt) > 20:
            return self.send(*REFUSALS["context"])
        if fault in ("redirect", "redirect to a list"):
            target = self.path if fault == "redirect" else "/v1/elsewhere"
            return self.send(307 if fault == "redirect" else 302, {}, {"Location": self.server.url + target})
        if fault == "hang":
            self.server.release.wait(10)
        if fault == "150 together":
            self.server.together.wait(10)
        text, finish, more = {
            "slow": (prompt[::-1], "stop", {}),
            "null": (None, "stop", {}),
            "cut character": ("4 \ufffd\ufffd", "length", {}),
            "own replacement": ("\ufffd 4 \ufffd", "stop", {}),
            "half a pair": ("4 \ud83d.", "stop", {}),
            "parts": ([{"thinking": []}, {"type": "text", "text": "4"}, {"type": "text", "text": "!"}], "stop", {}),
            "no parts": ([{}], "stop", {}),
            "reasoning": (None, "length", {"reasoning_content": "Let me see"}),
            "other finish": ("4", "eos_token", {}),
        }.get(fault, (prompt[::-1], "stop", {}))  # fmt: skip
        value = answer(text, chat, finish, **more)
        if fault == "other finish":
            del value["usage"]
        if fault == "cut bytes":
            cut = json.dumps(answer("4 €", chat, "length"), ensure_ascii=False).encode()
            return self.send(200, cut.replace("€".encode(), "€".encode()[:2]))
        if fault == "slow":
            self.server.release.wait(0.02)
        return self.send(200, value, cut=fault == "cut body")

    def send(self, status: int, value: Any, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        """Send an answer; cut, half of it, and then the connection is closed."""
        data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
