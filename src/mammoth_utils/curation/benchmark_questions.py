"""Questions of the benchmarks, under the evaluation's ids, with which training rows are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.rationale import Problem

# our name: (the paper's, file below the data folder's eval/, the keys that make up the question); ids are
# ``name/number`` in the file's order, as the evaluation has them
_FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "gsm8k": ("GSM8K", "gsm8k", ("question",)),
    "math": ("MATH", "math", ("problem",)),
    "aqua": ("AQuA-RAT", "aqua", ("question",)),
    "numglue": ("NumGLUE", "numglue", ("question",)),
    "svamp": ("SVAMP", "svamp", ("Body", "Question")),
    "mathematics": ("Mathematics", "deepmind", ("question",)),
    "simuleq": ("SimulEq", "simuleq", ("question",)),
    "sat": ("SAT-Math", "sat", ("question",)),
    "mmlu_math": ("MMLU-Math", "mmlu_mathematics", ("question",)),
}
NAMES = tuple(paper for paper, _, _ in _FILES.values())
_LETTER = re.compile(r"^[A-J]\)")  # AQuA writes its options as "A)21"


def load_questions(world: str) -> dict[str, list[Problem]]:
    """Return the test questions of the nine benchmarks by the paper's name; one whose file is missing is left out.

    Raises:
        ValueError: If the world is unknown.
    """
    if world == "miniature":
        from mammoth_utils.miniature import benchmarks

        return {name: list(benchmarks.load(name, "test")) for name in benchmarks.BENCHMARKS}
    if world != "real":
        raise ValueError(f"unknown world {world!r}; known: miniature, real")
    return {_FILES[name][0]: list(_read(name, file)) for name, file in benchmark_files().items()}


def missing_files(worlds: Iterable[str], needed: bool = False) -> list[str]:
    """Return the benchmarks' files, below the data folder, that are missing; the miniature's benchmarks need none.

    Args:
        needed: Whether rows are to be thrown out by what they share with a benchmark.

    Raises:
        FileNotFoundError: If that is needed and no real benchmark is there, so that nothing could be compared.
    """
    if "real" not in worlds:
        return []
    there = benchmark_files()
    missing = [f"eval/{file}.jsonl" for name, (_, file, _) in _FILES.items() if name not in there]
    if needed and not there:
        folder = paths.data() or paths.root() / "data"
        raise FileNotFoundError(
            f"no row can be compared with the benchmarks: expected {', '.join(missing)} in {folder}, found none "
            "of them; `make data` fetches them, and decontaminate=none keeps every row whatever it touches"
        )
    return missing


def benchmark_files() -> dict[str, Path]:
    """Return the files of the nine benchmarks that are in the data folder, by our names."""
    if (folder := paths.data()) is None:
        return {}
    files = {name: folder / "eval" / f"{file}.jsonl" for name, (_, file, _) in _FILES.items()}
    return {name: file for name, file in files.items() if file.is_file()}


def _read(name: str, file: Path) -> Iterator[Problem]:
    keys = _FILES[name][2]
    for number, row in enumerate(records.read_jsonl(file)):
        question = " ".join(str(row[key]).strip() for key in keys)
        listed = row.get("options") or row.get("choices")
        options = tuple(_LETTER.sub("", str(option)) for option in listed) if listed else None
        yield Problem(f"{name}/{number}", question, "", options, name)
