"""Mixtures of the kept rows, in MathInstruct's form and in an order that the seed alone decides."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mammoth_utils import pages, paths, records
from mammoth_utils.curation.mathinstruct_rows import is_by_teacher
from mammoth_utils.curation.sources.registry import BUILT_IN, SOURCES, paper_name
from mammoth_utils.records import Record
from mammoth_utils.scales import MIXTURES

KEPT, DROPPED, UNFILTERED = "mathinstruct.jsonl", "dropped.jsonl", "unfiltered.jsonl"
COLUMNS = ("source", "kind", "instruction", "output")  # what a row must hold, as text, to be trained on
# Table 5 adds the sources of GSM8K, MATH, Camel-Math and AQuA-RAT one after another, of either kind.
GROWING = {
    "G": ("GSM8K", "GSM8K-RFT"),
    "G+M": ("GSM8K", "GSM8K-RFT", "MATH"),
    "G+M+C": ("GSM8K", "GSM8K-RFT", "MATH", "Camel-Math"),
    "G+M+C+A": ("GSM8K", "GSM8K-RFT", "MATH", "Camel-Math", "AQuA-RAT"),
}
SPECIALISTS = {"G-cot": "G", "G+M-cot": "G+M"}  # what models before the paper were trained on: the prose of these
MEANING = {
    "hybrid": "every kept row, prose and programs",
    "cot": "prose only",
    "pot": "programs only",
    "G": "GSM8K and GSM8K-RFT",
    "G+M": "G and MATH",
    "G+M+C": "G+M and Camel-Math",
    "G+M+C+A": "G+M+C and AQuA-RAT",
    "G-cot": "the prose of G",
    "G+M-cot": "the prose of G+M",
    "existing": "the seven sources that existed before the paper",
    "unfiltered": "hybrid, with the teacher's programs as they came, before execution",
}


def membership(mixture: str) -> Callable[[Record], bool]:
    """Return the test whether a row belongs to a mixture.

    Raises:
        ValueError: If the mixture is unknown, naming the choices.
    """
    if mixture not in MIXTURES:
        raise ValueError(f"unknown mixture {mixture!r}; known: {', '.join(MIXTURES)}")
    if mixture in ("cot", "pot"):
        return lambda row: row.get("kind") == mixture
    if mixture in SPECIALISTS:
        belongs = membership(SPECIALISTS[mixture])
        return lambda row: row.get("kind") == "cot" and belongs(row)
    if mixture in GROWING:
        return lambda row: paper_name(str(row.get("source"))).rsplit(" (", 1)[0] in GROWING[mixture]
    if mixture == "existing":
        existing = {name for name, source in SOURCES.items() if not source.new}
        return lambda row: paper_name(str(row.get("source"))) in existing
    return lambda row: True


def read_mixture(folder: Path, mixture: str, seed: int, max_rows: int = 0) -> list[Record]:
    """Return the rows of a mixture, in an order that the seed alone decides.

    Args:
        folder: A finished curation, such as ``runs/curate/miniature``.
        mixture: One of ``scales.MIXTURES``.
        max_rows: Rows at most, as ``first_rows`` takes them; 0 for all.

    Raises:
        FileNotFoundError: If the folder holds no finished curation, naming the command that makes it.
        ValueError: If the mixture is unknown or holds no row, a file has not as many rows as its record says, or a
            row lacks one of ``COLUMNS``.
    """
    rows = list(stream_mixture(folder, mixture, seed))
    for row in rows:
        if absent := [column for column in COLUMNS if not isinstance(row.get(column), str)]:
            raise ValueError(
                f"a row of {folder} has no {', '.join(absent)}: {json.dumps(row)[:120]}; expected text in each of "
                f"{', '.join(COLUMNS)}. Make the data set again: {curate_command(Path(folder).name)}"
            )
    return first_rows(rows, max_rows)


def first_rows(rows: list[Record], most: int) -> list[Record]:
    """Return at most ``most`` rows in their order, of each source its share; 0 for all.

    Of each source they are the first ones, and the rows of a smaller number are among those of a larger.
    """
    if not most or most >= len(rows):
        return rows
    sizes, seen = Counter(row["source"] for row in rows), Counter()
    places = []  # how far along in its source a row stands, 0 to 1
    for place, row in enumerate(rows):
        source = row["source"]
        places.append(((seen[source] + 0.5) / sizes[source], place))
        seen[source] += 1
    return [rows[place] for place in sorted(place for _, place in sorted(places)[:most])]


def stream_mixture(folder: Path, mixture: str, seed: int) -> Iterator[Record]:
    """Return the rows of ``read_mixture`` one at a time: their places are shuffled, and the rows stay on disk.

    It raises the same errors, but looks at no row's columns.
    """
    folder, belongs = Path(folder), membership(mixture)
    if not (folder / "record.json").is_file():
        raise FileNotFoundError(
            f"expected a finished curation in {folder}, found none; make it: {curate_command(folder.name)}"
        )
    if mixture == "unfiltered" and not (folder / UNFILTERED).is_file():
        raise ValueError(
            f"{folder} has no {UNFILTERED}: mixture 'unfiltered' is of data sets whose programs a teacher wrote on the "
            "page `curate`; take hybrid"
        )
    places, sources = array("Q"), Counter()
    files = [KEPT, UNFILTERED] if mixture == "unfiltered" else [KEPT]
    counted = records.read_json(folder / "record.json").get("files", {})
    for which, name in enumerate(files):
        rows = 0
        for offset, row in _lines(folder / name):
            rows += 1
            sources[str(row.get("source"))] += 1
            # UNFILTERED has every row that a teacher wrote, prose too.
            twice = len(files) == 2 and name == KEPT and is_by_teacher(row.get("author") or "")
            if belongs(row) and not twice:
                places.append(offset << 1 | which)
        if name in counted and rows != counted[name]["rows"]:
            raise ValueError(
                f"{folder / name} has {rows:,} rows, expected {counted[name]['rows']:,} as its record says: it is cut, "
                f"or was changed. Remove the folder and make it again: {curate_command(folder.name)}"
            )
    if not places:
        hint = "another mixture would hold some" if sources else f"make it again: {curate_command(folder.name)}"
        raise ValueError(
            f"mixture {mixture!r} holds no row of {folder}; its sources: {', '.join(sources) or 'none'}; {hint}"
        )
    random.Random(f"mixture/{seed}").shuffle(places)
    return _at(places, [folder / name for name in files])


def _lines(file: Path) -> Iterator[tuple[int, Record]]:
    """Yield the rows of a file of JSON Lines with the place where each begins."""
    offset = 0
    with open(file, "rb") as lines:
        for line in lines:
            if line.strip():
                try:
                    yield offset, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{file}, byte {offset}: no JSON: {error}") from error
            offset += len(line)


def _at(places: array[int], files: list[Path]) -> Iterator[Record]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(open(file, "rb")) for file in files]
        for place in places:
            opened[place & 1].seek(place >> 1)
            yield json.loads(opened[place & 1].readline())


def curate_command(dataset: str) -> str:
    """Return the papermill line that makes a data set, or which ones there are to choose from."""
    file, parameters = paths.run_dir("curate", dataset) / "run.json", {"dataset": dataset}
    if dataset not in BUILT_IN:
        run = records.read_json(file) if file.is_file() else {}
        if run.get("page") != "curate":
            return "name the file of rows, or the curated folder, by its path: -p dataset PATH"
        run |= {"windows": ",".join(map(str, run["windows"])), "sources": ",".join(run["sources"])}
        run["sources"] = "all" if run["sources"] in ("", ",".join(SOURCES)) else run["sources"]
        run["teacher_model"] = run["teacher_model"] if run["teacher"] != "miniature" else ""
        known = pages.declared("curate").items()
        parameters = {key: run[key] for key, known in known if key in run and run[key] != known.default}
    given = "".join(f" -p {key} {shlex.quote(str(value))}" for key, value in parameters.items())
    return f"papermill notebooks/curate.ipynb runs/curate-{dataset}.ipynb{given}"


def count_mixtures(kept: Iterable[Record], unfiltered: Iterable[Record]) -> dict[str, int]:
    """Return the number of rows of every mixture; each row is looked at once."""
    members = {mixture: membership(mixture) for mixture in MIXTURES if mixture != "unfiltered"}
    counts = dict.fromkeys((*members, "unfiltered"), 0)
    for row in kept:
        for mixture, belongs in members.items():
            counts[mixture] += belongs(row)
        counts["unfiltered"] += not is_by_teacher(row["author"])
    counts["unfiltered"] += sum(1 for _ in unfiltered)
    return counts
