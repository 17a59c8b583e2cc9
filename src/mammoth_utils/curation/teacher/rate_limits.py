"""Rate limits of a teacher: requests and tokens by the minute, waits that an endpoint asks for, and back-off."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping

MINUTE_S = 60.0
FIRST_WAIT_S = 0.5  # doubled at each further failure
LONGEST_WAIT_S = 30.0
LONGEST_RETRY_AFTER_S = 600.0  # a longer one is a quota that ended, not a busy moment


class Stopped(Exception):
    """The wait ended because the run does."""


class RateLimiter:
    """Turns to send, given so that no minute holds more requests or tokens than allowed; safe between threads.

    The minute slides: a request counts for 60 s after it was sent, those of an earlier process included, so a run
    that is killed and started again does not begin with a fresh allowance. Each request counts with the tokens that
    it may need, as endpoints count them.

    Args:
        requests: Requests a minute; 0 sets no limit.
        tokens: Tokens a minute; 0 sets no limit.
        earlier: When (Unix time) and with how many tokens requests were sent before.
    """

    def __init__(self, requests: int = 0, tokens: int = 0, earlier: Iterable[tuple[float, int]] = ()) -> None:
        self.requests, self.tokens = requests, tokens
        self._sent: deque[tuple[float, int]] = deque(earlier)
        self._hold_until = 0.0
        self._lock = threading.Lock()

    def take(self, tokens: int, stop: threading.Event) -> None:
        """Wait until a request of that many tokens may be sent.

        Raises:
            ValueError: If it has more tokens than a minute allows.
            Stopped: If ``stop`` was set meanwhile.
        """
        if self.tokens and tokens > self.tokens:
            raise ValueError(
                f"a request may need {tokens} tokens, and tokens_per_minute={self.tokens} never lets it pass; "
                "raise the limit or lower max_tokens"
            )
        while True:
            with self._lock:
                wait = self._wait_s(tokens, time.time())
                if wait <= 0:
                    self._sent.append((time.time(), tokens))
                    return
            # A little longer for some than for others: a hold must not end in a burst.
            if stop.wait(wait + random.uniform(0, min(0.25, wait / 4))):
                raise Stopped

    def hold(self, seconds: float) -> None:
        """Let nobody send for so many seconds, because the endpoint asked for that."""
        with self._lock:
            self._hold_until = max(self._hold_until, time.time() + seconds)

    def _wait_s(self, tokens: int, now: float) -> float:
        while self._sent and self._sent[0][0] <= now - MINUTE_S:
            self._sent.popleft()
        waits = [self._hold_until - now]
        if self.requests and len(self._sent) >= self.requests:
            waits.append(self._sent[len(self._sent) - self.requests][0] + MINUTE_S - now)
        if self.tokens:
            excess = sum(count for _, count in self._sent) + tokens - self.tokens
            for moment, count in self._sent:
                if excess <= 0:
                    break
                excess -= count
                waits.append(moment + MINUTE_S - now)
        return max(waits)


def back_off_s(failures: int) -> float:
    """Return the seconds to wait after so many failures: a random share of a bound that doubles (full jitter)."""
    return random.uniform(0.1, 1.0) * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (failures - 1))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``Retry-After`` asks for, number or date; None without one."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(header)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            parsed = email.utils.parsedate_tz(value)
            if parsed is None:
                continue
            seconds = email.utils.mktime_tz(parsed) - time.time()
        if seconds == seconds:  # not NaN
            return max(0.0, seconds)
    return None
