"""A user's own rows become a data set by the path of their file; a data set is bound to the files it was made from."""

from __future__ import annotations

import json
import shutil

import hub_bases
import pytest

from mammoth_utils import pages, paths, records
from mammoth_utils.curation import (
    clean_subset,
    curate,
    describe,
    ensure_dataset,
    export,
    mixtures,
    own_data,
    read_mixture,
    rebuild_record,
)
from mammoth_utils.curation.at_scale import sharded_curation
from mammoth_utils.curation.sources import download, rebuild, release
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.row_files import RowFileError
from mammoth_utils.training import describe as describe_training
from mammoth_utils.training import estimate_duration, load_tokenizer
from mammoth_utils.training.loop import training_loop

PROSE, PROGRAM = "It is 3 + 4 = 7. The answer is 7", "a = 3\nprint(a + 4)"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a space in its path, an empty folder of runs and one of data without benchmarks."""
    monkeypatch.setenv("MAMMOTH_ROOT", str(paths.root()))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    for folder in ("my data", "data"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "my data")
    return tmp_path / "my data"


def write(file, *rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return str(file)


def one(**columns):
    """A file's only row as it is trained on."""
    write(paths.runs().parent / "my data" / "one.jsonl", columns)
    return read_mixture(ensure_dataset("one.jsonl"), "hybrid", 0)[0]


@pytest.mark.parametrize(
    ("row", "instruction"),
    [
        ({"instruction": "Add them.", "input": "3 and 4", "output": PROSE}, "Add them.\n3 and 4"),
        ({"instruction": "What is 3 + 4?", "input": "", "output": PROSE}, "What is 3 + 4?"),
        ({"Question": "What is 3 + 4?", "Answer": PROSE}, "What is 3 + 4?"),
        ({"problem": "What is 3 + 4?", "solution": PROSE, "answer": 7}, "What is 3 + 4?"),
        ({"prompt": "What is 3 + 4?", "completion": PROSE}, "What is 3 + 4?"),
        ({"query": "What is 3 + 4?", "response": PROSE}, "What is 3 + 4?"),
        ({"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": PROSE}]}, "What?"),
        ({"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "What?"},
                            {"from": "gpt", "value": PROSE}]}, "Be brief.\n\nWhat?"),
        ({"question": 17, "answer": PROSE}, "17"),
    ],
)  # fmt: skip
def test_common_columns_are_known_by_sight(here, row, instruction):
    trained = one(**row)
    assert (trained["instruction"], trained["output"], trained["kind"]) == (instruction, PROSE, "cot")
    assert trained["source"] == "one"


@pytest.mark.parametrize(
    ("question", "row", "kind", "trigger"),
    [
        ("What is 3 + 4?", {"answer": PROGRAM}, "pot", POT_TRIGGER),
        ("What is 3 + 4?", {"answer": f"```python\n{PROGRAM}\n```"}, "pot", POT_TRIGGER),
        ("What is 3 + 4? Let's write a Python program.", {"answer": PROGRAM}, "pot", ""),
        ("What is 3 + 4?", {"answer": "x = 7"}, "cot", ""),
        ("What is 3 + 4?", {"answer": 7}, "cot", ""),
        ("What is 3 + 4?", {"answer": "7", "kind": "PoT"}, "pot", POT_TRIGGER),
        ("What is 3 + 4?", {"answer": PROGRAM, "kind": "cot"}, "cot", ""),
    ],
)
def test_a_program_is_known_and_its_trigger_stands_once(here, question, row, kind, trigger):
    trained = one(question=question, **row)
    assert (trained["kind"], trained["instruction"]) == (kind, question + trigger)


