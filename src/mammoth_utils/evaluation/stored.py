"""A stored completions file graded into a record of the same form as a decoded one; without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import RULES, TIMEOUT_S, summary
from mammoth_utils.evaluation.decoding import public_name
from mammoth_utils.evaluation.description import STORED, Evaluation
from mammoth_utils.evaluation.scoring import CODE, claim, counts, verdict_marks
from mammoth_utils.grading.completions import Graded, grade_file, program_text
from mammoth_utils.programs import isolation as confinement


def grade_stored(description: Evaluation, isolation: str = "auto") -> dict[str, Any]:
    """The record of a stored file's completions under both rules; read if the same file was graded before.

    ``benchmarks`` of the description, where it names some, says which rows count.

    Raises:
        ValueError: If the file holds none of the benchmarks that were asked for, naming those it holds.
        CompletionsError: If a row is not as DESIGN.md section 10 has it, with its line.
    """
    file = Path(description.completions)
    inputs = {"completions": records.sha256(file), "code": records.code_fingerprint(*CODE)}
    if (finished := claim(description, inputs)) is not None:
        return finished
    started, rows, found = time.perf_counter(), [], {}
    for graded in grade_file(file, RULES, timeout_s=TIMEOUT_S, isolation=isolation):
        name = canonical(graded.benchmark)
        found.setdefault(name, [])
        if name in (description.benchmarks or found):
            found[name].append(row := _row(name, graded))
            rows.append(row)
    missing = [name for name in description.benchmarks if not found.get(name)]
    if missing or not found:
        held = ", ".join(found) or "no row"
        raise ValueError(f"{file.name} holds no completion of {', '.join(missing) or 'any benchmark'}; it holds {held}")
    entries = {name: _entry(name, part) for name, part in found.items() if part}
    records.write_jsonl(description.folder / "attempts.jsonl", rows)
    held = confinement.describe(isolation)
    record = {
        "page": "evaluate",
        "world": "miniature" if all(name.startswith(sets.MINI) for name in entries) else "real",
        "parameters": description.as_dict(),
        "model": {"name": description.name, "hash": inputs["completions"]},
        "decoding": STORED,
        "split": description.split,
        "benchmarks": entries,
        "decodings": {},
        "inputs": inputs,
        "completions": len(rows),
        "decoder": {"engine": STORED, "model": public_name(file), "rows": len(rows)},
        "sandbox": {"level": held.level, "full": held.full, "summary": held.summary},
        "environment": records.environment(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    records.write_record(description.folder, record)
    return records.read_json(description.folder / "record.json")


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
        "program": program_text(completion) if graded.execution is not None else None,
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


def _entry(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A benchmark's part of the record."""
    try:
        known = sets.info(name)
        about = {"in_domain": known.in_domain, "choice": known.choice}
    except ValueError:
        about = {"in_domain": False, "choice": all(row["options"] for row in rows)}
    outcomes = {rule: [row["decodings"][STORED][rule]["outcome"] for row in rows] for rule in RULES}
    return {
        "n": len(rows),
        **about,
        **{rule: counts(outcomes[rule]) for rule in RULES},
        "items": {
            "ids": [row["id"] for row in rows],
            "families": [row["family"] for row in rows],
            "fields": [row["field"] for row in rows],
            **{rule: verdict_marks(outcomes[rule]) for rule in RULES},
            "kinds": "".join(row["decodings"][STORED]["kind"] for row in rows),
        },
    }
