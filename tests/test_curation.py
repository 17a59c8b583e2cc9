"""From sources to MathInstruct: every row is kept or has a reason, and what the filters decide is right."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mammoth_utils import records, row_files
from mammoth_utils.curation import (
    clean_subset,
    curate,
    describe,
    ensure_dataset,
    filters,
    mathinstruct_rows,
    mixtures,
    near_duplicates,
    tables,
    teacher_stage,
)
from mammoth_utils.curation.sources import primary_formats, registry, release
from mammoth_utils.miniature import benchmarks, teacher
from mammoth_utils.miniature import sources as world
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import Problem, Rationale


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A runs folder of this module's own."""
    folder = tmp_path_factory.mktemp("runs")
    before = os.environ.get("MAMMOTH_RUNS_DIR")
    os.environ["MAMMOTH_RUNS_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["MAMMOTH_RUNS_DIR"]
    else:
        os.environ["MAMMOTH_RUNS_DIR"] = before


@pytest.fixture(scope="module")
def miniature(runs):
    """The miniature, curated once."""
    record = curate(describe(dataset="miniature"))
    return runs / "curate" / "miniature", record


def row(
    question="What is 2 + 3?", text="2 + 3 = 5. The answer is 5.", kind="cot", gold="5", id="a", options=None, **more
):
    name = more.pop("source", "GSM8K (CoT)" if kind == "cot" else "MathQA (PoT)")
    return Rationale(Problem(id, question, gold, options, name), kind, text, name, "human", **more)


# --- the table of sources -----------------------------------------------------------------------------------


def test_the_thirteen_sources_are_table_ones():
    kinds = Counter()
    for source in registry.SOURCES.values():
        kinds[source.kind] += source.rows_paper
    assert len(registry.SOURCES) == 13
    assert kinds == {"cot": 184_400, "pot": 69_400}
    assert sum(source.new for source in registry.SOURCES.values()) == 6


def test_the_miniature_names_the_same_sources_in_the_same_order():
    assert [registry.paper_name(name) for name in world.SOURCES] == list(registry.SOURCES)
    for name, entry in world.SOURCES.items():
        source = registry.SOURCES[registry.paper_name(name)]
        assert (entry.kind, entry.new, entry.asks_teacher) == (source.kind, source.new, source.asks_teacher), name


def test_sources_are_chosen_by_name_in_table_ones_order():
    assert registry.select("MathQA (PoT), mini-gsm8k (cot)") == ("GSM8K (CoT)", "MathQA (PoT)")
    assert registry.select("all") == tuple(registry.SOURCES)


@pytest.mark.parametrize("asked", ["GSM8K", "", "GSM8K (CoT),MATHQA"])
def test_an_unknown_source_names_those_there_are(asked):
    with pytest.raises(ValueError, match=r"known: all, GSM8K \(CoT\)"):
        registry.select(asked)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dataset": "minature"}, "known: auto, miniature, release, rebuild"),
        ({"limit": -1}, "limit of at least 0"),
        ({"agreement": "some"}, "known: validated, all, none"),
        ({"windows": "8;13"}, "windows such as '8,13'"),
        ({"decontaminate": "ngram_20"}, "known: equal, near, ngram_8, ngram_13, none"),
        ({"samples": 3}, "answers once"),
        ({"teacher": "http://localhost:1/v1", "teacher_model": "m", "samples": 3}, "set a temperature"),
        ({"name": "../x"}, "name of letters"),
        ({"teacher": "localhost:8000"}, "base URL"),
        ({"teacher": "http://localhost:8000/v1"}, "teacher_model"),
        ({"teacher_model": "gpt"}, "names itself"),
    ],
)
def test_a_description_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        describe(**wrong)


def test_the_folders_name_follows_from_what_is_not_the_default():
    assert describe().name == "miniature"
    assert describe("rebuild", "MathQA (PoT),GSM8K (CoT)", limit=5).name == "rebuild-gsm8k-cot-mathqa-pot-limit5"
    assert describe("rebuild", seed=7, name="mine").name == "mine"
    assert describe("rebuild", windows="5", decontaminate="ngram_5").name == "rebuild-clean-ngram-5"
    assert describe(agreement="all").name == "miniature-agreement-all"


