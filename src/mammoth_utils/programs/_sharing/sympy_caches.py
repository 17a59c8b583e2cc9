"""Sympy's caches in two layers, so that each program starts from the same filled caches and leaves nothing in them.

Sympy caches the results of 130 functions, and is two to three times slower without. A program that shares an
interpreter must not find what earlier programs left there, and clearing everything would be slow. So the results that
the fork server computed before the first program stay, read-only, and those of a program lie in a second layer above,
which is emptied after each program in under 10 microseconds.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

# Caches of another kind that an answer of sympy can depend on: module, name, and the method that empties it.
UNLAYERED = (
    ("sympy.ntheory.factor_", "factor_cache", "cache_clear"),
    ("sympy.integrals.manualintegrate", "_integral_cache", "clear"),
    ("sympy.integrals.manualintegrate", "_parts_u_cache", "clear"),
    ("sympy.core.intfunc", "igcd", "cache_clear"),
)


class LayeredCaches:
    """Makes ``functools.lru_cache`` return caches in two layers while a library is imported."""

    def __init__(self) -> None:
        self._clear: list[Callable[[], None]] = []
        self._recording = True

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Layer the caches made within this context with ``typed=True``, as all of sympy's are."""
        original = functools.lru_cache
        functools.lru_cache = self._lru_cache(original)
        try:
            yield
        finally:
            functools.lru_cache = original

    def _lru_cache(self, original: Callable) -> Callable:
        def lru_cache(maxsize: Any = 128, typed: bool = False) -> Callable:
            plain = original(maxsize, typed)
            if callable(maxsize) or not typed:
                return plain
            return lambda function: self._layered(function, plain)

        return lru_cache

    def _layered(self, function: Callable, plain: Callable) -> Callable:
        lower: dict[Any, Any] = {}
        missing = object()

        def from_lower(*arguments: Any, **named: Any) -> Any:
            # A key that distinguishes 1 from 1.0, as typed caches do, and costs less than that of functools.
            key: tuple = (arguments, *map(type, arguments))
            if named:
                key += (tuple(named.items()), *map(type, named.values()))
            result = lower.get(key, missing)
            if result is missing:
                result = function(*arguments, **named)
                if self._recording:
                    lower[key] = result
            return result

        upper = plain(functools.wraps(function)(from_lower))
        self._clear.append(upper.cache_clear)
        return upper

    def freeze(self) -> None:
        """Complete the lower layer, which from now on is only read."""
        self._recording = False
        self.clear()

    def clear(self) -> None:
        """Empty the upper layer: what was computed since ``freeze``."""
        # Typing's too: of two equal unions, the order of the first is cached and shown.
        for clear in (*self._clear, *getattr(typing, "_cleanups", ())):
            clear()
        for module, name, method in UNLAYERED:
            if (loaded := sys.modules.get(module)) is not None and hasattr(loaded, name):
                getattr(getattr(loaded, name), method)()
