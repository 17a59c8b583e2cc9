"""A decoder at any server that speaks OpenAI's interface: vLLM, SGLang, llama.cpp, and others."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mammoth_utils.evaluation.engines.requests import Completion, Request, RequestQueue
from mammoth_utils.openai_client import name_proxy, open_openai
from mammoth_utils.records import Record

KEY_VARIABLES = ("MAMMOTH_API_KEY", "OPENAI_API_KEY")
# What a server says of a model that stays as it is while the weights do: not when it was loaded, nor how it is served.
IDENTIFYING = ("id", "root", "parent", "owned_by", "sha", "digest", "version", "meta")
IDENTIFYING_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype", "desc")

CONCURRENCY = 16  # requests at once where the server does not show how many it takes
BATCHING = {"vllm": 256, "sglang": 256}  # by ``owned_by``: servers that make large batches themselves
MOST_CONCURRENCY = 1000  # connections that the client opens at most

MALFORMED_TRIES = 3  # a server that answers nonsense so often does not mend
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0  # pauses between tries double from the first to the longest
CONNECTING_S, LISTING_S = 20.0, 60.0  # patience while the decoder is made, and the time for a list of models
LOOK_S = 0.2  # pauses between looks whether a queue was cancelled
HANDING_IN_S = 5.0  # an interrupted run waits so long for completions that are being handed in
FIRST_FAILURES, FAILURES_IN_ROW = 8, 20  # so many and nothing else, or in a row: every request fails
PROBE = "1 + 1 ="

REFUSED = (400, 413, 422)  # statuses of a refusal that concerns one request, such as of its length
TRANSIENT = (408, 409, 425, 429)  # statuses below 500 after which the same request may be answered
MISSING = (404, 405, 501)  # statuses of a path that the server does not have
# Causes of a failed request that never reached the server, by the name of the HTTP library's exception.
UNREACHABLE = ("ConnectError", "ConnectTimeout", "ProxyError")


class EndpointError(ConnectionError):
    """A server cannot be asked; the message says what is there and what to do."""


class _RequestError(Exception):
    """One request has no completion, while the server may answer others.

    Attributes:
        refused: Whether the server refuses the request as it is.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class _MalformedAnswer(ValueError):
    """A server's answer is no completion; the message says what it is."""


def is_endpoint(model: str | Path) -> bool:
    """Return whether a model's name is the address of a server.

    Raises:
        ValueError: If it is an address that lacks ``http://``.
    """
    if re.match(r"(localhost|\d+\.\d+\.\d+\.\d+|[\w-]+(\.[\w-]+)*:\d+)(:\d+)?(/|#|$)", str(model)):
        raise ValueError(f"{model} looks like the address of a server; write http:// in front of it")
    return str(model).startswith(("http://", "https://"))


def _key_variable() -> str:
    """Return the variable that holds the key; empty if none does."""
    return next((name for name in KEY_VARIABLES if os.environ.get(name)), "")