def test_a_dry_run_asks_nobody():
    asking_somebody = describe("rebuild", teacher="http://localhost:1/v1", teacher_model="m")
    assert asking_somebody.without_teacher().teacher == "miniature"
    assert asking_somebody.without_teacher().name == "rebuild-m-dry"
    assert describe().without_teacher() == describe(), "the miniature's own costs nothing"


# --- the filters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Find tan 225°.", "Find tan 22.5°.", False),
        ("Solve x - 3 = 0", "Solve x + 3 = 0", False),
        ("He has 1,200 coins.", "he has 1200 coins", True),
        ("A  (small)\nsum", "a small sum", True),
        ("half of 3.0", "half of 3.", False),
        ("-5 and 5", "5 and 5", False),
        ("6 × 7", "6 * 7", True),
        ("x – 3 and x − 3", "x - 3 and x - 3", True),
        (".5 of it", "0.5 of it", True),
        (".5 of it", "5 of it", False),
        ("see p.5 ...5", "see p 5 5", True),
    ],
)
def test_normalisation_keeps_signs_digits_and_dots(one, other, same):
    assert (filters.normalised(one) == filters.normalised(other)) is same


@pytest.mark.parametrize(
    ("bad", "stage", "reason"),
    [
        (row(question=" \n"), "malformed", "empty question"),
        (row(text="  "), "malformed", "empty rationale"),
        (row(text="caf\ufffd"), "malformed", "broken characters"),
        (row(text="x" * 9000), "length", "over-long"),
    ],
)
def test_malformed_rows_are_dropped_with_their_reason(bad, stage, reason):
    kept, dropped = filters.drop_malformed([row(), bad])
    assert len(kept) == 1
    assert [(one.stage, one.reason) for one in dropped] == [(stage, reason)]


def test_programs_are_kept_by_what_they_print():
    programs = {
        "right": "print(2 + 3)",
        "wrong": "print(2 * 3)",
        "error": "print(1 / 0)",
        "syntax": "print((5)",
        "silent": "pass",
        "loop": "while True:\n    pass",
        "float": "print(10 / 2)",
        "no gold": "print(17)",
    }
    rows = [
        row(text=text, kind="pot", id=name, gold="" if name == "no gold" else "5") for name, text in programs.items()
    ]
    kept, dropped = filters.drop_failed_programs([row(), *rows], timeout_s=1)
    assert [one.problem.id for one in kept] == ["a", "right", "float", "no gold"]
    reasons = {one.rationale.problem.id: (one.stage, one.reason) for one in dropped}
    assert reasons == {
        "wrong": ("gold", "another answer"),
        "error": ("execution", "error"),
        "syntax": ("execution", reasons["syntax"][1]),
        "silent": ("execution", "no output"),
        "loop": ("execution", "timeout"),
    }
    assert reasons["syntax"][1] in ("error", "refused")
    assert kept[1].history["verdict"] == "correct"
    assert kept[3].history["verdict"] == "no gold"


def test_a_program_may_print_the_value_of_the_right_option():
    options = ("362", "357", "359")
    asked = {"source": "AQuA-RAT (PoT)", "kind": "pot", "options": options, "gold": "C"}
    rows = [row(text=f"print({value})", id=str(value), **asked) for value in (359, 357, 359.0, 100)]
    kept, dropped = filters.drop_failed_programs(rows, timeout_s=2)
    assert [one.problem.id for one in kept] == ["359", "359.0"]
    assert {one.stage for one in dropped} == {"gold"}


def test_a_program_whose_answer_is_printed_before_something_else_is_kept():
    programs = {
        "its own None": "def solution():\n    print(18)\nprint(solution())",
        "a closing message": "print('Total:', 18)\nprint('Done')",
        "a rule below": "print(18)\nprint('-' * 20)",
        "another answer": "print(18)\nprint(17)",
    }
    asked = {"source": "GSM8K (PoT)", "kind": "pot", "gold": "18"}
    kept, dropped = filters.drop_failed_programs([row(text=text, id=id, **asked) for id, text in programs.items()])
    assert [one.problem.id for one in kept] == ["its own None", "a closing message", "a rule below"]
    assert [one.reason for one in dropped] == ["another answer"]


