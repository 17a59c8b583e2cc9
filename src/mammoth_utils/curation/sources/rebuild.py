"""MathInstruct from the primary sources: what is there is read, the rest says what to download and where to put it.

``python -m mammoth_utils.curation.sources.rebuild`` lists what is there; with ``--fetch`` it downloads what the hub has whole.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.curation.sources import homes, raw_rows
from mammoth_utils.curation.sources import registry as table_one
from mammoth_utils.curation.sources.raw_rows import Reader
from mammoth_utils.curation.sources.registry import SOURCES, Loaded
from mammoth_utils.rationale import Problem, Rationale

_GSM8K = Reader(
    "train/gsm8k_train.jsonl.gz", records.read_jsonl, raw_rows.gsm8k, 7473,
    (("gsm8k_train.jsonl.gz", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465"),),
)  # fmt: skip
_MATH = Reader(
    "train/math_train.jsonl.gz", records.read_jsonl, raw_rows.math, 7500,
    (("math_train.jsonl.gz", "c173dda0b535bf808488c8aadbb4e75ef4917d9ed3dfed66493fcb026451dd01"),),
)  # fmt: skip
_MATH_UNSOLVED = Reader("train/math_train_no_solution.jsonl", records.read_jsonl, raw_rows.math_unsolved)
_AQUA = (
    Reader("train/aqua_rat_train.json*", records.read_jsonl, raw_rows.aqua, 97_467),
    Reader("train/aqua_train_flan.tsv.gz", raw_rows.flan_lines, raw_rows.aqua_flan, 97_467,
           (("aqua_train_flan.tsv.gz", "2e43bd7900e739a78d7b7b7444e19bae4259399327eb76b78a30f4e4fb7dfdda"),),
           "FLAN's cleaned copy"),
)  # fmt: skip
_THEOREMQA = Reader(
    "eval/theoremqa.jsonl", records.read_jsonl, raw_rows.theoremqa, 800,
    (("theoremqa.jsonl", "0cd57c45c9af462eeb2282d1383fd69cf70664367fa3fce10176c3d648272cbb"),),
    "the set's 800 problems less those with a picture; a model trained on it has no score on TheoremQA",
)  # fmt: skip

# By source: forms in which it can lie in the data folder, the best first. Readers of one form add up.
READERS: dict[str, tuple[tuple[Reader, ...], ...]] = {
    "GSM8K (CoT)": ((_GSM8K,),),
    "GSM8K-RFT (CoT)": ((Reader("train/gsm8k_rft.jsonl*", raw_rows.rft_rows, raw_rows.rft),),),
    "AQuA-RAT (CoT)": tuple((reader,) for reader in _AQUA),
    "MATH (CoT)": ((_MATH,),),
    "TheoremQA (CoT)": ((_THEOREMQA,),),
    "Camel-Math (CoT)": ((Reader("train/camel_math.zip", raw_rows.zipped, raw_rows.camel, 50_000),),),
    "College-Math (CoT)": (),
    "GSM8K (PoT)": ((_GSM8K,),),
    "AQuA-RAT (PoT)": tuple((reader,) for reader in _AQUA),
    "MATH (PoT)": ((_MATH, _MATH_UNSOLVED),),
    "TheoremQA (PoT)": ((_THEOREMQA,),),
    "MathQA (PoT)": (
        (Reader("train/lila_mathqa_*.jsonl*", raw_rows.lila_rows, raw_rows.lila, 0,
                (("lila_mathqa_gain.jsonl.gz", "2a8f7374847e9f8a68c820bd76f0499163fa0892a4be8a29804748060b2c1b26"),),
                "the train splits of the categories that are there, of six (gain, general, geometry, other, physics, "
                "probability)"),),
    ),
    "NumGLUE (PoT)": (
        (Reader("train/lila_numglue_*.jsonl*", raw_rows.lila_rows, raw_rows.lila),),
        (Reader("train/numglue_pot_from_htl.jsonl.gz", records.read_jsonl, raw_rows.numglue_htl, 13_000,
                (("numglue_pot_from_htl.jsonl.gz",
                  "156c01184cc72dfa084b2e4f7f4398fb445a8066a7b709f7d0946a90463c1003"),),
                "MathInstruct's own programs, without gold answers: executed, not compared"),),
    ),
}  # fmt: skip
_BY_HAND = {
    "GSM8K-RFT (CoT)": "gsm8k-ScRel's JSON Lines of query and response",
    "AQuA-RAT (CoT)": "AQuA-RAT's train.json (39 MB) as aqua_rat_train.jsonl, or `make data` for FLAN's part of it",
    "MATH (CoT)": "JSON Lines of problem, level, type, solution, file from MATH's 7,500 training files",
    "TheoremQA (CoT)": "`make data` fetches it",
    "Camel-Math (CoT)": "the hub's math.zip; `python -m mammoth_utils.curation.sources.rebuild --fetch` tries to fetch it",
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
    """The data folder, or where it would be."""
    return paths.data() or paths.root() / "data"


def available(name: str, folder: Path) -> tuple[tuple[Reader, ...], list[Path]]:
    """The best form of a source that is there, and its files; nothing where none is."""
    for form in READERS[name]:
        files = [file for reader in form for file in reader.files(folder)]
        if form[0].files(folder):
            return form, files
    return (), []


def rows(name: str, form: tuple[Reader, ...], folder: Path) -> Iterator[Rationale | Problem]:
    """The rationales and problems that a source's files hold, file after file.

    Raises:
        DamagedError: If a file is cut, or a row has not the form that the source has, naming file and row.
    """
    for reader in form:
        for path in reader.files(folder):
            for number, raw in raw_rows.numbered(path, reader.rows(path)):
                with raw_rows.at(path, number):
                    made = _checked(reader.convert(raw, number - 1, name))
                if made is not None:
                    yield made


def _checked(made: raw_rows.Made) -> raw_rows.Made:
    """What a row function made.

    Raises:
        TypeError: If a text of it is none, naming which.
    """
    if made is None:
        return None
    problem = made.problem if isinstance(made, Rationale) else made
    texts = {"question": problem.question, "gold": problem.gold, "field": problem.field, "family": problem.family}
    texts |= {"rationale": made.text} if isinstance(made, Rationale) else {}
    texts |= {f"option {number}": text for number, text in enumerate(problem.options or (), 1)}
    if odd := next((name for name, text in texts.items() if not isinstance(text, str)), ""):
        raise TypeError(f"expected text as {odd}, got {type(texts[odd]).__name__}")
    return made


def load(name: str, teacher: bool = True) -> Loaded:
    """One source from its primary files; ``missing`` says what to do where that cannot be.

    A source with a damaged file is missing as a whole, with the file and the row, so that the others can go on.

    Args:
        name: The paper's name.
        teacher: Whether a teacher can be asked; without one, teacher-written sources are missing.
    """
    source, folder = SOURCES[name], data_folder()
    if source.new and not teacher:
        return Loaded(source, name, missing=_TEACHER)
    form, files = available(name, folder)
    if READERS[name] and not files:
        return Loaded(source, name, missing=_what_to_do(name, folder))
    loaded = Loaded(source, name)
    if not READERS[name]:  # College-Math has no primary source: the teacher makes its problems up
        loaded.wanted = source.rows_paper
    unasked = 0
    try:
        for made in rows(name, form, folder):
            problem = made.problem if isinstance(made, Rationale) else made
            # Without a gold nothing can be compared, so such a problem is not worth a request.
            if source.new and problem.gold:
                writable = table_one.writable(problem)
                unasked += not writable
                loaded.problems += [problem] if writable else []
            elif not source.new and isinstance(made, Rationale):
                loaded.rationales.append(made)
    except raw_rows.DamagedError as error:
        return Loaded(source, name, missing=f"damaged: {error}. {_AGAIN}")
    loaded.files = {file.relative_to(folder).as_posix(): records.sha256(file) for file in files}
    told = [f"{unasked:,} problems with broken characters are not asked"] if unasked else []
    told += _other_content(form, folder)
    loaded.notes = "; ".join([*filter(None, [_note(loaded, form)]), *told])
    return loaded


def _other_content(form: tuple[Reader, ...], folder: Path) -> list[str]:
    """Files whose content is not the one that is known here, with what was expected."""
    told = []
    for reader in form:
        known = dict(reader.sha256)
        for path in reader.files(folder):
            if (wanted := known.get(path.name)) and (found := _sha256_of_content(path)) != wanted:
                told.append(f"{path.name} is not the file that is known here: content with SHA-256 {found}, "
                            f"expected {wanted}")  # fmt: skip
    return told


def _sha256_of_content(path: Path) -> str:
    """The SHA-256 of a file's content, uncompressed."""
    if path.suffix != ".gz":
        return records.sha256(path)
    digest = hashlib.sha256()
    with gzip.open(path) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _note(loaded: Loaded, form: tuple[Reader, ...]) -> str:
    """How much of the source this is."""
    count, full = len(loaded.rationales) + len(loaded.problems), form[0].full if form else 0
    parts = [f"{count:,} of {full:,} rows"] if full and count < full else []
    return "; ".join([*parts, *(reader.note for reader in form if reader.note)])