class EndpointDecoder:
    """Greedy completions from a server.

    A request that the server refuses, or does not answer within the patience, fails alone. A fault of the server ends
    the run: no connection within the patience, a refused key, a path or model that it does not have, or a row of
    requests that all fail.

    Attributes:
        concurrency: Requests at once at most, as given or chosen.
        served: What the server says of the model: see ``identity``.

    Args:
        address: Base URL such as ``http://localhost:8000/v1``; ``#name`` after it chooses one of several models.
        concurrency: Requests at once at most; the server makes batches of them. 0 takes the slots that llama.cpp names,
            256 at vLLM and SGLang, and 16 elsewhere.
        patience_s: Seconds for which a request that fails is sent again, with growing pauses or those that the server
            asks for.
        timeout_s: Seconds that one request may take.

    The API key comes from ``MAMMOTH_API_KEY`` or ``OPENAI_API_KEY`` and is kept nowhere.

    Raises:
        ValueError: If the address holds a user or a key, the server has several models and none is named, or the
            concurrency is out of range.
        EndpointError: If nothing answers there, or what answers is no such server.
    """

    def __init__(self, address: str, concurrency: int = 0, patience_s: float = 300.0, timeout_s: float = 600.0) -> None:
        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            # The message leaves the address out: it would put the secret into a page.
            raise ValueError(f"the endpoint's address holds a user or a key; put it into {KEY_VARIABLES[0]} instead")
        if not 0 <= concurrency <= MOST_CONCURRENCY:
            raise ValueError(f"expected 0 (chosen) to {MOST_CONCURRENCY} requests at once, got {concurrency}")
        self.base_url = parts._replace(fragment="").geturl().rstrip("/")
        self.patience_s, self.timeout_s = patience_s, timeout_s
        key = os.environ.get(_key_variable(), "none").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError(f"{_key_variable()} holds characters that cannot be sent; expected printable ASCII")
        self._client = open_openai(self.base_url, key, 0, timeout_s)
        entries = self._listed(parts.fragment)
        names = [entry["id"] for entry in entries]
        self.model = parts.fragment or (names[0] if len(names) == 1 else "")
        if self.model not in names:
            problem = f"serves no model {self.model!r}" if self.model else "serves several models"
            raise ValueError(
                f"{self.base_url} {problem}; its models: {', '.join(names)}; name one as {self.base_url}#NAME"
            )
        self.served = entries[names.index(self.model)]
        self.concurrency = concurrency or BATCHING.get(str(self.served.get("owned_by"))) or self._slots() or CONCURRENCY

    @property
    def identity(self) -> Record:
        """Return what tells the served model from another at the same address, as the server describes it."""
        kept = {key: self.served[key] for key in IDENTIFYING if self.served.get(key) not in (None, "", {}, [])}
        if isinstance(kept.get("meta"), dict):
            kept["meta"] = {key: kept["meta"][key] for key in IDENTIFYING_META if key in kept["meta"]}
        return {"address": self.base_url, **kept}

    def describe(self) -> Record:
        """Return address, model and settings, as a record keeps them; never the key."""
        return {
            "model": _without_folder(self.model),
            "adapter": None,
            "dtype": None,
            "device": self.base_url,
            "threads": None,
            "engine": "endpoint",
            "batch": self.concurrency,
            "sampling": "greedy",
        }

    def run(self, queue: RequestQueue) -> None:
        """Complete what a queue holds until it is closed and empty, ``concurrency`` requests at once.

        It ends at once when the queue is cancelled, and cancels the queue when it raises: nothing is handed in after
        either.

        Raises:
            EndpointError: If the server cannot be asked, or refuses whatever it is asked.
        """
        _Workers(queue, self._ask).run(self.concurrency)

    def _ask(self, request: Request, stopped: threading.Event) -> Completion:
        """Return a request's completion; send it again while that may help."""
        body: Record = {"model": self.model, "max_tokens": request.max_new_tokens, "temperature": 0.0}
        if request.stop:
            body["stop"] = list(request.stop)
        if request.chat:
            create = self._client.chat.completions.with_raw_response.create
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            create, body["prompt"] = self._client.completions.with_raw_response.create, request.prompt

        def send() -> Completion:
            return _read_completion(_read_json(create(**body).text), request.chat)

        return self._patiently(send, self.patience_s, stopped)

    def _listed(self, named: str) -> list[Record]:
        """Return the server's entries of its models; of one that lists none, an entry of the model that was named."""
        import openai

        timeout_s = min(self.timeout_s, LISTING_S)

        def send() -> list[Record]:
            try:
                value = _read_json(self._client.models.with_raw_response.list(timeout=timeout_s).text)
                entries = value.get("data") if isinstance(value, dict) else None
                if not isinstance(entries, list) or not all(
                    isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries
                ):
                    raise _MalformedAnswer(f"answers with {_one_line(value)} in place of a list of models")
                return entries
            except openai.APIStatusError as error:
                if error.status_code in MISSING:
                    return []
                raise
            except openai.APIConnectionError as error:
                raise EndpointError(self._silence(error, timeout_s)) from error  # no use in waiting
            except _MalformedAnswer as error:
                raise EndpointError(f"{self.base_url} {error}") from error

        try:
            entries = self._patiently(send, min(self.patience_s, CONNECTING_S), threading.Event())
        except _RequestError as error:
            raise EndpointError(str(error)) from error
        if entries:
            return entries
        if named:
            return [{"id": named, "owned_by": "not said: the server lists no models"}]
        raise EndpointError(
            f"{self.base_url} lists no model at /models; name the one that it serves as {self.base_url}#NAME, or check "
            "the path: most servers want /v1 at its end"
        )

    def _slots(self) -> int:
        """Return how many requests llama.cpp's server decodes at once; 0 for a server that does not say."""
        import openai

        try:
            answer = self._client.get(f"{self.base_url.removesuffix('/v1')}/props", cast_to=str, options={"timeout": 5})
            slots = _read_json(answer)["total_slots"]
        except (openai.OpenAIError, _MalformedAnswer, LookupError, TypeError):
            return 0
        return min(slots, MOST_CONCURRENCY) if isinstance(slots, int) and slots > 0 else 0

    def _patiently(self, send: Callable[[], Any], patience_s: float, stopped: threading.Event) -> Any:
        """Return what a request gives; send it again while it fails in a way that may pass.

        Raises:
            EndpointError: If the server cannot be asked, with what is there and what to do.
            _RequestError: If this request has no answer.
        """
        import openai

        begun, malformed, tries = 0.0, 0, 0
        while True:
            wait_s, failure = None, _RequestError
            try:
                return send()
            except openai.APIStatusError as error:
                problem, status = self._refusal(error), error.status_code
                if status in REFUSED:
                    raise _RequestError(problem, refused=True) from error
                if status in MISSING or (status < 500 and status not in TRANSIENT):
                    raise EndpointError(problem) from error
                wait_s = _retry_after_s(error.response.headers)
            except openai.APIConnectionError as error:
                problem = self._silence(error, self.timeout_s)
                if _cause(error) == "TooManyRedirects":
                    raise EndpointError(problem) from error
                failure = EndpointError if _is_unreachable(error) else _RequestError
            except _MalformedAnswer as error:
                problem, malformed = f"{self.base_url} {error}", malformed + 1
                if malformed >= MALFORMED_TRIES:
                    raise _RequestError(problem) from error
            except UnicodeEncodeError as error:
                raise _RequestError(f"the prompt cannot be sent as UTF-8: {error}", refused=True) from error
            begun, tries = begun or time.monotonic(), tries + 1
            if wait_s is None:
                wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)
            if time.monotonic() + wait_s - begun > patience_s:
                raise failure(f"{problem}; given up after {tries} tries in {time.monotonic() - begun:.0f} s")
            if stopped.wait(wait_s):
                raise failure(problem)

    def _silence(self, error: Any, timeout_s: float) -> str:
        """Say why no answer came."""
        import openai

        if _is_unreachable(error):
            return (
                f"no server answers at {self.base_url} ({_one_line(error.__cause__) or _cause(error)})"
                f"{name_proxy(self.base_url)}; start one, for example with vLLM, and repeat the command: what was "
                "completed is kept"
            )
        if isinstance(error, openai.APITimeoutError):
            return (
                f"{self.base_url} did not answer within {timeout_s:g} s; if it is only slow, send fewer requests at "
                "once (concurrency=4)"
            )
        if _cause(error) == "TooManyRedirects":
            return f"{self.base_url} redirects without end; check the address: most servers want /v1 at its end"
        return f"{self.base_url} broke the connection off ({_one_line(error.__cause__)})"

    def _refusal(self, error: Any) -> str:
        """Say what a status of 300 or more means, with the server's own words."""
        status, words = error.status_code, _words(error)
        path = "/chat/completions" if error.request.url.path.endswith("/chat/completions") else "/completions"
        if status in (401, 403):
            held = _key_variable()
            key = f"the key in {held}" if held else f"a request without a key; {KEY_VARIABLES[0]} is not set"
            return f"{self.base_url} refuses {key} ({status}): {words}"
        if status in MISSING and error.response.history:
            target = error.request.url.copy_with(query=None)
            return f"{self.base_url} redirects to {target}; give the address that it leads to"
        if status in MISSING and re.search(r"\bmodel\b.*\b(not exist|not found|unknown)", words, re.IGNORECASE):
            return (
                f"{self.base_url} knows no model {self.model!r} ({status}: {words}); name one that it serves as "
                f"{self.base_url}#NAME"
            )
        if status in MISSING:
            advice = (
                "it completes plain text alone: ask it with the paper's prompt (-p prompt mammoth)"
                if path == "/chat/completions"
                else "it serves chat alone: ask it with a chat prompt (-p prompt chat_pot)"
            )
            hint = "" if self.base_url.endswith("/v1") else "; and most servers want /v1 at the address's end"
            return (
                f"{self.base_url} has no {path} for {self.model!r} ({status}: {words}), so {advice}, or serve the "
                f"model with vLLM, SGLang or llama-server{hint}"
            )
        if status in REFUSED:
            return (
                f"{self.base_url} refuses a prompt ({status}): {words}. If that is its context, start it with a longer "
                "one (vLLM: --max-model-len, llama-server: --ctx-size)"
            )
        return f"{self.base_url} answers {status}: {words}"


class _Workers:
    """Threads that ask for the requests of a queue, until it ends or a fault stops them all.

    They are daemons: one that hangs in a request must not keep an interrupted process alive.
    """

    def __init__(self, queue: RequestQueue, ask: Callable[[Request, threading.Event], Completion]) -> None:
        self._queue, self._ask = queue, ask
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._working, self._handing_in = 0, 0
        self._succeeded, self._refuses_some, self._failures = False, False, 0

    def run(self, count: int) -> None:
        """Return when the queue has ended; raise the first worker's error, without waiting for requests under way."""
        self._working = count
        try:
            for _ in range(count):
                threading.Thread(target=self._work, daemon=True).start()
            with self._changed:
                while self._working and not self._error and not self._queue.cancelled:
                    self._changed.wait(LOOK_S)
            if self._error:
                raise self._error
        except BaseException:
            self._queue.cancel()  # wakes the workers that wait for a request
            raise
        finally:
            with self._changed:
                self._stopped.set()
                self._changed.wait_for(lambda: not self._handing_in, HANDING_IN_S)

    def _work(self) -> None:
        try:
            while (taken := self._queue.take(1)) and not self._stopped.is_set():
                self._complete(taken[0])
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._stopped.set()
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def _complete(self, request: Request) -> None:
        try:
            completion = self._ask(request, self._stopped)
        except _RequestError as error:
            failure = error
        else:
            with self._changed:
                self._succeeded, self._failures = True, 0
            return self._hand_in(lambda: self._queue.finish(request, completion))
        self._hand_in(lambda: self._queue.fail(request, str(failure)))
        self._count_failure(request, failure)

    def _hand_in(self, call: Callable[[], None]) -> None:
        """Call the queue, unless the run has stopped: its caller may have closed what the completions go to."""
        with self._changed:
            if self._stopped.is_set():
                return
            self._handing_in += 1
        try:
            call()
        finally:
            with self._changed:
                self._handing_in -= 1
                self._changed.notify_all()

    def _count_failure(self, request: Request, failure: _RequestError) -> None:
        """Raise EndpointError if every request fails.

        The longest prompts come first, so that the first refusals may be of those that the context cannot hold. Once a
        short prompt with the same limit of tokens is completed, refusals are taken to be of single requests.
        """
        with self._changed:
            if failure.refused and self._refuses_some:
                return
            self._failures += 1
            if self._failures < (FAILURES_IN_ROW if self._succeeded else FIRST_FAILURES):
                return
        if not failure.refused or not self._is_completed(replace(request, prompt=PROBE)):
            raise EndpointError(f"every request fails: {failure}")
        with self._changed:
            self._refuses_some, self._failures = True, 0

    def _is_completed(self, request: Request) -> bool:
        try:
            self._ask(request, self._stopped)
        except _RequestError:
            return False
        return True


