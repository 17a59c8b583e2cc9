"""Costs of a teacher: the budget that it may spend, and the ledger of what it did cost, by source and model."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils.records import Record


@dataclass
class Budget:
    """Dollars that may be spent, those spent and those set aside for requests under way; safe between threads.

    A request is sent only after the most that it can cost was set aside, so the limit holds at any moment, whatever
    the answers turn out to be. A request that does not fit *now* waits for those under way, which mostly cost less
    than was set aside for them; it is refused once nothing is under way and it still does not fit.
    """

    limit_usd: float
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    _under_way: int = field(default=0, repr=False)
    _counted: set[str] = field(default_factory=set, repr=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def reserve(self, dollars: float) -> bool:
        """Set dollars aside; return False, and change nothing, if the limit could be passed."""
        with self._changed:
            while dollars and self.spent_usd + self.reserved_usd + dollars > self.limit_usd:
                if not self._under_way:
                    return False
                self._changed.wait()
            self.reserved_usd += dollars
            self._under_way += 1
            return True

    def settle(self, reserved: float, spent: float, name: str = "") -> None:
        """Turn what was set aside into what was spent.

        Args:
            name: What was paid for; ``count`` does not count it again.
        """
        with self._changed:
            self._under_way -= 1
            # Sums of floats drift; nothing under way means nothing set aside.
            self.reserved_usd = self.reserved_usd - reserved if self._under_way else 0.0
            self.spent_usd += spent
            if name:
                self._counted.add(name)
            self._changed.notify_all()

    def count(self, name: str, spent: float) -> None:
        """Count what was spent before this start, once for each name."""
        with self._changed:
            if name not in self._counted:
                self._counted.add(name)
                self.spent_usd += spent


@dataclass
class Ledger:
    """Requests to teachers by source and model, and what they cost; the same after a kill and a new start.

    It counts the answers that this curation rests on, whether they were asked now or stored before, and what was
    asked for them and lost: requests whose answer never arrived, which an endpoint may have charged for. Each request
    was ``answered``; or its answer is ``empty``, as where ``max_tokens`` cut a model's thoughts, and was paid; or it is
    ``refused``, whenever it is asked; or it did not fit into the budget; or it is ``unanswered`` for now.
    """

    prices: tuple[float, float]
    model: str = ""
    entries: dict[str, Record] = field(default_factory=dict)

    def add(self, source: str, answers: Iterable[Any], model: str = "", lost: Iterable[Record] = ()) -> str:
        """Count a source's answers (``synthesis.Answer``); return the name of the entry.

        Args:
            model: Who gave them; the ledger's model by default. A second model's entry of the same source is
                named ``source · model``.
            lost: Requests that were sent for them and never answered, as ``Store.lost`` lists them.
        """
        model = model or self.model
        name = source
        if source in self.entries and self.entries[source]["model"] != model:
            name = f"{source} · {model}"
        answers = list(answers)
        # The same request under two problems is one answer, paid once.
        paid = {answer.request: answer for answer in answers if answer.text is not None}.values()
        prompt = sum(answer.prompt_tokens for answer in paid)
        written = sum(answer.completion_tokens for answer in paid)
        given, empty = sum(bool(answer.text) for answer in answers), sum(answer.text == "" for answer in answers)
        refused, over_budget = (sum(getattr(answer, why) for answer in answers) for why in ("refused", "over_budget"))
        vanished = {intent["intent"]: intent["most_usd"] for intent in lost}
        self.entries[name] = {
            "source": source, "model": model,
            "problems": len({answer.problem.id for answer in answers}), "requests": len(answers),
            "answered": given, "empty": empty, "refused": refused, "over_budget": over_budget,
            "unanswered": len(answers) - given - empty - refused - over_budget,
            "prompt_tokens": prompt, "completion_tokens": written,
            "dollars": round(sum(answer.dollars for answer in paid), 6),
            "lost": len(vanished), "lost_dollars_at_most": round(sum(vanished.values()), 6),
        }  # fmt: skip
        return name

    def accept(self, name: str, accepted: int) -> None:
        """Note how many of an entry's rationales were kept, which gives their price; what was lost is part of it."""
        self.entries[name] |= {"accepted": accepted, **_per(self.entries[name], accepted)}

    def as_dict(self) -> Record:
        """Return entries by source, sums by model, and their total."""
        models: dict[str, list[Record]] = {}
        for entry in self.entries.values():
            models.setdefault(entry["model"], []).append(entry)
        return {
            "prices_per_million": list(self.prices),
            "sources": self.entries,
            "models": {model: _sum(entries) for model, entries in models.items()},
            "total": _sum(list(self.entries.values())),
        }


def _per(entry: Record, accepted: int) -> dict[str, float | None]:
    if not accepted:
        return {"dollars_per_accepted": None, "tokens_per_accepted": None}
    tokens = entry["prompt_tokens"] + entry["completion_tokens"]
    return {
        "dollars_per_accepted": round((entry["dollars"] + entry["lost_dollars_at_most"]) / accepted, 8),
        "tokens_per_accepted": round(tokens / accepted, 1),
    }


def _sum(entries: list[Record]) -> Record:
    keys = ("problems", "requests", "answered", "empty", "refused", "over_budget", "unanswered", "prompt_tokens",
            "completion_tokens", "dollars", "lost", "lost_dollars_at_most", "accepted")  # fmt: skip
    total: Record = {key: round(sum(entry.get(key) or 0 for entry in entries), 6) for key in keys}
    return {**total, **_per(total, total["accepted"])}
