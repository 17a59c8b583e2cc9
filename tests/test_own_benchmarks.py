"""A reader's own benchmark: read row by row, graded under a named rule, never taken for a published one."""

import json

import pytest
from test_scoring import Truth

from mammoth_utils import records
from mammoth_utils.evaluation import describe_evaluation, evaluate
from mammoth_utils.evaluation.own_benchmarks import read_benchmark, read_problems
from mammoth_utils.report import measured_models

OPEN = [{"question": "What is 2 + 2?", "gold": "4"}, {"question": "Half of 3?", "answer": 1.5}]
CHOICE = [
    {"question": "What is 2 + 2?", "gold": "B", "options": ["3", "4"]},
    {"problem": "Half of 3?", "answer": "1.5", "choices": {"A": "1.5", "B": "2"}},
    {"question": "Twice 3?", "label": 1, "choices": ["5", "6", "7"]},
]


def write(place, rows, ending=".jsonl", mark=""):
    file = place / f"my set{ending}"
    if ending == ".jsonl":
        file.write_text(mark + "".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    elif ending == ".csv":
        lines = [",".join(rows[0])] + [",".join(json.dumps(str(value)) for value in row.values()) for row in rows]
        file.write_text(mark + "\n".join(lines), encoding="utf8")
    else:
        import pandas

        pandas.DataFrame(rows).to_parquet(file)
    return str(file)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_file_of_questions_and_golds_is_a_benchmark_in_any_form(tmp_path, ending, mark):
    rows = [{"question": "What is 2 + 2?", "gold": "4"}, {"question": "Half of 3?", "gold": "1.5"}]
    benchmark = read_benchmark(write(tmp_path, rows, ending, mark))
    assert (benchmark.name, benchmark.rules, benchmark.size, benchmark.choice) == ("own-my-set", "math", 2, False)
    assert [problem.gold for problem in read_problems(benchmark)] == ["4", "1.5"]
    assert read_problems(benchmark)[0].id == "own-my-set/1"


def test_options_come_as_a_list_as_letters_or_with_an_index_as_gold(tmp_path):
    benchmark = read_benchmark(write(tmp_path, CHOICE))
    assert (benchmark.rules, benchmark.choice) == ("aqua", True)
    assert [problem.gold for problem in read_problems(benchmark)] == ["B", "A", "B"]
    assert read_benchmark(write(tmp_path, [*CHOICE, *OPEN])).rules == "numglue"


def test_gsm8ks_worked_answers_are_read_for_their_number(tmp_path):
    file = write(tmp_path, [{"question": "How many?", "answer": "He has 1000 + 25.\n#### 1,025"}])
    assert read_problems(read_benchmark(file, "gsm8k"))[0].gold == "1025"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "What?"}, "line 3: no gold (looked for gold, answer, target, label); the row has question"),
        ({"gold": "4"}, "line 3: no question"),
        ({"question": ["What?"], "gold": "4"}, "expected text"),
        ({"question": "What?", "gold": "E", "options": ["1", "2"]}, "none of the 2 options"),
        ({"question": "What?", "gold": "A", "options": ["1"]}, "expected a list of 2 to 26"),
        ({"question": "What?", "gold": "A", "options": "1 or 2"}, "expected a list, in CSV as JSON"),
        ({"question": "What?", "gold": {"a": 1}}, "expected text or a number"),
        ({"question": "What?", "gold": "  "}, "the gold is empty"),
        ({"question": "What?", "gold": "4", "id": "1"}, "its id '1' stands at line 1 already"),
    ],
)
def test_a_row_that_is_no_problem_is_named_by_its_line(tmp_path, row, says):
    with pytest.raises(ValueError, match="1 rows are no problems") as caught:
        read_benchmark(write(tmp_path, [*OPEN, row]))
    assert says in str(caught.value)


def test_of_many_faults_five_are_named_and_all_counted(tmp_path):
    with pytest.raises(ValueError, match=r"9 rows are no problems.*line 5.*; and 4 more$"):
        read_benchmark(write(tmp_path, [{"question": "What?"}] * 9))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"benchmarks": "gone.jsonl"}, "no file 'gone.jsonl'"),
        ({"benchmarks": "FILE,gsm8k"}, "is a benchmark of your own and gsm8k is not; evaluate them apart"),
        ({"benchmarks": "FILE", "graded_as": "math500"}, "unknown graded_as 'math500'"),
        ({"benchmarks": "gsm8k", "graded_as": "math"}, "is for a benchmark of your own"),
        ({"benchmarks": "FILE", "split": "dev"}, "no split 'dev'"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, arguments, says):
    file = write(tmp_path, OPEN)
    arguments = {key: value.replace("FILE", file) for key, value in arguments.items()}
    with pytest.raises(ValueError, match=says):
        describe_evaluation(model="owner/name", **arguments)


def test_an_own_benchmark_is_evaluated_kept_apart_and_made_again_when_its_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    model = tmp_path / "a-model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")

    class Four(Truth):
        def write(self, prompt):
            return "The answer is 4."

    file = write(tmp_path, OPEN)
    description = describe_evaluation(model=str(model), benchmarks=file, decoding="cot")
    assert (description.world, description.max_new_tokens) == ("own", 1500)
    assert describe_evaluation(model="llama-1m", benchmarks=file).max_new_tokens == 200
    record = evaluate(description, decoder=Four())
    assert record["benchmarks"]["own-my-set"]["corrected"]["correct"] == 1
    assert record["parameters"]["own"] == [{"file": "my set.jsonl", "graded_as": "math"}]
    assert str(tmp_path) not in json.dumps(record)
    assert not [
        one for world in ("real", "miniature") for one in measured_models.read(world) if one.path.startswith("runs")
    ]
    assert evaluate(description, decoder=None) == record
    said = []
    again = evaluate(describe_evaluation(model=str(model), benchmarks=write(tmp_path, OPEN[:1]), decoding="cot"),
                     decoder=Four(), say=said.append)  # fmt: skip
    assert again["benchmarks"]["own-my-set"]["n"] == 1
    assert "own-my-set" in said[0]
    assert len(list(records.finished_runs("evaluate"))) == 1