COTS = [
    row(id="right"),
    row(text="2 + 3 = 6. The answer is 6.", id="wrong"),
    row(text="I would say it is a matter of taste.", id="none"),
    row(gold="", id="no gold"),
    row(text="x\nThe answer is 7", id="by gold", history={"answer_line": "gold"}),
    row(text="print(6)", kind="pot", id="program"),
]


@pytest.mark.parametrize(
    ("which", "source", "gone"),
    [
        ("validated", "TheoremQA (CoT)", {"wrong": "another answer", "none": "no answer in the prose"}),
        ("validated", "Camel-Math (CoT)", {}),
        ("validated", "GSM8K (CoT)", {}),
        ("all", "Camel-Math (CoT)", {"wrong": "another answer", "none": "no answer in the prose"}),
        ("none", "TheoremQA (CoT)", {}),
    ],
)
def test_prose_is_compared_with_its_gold_and_thrown_out_where_that_is_asked(which, source, gone):
    rows = [one.replaced(source=source) for one in COTS]
    kept, dropped = filters.drop_disagreeing_prose(rows, which)
    assert {one.rationale.problem.id: one.reason for one in dropped} == gone
    assert {one.stage for one in dropped} <= {"agreement"}
    verdicts = {one.problem.id: one.history.get("verdict") for one in (*kept, *(each.rationale for each in dropped))}
    assert verdicts == {"right": "correct", "wrong": "incorrect", "none": "no_answer", "no gold": "no gold",
                        "by gold": "by gold", "program": None}  # fmt: skip


def test_an_unknown_agreement_names_those_there_are():
    with pytest.raises(ValueError, match="known: validated, all, none"):
        filters.drop_disagreeing_prose([], "some")


def test_exact_duplicates_go_and_the_first_stays():
    kept, dropped = filters.drop_duplicates([row(id="1"), row(id="2"), row(id="3", text="Five. The answer is 5.")])
    assert [one.problem.id for one in kept] == ["1", "3"]
    assert "1" in dropped[0].detail


LONG = "Anna has {n} apples in a basket and buys {m} more apples at the market in {town}. How many apples has she now?"


def test_near_duplicates_share_numbers_and_words_and_differ_in_the_question():
    def one(id, n=12, m=30, town="town", tail=""):
        text = f"She starts with {n} apples and buys {m} more, so she has {n} + {m} = {n + m} apples now.{tail}"
        return row(LONG.format(n=n, m=m, town=town), f"{text} The answer is {n + m}.", id=id)

    rows = [
        one("first"),
        one("other town", town="London"),
        one("other numbers", n=13),
        one("same question", tail=" Yes."),
    ]
    kept, dropped = filters.drop_near_duplicates(rows)
    assert [each.rationale.problem.id for each in dropped] == ["other town"]
    assert [each.problem.id for each in kept] == ["first", "other numbers", "same question"]


