"""Licences of the sources of Table 1, of public files and of base models, and what each asks; see ``licences.yaml``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import yaml

from mammoth_utils import scales
from mammoth_utils.vocabulary import MINI

OURS = "MIT"  # the project's own, which holds for the miniature's generated text and its base models


@dataclass(frozen=True)
class Terms:
    """The conditions of a licence.

    Attributes:
        model: Condition for passing on a model.
        rows: Condition for passing on rows; empty for a base model.
    """

    tag: str
    model: str
    rows: str = ""


@dataclass(frozen=True)
class Contest:
    """A claim on text that its home gives under a licence.

    Attributes:
        by: Who claims the rights.
        claim: What was said in public.
        read_in: Where that was read.
        sources: Names of Table 1 whose rows it holds for.
        files: By pattern of a file, the fields of the problems that it holds for; none for all of them.
    """

    by: str
    claim: str
    read_in: list[str]
    sources: list[str]
    files: dict[str, list[str]]


_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf8"))
TERMS = {licence: Terms(**terms) for licence, terms in _TABLES["terms"].items()}
SOURCES: dict[str, str] = _TABLES["sources"]
FILES: dict[str, tuple[str, ...]] = {pattern: tuple(licences) for pattern, licences in _TABLES["files"].items()}
CONTESTS = {name: Contest(**contest) for name, contest in _TABLES["contested"].items()}
BASES = {family: Terms(**terms) for family, terms in _TABLES["bases"].items()}


def of_source(name: str) -> str:
    """Return the licence of a source's original; that of a source outside Table 1 is not stated.

    ``mini-MATH (PoT)`` has the name of ``MATH (PoT)`` and none of its text.
    """
    return SOURCES.get(name.removeprefix(MINI), "not stated")


def of_file(name: str) -> tuple[str, ...]:
    """Return the licences of a file of the data folder; none if the file is not listed."""
    return next((licences for pattern, licences in FILES.items() if fnmatch(name, pattern)), ())


def may_be_quoted(names: Iterable[str]) -> bool:
    """Return whether each of the licences lets others show the text; without any, nobody has allowed it."""
    names = tuple(names)
    return bool(names) and all(name in TERMS and TERMS[name].tag != "unknown" for name in names)


def contest_of_source(name: str) -> Contest | None:
    """Return the claim on the text of a source of Table 1; None if no claim is known."""
    return next((contest for contest in CONTESTS.values() if name in contest.sources), None)


def contest_of_file(name: str) -> tuple[Contest, list[str]] | None:
    """Return the claim on a file of the data folder, and the fields that it is limited to; None if none is known."""
    for contest in CONTESTS.values():
        for pattern, fields in contest.files.items():
            if fnmatch(name, pattern):
                return contest, fields
    return None


def may_be_shown(file: str, field: str = "") -> bool:
    """Return whether a page may show the text of a problem: its licences allow it, and nobody contests them.

    Args:
        file: Its file below the data folder, such as ``eval/math.jsonl``.
        field: The problem's field; of a file that is contested in part, a problem of unknown field is not shown.
    """
    contested = contest_of_file(file)
    if contested and (not contested[1] or not field or field in contested[1]):
        return False
    return may_be_quoted(of_file(file))


def of_read(name: str, files: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the licences of a source as it was read: its files', or Table 1's if no file is listed."""
    licences = dict.fromkeys(licence for file in files for licence in of_file(file))
    return tuple(licences) or (of_source(name),)


def of_rows(sources: Mapping[str, int], files: Mapping[str, Iterable[str]] | None = None) -> dict[str, int]:
    """Return the rows under each licence, the most frequent first; a row under two licences counts for each.

    Args:
        sources: Rows of each source.
        files: The files that each source was read from, where it was rebuilt.
    """
    rows: dict[str, int] = {}
    for name, count in sources.items():
        for licence in of_read(name, (files or {}).get(name, ())):
            rows[licence] = rows.get(licence, 0) + count
    return dict(sorted(rows.items(), key=lambda item: -item[1]))


def of_base(name: str) -> Terms:
    """Return the terms of a base model or of a copy of it; unknown for a base that no scale has.

    The whole name decides, since an owner's other models may have other terms.
    """
    for scale in scales.SCALES.values():
        if not scale.miniature and name in (scale.base, *scale.copies):
            return BASES[scale.family]
    return Terms("unknown", "not known here: look at the base's own page")
