"""Records, paths, scales and prompts: the nouns that all stages share."""

from __future__ import annotations

import gzip
import json

import pytest

from mammoth_utils import paths, prompts, records, scales
from mammoth_utils.rationale import Problem, Rationale

CHOICE = Problem("x/1", "How many?", "B", ("3", "4"))


def test_the_alpaca_prompt_is_exact_to_the_byte():
    assert prompts.prompt(Problem("x", "What is 1 + 1?", "2"), "cot") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nWhat is 1 + 1?\n\n### Response:"
    )


def test_a_program_is_asked_for_by_the_trigger_with_its_leading_space():
    assert "What is 1 + 1? Let's write a program.\n\n### Response:" in prompts.prompt(
        Problem("x", "What is 1 + 1?", "2"), "pot"
    )


def test_multiple_choice_in_prose_is_prefilled_and_a_program_is_not():
    assert prompts.prompt(CHOICE, "cot").endswith(
        "How many?\nAnswer Choices: (A) 3 (B) 4\n\n### Response:Let's solve the multi-choice question step by step.\n"
    )
    assert prompts.prompt(CHOICE, "pot").endswith("(B) 4 Let's write a program.\n\n### Response:")


def test_unknown_kinds_and_single_options_are_refused():
    with pytest.raises(ValueError, match="unknown kind 'prose'; known: cot, pot"):
        prompts.prompt(CHOICE, "prose")
    with pytest.raises(ValueError, match="unknown kind"):
        Rationale(CHOICE, "tir", "", "x")
    with pytest.raises(ValueError, match="expected 2 to 26 options, got 1"):
        Problem("x", "q", "A", ("3",))


@pytest.mark.parametrize(
    ("size", "family", "base"),
    [
        ("1m", "auto", "llama-1m"),
        ("34b", "auto", "codellama/CodeLlama-34b-hf"),
        ("7b", "coder", "codellama/CodeLlama-7b-hf"),
        ("0.5b", "auto", "Qwen/Qwen2.5-0.5B"),
    ],
)
def test_a_scale_is_found_by_size_and_family(size, family, base):
    assert scales.scale(size, family).base == base


@pytest.mark.parametrize(
    ("size", "family", "message"),
    [
        ("2m", "auto", "unknown scale '2m'; known: 1m, 3m, 0.5b"),
        ("34b", "llama", "family 'llama' has no size '34b'; its sizes: 1m, 3m, 7b, 13b, 70b; families with 34b: coder"),
        ("7b", "gemma", "unknown family 'gemma'"),
    ],
)
def test_a_scale_that_does_not_exist_is_refused_with_the_choices(size, family, message):
    with pytest.raises(ValueError, match=message):
        scales.scale(size, family)


