"""Live requests to a teacher: logged, paced, sent, sent again where that helps, and their answers stored."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from mammoth_utils.curation.teacher import rate_limits
from mammoth_utils.curation.teacher.answer_store import LOST, REFUSED, UNSENT, Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError
from mammoth_utils.curation.teacher.unsupported_parameters import Body, adapt_request, find_adaptation
from mammoth_utils.openai_client import is_this_machine, name_proxy, open_openai
from mammoth_utils.records import Record

API_KEY = "OPENAI_API_KEY"
INTENT_HEADER = "X-Client-Request-Id"  # the intent's name, by which an endpoint's log and ours can be compared
RETRIES = 8  # of one request
GIVE_UP_AFTER = 12  # requests in a row that failed after every retry: the endpoint is down, asking on would not help
LOCAL_PATIENCE_S = 10.0  # how long a server of this machine may refuse connections: one that starts anew is soon back
NO_CONNECTION = "no connection to"
ALL_REFUSED = 100  # requests of a model that never answered, each refused by itself: the settings cannot be right
TRANSIENT = (408, 409, 425, 429)  # statuses below 500 after which the same request may be answered
OVER_BUDGET = "the budget would be passed"
STOPPED = "the run ended first"


def open_client(teacher: Teacher) -> Any:
    """Return an ``openai`` client that never retries by itself, since each try is logged first.

    Raises:
        TeacherError: If the endpoint is remote and the environment holds no key.
    """
    # Only the environment holds a key; a local server wants none, but the client insists on one.
    key = os.environ.get(API_KEY) or ("none" if teacher.local else "")
    if not key:
        raise TeacherError(f"expected an API key for {teacher.base_url} in the environment ({API_KEY}), found none")
    return open_openai(teacher.base_url, key, max_retries=0, timeout_s=teacher.timeout_s)


def refusal_message(body: Any) -> str:
    """Return the words of a refusal, which most endpoints put into an object and some send as they are."""
    if isinstance(body, dict):
        body = body.get("error", body)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body.get("code")
    return str(body or "")


def is_permanent(error: str) -> bool:
    """Return whether an endpoint refuses a request whenever it is asked, such as for its content; an outage passes."""
    status = re.match(r"status (4\d\d)\b", error)
    return bool(status) and int(status[1]) not in TRANSIENT


def failed(reason: str) -> Record:
    """Return what stands for an answer that did not come; it is not stored."""
    return {"text": None, "prompt_tokens": 0, "completion_tokens": 0, "finish": "", "error": reason}


def read_completion(response: Any, most: tuple[int, int]) -> Record:
    """Return what is stored of a response.

    Args:
        response: The client's ``ChatCompletion``, or the same as a dictionary.
        most: Tokens that stand for a usage which the endpoint does not report: what it charges is unknown then, and
            a budget must not be passed.

    Raises:
        ValueError: If it is no chat completion.
    """
    if hasattr(response, "model_dump"):
        response = response.model_dump()
    try:
        choice = response["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
        refusal = choice["message"].get("refusal")
        usage = response.get("usage") or {}
        counted = isinstance(usage.get("prompt_tokens"), int) and isinstance(usage.get("completion_tokens"), int)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"expected a chat completion, got {str(response)[:200]!r}") from error
    if text is not None and not isinstance(text, str):
        raise ValueError(f"expected text in a chat completion, got {type(text).__name__}")
    return {
        "text": text or "",
        "prompt_tokens": usage["prompt_tokens"] if counted else most[0],
        "completion_tokens": usage["completion_tokens"] if counted else most[1],
        "finish": finish or "",
        "error": "",
        "answered_by": response.get("model") or "",
        "usage": "reported" if counted else "at most",
        **({"refusal": str(refusal)} if refusal else {}),
    }


def priced(answer: Record, teacher: Teacher, names: Iterable[str]) -> Record:
    """Return the answer with what was paid for it and how its request was adapted; later prices change neither."""
    dollars = teacher.dollars(answer["prompt_tokens"], answer["completion_tokens"])
    return {**answer, "dollars": dollars, "batch": teacher.batch, "adapted": list(names)}


class Sender:
    """Sends requests to one teacher; what all its threads share."""

    def __init__(self, teacher: Teacher, store: Store, budget: Budget, client: Any) -> None:
        self.teacher, self.store, self.budget, self.client = teacher, store, budget, client
        self.stop = threading.Event()
        earlier = store.sent_since(teacher.key, time.time() - rate_limits.MINUTE_S)
        self.pace = rate_limits.RateLimiter(teacher.requests_per_minute, teacher.tokens_per_minute, earlier)
        self._learned = dict.fromkeys(store.learned(teacher.key))
        self._lock = threading.Lock()

    def answer(self, request: str, body: Body) -> Record:
        """Return the answer to a request, stored; or, after the last retry, the reason why there is none.

        Raises:
            TeacherError: If the endpoint refuses whatever is asked: its key, model or path, or its credit is spent.
        """
        failures, begun = 0, time.monotonic()
        while True:
            with self._lock:
                names = tuple(self._learned)
            try:
                answer, wait_s = self._try(request, body, names)
                self._stop_if_nobody_listens(answer, begun)
            except BaseException:
                self.stop.set()  # here and not where the error arrives: meanwhile the other threads would ask on
                raise
            if wait_s is None:
                return answer
            failures += wait_s >= 0
            if failures > RETRIES:
                return answer
            if failures and self.stop.wait(max(wait_s, rate_limits.back_off_s(failures))):
                return failed(STOPPED)

    def _stop_if_nobody_listens(self, answer: Record, begun: float) -> None:
        """Raise TeacherError if the teacher's address is this machine's and has refused connections for a while."""
        refused = answer["error"].startswith(NO_CONNECTION) and is_this_machine(self.teacher.base_url)
        if refused and time.monotonic() - begun > LOCAL_PATIENCE_S:
            raise TeacherError(
                f"nothing listens at {self.teacher.base_url}: start the teacher there; the answers so far are stored, "
                "the same command goes on from there"
            )

    def _try(self, request: str, body: Body, names: tuple[str, ...]) -> tuple[Record, float | None]:
        """Send a request once; return the answer and the least seconds to the next try (None: none, -1: at once)."""
        import openai

        sent = adapt_request(body, names)
        most = self.teacher.most_tokens(sent["messages"])
        dollars = self.teacher.dollars(*most)
        if self.stop.is_set():
            return failed(STOPPED), None
        if not self.budget.reserve(dollars):
            return failed(OVER_BUDGET), None
        spent, paid_for, intent, reason = 0.0, "", "", ""
        try:
            tokens = sum(len(message["content"]) for message in sent["messages"]) // 4 + most[1]
            self.pace.take(tokens, self.stop)
            (intent,) = self.store.intend(self.teacher.key, {request: (tokens, dollars)})
            response = self.client.chat.completions.create(**sent, extra_headers={INTENT_HEADER: intent})
            answer = priced(read_completion(response, most), self.teacher, names)
            spent, paid_for = answer["dollars"], request
            self.store.put(request, sent, answer, intent)
        except rate_limits.Stopped:
            return failed(STOPPED), None
        except openai.APIStatusError as error:
            self.store.end(intent, REFUSED, f"status {error.status_code}")
            return self._refused(error, names)
        except openai.APIConnectionError as error:
            if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout"):
                self.store.end(intent, UNSENT, "no connection")
                url = self.teacher.base_url
                return failed(f"{NO_CONNECTION} {url}{name_proxy(url)}: {error.__cause__}"), 0.0
            reason = "no answer in time" if isinstance(error, openai.APITimeoutError) else "the connection was cut"
        except (openai.APIError, ValueError):
            if not intent:
                raise  # a limit that no request can keep, which is our fault
            reason = "malformed answer"
        else:
            return answer, None
        finally:
            # Lost, it may have been answered, and charged, without our having the answer: it counts as spent.
            lost = bool(intent) and bool(reason)
            self.budget.settle(dollars, dollars if lost else spent, intent if lost else paid_for)
        self.store.end(intent, LOST, reason)
        return failed(reason), 0.0

    def _refused(self, error: Any, names: tuple[str, ...]) -> tuple[Record, float | None]:
        """Return what a status of 400 or more means for the request, as ``_try`` does."""
        body = error.body if isinstance(error.body, dict) else {}
        body = body.get("error", body) if isinstance(body.get("error", body), dict) else body
        message, code = refusal_message(error.body) or error.message, str(body.get("code") or "")
        status = error.status_code
        reason = failed(f"status {status}: {message[:300]}")
        if status in (400, 422):
            name = find_adaptation(message, body.get("param"), names)
            if name is None:
                return reason, None
            self.store.learn(self.teacher.key, name, message)
            with self._lock:
                self._learned[name] = None
            return reason, -1.0
        if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
            raise TeacherError(
                f"{self.teacher.base_url} has no credit left: {message}; the answers so far are stored, the same "
                "command goes on from there"
            ) from error
        if status in (401, 403, 404, 405):
            raise TeacherError(f"{self.teacher.base_url} refuses {self.teacher.model!r}: {error}") from error
        if status not in TRANSIENT and status < 500:
            return reason, None
        wait_s = rate_limits.retry_after_s(error.response.headers)
        if wait_s is not None and wait_s > rate_limits.LONGEST_RETRY_AFTER_S:
            raise TeacherError(
                f"{self.teacher.base_url} asks to wait {wait_s:.0f} s ({message}); the answers so far are stored, the "
                "same command goes on from there"
            ) from error
        if wait_s is not None and status in (429, 503):
            self.pace.hold(wait_s)  # the limit is the account's, so no thread sends meanwhile
        return reason, wait_s or 0.0


def send(
    bodies: dict[str, Body], teacher: Teacher, store: Store, budget: Budget, on_answer: Callable[[], None]
) -> dict[str, Record]:
    """Return the answers to requests, ``teacher.concurrency`` at once; the caller holds ``store.sending``.

    Raises:
        TeacherError: If the endpoint refuses whatever is asked, or is down.
    """
    answers: dict[str, Record] = {}
    in_a_row, refused, answered = 0, 0, store.has_answered(teacher.key)
    client = open_client(teacher)
    sender = Sender(teacher, store, budget, client)
    with client, ThreadPoolExecutor(teacher.concurrency, thread_name_prefix="teacher") as pool:
        futures = {pool.submit(sender.answer, request, body): request for request, body in bodies.items()}
        try:
            for future in as_completed(futures):
                answer = future.result()
                if answer["error"] == STOPPED:
                    continue  # another request failed for all, and its error is on the way
                answers[futures[future]] = answer
                answered |= answer["text"] is not None
                if is_permanent(answer["error"]):  # of this one request: the endpoint is there
                    in_a_row, refused = 0, refused + 1
                else:
                    in_a_row = in_a_row + 1 if answer["text"] is None and answer["error"] != OVER_BUDGET else 0
                if in_a_row >= GIVE_UP_AFTER or (refused >= ALL_REFUSED and not answered):
                    how = f"failed {in_a_row} times in a row" if in_a_row else f"refused all of {refused} requests"
                    raise TeacherError(
                        f"{teacher.base_url} {how}, last with {answer['error']!r}; the answers so far are stored, the "
                        "same command goes on from there"
                    )
                on_answer()
        except BaseException:
            sender.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return answers
