"""Caches: sympy's, in two layers, so that each program starts from the same warm ones and leaves nothing in them.

Sympy keeps the results of 130 functions, and is two to three times slower without them. A program that
shares an interpreter must not find what its neighbours left there, and clearing all would be slow. So what the warm
parent computed before the first program stays, read-only, and what a program adds lies in a second layer above it,
which is emptied after each program in under 10 microseconds.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

# Caches that sympy makes by other means, and that a later answer can depend on: where one lies, and what empties it.
UNLAYERED = (
    ("sympy.ntheory.factor_", "factor_cache", "cache_clear"),
    ("sympy.integrals.manualintegrate", "_integral_cache", "clear"),
    ("sympy.integrals.manualintegrate", "_parts_u_cache", "clear"),
    ("sympy.core.intfunc", "igcd", "cache_clear"),
)


class LayeredCaches:
    """Makes ``functools.lru_cache`` hand out caches in two layers while a library is imported."""

    def __init__(self) -> None:
        self._clear: list[Callable[[], None]] = []
        self._recording = True

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Within this context, caches that ask for types to be told apart, as all of sympy's do, are layered."""
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
        kept: dict[Any, Any] = {}
        missing = object()

        def from_below(*arguments: Any, **named: Any) -> Any:
            # A key that tells 1 from 1.0, as typed caches do, and costs less than that of functools.
            key: tuple = (arguments, *map(type, arguments))
            if named:
                key += (tuple(named.items()), *map(type, named.values()))
            found = kept.get(key, missing)
            if found is missing:
                found = function(*arguments, **named)
                if self._recording:
                    kept[key] = found
            return found

        upper = plain(functools.wraps(function)(from_below))
        self._clear.append(upper.cache_clear)
        return upper

    def freeze(self) -> None:
        """End the lower layer: from now on it is only read."""
        self._recording = False
        self.clear()

    def clear(self) -> None:
        """Forget what was computed since ``freeze``."""
        # Typing's besides: of two unions that are equal, the order of the first is kept and shown.
        for clear in (*self._clear, *getattr(typing, "_cleanups", ())):
            clear()
        for module, name, method in UNLAYERED:
            if (loaded := sys.modules.get(module)) is not None and hasattr(loaded, name):
                getattr(getattr(loaded, name), method)()
