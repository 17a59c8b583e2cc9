"""The rebuild: raw rows to rationales, what is missing said, and the committed record of the real files."""

from __future__ import annotations

import fnmatch
import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import hub_server
import pytest

from mammoth_utils import paths, records
from mammoth_utils.curation import curate, describe, filters, mixtures, rebuild_record, tables
from mammoth_utils.curation.sources import download, homes, primary_formats, rebuild, registry
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.report import figures, published

REAL = os.environ.get("MAMMOTH_DATA_DIR", "")
needs_real = pytest.mark.skipif(not REAL, reason="MAMMOTH_DATA_DIR names no folder of real data")


def lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(folder))
    return folder


# --- the table of sources ------------------------------------------------------------------------------------------


def test_every_source_says_where_it_lives_what_it_is_about_and_how_its_rows_are_read():
    assert set(homes.HOMES) == set(rebuild.READERS) == set(registry.SOURCES)
    for name, source in registry.SOURCES.items():
        assert source.homes, name
        assert source.second_home, name
        assert source.fields, name
        assert bool(source.fields_from) != (source.fields == registry.NOT_FOUND), name
        assert (not rebuild.READERS[name]) == (name == "College-Math (CoT)"), "only that has no file of its own"
        for home in source.homes:
            assert home.seen or home.place == "teacher", f"{name}: {home} was read nowhere"


def test_a_source_without_a_second_home_says_so():
    assert registry.SOURCES["MATH (CoT)"].second_home == homes.NONE
    assert "openai/gsm8k" in registry.SOURCES["GSM8K (CoT)"].second_home


@pytest.mark.parametrize("wrong", [{"place": "ftp", "name": "x"}, {"place": "hub", "name": "x", "revision": "c1b9a23"}])
def test_a_home_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"known: hub|40 hexadecimal"):
        homes.Home(**wrong)


def test_every_training_file_that_is_fetched_is_one_that_a_reader_takes():
    patterns = {reader.pattern for forms in rebuild.READERS.values() for form in forms for reader in form}
    fetched = {item.name for item in download.public_files() if item.name.startswith("train/")}
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in fetched)
    assert {name for name in download.known_hashes() if name.startswith("train/")} - fetched == {
        "train/math_train.jsonl.gz"
    }, "which nothing fetches"


def test_counts_and_kinds_are_those_of_the_published_table():
    printed = {f"{row['source']} ({row['kind']})": row for row in published.table1().to_dict("records")}
    for name, source in registry.SOURCES.items():
        assert printed[name]["printed_rows"] == source.rows_paper, name
        assert printed[name]["released_file"] == source.release_file, name
        assert printed[name]["author"].lower() == source.author.lower(), name


# --- a raw row to a rationale ----------------------------------------------------------------------------------------

GSM8K = {"question": "What is 6 x 8?", "answer": "It is 6*8.\n6*8 = <<6*8=48>>48\n#### 48"}
CASES = [
    ("GSM8K (CoT)", primary_formats.gsm8k, GSM8K, "48", "It is 6*8.\n6*8 = 48\nThe answer is 48"),
    ("GSM8K-RFT (CoT)", primary_formats.rft,
     {"query": "6 x 8?", "response": "<<6*8=48>>48\n#### 48", "gold": "48"}, "48",
     "48\nThe answer is 48"),
    ("MATH (CoT)", primary_formats.math,
     {"problem": "p", "solution": "so $\\boxed{\\frac{1}{2}}$.", "type": "Algebra", "level": "Level 2"},
     "\\frac{1}{2}", "so $\\boxed{\\frac{1}{2}}$.\nThe answer is \\frac{1}{2}"),
    ("AQuA-RAT (CoT)", primary_formats.aqua,
     {"question": "q", "options": ["A)21", "B)(x)"], "rationale": "r", "correct": "A"}, "A",
     "Let's solve the multi-choice question step by step.\nr\nThe answer is A."),
    ("AQuA-RAT (CoT)", primary_formats.aqua_flan, {"cells": ["q\\nOptions:\\n(A) 21\\n(B) 22", "(B)", "r\\ns"]}, "B",
     "Let's solve the multi-choice question step by step.\nr\ns\nThe answer is B."),
    ("MathQA (PoT)", primary_formats.lila,
     {"Input": " q ", "Output Program": ["a=1\r\nprint(a)\n"], "Output Answer": [4.0], "split": "train"}, "4.0",
     "a=1\nprint(a)"),
    ("NumGLUE (PoT)", primary_formats.numglue_htl, {"question": "q ", "program": "print(1)\r\n"}, "", "print(1)"),
    ("Camel-Math (CoT)", primary_formats.camel, {"message_1": "q", "message_2": " s ", "topic;": "Algebra"}, "", "s"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "convert", "raw", "gold", "text"), CASES, ids=[case[1].__name__ for case in CASES])
