"""Gaps: the types of numpy's numbers that leave none between them, in which a neighbour's memory could be seen.

A ``longdouble`` fills ten of its sixteen bytes, and a record may leave out as many as it likes. What lies there was
never written, and shows when such an array is read as bare bytes. A program that shares its interpreter therefore names
plain types only, wherever a call of numpy's takes one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Set

from mammoth_utils.programs._sharing.allowed_names import GAPLESS, GAPLESS_BUILTINS, NOT_BESIDE_NUMPY, TYPE_AT


def reason_for_own_process(trees: Iterable[ast.AST], arrays: Set[str], stored: Set[str]) -> str | None:
    """Why a program that imports numpy, and is cleared otherwise, might see what lies in gaps, or None.

    Args:
        trees: The cells of the program.
        arrays: The names that are numpy, or a module inside of it.
        stored: The names that the program binds.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    called = {id(node.func) for node in nodes if type(node) is ast.Call}
    imported = {alias.name for node in nodes if type(node) is ast.ImportFrom for alias in node.names}
    imported |= TYPE_AT.keys() if "*" in imported else set()
    for node in nodes:
        kind = type(node)
        name = node.id if kind is ast.Name else node.attr if kind is ast.Attribute else ""
        if name in NOT_BESIDE_NUMPY or (kind is ast.Constant and type(node.value) is bytes):
            return f"{name or 'bytes'} beside numpy"
        if name in TYPE_AT and id(node) not in called and (kind is ast.Attribute or name in imported):
            return f"{name} as a value beside numpy"
        if kind is ast.alias and node.name in TYPE_AT and node.asname not in (None, node.name):
            return f"{node.name} of numpy under another name"
        if kind is ast.Call and (reason := _reason_in(node, arrays, stored)):
            return reason
    return None


def _reason_in(call: ast.Call, arrays: Set[str], stored: Set[str]) -> str | None:
    function = call.func
    name = function.attr if type(function) is ast.Attribute else getattr(function, "id", "")
    types = [keyword.value for keyword in call.keywords if keyword.arg == "dtype"]
    if any(keyword.arg in ("sig", "signature") for keyword in call.keywords):
        return "signature in a call beside numpy"
    if name in TYPE_AT:
        of_numpy = type(function) is ast.Name or getattr(function.value, "id", None) in arrays
        types += call.args[TYPE_AT[name] - (not of_numpy) :]
        if any(type(argument) is ast.Starred for argument in call.args):
            return f"* in a call of {name} beside numpy"
    if not all(_gapless(one, arrays, stored) for one in types):
        return "a type of numpy's that was not looked at"
    return None


def _gapless(one: ast.AST, arrays: Set[str], stored: Set[str]) -> bool:
    """Whether an expression can only be a plain type, or the type that an array has."""
    if type(one) is ast.Constant:
        return one.value is None or (type(one.value) is str and one.value in GAPLESS)
    if type(one) is ast.Name:
        return one.id in GAPLESS_BUILTINS and one.id not in stored
    if type(one) is ast.Attribute:
        return one.attr == "dtype" or (one.attr in GAPLESS and getattr(one.value, "id", None) in arrays)
    return False
