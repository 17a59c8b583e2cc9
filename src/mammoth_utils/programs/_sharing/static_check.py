"""The static check: whether a program may share its interpreter, decided from its syntax tree before it runs.

A shared interpreter is fast because nothing is forked, and safe for the next program only if this one cannot leave
anything behind. The check is a list of what is allowed (``allowed_names``), not of what is forbidden: no attribute is
written, no name begins with two underscores, no class is made, nothing outside a list is imported, and every built-in,
function of a module and method has a reviewed name. A program that does not pass runs in a process of its own, more
slowly and with the same result.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable

from mammoth_utils.programs._sharing import numpy_padding
from mammoth_utils.programs._sharing.allowed_names import BUILTINS, CATCHABLE, METHOD_PREFIXES, METHODS, MODULES

ALLOWED_NODES = frozenset(
    {
        ast.Module, ast.Expression, ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If,
        ast.Pass, ast.Break, ast.Continue, ast.Return, ast.Delete, ast.Raise, ast.Try, ast.Assert, ast.Import,
        ast.ImportFrom, ast.Global, ast.Nonlocal, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.keyword,
        ast.alias, ast.ExceptHandler, ast.BoolOp, ast.NamedExpr, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Dict, ast.Set,
        ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Yield, ast.YieldFrom,
        ast.Compare, ast.Call, ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Attribute, ast.Subscript,
        ast.Starred, ast.Name, ast.List, ast.Tuple, ast.Slice, ast.Load, ast.Store, ast.Del, ast.And, ast.Or,
        *ast.operator.__subclasses__(), *ast.unaryop.__subclasses__(), *ast.cmpop.__subclasses__(),
    }
)  # fmt: skip
# A format template without attributes and indices, which would reach what the check hides: {}, {0}, {name}, {:.2f}.
PLAIN_FIELDS = re.compile(r"(?:[^{}]|\{\{|\}\}|\{\w*(?:![rsa])?(?::[^{}]*)?\})*")
OF_SITE = {"exit", "quit", "help", "copyright", "credits", "license"}
ALL_BUILTINS = (frozenset(dir(builtins)) | OF_SITE) - {"__name__"}


class _NotAllowed(Exception):
    """A program contains something that the check does not allow."""


def reason_for_own_process(trees: Iterable[ast.Module]) -> str | None:
    """Return in a few words why a program gets a process of its own, or None; its parsed cells are only read."""
    names, trees = _ProgramNames(), list(trees)
    try:
        for tree in trees:
            names.collect(tree)
        names.check()
        if names.numpy:
            arrays = {name for name, module in names.modules.items() if module.startswith("numpy")}
            return numpy_padding.reason_for_own_process(trees, arrays, names.stored)
    except _NotAllowed as reason:
        return str(reason)
    return None


class _ProgramNames:
    """The names that a program binds and uses, collected over all its nodes: a name may be bound after its use."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.stored: set[str] = set()
        self.modules: dict[str, str] = {}
        self.stars: set[str] = set()
        self.paths: set[tuple[str, ...]] = set()  # a name and the attributes taken from it
        self.caught: set[str] = set()
        self.numpy = False  # is imported, or something of it
        self.yields = self.tries = False

    def collect(self, tree: ast.AST) -> None:
        """Check every node by itself and collect its names for ``check``."""
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            kind = type(node)
            if kind is ast.Name:
                (self.loaded if type(node.ctx) is ast.Load else self.stored).add(_named(node.id))
                continue
            if kind is ast.Constant or kind is ast.Load or kind is ast.Store:
                continue
            if kind not in ALLOWED_NODES:
                raise _NotAllowed(f"{kind.__name__.lower()} statement or expression")
            if kind is ast.Attribute:
                waiting.append(self._attribute(node))
                continue
            if kind is ast.Call:
                for keyword in node.keywords:
                    if keyword.arg is None:
                        raise _NotAllowed("** in a call")
                    if keyword.arg == "where":  # of numpy: the elements left out hold earlier memory
                        raise _NotAllowed("where in a call")
                    _named(keyword.arg, 1)
                if _is_format(node.func):
                    waiting += node.args
                    waiting += node.keywords
                    continue
            elif kind is ast.Import or kind is ast.ImportFrom:
                self._import(node)
                continue
            elif kind is ast.FunctionDef:
                self.stored.add(_named(node.name))
            elif kind is ast.arg:
                self.stored.add(_named(node.arg))
            elif kind is ast.ExceptHandler:
                self.stored.add(_named(node.name or "e"))
                self.caught.update(_classes(node.type))
            elif kind is ast.Global or kind is ast.Nonlocal:
                self.stored.update(map(_named, node.names))
            elif kind is ast.Try:
                if node.finalbody:  # a return there swallows any exception
                    raise _NotAllowed("finally")
                self.tries = True
            elif kind is ast.Yield or kind is ast.YieldFrom:
                self.yields = True
            for field in node._fields:
                below = getattr(node, field)
                if type(below) is list:
                    waiting += [child for child in below if child is not None and type(child) is not str]
                elif isinstance(below, ast.AST):
                    waiting.append(below)

    def _attribute(self, node: ast.Attribute) -> ast.AST:
        """Record a chain of attributes and return the object at its root, or a node without names if that is a name."""
        path: list[str] = []
        at: ast.AST = node
        while type(at) is ast.Attribute:
            if type(at.ctx) is not ast.Load:
                raise _NotAllowed(f"attribute {at.attr} is written")
            path.append(_named(at.attr, 1))
            at = at.value
        root = at.id if type(at) is ast.Name else ""
        self.paths.add((root, *reversed(path)))
        return at.ctx if root else at

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if type(node) is ast.Import:
            for alias in node.names:
                if alias.name not in MODULES or ("." in alias.name and alias.asname is None):
                    raise _NotAllowed(f"import of {alias.name}")
                self.numpy = self.numpy or alias.name.startswith("numpy")
                self._bind_module(_named(alias.asname or alias.name), alias.name)
            return
        module = node.module or ""
        home = module if module in MODULES else "sympy" if module.startswith("sympy.") else ""
        if node.level or not home:
            raise _NotAllowed(f"import from {'.' * node.level}{module}")
        self.numpy = self.numpy or home.startswith("numpy")
        for alias in node.names:
            if alias.name == "*" and module == home:
                self.stars.add(home)
            elif f"{module}.{alias.name}" in MODULES:
                self._bind_module(_named(alias.asname or alias.name), f"{module}.{alias.name}")
            elif alias.name in MODULES[home] and (module == home or _same(module, home, alias.name)):
                self.stored.add(_named(alias.asname or alias.name))
            else:
                raise _NotAllowed(f"import of {alias.name} from {module}")

    def _bind_module(self, name: str, module: str) -> None:
        if self.modules.setdefault(name, module) != module:
            raise _NotAllowed(f"{name} is two modules")

    def check(self) -> None:
        """Check the names of the whole program."""
        if self.yields and self.tries:  # a handler may run when a generator is discarded, while another program runs
            raise _NotAllowed("a generator beside a try")
        for name in self.caught & self.stored:
            raise _NotAllowed(f"{name} is bound again and caught")
        for name in self.modules.keys() & (self.stored | self.loaded):
            raise _NotAllowed(f"module {name} is bound again or used as a value")
        for name in self.loaded & (ALL_BUILTINS - BUILTINS):
            raise _NotAllowed(f"built-in {name}")
        for module in self.stars:
            unlisted = set(_public(module)) - MODULES[module]
            for name in unlisted & (self.loaded | {path[0] for path in self.paths}):
                raise _NotAllowed(f"{name} of {module}")
            for name in self.modules.keys() & set(_public(module)):
                raise _NotAllowed(f"{name} is a module and a name of {module}")
        for root, *attributes in self.paths:
            module = self.modules.get(root)
            if module is None and root in ALL_BUILTINS - BUILTINS:
                raise _NotAllowed(f"built-in {root}")
            while module is not None and attributes:
                name = attributes.pop(0)
                inner = f"{module}.{name}"
                if inner in MODULES and not attributes:
                    raise _NotAllowed(f"module {inner} as a value")
                if inner not in MODULES and name not in MODULES[module]:
                    raise _NotAllowed(f"{name} of {module}")
                module = inner if inner in MODULES else None
            for name in attributes:
                if name not in METHODS and not name.startswith(METHOD_PREFIXES):
                    raise _NotAllowed(f"attribute {name}")


