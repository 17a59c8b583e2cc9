"""The benchmarks: the paper's nine and TheoremQA from files, the miniature's nine from its world."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import licences, paths, records
from mammoth_utils.rationale import LETTERS, Problem
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import FILE_NAMES, MINI, NAMESAKES, NINE, check_known

OWN = "own"  # the world of a reader's own benchmark, which stands beside no published figure
GOLDEN = (5**0.5 - 1) / 2
SPLITS = {"miniature": ("test", "dev"), "real": ("test",), OWN: ("test",)}  # on "dev" alone anything is chosen


@dataclass(frozen=True)
class Benchmark:
    """An evaluation set, as it is known before it is opened.

    Attributes:
        name: Ours, such as ``mmlu_math`` or ``mini-mmlu``.
        in_domain: Whether its training split is in the mixture (the paper's section 3.1).
        choice: Whether the paper asks it as multiple choice; NumGLUE's option questions are asked as open ones.
        size: Problems in its test split.
        file: Its file below ``eval/`` of the data folder, or a reader's own; empty for the miniature.
        rules: The benchmark whose grading rules apply; a miniature set is graded as its namesake.
        world: ``"real"``, ``"miniature"`` or ``OWN``.
    """

    name: str
    paper_name: str
    in_domain: bool
    choice: bool
    size: int
    file: str = ""
    rules: str = ""
    world: str = "real"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", self.rules or self.name)


_REAL = (
    Benchmark("gsm8k", "GSM8K", True, False, 1319, "gsm8k.jsonl"),
    Benchmark("math", "MATH", True, False, 5000, "math.jsonl"),
    Benchmark("aqua", "AQuA", True, True, 254, "aqua.jsonl"),
    Benchmark("numglue", "NumGLUE", True, False, 1042, "numglue.jsonl"),
    Benchmark("svamp", "SVAMP", False, False, 1000, "svamp.jsonl"),
    Benchmark("mathematics", "Mathematics", False, False, 1000, "deepmind.jsonl"),
    Benchmark("simuleq", "SimulEq", False, False, 514, "simuleq.jsonl"),
    Benchmark("sat", "SAT-Math", False, True, 220, "sat.jsonl"),
    Benchmark("mmlu_math", "MMLU-Math", False, True, 974, "mmlu_mathematics.jsonl"),
    Benchmark("theoremqa", "TheoremQA", False, False, 800, "theoremqa.jsonl"),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _REAL}
ALIASES = {**FILE_NAMES, "mmlu": "mmlu_math"}


@functools.cache
def of_world(world: str) -> dict[str, Benchmark]:
    """Return the nine benchmarks of a world by name in the paper's order, and TheoremQA last where the world has it.

    Raises:
        ValueError: If the world is unknown.
    """
    check_known("world", world, ("miniature", "real"))
    if world == "real":
        return BENCHMARKS
    from mammoth_utils.miniature import benchmarks as miniature

    return {
        name: Benchmark(name, mini.paper_name, mini.in_domain, mini.choice, 200, "", NAMESAKES[name], world)
        for name, mini in miniature.BENCHMARKS.items()
    }


def names(world: str) -> tuple[str, ...]:
    """Return the names of a world's benchmarks, in the order of ``of_world``."""
    return tuple(of_world(world))


def find(name: str) -> Benchmark | None:
    """Return what is known of a benchmark of either world, or None; the files' own names count as aliases."""
    name = ALIASES.get(name, name)
    return of_world("miniature" if name.startswith(MINI) else "real").get(name)


def info(name: str) -> Benchmark:
    """Return what is known of a benchmark, as ``find`` does.

    Raises:
        ValueError: If it is unknown, with the nearest name and the choices.
    """
    if (benchmark := find(name)) is not None:
        return benchmark
    known = names("miniature" if name.startswith(MINI) else "real")
    near = difflib.get_close_matches(name, [*known, *ALIASES], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown benchmark {name!r}{hint} known: {', '.join(known)}")


def paper_name(name: str) -> str:
    """Return the paper's name of a benchmark, with ``mini-`` before a miniature's; an unknown set keeps its own."""
    known = find(name)
    return name if known is None else f"{MINI if known.world == 'miniature' else ''}{known.paper_name}"


def resolve(listed: str | Sequence[str], world: str) -> tuple[str, ...]:
    """Return the benchmarks that a page's parameter names, in the paper's order and each once.

    Args:
        listed: ``"all"`` (the world's nine) or names joined by commas, or a sequence of names.
        world: ``"miniature"`` or ``"real"``.

    Raises:
        ValueError: If a name is unknown, belongs to the other world, or none is given.
    """
    known = names(world)
    listed = listed.split(",") if isinstance(listed, str) else listed
    listed = [name.strip() for name in listed if name.strip()]
    if listed == ["all"]:
        return NINE if world == "real" else known
    if not listed:
        raise ValueError(f"no benchmark named; expected 'all' or some of {', '.join(known)}")
    chosen = set()
    for name in listed:
        benchmark = info(name)
        if benchmark.world != world:
            other = f"{MINI}{name}" if world == "miniature" else name.removeprefix(MINI)
            near = f" did you mean {other!r}?" if other in known else ""
            raise ValueError(f"{name!r} is a {benchmark.world} benchmark, the model is of the {world} world;{near}"
                             f" known there: {', '.join(known)}")  # fmt: skip
        chosen.add(benchmark.name)
    return tuple(name for name in known if name in chosen)


def load(name: str, split: str = "test", limit: int = 0, data_dir: Path | str | None = None) -> list[Problem]:
    """Load the problems of a benchmark, in its file's order.

    Args:
        name: One of ``BENCHMARKS``, or a ``mini-`` name.
        split: ``"test"``; the miniature has ``"dev"`` too, on which alone anything is chosen.
        limit: At most so many, as ``thinned`` takes them; 0 for all.
        data_dir: Folder of real data; None takes ``MAMMOTH_DATA_DIR``, else ``data/``.

    Raises:
        ValueError: If name, split or limit is unknown, or a row has not the form that its file should have.
        FileNotFoundError: If the data is not there, naming the command that fetches it.
    """
    benchmark = info(name)
    if limit < 0:
        raise ValueError(f"limit is {limit}; expected 0 for all problems, or a positive number")
    if split not in SPLITS[benchmark.world]:
        raise ValueError(f"{benchmark.name} has no split {split!r}; known: {', '.join(SPLITS[benchmark.world])}")
    if benchmark.world == "miniature":
        from mammoth_utils.miniature import benchmarks as miniature

        return thinned(list(miniature.load(benchmark.name, split)), limit)
    path, read = file(benchmark.name, data_dir), _READERS[benchmark.name]
    problems = []
    for number, row in enumerate(records.read_jsonl(path)):
        try:
            fields = read(row)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}, row {number + 1} has not the form of {benchmark.name}: {error!r}") from error
        problems.append(Problem(id=f"{benchmark.name}/{number}", set=benchmark.name, **fields))
    return thinned(problems, limit)


def file(name: str, data_dir: Path | str | None = None) -> Path:
    """Return the file of a real benchmark.

    Raises:
        FileNotFoundError: If the folder or the file is not there, naming ``make data`` and ``MAMMOTH_DATA_DIR``.
    """
    benchmark = info(name)
    if not benchmark.file:
        raise ValueError(f"{name} is generated and has no file")
    folder = Path(data_dir) if data_dir is not None else paths.data()
    path = folder / "eval" / benchmark.file if folder is not None else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"expected the {benchmark.size} problems of {benchmark.paper_name} in "
            f"{path or 'data/eval/' + benchmark.file}, which is not there; "
            "`make data` fetches them, or set MAMMOTH_DATA_DIR to a folder that holds eval/"
        )
    return path