def test_rows_of_mathinstruct_keep_their_sources_and_mixtures(here):
    file = write(here / "part.jsonl", {"source": "data/CoT/gsm_train.json", "instruction": "What?", "output": PROSE})
    assert read_mixture(ensure_dataset(file), "G", 0)[0]["source"] == "GSM8K (CoT)"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("", r'columns q, sol, none known as question.* -p columns "instruction=q,output=sol"'),
        (
            "instruction=qq,output=sol",
            r"no column 'qq' for instruction; did you mean 'q'\? it has: q, sol\. Such as: -p",
        ),
        ("instruction=q", "name instruction and output at least"),
        ("question=q,output=sol", "expected such as instruction=question,output=answer, got 'question=q'"),
        ("q,sol", "expected such as instruction=question,output=answer, got 'q'"),
    ],
)
def test_a_column_that_is_unknown_is_refused_with_the_files_own(here, columns, message):
    write(here / "mine.jsonl", {"q": "What is 3 + 4?", "sol": PROSE})
    with pytest.raises(RowFileError, match=message):
        ensure_dataset("mine.jsonl", columns=columns)
    for sign in "=:":
        folder = ensure_dataset("mine.jsonl", columns=f"instruction{sign}q,output{sign}sol")
        assert read_mixture(folder, "cot", 0)[0]["instruction"] == "What is 3 + 4?"


def test_bad_rows_are_named_with_their_lines_and_left_out_up_to_a_share(here):
    good = [{"question": f"What is {number} + 4?", "answer": PROSE} for number in range(40)]
    write(
        here / "mine.jsonl", *good, {"question": " ", "answer": PROSE}, {"question": "What?", "answer": None}, good[0]
    )
    said = []
    folder = ensure_dataset("mine.jsonl", said.append)
    assert "2 of 43 rows left out" in said[1]
    assert "line 41: 'question' is empty; line 42: 'answer' is null" in said[1]
    assert "repeat an earlier one word for word: 1; they are kept" in said[2]
    record = records.read_json(folder / "record.json")
    assert record["inputs"]["files"] == {"mine.jsonl": records.sha256(here / "mine.jsonl")}
    assert [row["reason"] for row in records.read_jsonl(folder / mixtures.DROPPED)] == [
        "'question' is empty", "'answer' is null",
    ]  # fmt: skip
    assert len(read_mixture(folder, "hybrid", 0)) == 41
    again = []
    assert ensure_dataset("mine.jsonl", again.append) == folder
    assert again == said, "what was left out is said each time"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"question": "What?"}, "'answer' is missing"),
        ({"question": "What?", "answer": ["7"]}, "'answer' is a list, expected text"),
        ({"question": "What?", "answer": True}, "'answer' is true or false"),
        ({"question": "What?", "answer": float("nan")}, "'answer' is no number"),
        ({"question": "What?", "answer": "\ud800"}, "a lone surrogate"),
        ({"question": "What?", "answer": "7", "kind": "algebra"}, "'kind' is 'algebra', expected cot or pot"),
    ],
)
def test_too_many_bad_rows_refuse_the_file(here, row, fault):
    write(here / "mine.jsonl", {"question": "What?", "answer": "7"}, row, row)
    with pytest.raises(RowFileError, match=rf"2 of 3 rows cannot be trained on.* line 2: {fault}"):
        ensure_dataset("mine.jsonl")
    write(here / "mine.jsonl", {"question": "What?", "answer": "7"}, row)
    assert len(read_mixture(ensure_dataset("mine.jsonl"), "cot", 0)) == 1, "one row may be bad in a file of any length"


def test_a_chat_of_several_turns_is_refused(here):
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant") * 2]
    write(here / "chat.jsonl", *[{"messages": turns}] * 2)
    with pytest.raises(RowFileError, match="has the turns user, assistant, user, assistant, expected one question"):
        ensure_dataset("chat.jsonl")


