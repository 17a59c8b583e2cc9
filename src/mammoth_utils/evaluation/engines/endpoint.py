"""A decoder at any server that speaks OpenAI completions: vLLM, SGLang, llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import urlsplit

from mammoth_utils.openai_client import name_proxy, open_openai
from mammoth_utils.records import Record

# The published rule cuts a completion there, so what would follow is never read.
STOP = ("### Instruction",)
KEY_VARIABLES = ("MAMMOTH_API_KEY", "OPENAI_API_KEY")


def is_endpoint(model: str | Path) -> bool:
    """Return whether a model's name is the address of a server."""
    return str(model).startswith(("http://", "https://"))


class EndpointDecoder:
    """Greedy completions from a server.

    Args:
        address: Base URL such as ``http://localhost:8000/v1``; ``#name`` after it chooses one of several models.
        concurrency: Requests at once at most; the server makes batches of them.
        retries: Times that a failed request is sent again, with growing pauses.
        timeout_s: Seconds that one request may take.

    The API key comes from ``MAMMOTH_API_KEY`` or ``OPENAI_API_KEY`` and is kept nowhere.

    Raises:
        ValueError: If the address holds a user or a key, or the server has several models and none is named.
        ConnectionError: If nothing answers there.
    """

    def __init__(self, address: str, concurrency: int = 16, retries: int = 4, timeout_s: float = 600.0) -> None:
        import openai

        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            # The message leaves the address out: it would put the secret into a page.
            raise ValueError(f"the endpoint's address holds a user or a key; put it into {KEY_VARIABLES[0]} instead")
        self.base_url, self.concurrency = parts._replace(fragment="").geturl(), concurrency
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "none")
        self._client = open_openai(self.base_url, key, retries, timeout_s)
        try:
            served = [model.id for model in self._client.models.list()]
        except openai.APIConnectionError as error:
            raise ConnectionError(
                f"no server answers at {self.base_url}{name_proxy(self.base_url)}; start one, for example with vLLM"
            ) from error
        self.model = parts.fragment or (served[0] if len(served) == 1 else "")
        if self.model not in served:
            problem = f"serves no model {self.model!r}" if self.model else "serves several models"
            raise ValueError(
                f"{self.base_url} {problem}; its models: {', '.join(served)}; name one as {self.base_url}#NAME"
            )

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
            openai.OpenAIError: If a request still fails after its retries; nothing is filled in for it.
        """
        with ThreadPoolExecutor(max_workers=self.concurrency) as pool:
            requests = [pool.submit(self._one, prompt, max_new_tokens) for prompt in prompts]
            try:
                for request in as_completed(requests):
                    request.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [request.result() for request in requests]

    def _one(self, prompt: str, max_new_tokens: int) -> str:
        answer = self._client.completions.create(
            model=self.model, prompt=prompt, max_tokens=max_new_tokens, temperature=0.0, stop=list(STOP)
        )
        return answer.choices[0].text
