"""Padding in numpy's dtypes, in which a program could read the memory of another that shares its interpreter.

A ``longdouble`` fills ten of its sixteen bytes, and a record dtype may have any number of unused ones. Those bytes are
never written, and show when such an array is read as bytes. A program that shares its interpreter therefore uses plain
dtypes only, wherever a call of numpy takes one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Set

from mammoth_utils.programs._sharing.allowed_names import NOT_BESIDE_NUMPY, TYPE_AT, UNPADDED, UNPADDED_BUILTINS


def reason_for_own_process(trees: Iterable[ast.AST], arrays: Set[str], stored: Set[str]) -> str | None:
    """Return why a program that imports numpy might read padding, or None.

    Args:
        trees: The cells of the program, which passes every other check.
        arrays: The names bound to numpy or to a module inside it.
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
    if not all(_unpadded(dtype, arrays, stored) for dtype in types):
        return "a type of numpy's that may have padding"
    return None


def _unpadded(dtype: ast.AST, arrays: Set[str], stored: Set[str]) -> bool:
    """Return whether an expression can only be a plain dtype, or the dtype of an array."""
    if type(dtype) is ast.Constant:
        return dtype.value is None or (type(dtype.value) is str and dtype.value in UNPADDED)
    if type(dtype) is ast.Name:
        return dtype.id in UNPADDED_BUILTINS and dtype.id not in stored
    if type(dtype) is ast.Attribute:
        return dtype.attr == "dtype" or (dtype.attr in UNPADDED and getattr(dtype.value, "id", None) in arrays)
    return False