def test_the_runs_name_has_the_files_and_its_content(here):
    write(here / "My Rows.jsonl", {"question": "What?", "answer": "7"})
    first = describe_training("1m", dataset="My Rows.jsonl")
    assert first.name.startswith(f"llama-1m-hybrid-full-s0-dataset{first.dataset}")
    assert first.dataset.startswith("My-Rows-")
    write(here / "My Rows.jsonl", {"question": "What?", "answer": "8"})
    assert describe_training("1m", dataset="My Rows.jsonl").dataset != first.dataset
    assert describe_training("1m", dataset=first.dataset).name == first.name, "the name below runs/curate is as good"


@pytest.mark.parametrize("mixture", ["G", "existing", "unfiltered"])
def test_a_mixture_that_own_rows_do_not_have_says_so(here, mixture):
    write(here / "mine.jsonl", {"question": "What?", "answer": "7"})
    with pytest.raises(ValueError, match="holds no row of|has no unfiltered.jsonl"):
        read_mixture(ensure_dataset("mine.jsonl"), mixture, 0)


def test_the_curations_checks_take_a_file_too(here):
    rows = [
        {"question": "What is 2 + 3?", "solution": "print(2 + 3)", "answer": 5},
        {"question": "What is 4 + 3?", "solution": "print(2 + 3)", "answer": 7},
        {"question": "What is 9 - 3?", "solution": "It is 6. The answer is 6", "answer": 6},
        {"question": "What is 9 - 5?", "solution": "The answer is 6", "answer": 4},
        {"question": "What is 9 - 3?", "solution": "It is 6. The answer is 6", "answer": 6},
    ]
    write(here / "mine.jsonl", *rows)
    description, said = describe("mine.jsonl", decontaminate="none"), []
    record = curate(description, workers=1, say=said.append)
    lost = {reason for source in record["sources"] for reason in source["dropped"]}
    assert lost == {"gold: another answer", "agreement: another answer", "duplicate: same text"}
    assert record["own"]["inputs"]["files"] == {"mine.jsonl": records.sha256(here / "mine.jsonl")}
    assert said[-1].endswith(f"-p dataset {description.name}")
    assert len(read_mixture(ensure_dataset(description.name), "hybrid", 0)) == 2


@pytest.fixture
def at_scale(here):
    """A folder that curation at scale wrote from rows of the user's own."""
    rows = [
        {"source": "a", "kind": "cot", "instruction": f"What is {n} + {n}?", "output": f"{2 * n}"} for n in range(3)
    ]
    records.write_jsonl(here / "rows.jsonl", rows)
    arguments = ["rows.jsonl", "scaled", "--form", "rows", "--decontaminate", "none", "--workers", "1"]
    assert sharded_curation.main(arguments) == 0
    return here / "scaled"


def test_a_set_curated_at_scale_is_a_data_set_by_name_and_by_path(at_scale, capsys):
    shutil.copytree(at_scale, paths.runs() / "curate" / "mine")
    by_name, by_path = ensure_dataset("mine"), ensure_dataset("scaled")
    assert by_name.name == "mine"
    assert by_path.name.startswith("scaled-")
    assert read_mixture(by_name, "cot", 0) == read_mixture(by_path, "cot", 0)
    for file in ("record.json", "run.json", "audit.json"):
        (by_name / file).unlink()
    assert read_mixture(ensure_dataset("mine"), "cot", 0)[0]["source"] == "a", "rows alone are taken in as a file is"
    assert export.main(["scaled", "cot", "out"]) == 0


def test_a_name_that_is_none_says_what_there_is(at_scale):
    shutil.copytree(at_scale, paths.runs() / "curate" / "mine")
    with pytest.raises(
        RowFileError, match=r"no file 'mien'.*did you mean 'mine'\? known: auto, .* mine, or the path of"
    ):
        ensure_dataset("mien")
    with pytest.raises(RowFileError, match=r"is a folder without mathinstruct\.jsonl"):
        ensure_dataset(str(at_scale.parent))
    with pytest.raises(RowFileError, match="columns are those of a file"):
        ensure_dataset("mine", columns="instruction=q,output=a")