def test_a_raw_row_becomes_a_rationale_with_its_gold(name, convert, raw, gold, text):
    made = convert(raw, 3, name)
    assert isinstance(made, Rationale)
    assert (made.problem.gold, made.text, made.source, made.kind) == (gold, text, name, registry.SOURCES[name].kind)


def test_fields_difficulty_and_what_happened_go_into_the_row():
    math = primary_formats.math(
        {"problem": "p", "solution": "\\boxed{1}", "type": "Geometry", "level": "Level 5"}, 0, "MATH (CoT)"
    )
    assert (math.problem.field, math.history["level"]) == ("Geometry", "Level 5")
    assert primary_formats.gsm8k(GSM8K, 0, "GSM8K (CoT)").history["level"] == "2 steps"
    assert primary_formats.numglue_htl({"question": "q", "program": "a\r\nb"}, 0, "NumGLUE (PoT)").history == {
        "line_ends": "crlf"
    }


def test_rows_of_other_splits_and_questions_with_pictures_are_no_rows():
    lila = {"Input": "q", "Output Program": ["print(1)"], "Output Answer": ["1"], "split": "dev"}
    assert primary_formats.lila(lila, 0, "MathQA (PoT)") is None
    assert primary_formats.theoremqa({"Question": "q", "Answer": 1, "Picture": "x.png"}, 0, "TheoremQA (PoT)") is None
    asked = primary_formats.theoremqa(
        {"Question": "q", "Answer": [1, 2], "Picture": None, "field": "Math"}, 0, "TheoremQA (PoT)"
    )
    assert isinstance(asked, Problem)
    assert asked.gold == "[1, 2]"


# --- what is there and what is not ---------------------------------------------------------------------------------


def test_a_missing_source_says_where_it_lives_and_where_to_put_it(data):
    for name in registry.SOURCES:
        told = rebuild.load_source(name, teacher=False).missing
        if registry.SOURCES[name].new:
            assert "teacher=" in told, name
        else:
            assert rebuild.READERS[name][0][0].pattern in told, name
            assert registry.SOURCES[name].home.split(", ")[0] in told, name
    assert homes.NONE in rebuild.load_source("MATH (CoT)").missing


def test_the_whole_set_is_taken_before_a_part_of_it(data):
    with gzip.open((data / "train").mkdir() or data / "train" / "aqua_train_flan.tsv.gz", "wt") as file:
        file.write("q\\nOptions:\\n(A) 1\\n(B) 2\t(A)\tr\n" * 2)
    part = rebuild.load_source("AQuA-RAT (CoT)")
    assert len(part.rationales) == 2
    assert part.notes.startswith("2 of 97,467 rows; FLAN's cleaned copy; ")
    lines(data / "train" / "aqua_rat_train.jsonl",
          [{"question": "q", "options": ["A)1", "B)2"], "rationale": "r", "correct": "B"}])  # fmt: skip
    whole = rebuild.load_source("AQuA-RAT (CoT)")
    assert [row.problem.gold for row in whole.rationales] == ["B"]
    assert list(whole.files) == ["train/aqua_rat_train.jsonl"]


def test_samples_get_the_gold_of_the_question_that_they_repeat_and_a_wrong_one_goes(data):
    lines(data / "train" / "gsm8k_train.jsonl.gz", [GSM8K])
    right, wrong = ({"query": GSM8K["question"], "response": f"It is.\n#### {number}"} for number in (48, 49))
    lines(data / "train" / "gsm8k_rft.jsonl", [right, wrong, {"query": "Unknown?", "response": "#### 1"}])
    rows = rebuild.load_source("GSM8K-RFT (CoT)").rationales
    assert [row.problem.gold for row in rows] == ["48", "48", ""]
    kept, dropped = filters.drop_disagreeing_prose(rows)
    assert [row.history["verdict"] for row in kept] == ["correct", "no gold"]
    assert [(one.stage, one.reason) for one in dropped] == [("agreement", "another answer")]


