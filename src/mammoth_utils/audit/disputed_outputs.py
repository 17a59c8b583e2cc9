"""The stored outputs on which graders differ, one by one: completion, answers, verdicts with their reasons, judgement.

The audit's record holds answers and marks. The completions are in a committed file beside it, of those outputs whose
licence lets others show them; the questions come from the data folder, under the same condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammoth_utils import licences, paths, records
from mammoth_utils.audit.grader_comparison import GRADER_NAMES, MARK_NAMES, NOT_GRADED
from mammoth_utils.audit.judged_disagreements import SIDES, read_judged_disagreements
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.grading import bare_options, grade, options_in
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MARKS, RULES

COMPLETIONS = "real/disputed_outputs.jsonl.gz"
BY_OPTIONS = "decided by the options, which stand with the question"
_OUTCOMES = {mark: outcome for outcome, mark in MARKS.items()}


@dataclass(frozen=True)
class DisputedOutput:
    """One stored output that one grader accepts and another does not.

    Attributes:
        outputs: The completions file, without its ending.
        row: Its place in that file.
        benchmark: Ours, such as ``gsm8k``.
        kind: ``"pot"`` or ``"cot"``; empty where the file of completions is missing.
        completion: None where the outputs' licence does not let others show it.
        question: None where the benchmark's licence does not allow it, or the data folder is not here.
        verdicts: By rule, ``answer``, ``outcome`` and ``reason``.
        facts: What else is known of it, by name, such as the marks of other graders.
        home: Where the output is from.
    """

    outputs: str
    row: int
    benchmark: str
    gold: str
    verdicts: dict[str, Record]
    kind: str = ""
    completion: str | None = None
    question: str | None = None
    options: tuple[str, ...] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    home: str = ""


def keep_completions(record: Record, data_dir: Path, target: Path | None = None) -> Path:
    """Write kind, origin and completion of the disputed outputs, no completion where its licence does not allow it.

    Raises:
        FileNotFoundError: If a completions file of the record is missing or another one than was graded.
    """
    return records.write_jsonl(target or paths.records() / COMPLETIONS, _kept(record, data_dir))


def _kept(record: Record, data_dir: Path) -> Iterator[Record]:
    for file in record["outputs"]:
        quoted = licences.may_be_shown(f"outputs/{file['file']}")
        rows = _stored_rows(file, data_dir)
        if rows is None:
            raise FileNotFoundError(f"expected the graded {file['file']} in {data_dir / 'outputs'}")
        for number, row in rows.items():
            completion = row.get("completion", row.get("response")) if quoted else None
            kept = {"outputs": _name(file), "row": number, "kind": row["kind"], "completion": completion}
            yield {**kept, "origin": row.get("origin", "")}


def read_disputed_outputs(record: Record, data_dir: Path | None = None) -> list[DisputedOutput]:
    """Return every stored output of the audit's record on which graders differ, in the order of the files.

    The reasons are made anew from the answers that the record holds. Where that gives another verdict than the
    record's, because the options are missing, ``BY_OPTIONS`` stands instead.
    """
    file = paths.records() / COMPLETIONS
    kept = {(row["outputs"], row["row"]): row for row in records.read_jsonl(file)} if file.is_file() else {}
    judged = {(row["file"], int(row["id"].rpartition("/")[2])): row for row in read_judged_disagreements().rows}
    disputed = []
    for file in record["outputs"]:
        outputs = _name(file)
        stored = (_stored_rows(file, data_dir) if data_dir is not None else None) or {}
        for number, benchmark, gold, published, corrected, verifier_answer in file["differing"]:
            source = stored.get(number, {})
            marks = {name: column[number] for name, column in file["marks"].items() if column[number] != NOT_GRADED}
            about, answers = sets.info(benchmark), {"published": published, "corrected": corrected}
            options = bare_options(source.get("options"))
            if not options and about.choice:
                options = options_in(source.get("question") or "")
            verdicts = {rule: _verdict(answers[rule], gold, benchmark, rule, options, marks[rule]) for rule in RULES}
            facts = {GRADER_NAMES[name]: MARK_NAMES[mark] for name, mark in marks.items() if name not in RULES}
            if verifier_answer:
                facts["Math-Verify reads"] = verifier_answer
            if judgement := judged.get((outputs, number)):
                facts["judged by reading the problem"] = f"{SIDES[judgement['right']]}: {judgement['because']}"
            shown = kept.get((outputs, number), {})
            quoted = licences.may_be_shown(f"eval/{about.file}")
            disputed.append(DisputedOutput(
                outputs, number, benchmark, str(gold), verdicts, shown.get("kind", ""), shown.get("completion"),
                source.get("question") if quoted else None, tuple(options) if options and quoted else None, facts,
                shown.get("origin", ""),
            ))  # fmt: skip
    return disputed


def _name(file: Record) -> str:
    return file["file"].removesuffix(".gz").removesuffix(".jsonl")


def _verdict(answer: str | None, gold: Any, benchmark: str, rule: str, options: Any, mark: str) -> Record:
    verdict = grade(answer, gold, sets.info(benchmark).rules, rule, options)
    reason = verdict.reason if MARKS[verdict.outcome] == mark else BY_OPTIONS
    return {"answer": answer, "outcome": _OUTCOMES[mark], "reason": reason}


def _stored_rows(file: Record, data_dir: Path) -> dict[int, Record] | None:
    """Return the disputed rows of a completions file by their place; None if it is missing or another file."""
    source = data_dir / "outputs" / file["file"]
    if not source.is_file() or records.sha256(source) != file["sha256"]:
        return None
    numbers = {number for number, *_ in file["differing"]}
    return {number: row for number, row in enumerate(records.read_jsonl(source)) if number in numbers}
