"""The miniature's teacher: a local server with OpenAI's API, whose programs are wrong at a known rate.

Since it knows the correct answers, what the filters keep and lose can be counted. Which questions it fails on, and how,
is decided by a random generator seeded with the question, so that two runs and two requests get the same reply.
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
from mammoth_utils.miniature.worlds import MINIATURE, WORLDS
from mammoth_utils.vocabulary import check_known

# The faults of the wrong programs, in per cent. Endless loops are few, since each costs its time limit.
FAULTS = {"number": 40, "operation": 28, "syntax": 17, "constant": 14, "loop": 1}
LUCKY_CONSTANT = 0.4  # share of the programs that print a constant and happen to print the gold
RIGHT = "right"
_NUMBER = re.compile(r"(?<![\w.'])\d+(?![\w.'])")
_OPERATION = re.compile(r" (\*\*|//|[-+*/%]) ")
_SWAPPED = {"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "//", "**": "*"}
# A rough rule for English; usage is reported in tokens and this server has no tokenizer.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Reply:
    """The teacher's reply to a problem.

    Attributes:
        fault: ``"right"``, or the fault of the program, one of ``FAULTS``.
    """

    fault: str
    program: str

    @property
    def text(self) -> str:
        """Return the message: a sentence and the program in a fenced block."""
        return f"This program solves it.\n\n```python\n{self.program}\n```\n"


def reply(true: MiniProblem, world: str = MINIATURE) -> Reply:
    """Return the teacher's reply to a problem, the same in every run of one world.

    What is wrong in a world stays wrong, in the same way, in one whose teacher fails more often.

    Raises:
        ValueError: If the world is unknown, or the problem has no program.
    """
    check_known("world", world, tuple(WORLDS))
    if true.pot is None:
        raise ValueError(f"{true.problem.id} has no program (family {true.problem.family!r})")
    rng = Random(f"{WORLD['version']}/{WORLD['seed']}/teacher/{true.problem.instruction}")
    if rng.random() >= WORLDS[world].wrong_share:
        return Reply(RIGHT, true.pot)
    fault = rng.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
    return Reply(*_spoil(true, fault, rng))


def _spoil(true: MiniProblem, fault: str, rng: Random) -> tuple[str, str]:
    """Return fault and program; a program without an operation to swap gets a wrong number."""
    program = str(true.pot)
    operations = list(_OPERATION.finditer(program))
    if fault == "operation" and operations:
        operation = rng.choice(operations)
        return fault, program[: operation.start(1)] + _SWAPPED[operation[1]] + program[operation.end(1) :]
    numbers = list(_NUMBER.finditer(program))
    if fault in ("number", "operation") and numbers:
        number = rng.choice(numbers)
        wrong = int(number[0]) + rng.choice((-2, -1, 1, 2, 10))
        return "number", program[: number.start()] + str(wrong) + program[number.end() :]
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
        base_url: The address for an OpenAI client, such as ``http://127.0.0.1:40123/v1``.
        model: Its name, which is another for another world, so that stored answers are not mixed up.
        world: Whose problems it knows, and how often it is wrong.
        busy: The number of first requests that are refused with status 429, as by an overloaded endpoint.
        requests: Number of chat requests, refused ones included.
    """

    base_url: str
    model: str
    world: str
    busy: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self) -> int:
        """Count a request and return its number, from 1."""
        with self.lock:
            self.requests += 1
            return self.requests


def find_problem(text: str, world: str = MINIATURE) -> MiniProblem | None:
    """Return the problem whose instruction stands in a text as whole lines, or None."""
    lines = text.split("\n")
    parts = ("\n".join(lines[start:end]) for start in range(len(lines)) for end in range(len(lines), start, -1))
    return next(filter(None, (sources.truth(part, world) for part in parts)), None)


@contextmanager
def serve(world: str = MINIATURE, busy: int = 0) -> Iterator[Served]:
    """Run a teacher on a free port of this machine within the context; the arguments are those of :class:`Served`."""
    sources.truth("", world)  # builds the world once, before threads ask for it
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1", model_name(world), world, busy)
    server.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, name="miniature teacher", daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def model_name(world: str = MINIATURE) -> str:
    """Return the teacher's name, which changes with the miniature's version and the world."""
    return f"mini-teacher-v{records.versions('miniature')['miniature']}{world.removeprefix(MINIATURE)}"


class _Handler(BaseHTTPRequestHandler):
    """``/v1/models`` and ``/v1/chat/completions``, in the form that the ``openai`` client reads."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Write no access log, which would be shown on the page."""

    def do_GET(self) -> None:
        """Answer with the list of models."""
        if self.path.rstrip("/") == "/v1/models":
            entry = {"id": self.server.served.model, "object": "model", "created": 0, "owned_by": "miniature"}
            self._send(200, {"object": "list", "data": [entry]})
        else:
            self._refuse(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        """Answer with a chat completion."""
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
        true = next(filter(None, (find_problem(text, served.world) for text in reversed(texts))), None)
        known = true is not None and true.pot is not None
        text = reply(true, served.world).text if known else "I know no program for this problem."
        self._send(200, _completion(served.model, texts, text))

    def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}}, headers)

    def _send(self, status: int, value: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        for name, content in sent.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)


def _completion(model: str, messages: list[str], text: str) -> dict:
    prompt = sum(map(len, messages)) // _CHARACTERS_PER_TOKEN
    written = len(text) // _CHARACTERS_PER_TOKEN
    digest = hashlib.sha256("\x1f".join(messages).encode()).hexdigest()[:16]
    message = {"role": "assistant", "content": text}
    return {
        "id": f"chatcmpl-{digest}", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }  # fmt: skip
