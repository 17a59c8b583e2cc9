"""Stored outputs of other people's models, graded once under both rules: what is held of their verdicts.

The files lie in the folder that ``MAMMOTH_DATA_DIR`` names; without it, what needs them is skipped.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import golden
import pytest

from mammoth_utils.evaluation import attempts
from mammoth_utils.grading import RULES, grade, grade_file
from mammoth_utils.programs import run_programs
from mammoth_utils.vocabulary import MARKS

CASES = Path(__file__).parent / "cases"
PROGRAMS = ("pot_aqua_zeroshot", "pot_gsm8k_fewshot")  # files whose completions are programs


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf8").splitlines()]


@dataclass
class Row:
    """One graded row: what its authors say, what each rule read and says, and what decoding would have read."""

    id: str
    gold: object
    theirs: bool | None
    answers: dict[str, str | None]
    outcomes: dict[str, str]
    live: dict[str, str | None]


def pretended(programs: Iterable[str]) -> Iterator[SimpleNamespace]:
    """Executions without a process: what does not parse fails, the rest prints its length."""
    for program in programs:
        try:
            ast.parse(program)
            yield SimpleNamespace(status="ok", printed=f"{len(program)}\n", output=f"{len(program)}\n")
        except (SyntaxError, ValueError):
            yield SimpleNamespace(status="error", printed="", output="")


def rows_of(file: Path, run) -> list[Row]:
    """The rows of a file, graded under both rules, with the answers that decoding would have read."""
    rows = []
    for graded in grade_file(file, RULES, run=run):
        source, answers = graded.row, graded.answers
        attempt = attempts.start_attempt(graded.kind, "", source.get("completion", source.get("response")))
        if attempt.program is not None:
            assert attempt.program == graded.program
            attempt = replace(attempt, execution=graded.execution)
        live = attempts.read_answers(attempt, graded.benchmark, source.get("options"), source.get("question"))
        rows.append(
            Row(
                id=graded.id,
                gold=source["gold"],
                theirs=source.get("published_correct"),
                answers={rule: answer.text if answer else None for rule, answer in answers.items()},
                outcomes={rule: verdict.outcome for rule, verdict in graded.verdicts.items()},
                live=live.answers,
            )
        )
    return rows


@pytest.fixture(scope="module")
def stored(data_dir) -> dict[str, list[Row]]:
    """Every file of stored outputs by name; programs are not run, which changes the verdicts of two files alone."""
    files = sorted((data_dir / "outputs").glob("*.jsonl.gz"))
    return {file.name.removesuffix(".jsonl.gz"): rows_of(file, pretended) for file in files}


def accuracy(rows: list[Row]) -> float:
    """Per cent of rows that the corrected rule accepts."""
    return 100 * sum(row.outcomes["corrected"] == "correct" for row in rows) / len(rows)


def test_every_stored_file_is_read_to_its_last_row(stored, data_dir):
    listed = json.loads((data_dir / "outputs" / "MANIFEST.json").read_text("utf8"))["files"]
    assert {one["name"].removesuffix(".jsonl.gz"): one["rows"] for one in listed} == {
        name: len(rows) for name, rows in stored.items()
    }


def test_live_and_stored_verdicts_agree_on_every_stored_row(stored):
    differing = [(name, row) for name, rows in stored.items() for row in rows if row.live != row.answers]
    assert differing == []


def decisions(files: dict[str, list[Row]]) -> dict[str, str]:
    """Every verdict as a character and all answers as a hash, by file and rule."""
    decided = {}
    for name, rows in files.items():
        for rule in RULES:
            decided[f"{name} {rule}"] = "".join(MARKS[row.outcomes[rule]] for row in rows)
            answers = "\n".join(repr(row.answers[rule]) for row in rows)
            decided[f"{name} {rule} answers"] = hashlib.sha256(answers.encode()).hexdigest()
    return decided


def test_every_verdict_and_answer_that_is_read_from_text_is_as_before(stored, write_golden):
    texts = {name: rows for name, rows in stored.items() if name not in PROGRAMS}
    golden.check("grading", "stored-texts", decisions(texts), write_golden)


@pytest.mark.long
def test_every_verdict_and_answer_of_stored_programs_is_as_before(data_dir, write_golden):
    files = {}
    for name in PROGRAMS:
        files[name] = rows_of(
            data_dir / "outputs" / f"{name}.jsonl.gz", lambda programs: run_programs(programs, timeout_s=10)
        )
    assert not [row for rows in files.values() for row in rows if row.live != row.answers]
    golden.check("grading", "stored-programs", decisions(files), write_golden)
    # What their authors state, 71.6 %; the answer lies in `ans`
    assert abs(accuracy(files["pot_gsm8k_fewshot"]) - 71.6) <= 0.3


JUDGED = cases("grading_judged.jsonl")
PUBLISHED_FILES = {  # outputs whose authors published a verdict on each row, and the accuracy that they state or give
    "mathcoder_l_7b_gsm8k": 64.2, "mathcoder_l_7b_svamp": 71.5, "mathcoder_l_7b_deepmind": 47.0,
    "mathcoder_l_7b_simuleq": 47.3, "planandsolve_svamp": None,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED_FILES)
def test_real_outputs_are_judged_as_their_authors_judged_them_but_for_the_rows_listed(stored, name):
    differing = [
        (row.id, row.answers["corrected"], row.gold, row.theirs, row.outcomes["corrected"])
        for row in stored[name]
        if (row.outcomes["corrected"] == "correct") != row.theirs
    ]
    listed = [
        (one["id"], one["answer"], one["gold"], one["theirs"], one["ours"]) for one in JUDGED if one["file"] == name
    ]
    assert differing == listed
    assert 1 - len(differing) / len(stored[name]) >= 0.98
    if PUBLISHED_FILES[name] is not None:
        assert abs(accuracy(stored[name]) - PUBLISHED_FILES[name]) <= 0.3


def test_every_listed_row_says_who_is_right_and_why():
    assert {one["file"] for one in JUDGED} <= set(PUBLISHED_FILES)
    assert len({one["id"] for one in JUDGED}) == len(JUDGED)
    for one in JUDGED:
        assert (one["ours"] == "correct") != one["theirs"], one
        assert one["right"] in ("ours", "theirs", "ambiguous"), one
        assert len(one["because"]) > 30, one
        benchmark = one["file"].rpartition("_")[2]
        assert grade(one["answer"], one["gold"], benchmark, "corrected").outcome == one["ours"], one
    right = Counter(one["right"] for one in JUDGED)
    assert right["ours"] > 2 * right["theirs"]


def test_the_present_rule_still_reads_the_recorded_answer(stored):
    _, *disagreements = cases("grading_disagreements.jsonl")
    for name in {case["file"] for case in disagreements if not case["file"].startswith("pot_")}:
        # where the rule was mended since, `since` holds what it reads now
        recorded = {
            case["id"]: tuple(case.get("since") or (case["answer"], case["ours"]))
            for case in disagreements
            if case["file"] == name
        }
        read = {row.id: (row.answers["corrected"], row.outcomes["corrected"]) for row in stored[name]}
        assert {at: read[at] for at in recorded} == recorded, name


def test_the_rows_whose_verdicts_the_last_review_moved_are_read_as_listed(stored):
    moved = cases("grading_moved.jsonl")
    for row in moved:
        present = {one.id: [one.answers["corrected"], one.outcomes["corrected"]] for one in stored[row["file"]]}
        assert present[row["id"]] == row["now"], row
        assert row["before"][1] != row["now"][1]
    # what is right is right now: nothing that was right before is refused, but for what was right by luck
    assert [row["id"] for row in moved if row["before"][1] == "correct"] == [
        "theoremqa_Mistral_7B_v0.1_5shots_mistral/474"
    ]
    assert {row["right"] for row in moved} == {"now"}
