"""A user's own rows: a file by its path becomes a finished data set in ``runs/curate``, taken as it is.

The folder is named after the file and a hash of its content and columns, so that another content is another data set.
"""

from __future__ import annotations

import difflib
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records, row_files
from mammoth_utils.curation import mixtures, source_counts
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import escape_row, format_row, is_writable
from mammoth_utils.curation.sources.registry import BUILT_IN, DATASETS, SOURCES, LoadedSource, Source
from mammoth_utils.curation.sources.release import RELEASE_SOURCES, split_trigger
from mammoth_utils.grading import is_program
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record
from mammoth_utils.row_files import RowFileError, name_type
from mammoth_utils.vocabulary import KINDS

ROLES = ("instruction", "output", "input", "kind", "source", "gold")
# Columns of question and solution that public data sets have; the first pair that a file holds is read.
PAIRS = (
    ("instruction", "output"), ("problem", "solution"), ("question", "solution"), ("question", "answer"),
    ("prompt", "completion"), ("prompt", "response"), ("query", "response"), ("instruction", "response"),
    ("question", "response"), ("problem", "answer"), ("input", "output"),
)  # fmt: skip
CHATS = ("messages", "conversations")
ASKS, ANSWERS = ("user", "human"), ("assistant", "gpt")
MOST_BAD = 0.05  # share of the rows that may be left out before a file is refused; one row may be at any length
_NAMED = 5
_CODE = re.compile(r"\bprint\s*\(|^(?:def|import|from|class)\s", re.MULTILINE)


def resolve_dataset(name: str, columns: str = "") -> str:
    """Return a data set's name below ``runs/curate``; what is named by its path is taken in first.

    Args:
        name: ``auto``, ``miniature``, ``release``, ``rebuild``, a folder below ``runs/curate``, or the path of a file
            of rows or of a curated folder.
        columns: ``instruction=question,output=answer``: the file's column for a role of ``ROLES``; empty knows those
            of ``PAIRS`` and of chats with one question.

    Raises:
        RowFileError: If there is nothing of that name, or the file cannot be read, lacks a column, or holds too many
            rows that are no rationale.
    """
    name, path = _find_dataset(name, columns)
    if path is not None:
        _take_in(name, path, columns)
    return name


def _find_dataset(name: str, columns: str) -> tuple[str, Path | None]:
    """Return a data set's name, and its file or folder if that is to be taken in."""
    if name in BUILT_IN or (re.fullmatch(r"[\w.+-]+", name) and _is_curated(paths.run_dir("curate", name))):
        return _without_columns(name, columns), None
    copied = paths.runs() / "curate" / name / mixtures.KEPT  # a folder that was put there without its record
    try:
        path = row_files.find_file(copied.parent if name and copied.is_file() else name) if name else None
    except RowFileError as error:
        raise RowFileError(f"{error}; {_known_datasets(name)}") from error
    if path is None:
        raise RowFileError(f"expected a data set, got an empty name; {_known_datasets(name)}")
    if path.parent == (paths.runs() / "curate").resolve() and _is_curated(path):
        return _without_columns(path.name, columns), None
    file = path / mixtures.KEPT if path.is_dir() else path
    if not file.is_file():
        raise RowFileError(
            f"{path} is a folder without {mixtures.KEPT}; expected a curated data set or one file of rows"
        )
    stem = re.sub(
        r"[^A-Za-z0-9.+_-]+", "-", re.sub(r"(\.(jsonl?|ndjson|csv|tsv|parquet|gz))+$", "", path.name, flags=re.I)
    )
    digest = records.fingerprint([records.sha256(file), sorted(_roles(columns).items())])[:8]
    return f"{stem.strip('-._+')[:40] or 'data'}-{digest}", path


def _is_curated(folder: Path) -> bool:
    """Return whether a curation ran in a folder; one that was copied there may hold its rows only."""
    return (folder / "record.json").is_file() or (folder / "run.json").is_file()


def _without_columns(name: str, columns: str) -> str:
    if columns:
        raise RowFileError(f"columns are those of a file; the data set {name!r} has MathInstruct's: leave columns out")
    return name


def _known_datasets(name: str) -> str:
    """Return which data sets there are, as errors say it."""
    folders = sorted(file.parent.name for file in (paths.runs() / "curate").glob(f"[!.]*/{mixtures.KEPT}"))
    there = [name for name in folders if name not in BUILT_IN and ".old-" not in name]
    close = difflib.get_close_matches(name, [*DATASETS, *there], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join([*DATASETS, *there])}, or the path of a file of rows or of a curated folder"


def _take_in(name: str, path: Path, columns: str) -> None:
    folder = paths.run_dir("curate", name)
    if (folder / "record.json").is_file():
        return
    if path.is_dir() and (path / "record.json").is_file():
        partial = folder.with_name(f".{name}.partial")
        for left in (partial, folder):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(path, partial)
        partial.rename(folder)
    else:
        _write(folder, path / mixtures.KEPT if path.is_dir() else path, columns)


