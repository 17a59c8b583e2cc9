"""The library's imports, read from its source text: which module imports which, and which packages a page rests on."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "mammoth_utils"
NAME = LIBRARY.name


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module of the library by its dotted name; a package's is its ``__init__.py``."""
    files = {}
    for file in sorted(LIBRARY.rglob("*.py")):
        parts = file.relative_to(LIBRARY.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def imported(text: str) -> list[str]:
    """Return the dotted names that a text of Python imports, at once or later; a name from a module with its module."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_graph() -> dict[str, set[str]]:
    """Return every module of the library with those that it imports, imports inside functions included."""
    known = modules()
    return {name: {_module(i, known) for i in imported(file.read_text(encoding="utf8"))} - {"", name}
            for name, file in known.items()}  # fmt: skip


def _module(name: str, known: Iterable[str]) -> str:
    """Return the longest module of the library that a dotted name begins with; empty for another library's."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def package_of(module: str) -> str:
    """Return the package or shared noun that a module belongs to: ``grading`` for ``mammoth_utils.grading.answers``."""
    return module.removeprefix(f"{NAME}.").split(".")[0]


@cache
def package_graph() -> dict[str, set[str]]:
    """Return every package and shared noun with the others that it imports."""
    graph: dict[str, set[str]] = {}
    for module, targets in module_graph().items():
        if module != NAME:
            graph.setdefault(package_of(module), set()).update(package_of(t) for t in targets if t != NAME)
    return {package: targets - {package} for package, targets in sorted(graph.items())}


def imported_by_page(page: Path) -> set[str]:
    """Return the packages and shared nouns that a notebook's code imports."""
    cells = json.loads(page.read_text(encoding="utf8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return imported_by_text(text)


def imported_by_text(text: str) -> set[str]:
    """Return the packages and shared nouns that a text of Python imports."""
    known = modules()
    names = (_module(name, known) for name in imported(text))
    return {package_of(module) for module in names if module not in ("", NAME)}


def with_imports(packages: Iterable[str]) -> set[str]:
    """Return packages with all that they import, directly or through others."""
    graph, reached, ahead = package_graph(), set(), list(packages)
    while ahead:
        package = ahead.pop()
        if package not in reached:
            reached.add(package)
            ahead += graph[package]
    return reached


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes of a graph that reach each other."""
    reach = {node: set(graph[node]) - {node} for node in graph}
    for through in graph:
        for node in graph:
            if through in reach[node]:
                reach[node] |= reach[through]
    groups = {tuple(sorted(other for other in reach[node] if node in reach[other])) for node in graph}
    return sorted(list(group) for group in groups if group)
