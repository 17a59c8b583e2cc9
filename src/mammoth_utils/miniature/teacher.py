"""The miniature's teacher: a local server that speaks OpenAI's API and is wrong at a stated rate.

It knows the truth, so what the filters keep and lose can be counted. Which questions it fails on, and how,
follows from a hash of the question: two runs agree, and a question asked twice gets the same answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

from mammoth_utils import records
from mammoth_utils.miniature import sources
from mammoth_utils.miniature.problems import WORLD, MiniProblem

WRONG_SHARE = 0.25
# How the wrong programs are wrong, in parts of a hundred. Endless loops are few, since each costs its time limit.
FAULTS = {"number": 40, "operation": 28, "syntax": 16, "constant": 14, "loop": 2}
LUCKY_CONSTANT = 0.4  # share of the programs that print a constant and happen to print the gold
RIGHT = "right"
_NUMBER = re.compile(r"(?<![\w.'])\d+(?![\w.'])")
_OPERATION = re.compile(r" (\*\*|//|[-+*/%]) ")
_SWAPPED = {"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "//", "**": "*"}
# A rough rule for English; usage is reported in tokens and this server has no tokenizer.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Reply:
    """What the teacher writes for one problem.

    Attributes:
        fault: ``"right"``, or one of ``FAULTS``: what is wrong with the program.
        program: The program, as it stands in the fenced block.
    """

    fault: str
    program: str

    @property
    def text(self) -> str:
        """The message as it is sent: a sentence and the program in a fenced block."""
        return f"This program solves it.\n\n```python\n{self.program}\n```\n"


def reply(true: MiniProblem, wrong_share: float = WRONG_SHARE) -> Reply:
    """The teacher's reply to a problem, the same in every run of one world.

    Args:
        true: The problem with its right program.
        wrong_share: Share of the questions that get a wrong program.

    Raises:
        ValueError: If the share is no share, or the problem has no program.
    """
    if not 0 <= wrong_share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {wrong_share}")
    if true.pot is None:
        raise ValueError(f"{true.problem.id} has no program (family {true.problem.family!r})")
    rng = Random(f"{WORLD['version']}/{WORLD['seed']}/teacher/{true.problem.instruction}")
    if rng.random() >= wrong_share:
        return Reply(RIGHT, true.pot)
    fault = rng.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
    return Reply(*_spoil(true, fault, rng))


def _spoil(true: MiniProblem, fault: str, rng: Random) -> tuple[str, str]:
    """Fault and program; a program with no operation to swap gets a wrong number instead."""
    program = str(true.pot)
    operations = list(_OPERATION.finditer(program))
    if fault == "operation" and operations:
        found = rng.choice(operations)
        return fault, program[: found.start(1)] + _SWAPPED[found[1]] + program[found.end(1) :]
    numbers = list(_NUMBER.finditer(program))
    if fault in ("number", "operation") and numbers:
        found = rng.choice(numbers)
        wrong = int(found[0]) + rng.choice((-2, -1, 1, 2, 10))
        return "number", program[: found.start()] + str(wrong) + program[found.end() :]
    if fault == "constant":
        lucky = rng.random() < LUCKY_CONSTANT
        number = true.value if lucky else str(rng.randint(2, 999))
        return fault, f"answer = {number}\nprint(answer)"
    if fault == "loop":
        return fault, f"found = 0\nwhile found >= 0:\n    found += 1\n{program}"
    return "syntax", program.replace("print(", "print((", 1)


@dataclass
class Served:
    """A running teacher.

    Attributes:
        base_url: What an OpenAI client is given, such as ``http://127.0.0.1:40123/v1``.
        model: Its name; another world, share or code has another name, so no stored answer is mistaken for its.
        wrong_share: Share of wrong programs.
        busy: The first so many requests are refused with status 429, as an overloaded endpoint does.
        requests: Chat requests that came in, refused ones included.
    """

    base_url: str
    model: str
    wrong_share: float
    busy: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self) -> int:
        """The number of this request, from 1."""
        with self.lock:
            self.requests += 1
            return self.requests


def find_problem(text: str) -> MiniProblem | None:
    """The problem whose instruction stands somewhere in a text as whole lines; None if there is none."""
    lines = text.split("\n")
    for start in range(len(lines)):
        for end in range(len(lines), start, -1):
            true = sources.truth("\n".join(lines[start:end]))
            if true is not None:
                return true
    return None


@contextmanager
def serve(wrong_share: float = WRONG_SHARE, busy: int = 0) -> Iterator[Served]:
    """A teacher on a free port of this machine's loopback, stopped at the end of the block.

    Args:
        wrong_share: Share of the questions that get a wrong program.
        busy: How many requests are first refused with status 429.
    """
    sources.truth("")  # builds the world once, before threads ask for it
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1", model_name(wrong_share), wrong_share, busy)
    server.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, name="miniature teacher", daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def model_name(wrong_share: float = WRONG_SHARE) -> str:
    """Return the teacher's model name, which changes with the version of the miniature and the share of wrong answers."""
    return f"mini-teacher-v{records.versions('miniature')['miniature']}-wrong{round(wrong_share * 100)}"


class _Handler(BaseHTTPRequestHandler):
    """``/v1/models`` and ``/v1/chat/completions``, in the form that the ``openai`` client reads."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page is no place for an access log."""

    def do_GET(self) -> None:
        """The list of models."""
        if self.path.rstrip("/") == "/v1/models":
            entry = {"id": self.server.served.model, "object": "model", "created": 0, "owned_by": "miniature"}
            self._send(200, {"object": "list", "data": [entry]})
        else:
            self._refuse(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        """A chat completion."""
        served: Served = self.server.served
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.rstrip("/") != "/v1/chat/completions":
            return self._refuse(404, f"no such path: {self.path}")
        number = served.count()
        if number <= served.busy:
            return self._refuse(429, "the teacher is busy", {"Retry-After": "0.05"})
        try:
            request = json.loads(body)
            texts = [str(message["content"]) for message in request["messages"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            return self._refuse(400, f"expected a chat completion request with messages: {error!r}")
        if request.get("model") != served.model:
            return self._refuse(404, f"the model {request.get('model')!r} does not exist; known: {served.model}")
        true = next(filter(None, map(find_problem, reversed(texts))), None)
        known = true is not None and true.pot is not None
        text = reply(true, served.wrong_share).text if known else "I know no program for this problem."
        self._send(200, _completion(served.model, texts, text))

    def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}}, headers)

    def _send(self, status: int, value: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, content in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)


def _completion(model: str, asked: list[str], text: str) -> dict:
    prompt = sum(map(len, asked)) // _CHARACTERS_PER_TOKEN
    written = len(text) // _CHARACTERS_PER_TOKEN
    digest = hashlib.sha256("\x1f".join(asked).encode()).hexdigest()[:16]
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }
