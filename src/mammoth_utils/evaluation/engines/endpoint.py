"""A decoder at any server that speaks OpenAI completions: vLLM, SGLang, llama.cpp."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mammoth_utils.openai_client import name_proxy, open_openai
from mammoth_utils.records import Record

# The published rule cuts a completion there, so what would follow is never read.
STOP = ("### Instruction",)
KEY_VARIABLES = ("MAMMOTH_API_KEY", "OPENAI_API_KEY")
# What a server says of a model that stays as it is while the weights do: not when it was loaded, nor how it is served.
IDENTIFYING = ("id", "root", "parent", "owned_by", "sha", "digest", "version", "meta")
IDENTIFYING_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype", "desc")
MALFORMED_TRIES = 3  # a server that answers nonsense so often does not mend
TRANSIENT = (408, 409, 425, 429)  # statuses below 500 after which the same request may be answered
LONGEST_WAIT_S = 60.0


class EndpointError(ConnectionError):
    """A server cannot be asked; the message says what is there and what to do."""


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


class EndpointDecoder:
    """Greedy completions from a server.

    Attributes:
        served: What the server says of the model: see ``identity``.
        on_completion: Called with prompt and completion as each arrives, so that a failure loses none.

    Args:
        address: Base URL such as ``http://localhost:8000/v1``; ``#name`` after it chooses one of several models.
        concurrency: Requests at once at most; the server makes batches of them.
        patience_s: Seconds for which a request that fails is sent again, with growing pauses or those that the server
            asks for.
        timeout_s: Seconds that one request may take.

    The API key comes from ``MAMMOTH_API_KEY`` or ``OPENAI_API_KEY`` and is kept nowhere.

    Raises:
        ValueError: If the address holds a user or a key, or the server has several models and none is named.
        EndpointError: If nothing answers there, or what answers is no such server.
    """

    def __init__(
        self, address: str, concurrency: int = 16, patience_s: float = 300.0, timeout_s: float = 600.0
    ) -> None:
        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            # The message leaves the address out: it would put the secret into a page.
            raise ValueError(f"the endpoint's address holds a user or a key; put it into {KEY_VARIABLES[0]} instead")
        self.base_url, self.concurrency = parts._replace(fragment="").geturl().rstrip("/"), concurrency
        self.patience_s, self.timeout_s = patience_s, timeout_s
        self.on_completion: Callable[[str, str], None] | None = None
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "none")
        self._client = open_openai(self.base_url, key, 0, timeout_s)
        self._stop = threading.Event()
        entries = self._listed(parts.fragment)
        names = [entry["id"] for entry in entries]
        self.model = parts.fragment or (names[0] if len(names) == 1 else "")
        if self.model not in names:
            problem = f"serves no model {self.model!r}" if self.model else "serves several models"
            raise ValueError(
                f"{self.base_url} {problem}; its models: {', '.join(names)}; name one as {self.base_url}#NAME"
            )
        self.served = entries[names.index(self.model)]

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
            "model": self.model,
            "adapter": None,
            "dtype": None,
            "device": self.base_url,
            "threads": None,
            "engine": "endpoint",
            "batch": self.concurrency,
            "sampling": "greedy",
            "stop": list(STOP),
        }

    def complete(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the greedy completion of every prompt, in their order; one request a prompt.

        Raises:
            EndpointError: If a request still fails after its patience; nothing is filled in for it.
        """
        self._stop.clear()
        with ThreadPoolExecutor(max_workers=self.concurrency) as pool:
            requests = [pool.submit(self._ask, prompt, max_new_tokens) for prompt in prompts]
            try:
                for request in as_completed(requests):
                    request.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [request.result() for request in requests]

    def _ask(self, prompt: str, max_new_tokens: int) -> str:
        """Return one completion; send the request again while that may help."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_new_tokens, "temperature": 0.0,
                "stop": list(STOP)}  # fmt: skip

        def send() -> str:
            answer = self._client.completions.with_raw_response.create(**body)
            return _read_text(_read_json(answer.text))

        text = self._patiently(send)
        if self.on_completion is not None:
            self.on_completion(prompt, text)
        return text

    def _listed(self, named: str) -> list[Record]:
        """Return the server's entries of its models; of one that lists none, an entry of the model that was named."""
        import openai

        def send() -> list[Record]:
            value = _read_json(self._client.models.with_raw_response.list().text)
            entries = value.get("data") if isinstance(value, dict) else None
            if not isinstance(entries, list) or not all(isinstance(e, dict) and "id" in e for e in entries):
                raise _MalformedAnswer(f"answers with {json.dumps(value)[:120]} in place of a list of models")
            return entries

        try:
            entries = self._patiently(send, patience_s=min(self.patience_s, 20.0), connecting=True)
        except openai.NotFoundError:
            entries = []
        if entries:
            return entries
        if named:
            return [{"id": named, "owned_by": "not said: the server lists no models"}]
        raise EndpointError(
            f"{self.base_url} lists no model at /models; name the one that it serves as {self.base_url}#NAME, or check "
            "the path: most servers want /v1 at its end"
        )

    def _patiently(self, send: Callable[[], Any], patience_s: float | None = None, connecting: bool = False) -> Any:
        """Return what a request gives; send it again while it fails in a way that may pass.

        Raises:
            EndpointError: With what is there and what to do.
            openai.NotFoundError: While connecting, if the server has no list of models.
        """
        import openai

        patience_s, begun, malformed, tries = self.patience_s if patience_s is None else patience_s, None, 0, 0
        while True:
            try:
                return send()
            except openai.APIStatusError as error:
                if connecting and error.status_code == 404:
                    raise
                if error.status_code not in TRANSIENT and error.status_code < 500:
                    raise EndpointError(self._refusal(error)) from error
                problem, wait_s = self._refusal(error), _retry_after_s(error.response.headers)
            except openai.APIConnectionError as error:
                problem, wait_s = self._silence(error), None
                if connecting and not isinstance(error, openai.APITimeoutError):
                    raise EndpointError(problem) from error  # nothing was there: no use in waiting
            except _MalformedAnswer as error:
                malformed += 1
                problem, wait_s = f"{self.base_url} {error}", None
                if malformed >= MALFORMED_TRIES or connecting:
                    raise EndpointError(problem) from error
            begun, tries = begun or time.monotonic(), tries + 1
            if wait_s is None:
                wait_s = min(LONGEST_WAIT_S, 0.25 * 2**tries) * random.uniform(0.75, 1.25)
            if time.monotonic() + wait_s - begun > patience_s:
                raise EndpointError(f"{problem}; given up after {tries} tries in {time.monotonic() - begun:.0f} s")
            if self._stop.wait(wait_s):
                raise EndpointError(problem)

    def _silence(self, error: Any) -> str:
        """Say why no answer came."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"{self.base_url} did not answer within {self.timeout_s:.0f} s"
        return (
            f"no server answers at {self.base_url}{name_proxy(self.base_url)}; start one, for example with vLLM, and "
            "repeat the command: what was completed is kept"
        )

    def _refusal(self, error: Any) -> str:
        """Say what a status of 400 or more means, with the server's own words."""
        status, words = error.status_code, " ".join(_words(error).split())[:300]
        if status in (401, 403):
            held = next((name for name in KEY_VARIABLES if os.environ.get(name)), "")
            key = f"the key in {held}" if held else f"a request without a key; {KEY_VARIABLES[0]} is not set"
            return f"{self.base_url} refuses {key} ({status}): {words}"
        if status in (404, 405):
            return (
                f"{self.base_url} has no /completions for {self.model!r} ({status}: {words}). A server of chat "
                "alone cannot be given the prompt: serve the model with vLLM, SGLang or llama.cpp's "
                "llama-server; and most servers want /v1 at the address's end"
            )
        if status in (400, 413, 422):
            return (
                f"{self.base_url} refuses a prompt ({status}): {words}. If that is its context, start it with a longer "
                "one (vLLM: --max-model-len, llama-server: --ctx-size)"
            )
        return f"{self.base_url} answers {status}: {words}"


