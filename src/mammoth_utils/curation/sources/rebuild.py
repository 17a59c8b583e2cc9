"""MathInstruct rebuilt from the primary sources; a source that is missing says what to download and where to put it.

``python -m mammoth_utils.curation.sources.rebuild`` lists what is there; with ``--fetch`` it downloads what the hub
has as one file.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.command_line import in_one_line
from mammoth_utils.curation.mathinstruct_rows import is_writable
from mammoth_utils.curation.sources import homes, hub_files, primary_formats
from mammoth_utils.curation.sources.download import known_hashes
from mammoth_utils.curation.sources.primary_formats import Reader
from mammoth_utils.curation.sources.registry import SOURCES, LoadedSource
from mammoth_utils.rationale import Problem, Rationale

_GSM8K = Reader("train/gsm8k_train.jsonl.gz", records.read_jsonl, primary_formats.gsm8k, 7473)
_MATH = Reader("train/math_train.jsonl.gz", records.read_jsonl, primary_formats.math, 7500)
_MATH_UNSOLVED = Reader("train/math_train_no_solution.jsonl", records.read_jsonl, primary_formats.math_unsolved)
_AQUA = (
    Reader("train/aqua_rat_train.json*", records.read_jsonl, primary_formats.aqua, 97_467),
    Reader("train/aqua_train_flan.tsv.gz", primary_formats.flan_lines, primary_formats.aqua_flan, 97_467,
           "FLAN's cleaned copy"),
)  # fmt: skip
_THEOREMQA = Reader(
    "eval/theoremqa.jsonl", records.read_jsonl, primary_formats.theoremqa, 800,
    "the set's 800 problems less those with a picture; a model trained on it has no score on TheoremQA",
)  # fmt: skip

# By source: forms in which it can lie in the data folder, the best first. Readers of one form add up.
READERS: dict[str, tuple[tuple[Reader, ...], ...]] = {
    "GSM8K (CoT)": ((_GSM8K,),),
    "GSM8K-RFT (CoT)": ((Reader("train/gsm8k_rft.jsonl*", primary_formats.rft_rows, primary_formats.rft),),),
    "AQuA-RAT (CoT)": tuple((reader,) for reader in _AQUA),
    "MATH (CoT)": ((_MATH,),),
    "TheoremQA (CoT)": ((_THEOREMQA,),),
    "Camel-Math (CoT)": ((Reader("train/camel_math.zip", primary_formats.zipped, primary_formats.camel, 50_000),),),
    "College-Math (CoT)": (),
    "GSM8K (PoT)": ((_GSM8K,),),
    "AQuA-RAT (PoT)": tuple((reader,) for reader in _AQUA),
    "MATH (PoT)": ((_MATH, _MATH_UNSOLVED),),
    "TheoremQA (PoT)": ((_THEOREMQA,),),
    "MathQA (PoT)": (
        (Reader("train/lila_mathqa_*.jsonl*", primary_formats.lila_rows, primary_formats.lila, 0,
                "the train splits of the categories that are there, of six (gain, general, geometry, other, physics, "
                "probability)"),),
    ),
    "NumGLUE (PoT)": (
        (Reader("train/lila_numglue_*.jsonl*", primary_formats.lila_rows, primary_formats.lila),),
        (Reader("train/numglue_pot_from_htl.jsonl.gz", records.read_jsonl, primary_formats.numglue_htl, 13_000,
                "MathInstruct's own programs, without gold answers: executed, not compared"),),
    ),
}  # fmt: skip
_BY_HAND = {
    "GSM8K-RFT (CoT)": "gsm8k-ScRel's JSON Lines of query and response",
    "AQuA-RAT (CoT)": "AQuA-RAT's train.json (39 MB) as aqua_rat_train.jsonl, or `make data` for FLAN's part of it",
    "MATH (CoT)": "JSON Lines of problem, level, type, solution, file from MATH's 7,500 training files",
    "TheoremQA (CoT)": "`make data` fetches it",
    "Camel-Math (CoT)": "the hub's math.zip; `python -m mammoth_utils.curation.sources.rebuild --fetch` fetches it",
    "GSM8K (CoT)": "`make data` fetches it",
    "MathQA (PoT)": "`make data` fetches the category gain; others of Lila's as lila_mathqa_<category>.jsonl",
    "NumGLUE (PoT)": "`make data` fetches 4,370 programs; Lila's as lila_numglue_<type>.jsonl, which have golds",
}
FETCHED = {"Camel-Math (CoT)": "train/camel_math.zip"}  # whole files of the hub that readers take as they are
_AGAIN = "No row of this source is used; put the whole file there (`make data` fetches those that it knows)"
_TEACHER = (
    "its rationales are written by a teacher: give teacher=<base URL of an OpenAI-compatible endpoint> and "
    "teacher_model, or take them from the release: dataset=release"
)


def data_folder() -> Path:
    """Return the data folder, or where it would be."""
    return paths.data() or paths.root() / "data"


def available(name: str, folder: Path) -> tuple[tuple[Reader, ...], list[Path]]:
    """Return the best form of a source that is there, and its files; two empty sequences where none is."""
    for form in READERS[name]:
        files = [file for reader in form for file in reader.files(folder)]
        if form[0].files(folder):
            return form, files
    return (), []


def rows(name: str, form: tuple[Reader, ...], folder: Path) -> Iterator[Rationale | Problem]:
    """Yield the rationales and problems that a source's files hold, file after file.

    Raises:
        DamagedError: If a file is cut, or a row has not the form that the source has, naming file and row.
    """
    for reader in form:
        for path in reader.files(folder):
            for number, raw in primary_formats.numbered(path, reader.rows(path)):
                with primary_formats.at(path, number):
                    row = _checked(reader.convert(raw, number - 1, name))
                if row is not None:
                    yield row


def _checked(row: primary_formats.Converted) -> primary_formats.Converted:
    """Return a converted row, or raise TypeError if one of its texts is of another type, naming which."""
    if row is None:
        return None
    problem = row.problem if isinstance(row, Rationale) else row
    texts = {"question": problem.question, "gold": problem.gold, "field": problem.field, "family": problem.family}
    texts |= {"rationale": row.text} if isinstance(row, Rationale) else {}
    texts |= {f"option {number}": text for number, text in enumerate(problem.options or (), 1)}
    if odd := next((name for name, text in texts.items() if not isinstance(text, str)), ""):
        raise TypeError(f"expected text as {odd}, got {type(texts[odd]).__name__}")
    return row


def load_source(name: str, teacher: bool = True) -> LoadedSource:
    """Return one source from its primary files; ``missing`` says what to do where that cannot be.

    A source with a damaged file is missing as a whole, with the file and the row, so that the others can go on.

    Args:
        teacher: Whether a teacher can be asked; without one, teacher-written sources are missing.
    """
    source, folder = SOURCES[name], data_folder()
    if source.new and not teacher:
        return LoadedSource(source, name, missing=_TEACHER)
    form, files = available(name, folder)
    if READERS[name] and not files:
        return LoadedSource(source, name, missing=_what_to_do(name, folder))
    loaded = LoadedSource(source, name)
    if not READERS[name]:  # College-Math has no primary source: the teacher makes its problems up
        loaded.to_write = source.rows_paper
    unasked = 0
    try:
        for row in rows(name, form, folder):
            problem = row.problem if isinstance(row, Rationale) else row
            # Without a gold nothing can be compared, so such a problem is not worth a request.
            if source.new and problem.gold:
                writable = is_writable(problem)
                unasked += not writable
                loaded.problems += [problem] if writable else []
            elif not source.new and isinstance(row, Rationale):
                loaded.rationales.append(row)
    except primary_formats.DamagedError as error:
        return LoadedSource(source, name, missing=f"damaged: {error}. {_AGAIN}")
    loaded.files = {file.relative_to(folder).as_posix(): records.sha256(file) for file in files}
    notes = [f"{unasked:,} problems with broken characters are not asked"] if unasked else []
    notes += _other_content(form, folder)
    loaded.notes = "; ".join([*filter(None, [_note(loaded, form)]), *notes])
    return loaded


def _other_content(form: tuple[Reader, ...], folder: Path) -> list[str]:
    """Return a line for each file whose content is not the one of ``public_files.yaml``."""
    lines = []
    for path in (path for reader in form for path in reader.files(folder)):
        expected = known_hashes().get(path.relative_to(folder).as_posix())
        if expected and (sha256 := _sha256_of_content(path)) != expected:
            lines.append(f"{path.name} is not the file that is known here: content with SHA-256 {sha256}, "
                         f"expected {expected}")  # fmt: skip
    return lines


def _sha256_of_content(path: Path) -> str:
    """Return the SHA-256 of a file's content, uncompressed."""
    if path.suffix != ".gz":
        return records.sha256(path)
    with gzip.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(loaded: LoadedSource, form: tuple[Reader, ...]) -> str:
    """Return how much of the source this is."""
    count, full = len(loaded.rationales) + len(loaded.problems), form[0].full if form else 0
    parts = [f"{count:,} of {full:,} rows"] if full and count < full else []
    return "; ".join([*parts, *(reader.note for reader in form if reader.note)])