def test_code_llama_states_the_rope_base_that_costs_points_when_forgotten():
    assert all(scale.rope_theta == 1e6 for scale in scales.SCALES.values() if scale.base.startswith("codellama/"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "record.json"
    records.write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        records.write_json(target, {"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write_json(target, {"a": float("nan")})
    assert records.read_json(target) == {"a": 1}
    assert [file.name for file in target.parent.iterdir()] == ["record.json"]


def test_json_lines_are_read_zipped_or_not_and_a_bad_line_is_named(tmp_path):
    plain = records.write_jsonl(tmp_path / "a.jsonl", [{"n": 1}, {"n": 2}])
    zipped = records.write_jsonl(tmp_path / "b.jsonl.gz", records.read_jsonl(plain))
    assert gzip.decompress(zipped.read_bytes()).decode() == plain.read_text()
    assert list(records.read_jsonl(plain)) == list(records.read_jsonl(zipped)) == [{"n": 1}, {"n": 2}]
    plain.write_text('{"n": 1}\nnot json\n')
    with pytest.raises(ValueError, match="line 2: no JSON"):
        list(records.read_jsonl(plain))
    plain.write_text("[1]\n")
    with pytest.raises(ValueError, match="expected an object, got list"):
        list(records.read_jsonl(plain))


def test_a_finished_run_is_read_and_another_one_in_its_folder_is_refused(tmp_path):
    folder = tmp_path / "run"
    assert records.open_run(folder, {"size": "1m", "seed": 0}) is None
    assert records.open_run(folder, {"size": "1m", "seed": 0}) is None, "unfinished: goes on"
    records.write_record(folder, {"loss": 1.0})
    assert records.open_run(folder, {"seed": 0, "size": "1m"})["loss"] == 1.0
    with pytest.raises(records.RunMismatchError, match="seed: there 0, asked 1"):
        records.open_run(folder, {"size": "1m", "seed": 1})
    assert records.open_run(folder, {"size": "1m", "seed": 1}, replace=True) is None
    assert (tmp_path / "run.old-1" / "record.json").is_file(), "moved aside, not lost"


def test_records_of_a_stage_are_found_without_those_moved_aside(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    for name in ("a", "b", "b.old-1", "unfinished"):
        (tmp_path / "train" / name).mkdir(parents=True)
        if name != "unfinished":
            (tmp_path / "train" / name / "record.json").write_text(json.dumps({"name": name}))
    assert [record["name"] for _, record in records.finished_runs("train")] == ["a", "b"]


def test_a_record_knows_by_versions_whether_it_still_holds():
    now = records.versions("grading", "prompts")
    assert records.outdated(now, now) == []
    (line,) = records.outdated({"grading": 0, "prompts": now["prompts"]}, now)
    assert line == f"the record was made with grading version 0, and this is version {now['grading']}"
    assert "grading version unknown" in records.outdated({"prompts": now["prompts"]}, now)[0]


def test_the_environment_names_versions_and_machine_without_loading_torch():
    found = records.environment(threads=1)
    assert {"python", "packages", "commit", "processor", "device", "threads"} <= set(found)
    assert "sympy" in found["packages"]


def test_paths_are_found_from_any_folder_of_the_project(tmp_path, monkeypatch):
    assert paths.root(paths.root() / "notebooks") == paths.root()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAMMOTH_ROOT", raising=False)
    with pytest.raises(FileNotFoundError, match="MAMMOTH_ROOT"):
        paths.root()
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        paths.data()


def test_a_committed_record_has_an_item_a_line(tmp_path):
    record = {"page": "x", "at": {"a": {"b": {"c": {"d": [1, 2]}}}}, "rows": [{"id": "é", "marks": "10"}, [1, [2]]],
              "none": {}, "empty": []}  # fmt: skip
    file = records.write_items(tmp_path / "record.json", record)
    assert records.read_json(file) == record
    assert file.read_text(encoding="utf8").splitlines() == [
        "{", ' "page": "x",', ' "at": {', '  "a": {', '   "b": {', '    "c": {"d":[1,2]}', "   }", "  }", " },",
        ' "rows": [', "  {", '   "id": "é",', '   "marks": "10"', "  },", "  [1,[2]]", " ],",
        ' "none": {},', ' "empty": []', "}",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["audit", "curate"])
def test_the_committed_records_of_real_data_are_laid_out_by_that_function(name, tmp_path):
    file = paths.records() / "real" / f"{name}.json"
    again = records.write_items(tmp_path / "again.json", records.read_json(file))
    assert again.read_bytes() == file.read_bytes()


def test_an_error_of_the_rows_leaves_the_file_as_it_was(tmp_path):
    file = records.write_jsonl(tmp_path / "rows.jsonl", [{"n": 1}])

    def rows():
        yield {"n": 2}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        records.write_jsonl(file, rows())
    assert list(records.read_jsonl(file)) == [{"n": 1}]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("text", "words"), [
    ("name,gib\na,1\n", r"facts.csv: expected the columns name, gib, tied, got \['name', 'gib'\]"),
    ("name,gib,tied\na,much,true\n", "facts.csv: .*'gib': 'much'.* does not parse"),
    ("name,gib,tied\na,1,yes\n", "expected true or false, got 'yes'"),
    ("name,gib,tied\na,1\n", "facts.csv: .*'tied': None.* does not parse"),
])  # fmt: skip
def test_a_table_of_facts_that_is_not_as_declared_is_refused_with_its_row(tmp_path, text, words):
    columns = {"name": str, "gib": float, "tied": records.flag}
    file = tmp_path / "facts.csv"
    file.write_text('# a comment, with commas\nname,gib,tied\n"a, b",1.5,true\n')
    assert records.read_facts(file, columns) == [{"name": "a, b", "gib": 1.5, "tied": True}]
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        records.read_facts(file, columns)