def test_categories_add_up_and_name_themselves(data):
    raw = {"Input": "q", "Output Program": ["print(1)"], "Output Answer": ["1"], "split": "train"}
    lines(data / "train" / "lila_mathqa_gain.jsonl.gz", [raw])
    lines(data / "train" / "lila_mathqa_general.jsonl", [raw, {**raw, "split": "test"}])
    rows = rebuild.load_source("MathQA (PoT)").rationales
    assert [row.problem.id for row in rows] == ["mathqa/gain/0", "mathqa/general/0"]
    assert [row.problem.field for row in rows] == ["gain", "general"]


def test_a_teachers_sources_get_problems_with_golds_only(data):
    lines(data / "train" / "math_train.jsonl.gz",
          [{"problem": "p", "solution": "\\boxed{1}", "type": "t", "level": "l", "file": "a/1.json"},
           {"problem": "none", "solution": "no box", "type": "t", "level": "l", "file": "a/2.json"}])  # fmt: skip
    lines(data / "train" / "math_train_no_solution.jsonl",
          [{"problem": "p3", "answer": "3", "type": "t", "level": "l", "file": "a/3.json"}])  # fmt: skip
    loaded = rebuild.load_source("MATH (PoT)")
    assert [problem.gold for problem in loaded.problems] == ["1", "3"]
    assert loaded.rationales == []
    made_up = rebuild.load_source("College-Math (CoT)")
    assert (made_up.to_write, made_up.missing) == (1800, "")
    assert made_up.sample(5, 1).to_write == 5


TWO_GOOD = [GSM8K, {**GSM8K, "question": "What is 2 x 24?"}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, "row 3: KeyError: 'answer'"),
        ({"question": "q", "answer": "none"}, "row 3: expected '#### <answer>' in a GSM8K answer, got 'none'"),
        ({"question": "q", "answer": None}, "row 3: AttributeError: 'NoneType'"),
        ({"question": None, "answer": "#### 1"}, "row 3: TypeError: expected text as question, got NoneType"),
        (["q"], "row 3: line 3: expected an object, got list"),
    ],
    ids=["no key", "no mark", "no answer", "no question", "no object"],
)
def test_a_row_of_another_form_marks_its_source_as_damaged_by_its_place(data, row, message):
    lines(data / "train" / "gsm8k_train.jsonl.gz", [*TWO_GOOD, row])
    loaded = rebuild.load_source("GSM8K (CoT)")
    assert loaded.missing.startswith(f"damaged: train/gsm8k_train.jsonl.gz, {message}")
    assert "`make data`" in loaded.missing
    assert str(data) not in loaded.missing
    assert (loaded.rationales, loaded.files) == ([], {})


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda whole: whole[:-20], "EOFError"),
        (lambda whole: whole[:60] + bytes(20) + whole[80:], "error"),
        (lambda whole: b"no gzip", "BadGzipFile"),
        (lambda whole: gzip.compress(b'{"question": "\xff'), "UnicodeDecodeError"),
        (lambda whole: gzip.compress(b'{"question": '), "no JSON"),
    ],
    ids=["cut", "spoilt", "no archive", "no text", "cut row"],
)
def test_a_damaged_file_is_said_aloud_and_the_other_sources_go_on(data, tmp_path, monkeypatch, damage, word):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    lines(data / "train" / "gsm8k_train.jsonl.gz", [{**GSM8K, "question": f"{n} and {n * n}?"} for n in range(200)])
    file = data / "train" / "gsm8k_train.jsonl.gz"
    file.write_bytes(damage(file.read_bytes()))
    lines(data / "train" / "numglue_pot_from_htl.jsonl.gz", [{"question": "2 + 2?", "program": "print(2 + 2)"}])
    said = []
    description = describe("rebuild", "GSM8K (CoT),NumGLUE (PoT)", decontaminate="none")
    gsm8k, numglue = curate(description, say=said.append)["sources"]
    assert (gsm8k["entered"], numglue["kept"]) == (0, 1)
    assert gsm8k["missing"].startswith("damaged: train/gsm8k_train.jsonl.gz, row ")
    assert word in gsm8k["missing"]
    assert f"missing: GSM8K (CoT): {gsm8k['missing']}" in said


