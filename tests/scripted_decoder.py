"""A decoder that answers by a function of the prompt, and writes down what it was asked."""

from __future__ import annotations

from collections.abc import Callable

from mammoth_utils.evaluation.engines.requests import Completion, Request, RequestQueue


class ScriptedDecoder:
    """Takes the requests one at a time; ``asked`` holds them in that order.

    Args:
        answer: A prompt to its completion; None leaves ``write`` to a subclass.
    """

    def __init__(self, answer: Callable[[str], str] | None = None) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def write(self, prompt: str) -> str:
        return self._answer(prompt)

    def run(self, queue: RequestQueue) -> None:
        while requests := queue.take(1):
            (request,) = requests
            self.asked.append(request)
            text = self.write(request.prompt)
            queue.finish(request, Completion(text, "stop", len(text.split())))

    def describe(self):
        return {"model": "script", "device": "cpu", "dtype": "float32", "threads": 1, "engine": "test", "batch": 1}
