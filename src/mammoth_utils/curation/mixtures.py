"""Mixtures of the kept rows, in MathInstruct's form, deterministic, with a data set card."""

from __future__ import annotations

import json
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.curation.sources.registry import SOURCES, paper_name
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
MEANING = {
    "hybrid": "every kept row, prose and programs",
    "cot": "prose only",
    "pot": "programs only",
    "G": "GSM8K and GSM8K-RFT",
    "G+M": "G and MATH",
    "G+M+C": "G+M and Camel-Math",
    "G+M+C+A": "G+M+C and AQuA-RAT",
    "existing": "the seven sources that existed before the paper",
    "unfiltered": "hybrid, with the teacher's programs as they came, before execution",
}


def rows_of(mixture: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a row belongs to a mixture.

    Raises:
        ValueError: If the mixture is unknown, naming the choices.
    """
    if mixture not in MIXTURES:
        raise ValueError(f"unknown mixture {mixture!r}; known: {', '.join(MIXTURES)}")
    if mixture in ("cot", "pot"):
        return lambda row: row.get("kind") == mixture
    if mixture in GROWING:
        return lambda row: paper_name(str(row.get("source"))).rsplit(" (", 1)[0] in GROWING[mixture]
    if mixture == "existing":
        existing = {name for name, source in SOURCES.items() if not source.new}
        return lambda row: paper_name(str(row.get("source"))) in existing
    return lambda row: True


def read(folder: Path, mixture: str, seed: int) -> list[dict[str, Any]]:
    """The rows of a mixture, in an order that the seed alone decides.

    Args:
        folder: A finished curation, such as ``runs/curate/miniature``.
        mixture: One of ``scales.MIXTURES``.
        seed: Shuffles the rows.

    Raises:
        FileNotFoundError: If the folder holds no finished curation, naming the command that makes it.
        ValueError: If the mixture is unknown or holds no row, a file is cut, or a row lacks one of ``COLUMNS``.
    """
    rows = list(stream(folder, mixture, seed))
    for row in rows:
        if absent := [column for column in COLUMNS if not isinstance(row.get(column), str)]:
            raise ValueError(
                f"a row of {folder} has no {', '.join(absent)}: {json.dumps(row)[:120]}; expected text in each of "
                f"{', '.join(COLUMNS)}. Make the data set again: {command(Path(folder).name)}"
            )
    return rows


def stream(folder: Path, mixture: str, seed: int) -> Iterator[dict[str, Any]]:
    """The rows that ``read`` returns, one at a time: their places are shuffled, and the rows stay on disk.

    Args:
        folder: A finished curation.
        mixture: One of ``scales.MIXTURES``.
        seed: Shuffles the rows.

    Raises:
        FileNotFoundError: If the folder holds no finished curation, naming the command that makes it.
        ValueError: If the mixture is unknown, or holds no row, or a file has not as many rows as its record says.
    """
    folder, wanted = Path(folder), rows_of(mixture)
    if not (folder / "record.json").is_file():
        raise FileNotFoundError(
            f"expected a finished curation in {folder}, found none; make it: {command(folder.name)}"
        )
    kept, places, held = wanted, array("Q"), Counter()
    if mixture == "unfiltered":  # the other file has every row that a teacher wrote, prose too
        kept = lambda row: wanted(row) and not _by_teacher(row)  # noqa: E731
    files = [(KEPT, kept)] + ([(UNFILTERED, wanted)] if mixture == "unfiltered" else [])
    counted = records.read_json(folder / "record.json").get("files", {})
    for which, (name, chosen) in enumerate(files):
        rows = 0
        for offset, row in _lines(folder / name):
            rows += 1
            held[str(row.get("source"))] += 1
            if chosen(row):
                places.append(offset << 1 | which)
        if name in counted and rows != counted[name]["rows"]:
            raise ValueError(
                f"{folder / name} has {rows:,} rows, expected {counted[name]['rows']:,} as its record says: it is cut, "
                f"or was changed. Remove the folder and make it again: {command(folder.name)}"
            )
    if not places:
        hint = "another mixture would hold some" if held else f"make it again: {command(folder.name)}"
        raise ValueError(
            f"mixture {mixture!r} holds no row of {folder}; its sources: {', '.join(held) or 'none'}; {hint}"
        )
    random.Random(f"mixture/{seed}").shuffle(places)
    return _at(places, [folder / name for name, _ in files])


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file of JSON Lines with the place where each begins.

    Raises:
        ValueError: If a line is no JSON, naming file and place.
    """
    offset = 0
    with open(file, "rb") as lines:
        for line in lines:
            if line.strip():
                try:
                    yield offset, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{file}, byte {offset}: no JSON: {error}") from error
            offset += len(line)


def _at(places: array[int], files: list[Path]) -> Iterator[dict[str, Any]]:
    opened = [open(file, "rb") for file in files]  # noqa: SIM115, closed below
    try:
        for place in places:
            opened[place & 1].seek(place >> 1)
            yield json.loads(opened[place & 1].readline())
    finally:
        for file in opened:
            file.close()


def _by_teacher(row: dict[str, Any]) -> bool:
    """Whether the row is one of ``UNFILTERED`` too, which holds what a teacher wrote, programs and prose."""
    return row["author"].startswith("teacher:")


def command(dataset: str) -> str:
    """The papermill line that makes a data set."""
    tail = f"-p dataset {dataset}" if dataset in ("miniature", "release", "rebuild") else f"-p name {dataset}"
    return f"papermill notebooks/curate.ipynb runs/curate-{dataset}.ipynb {tail}"


def ensure(dataset: str, say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of a curated data set; the miniature's and the release's are made if they are not there.

    The release is the local copy in the data folder, or the hub's at the pinned commit with its content checked; to
    curate it takes minutes. Where no benchmark's file is there, its rows are taken as they were published, as the
    paper did, and the record says ``decontaminate`` ``none``: nothing is called clean that was not compared.

    Args:
        dataset: ``miniature``, ``release``, or the name of a folder below ``runs/curate``.
        say: Called with a line at each stage while the release is curated.

    Raises:
        FileNotFoundError: If another data set is not there, naming the command that makes it, or the release is
            neither here nor to be fetched.
    """
    dataset = "miniature" if dataset == "auto" else dataset
    folder = paths.run_dir("curate", dataset)
    finished = (folder / "record.json").is_file()
    # The miniature's follows an edit of the code that makes it; a real one that stands is taken as it is.
    if dataset == "miniature" or (dataset == "release" and not finished):
        from mammoth_utils.curation import benchmark_questions
        from mammoth_utils.curation.description import NOTHING, describe
        from mammoth_utils.curation.pipeline import curate

        description = describe(dataset=dataset)
        if dataset == "release":
            if not any(file.is_file() for file in benchmark_questions.files_of(paths.data()).values()):
                description = describe(dataset=dataset, decontaminate=NOTHING, name=dataset)
                say("no benchmark's file is here: the release's rows are taken as published, none is compared with a "
                    "benchmark (decontaminate=none in the record). `make data` before this line fetches the files, "
                    "and rows that stand in a benchmark then go")  # fmt: skip
            say(f"no data set in runs/curate/{dataset} yet: curating the release, which takes minutes when it is whole")
        try:
            curate(description, say=say if dataset == "release" else None)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}\nthen this line, or the one that asked, makes it: {command(dataset)}"
            ) from error
        return description.folder
    if not finished:
        raise FileNotFoundError(
            f"expected the data set {dataset!r} in {folder}, found none; make it: {command(dataset)}"
        )
    return folder


def sizes(kept: Iterable[dict[str, Any]], unfiltered: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Rows of every mixture; each row is looked at once."""
    wanted = {mixture: rows_of(mixture) for mixture in MIXTURES if mixture != "unfiltered"}
    counts = dict.fromkeys((*wanted, "unfiltered"), 0)
    for row in kept:
        for mixture, belongs in wanted.items():
            counts[mixture] += belongs(row)
        counts["unfiltered"] += not _by_teacher(row)
    counts["unfiltered"] += sum(1 for _ in unfiltered)
    return counts
