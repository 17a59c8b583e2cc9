"""A page's parameters: read from its own file, checked, converted and displayed.

Papermill injects any name: a mistyped ``-p siez 13b`` becomes a new variable and the page runs with its defaults. So
the second cell of each page calls :func:`resolve`, which compares the given names with those that the page's file
declares, before anything heavy is imported.
"""

from __future__ import annotations

import ast
import difflib
import html
import inspect
import json
import math
import re
import shlex
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, row_files, scales
from mammoth_utils.vocabulary import DECODINGS, RULES

DATASETS = ("auto", "miniature", "release", "rebuild")
VERSIONS = ("v3", "v1")
SPLITS = ("test", "dev")
CHOICES: dict[str, tuple[str, ...]] = {
    "size": scales.SIZES,
    "family": ("auto", *scales.FAMILIES),
    "method": scales.METHODS,
    "mixture": scales.MIXTURES,
    "decoding": DECODINGS,
    "version": VERSIONS,
    "split": SPLITS,
    "rule": RULES,
}
# Papermill writes this line above what it injects; nothing else in the kernel marks those names.
INJECTED = "# Parameters"
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}
_IPYTHON = {"In", "Out", "get_ipython", "exit", "quit", "open"}


class ParameterError(ValueError):
    """A page has no such parameter, or cannot use its value."""


@dataclass(frozen=True)
class Parameter:
    """One line of a page's ``parameters`` cell.

    Attributes:
        type: ``str``, ``int``, ``float`` or ``bool``, from the annotation, else from the default.
        help: The comment after it.
    """

    name: str
    type: type
    default: Any
    help: str

    @property
    def is_list(self) -> bool:
        """Return whether the value is a comma-separated list, as the word ``comma`` in the help says."""
        return self.type is str and bool(re.search(r"\bcommas?\b", self.help.lower()))


@dataclass(frozen=True, repr=False)
class Resolved:
    """The parameters of a run of a page, as attributes and as items, in the order of the page."""

    _page: str
    _values: dict[str, Any]
    _declared: dict[str, Parameter]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise AttributeError(f"page {self._page!r} has no parameter {name!r}; it has: {', '.join(self._values)}")
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value, or ``default`` if the page has no such parameter."""
        return self._values.get(name, default)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self._values)

    def __repr__(self) -> str:
        width = max(map(len, self._values), default=0)
        lines = [f"{name:<{width}}  {value!r}" for name, value in self._values.items()]
        return "\n".join([f"{self._page}, as resolved:", *lines])

    def _repr_html_(self) -> str:
        rows = []
        for name, value in self._values.items():
            parameter, shown = self._declared[name], html.escape(repr(value))
            shown = f"<strong>{shown}</strong>" if value != parameter.default else shown
            rows.append(f"<tr><td><code>{name}</code></td><td>{shown}</td><td>{html.escape(parameter.help)}</td></tr>")
        head = "<tr><th>parameter</th><th>value</th><th>what it is</th></tr>"
        return (
            f'<table class="parameters"><caption>Parameters of this page</caption><thead>{head}</thead>'
            f"<tbody>{''.join(rows)}</tbody></table>"
        )


def declared(page: str) -> dict[str, Parameter]:
    """Return the parameters that ``notebooks/<page>.ipynb`` declares, in order.

    Raises:
        FileNotFoundError: If there is no such page, naming the known ones.
        ValueError: If the page has no cell tagged ``parameters``, or that cell holds more than plain literals.
    """
    folder = paths.root() / "notebooks"
    file = folder / f"{page}.ipynb"
    if not file.is_file():
        known = ", ".join(sorted(other.stem for other in folder.glob("*.ipynb"))) or "none"
        raise FileNotFoundError(f"no page {page!r} in {folder}; known: {known}")
    notebook = json.loads(file.read_text(encoding="utf8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell.get("metadata", {}).get("tags", ()):
            return read_cell("".join(cell["source"]), where=str(file.name))
    raise ValueError(f"{file.name} has no cell tagged `parameters`")


def read_cell(source: str, where: str = "the cell") -> dict[str, Parameter]:
    """Return the parameters of a cell; raise ValueError for a line that is not ``name: type = literal  # help``."""
    lines, parameters = source.splitlines(), {}
    for node in ast.parse(source).body:
        line = lines[node.lineno - 1].strip()
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if not isinstance(target, ast.Name) or getattr(node, "value", None) is None:
            raise ValueError(f"{where}: expected `name: type = literal  # help`, got `{line}`")
        try:
            default = ast.literal_eval(node.value)
        except ValueError as error:
            raise ValueError(f"{where}: the default in `{line}` is not a plain literal") from error
        kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(default).__name__
        if kind not in _TYPES:
            raise ValueError(f"{where}: `{line}` has type {kind}; a parameter is one of {', '.join(_TYPES)}")
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
        parameters[target.id] = Parameter(target.id, _TYPES[kind], default, comment.lstrip("# "))
    return parameters


def resolve(
    page: str, namespace: Mapping[str, Any], choices: Mapping[str, tuple[str, ...] | None] | None = None
) -> Resolved:
    """Return the parameters of this run of a page, checked and converted.

    Args:
        namespace: The page's ``globals()``.
        choices: Allowed values of this page's own parameters, or None for any; :data:`CHOICES` has the shared ones.

    Returns:
        Every declared parameter with its value; a list stays a comma-separated string, without blanks.

    Raises:
        ParameterError: If a name is not declared or the page cannot use a value, naming the choices.
    """
    _shorten_errors()
    known = declared(page)
    for name in _given(namespace, known):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise ParameterError(f"unknown parameter {name!r}{hint} known: {', '.join(known)}")
    values = {}
    for name, parameter in known.items():
        value = _converted(parameter, namespace.get(name, parameter.default))
        allowed = {**CHOICES, **(choices or {})}.get(name)
        if name == "dataset" and value != parameter.default:
            _check_dataset(value)
        if allowed is not None and value != parameter.default:
            for item in value.split(",") if parameter.is_list else [value]:
                _check_choice(name, item, allowed)
        values[name] = value
    if "size" in values and "family" in values and not known["size"].is_list and not known["family"].is_list:
        try:
            scales.scale(values["size"], values["family"])
        except ValueError as error:
            raise ParameterError(str(error)) from None
    return Resolved(page, values, known)