def _what_to_do(name: str, folder: Path) -> str:
    """What to download and where to put it."""
    source, pattern = SOURCES[name], READERS[name][0][0].pattern
    homes_ = [home for home in source.homes if home.place != "teacher"]
    how = _BY_HAND.get(name) or _BY_HAND[name.replace("(PoT)", "(CoT)")]
    nowhere = "" if len(homes_) > 1 else f" ({homes.NONE})"
    places = ", or ".join(f"{home}" for home in homes_[:2])
    tail = "; the release has the paper's rows: dataset=release" if homes.MATHINSTRUCT in source.homes else ""
    return f"no {pattern} in {folder.name}/. It lives at {places}{nowhere}. Put there: {how}{tail}"


def fetch(say: Callable[[str], None] = print) -> int:
    """Fetch the files of the hub that readers take as they are; how many could not be had.

    Args:
        say: Called with a line for each file.
    """
    failed = 0
    for name, file in FETCHED.items():
        target = data_folder() / file
        if target.is_file():
            say(f"{file}: there")
            continue
        try:
            told = homes.fetch(SOURCES[name].homes[0], target)
            say(f"{file}: fetched from {told['name']} at {told['revision']}")
        except OSError as error:
            failed += 1
            say(f"{file}: FAILED: {error}")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what of each source is there; 1 if something was to be fetched and could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.sources.rebuild", description="What of each source of Table 1 is there."
    )
    parser.add_argument("--fetch", action="store_true", help="download what the hub has as one file")
    failed = fetch() if parser.parse_args(arguments).fetch else 0
    for name in SOURCES:
        loaded = load(name)
        count = len(loaded.rationales) + len(loaded.problems) + loaded.wanted
        what = "rationales" if loaded.rationales else "problems for a teacher"
        print(f"{name}: {loaded.missing or f'{count:,} {what}' + (f' ({loaded.notes})' if loaded.notes else '')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