def test_the_command_for_a_data_set_is_the_one_that_made_it(here):
    folder = describe("rebuild", sources="GSM8K (CoT)", limit=5, name="small").folder
    records.write_json(
        folder / "run.json", describe("rebuild", sources="GSM8K (CoT)", limit=5, name="small").identity()
    )
    with pytest.raises(
        FileNotFoundError, match=r"-p dataset rebuild -p sources 'GSM8K \(CoT\)' -p limit 5 -p name small"
    ):
        ensure_dataset("small")


@pytest.mark.parametrize("value", ["release", "rows.csv", "my rows/rows.csv", "mine"])
def test_pages_take_a_data_set_that_is_there(here, value):
    (here / "my rows").mkdir()
    (here / "rows.csv").write_text("question,answer\nx,y\n")
    shutil.copy(here / "rows.csv", here / "my rows")
    (paths.runs() / "curate" / "mine").mkdir(parents=True)
    assert pages.resolve("train", {"dataset": value})["dataset"] == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("relaese", r"did you mean 'release'\? known: auto, miniature, release, rebuild, or the path of a file"),
        ("rows.csv", r"parameter 'dataset': no file 'rows\.csv' in "),
        ("../x/rows", "no file 'rows' in "),
    ],
)
def test_pages_refuse_a_data_set_that_is_not_there(here, value, message):
    with pytest.raises(pages.ParameterError, match=message):
        pages.resolve("train", {"dataset": value})


@pytest.fixture
def released(here):
    """The file of a small release in the data folder, and its rows."""
    file = paths.data() / release.FILE
    hub_bases.small_release(file, rows_a_source=3)
    return file, json.loads(file.read_text())


def test_a_release_that_was_replaced_makes_its_data_set_again_and_says_so(released):
    file, rows = released
    said: list[str] = []
    before = read_mixture(ensure_dataset("release"), "hybrid", 0)
    ensure_dataset("release", said.append)
    assert not said
    file.write_text(json.dumps(rows[9:]))
    after = read_mixture(ensure_dataset("release", said.append), "hybrid", 0)
    assert len(after) < len(before)
    assert "was made from other files: release/MathInstruct.json has SHA-256" in said[0]
    assert (paths.run_dir("curate", "release").parent / "release.old-1" / mixtures.KEPT).is_file()
    record = records.read_json(paths.run_dir("curate", "release") / "record.json")
    records.write_json(paths.run_dir("curate", "release") / "record.json",
                       {key: value for key, value in record.items() if key != "inputs"})  # fmt: skip
    file.write_text(json.dumps(rows[18:]))
    assert len(read_mixture(ensure_dataset("release"), "hybrid", 0)) < len(after), "older records have it in the notes"
    file.unlink()
    said.clear()
    assert ensure_dataset("release", said.append)
    assert not said, "a data set that was copied without its release stands"


def test_a_benchmark_that_was_replaced_makes_a_data_set_again(released):
    (paths.data() / "eval").mkdir()
    gsm8k = paths.data() / "eval" / "gsm8k.jsonl"
    gsm8k.write_text(json.dumps({"question": "Nobody asks this."}) + "\n")
    before = read_mixture(ensure_dataset("release"), "hybrid", 0)
    gsm8k.write_text(json.dumps({"question": before[0]["instruction"].removesuffix(POT_TRIGGER)}) + "\n")
    assert len(read_mixture(ensure_dataset("release"), "hybrid", 0)) < len(before)


