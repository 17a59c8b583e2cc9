"""The teacher that writes new rationales: a chat endpoint, how it is asked, and what a request costs there."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from mammoth_utils.curation.teacher.prices import BATCH_SHARE, price_table
from mammoth_utils.records import Record

MILLION = 1_000_000
MESSAGE_TOKENS = 16  # at most so many more than its bytes: the marks of a chat template


class TeacherError(RuntimeError):
    """The teacher cannot be asked: an endpoint that refuses or does not answer, or a price that is unknown."""


@dataclass(frozen=True)
class Teacher:
    """A chat model behind an OpenAI-compatible endpoint, and how it is asked.

    Attributes:
        base_url: The endpoint, such as ``http://localhost:8000/v1``.
        temperature: Sampling temperature; 0 asks for the likeliest answer, None leaves it to the endpoint.
        budget_usd: Dollars that must not be passed; 0 spends nothing, so only free endpoints are asked.
        price: ``"input,output"`` in dollars per million tokens, in place of the table's; ``"0,0"`` for a free one.
        requests_per_minute: Requests sent in any minute at most; 0 sets no limit.
        tokens_per_minute: Tokens sent and allowed for in any minute at most; 0 sets no limit.
        batch: Whether the endpoint's batch API is used: within a day, at a share of the price.
    """

    base_url: str
    model: str
    temperature: float | None = 0.0
    max_tokens: int = 1024
    concurrency: int = 8
    budget_usd: float = 0.0
    price: str = ""
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    samples: int = 1
    batch: bool = False
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"expected a teacher's base URL such as http://localhost:8000/v1, got {self.base_url!r}")
        if not self.model:
            raise ValueError(f"expected the model's name at {self.base_url} (teacher_model), got none")
        for name, least in (("concurrency", 1), ("max_tokens", 1), ("samples", 1), ("budget_usd", 0),
                            ("requests_per_minute", 0), ("tokens_per_minute", 0)):  # fmt: skip
            value = getattr(self, name)
            if not math.isfinite(value) or value < least:
                raise ValueError(f"expected {name} of at least {least} and finite, got {value}")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ValueError(f"expected seconds above 0 and finite for an answer of the teacher, got {self.timeout_s}")
        if self.price:
            self._override()
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ValueError(f"expected a temperature from 0 to 2, or None, got {self.temperature}")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples={self.samples} at temperature 0 would pay for the same answer again; set a temperature"
            )

    @property
    def local(self) -> bool:
        """Return whether the endpoint is on this machine or a private network, where no key is needed.

        It costs no money either, unless it is asked for a model of the price table, which it then passes on.
        """
        host = urlsplit(self.base_url).hostname or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host == "localhost" or host.endswith((".local", ".internal"))
        return address.is_loopback or address.is_private

    @property
    def endpoint(self) -> str:
        """Return the endpoint as it stands in stored requests: ``"local"`` for a local one, whose port changes."""
        return "local" if self.local else self.base_url.rstrip("/")

    @property
    def key(self) -> str:
        """Return endpoint and model, to which a rate limit, an adaptation and a lock belong."""
        return f"{self.endpoint} {self.model}"

    def prices(self) -> tuple[float, float]:
        """Return dollars per million input and output tokens, the batch API's share taken where it is used.

        Raises:
            TeacherError: If an endpoint that costs money has no known price.
        """
        listed = price_table().get(self.model)
        if self.price:
            price = self._override()
        elif listed:
            price = (listed.input, listed.output)
        elif self.local:
            price = (0.0, 0.0)
        else:
            known = ", ".join(f"{model} ({price.read})" for model, price in price_table().items())
            raise TeacherError(
                f"the price of {self.model!r} at {self.base_url} is unknown; give price='input,output' in dollars per "
                f"million tokens ('0,0' if it is free); known, with the day it was read: {known}"
            )
        share = (listed.batch_share if listed else BATCH_SHARE) if self.batch else 1.0
        return price[0] * share, price[1] * share

    def check_budget(self) -> None:
        """Raise TeacherError, before any request is sent, if its price is unknown or it has one and no budget."""
        price = self.prices()
        if any(price) and self.budget_usd <= 0:
            free = "; a local endpoint that does not pass it on is free with price='0,0'" if self.local else ""
            raise TeacherError(
                f"{self.model!r} costs {price[0]} and {price[1]} dollars per million tokens and budget_usd is 0; "
                f"set budget_usd to what may be spent{free}"
            )

    def _override(self) -> tuple[float, float]:
        try:
            given = tuple(float(part) for part in self.price.split(","))
        except ValueError:
            given = ()
        if len(given) != 2 or not all(math.isfinite(part) and part >= 0 for part in given):
            raise ValueError(f"expected a price such as '0.15,0.60' (input,output per million), got {self.price!r}")
        return given[0], given[1]

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what an answer costs."""
        price = self.prices()
        return (prompt_tokens * price[0] + completion_tokens * price[1]) / MILLION

    def most_tokens(self, messages: list[dict[str, str]]) -> tuple[int, int]:
        """Return upper bounds of a request's prompt and answer: a token is at least one byte."""
        return sum(len(message["content"].encode()) + MESSAGE_TOKENS for message in messages), self.max_tokens

    def most_a_request_costs(self, messages: list[dict[str, str]]) -> float:
        """Return an upper bound of a request's cost in dollars."""
        return self.dollars(*self.most_tokens(messages))

    def as_dict(self) -> Record:
        """Return how it is asked, for a record; an endpoint's address is no secret, and the key is not held here."""
        listed = price_table().get(self.model)
        return {
            "base_url": self.endpoint, "model": self.model, "temperature": self.temperature,
            "max_tokens": self.max_tokens, "samples": self.samples, "concurrency": self.concurrency,
            "requests_per_minute": self.requests_per_minute, "tokens_per_minute": self.tokens_per_minute,
            "batch": self.batch, "budget_usd": self.budget_usd, "prices_per_million": list(self.prices()),
            "prices_read": "given" if self.price else listed.read if listed else "free",
        }  # fmt: skip
