"""What is thrown out on the way to MathInstruct, each row with its stage and reason."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mammoth_utils.curation import sources
from mammoth_utils.rationale import Rationale

MAX_CHARACTERS = 8_000  # instruction and output together: about the 2,048 tokens that training keeps
SHINGLE = 3  # words in a shingle of the near-duplicate search
SIMILARITY = 0.7  # Jaccard similarity of shingles from which two rows are near duplicates
PERMUTATIONS = 64
DIRECT = 64  # texts with the same numbers that are still compared one by one
STAGES = ("teacher", "malformed", "length", "execution", "gold", "duplicate", "near-duplicate", "contamination")

# A number with its decimal point, a word, or a sign that carries meaning. "tan 225" and "tan 22.5" differ, and
# so do "x - 3" and "x + 3"; commas inside numbers, case, punctuation and spaces do not count.
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/^=<>%°√!|]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Dropped:
    """A rationale that was thrown out: at which stage, why in a word or two, and the particulars."""

    rationale: Rationale
    stage: str
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"unknown stage {self.stage!r}; known: {', '.join(STAGES)}")

    def as_row(self) -> dict[str, Any]:
        """The row of ``dropped.jsonl``."""
        return {**sources.as_row(self.rationale), "stage": self.stage, "reason": self.reason, "detail": self.detail}


Split = tuple[list[Rationale], list[Dropped]]


def tokens(text: str) -> list[str]:
    """The text as compared everywhere in this room: lower-case words, numbers and signs, in order."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("−", "-").replace("×", "*").replace("÷", "/")
    return _TOKEN.findall(_THOUSANDS.sub("", plain))


def normalised(text: str) -> str:
    """One string for texts that differ in case, spaces and punctuation only; signs, digits and dots are kept."""
    return " ".join(tokens(text))


def malformed(rows: Iterable[Rationale], max_characters: int = MAX_CHARACTERS) -> Split:
    """Rows that are no rationale, or too long for a training row."""
    kept, dropped = [], []
    for row in rows:
        length = len(row.problem.instruction) + len(row.text)
        if not row.problem.question.strip():
            dropped.append(Dropped(row, "malformed", "empty question"))
        elif not row.text.strip():
            dropped.append(Dropped(row, "malformed", "empty rationale"))
        elif "\ufffd" in row.text or "\x00" in row.text:
            dropped.append(Dropped(row, "malformed", "broken characters"))
        elif length > max_characters:
            dropped.append(Dropped(row, "length", "over-long", f"{length} characters, at most {max_characters}"))
        else:
            kept.append(row)
    return kept, dropped


def executed(
    rows: Sequence[Rationale],
    timeout_s: float = 5.0,
    workers: int | None = None,
    isolation: str = "auto",
    memory_mb: int = 1024,
    on_step: Callable[[int, int], None] | None = None,
) -> Split:
    """Programs that run and whose output equals the gold, which is the paper's filter; prose passes untouched.

    A program without a gold (the release, NumGLUE's copy) is kept if it runs and says something. The execution's
    status, output and verdict go into each row's history.

    Args:
        rows: Rationales of any kind.
        timeout_s: Seconds a program may take.
        workers: Processes; None leaves it to the sandbox.
        isolation: As ``run_programs`` takes it.
        memory_mb: Memory a program may take.
        on_step: Called with (executed, all).
    """
    from mammoth_utils.programs import run_programs

    programs = [row for row in rows if row.kind == "pot"]
    results = run_programs(
        [row.text for row in programs], timeout_s=timeout_s, memory_mb=memory_mb, workers=workers, isolation=isolation
    )
    judged: dict[int, tuple[Rationale, str, str, str]] = {}
    for number, (row, execution) in enumerate(zip(programs, results, strict=True), 1):
        judged[id(row)] = _judge(row, execution)
        if on_step:
            on_step(number, len(programs))
    kept, dropped = [], []
    for row in rows:
        after, stage, reason, detail = judged.get(id(row), (row, "", "", ""))
        if stage:
            dropped.append(Dropped(after, stage, reason, detail))
        else:
            kept.append(after)
    return kept, dropped


