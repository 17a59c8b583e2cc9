"""Which training questions stand in a benchmark: word for word, by shared runs of words, or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mammoth_utils import paths, records
from mammoth_utils.curation.filters import Dropped, NearIndex, Split, normalised, tokens
from mammoth_utils.rationale import Problem, Rationale

WINDOWS = (8, 13)  # words in a row: open-r1 takes 8, the GPT-3 report 13
SHORT = 8  # a question of fewer words ("Which of these is true?") is compared together with its options
_OPTIONS = "\nAnswer Choices:"

# file below the data folder's eval/, and the keys that make up the question
_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "GSM8K": ("gsm8k", ("question",)),
    "MATH": ("math", ("problem",)),
    "AQuA-RAT": ("aqua", ("question",)),
    "NumGLUE": ("numglue", ("question",)),
    "SVAMP": ("svamp", ("Body", "Question")),
    "Mathematics": ("deepmind", ("question",)),
    "SimulEq": ("simuleq", ("question",)),
    "SAT-Math": ("sat", ("question",)),
    "MMLU-Math": ("mmlu_mathematics", ("question",)),
}
NAMES = tuple(_FILES)


def questions(world: str) -> dict[str, list[Problem]]:
    """The test questions of the nine benchmarks; a real one whose file is not there is left out.

    Args:
        world: ``"miniature"`` or ``"real"``.

    Raises:
        ValueError: If the world is unknown.
    """
    if world == "miniature":
        from mammoth_utils.miniature import benchmarks

        return {name: list(benchmarks.load(name, "test")) for name in benchmarks.BENCHMARKS}
    if world != "real":
        raise ValueError(f"unknown world {world!r}; known: miniature, real")
    folder = paths.data()
    if folder is None:
        return {}
    files = {name: folder / "eval" / f"{file}.jsonl" for name, (file, _) in _FILES.items()}
    return {name: list(_read(name, file)) for name, file in files.items() if file.is_file()}


def _read(name: str, file) -> Iterable[Problem]:
    keys = _FILES[name][1]
    for number, row in enumerate(records.read_jsonl(file)):
        question = " ".join(str(row[key]).strip() for key in keys)
        listed = row.get("options") or row.get("choices")
        options = tuple(map(str, listed)) if listed else None
        yield Problem(f"{name}/{number}", question, "", options, name)


def stem(problem: Problem) -> str:
    """What is compared of a problem: its question, without options unless it is too short to be one."""
    question = problem.question.split(_OPTIONS)[0]
    return question if len(tokens(question)) >= SHORT else problem.instruction


@dataclass(frozen=True)
class Overlap:
    """How much of one source stands in one benchmark.

    Attributes:
        source: Name of the source.
        benchmark: Name of the benchmark.
        rows: Rows of the source.
        questions: Questions of the benchmark.
        equal_rows: Rows whose normalised question equals one of the benchmark's.
        equal_questions: Questions of the benchmark that some row equals.
        near_rows: Further rows with the same numbers and nearly the same words as a question.
        ngram_rows: For each window, rows that share a run of so many words with a question, equal ones included.
    """

    source: str
    benchmark: str
    rows: int
    questions: int
    equal_rows: int
    equal_questions: int
    near_rows: int
    ngram_rows: dict[int, int]

    def as_dict(self) -> dict:
        """The overlap as a record keeps it, a column for each window."""
        plain = {key: value for key, value in vars(self).items() if key != "ngram_rows"}
        return {**plain, **{f"ngram_{window}_rows": count for window, count in self.ngram_rows.items()}}


class Index:
    """The questions of some benchmarks, ready to be looked up.

    Args:
        benchmarks: Problems by benchmark.
        windows: Lengths of the runs of words that are compared.
    """

    def __init__(self, benchmarks: dict[str, list[Problem]], windows: Sequence[int] = WINDOWS) -> None:
        self.benchmarks, self.windows = benchmarks, tuple(windows)
        self.equal: dict[str, dict[str, list[str]]] = {}
        self.runs: dict[str, dict[int, set[tuple[str, ...]]]] = {}
        self.near: NearIndex[str] = NearIndex()
        for name, problems in benchmarks.items():
            self.equal[name] = defaultdict(list)
            self.runs[name] = {window: set() for window in self.windows}
            for problem in problems:
                self.equal[name][normalised(stem(problem))].append(problem.id)
                words = tokens(stem(problem))
                self.near.add(problem.id, words, name)
                for window in self.windows:
                    self.runs[name][window] |= _runs(words, window)

    def equals(self, question: str) -> list[tuple[str, str]]:
        """(benchmark, problem id) of every benchmark question that a normalised question equals."""
        return [(name, found) for name, known in self.equal.items() for found in known.get(question, ())]

    def overlaps(self, source: str, rows: Sequence[Rationale]) -> list[Overlap]:
        """What one source shares with each benchmark."""
        cut = [tokens(stem(row.problem)) for row in rows]
        plain = [" ".join(words) for words in cut]
        own_runs = {window: [_runs(words, window) for words in cut] for window in self.windows}
        found = []
        for name, problems in self.benchmarks.items():
            equal = [question in self.equal[name] for question in plain]
            hit = {
                known
                for question, same in zip(plain, equal, strict=True)
                if same
                for known in self.equal[name][question]
            }
            others = [words for words, same in zip(cut, equal, strict=True) if not same]
            ngrams = {w: sum(not r.isdisjoint(self.runs[name][w]) for r in own_runs[w]) for w in self.windows}
            near = sum(next(self.near.find(words, name), None) is not None for words in others)
            found.append(Overlap(source, name, len(rows), len(problems), sum(equal), len(hit), near, ngrams))
        return found


def _runs(words: Sequence[str], window: int) -> set[tuple[str, ...]]:
    """The runs of ``window`` words; a shorter text has none, and is left to the comparison of whole questions."""
    return {tuple(words[start : start + window]) for start in range(len(words) - window + 1)}


def report(rows: Iterable[Rationale], index: Index) -> list[Overlap]:
    """Overlap of every source with every benchmark."""
    by_source: dict[str, list[Rationale]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    return [overlap for source, members in by_source.items() for overlap in index.overlaps(source, members)]


def without_exact(rows: Iterable[Rationale], index: Index) -> Split:
    """Rows whose question stands in no benchmark word for word, and those thrown out."""
    kept, dropped = [], []
    for row in rows:
        found = index.equals(normalised(stem(row.problem)))
        if found:
            named = ", ".join(dict.fromkeys(name for name, _ in found))
            dropped.append(Dropped(row, "contamination", "stands in a benchmark", f"{named}: {found[0][1]}"))
        else:
            kept.append(row)
    return kept, dropped