def test_near_duplicates_are_found_among_many_texts_without_numbers():
    words = [a + b for a in ("al", "be", "ga", "de") for b in ("ta", "ro", "mi", "su", "ne")][:19]
    rows = [
        row(
            " ".join(words[i % 19 :] + words[: i % 19] + [words[i // 19]] * 3) + f" {'so ' * (i % 7)}?",
            f"Because {words[i % 19]}.",
            id=str(i),
        )
        for i in range(150)
    ]
    copy = row(rows[149].problem.question.replace("?", " then?"), rows[149].text, id="copy")
    assert len(rows) > near_duplicates.DIRECT, "the hashed path is taken"
    kept, dropped = filters.drop_near_duplicates([*rows, copy])
    assert "copy" in {one.rationale.problem.id for one in dropped}
    assert len(kept) + len(dropped) == len(rows) + 1


def test_an_unknown_stage_cannot_be_a_reason():
    with pytest.raises(ValueError, match="known: teacher"):
        filters.Dropped(row(), "boredom", "x")


# --- the release --------------------------------------------------------------------------------------------

RELEASED = [
    {"source": "data/CoT/gsm_train.json", "instruction": "What is 4 + 4?", "output": "8. The answer is 8"},
    {"source": "data/PoT/mathqa.json", "instruction": "1 / 0.08 is equal to ? Let's write a program.",
     "output": "n0 = 1.0\nn1 = 0.08\nprint(n0 / n1)"},
    {"source": "data/PoT/TheoremQA.json", "instruction": "How far? Let's write a Python program to solve it.",
     "output": "def solve():\n    return 3\nprint(solve())"},
    {"source": "data/PoT/aqua_rat_filtered.json", "instruction": "Which?\nAnswer Choices: (A) 1 (B) 2",
     "output": "print(1)"},
    {"source": "data/CoT/number_comparison.json", "instruction": "Is 3 > 2?", "output": "Yes. Let's write a program."},
    {"source": "data/PoT/numglue.json", "instruction": "Broken? Let's write a program.", "output": "print(1 / 0)"},
]  # fmt: skip


def test_the_release_is_streamed_whatever_the_size_of_the_pieces(tmp_path, monkeypatch):
    file = tmp_path / "MathInstruct.json"
    for text in (json.dumps(RELEASED), json.dumps(RELEASED, indent=4), "\n".join(map(json.dumps, RELEASED))):
        file.write_text(text, encoding="utf8")
        for size in (7, 64, 1 << 20):
            monkeypatch.setattr(row_files, "_CHUNK", size)
            assert list(release.stream_release(file)) == RELEASED


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RELEASED)[:-40],
        '[{"a": 1}, 7]',
        "no JSON",
        '[{"a": 1},\n{"a": 2},\n',
        '[{"a": 1}',
        "[",
        '{"a": 1}\n{"a":',
    ],
    ids=["cut in a row", "a number", "text", "cut between rows", "cut behind a row", "nothing", "a cut line"],
)
def test_a_release_that_is_cut_or_something_else_is_refused_by_the_place(tmp_path, text):
    file = tmp_path / "MathInstruct.json"
    file.write_text(text, encoding="utf8")
    with pytest.raises(ValueError, match=r"(row|line) \d|holds no row"):
        list(release.stream_release(file))


def test_a_spoilt_row_ends_the_reading_before_the_rest_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "_CHUNK", 256)
    monkeypatch.setattr(row_files, "LONGEST", 2_048)
    file = tmp_path / "MathInstruct.json"
    rows = [json.dumps({"a": number}) for number in range(10_000)]
    file.write_text("[" + ",\n".join([*rows[:3], '{"a": "x" y}', *rows[3:]]) + "]")
    with pytest.raises(
        ValueError, match=r"line 4: no JSON after row 3 \(Expecting ',' delimiter\): '\{\"a\": \"x\" y\}"
    ):
        list(release.stream_release(file))
    wide = {"a": "x" * 1_900}
    file.write_text(json.dumps([wide, wide]))
    assert list(release.stream_release(file)) == [wide, wide], "a long row is no spoilt one"


def test_released_programs_are_known_by_their_source_and_keep_their_trigger():
    rows = list(release.parse_release(RELEASED))
    assert [one.kind for one in rows] == ["cot", "pot", "pot", "pot", "cot", "pot"]
    assert rows[1].problem.question == "1 / 0.08 is equal to ?"
    assert rows[2].history["trigger"] == " Let's write a Python program to solve it."
    assert rows[3].history["trigger"] == ""
    for one, raw in zip(rows, RELEASED, strict=True):
        back = mathinstruct_rows.format_row(one)
        assert (back["instruction"], back["output"]) == (raw["instruction"], raw["output"])


def test_a_row_of_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"known: data/CoT/gsm_train\.json"):
        list(release.parse_release([{"source": "data/CoT/x.json", "instruction": "", "output": ""}]))
    with pytest.raises(ValueError, match="lacks output"):
        list(release.parse_release([{"source": "x", "instruction": ""}]))