def _words(error: Any) -> str:
    """Return the server's words of a refusal, whatever form they have."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("error", body)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body or error.message)


def _retry_after_s(headers: Any) -> float | None:
    """Return the seconds that a server asks to wait, at most ``LONGEST_WAIT_S``; None if it says none in numbers."""
    value = str(headers.get("retry-after", ""))
    return min(float(value), LONGEST_WAIT_S) if re.fullmatch(r"\d+(\.\d+)?", value) else None


def _read_json(text: str) -> Any:
    """Return the JSON of an answer."""
    try:
        return json.loads(text)
    except ValueError:
        page = "a web page, so the path or a login is wrong" if text.lstrip()[:1] == "<" else "no JSON"
        raise _MalformedAnswer(f"answers with {page}: {' '.join(text.split())[:80]!r}") from None


def _read_text(answer: Any) -> str:
    """Return the text of a completion."""
    if isinstance(answer, dict) and answer.get("error"):
        raise _MalformedAnswer(f"answers with an error: {json.dumps(answer['error'])[:200]}")
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _MalformedAnswer(f"answers without a choice: {json.dumps(answer)[:120]}")
    if not isinstance(choices[0].get("text"), str):
        raise _MalformedAnswer(f"answers with a choice whose text is no text: {json.dumps(choices[0])[:120]}")
    return choices[0]["text"]
