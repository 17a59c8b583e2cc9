"""A stored completions file graded into a record of the same form as a decoded one; without torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import TIMEOUT_S, summary
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.scoring import COUNTED, DECIDING, claim, verdict_marks
from mammoth_utils.grading import Graded, grade_file
from mammoth_utils.paths import public_name
from mammoth_utils.programs import isolation as confinement
from mammoth_utils.vocabulary import MINI, RULES, STORED

# Rows of one benchmark whose ids a record lists, beyond any benchmark's size. Of a longer file it keeps the verdicts,
# three characters a row; its ids stand in attempts.jsonl, in the same order.
NAMED = 100_000


def grade_stored(description: Evaluation, isolation: str = "auto") -> dict[str, Any]:
    """The record of a stored file's completions under both rules; read if the same file was graded before.

    The rows stream: a few hundred are held at a time, whatever the length of the file.

    ``benchmarks`` of the description, where it names some, says which rows count.

    Raises:
        ValueError: If the file holds none of the benchmarks that were asked for, naming those it holds.
        CompletionsError: If a row is not as DESIGN.md section 10 has it, with its line.
    """
    file = Path(description.completions)
    inputs = {"completions": records.sha256(file), "versions": records.versions(*DECIDING)}
    if (finished := claim(description, inputs)) is not None:
        return finished
    started = time.perf_counter()
    counted: dict[str, _Counted] = {}
    rows = _rows(file, description.benchmarks, isolation, counted)
    records.write_jsonl(description.folder / "attempts.jsonl", rows)
    entries = {name: found.entry(name) for name, found in counted.items() if found.n}
    total = sum(found.n for found in counted.values())
    held = confinement.describe(isolation)
    record = {
        "page": "evaluate",
        "world": "miniature" if all(name.startswith(MINI) for name in entries) else "real",
        "parameters": description.as_dict(),
        "model": {"name": description.name, "hash": inputs["completions"]},
        "decoding": STORED,
        "split": description.split,
        "benchmarks": entries,
        "decodings": {},
        "inputs": inputs,
        "completions": total,
        "decoder": {"engine": STORED, "model": public_name(file), "rows": total},
        "sandbox": {"level": held.level, "full": held.full, "summary": held.summary},
        "environment": records.environment(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    records.write_record(description.folder, record)
    return records.read_json(description.folder / "record.json")


def _rows(
    file: Path, benchmarks: Sequence[str], isolation: str, counted: dict[str, _Counted]
) -> Iterator[dict[str, Any]]:
    """The rows that count, graded one after another and counted on their way.

    Raises:
        ValueError: At the end, if the file holds none of the benchmarks that were asked for.
    """
    for graded in grade_file(file, RULES, timeout_s=TIMEOUT_S, isolation=isolation):
        name = canonical(graded.benchmark)
        found = counted.setdefault(name, _Counted())
        if not benchmarks or name in benchmarks:
            found.add(row := _row(name, graded))
            yield row
    missing = [name for name in benchmarks if name not in counted]
    if missing or not counted:
        held = ", ".join(counted) or "no row"
        raise ValueError(f"{file.name} holds no completion of {', '.join(missing) or 'any benchmark'}; it holds {held}")


def canonical(name: str) -> str:
    """Our name of a benchmark in a file; a set that we do not know keeps its own."""
    try:
        return sets.info(name.strip().lower()).name
    except ValueError:
        return name


def _row(name: str, graded: Graded) -> dict[str, Any]:
    """A graded row in the form of ``attempts.jsonl``: one attempt, whose prompt is the question as the file has it."""
    source = graded.row
    answers = {rule: answer.text if (answer := graded.answers[rule]) else None for rule in RULES}
    completion = source.get("completion", source.get("response"))
    attempt = {
        "kind": graded.kind,
        "prompt": str(source.get("question", "")),
        "completion": completion,
        "program": graded.program,
        "execution": summary(graded.execution) if graded.execution is not None else None,
        "answers": answers,
        "program_for": [rule for rule in RULES if graded.read_from[rule] == "program"],
    }
    verdicts = {
        rule: {
            "answer": answers[rule],
            "outcome": graded.verdicts[rule].outcome,
            "reason": graded.verdicts[rule].reason,
        }
        for rule in RULES
    }
    kind = graded.kind[0] if any(answers.values()) else "-"
    return {
        "benchmark": name,
        "id": graded.id,
        "question": str(source.get("question", "")),
        "gold": str(source["gold"]),
        "options": source.get("options"),
        "set": name,
        "field": str(source.get("field", "")),
        "family": str(source.get("family", "")),
        "attempts": [attempt],
        "decodings": {STORED: {"order": [0], "kind": kind, **verdicts}},
    }


@dataclass
class _Counted:
    """What a record keeps of a benchmark's rows, gathered while they stream by: three characters a row, and names."""

    n: int = 0
    choice: bool = True
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {rule: Counter() for rule in RULES})
    marks: dict[str, bytearray] = field(default_factory=lambda: {rule: bytearray() for rule in (*RULES, "kinds")})
    named: dict[str, list[str]] = field(default_factory=lambda: {"ids": [], "families": [], "fields": []})

    def add(self, row: dict[str, Any]) -> None:
        """Count a row of ``attempts.jsonl``."""
        decoded = row["decodings"][STORED]
        self.n += 1
        self.choice &= bool(row["options"])
        for rule in RULES:
            outcome = decoded[rule]["outcome"]
            self.outcomes[rule][outcome] += 1
            self.marks[rule] += verdict_marks([outcome]).encode()
        self.marks["kinds"] += decoded["kind"].encode()
        if self.n > NAMED:
            self.named = {}
        for key, one in zip(self.named, ("id", "family", "field"), strict=False):
            self.named[key].append(row[one])

    def entry(self, name: str) -> dict[str, Any]:
        """The benchmark's part of the record."""
        try:
            known = sets.info(name)
            about = {"in_domain": known.in_domain, "choice": known.choice}
        except ValueError:
            about = {"in_domain": False, "choice": self.choice}
        counts = {rule: {key: self.outcomes[rule][key] for key in COUNTED} for rule in RULES}
        marks = {key: bytes(made).decode() for key, made in self.marks.items()}
        return {"n": self.n, **about, **counts, "items": {**self.named, **marks}}
