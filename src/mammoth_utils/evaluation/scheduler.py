"""The scheduler: every problem of an evaluation at once, through one queue of requests and one sandbox.

Three threads: an engine takes requests from the queue, the longest first; the sandbox runs programs as they arrive;
the caller's reads answers and asks what follows from them, so that a fallback joins the queue while others are decoded.
A completion is on disk before anything else is done with it.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mammoth_utils.evaluation.attempts import Attempt, read_answers, start_attempt
from mammoth_utils.evaluation.completion_store import CompletionStore
from mammoth_utils.evaluation.engines.requests import Completion, Decoder, Request, RequestQueue
from mammoth_utils.evaluation.hybrid import PromptSettings, Step, decode, rules_of
from mammoth_utils.evaluation.progress import Progress
from mammoth_utils.programs import NONE_AT_HAND, Execution, Sandbox
from mammoth_utils.rationale import Problem

AttemptsByDecoding = dict[str, list[Attempt]]


@dataclass(frozen=True)
class Failure:
    """A request that has no completion, of which problem, and why."""

    problem: Problem
    step: Step
    reason: str


@dataclass
class _Asked:
    """A problem under way: what is known of it, which ways of decoding wait for what, and which are done."""

    problem: Problem
    known: dict[Step, Attempt] = field(default_factory=dict)
    waiting: dict[Step, list[tuple[str, Generator[Step, Attempt, list[Attempt]]]]] = field(default_factory=dict)
    attempts: AttemptsByDecoding = field(default_factory=dict)
    open: int = 0  # ways of decoding that are neither done nor failed


class Schedule:
    """Every problem under way at once; nothing is asked twice.

    Args:
        problems: What is asked; ``problem.set`` says which benchmark's rules read the answers.
        decodings: Some of ``vocabulary.DECODINGS``.
        store: Read first, and written as completions arrive.
        load: Returns the decoder; called when the first request is not in the store.
        sandbox: Runs the programs.
        progress: Told what arrives.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        decodings: Sequence[str],
        settings: PromptSettings,
        store: CompletionStore,
        load: Callable[[], Decoder],
        sandbox: Sandbox,
        progress: Progress | None = None,
    ) -> None:
        self.asked = [_Asked(problem) for problem in problems]
        self.decodings, self.settings = list(dict.fromkeys(decodings)), settings
        self.store, self.load, self.sandbox, self.progress = store, load, sandbox, progress or Progress()
        self.failures: list[Failure] = []
        self.events: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()
        self.requests = RequestQueue(self._completed, self._failed)
        self.wanted: dict[Request, list[tuple[_Asked, Step]]] = {}  # under way, each with those who asked
        self.programs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.executions: dict[str, Execution] = {}
        self.running: defaultdict[str, list[tuple[_Asked, Step, Attempt]]] = defaultdict(list)
        self.threads: list[threading.Thread] = []
        self.decoding: bool | None = None  # whether the engine works; None while the first requests are put together
        self.left = 0  # ways of decoding of all problems that are still open

    def run(self) -> tuple[list[AttemptsByDecoding | None], list[Failure]]:
        """Return each problem's attempts by way of decoding, None where a request failed, and what failed.

        Raises:
            ValueError: If a decoding is unknown, naming the choices.
            Exception: What the engine raised; what arrived before is in the store.
        """
        self._start(self._run_programs)
        try:
            for asked in self.asked:
                asked.open = len(self.decodings)
                self.left += asked.open
            for asked in self.asked:
                for decoding in self.decodings:
                    self._advance(asked, decoding, decode(asked.problem, decoding, self.settings), None)
            self.decoding = False
            if self.requests.waiting:
                self._start_engine()
            while self.left:
                handle, arguments = self.events.get()
                handle(*arguments)
        except BaseException:
            self.requests.cancel()
            raise
        finally:
            self.requests.close()
            self.programs.put(None)
            self.progress.last()
        for thread in self.threads:
            thread.join()
        done = [asked.attempts if len(asked.attempts) == len(self.decodings) else None for asked in self.asked]
        return done, self.failures

    # --- in the thread of the caller: what follows from what arrived --------------------------------------------------

    def _advance(
        self, asked: _Asked, decoding: str, steps: Generator[Step, Attempt, list[Attempt]], attempt: Attempt | None
    ) -> None:
        """Send an attempt to a way of decoding and go on to the next step whose attempt is not known."""
        while True:
            try:
                step = steps.send(attempt)  # type: ignore[arg-type]  # a generator begins with None
            except StopIteration as end:
                asked.attempts[decoding] = end.value
                self._close(asked)
                return
            attempt = asked.known.get(step)
            if attempt is None:
                break
        waiting = asked.waiting.setdefault(step, [])
        waiting.append((decoding, steps))
        if len(waiting) == 1:
            self._ask(asked, step)

    def _ask(self, asked: _Asked, step: Step) -> None:
        wanted = self.wanted.setdefault(step.request, [])
        wanted.append((asked, step))
        if len(wanted) > 1:
            return
        self.progress.expect()
        completion = self.store.get(step.request)
        if completion is not None:
            self.progress.arrive(completion, stored=True)
            self.events.put((self._arrived, (step.request, completion)))
            return
        self.requests.put([step.request])
        self._start_engine()

    def _arrived(self, request: Request, completion: Completion) -> None:
        """Read a completion for all who asked; run its program where it has one."""
        for asked, step in self.wanted.pop(request):
            written = (completion.text, completion.finish, completion.tokens)
            attempt = start_attempt(step.kind, request.prompt, *written, step.style)
            if attempt.program is None:
                self._read(asked, step, attempt)
            elif attempt.program in self.executions:
                self._read(asked, step, replace(attempt, execution=self.executions[attempt.program]))
            else:
                self.running[attempt.program].append((asked, step, attempt))
                if len(self.running[attempt.program]) == 1:
                    self.programs.put(attempt.program)

    def _executed(self, program: str, execution: Execution) -> None:
        self.executions[program] = execution
        for asked, step, attempt in self.running.pop(program):
            self._read(asked, step, replace(attempt, execution=execution))

    def _read(self, asked: _Asked, step: Step, attempt: Attempt) -> None:
        problem = asked.problem
        asked.known[step] = read_answers(attempt, rules_of(problem), problem.options, problem.question)
        for decoding, steps in asked.waiting.pop(step):
            self._advance(asked, decoding, steps, asked.known[step])

    def _give_up(self, request: Request, reason: str) -> None:
        """Take down that a request failed; the ways of decoding that wait for it do not go on."""
        self.progress.fail()
        for asked, step in self.wanted.pop(request):
            self.failures.append(Failure(asked.problem, step, reason))
            for _ in asked.waiting.pop(step):
                self._close(asked)

    def _close(self, asked: _Asked) -> None:
        asked.open -= 1
        self.left -= 1

    def _raise(self, error: BaseException) -> None:
        raise error

    # --- in the threads of the engine and the sandbox -----------------------------------------------------------------

    def _start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.events.put((self._raise, (error,)))

        thread = threading.Thread(target=guarded, daemon=True, name=work.__name__)
        self.threads.append(thread)
        thread.start()

    def _start_engine(self) -> None:
        """Start the engine, unless it works: once all first requests are there, since it takes the longest first."""
        if self.decoding is False:
            self.decoding = True
            self._start(self._decode)

    def _decode(self) -> None:
        decoder = self.load()
        self.store.begin(decoder.describe())
        self.progress.begin(decoder)
        decoder.run(self.requests)
        if not self.requests.closed:
            raise RuntimeError(f"the decoder {type(decoder).__name__} ended while requests may still come")

    def _completed(self, request: Request, completion: Completion) -> None:
        self.store.keep(request, completion)
        self.progress.arrive(completion)
        self.events.put((self._arrived, (request, completion)))

    def _failed(self, request: Request, reason: str) -> None:
        self.events.put((self._give_up, (request, reason)))

    def _run_programs(self) -> None:
        running: dict[int, str] = {}  # by place

        def source() -> Iterator[str]:
            place = 0
            while True:
                try:
                    # With none under way there is nothing to look after meanwhile.
                    program = self.programs.get(block=not running)
                except queue.Empty:
                    yield NONE_AT_HAND
                    continue
                if program is None:
                    return
                running[place] = program
                place += 1
                yield program

        for place, execution in self.sandbox.run_as_completed(source()):
            self.events.put((self._executed, (running.pop(place), execution)))