def test_rows_that_were_changed_by_hand_are_refused(released):
    folder = ensure_dataset("release")
    kept = (folder / mixtures.KEPT).read_text()
    (folder / mixtures.KEPT).write_text(kept.replace("the", "teh", 1))
    with pytest.raises(ValueError, match="was changed after it was made.*-p dataset PATH/mathinstruct.jsonl"):
        ensure_dataset("release")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"output": None}, "row 3: expected text in 'output', got NoneType"),
        ({"source": ...}, "row 3 lacks source"),
        ({"source": "data/CoT/mine.json"}, "row 3: unknown source 'data/CoT/mine.json'"),
    ],
)
def test_one_bad_row_of_a_release_is_named_and_the_others_go_on(released, change, fault):
    file, rows = released
    bad = {key: value for key, value in {**rows[3], **change}.items() if value is not ...}
    file.write_text("\ufeff" + json.dumps([*rows[:3], bad, *rows[4:]]), encoding="utf8")
    said: list[str] = []
    folder = ensure_dataset("release", said.append)
    assert any(line.startswith("release/MathInstruct.json: left out") and fault in line for line in said)
    assert fault in records.read_json(folder / "record.json")["left_out"][0]
    many = [{**row, **bad, "output": None} for row in rows]
    file.write_text(json.dumps(many))
    with pytest.raises(ValueError, match=r"MathInstruct\.json: left out .*: 21: .* at most 5%"):
        ensure_dataset("release")


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (sharded_curation.main, ["rows.jsonl", "rows.jsonl", "--form", "rows", "--decontaminate", "none"]),
        (sharded_curation.main, ["latin.json", "out", "--form", "rows", "--decontaminate", "none"]),
        (export.main, ["nothing", "hybrid", "out"]),
        (export.main, ["rows.jsonl", "hybrid", "rows.jsonl"]),
        (clean_subset.main, ["rows.jsonl", "."]),
        (clean_subset.main, ["latin.json", "."]),
        (rebuild_record.main, ["--out", "x.json", "--data", "nowhere"]),
        (rebuild.main, []),
        (download.main, ["--list"]),
    ],
)
def test_a_mistake_at_a_command_ends_in_one_line(here, monkeypatch, capsys, main, arguments):
    write(here / "rows.jsonl", {"source": "a", "kind": "cot", "instruction": "What?", "output": "7"})
    (here / "latin.json").write_bytes(b'[{"a": "\xe9"}]')
    if main in (rebuild.main, download.main):
        monkeypatch.setenv("MAMMOTH_DATA_DIR", str(here / "nowhere"))
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("not ")
    assert "\n" not in error


def test_the_place_of_a_program_that_was_thrown_out_is_kept(here):
    write(here / "mine.jsonl", {"question": "What?", "answer": "7"}, {"question": "", "answer": "7"})
    _, dropped, _ = own_data.read_own_rows(here / "mine.jsonl")
    assert [(drop.detail, drop.stage) for drop in dropped] == [("line 2", "malformed")]


def test_training_names_the_rows_that_it_leaves_out_and_says_when_steps_are_few(here):
    long, special = "3 + 4 = 7. " * 400, "a </s> b"
    rows = [{"question": f"What is {number} + 4?", "answer": PROSE} for number in range(8)]
    write(here / "mine.jsonl", *rows, {"question": "Long?", "answer": long}, {"question": "End?", "answer": special})
    description = describe_training("1m", dataset="mine.jsonl")
    data = read_mixture(ensure_dataset("mine.jsonl"), "hybrid", 0)
    tokenizer = load_tokenizer(description)
    with pytest.raises(ValueError, match=r"2 of 10 rows would be left out .*") as refused:
        training_loop._examples(description, data, tokenizer, lambda line: None)
    assert "mine.jsonl, line 9: " in str(refused.value)
    assert "mine.jsonl, line 10: holds the special token '</s>'" in str(refused.value)
    lines = []
    one_bad = [row for row in data if "Long?" not in row["instruction"]]
    examples, _ = training_loop._examples(description, one_bad, tokenizer, lines.append)
    assert len(examples) == 8, "one row may be left out of any number"
    assert lines[-1] == "left out: mine.jsonl, line 10: holds the special token '</s>'"
    assert "1 steps of 13 examples: so few steps teach a model hardly anything" in estimate_duration(
        description, data, tokenizer
    )