def _shorten_errors() -> None:
    """Have a page show an error that this library raised as one message; ``%tb`` still shows every frame.

    What another library raises, or a mistake in this one, keeps its whole traceback: there the frames are the message.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return

    def show(shell: Any, kind: type, error: BaseException, trace: types.TracebackType, tb_offset: Any = None) -> None:
        if (lines := shown_error(error)) is None:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        error._render_traceback_ = lambda: lines  # IPython's own way to show an error otherwise
        try:
            shell.showtraceback((kind, error, trace))
        finally:
            del error._render_traceback_

    shell.set_custom_exc((Exception,), show)


def shown_error(error: BaseException) -> list[str] | None:
    """Return the lines in which a page shows an error that this library raised, or None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not (frames[-1].line or "").startswith("raise "):
        return None
    library = str(Path(__file__).parent)
    if not frames[-1].filename.startswith(library):
        return None
    cell = next((frame for frame in reversed(frames) if not frame.filename.startswith(library)), frames[0])
    return [f"in the line:  {cell.line}", f"{type(error).__name__}: {error}"]


def show_command(page: str, **parameters: Any) -> str:
    """Return the papermill command that runs a page; raise ParameterError for a parameter that it does not declare."""
    known = declared(page)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ParameterError(f"unknown parameter {unknown[0]!r} of page {page!r}; known: {', '.join(known)}")
    given = "".join(f" -p {name} {shlex.quote(str(value))}" for name, value in parameters.items())
    tail = "-".join([page, *(str(parameters[key]) for key in ("size", "family", "mixture") if key in parameters)])
    return f"papermill notebooks/{page}.ipynb {shlex.quote(f'runs/{tail}.ipynb')}{given}"


def _given(namespace: Mapping[str, Any], known: Mapping[str, Parameter]) -> list[str]:
    """Return the names given to this run: those that papermill injected, or in the parameters cell that was run."""
    history = namespace.get("In")
    if isinstance(history, list) and any(history):
        names: list[str] = []
        for source in history:
            assigned = _assigned(source)
            if source.lstrip().startswith(INJECTED) or any(name in known for name in assigned):
                names += assigned
            if "resolve(" in source:
                break  # later cells are the page's own, also when the second cell is run again
        return [name for name in dict.fromkeys(names) if not name.startswith("_")]
    return [name for name, value in namespace.items() if not _is_no_parameter(name, value)]


def _assigned(source: str) -> list[str]:
    """Return the names that a cell assigns at its top level; none if it is not plain Python."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic or a shell line, which no parameters cell has
        return []
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_no_parameter(name: str, value: Any) -> bool:
    """Return whether a name is no parameter: a private name, one of IPython's, a module, function or class."""
    code = isinstance(value, types.ModuleType) or inspect.isroutine(value) or inspect.isclass(value)
    return name.startswith("_") or name in _IPYTHON or code


def _converted(parameter: Parameter, value: Any) -> Any:
    """Return a value in the parameter's type.

    Papermill leaves ``true`` a string, makes ``1e3`` a float and ``7`` an integer, whatever the page declares.
    """
    name, kind = parameter.name, parameter.type
    refusal = ParameterError(
        f"parameter {name!r} is of type {kind.__name__}, got {value!r} of type {type(value).__name__}"
        + (f" ({parameter.help})" if parameter.help else "")
    )
    if kind is bool:
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise refusal
        return str(value).lower() in ("true", "1")
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        raise refusal
    if kind is str:
        parts = (
            value if isinstance(value, list | tuple) else str(value).split(",") if parameter.is_list else [str(value)]
        )
        if len(parts) > 1 and not parameter.is_list:
            raise refusal
        return ",".join(str(part).strip() for part in parts if str(part).strip())
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise refusal from None
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise refusal
    if number < 0 <= parameter.default:
        raise ParameterError(f"parameter {name!r} is not negative, got {value!r}")
    return int(value) if kind is int and isinstance(value, int) else kind(number)


def _check_dataset(value: str) -> None:
    """Raise ParameterError unless a value names a data set that is known or below ``runs/curate``, or a path."""
    folders = sorted(folder.name for folder in (paths.runs() / "curate").glob("[!.]*") if folder.is_dir())
    if value in (*DATASETS, *folders):
        return
    try:
        row_files.find_file(value)
    except row_files.RowFileError as error:
        if row_files.is_path(value):
            raise ParameterError(f"parameter 'dataset': {error}") from None
        _check_choice("dataset", value, (*DATASETS, *folders, "or the path of a file or folder"))


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ParameterError for a value outside the choices, naming the nearest one."""
    if value in allowed:
        return
    folded = {choice.lower(): choice for choice in allowed}
    close = difflib.get_close_matches(value.lower(), folded, n=1, cutoff=0.6)
    hint = f"; did you mean {folded[close[0]]!r}?" if close else ";"
    raise ParameterError(f"parameter {name!r} cannot be {value!r}{hint} known: {', '.join(allowed)}")