def test_a_local_release_goes_through_all_stages(tmp_path, monkeypatch):
    (tmp_path / "data" / "release").mkdir(parents=True)
    (tmp_path / "data" / "release" / "MathInstruct.json").write_text(json.dumps(RELEASED), encoding="utf8")
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    record = curate(describe("release", decontaminate="none", name="release"))
    assert record["world"] == "real"
    kept = list(records.read_jsonl(tmp_path / "runs" / "curate" / "release" / mixtures.KEPT))
    assert {one["instruction"] for one in kept} == {raw["instruction"] for raw in RELEASED[:5]}
    by_name = {one["name"]: one for one in record["sources"]}
    assert by_name["NumGLUE (PoT)"]["dropped"] == {"execution: error": 1}
    assert "no row" in by_name["MATH (CoT)"]["missing"]
    assert by_name["number_comparison (CoT)"]["kept"] == 1


# --- the rebuild --------------------------------------------------------------------------------------------


def test_gsm8k_answers_lose_their_calculator_marks():
    text, gold = primary_formats.gsm8k_text("He pays 48/2 = $<<48/2=24>>24.\nThen 1,<<x>>000.\n#### 1,024")
    assert text == "He pays 48/2 = $24.\nThen 1,000.\nThe answer is 1024"
    assert gold == "1024"
    with pytest.raises(ValueError, match="####"):
        primary_formats.gsm8k_text("no answer")


@pytest.mark.parametrize(
    ("solution", "boxed"),
    [
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"gives $\boxed 5$", "5"),
        ("nothing", None),
        (r"cut \boxed{1", None),
    ],
)
def test_the_last_box_of_a_math_solution(solution, boxed):
    assert primary_formats.last_boxed(solution) == boxed


def write_gz(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in rows).encode()))


@pytest.fixture
def small_data(tmp_path, monkeypatch):
    """A data folder with a few rows of two training files and one benchmark."""
    train = tmp_path / "data" / "train"
    asked = "Tom has 48 coins and gives away half of them to his two friends. How many has he left?"
    write_gz(train / "gsm8k_train.jsonl.gz", [
        {"question": "What is 6 x 8?", "answer": "6*8 = <<6*8=48>>48\n#### 48"},
        {"question": asked, "answer": "48/2 = <<48/2=24>>24\n#### 24"},
    ])  # fmt: skip
    write_gz(train / "lila_mathqa_gain.jsonl.gz", [
        {"Input": "2 + 2 ?", "Output Program": ["print(2 + 2)"], "Output Answer": ["4"], "split": "train"},
        {"Input": "2 + 3 ?", "Output Program": ["print(2 * 3)"], "Output Answer": ["5"], "split": "train"},
        {"Input": "9 ?", "Output Program": ["print(9)"], "Output Answer": ["9"], "split": "test"},
    ])  # fmt: skip
    (tmp_path / "data" / "eval").mkdir()
    (tmp_path / "data" / "eval" / "gsm8k.jsonl").write_text(json.dumps({"question": asked, "answer": "#### 24"}) + "\n")
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path


def test_a_rebuild_goes_on_with_what_is_there_and_says_what_is_not(small_data):
    record = curate(describe("rebuild"))
    found = {one["name"]: (one["entered"], one["kept"], one["dropped"]) for one in record["sources"] if one["entered"]}
    assert found == {
        "GSM8K (CoT)": (2, 1, {"contamination: stands in a benchmark": 1}),
        "MathQA (PoT)": (2, 1, {"gold: another answer": 1}),
    }
    missing = {one["name"]: one["missing"] for one in record["sources"] if one["missing"]}
    assert len(missing) == 11
    assert "math_train.jsonl.gz" in missing["MATH (CoT)"]
    assert "teacher=" in missing["GSM8K (PoT)"]
    kept = list(records.read_jsonl(small_data / "runs" / "curate" / "rebuild" / mixtures.KEPT))
    assert kept[1]["instruction"] == "2 + 2 ?" + POT_TRIGGER
    assert kept[1]["gold"] == "4"


