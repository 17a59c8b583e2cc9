"""Progress of an evaluation: one line that changes in place, and an estimate from the first completions."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from mammoth_utils.curation import Price, price_table
from mammoth_utils.evaluation.engines.requests import Completion, Decoder
from mammoth_utils.status_line import duration

# Completions, or twice as many as are under way at once if that is more: the first ones are those that end soonest.
ESTIMATE_AFTER = 32
WORTH_SAYING_S = 120.0  # a run that ends sooner is not foretold
WINDOW_S = 60.0  # the speed that is shown is that of the last minute


class Progress:
    """Counts what arrives; safe to use from several threads.

    Args:
        show: Called with the line whenever it changes, such as a ``StatusLine``.
        say: Called once with hours and cost, after the first completions of a run that takes longer.
        usd_per_hour: Price of the machine, for the cost; of a model in the table of prices its tokens' price is taken.
    """

    def __init__(
        self,
        show: Callable[[str], None] | None = None,
        say: Callable[[str], None] | None = None,
        usd_per_hour: float = 0.0,
    ) -> None:
        self._show, self._say, self._usd_per_hour = show, say, usd_per_hour
        self._price: Price | None = None
        self._estimate_after = ESTIMATE_AFTER
        self._lock = threading.Lock()
        self.expected = self.stored = self.new = self.cut = self.failed = self.tokens = self.prompt_tokens = 0
        self._begun = time.monotonic()
        self._recent: deque[tuple[float, int, int]] = deque()  # second, completions and tokens so far

    def begin(self, decoder: Decoder) -> None:
        """Start the clock: the decoder is loaded."""
        settings = decoder.describe()
        self._price = price_table().get(str(settings.get("model")))
        self._estimate_after = max(ESTIMATE_AFTER, 2 * (settings.get("batch") or 0))
        self._begun = time.monotonic()
        self._recent.append((self._begun, 0, 0))

    def expect(self) -> None:
        """Count a completion that will be needed."""
        self.expected += 1

    def fail(self) -> None:
        """Count a request that has no completion."""
        self.failed += 1
        self._changed()

    def arrive(self, completion: Completion, stored: bool = False) -> None:
        """Count a completion; one that was stored says nothing about the speed."""
        with self._lock:
            self.cut += completion.finish == "length"
            self.stored += stored
            if not stored:
                self.new += 1
                self.tokens += completion.tokens
                self.prompt_tokens += completion.prompt_tokens
                now = time.monotonic()
                self._recent.append((now, self.new, self.tokens))
                while len(self._recent) > 2 and self._recent[0][0] < now - WINDOW_S:
                    self._recent.popleft()
            estimate = not stored and self.new == self._estimate_after
        if estimate and self._say is not None and self._seconds_left() >= WORTH_SAYING_S:
            self._say(self.estimate())
        self._changed()

    def last(self) -> None:
        """Show the final line, if anything was asked."""
        self._changed()
        if hasattr(self._show, "last"):
            self._show.last()

    def _changed(self) -> None:
        if self._show is not None and self.expected:
            self._show(self.line())

    @property
    def _left(self) -> int:
        return self.expected - self.stored - self.new - self.failed

    def _seconds_left(self) -> float:
        """Return how long the rest takes at the speed so far."""
        return self._left * (time.monotonic() - self._begun) / self.new

    def _speed(self) -> tuple[float, float]:
        """Return completions and tokens a second over the last minute; zeros before there is anything to see."""
        if len(self._recent) < 2 or self._recent[-1][0] <= self._recent[0][0]:
            return 0.0, 0.0
        (begin, completions, tokens), (end, completions_now, tokens_now) = self._recent[0], self._recent[-1]
        return (completions_now - completions) / (end - begin), (tokens_now - tokens) / (end - begin)

    def line(self) -> str:
        """Return completions, tokens a second, share cut, failures and time left."""
        done = self.stored + self.new
        completions_s, tokens_s = self._speed()
        parts = [f"{done:,} of {self.expected:,} completions" + (f" ({self.stored:,} stored)" if self.stored else "")]
        if tokens_s:
            parts.append(f"{tokens_s:,.0f} tokens/s")
        if done:
            parts.append(f"{100 * self.cut / done:.1f} % cut at the limit")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self._left and completions_s:
            parts.append(f"about {duration(self._left / completions_s)} left, fallbacks to come not counted")
        elif not self._left and self.new:
            parts.append(f"all in {duration(self._recent[-1][0] - self._begun)}")
        return " · ".join(parts)

    def estimate(self) -> str:
        """Return tokens, hours and cost of what is left, from the completions so far."""
        left_s = self._seconds_left()
        words = f"from the first {self.new} completions: about {duration(left_s)} for the {self._left:,} others"
        if self.tokens:
            words += f", {self._left * self.tokens / self.new:,.0f} tokens to write"
        if self._price is not None:
            usd = self.prompt_tokens * self._price.input + self.tokens * self._price.output
            words += f", {self._left * usd / self.new / 1e6:,.2f} dollars"
        elif self._usd_per_hour:
            words += f", {left_s / 3600 * self._usd_per_hour:,.2f} dollars"
        return f"{words}; fallbacks come on top"