def _classes(caught: ast.AST | None) -> set[str]:
    """Return the exceptions of a handler; none may catch MemoryError, RecursionError or NeedsOwnProcess."""
    parts = caught.elts if type(caught) is ast.Tuple else [caught]
    names = {part.id if type(part) is ast.Name else "" for part in parts}
    if not names <= CATCHABLE:
        raise _NotAllowed("except of more than listed exceptions")
    return names


def _named(name: str, underscores: int = 2) -> str:
    """Return a name that does not begin with so many underscores; ``__name__`` is harmless and allowed."""
    if name.startswith("_" * underscores) and name != "__name__":
        raise _NotAllowed(f"name {name}")
    return name


def _is_format(function: ast.AST) -> bool:
    """Return whether a call is ``format`` of a literal template that has plain fields only."""
    return (
        type(function) is ast.Attribute
        and function.attr == "format"
        and type(function.value) is ast.Constant
        and type(function.value.value) is str
        and PLAIN_FIELDS.fullmatch(function.value.value) is not None
    )


def _public(module: str) -> Iterable[str]:
    """Return the names that a star import binds; a module that is not loaded is not allowed."""
    loaded = sys.modules.get(module)
    if loaded is None:
        raise _NotAllowed(f"import of {module}, which is not there")
    return getattr(loaded, "__all__", None) or [name for name in vars(loaded) if not name.startswith("_")]


def _same(module: str, home: str, name: str) -> bool:
    """Return whether a name of an inner module is the same object as that of the listed module."""
    missing, inner = object(), sys.modules.get(module)
    return getattr(inner, name, missing) is getattr(sys.modules.get(home), name, None)