def _judge(row: Rationale, execution: Any) -> tuple[Rationale, str, str, str]:
    """The row with its history, and stage, reason and detail if it is thrown out."""
    from mammoth_utils.grading import answer_from_execution, grade

    output = (execution.output or "").strip()
    row = row.with_history(status=execution.status, output=output[:200])
    if execution.status != "ok":
        return row, "execution", execution.status, _last_line(execution.error)
    if not output:
        return row, "execution", "no output", ""
    if not row.problem.gold:
        return row.with_history(verdict="no gold"), "", "", ""
    benchmark = sources.SOURCES[sources.paper_name(row.source)].benchmark
    options = row.problem.options
    answer = answer_from_execution(output, benchmark, "corrected", options)
    verdict = grade(answer, row.problem.gold, benchmark=benchmark, rule="corrected", options=options)
    row = row.with_history(verdict=verdict.outcome)
    if verdict.correct:
        return row, "", "", ""
    reason = {"incorrect": "another answer", "no_answer": "no answer in the output"}.get(
        verdict.outcome, verdict.outcome
    )
    return row, "gold", reason, verdict.reason or ""


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1][:200] if lines else ""


def duplicates(rows: Iterable[Rationale]) -> Split:
    """Rows whose instruction, kind and text stood before, byte for byte; the first one stays."""
    first: dict[str, Rationale] = {}
    kept, dropped = [], []
    for row in rows:
        key = row.key
        if key in first:
            dropped.append(Dropped(row, "duplicate", "same text", f"of {_name(first[key])}"))
        else:
            first[key] = row
            kept.append(row)
    return kept, dropped


def near_duplicates(rows: Iterable[Rationale], similarity: float = SIMILARITY) -> Split:
    """Rows that say almost the same as an earlier one about almost the same question; the first one stays.

    Two rows are near duplicates if they are of one kind, hold the same numbers in the same order, share at least
    ``similarity`` of their shingles, and ask in different words. A number is a problem's identity: a template
    filled with other numbers is another problem. And several rationales for one and the same question are
    what rejection sampling (GSM8K-RFT) is for, so those are left to the exact comparison.
    """
    index: NearIndex[Rationale] = NearIndex(similarity)
    kept, dropped = [], []
    for row in rows:
        words = tokens(f"{row.problem.question}\n{row.text}")
        asked = row.problem.instruction
        earlier = next((other for other in index.find(words, row.kind) if other.problem.instruction != asked), None)
        if earlier is not None:
            dropped.append(Dropped(row, "near-duplicate", "similar text", f"of {_name(earlier)}"))
        else:
            index.add(row, words, row.kind)
            kept.append(row)
    return kept, dropped


class NearIndex(Generic[Item]):
    """Texts that can be asked for those with the same numbers and nearly the same words.

    Few texts share all their numbers, and those are compared directly; where more than ``DIRECT`` do (texts
    without numbers), MinHash with locality-sensitive hashing (``datasketch``) proposes the pairs. The exact Jaccard
    similarity of the shingles decides in any case, so a hash can lose a pair but not invent one.

    Args:
        similarity: Least Jaccard similarity, between 0 and 1.
    """

    def __init__(self, similarity: float = SIMILARITY) -> None:
        self.similarity = similarity
        self._members: dict[tuple, list[tuple[Item, set]]] = defaultdict(list)
        self._hashed: dict[tuple, Any] = {}

    def add(self, item: Item, words: Sequence[str], group: str = "") -> None:
        """Add an item by its text's ``tokens``; items of different groups are never compared."""
        key = self._key(words, group)
        members = self._members[key]
        members.append((item, shingles(words)))
        if key in self._hashed:
            self._hashed[key].insert(len(members) - 1, _sketch(members[-1][1]))
        elif len(members) > DIRECT:
            from datasketch import MinHashLSH

            # 16 bands of 4: at a similarity of 0.7 a pair is proposed with a probability of 0.99.
            self._hashed[key] = MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // 4, 4))
            for number, (_, known) in enumerate(members):
                self._hashed[key].insert(number, _sketch(known))

    def find(self, words: Sequence[str], group: str = "") -> Iterator[Item]:
        """The items that are near a text, in the order in which they were added."""
        key = self._key(words, group)
        members = self._members.get(key, [])
        if not members:
            return
        own = shingles(words)
        proposed = sorted(self._hashed[key].query(_sketch(own))) if key in self._hashed else range(len(members))
        for number in proposed:
            if jaccard(own, members[number][1]) >= self.similarity:
                yield members[number][0]

    def _key(self, words: Sequence[str], group: str) -> tuple:
        return (group, *(word for word in words if word[0].isdigit()))


def _sketch(known: set) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
    sketch.update_batch([" ".join(shingle).encode() for shingle in known])
    return sketch


def shingles(words: Sequence[str], size: int = SHINGLE) -> set[tuple[str, ...]]:
    """The runs of ``size`` words of a text; a shorter text is one run."""
    if len(words) <= size:
        return {tuple(words)}
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def jaccard(one: set, other: set) -> float:
    """Shared share of two sets, from 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0


def _name(row: Rationale) -> str:
    return f"{row.source}, {row.problem.id or row.key}"
