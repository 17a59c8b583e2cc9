"""A snapshot of the state that programs could change in a shared interpreter, taken before the first of them.

It is the second line of defence. The static check and the audit hook should make a difference impossible; this looks
for one all the same. It does so inside the process in question, so a program that controls that process could deceive
it.
"""

from __future__ import annotations

import decimal
import operator
import os
import re
import signal
import sys
from types import FunctionType
from typing import Any

from mammoth_utils.programs._sharing.allowed_names import MODULES

PARTS = tuple(map(operator.attrgetter, ("__code__", "__defaults__", "__kwdefaults__")))  # of a function, to be written


class StateSnapshot:
    """The state that programs could change, as it was before the first of them."""

    def __init__(self, *own_classes: type) -> None:
        self._own_classes = own_classes
        self._modules = [
            (module, dict(vars(module)))
            for name, module in sys.modules.items()
            if module is not None and (name == "builtins" or name.partition(".")[0] in {*MODULES, "mammoth_utils"})
        ]
        self._loaded = dict(sys.modules)
        self._classes, functions = _parts()
        self._functions = [(part, functions, list(map(part, functions))) for part in PARTS]
        # From Python 3.12 on there are two.
        caches = [vars(re)[name] for name in ("_cache", "_cache2") if name in vars(re)]
        self._patterns = [(cache, dict(cache)) for cache in caches]
        symbol = sys.modules.get("sympy.core.symbol")
        self._dummy = symbol.Dummy if symbol else None
        self._count = symbol.Dummy._count if symbol else 0
        self._settings = self._now()

    def restart_counters(self) -> None:
        """Reset the counter of sympy's dummies, which starts at the same number in a process of its own."""
        if self._dummy is not None:
            self._dummy._count = self._count

    def restore_patterns(self) -> None:
        """Reset the cache of regular expressions, whose keys do not distinguish 2 from 2.0."""
        for cache, was in self._patterns:
            cache.clear()
            cache.update(was)

    def _now(self) -> list[tuple[str, Any]]:
        context = decimal.getcontext()
        settings: list[tuple[str, Any]] = [
            ("recursion limit", sys.getrecursionlimit()),
            ("digits", sys.get_int_max_str_digits()),
            ("decimal", (context.prec, context.rounding, context.Emin, context.Emax, dict(context.traps))),
            ("hooks", (sys.displayhook, sys.excepthook, sys.gettrace(), sys.getprofile())),
            ("signals", (signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGXCPU))),
            ("folder", os.getcwd()),
            ("our classes", [dict(vars(cls)) for cls in (StateSnapshot, *self._own_classes)]),
        ]
        if (numpy := sys.modules.get("numpy")) is not None:
            settings.append(("numpy", (numpy.geterr(), numpy.get_printoptions())))
        if (mpmath := sys.modules.get("mpmath")) is not None:
            settings.append(("mpmath", (mpmath.mp.prec, mpmath.mp.trap_complex, mpmath.mp.pretty, mpmath.iv.prec)))
        if (sympy := sys.modules.get("sympy")) is not None:
            parameters = sys.modules["sympy.core.parameters"].global_parameters
            settings.append(("sympy", (dict(vars(parameters)), set(sympy.assumptions.assume.global_assumptions))))
            printer = sys.modules["sympy.printing.printer"].Printer
            settings.append(("printing", (dict(printer._global_settings), sympy.StrPrinter._global_settings)))
        return settings

    def differences(self) -> list[str]:
        """Return the names of what has changed."""
        self.restart_counters()
        changed = [name for (name, was), (_, now) in zip(self._settings, self._now(), strict=True) if was != now]
        if any(sys.modules.get(name) is not module for name, module in self._loaded.items()):
            changed.append("sys.modules")
        for module, was in self._modules:
            if vars(module) != was:
                now = {name: value for name, value in vars(module).items() if name != "__warningregistry__"}
                if now.keys() != was.keys() - {"__warningregistry__"} or any(
                    now[name] is not was[name] for name in now
                ):
                    changed.append(module.__name__)
        for cls, was in self._classes:
            if vars(cls) != was:
                now = {name: value for name, value in vars(cls).items() if name != "__slotnames__"}  # made by copying
                if now.keys() != was.keys() - {"__slotnames__"} or any(now[name] is not was[name] for name in now):
                    changed.append(cls.__qualname__)
        for part, functions, were in self._functions:
            if not all(map(operator.is_, map(part, functions), were)):
                changed.append("a function")
        return changed


def _parts() -> tuple[list[tuple[type, dict]], list[FunctionType]]:
    """Return the classes with their attributes, and the functions, that programs may name.

    The thousands of methods of sympy's classes are left out: comparing each took up to a quarter of a time slice.
    """
    named = [
        (module, getattr(sys.modules.get(module), name, None)) for module, names in MODULES.items() for name in names
    ]
    classes = {value for _, value in named if isinstance(value, type)}
    few = [cls for module, cls in named if isinstance(cls, type) and module not in ("sympy", "numpy")]
    held = [value for cls in few for value in vars(cls).values()]
    functions = {value for value in (*(value for _, value in named), *held) if type(value) is FunctionType}
    return [(cls, dict(vars(cls))) for cls in classes], list(functions)
