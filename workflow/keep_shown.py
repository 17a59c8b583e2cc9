"""Keeps the two problems that the introduction shows, with their completions, in ``records/miniature/shown.json``.

Both are the first problems out of domain, in the order of the benchmarks, that a rule fits (``RULES_OF_CHOICE``), so
that nobody picks them by hand. Rows of the training set of the first problem's family stand beside them. Run it after
``make book``, then ``python workflow/generated_text.py all``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stages import ROOT

from mammoth_utils import paths, prompts, records
from mammoth_utils.miniature import WORLD
from mammoth_utils.report import measured_models
from mammoth_utils.vocabulary import RULES, RunName, evaluation_name

FILE = ROOT / "records" / "miniature" / "shown.json"
RULES_OF_CHOICE = {
    "numbers": "the first problem out of domain on which the program of the model trained on both kinds is right and "
    "its prose is wrong, under both rules of grading",
    "logic": "the first problem of logic or abstract algebra out of domain on which the program of the model trained "
    "on programs runs and is wrong, and the prose of the model trained on prose is right, under both rules of grading",
}
BOTH, PROGRAMS, PROSE = (str(RunName("llama", "1m", mixture, "full", 0)) for mixture in ("hybrid", "pot", "cot"))
Row = dict[str, Any]


def outcomes(row: Row, decoding: str) -> set[str]:
    """Return the outcomes of one problem under both rules of grading."""
    return {row["decodings"][decoding][rule]["outcome"] for rule in RULES}


def shows_numbers(program: Row, prose: Row) -> bool:
    """Return whether a problem fits the first rule."""
    return outcomes(program, "pot") == {"correct"} and outcomes(prose, "cot") == {"incorrect"}


def shows_logic(program: Row, prose: Row) -> bool:
    """Return whether a problem fits the second rule."""
    ran = attempt_of(program, "pot").get("execution") or {}
    fits = program["field"] in ("logic", "abstract algebra") and ran.get("status") == "ok" and ran.get("printed")
    return bool(fits) and outcomes(program, "pot") == {"incorrect"} and outcomes(prose, "cot") == {"correct"}


def attempt_of(row: Row, kind: str) -> Row:
    """Return the attempt of one kind on a problem."""
    return next(attempt for attempt in row["attempts"] if attempt["kind"] == kind)


def shown_attempt(row: Row, kind: str, run: str, weights: str) -> Row:
    """Return what is shown of one attempt: the model, the prompt, the completion, what was printed, both verdicts."""
    attempt = attempt_of(row, kind)
    ran = attempt.get("execution") or {}
    verdicts = {rule: row["decodings"][kind][rule] for rule in RULES}
    return {
        "model": run, "weights": weights, "kind": kind,
        "prompt": attempt["prompt"], "completion": attempt["completion"],
        "status": ran.get("status", ""), "printed": ran.get("printed", ""), "verdicts": verdicts,
    }  # fmt: skip


def out_of_domain(run: str, decoding: str) -> tuple[Row, Iterator[Row]]:
    """Return an evaluation's record and its problems out of domain, in the order of the benchmarks.

    Raises:
        SystemExit: If this evaluation has not been made here.
    """
    folder = paths.run_dir("evaluate", evaluation_name(run, decoding, "test", (), 0))
    if not (folder / "record.json").is_file():
        raise SystemExit(f"no finished evaluation at {folder.name}; `make book` makes it")
    outside = measured_models.MINI_BENCHMARKS[4:]
    rows = records.read_jsonl(folder / "attempts.jsonl")
    return records.read_json(folder / "record.json"), (row for row in rows if row["benchmark"] in outside)


def choose(name: str, fits: Callable[[Row, Row], bool], programs: str, prose: str) -> tuple[Row, Row]:
    """Return the first problem that a rule of choice fits, with the attempts of both kinds, and the record of the run.

    Raises:
        SystemExit: If no problem fits.
    """
    same = programs == prose
    record, rows = out_of_domain(programs, "hybrid" if same else "pot")
    other, others = (record, iter(())) if same else out_of_domain(prose, "cot")
    by_id = {row["id"]: row for row in others}
    for row in rows:
        beside = row if same else by_id[row["id"]]
        if fits(row, beside):
            told = {key: row[key] for key in ("benchmark", "id", "family", "field", "question", "gold", "options")}
            attempts = [shown_attempt(row, "pot", programs, record["inputs"]["weights"]),
                        shown_attempt(beside, "cot", prose, other["inputs"]["weights"])]  # fmt: skip
            return {"rule": RULES_OF_CHOICE[name], **told, "attempts": attempts}, record
    raise SystemExit(f"no problem fits the rule {name!r}: {RULES_OF_CHOICE[name]}")


def training_rows(family: str) -> Row:
    """Return rows of one family of problems: a question with both kinds of rationale, and a program that was dropped.

    The question is the first of GSM8K's for which the teacher's program was kept; the dropped one is the first that ran
    and gave another answer than the gold.
    """
    folder = paths.run_dir("curate", "miniature")
    kept = [row for row in records.read_jsonl(folder / "mathinstruct.jsonl") if row["family"] == family]
    prose = {row["instruction"]: row for row in kept if row["source"] == "mini-GSM8K (CoT)"}
    program = next(row for row in kept if row["source"] == "mini-GSM8K (PoT)" and _question(row) in prose)
    dropped = next(row for row in records.read_jsonl(folder / "dropped.jsonl")
                   if row["family"] == family and row["reason"] == "another answer")  # fmt: skip
    rows = {"prose": prose[_question(program)], "program": program, "dropped": dropped}
    told = ("source", "author", "instruction", "output", "gold", "history")
    return {name: {key: row[key] for key in told} for name, row in rows.items()}


def _question(row: Row) -> str:
    return row["instruction"].removesuffix(prompts.POT_TRIGGER)


def main() -> None:
    """Write the record and say what it shows."""
    numbers, record = choose("numbers", shows_numbers, BOTH, BOTH)
    logic, _ = choose("logic", shows_logic, PROGRAMS, PROSE)
    shown = {
        "schema": records.SCHEMA, "page": "shown", "world": "miniature",
        "inputs": {"world": WORLD, "versions": record["inputs"]["versions"]},
        "numbers": numbers, "logic": logic, "rows": training_rows(numbers["family"]),
        "environment": record["environment"],
    }  # fmt: skip
    records.write_json(FILE, shown)
    print(f"kept {FILE.relative_to(ROOT)}: {numbers['id']} and {logic['id']}")


if __name__ == "__main__":
    main()