def test_benchmarks_that_are_not_there_are_named_aloud_and_in_the_record(small_data):
    said = []
    record = curate(describe("rebuild", "GSM8K (CoT)"), say=said.append)
    assert record["benchmarks"]["compared"] == ["GSM8K"]
    assert len(record["benchmarks"]["missing"]) == 8
    assert "eval/math.jsonl" in record["benchmarks"]["missing"]
    (line,) = [line for line in said if "eval/math.jsonl" in line]
    assert "no row is compared with these benchmarks; `make data` fetches them" in line
    assert "benchmark, eval/math.jsonl" in set(tables.missing(record)["source"])


def test_without_any_benchmark_nothing_is_called_clean(small_data):
    (small_data / "data" / "eval" / "gsm8k.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"eval/gsm8k\.jsonl, .*found none.*`make data`.*decontaminate=none"):
        curate(describe("rebuild", "GSM8K (CoT)"))
    assert not (small_data / "runs" / "curate" / "rebuild-gsm8k-cot" / "record.json").exists()
    record = curate(describe("rebuild", "GSM8K (CoT)", decontaminate="none"))
    assert record["sources"][0]["kept"] == 2
    for table in (tables.clean_problems, tables.overlaps, tables.missing, tables.sizes):
        assert list(table(record).columns), "the page shows what there is"
    assert len(tables.clean_problems(record)) == len(tables.overlaps(record)) == 0


def test_the_training_pages_release_is_taken_as_published_where_nothing_can_be_compared(tmp_path, monkeypatch):
    """From an empty machine the whole command is one line; what was not compared stands in the record."""
    (tmp_path / "data" / "release").mkdir(parents=True)
    (tmp_path / "data" / "release" / "MathInstruct.json").write_text(json.dumps(RELEASED), encoding="utf8")
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    said = []
    folder = ensure_dataset("release", said.append)
    assert folder == tmp_path / "runs" / "curate" / "release"
    record = records.read_json(folder / "record.json")
    assert record["parameters"]["decontaminate"] == "none"
    assert record["benchmarks"]["compared"] == []
    assert any("decontaminate=none" in line and "`make data`" in line for line in said)
    assert ensure_dataset("release") == folder, "and it is taken as it stands the next time"
    with pytest.raises(records.RunMismatchError, match="decontaminate: there 'none', asked 'equal'"):
        curate(describe("release"))


def test_contaminated_rows_stay_where_that_is_asked(small_data):
    record = curate(describe("rebuild", "GSM8K (CoT)", decontaminate="none"))
    assert record["sources"][0]["kept"] == 2
    assert record["contamination"][0]["equal_rows"] == 1


def test_nothing_there_is_an_error_that_says_what_to_do(small_data):
    with pytest.raises(FileNotFoundError, match=r"dataset=release"):
        curate(describe("rebuild", "Camel-Math (CoT)"))


def test_another_run_in_the_same_folder_is_refused(small_data):
    curate(describe("rebuild", "GSM8K (CoT)", name="mine"))
    with pytest.raises(records.RunMismatchError, match="limit: there 0, asked 1"):
        curate(describe("rebuild", "GSM8K (CoT)", name="mine", limit=1))


# --- the miniature ------------------------------------------------------------------------------------------


def test_no_row_of_the_miniature_is_lost_without_a_reason(miniature):
    folder, record = miniature
    kept = Counter(one["source"] for one in records.read_jsonl(folder / mixtures.KEPT))
    dropped = list(records.read_jsonl(folder / mixtures.DROPPED))
    assert all(one["stage"] in filters.STAGES and one["reason"] for one in dropped)
    lost = Counter(one["source"] for one in dropped)
    for name, entry in world.SOURCES.items():
        assert kept[name] + lost[name] == entry.count, name
    assert {one["name"]: one["kept"] for one in record["sources"]} == {name: kept[name] for name in world.SOURCES}


def test_every_program_that_is_kept_was_executed_and_equals_the_gold(miniature):
    folder, _ = miniature
    programs = [one for one in records.read_jsonl(folder / mixtures.KEPT) if one["kind"] == "pot"]
    assert programs
    for one in programs:
        assert one["history"]["status"] == "ok"
        assert one["history"]["verdict"] == "correct"
        assert one["instruction"].endswith(POT_TRIGGER)


def test_the_truth_says_what_passed_by_luck_and_that_hardly_a_right_program_was_lost(miniature):
    _, record = miniature
    truth = record["truth"]
    asked = sum(entry.count for entry in world.SOURCES.values() if entry.asks_teacher)
    assert truth["programs"] == truth["right"] + truth["wrong"] == asked
    assert truth["wrong"] / asked == pytest.approx(0.25, abs=0.04)
    assert truth["right_kept"] >= 0.99 * truth["right"], truth["lost"]
    assert 0 < sum(truth["passed_by_luck"].values()) < 0.15 * truth["wrong"]
    assert truth["passed_by_luck"].get("syntax", 0) == truth["passed_by_luck"].get("loop", 0) == 0
    assert set(truth["wrong_prose_kept"]) == {"mini-Camel-Math (CoT)", "mini-College-Math (CoT)"}


def test_the_tables_name_the_faults_in_words_and_the_miniatures_sources_as_such(miniature):
    _, record = miniature
    assert tables.filter_errors(record).iloc[:, 0].tolist() == ["right", *map(tables.FAULTS.get, teacher.FAULTS)]
    held = tables.sizes(record).set_index("mixture")["what it holds"]
    assert (held["G"], held["G+M"]) == ("mini-GSM8K and mini-GSM8K-RFT", "G and mini-MATH")
    assert tables.sizes({**record, "world": "real"})["what it holds"].tolist() == list(mixtures.MEANING.values())
    numbers = tables.summary(record)
    asked = record["truth"]["programs"]
    assert f"The teacher wrote {asked:,} of the {numbers.executed:,} programs" in numbers.truth


def test_the_leaked_questions_are_found_and_removed(miniature):
    folder, record = miniature
    leaked = world.SOURCES["mini-NumGLUE (PoT)"].leaked
    rows = {(one["source"], one["benchmark"]): one for one in record["contamination"]}
    assert rows["mini-NumGLUE (PoT)", "mini-numglue"]["equal_rows"] == leaked > 0
    asked = benchmarks.questions()
    for one in records.read_jsonl(folder / mixtures.KEPT):
        assert one["instruction"].removesuffix(POT_TRIGGER) not in asked


def test_the_unfiltered_rows_differ_from_the_kept_ones_by_execution_alone(miniature):
    folder, record = miniature
    kept = {one["key"] for one in records.read_jsonl(folder / mixtures.KEPT) if one["author"].startswith("teacher:")}
    unfiltered = {one["key"] for one in records.read_jsonl(folder / mixtures.UNFILTERED)}
    assert kept < unfiltered
    failed = {
        one["key"] for one in records.read_jsonl(folder / mixtures.DROPPED) if one["stage"] in ("execution", "gold")
    }
    assert unfiltered - kept <= failed
    assert len(unfiltered - kept) >= 0.9 * (record["truth"]["wrong"] - sum(record["truth"]["passed_by_luck"].values()))


def test_a_finished_curation_is_read_and_not_made_again(miniature):
    folder, record = miniature
    before = (folder / mixtures.KEPT).stat().st_mtime_ns
    assert curate(describe(dataset="miniature")) == record
    assert (folder / mixtures.KEPT).stat().st_mtime_ns == before


def test_verdicts_on_unvalidated_prose_are_counted_though_it_stays(miniature):
    _, record = miniature
    by_name = {one["name"]: one for one in record["sources"]}
    wrong = record["truth"]["wrong_prose_kept"]
    for name in ("mini-Camel-Math (CoT)", "mini-College-Math (CoT)"):
        assert by_name[name]["verdicts"]["incorrect"] >= wrong[name] > 0, name
        assert not any(reason.startswith("agreement") for reason in by_name[name]["dropped"])
    assert by_name["mini-TheoremQA (CoT)"]["verdicts"] == {"correct": 100}


def test_where_all_prose_must_agree_the_wrong_rows_go(runs):
    record = curate(describe(dataset="miniature", sources="Camel-Math (CoT)", agreement="all"))
    assert record["truth"]["wrong_prose_kept"] == {}
    (source,) = record["sources"]
    assert source["dropped"]["agreement: another answer"] == 900 - source["verdicts"]["correct"]


def test_the_funnel_and_the_ten_rows_are_of_this_run(miniature):
    folder, record = miniature
    for one in record["sources"]:
        steps = list(one["funnel"].values())
        assert (steps[0], steps[-1]) == (one["entered"], one["kept"])
        assert steps == sorted(steps, reverse=True)
    rows = tables.examples(describe(dataset="miniature"), 10)
    assert len(rows) == 10
    assert {one["kind"] for one in rows} == {"cot", "pot"}
    assert len({one["source"] for one in rows}) == 10
    kept = {(one["source"], one["instruction"]) for one in records.read_jsonl(folder / mixtures.KEPT)}
    assert {(one["source"], one["instruction"]) for one in rows} <= kept


def test_rows_that_touch_a_benchmark_under_a_looser_rule_go_too_and_leave_it_clean(runs):
    description = describe(dataset="miniature", sources="MathQA (PoT)", decontaminate="ngram_13", limit=200)
    record = curate(description)
    found = {one["benchmark"]: one["ngram_13_rows"] for one in record["contamination"]}
    assert sum(one["dropped"].get("contamination: touches a benchmark (ngram_13)", 0) for one in record["sources"]) > 0
    assert max(found.values()) > 0, "the report is about every row"
    for one in record["clean"]:
        assert one["ngram_13"] == one["problems"], "the rows kept touch nothing"
        assert len(clean_subset.clean_ids(description.folder, one["benchmark"], "ngram_13")) == one["problems"]


def test_what_asking_would_send_is_said_before(runs):
    planned = teacher_stage.plan_teacher_requests(describe(dataset="miniature", limit=3))
    assert {name: plan.requests for name, plan in planned.items()} == {
        name: 3 for name, entry in world.SOURCES.items() if entry.asks_teacher
    }
    assert (
        teacher_stage.plan_teacher_requests(describe("rebuild"))
        == teacher_stage.plan_teacher_requests(describe("release"))
        == {}
    )


def test_a_killed_curation_ends_as_an_undisturbed_one(runs):
    description = describe(dataset="miniature", limit=6)
    record = curate(description)
    (description.folder / "record.json").unlink()
    (description.folder / mixtures.KEPT).write_text("half a ro")
    again = curate(description)
    timeless = {"seconds", "stages", "environment"}
    assert {key: again[key] for key in again if key not in timeless} == {
        key: record[key] for key in record if key not in timeless
    }


def by_a_hash_of_the_code(run):
    """A description as older projects wrote it, before packages had versions."""
    return {**{key: value for key, value in run.items() if key != "versions"}, "code": "0" * 16}


@pytest.mark.parametrize(
    "older",
    [lambda run: {**run, "versions": {**run["versions"], "grading": 0}}, by_a_hash_of_the_code],
    ids=["another version", "a hash of the code"],
)
def test_a_curation_by_an_older_version_is_made_again_and_not_refused(runs, older):
    description = describe(dataset="miniature", sources="GSM8K (CoT)", limit=3)
    curate(description)
    records.write_json(description.folder / "run.json", older(records.read_json(description.folder / "run.json")))
    (description.folder / mixtures.KEPT).unlink()
    curate(description)
    assert len(list(records.read_jsonl(description.folder / mixtures.KEPT))) == 3


def test_an_older_curation_by_a_teacher_that_may_have_cost_money_is_refused_by_one_line(runs):
    description = describe("miniature", "GSM8K (PoT)", teacher="http://127.0.0.1:9/v1", teacher_model="m", limit=3)
    run = {"schema": records.SCHEMA, **description.identity()}
    records.write_json(description.folder / "run.json", by_a_hash_of_the_code(run))
    line = (
        r"^[^\n]*limit3 was made by another version of the code \(none noted; this is [^\n]*a `name` of its own[^\n]*$"
    )
    with pytest.raises(records.RunMismatchError, match=line):
        curate(description)


def test_the_library_curates_without_torch():
    heavy = "('torch', 'pandas', 'datasets')"
    code = f"import sys, mammoth_utils.curation.mixtures; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