@dataclass(frozen=True)
class Quotation:
    """The problems of a real benchmark, as far as a page may show them.

    Attributes:
        problems: Its problems by id; empty where they may not be shown, or their file is not here.
        licences: Of its file.
        home: The address of the file.
        withheld: Why there are no problems; empty where there are.
        withheld_in_part: Why some of the problems are missing; empty where none is.
    """

    problems: dict[str, Problem]
    licences: tuple[str, ...]
    home: str
    withheld: str = ""
    withheld_in_part: str = ""


def quote(name: str, data_dir: Path | str | None = None) -> Quotation:
    """Return the problems of a real benchmark that its licence lets others show, if its file is here.

    A licence that somebody contests lets nothing be shown, see :func:`licences.may_be_shown`.
    """
    from mammoth_utils.curation import public_files

    place = f"eval/{info(name).file}"
    of = licences.of_file(place)
    home = next((item.parts[0].homes[0] for item in public_files() if item.name == place), "")
    if not licences.may_be_quoted(of):
        return Quotation({}, of, home, f"licence: {', '.join(of) or 'none listed'}")
    contest, fields = licences.contest_of_file(place) or (None, [])
    contested = f"licence: {', '.join(of)}, contested by {contest.by}" if contest else ""
    if contest and not fields:
        return Quotation({}, of, home, contested)
    try:
        problems = load(name, data_dir=data_dir)
    except FileNotFoundError:
        return Quotation({}, of, home, "its file was not on the machine that made this page")
    shown = {problem.id: problem for problem in problems if licences.may_be_shown(place, problem.field)}
    return Quotation(shown, of, home, "", f"{', '.join(fields)}, {contested}" if contest else "")


def thinned(problems: list[Problem], limit: int) -> list[Problem]:
    """Return at most ``limit`` problems in their order, spread evenly; all of them for 0.

    A larger limit's problems contain a smaller one's, so that a run is made larger without asking anything twice.
    """
    if not limit or limit >= len(problems):
        return problems
    chosen: set[int] = set()
    place = 0.5
    while len(chosen) < limit:  # multiples of the golden ratio lie evenly at every length
        chosen.add(int(place * len(problems)))
        place = (place + GOLDEN) % 1.0
    return [problems[index] for index in sorted(chosen)]