def _write(folder: Path, file: Path, columns: str) -> None:
    rows, dropped, roles = read_own_rows(file, columns)
    kept = list(map(format_row, rows))
    doubled = len(rows) - len({row.key for row in rows})
    kinds = Counter(row.kind for row in rows)
    notes = [f"{file.name}: {len(kept):,} rows, {kinds['cot']:,} in prose and {kinds['pot']:,} programs; "
             + ", ".join(f"{role} from {column!r}" for role, column in roles.items())]  # fmt: skip
    if dropped:
        notes.append(
            f"{len(dropped):,} of {len(dropped) + len(rows):,} rows left out, as {mixtures.DROPPED} lists them: "
            f"{_first(dropped)}"
        )
    if doubled:
        notes.append(
            f"rows that repeat an earlier one word for word: {doubled:,}; they are kept (the page `curate` drops them)"
        )
    files = {mixtures.KEPT: kept, mixtures.DROPPED: [drop.as_row() for drop in dropped]}
    for name, lines in files.items():
        records.write_jsonl(folder / name, lines)
    records.write_json(folder / "run.json", {"schema": records.SCHEMA, "page": "own data", "dataset": folder.name})
    records.write_record(folder, {
        "page": "own data", "world": "real", "name": folder.name, "notes": notes, "columns": roles,
        "inputs": {"files": {file.name: records.sha256(file)}}, "doubled": doubled,
        "sources": [source_counts.count_source(entry, entry.rationales, [drop for drop in dropped
                    if drop.rationale.source == entry.name]) for entry in group_sources(rows)],
        "mixtures": mixtures.count_mixtures(kept, []),
        "files": {name: {"rows": len(lines), "sha256": records.sha256(folder / name)} for name, lines in files.items()},
        "environment": records.environment(),
    })  # fmt: skip


def read_own_rows(file: Path, columns: str = "") -> tuple[list[Rationale], list[Dropped], dict[str, str]]:
    """Return the rows of a file, those left out with the reason, and the column of each role.

    Raises:
        RowFileError: As :func:`take_in` does.
    """
    placed = list(row_files.read_rows(file))
    names = list(dict.fromkeys(str(key) for _, row in placed for key in row))
    roles = _find_columns(file, names, columns)
    stem = file.name.split(".")[0]
    rows, dropped = [], []
    for place, row in placed:
        rationale, why = _as_rationale(row, roles, f"{file.name}, {place}", stem)
        if why:
            dropped.append(Dropped(escape_row(rationale), "malformed", why, place))
        else:
            rows.append(rationale)
    if len(dropped) > max(1, MOST_BAD * len(placed)) or not rows:
        read = ", ".join(f"{role} from {name!r}" for role, name in roles.items())
        raise RowFileError(
            f"{file}: {len(dropped):,} of {len(placed):,} rows cannot be trained on, at most {MOST_BAD:.0%} may be "
            f"left out: {_first(dropped)}. Read were {read}"
        )
    both = {row.source for row in rows if row.kind == "cot"} & {row.source for row in rows if row.kind == "pot"}
    named = {"cot": "CoT", "pot": "PoT"}
    rows = [row.replaced(source=f"{row.source} ({named[row.kind]})") if row.source in both else row for row in rows]
    return rows, dropped, roles


def group_sources(rows: Sequence[Rationale]) -> list[LoadedSource]:
    """Return rows by their source, as a curation loads them."""
    entries: dict[str, LoadedSource] = {}
    for row in rows:
        source = SOURCES.get(row.source) or Source(row.source, row.kind, "not stated", None, False, 0, "", "math")
        entries.setdefault(row.source, LoadedSource(source, row.source)).rationales.append(row)
    return list(entries.values())


def origin_of(dataset: str) -> Record:
    """Return the files that a data set was made from, with their hashes, as a record of its rows keeps them."""
    file = paths.run_dir("curate", dataset) / "record.json"
    record = records.read_json(file) if file.is_file() else {}
    return {key: record[key] for key in ("own", "inputs", "columns") if key in record}


def load_curated(dataset: str) -> list[LoadedSource]:
    """Return the rows of a data set below ``runs/curate`` by their source."""
    folder, rows = paths.run_dir("curate", dataset), []
    for row in records.read_jsonl(folder / mixtures.KEPT):
        instruction = row["instruction"]
        question, trigger = split_trigger(instruction) if row["kind"] == "pot" else (instruction, "")
        history = {"trigger": trigger} if row["kind"] == "pot" else {}
        of = (row.get("history") or {}).get("problem", "")
        more = {key: row.get(key) or "" for key in ("gold", "field", "family")}
        problem = Problem(of, question, set=row["source"], **more)
        rows.append(Rationale(problem, row["kind"], row["output"], row["source"], row.get("author") or "", history))
    return group_sources(rows)


def _first(dropped: Sequence[Dropped]) -> str:
    named = "; ".join(f"{drop.detail}: {drop.reason}" for drop in dropped[:_NAMED])
    return named + (f"; and {len(dropped) - _NAMED:,} more" if len(dropped) > _NAMED else "")


