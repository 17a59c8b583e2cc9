"""Requests for completions, and the queue from which an engine takes them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mammoth_utils.records import Record


@dataclass(frozen=True)
class Request:
    """What an engine is asked to complete, greedily.

    Attributes:
        prompt: The text to continue, whole; of a chat the user's one message.
        max_new_tokens: Most tokens of the completion.
        chat: Whether the model's chat template goes around the prompt.
        stop: Texts before the first of which the completion ends.
        label: The benchmark that it belongs to, for messages; no part of what is asked.
    """

    prompt: str
    max_new_tokens: int
    chat: bool = False
    stop: tuple[str, ...] = ()
    label: str = field(default="", compare=False)


@dataclass(frozen=True)
class Completion:
    """What an engine wrote.

    Attributes:
        text: The text after the prompt, without the stop text or the token that ended it.
        finish: ``"stop"`` if the model or a stop text ended it, ``"length"`` if the limit of tokens or the context cut
            it, empty where the engine does not say.
        tokens: Tokens that were written; 0 where the engine does not say.
        prompt_tokens: Tokens of the prompt; 0 where the engine does not say.
    """

    text: str
    finish: str = ""
    tokens: int = 0
    prompt_tokens: int = 0


class Decoder(Protocol):
    """An engine that turns requests into completions."""

    def run(self, queue: RequestQueue) -> None:
        """Complete what a queue holds until it is closed and empty.

        Each completion is handed to ``queue.finish`` as it arrives; a request that cannot be completed, while others
        can, to ``queue.fail``. A fault of the whole engine is raised.
        """

    def describe(self) -> Record:
        """Return model, engine and settings as a record keeps them."""


class RequestQueue:
    """Requests that wait, the longest prompt first; safe to use from several threads.

    Longest first, so that a batch that is too large for the memory fails at once and no long request is the last one
    alone.

    Attributes:
        closed: Whether no more requests come.
        cancelled: Whether the completions are wanted no longer: an engine stops as soon as it can.

    Args:
        on_completion: Called with a request and its completion, in the thread that hands it in; it may ``put`` more.
        on_failure: Called with a request and the reason why there is no completion.
    """

    def __init__(
        self, on_completion: Callable[[Request, Completion], None], on_failure: Callable[[Request, str], None]
    ) -> None:
        self._on_completion, self._on_failure = on_completion, on_failure
        self._heap: list[tuple[int, int, Request]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self.closed = self.cancelled = False

    def put(self, requests: Sequence[Request]) -> None:
        """Add requests; those of one length keep their order."""
        with self._changed:
            for request in requests:
                heapq.heappush(self._heap, (-len(request.prompt), next(self._order), request))
            self._changed.notify_all()

    def take(self, most: int = 1, wait: bool = True) -> list[Request]:
        """Return at most ``most`` requests, the longest first.

        Args:
            wait: Whether to wait for a request while none is there and the queue is open; the empty list then means
                that the queue is closed and empty, so that nothing comes any more.
        """
        with self._changed:
            while wait and not self._heap and not self.closed:
                self._changed.wait()
            return [heapq.heappop(self._heap)[2] for _ in range(min(most, len(self._heap)))]

    def finish(self, request: Request, completion: Completion) -> None:
        """Hand in the completion of a request that was taken."""
        self._on_completion(request, completion)

    def fail(self, request: Request, reason: str) -> None:
        """Say why a request that was taken has no completion."""
        self._on_failure(request, reason)

    def close(self) -> None:
        """Say that no more requests come: engines end once those that wait are taken."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drop the requests that wait and close."""
        with self._changed:
            self._heap.clear()
            self.closed = self.cancelled = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Requests that no engine has taken yet."""
        return len(self._heap)


class RequestFailedError(RuntimeError):
    """Requests have no completion; the message says why."""


def complete(decoder: Decoder, requests: Sequence[Request]) -> list[Completion]:
    """Return the completion of every request, in their order.

    Raises:
        RequestFailedError: If one has none, after all others were asked.
    """
    done: dict[Request, Completion] = {}
    failures: list[str] = []
    queue = RequestQueue(done.__setitem__, lambda _, reason: failures.append(reason))
    queue.put(list(dict.fromkeys(requests)))
    queue.close()
    decoder.run(queue)
    if failures:
        raise RequestFailedError(f"{len(failures)} of {len(requests)} requests have no completion: {failures[0]}")
    return [done[request] for request in requests]