def test_a_damaged_file_that_is_read_besides_is_the_one_that_is_named(data):
    lines(data / "train" / "gsm8k_train.jsonl.gz", [GSM8K, {**GSM8K, "answer": None}])
    lines(data / "train" / "gsm8k_rft.jsonl", [{"query": "6 x 8?", "response": "#### 48"}])
    assert rebuild.load_source("GSM8K-RFT (CoT)").missing.startswith("damaged: train/gsm8k_train.jsonl.gz, row 2: ")


def test_a_file_of_other_content_than_the_known_one_is_said_in_the_notes(data):
    file = data / "train" / "gsm8k_train.jsonl.gz"
    lines(file, TWO_GOOD)
    notes = rebuild.load_source("GSM8K (CoT)").notes
    known = download.known_hashes()["train/gsm8k_train.jsonl.gz"]
    assert "gsm8k_train.jsonl.gz is not the file that is known here: content with SHA-256 " in notes
    assert f"expected {known}" in notes
    assert records.sha256(file) not in notes, "compressed as whoever made it did"


@needs_real
def test_the_real_files_are_the_known_ones():
    for name in ("GSM8K (CoT)", "NumGLUE (PoT)", "MathQA (PoT)", "TheoremQA (PoT)"):
        assert "not the file that is known" not in rebuild.load_source(name).notes, name


def test_a_row_with_half_a_surrogate_pair_is_dropped_with_its_reason(data, tmp_path, monkeypatch):
    """JSON may name one, and no file can hold it."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    lines(data / "train" / "numglue_pot_from_htl.jsonl.gz", [
        {"question": "2 + 2?", "program": "print(2 + 2)"}, {"question": "2 + 3\ud83d?", "program": "print(2 + 3)"},
        {"question": "2 + 4?", "program": "print(2 + 4)  # \udc80"},
    ])  # fmt: skip
    description = describe("rebuild", "NumGLUE (PoT)", decontaminate="none")
    (source,) = curate(description)["sources"]
    assert (source["kept"], source["dropped"]) == (1, {"malformed: broken characters": 2})
    dropped = list(records.read_jsonl(description.folder / mixtures.DROPPED))
    assert [row["detail"] for row in dropped] == ["a lone surrogate"] * 2
    assert [row["instruction"].split("?")[0] for row in dropped] == ["2 + 3\\ud83d", "2 + 4"]


def test_a_problem_with_half_a_surrogate_pair_is_not_put_to_a_teacher(data):
    lines(data / "train" / "math_train_no_solution.jsonl",
          [{"problem": text, "answer": "3", "type": "t", "level": "l"} for text in ("p", "p\ud83d")])  # fmt: skip
    lines(data / "train" / "math_train.jsonl.gz", [])
    loaded = rebuild.load_source("MATH (PoT)")
    assert [problem.question for problem in loaded.problems] == ["p"]
    assert "1 problems with broken characters are not asked" in loaded.notes


def test_an_archive_that_is_none_is_said_to_be_damaged(data):
    (data / "train").mkdir()
    (data / "train" / "camel_math.zip").write_bytes(b"not a zip")
    assert "no zip archive" in rebuild.load_source("Camel-Math (CoT)").missing
    with zipfile.ZipFile(data / "train" / "camel_math.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "holds no .json file; it has readme.txt" in rebuild.load_source("Camel-Math (CoT)").missing
    with zipfile.ZipFile(data / "train" / "camel_math.zip", "w") as archive:
        archive.writestr("a.json", '{"message_1": "q", "message_2": "s"}')
        archive.writestr("b.json", "null")
    assert rebuild.load_source("Camel-Math (CoT)").missing.startswith(
        "damaged: train/camel_math.zip, row 2: AttributeError"
    )


def hub_environment(endpoint: str, folder: Path) -> dict[str, str]:
    """This process's environment with another hub and an empty cache."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**own, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip


def test_what_the_hub_has_whole_is_fetched_with_its_revision_and_read(data, tmp_path):
    """Through a server that speaks the hub's file API; the revision, unknown beforehand, is resolved and kept."""
    archive = tmp_path / "math.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(3):
            file.writestr(
                f"math/{number:03d}.json", json.dumps({"message_1": f"q{number}", "message_2": "s", "topic": "T"})
            )
    with hub_server.serve() as hub:
        revision = hub.holds("camel-ai/math", {"math.zip": archive.read_bytes()})
        environment = hub_environment(hub.url, tmp_path)
        command = [sys.executable, "-m", "mammoth_utils.curation.sources.rebuild", "--fetch"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=paths.root(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"train/camel_math.zip: fetched from camel-ai/math at {revision}" in done.stdout
    told = records.read_json(data / "train" / "camel_math.zip.home.json")
    assert told == {"name": "camel-ai/math", "path": "math.zip", "revision": revision,
                    "sha256": records.sha256(archive)}  # fmt: skip
    assert [row.problem.question for row in rebuild.load_source("Camel-Math (CoT)").rationales] == ["q0", "q1", "q2"]


def test_what_cannot_be_fetched_says_where_to_put_it(data, tmp_path):
    """From a hub that has no such data set, which it says at once; the library tries one that is silent for long."""
    command = [sys.executable, "-m", "mammoth_utils.curation.sources.rebuild", "--fetch"]
    with hub_server.serve() as hub:
        environment = hub_environment(hub.url, tmp_path)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=paths.root(), check=False)
    assert done.returncode == 1
    assert "there is no data set" in done.stdout
    assert "FAILED" in done.stdout
    assert "put it at" in done.stdout
    assert "Camel-Math (CoT): no train/camel_math.zip" in done.stdout, "and it goes on"


# --- the committed record -----------------------------------------------------------------------------------------


def committed():
    return records.committed(rebuild_record.COMMITTED, rebuild_record.COMMAND)


def test_the_committed_record_is_of_this_code():
    """``python -m mammoth_utils.curation.rebuild_record --data DIR --out records/real/curate.json`` makes it again."""
    assert records.stale_reasons(committed(), rebuild_record.DECIDING) == [], rebuild_record.COMMAND


def test_the_committed_record_is_small_and_adds_up():
    file = paths.records() / rebuild_record.COMMITTED
    assert file.stat().st_size < 300_000
    record = records.read_json(file)
    entered = {one["name"]: one["entered"] for one in record["sources"] if one["entered"]}
    assert entered == {"GSM8K (CoT)": 7473, "AQuA-RAT (CoT)": 2728, "MATH (CoT)": 7257, "MathQA (PoT)": 3655,
                       "NumGLUE (PoT)": 4370}  # fmt: skip
    assert {name: sum(counts.values()) for name, counts in record["statuses"].items()} == {
        "MathQA (PoT)": 3655, "NumGLUE (PoT)": 4370}, "every program was executed"  # fmt: skip
    kept = {one["name"]: one["kept"] for one in record["sources"]}
    assert kept["GSM8K (CoT)"] == 7473
    assert kept["MathQA (PoT)"] >= 0.9 * 3655
    for one in record["sources"]:
        assert one["entered"] == one["kept"] + sum(one["dropped"].values()), one["name"]
        assert list(one["funnel"].values()) == sorted(one["funnel"].values(), reverse=True), one["name"]
        assert one["funnel"]["contamination"] == one["kept"], one["name"]
        named = {reason: len(ids) for reason, ids in record["dropped"].get(one["name"], {}).items()}
        assert named == one["dropped"], one["name"]


def test_the_known_overlaps_are_found_and_what_differs_is_explained():
    record = committed()
    known = {(one["source"], one["benchmark"]): one for one in record["known"]}
    before = {("NumGLUE (PoT)", "NumGLUE"): 357, ("NumGLUE (PoT)", "SimulEq"): 35, ("MATH (CoT)", "MATH"): 10,
              ("MATH (CoT)", "MMLU-Math"): 74}  # fmt: skip
    for pair, count in before.items():
        one = known[pair]
        assert one["without_options"]["training_questions"] == count, pair
        explained = {pair[0] for pair in one["only_by_letters_and_digits"] + one["only_without_options"]}
        assert one["ours"]["training_questions"] >= count - len(explained), pair
    rows = {(one["source"], one["benchmark"]): one for one in record["contamination"]}
    for pair, one in known.items():
        assert rows[pair]["equal_rows"] == one["ours"]["rows"], pair
        assert rows[pair]["equal_questions"] == one["ours"]["benchmark_questions"], pair


def test_the_audit_counts_the_same_overlaps():
    """Where both look at the same rows: ``near`` of the audit leaves out the equal ones."""
    audit = {(one["source"], one["benchmark"]): one
             for one in records.read_json(paths.records() / "real" / "audit.json")["training"]}  # fmt: skip
    ours = {(one["source"], one["benchmark"]): one for one in committed()["contamination"]}
    for source, theirs, benchmark, key in (
        ("NumGLUE (PoT)", "NumGLUE", "NumGLUE", "numglue"), ("NumGLUE (PoT)", "NumGLUE", "SimulEq", "simuleq"),
        ("MATH (CoT)", "MATH", "MATH", "math"), ("MATH (CoT)", "MATH", "MMLU-Math", "mmlu_math"),
    ):  # fmt: skip
        one, other = ours[source, benchmark], audit[theirs, key]
        assert one["equal_rows"] == other["equal_rows"], (source, benchmark)
        assert one["near_rows"] - one["equal_rows"] == other["near_rows"], (source, benchmark)


def test_another_version_or_file_makes_the_record_stale(tmp_path):
    record = committed()
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "gsm8k.jsonl").write_text("{}")
    assert records.stale_reasons(record, rebuild_record.DECIDING, tmp_path) == ["eval/gsm8k.jsonl is another file"]
    record["inputs"]["versions"]["grading"] = 0
    now = records.versions("grading")["grading"]
    assert records.stale_reasons(record, rebuild_record.DECIDING) == [
        f"the record was made with grading version 0, and this is version {now}"
    ]