def _gsm8k(row: Record) -> Record:
    # The authors' loader drops the commas of "2,125" too.
    return {"question": row["question"].strip(), "gold": row["answer"].rsplit("#### ", 1)[1].replace(",", "").strip()}


def _math(row: Record) -> Record:
    subject = row["type"].lower()
    family = f"{subject}, {row['level'].lower()}" if row.get("level") else subject
    return {"question": row["problem"], "gold": boxed(row["solution"]), "field": subject, "family": family}


def _aqua(row: Record) -> Record:
    options = []
    for letter, text in zip(LETTERS, row["options"], strict=False):
        if not text.startswith(f"{letter})"):
            raise KeyError(f"option {text!r} does not begin with '{letter})'")
        # The authors' loader sets a space around every parenthesis of the options; so do the training rows.
        options.append(text[2:].replace("(", " (").replace(")", ") "))
    return {"question": row["question"].strip(), "gold": row["correct"], "options": tuple(options)}


def _numglue(row: Record) -> Record:
    kind = row["type"].lower().replace("_", " ")
    return {**_with_embedded_options(row["question"]), "gold": str(row["answer"]), "family": kind}


def _svamp(row: Record) -> Record:
    gold = str(row["Answer"])
    kind = row["Type"].lower().replace("divison", "division")  # one row of the release is spelt so
    question = f"{row['Body'].strip()} {row['Question'].strip()}"
    return {"question": question, "gold": gold.removesuffix(".0"), "field": "arithmetic", "family": kind}


def _plain(row: Record) -> Record:
    return {"question": row["question"], "gold": str(row["answer"])}


def _sat(row: Record) -> Record:
    fields = _with_embedded_options(row["question"])
    if fields["options"] is None:
        raise KeyError(f"no options in {row['question'][-80:]!r}")
    return {**fields, "gold": row["answer"]}


def _mmlu(row: Record) -> Record:
    subject = row["subject"].replace("_", " ")
    fields = {"question": row["question"], "options": tuple(map(str, row["choices"]))}
    return {**fields, "gold": LETTERS[row["answer"]], "field": subject, "family": subject}


def _theoremqa(row: Record) -> Record:
    about = {"field": row["field"].lower(), "family": row["subfield"].lower()}
    return {"question": row["Question"], "gold": str(row["Answer"]), **about}


# By file, what reads a row as the fields of a Problem.
_READERS: dict[str, Callable[[Record], Record]] = {
    "gsm8k": _gsm8k, "math": _math, "aqua": _aqua, "numglue": _numglue, "svamp": _svamp, "mathematics": _plain,
    "simuleq": _plain, "sat": _sat, "mmlu_math": _mmlu, "theoremqa": _theoremqa,
}  # fmt: skip

_MARKER = re.compile(r"\(([A-J])\) ?")


def _with_embedded_options(text: str) -> Record:
    """Return question and options of a text that ends in ``Answer Choices: (A) ... (B) ...``, else options None.

    The parts put together again by ``Problem.instruction`` are the text, byte for byte: a text for which they
    would not be stays whole, since the prompt must be the one that the authors' loader makes.
    """
    question, separator, listed = text.rpartition("\nAnswer Choices: ")
    marks = list(_in_order(listed)) if separator else []
    if len(marks) < 2 or marks[0].start():
        return {"question": text, "options": None}
    ends = [mark.start() for mark in marks[1:]] + [len(listed)]
    options = tuple(listed[mark.end() : end] for mark, end in zip(marks, ends, strict=True))
    options = (*(option.removesuffix(" ") for option in options[:-1]), options[-1])
    rebuilt = Problem("embedded", question, "", options).instruction
    return {"question": question, "options": options} if rebuilt == text else {"question": text, "options": None}


def _in_order(listed: str) -> Iterator[re.Match[str]]:
    """Yield the markers (A), (B), ... that come in alphabetical order; others belong to an option's text."""
    expected = 0
    for mark in _MARKER.finditer(listed):
        if expected < len(LETTERS) and mark[1] == LETTERS[expected]:
            expected += 1
            yield mark


def boxed(solution: str) -> str:
    r"""Return the text in the last ``\boxed`` of a solution, with or without braces; the reference answer of MATH.

    Raises:
        KeyError: If there is none.
    """
    boxes = list(re.finditer(r"\\(?:fbox|boxed)(?![A-Za-z])", solution))
    if not boxes:
        raise KeyError(f"no \\boxed in {solution[-80:]!r}")
    rest = solution[boxes[-1].end() :].lstrip()
    if not rest.startswith("{"):
        return re.split(r"\$|\\\)|\\\]|\n", rest, maxsplit=1)[0].strip().rstrip(".")
    depth = 0
    for position, sign in enumerate(rest):
        escaped = position and rest[position - 1] == "\\"
        depth += (sign == "{") - (sign == "}") if not escaped else 0
        if depth == 0 and not escaped and sign == "}":
            return rest[1:position].strip()
    return rest[1:].strip()
