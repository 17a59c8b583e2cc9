"""A proxy in front of a teacher that fails as endpoints do: busy, broken, cut, slow, and talking nonsense."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from local_server import serving

from mammoth_utils.curation.teacher.live_requests import INTENT_HEADER

RATES = {"busy": 0.05, "broken": 0.03, "cut": 0.02, "slow": 0.03, "malformed": 0.02}
# Requests of these fates reach the teacher, which counts them and would charge for them.
FORWARDED = ("fine", "cut", "slow", "malformed")


@dataclass
class Proxy:
    """A running proxy and its log: the fate of every request by the intent's name that the client sent along.

    Attributes:
        base_url: What a client is given.
        upstream: The teacher behind it.
        rates: The share of each fate; the rest is fine.
        delay_s: Seconds that every answer takes, from 0 to twice this.
        slow_s: Seconds that a slow one takes besides.
    """

    base_url: str
    upstream: str
    rates: dict[str, float]
    delay_s: float
    slow_s: float
    fates: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    under_way: int = 0
    most_under_way: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, intent: str) -> tuple[str, float]:
        """A request's fate and delay, noted."""
        with self.lock:
            fate = self.rng.choices([*self.rates, "fine"], [*self.rates.values(), 1 - sum(self.rates.values())])[0]
            self.requests += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            assert intent not in self.fates, f"the client used the name of one intent twice: {intent}"
            self.fates[intent] = fate
            return fate, self.rng.uniform(0, 2 * self.delay_s) + (self.slow_s if fate == "slow" else 0)

    def count(self) -> Counter[str]:
        """Requests by fate."""
        with self.lock:
            return Counter(self.fates.values())

    def wait_for(self, more_than: int, process: Any, seconds: float = 60.0) -> None:
        """Return when more than so many requests came in, or the process that sends them has ended."""
        end = time.monotonic() + seconds
        while self.requests <= more_than and process.poll() is None:
            assert time.monotonic() < end, "the client sends nothing"
            time.sleep(0.01)

    def settle(self) -> None:
        """Return when no request is under way here."""
        while True:
            with self.lock:
                if not self.under_way:
                    return
            time.sleep(0.01)


@contextlib.contextmanager
def between(upstream: str, rates: dict[str, float] = RATES, delay_s: float = 0.02, slow_s: float = 1.0
            ) -> Iterator[Proxy]:  # fmt: skip
    """A proxy on a free port, stopped at the end of the block."""
    with serving(_Handler) as server:
        server.proxy = Proxy(f"{server.url}/v1", upstream, rates, delay_s, slow_s)
        yield server.proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """One request to its fate."""
        proxy: Proxy = self.server.proxy
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fate, delay = proxy.draw(self.headers[INTENT_HEADER])
        try:
            # A client that was killed meanwhile is not there to read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.meet(proxy, fate, delay, body)
        finally:
            with proxy.lock:
                proxy.under_way -= 1

    def meet(self, proxy: Proxy, fate: str, delay: float, body: bytes) -> None:
        """The fate itself."""
        if fate == "busy":
            return self.give(429, b'{"error": {"message": "slow down", "code": "rate_limit"}}', {"Retry-After": "0.3"})
        if fate == "broken":
            return self.give(500, b'{"error": {"message": "out of order"}}')
        status, data = self.forward(proxy.upstream, body)
        time.sleep(delay)
        if fate == "cut":
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        return self.give(status, data[:-20] if fate == "malformed" else data)

    def give(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)),
                            **(headers or {})}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def forward(self, upstream: str, body: bytes) -> tuple[int, bytes]:
        """The teacher's own answer."""
        url = urlsplit(upstream)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            connection.request("POST", f"{url.path}{self.path.removeprefix('/v1')}", body,
                               {"Content-Type": "application/json"})  # fmt: skip
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
