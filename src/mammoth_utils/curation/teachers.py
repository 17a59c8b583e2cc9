"""Who writes the new rationales, and what that costs: endpoint, price, budget, ledger."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# US dollars per million tokens (input, output). Prices change and models are withdrawn: this table is a
# convenience with a date, `price` overrides it, and a model that is not in it is refused before it is asked.
PRICES_READ = "2026-11-22"  # from github.com/github/docs, models-and-pricing, and the vendors' pages it follows
PRICES: dict[str, tuple[float, float]] = {
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-5-mini": (0.25, 2.00),
}
MILLION = 1_000_000


class TeacherError(RuntimeError):
    """The teacher cannot be asked: an endpoint that refuses or does not answer, or a price that is unknown."""


@dataclass(frozen=True)
class Teacher:
    """A chat model behind an OpenAI-compatible endpoint, and how it is asked.

    Attributes:
        base_url: The endpoint, such as ``http://localhost:8000/v1``.
        model: The model's name there.
        temperature: Sampling temperature; 0 asks for the likeliest answer.
        max_tokens: Longest answer.
        concurrency: Requests under way at once.
        budget_usd: Dollars that must not be passed; 0 spends nothing, so only free endpoints are asked.
        price: ``"input,output"`` in dollars per million tokens, in place of ``PRICES``; ``"0,0"`` for a free one.
    """

    base_url: str
    model: str
    temperature: float = 0.0
    max_tokens: int = 1024
    concurrency: int = 8
    budget_usd: float = 0.0
    price: str = ""

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"expected a teacher's base URL such as http://localhost:8000/v1, got {self.base_url!r}")
        if not self.model:
            raise ValueError(f"expected the model's name at {self.base_url} (teacher_model), got none")
        if self.concurrency < 1 or self.max_tokens < 1 or self.budget_usd < 0:
            raise ValueError(
                "expected concurrency and max_tokens of at least 1 and a budget of at least 0, got "
                f"{self.concurrency}, {self.max_tokens} and {self.budget_usd}"
            )

    @property
    def local(self) -> bool:
        """Whether the endpoint is on this machine or a private network, where a request costs no money."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host == "localhost" or host.endswith((".local", ".internal"))
        return address.is_loopback or address.is_private

    def prices(self) -> tuple[float, float]:
        """Dollars per million input and output tokens.

        Raises:
            TeacherError: If an endpoint that costs money has no known price, or no budget to spend: before any
                request is sent.
            ValueError: If ``price`` is not two numbers.
        """
        if self.price:
            parts = self.price.split(",")
            try:
                given = tuple(float(part) for part in parts)
            except ValueError:
                given = ()
            if len(given) != 2 or min(given) < 0:
                raise ValueError(f"expected a price such as '0.15,0.60' (input,output per million), got {self.price!r}")
            price = (given[0], given[1])
        elif self.local:
            price = (0.0, 0.0)
        elif self.model in PRICES:
            price = PRICES[self.model]
        else:
            raise TeacherError(
                f"the price of {self.model!r} at {self.base_url} is unknown; give price='input,output' in dollars per "
                f"million tokens ('0,0' if it is free); known on {PRICES_READ}: {', '.join(PRICES)}"
            )
        if any(price) and self.budget_usd <= 0:
            raise TeacherError(
                f"{self.model!r} costs {price[0]} and {price[1]} dollars per million tokens and budget_usd is 0; "
                "set budget_usd to what may be spent"
            )
        return price

    def most_a_request_costs(self, messages: list[dict[str, str]]) -> float:
        """An upper bound in dollars: a token is at least one byte, and an answer has at most ``max_tokens``."""
        price = self.prices()
        given = sum(len(message["content"].encode()) + 16 for message in messages)
        return (given * price[0] + self.max_tokens * price[1]) / MILLION


@dataclass
class Budget:
    """Dollars that may be spent, those spent and those set aside for requests under way; safe between threads."""

    limit_usd: float
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, dollars: float) -> bool:
        """Set dollars aside; False, and nothing changed, if the limit could then be passed."""
        with self._lock:
            if dollars and self.spent_usd + self.reserved_usd + dollars > self.limit_usd:
                return False
            self.reserved_usd += dollars
            return True

    def settle(self, reserved: float, spent: float) -> None:
        """Turn what was set aside into what was spent."""
        with self._lock:
            self.reserved_usd -= reserved
            self.spent_usd += spent


@dataclass
class Ledger:
    """What the teacher was asked, source by source, and what it cost; the same after a kill and a new start.

    It counts the answers that this curation rests on, whether they were asked now or stored before.
    """

    prices: tuple[float, float]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars of one answer."""
        return (prompt_tokens * self.prices[0] + completion_tokens * self.prices[1]) / MILLION

    def add(self, source: str, answers: Iterable[Any]) -> None:
        """Count a source's answers (``synthesis.Answer``)."""
        answers = list(answers)
        given = [answer for answer in answers if answer.text is not None]
        prompt = sum(answer.prompt_tokens for answer in given)
        written = sum(answer.completion_tokens for answer in given)
        self.entries[source] = {
            "problems": len(answers), "answered": len(given), "unanswered": len(answers) - len(given),
            "prompt_tokens": prompt, "completion_tokens": written, "dollars": round(self.cost(prompt, written), 6),
        }  # fmt: skip

    def accept(self, source: str, accepted: int) -> None:
        """Note how many of a source's rationales were kept, which gives their price."""
        entry = self.entries[source]
        entry["accepted"] = accepted
        entry["dollars_per_accepted"] = round(entry["dollars"] / accepted, 8) if accepted else None
        entry["tokens_per_accepted"] = (
            round((entry["prompt_tokens"] + entry["completion_tokens"]) / accepted, 1) if accepted else None
        )

    def as_dict(self) -> dict[str, Any]:
        """Entries by source and their total."""
        sums = ("problems", "answered", "unanswered", "prompt_tokens", "completion_tokens", "dollars", "accepted")
        total = {key: round(sum(entry.get(key) or 0 for entry in self.entries.values()), 6) for key in sums}
        accepted = total["accepted"]
        total["dollars_per_accepted"] = round(total["dollars"] / accepted, 8) if accepted else None
        return {"prices_per_million": list(self.prices), "sources": self.entries, "total": total}