def _cause(error: Any) -> str:
    """Return the name of the HTTP library's exception behind one of the client."""
    return type(error.__cause__).__name__


def _is_unreachable(error: Any) -> bool:
    """Return whether a request failed before it reached a server."""
    return _cause(error) in UNREACHABLE


def _one_line(value: Any, most: int = 120) -> str:
    """Return a value as one line of printable text; what is no text, as JSON."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, Exception) else _as_json(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _without_folder(name: str) -> str:
    """Return a model's name; of a path, as llama.cpp calls a model, the file alone."""
    return name.rpartition("/")[2] if name.startswith(("/", "~")) else name


def _words(error: Any) -> str:
    """Return the server's words of a refusal, whatever form they have."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("error", body)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    if isinstance(body, str) and body.lstrip()[:1] == "<":
        body = f"a web page: {re.sub('<[^>]*>', ' ', body)}"
    return _one_line(body or error.message, 300)


def _retry_after_s(headers: Any) -> float | None:
    """Return the seconds that a server asks to wait, at most ``LONGEST_WAIT_S``; None if it says none in numbers."""
    value = str(headers.get("retry-after", ""))
    return min(float(value), LONGEST_WAIT_S) if re.fullmatch(r"\d+(\.\d+)?", value) else None


def _read_json(text: str) -> Any:
    """Return the JSON of an answer, with U+FFFD for each surrogate without its partner: no file can hold one."""
    try:
        return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", _as_json(json.loads(text))))
    except ValueError:
        page = "a web page, so the path or a login is wrong" if text.lstrip()[:1] == "<" else "no JSON"
        raise _MalformedAnswer(f"answers with {page}: {_one_line(text, 80)!r}") from None


def _read_completion(answer: Any, chat: bool) -> Completion:
    """Return the completion in an answer."""
    if isinstance(answer, dict) and answer.get("error"):
        raise _MalformedAnswer(f"answers with an error: {_one_line(answer['error'], 200)}")
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _MalformedAnswer(f"answers without a choice: {_one_line(answer)}")
    text = _chat_text(choices[0].get("message")) if chat else choices[0].get("text")
    if not isinstance(text, str):
        raise _MalformedAnswer(f"answers with a choice whose text is no text: {_one_line(choices[0])}")
    finish = choices[0].get("finish_reason")
    finish = finish if finish in ("stop", "length") else ""
    usage = answer.get("usage")
    counts = [usage.get(key) if isinstance(usage, dict) else 0 for key in ("completion_tokens", "prompt_tokens")]
    tokens, prompt_tokens = (count if isinstance(count, int) else 0 for count in counts)
    return Completion(_whole_characters(text, finish), finish, tokens, prompt_tokens)


def _chat_text(message: Any) -> Any:
    """Return the text of a chat message: its content, or the text parts of it.

    A model that reasons until its tokens are spent has no content, and its answer is the empty text.
    """
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        texts = [part for part in parts if isinstance(part, str)]
        return "".join(texts) if texts else None
    if content is None and (message.get("reasoning_content") or message.get("reasoning")):
        return ""
    return content


def _whole_characters(text: str, finish: str) -> str:
    """Return a text without the half of a character at which the limit of tokens cut it.

    A token may end within a character's bytes, after at most three of its four; servers send U+FFFD for each of them
    or for all. Elsewhere U+FFFD stays: the model wrote it.
    """
    return re.sub("\ufffd{1,3}\\Z", "", text) if finish == "length" else text
