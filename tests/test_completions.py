"""A completions file graded: its forms, its errors, its programs, and the command."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest
from completion_files import generated

from mammoth_utils import records
from mammoth_utils.grading import Summary, grade_file, score_file
from mammoth_utils.grading.__main__ import main
from mammoth_utils.grading.completions import CompletionsError

ROWS = [
    {"benchmark": "gsm8k", "id": "a", "kind": "cot", "question": "?", "completion": "The answer is 7.", "gold": "7"},
    {"dataset": "deepmind", "id": "b", "kind": "pot", "question": "?", "response": "ans = 3 + 4", "gold": "7.0"},
    {"benchmark": "gsm8k", "id": "c", "kind": "pot", "question": "?", "completion": "print(3 + 4)\n", "gold": 7},
    {"benchmark": "gsm8k", "kind": "pot", "completion": "I add.\n```python\n3 + 4\n```\n```output\n7\n```\nSo 7.",
     "gold": "7", "mood": "calm"},
    {"benchmark": "aqua", "id": "e", "kind": "pot", "completion": "print(21)", "gold": "B",
     "options": ["A)20", "B)21"]},
    {"benchmark": "sat", "id": "f", "completion": "The answer is 9.", "gold": "C",
     "question": "x? \nAnswer Choices: (A) 2 (B) 4 (C) 9 (D) 10"},
    {"benchmark": "gsm8k", "id": "g", "kind": "pot", "completion": "print(1/0)", "gold": "7"},
    {"benchmark": "gsm8k", "id": "h", "kind": "cot", "completion": "no number", "gold": None},
]  # fmt: skip


def written(path: Path, rows: list, opener=open) -> Path:
    with opener(path, "wt", encoding="utf8") as file:
        file.write("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


class Runner:
    """Stands in for the sandbox: knows what each program of the table does, and counts the calls."""

    outputs = {"ans = 3 + 4": ("", "7"), "print(3 + 4)\n": ("7\n", None), "print(21)": ("21\n", None)}

    def __init__(self):
        self.programs: list[str] = []

    def __call__(self, programs):
        self.programs += programs
        for program in programs:
            if program in self.outputs:
                printed, value = self.outputs[program]
                yield SimpleNamespace(status="ok", printed=printed, value=value, output=printed or value)
            else:
                yield SimpleNamespace(status="error", printed="5\n", value=None, output="5\n")


def test_a_file_is_graded_under_both_rules_with_each_program_run_once(tmp_path):
    run, summary = Runner(), Summary(("published", "corrected"))
    graded = list(grade_file(written(tmp_path / "c.jsonl", ROWS), ("published", "corrected"), run=run))
    for one in graded:
        summary.add(one)
    assert [one.verdicts["corrected"].outcome for one in graded] == [
        "correct", "correct", "correct", "correct", "correct", "correct", "no_answer", "ungradable_gold"]  # fmt: skip
    assert [one.verdicts["published"].outcome for one in graded] == [
        "correct", "ungradable_gold", "correct", "correct",
        "incorrect", "incorrect", "no_answer", "ungradable_gold"]  # fmt: skip
    assert run.programs == ["ans = 3 + 4", "print(3 + 4)\n", "print(21)", "print(1/0)"]
    assert [one.read_from["corrected"] for one in graded][:4] == ["text", "program", "program", "text"]
    assert graded[3].id == "4"
    assert graded[3].row["mood"] == "calm"
    counts = summary.as_dict("corrected")
    assert (counts["rows"], counts["correct"], counts["no_answer"], counts["ungradable_gold"]) == (8, 6, 1, 1)
    assert counts["accuracy"] == 6 / 8
    assert counts["by_benchmark"]["deepmind"]["correct"] == 1
    assert counts["executions"] == {"error": 1, "ok": 3}


def test_a_failed_program_gives_no_answer_whatever_it_printed_before(tmp_path):
    path = written(tmp_path / "c.jsonl", [{**ROWS[6], "gold": "5"}])
    (graded,) = grade_file(path, ("published", "corrected"), run=Runner())
    assert {rule: verdict.outcome for rule, verdict in graded.verdicts.items()} == {
        "published": "no_answer", "corrected": "no_answer"}  # fmt: skip


def test_rows_stream_from_a_compressed_file_of_any_length(tmp_path):
    path = written(tmp_path / "c.jsonl.gz", [ROWS[0]] * 5000, gzip.open)
    stream = grade_file(path, "corrected", run=Runner())
    assert next(stream).line == 1
    assert sum(1 for _ in stream) == 4999
    assert sum(1 for _ in grade_file(path, "corrected", run=Runner(), limit=7)) == 7


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", r"line 2: expected a JSON object, got what is no JSON"),
        ("[1, 2]", r"line 2: expected a JSON object, got list"),
        ({"completion": "7", "gold": 7}, r"line 2: no benchmark; expected `benchmark` or `dataset`, got the keys"),
        ({"benchmark": "gsm8k", "gold": 7}, r"line 2: no completion; expected `completion` or `response`"),
        ({"benchmark": "gsm8k", "completion": "7"}, r"line 2: no gold; expected `gold`"),
        ({"benchmark": "gsm8k", "completion": 7, "gold": 7}, r"line 2: expected text as completion, got int"),
        ({"benchmark": "gsm8k", "completion": "7", "gold": {}}, r"line 2: expected text, a number, a bool or a list"),
        ({**ROWS[0], "kind": "tir"}, r"line 2: unknown kind 'tir'; known: cot, pot"),
        ({**ROWS[0], "options": "A"}, r"line 2: expected options as a list, or as an object from A, B"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_what_is_accepted(tmp_path, row, message):
    path = written(tmp_path / "c.jsonl", [ROWS[0], row])
    with pytest.raises(CompletionsError, match=message) as caught:
        list(grade_file(path, run=Runner()))
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_broken_archive_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no completions file"):
        grade_file(tmp_path / "none.jsonl")
    (tmp_path / "c.jsonl.gz").write_bytes(b"plain text")
    with pytest.raises(CompletionsError, match="no readable text"):
        list(grade_file(tmp_path / "c.jsonl.gz"))


def test_the_command_runs_programs_prints_one_object_and_writes_verdicts(tmp_path):
    path = written(tmp_path / "c.jsonl", ROWS)
    command = [sys.executable, "-m", "mammoth_utils.grading", str(path), "--rule", "corrected", "--verdicts",
               str(tmp_path / "out" / "verdicts.jsonl"), "--timeout-s", "60"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["rule"], printed["rows"], printed["correct"], printed["no_answer"]) == ("corrected", 8, 6, 1)
    verdicts = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text("utf8").splitlines()]
    assert [row["verdict"]["correct"] for row in verdicts] == [True] * 6 + [False] * 2
    assert verdicts[3]["mood"] == "calm"
    assert verdicts[0]["completion"][slice(*verdicts[0]["verdict"]["span"])] == "7"
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "verdicts.jsonl"]


def test_the_command_names_a_bad_row_and_leaves_no_half_file(tmp_path):
    path = written(tmp_path / "c.jsonl", [ROWS[0], {"benchmark": "gsm8k"}])
    command = [sys.executable, "-m", "mammoth_utils.grading", str(path), "--verdicts", str(tmp_path / "v.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "line 2: no completion" in done.stderr
    assert "1 rows of c.jsonl could not be graded and count nowhere" in done.stderr
    assert json.loads(done.stdout)["bad_rows"] == 1
    assert len((tmp_path / "v.jsonl").read_text("utf8").splitlines()) == 1


GOOD = json.dumps(ROWS[0])
DIGITS = "7" * 5000


@pytest.mark.parametrize(
    ("lines", "right", "bad"),
    [
        (["\ufeff" + GOOD, GOOD], 2, 0),  # a byte order mark, as Windows tools write it
        ([GOOD, "\ufeff" + GOOD], 2, 0),  # two such files joined
        ([GOOD, "{not json", "", GOOD], 2, 1),
        (
            [GOOD, '{"benchmark": "gsm8k", "completion": "\\ud83d The answer is 7.", "gold": 7}'],
            2,
            0,
        ),  # half a character
        ([GOOD[:-1] + f', "id": {DIGITS}}}'], 1, 0),
        ([GOOD[:-1] + f', "gold": {DIGITS}}}', GOOD], 1, 0),  # no gold that an answer could match
        ([GOOD[:-1] + ', "gold": NaN}', GOOD], 1, 0),
        ([GOOD[:-1] + ', "kind": null}'], 1, 0),
        ([json.dumps({**ROWS[4], "options": {"A": "20", "B": "21"}})], 1, 0),
        ([json.dumps({**ROWS[4], "gold": 1.0})], 1, 0),  # an index, as pandas writes it beside an empty cell
        ([json.dumps({**ROWS[4], "options": {"x": "20", "y": "21"}}), GOOD], 1, 1),
        ([json.dumps({**ROWS[4], "options": [str(at) for at in range(10, 22)], "gold": "L"})], 1, 0),
        ([json.dumps({**ROWS[4], "options": [str(at) for at in range(30)]}), GOOD], 1, 1),
    ],
)
def test_a_bad_row_ends_no_file_and_odd_ones_are_read(tmp_path, lines, right, bad, monkeypatch, capsys):
    path, verdicts = tmp_path / "c.jsonl", tmp_path / "v.jsonl"
    path.write_text("".join(line + "\n" for line in lines), "utf8")
    monkeypatch.setattr("mammoth_utils.programs.run_programs", lambda programs, **how: Runner()(programs))
    assert main([str(path), "--verdicts", str(verdicts)]) == (1 if bad else 0)
    printed, said = capsys.readouterr()
    counts = json.loads(printed)
    assert (counts["correct"], counts.get("bad_rows", 0)) == (right, bad)
    assert len([json.loads(line) for line in verdicts.read_text("utf8").splitlines()]) == counts["rows"]
    assert said.count(f"{path}, line") == bad


def test_bytes_that_are_no_text_and_a_cut_archive_lose_only_themselves(tmp_path, capsys):
    path = tmp_path / "c.jsonl"
    path.write_bytes(GOOD.encode() + b"\n\xff\xfe\n" + GOOD.encode() + b"\n")
    assert main([str(path)]) == 1
    assert json.loads(capsys.readouterr().out)["correct"] == 2
    packed = gzip.compress("".join(f"{GOOD}{at}\n"[: len(GOOD)] + "\n" for at in range(4000)).encode())
    (tmp_path / "CUT.JSONL.GZ").write_bytes(packed[: len(packed) // 2])
    assert main([str(tmp_path / "CUT.JSONL.GZ")]) == 1
    printed, said = capsys.readouterr()
    assert json.loads(printed)["correct"] > 100
    assert "no readable text" in said


def test_a_file_without_one_gradable_row_is_an_error(tmp_path, capsys):
    path = written(tmp_path / "c.jsonl", ["[]"] * 30)
    assert main([str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count(", line ") == 20
    assert "30 rows" in said


def test_an_archive_is_known_by_its_content(tmp_path, capsys):
    written(tmp_path / "UP.JSONL.GZ", ROWS[:1], gzip.open)
    written(tmp_path / "packed.jsonl", ROWS[:1], gzip.open)
    for name in ("UP.JSONL.GZ", "packed.jsonl"):
        assert main([str(tmp_path / name)]) == 0
        assert json.loads(capsys.readouterr().out)["correct"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers takes a number from 1, got 0"),
        (["--limit", "-1"], "--limit takes a number from 0"),
        (["--verdicts", "."], "--verdicts takes the name of a file to write, and . is a folder"),
        (["--verdicts", "c.jsonl"], "would write over the completions themselves"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(tmp_path, arguments, message, monkeypatch, capsys):
    written(tmp_path / "c.jsonl", ROWS[:1])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["c.jsonl", *arguments])
    assert message in capsys.readouterr().err


def test_fenced_programs_that_were_read_as_text_are_counted(tmp_path, capsys):
    row = {"benchmark": "gsm8k", "completion": "Let us see.\n```python\nprint(3 + 4)\n```", "gold": "7"}
    assert main([str(written(tmp_path / "c.jsonl", [row]))]) == 0
    printed, said = capsys.readouterr()
    assert json.loads(printed)["fenced_programs_not_run"] == 1
    assert "1 rows hold Python in a fence that was read as text; rows whose `kind` is `pot` are run" in said


def peak_bytes(path: Path) -> tuple[int, int]:
    """The most memory that Python held while a file was graded under both rules, and the rows counted."""
    tracemalloc.start()
    try:
        counted = score_file(path, ("published", "corrected"), run=Runner()).as_dict("corrected")["rows"]
        return tracemalloc.get_traced_memory()[1], counted
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path):
    few, many = (generated(tmp_path / f"{count}.jsonl.gz", count) for count in (500, 4_000))
    peak_bytes(few)  # fills the caches, whose size is bounded
    (small, _), (large, rows) = peak_bytes(few), peak_bytes(many)
    assert rows == 4_000
    assert large < small + 2_000_000, (small, large)


@pytest.mark.long
def test_a_million_rows_stream_in_bounded_memory(tmp_path):
    resource = pytest.importorskip("resource", reason="this system counts no process's memory")
    path = generated(tmp_path / "million.jsonl.gz", 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = score_file(path, "corrected", run=Runner()).as_dict("corrected")
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (counts["rows"], counts["correct"]) == (1_000_000, 500_000)
    assert grown_mb < 64, grown_mb


def test_a_file_is_scored_in_one_line(tmp_path):
    path = written(tmp_path / "c.jsonl", ROWS)
    assert score_file(path, run=Runner()).as_dict("corrected")["correct"] == 6


def test_rows_that_stand_twice_are_told_and_samples_of_one_problem_are_not(tmp_path, capsys):
    row = {"benchmark": "gsm8k", "id": "a", "question": "2 + 2?", "completion": "The answer is 4.", "gold": "4"}
    other = {**row, "completion": "The answer is 5."}
    file = tmp_path / "rows.jsonl"
    records.write_jsonl(file, [row, other])
    assert main([str(file)]) == 0
    assert "doubled" not in json.loads(capsys.readouterr().out)
    records.write_jsonl(file, [row, other, row, other, row])
    assert main([str(file)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["doubled"] == 3
    assert "3 rows of rows.jsonl stand there a second time" in printed.err