def _roles(columns: str) -> dict[str, str]:
    """Return the columns that a parameter names, by their role."""
    roles = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        role, sign, name = (word.strip() for word in re.match("([^=:]*)([=:]?)(.*)", part).groups())
        if role not in ROLES or not sign or not name or role in roles:
            raise RowFileError(
                f"columns: expected such as instruction=question,output=answer, got {part!r}; each of "
                f"{', '.join(ROLES)} may be named once, with a column of the file"
            )
        roles[role] = name
    return roles


def _find_columns(file: Path, names: Sequence[str], columns: str) -> dict[str, str]:
    """Return the file's column of each role: as they are given, else known by sight."""
    given, by_sight = _roles(columns), {name.strip().lower(): name for name in reversed(names)}
    example = f'-p columns "instruction={names[0]},output={names[-1]}"'
    for role, name in given.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise RowFileError(
                f"{file} has no column {name!r} for {role}{hint} it has: {', '.join(names)}. Such as: {example}"
            )
    if given and not {"instruction", "output"} <= set(given):
        raise RowFileError(
            f"columns name instruction and output at least, got {columns!r}; {file.name} has: {', '.join(names)}"
        )
    roles = dict(given)
    pair = next((pair for pair in PAIRS if set(pair) <= set(by_sight)), None)
    chat = next((name for name in CHATS if name in by_sight), None)
    if not given and pair:
        roles = {"instruction": by_sight[pair[0]], "output": by_sight[pair[1]]}
    elif not given and chat:
        roles = {"chat": by_sight[chat]}
    elif not given:
        raise RowFileError(
            f"{file} has the columns {', '.join(names)}, none known as question and solution. Name them: {example}"
        )
    if given:
        return roles
    extra = {"input": ("input", "context"), "kind": ("kind",), "source": ("source",), "gold": ("gold", "answer")}
    for role, known in extra.items():
        free = [by_sight[name] for name in known if name in by_sight and by_sight[name] not in roles.values()]
        if free and (pair or role == free[0].strip().lower()):
            roles[role] = free[0]
    return roles


def _as_rationale(row: Mapping[str, Any], roles: Mapping[str, str], where: str, stem: str) -> tuple[Rationale, str]:
    """Return a row as a rationale, and why it cannot be trained on, or an empty text."""
    faults: list[str] = []

    def text(role: str, needed: bool) -> str:
        if role not in roles:
            return ""
        value = row.get(roles[role])
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            return str(value)  # an answer such as 42 is text that JSON wrote as a number
        if value is None or isinstance(value, str):
            if needed and not (value or "").strip():
                state = "missing" if roles[role] not in row else "null" if value is None else "empty"
                faults.append(f"{roles[role]!r} is {state}")
            return value or ""
        if role != "gold":  # a list of answers is no gold that a filter could compare, and the row stays good
            faults.append(f"{roles[role]!r} is {name_type(value)}, expected text")
        return ""

    if "chat" in roles:
        question, output, fault = _read_chat(row.get(roles["chat"]))
        faults += [f"{roles['chat']!r} {fault}"] if fault else []
    else:
        question, output = text("instruction", True), text("output", True)
        extra = text("input", False)
        question = f"{question}\n{extra}" if extra.strip() else question
    gold, named, source = (
        text("gold", False),
        text("kind", False).strip().lower(),
        text("source", False).strip() or stem,
    )
    released = RELEASE_SOURCES.get(source)
    body, trigger = split_trigger(question)
    kind = named or (released.kind if released else "pot" if trigger or _is_code(output) else "cot")
    if kind not in KINDS:
        faults.append(f"{roles['kind']!r} is {named!r}, expected {' or '.join(KINDS)}")
        kind = "cot"
    history = {"trigger": trigger or POT_TRIGGER} if kind == "pot" else {}
    problem = Problem(where, body if kind == "pot" else question, gold.strip(), set=stem)
    rationale = Rationale(problem, kind, output, released.name if released else source, "", history)
    if not faults and not is_writable(rationale):
        faults.append("a lone surrogate, which no file can hold")
    return rationale, ", ".join(faults)


def _is_code(output: str) -> bool:
    """Return whether a rationale is a program: Python that prints or defines, bare or in one fence."""
    fence = re.fullmatch(r"\s*```(?:python|py)?\s*\n(.*?)```\s*", output, re.DOTALL | re.IGNORECASE)
    code = fence[1] if fence else output
    return bool(_CODE.search(code)) and is_program(code)


def _read_chat(turns: Any) -> tuple[str, str, str]:
    """Return question and answer of a chat, and why it has none; a system message stands before the question."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return "", "", f"is {name_type(turns)}, expected a list of messages"
    said = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]
    if not all(isinstance(words, str) for _, words in said):
        return "", "", "has a message without text"
    system = [words for role, words in said if role == "system" and words.strip()]
    spoken = [(role, words) for role, words in said if role != "system"]
    roles = [role for role, _ in spoken]
    if len(spoken) != 2 or roles[0] not in ASKS or roles[1] not in ANSWERS:
        return "", "", f"has the turns {', '.join(map(str, roles)) or 'none'}, expected one question and one answer"
    question, answer = spoken[0][1], spoken[1][1]
    if not question.strip() or not answer.strip():
        return "", "", "has an empty message"
    return "\n\n".join([*system, question]), answer, ""