def _what_to_do(name: str, folder: Path) -> str:
    """Return what to download and where to put it."""
    source, pattern = SOURCES[name], READERS[name][0][0].pattern
    how = _BY_HAND.get(name) or _BY_HAND[name.replace("(PoT)", "(CoT)")]
    nowhere = "" if len(source.places) > 1 else f" ({homes.NONE})"
    places = ", or ".join(map(str, source.places[:2]))
    tail = "; the release has the paper's rows: dataset=release" if homes.MATHINSTRUCT in source.homes else ""
    return f"no {pattern} in {folder.name}/. It lives at {places}{nowhere}. Put there: {how}{tail}"


def fetch(say: Callable[[str], None] = print) -> int:
    """Fetch the files of the hub that readers take as they are; return how many could not be had."""
    failed = 0
    for name, file in FETCHED.items():
        target = data_folder() / file
        if target.is_file():
            say(f"{file}: there")
            continue
        try:
            home = SOURCES[name].homes[0]
            origin = hub_files.fetch_home(home, target)
            say(f"{file}: fetched from {home.name} at {origin.revision}")
        except OSError as error:
            failed += 1
            say(f"{file}: FAILED: {error}")
    return failed


@in_one_line("not listed")
def main(arguments: Sequence[str] | None = None) -> int:
    """Say what of each source is there; return 1 if something was to be fetched and could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.sources.rebuild", description="What of each source of Table 1 is there."
    )
    parser.add_argument("--fetch", action="store_true", help="download what the hub has as one file")
    failed = fetch() if parser.parse_args(arguments).fetch else 0
    for name in SOURCES:
        loaded = load_source(name)
        count = len(loaded.rationales) + len(loaded.problems) + loaded.to_write
        what = "rationales" if loaded.rationales else "problems for a teacher"
        print(f"{name}: {loaded.missing or f'{count:,} {what}' + (f' ({loaded.notes})' if loaded.notes else '')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