@needs_real
@pytest.mark.long
def test_the_real_files_give_the_committed_record(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    assert rebuild_record.main(["--data", REAL, "--out", str(tmp_path / "again.json")]) == 0
    again, kept = records.read_json(tmp_path / "again.json"), committed()
    timeless = set(kept) - {"environment", "stages", "seconds", "isolation"}
    assert {key: again[key] for key in timeless} == {key: kept[key] for key in timeless}
    texts = [row["question"] for row in records.read_jsonl(Path(REAL) / "train" / "gsm8k_train.jsonl.gz")][:200]
    written = (paths.records() / rebuild_record.COMMITTED).read_text(encoding="utf8")
    assert not any(text[:40] in written for text in texts), "no question's text"


def test_the_script_that_keeps_records_keeps_a_finished_rebuild(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.syspath_prepend(str(paths.root() / "workflow"))
    import keep_records

    lines(data / "train" / "gsm8k_train.jsonl.gz", [GSM8K])
    lines(data / "eval" / "gsm8k.jsonl", [GSM8K])
    made = curate(describe("rebuild"))
    monkeypatch.setattr(keep_records, "ROOT", tmp_path)
    keep_records.main()
    kept = records.read_json(tmp_path / "records" / rebuild_record.COMMITTED)
    assert (kept["sources"], kept["clean"]) == (made["sources"], made["clean"])


# --- its tables and figure ------------------------------------------------------------------------------------------


def test_table_one_sets_ours_beside_the_papers_and_refuses_the_miniature():
    frame = tables.table1(published.table1(), committed()).set_index("source")
    assert frame.loc["GSM8K (CoT)", ["the paper", "ours, read"]].tolist() == ["7K", "7,473"]
    assert frame.loc["College-Math (CoT)", "the release"] == "1,840"
    assert (frame["ours, read"] == "").sum() == 8
    with pytest.raises(ValueError, match="miniature"):
        tables.table1(published.table1(), {"world": "miniature", "sources": []})


def test_a_funnel_shows_every_source_and_step_with_what_is_left():
    frame = tables.funnel(committed())
    figure = figures.source_funnels(frame)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in shown] == list(dict.fromkeys(frame["source"]))
    numglue = next(axis for axis in shown if axis.get_title(loc="left").startswith("NumGLUE"))
    assert [text.get_text() for text in numglue.texts][-1] == "3,828  (-383)"
    assert [bar.get_width() for bar in numglue.patches][-1] == 3828
    with pytest.raises(ValueError, match="at least one source"):
        figures.source_funnels(frame.iloc[:0])
