"""Parameters that some models do not support, and how requests are adapted so that they take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Body = dict[str, Any]


def _without(name: str) -> Callable[[Body], Body]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def _renamed(old: str, new: str) -> Callable[[Body], Body]:
    return lambda body: {new if key == old else key: value for key, value in body.items()}


def _system_in_user(body: Body) -> Body:
    first, *rest = body["messages"]
    if first["role"] != "system" or not rest:
        return body
    joined = {**rest[0], "content": f"{first['content']}\n\n{rest[0]['content']}"}
    return {**body, "messages": [joined, *rest[1:]]}


# What some models refuse, by the name under which it is recorded: what the refusal names, and the change. Reasoning
# models take no temperature and count their thoughts in max_completion_tokens; the chat templates of some open-weights
# models know no system message; some servers know no seed.
ADAPTATIONS: dict[str, tuple[str, Callable[[Body], Body]]] = {
    "max_completion_tokens": ("max_tokens", _renamed("max_tokens", "max_completion_tokens")),
    "no temperature": ("temperature", _without("temperature")),
    "no seed": ("seed", _without("seed")),
    "system in user": (
        r"(?:system|developer)[' \"]*(?:role|message|prompt|instruction)s?|conversation roles", _system_in_user),
}  # fmt: skip
_REFUSES = re.compile(
    r"unsupported|not supported|n[o']t support|only the default|not permitted|not allowed|unknown|unrecogni[sz]ed|"
    r"extra (?:inputs|fields)|unexpected|deprecated|instead|only \S+ is (?:allowed|supported|accepted)|not enabled|"
    r"must alternate",
    re.IGNORECASE,
)


def adapt_request(body: Body, names: Iterable[str]) -> Body:
    """Return the body as a model with these adaptations takes it."""
    for name in names:
        body = ADAPTATIONS[name][1](body)
    return body


def find_adaptation(message: str, parameter: str | None, applied: Iterable[str]) -> str | None:
    """Return the adaptation that a refusal asks for and that was not applied yet; None if it asks for none."""
    applied = set(applied)
    for name, (refused, _) in ADAPTATIONS.items():
        named = parameter == refused or re.search(rf"\b(?:{refused})\b", message, re.IGNORECASE)
        if name not in applied and named and _REFUSES.search(message):
            return name
    return None
