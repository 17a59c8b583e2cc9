"""Reports of an evaluation's record: intervals, cut completions, groups, ceilings, failed programs, baselines."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import evaluation_records
import numpy as np
import pytest

from mammoth_utils import intervals, records
from mammoth_utils.evaluation import reports, tables
from mammoth_utils.vocabulary import RULES


def entry(published: str, corrected: str = "", in_domain: bool = True, **items) -> dict:
    """One benchmark's part of a record, from its marks under each rule."""
    marks = {"published": published, "corrected": corrected or published}
    counts = {rule: {"correct": column.count("1"), "no_answer": column.count("n"), "ungradable_gold": 0}
              for rule, column in marks.items()}  # fmt: skip
    names = {"ids": [str(place) for place in range(len(published))], "kinds": "p" * len(published)}
    about = {"n": len(published), "in_domain": in_domain, "choice": False}
    return {**about, **counts, "items": {**names, **marks, **items}}


def record(benchmarks: dict, decoding: str = "hybrid", name: str = "a-model", **changes) -> dict:
    parameters = {"name": name, **changes.pop("parameters", {})}
    model = {"name": name, "hash": "0"}
    return {"parameters": parameters, "decoding": decoding, "model": model, "benchmarks": benchmarks, "seconds": 60.0,
            "completions": 4, **changes}  # fmt: skip


def attempt(kind="pot", answer="1", execution=None, finish="stop", corrected="as published", **changes) -> dict:
    answers = {"published": answer, "corrected": answer if corrected == "as published" else corrected}
    ran = (
        None
        if execution is None
        else {"status": "ok", "printed": "", "output": "", "error": None, "seconds": 0.1, **execution}
    )
    return {"kind": kind, "prompt": "?", "completion": "x", "program": "x" if ran else None, "execution": ran,
            "answers": answers, "program_for": [], "finish": finish, "tokens": 3, **changes}  # fmt: skip


def row(number: int, *attempts: dict, outcome="correct", corrected="", benchmark="gsm8k", way="hybrid") -> dict:
    """A row of ``attempts.jsonl`` whose attempts were all made under one way of decoding."""
    verdicts = {"published": {"outcome": outcome}, "corrected": {"outcome": corrected or outcome}}
    decodings = {way: {"order": list(range(len(attempts))), "kind": "p", **verdicts}}
    return {"benchmark": benchmark, "id": f"{benchmark}/{number}", "attempts": list(attempts), "decodings": decodings}


@pytest.fixture
def write_attempts(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))

    def write(rows: list[dict], **parts) -> dict:
        folder = tmp_path / "evaluate" / "a-model"
        folder.mkdir(parents=True, exist_ok=True)
        records.write_jsonl(Path(folder) / "attempts.jsonl", rows)
        names = dict.fromkeys(one["benchmark"] for one in rows)
        sizes = {name: sum(one["benchmark"] == name for one in rows) for name in names}
        return record({name: entry("1" * size) for name, size in sizes.items()}, **parts)

    return write


# ---- Intervals


def test_every_accuracy_of_the_table_has_its_interval():
    frame = tables.table(evaluation_records.record(rate=0.6, looser=0.2))
    for rule in RULES:
        assert (frame[f"{rule}_low"] < frame[rule]).all()
        assert (frame[rule] < frame[f"{rule}_high"]).all()
    first = frame.iloc[0]
    assert (first["corrected_low"], first["corrected_high"]) == pytest.approx(intervals.wilson(60, 100))
    assert first["published"] == pytest.approx(0.8)


def test_the_interval_of_an_average_is_the_normal_one_where_there_are_many_problems():
    shares, n = (0.2, 0.5, 0.7), 20_000
    rows = [tables.accuracies(dict.fromkeys(RULES, int(share * n)), n) for share in shares]
    half = NormalDist().inv_cdf(0.975) * math.sqrt(sum(share * (1 - share) / n for share in shares)) / 3
    mean = tables.mean_accuracies(rows)
    assert mean["corrected_high"] - mean["corrected"] == pytest.approx(half, rel=0.01)
    assert mean["corrected"] - mean["corrected_low"] == pytest.approx(half, rel=0.01)


def test_the_interval_of_an_average_covers_the_truth_with_few_problems_and_keeps_a_width_at_the_ends():
    random, truth, sizes = np.random.default_rng(0), (0.5, 0.95, 0.05), (100, 20, 30)
    drawn = [random.binomial(size, share, 2_000) for size, share in zip(sizes, truth, strict=True)]
    inside = 0
    for counts in zip(*drawn, strict=True):
        rows = [tables.accuracies(dict.fromkeys(RULES, int(c)), n) for c, n in zip(counts, sizes, strict=True)]
        mean = tables.mean_accuracies(rows)
        inside += mean["corrected_low"] <= sum(truth) / 3 <= mean["corrected_high"]
    assert 0.93 < inside / 2_000 < 0.98
    full = tables.mean_accuracies([tables.accuracies(dict.fromkeys(RULES, 20), 20)] * 2)
    assert 0.8 < full["published_low"] < full["published_high"] == 1.0


def test_one_benchmark_has_no_average_and_an_average_of_one_is_its_own_row():
    assert len(tables.table(record({"gsm8k": entry("1100")}))) == 1
    frame = tables.table(record({"gsm8k": entry("1100"), "svamp": entry("1110", in_domain=False)}))
    assert frame["benchmark"].tolist()[2:] == ["average", "in-domain average", "out-of-domain average"]
    ends = ["corrected_low", "corrected_high"]
    assert frame.iloc[3][ends].tolist() == pytest.approx(frame.iloc[0][ends].tolist())


def test_a_table_for_readers_has_the_interval_beside_the_accuracy():
    shown = tables.in_per_cent(tables.table(record({"mini-gsm8k": entry("1" * 50 + "0" * 50)})))
    assert shown["published"].tolist() == ["50.0 [40.4, 59.6]"]
    assert shown["benchmark"].tolist() == ["mini-GSM8K"]
    assert not [column for column in shown if column.endswith(("_low", "_high"))]


def test_a_table_for_readers_has_shares_per_cent_and_counts_as_they_are(write_attempts):
    problems = [row(0, attempt(execution={"printed": "1"})), row(1, attempt(answer=None), attempt("cot"))]
    evaluated = write_attempts(problems)
    shown = tables.in_per_cent(tables.fallbacks(evaluated))
    assert shown[["programs", "share", "added, corrected rule"]].iloc[0].tolist() == [2, 50.0, 50.0]
    assert tables.in_per_cent(reports.cut(evaluated))["completions"].tolist() == [2, 1]


def test_the_numbers_for_prose_have_the_ends_of_the_intervals():
    numbers = tables.summary(evaluation_records.record(rate=0.6, completions=9))
    assert numbers["corrected"] == pytest.approx(60)
    assert 55 < numbers["corrected_low"] < 60 < numbers["corrected_high"] < 65


# ---- Cut completions


def test_cut_completions_are_counted_by_benchmark_and_kind_with_what_they_earned(write_attempts):
    printed = {"printed": "1"}
    frame = reports.cut(write_attempts([
        row(0, attempt(execution=printed)),
        row(1, attempt(answer=None, finish="length"), attempt("cot", finish="length")),
        row(2, attempt(answer=None, finish="length"), attempt("cot"), outcome="incorrect"),
        row(3, attempt("cot", finish="length"), outcome="incorrect", corrected="correct", benchmark="aqua"),
    ]))  # fmt: skip
    assert frame.drop(columns="note").to_dict("records") == [
        {"benchmark": "gsm8k", "kind": "pot", "completions": 3, "cut": 2, "share": 2 / 3, "published": 0,
         "corrected": 0},
        {"benchmark": "gsm8k", "kind": "cot", "completions": 2, "cut": 1, "share": 0.5, "published": 1, "corrected": 1},
        {"benchmark": "aqua", "kind": "cot", "completions": 1, "cut": 1, "share": 1.0, "published": 0, "corrected": 1},
    ]  # fmt: skip
    assert set(frame["note"]) == {""}


def test_a_record_from_before_says_that_the_end_was_not_recorded(write_attempts):
    before = attempt()
    del before["finish"], before["tokens"]
    frame = reports.cut(write_attempts([row(0, before), row(1, attempt("cot", finish="")), row(2, attempt("cot"))]))
    assert frame["note"].tolist() == ["not recorded", "not recorded for 1"]
    assert frame["cut"].isna().tolist() == [True, False]
    assert frame["share"].isna().tolist() == [True, False]


def test_only_the_completions_of_the_decoding_are_counted(write_attempts):
    made = row(0, attempt(), attempt("cot", finish="length"))
    made["decodings"] = {"hybrid": {**made["decodings"]["hybrid"], "order": [0]},
                         "cot": {**made["decodings"]["hybrid"], "order": [1]}}  # fmt: skip
    evaluated = write_attempts([made], decodings={"cot": {"gsm8k": entry("1")}})
    assert reports.cut(evaluated)["kind"].tolist() == ["pot"]
    assert reports.cut(evaluated, "cot")["cut"].tolist() == [1]
    with pytest.raises(KeyError, match="no decoding 'pot' in this record; it has hybrid, cot"):
        reports.cut(evaluated, "pot")


# ---- Groups


def test_accuracy_is_told_by_subject_level_and_type():
    evaluated = record({
        "math": entry("1100", "1110", fields=["algebra", "algebra", "geometry", "geometry"], 
                      families=["a, level 1", "a, level 5", "b, level 5", "b, level 1"]),
        "numglue": entry("10", fields=["", ""], families=["type 1", "type 2"]),
        "gsm8k": entry("10", fields=["", ""], families=["", ""]),
        "mini-mmlu": entry("10", fields=["logic", "algebra"], families=["f", "g"]),
    })  # fmt: skip
    frame = reports.by_group(evaluated)
    cells = frame[["benchmark", "by", "group", "n", "published", "corrected"]].to_numpy().tolist()
    assert cells == [
        ["math", "subject", "algebra", 2, 1.0, 1.0],
        ["math", "subject", "geometry", 2, 0.0, 0.5],
        ["math", "level", "level 1", 2, 0.5, 0.5],
        ["math", "level", "level 5", 2, 0.5, 1.0],
        ["numglue", "type", "type 1", 1, 1.0, 1.0],
        ["numglue", "type", "type 2", 1, 0.0, 0.0],
        ["mini-mmlu", "subject", "algebra", 1, 0.0, 0.0],
        ["mini-mmlu", "subject", "logic", 1, 1.0, 1.0],
    ]
    assert (frame["corrected_low"].iloc[0], frame["corrected_high"].iloc[0]) == intervals.wilson(2, 2)


def test_a_record_whose_items_have_no_names_has_no_groups_and_the_columns_stand():
    nameless = record({"gsm8k": {**entry("10"), "items": {"published": "10", "corrected": "10", "kinds": "pp"}}})
    frame = reports.by_group(nameless)
    assert len(frame) == 0
    assert list(frame)[:4] == ["benchmark", "by", "group", "n"]


def test_groups_of_another_decoding_and_problems_that_name_none():
    both = {"mini-mmlu": entry("110", fields=["logic", "algebra", ""])}
    evaluated = record({"mini-mmlu": entry("000", fields=["logic", "algebra", ""])}, decodings={"cot": both})
    assert reports.by_group(evaluated)["published"].sum() == 0
    assert reports.by_group(evaluated, "cot").set_index("group")["published"].to_dict() == {
        "not stated": 0.0, "algebra": 1.0, "logic": 1.0}  # fmt: skip


# ---- Ceiling of a router


def test_the_ceiling_is_what_either_kind_gets_right_and_the_part_of_the_way_is_told():
    decodings = {
        "cot": {"gsm8k": entry("1100000000"), "svamp": entry("1111111111", in_domain=False)},
        "pot": {"gsm8k": entry("0011110000"), "svamp": entry("1111100000", in_domain=False)},
    }
    own = {"gsm8k": entry("1011110000"), "svamp": entry("1111111110", in_domain=False)}
    frame = reports.oracle(record(own, decodings=decodings))
    assert frame["rule"].tolist() == ["published"] * 5 + ["corrected"] * 5
    gsm8k, svamp, average = (frame.iloc[place] for place in range(3))
    assert gsm8k[["cot", "pot", "hybrid", "either"]].tolist() == [0.2, 0.4, 0.5, 0.6]
    assert gsm8k["reached"] == pytest.approx(0.5)
    assert math.isnan(svamp["reached"]), "prose alone is the ceiling: there is no way to go"
    assert average[["cot", "pot", "either"]].tolist() == pytest.approx([0.6, 0.45, 0.8])
    assert average["reached"] == pytest.approx((0.7 - 0.6) / (0.8 - 0.6))


def test_hybrid_decoding_that_does_worse_than_one_kind_reaches_less_than_nothing():
    decodings = {"cot": {"gsm8k": entry("1100")}, "pot": {"gsm8k": entry("0010")}}
    assert reports.oracle(record({"gsm8k": entry("1000")}, decodings=decodings))["reached"].tolist() == [-1.0, -1.0]


def test_the_kinds_may_be_the_record_s_own_decoding_and_a_record_of_one_kind_has_no_ceiling():
    own = record({"gsm8k": entry("10")}, decoding="cot", decodings={"pot": {"gsm8k": entry("01")}})
    frame = reports.oracle(own)
    assert frame["either"].tolist() == [1.0, 1.0]
    assert frame["hybrid"].isna().all()
    assert frame["reached"].isna().all()
    alone = reports.oracle(record({"gsm8k": entry("10")}))
    assert len(alone) == 0
    assert list(alone) == list(frame)


# ---- Failed programs


def test_failures_are_counted_by_status_and_exception_with_an_example_and_what_prose_rescued(write_attempts):
    name_error = {"status": "error", "error": "  File \"x\", line 1\n    y\nNameError: name 'y' is not defined"}
    right, wrong = attempt("cot"), attempt("cot", answer=None)
    frame = reports.failures(write_attempts([
        row(0, attempt(execution={"printed": "1"})),
        row(1, attempt(answer=None, execution=name_error), right),
        row(2, attempt(answer=None, execution=name_error), wrong, outcome="incorrect"),
        row(3, attempt(answer=None, execution={"status": "timeout", "printed": "7"}), right),
        row(4, attempt(answer=None, execution={}), right, outcome="incorrect", corrected="correct"),
        row(5, attempt(answer=None, corrected="7", execution={"output": "7"}), right),
        row(6, attempt(answer=None, execution={"printed": "none"}), right),
        row(7, attempt(answer=None), right),
        row(8, attempt("cot"), benchmark="aqua"),
        row(9, attempt(answer=None, execution={"status": "memory"}), wrong, outcome="no_answer", benchmark="svamp"),
    ]))  # fmt: skip
    cells = frame.drop(columns="share").to_numpy().tolist()
    assert cells[0] == ["gsm8k", "error", "NameError", 2, 1, 1, "gsm8k/1"]
    assert sorted(cells[1:]) == sorted([
        ["gsm8k", "timeout", "", 1, 1, 1, "gsm8k/3"],
        ["gsm8k", "printed nothing", "", 1, 0, 1, "gsm8k/4"],
        ["gsm8k", "value not printed", "", 1, 1, 0, "gsm8k/5"],  # under the corrected rule the program's own value
        ["gsm8k", "printed no answer", "", 1, 1, 1, "gsm8k/6"],
        ["gsm8k", "no program", "", 1, 1, 1, "gsm8k/7"],
        ["svamp", "memory", "", 1, 0, 0, "svamp/9"],
    ])  # fmt: skip
    assert frame["benchmark"].tolist()[-1] == "svamp", "benchmarks in the record's order"
    assert frame["share"].iloc[0] == 2 / 8


@pytest.mark.parametrize(("error", "name"), [
    ("Traceback\nZeroDivisionError: division by zero", "ZeroDivisionError"),
    ("  raise ValueError(text)\nValueError: \nCan't calculate derivative wrt x + 56.", "ValueError"),
    ("sympy.polys.polyerrors.PolynomialError: not a polynomial", "PolynomialError"),
    ("SystemExit: 3", "SystemExit"),
    ("StopIteration", "StopIteration"),
    ("cut in the middle of a message", "other"),
    (None, "other"),
])  # fmt: skip
def test_the_type_of_an_error_is_read_from_its_traceback(error, name, write_attempts):
    failed = attempt(answer=None, execution={"status": "error", "error": error})
    assert reports.failures(write_attempts([row(0, failed, outcome="no_answer")]))["exception"].tolist() == [name]


def test_a_mapped_option_is_no_prose_that_rescued_a_program(write_attempts):
    evaluated = write_attempts([row(0, attempt(answer=None), attempt("match"))])
    assert reports.failures(evaluated)["published"].tolist() == [0]
    assert tables.fallbacks(evaluated)["gave_nothing"].tolist() == [0]


def test_a_record_without_failures_has_an_empty_table(write_attempts):
    frame = reports.failures(write_attempts([row(0, attempt(execution={"printed": "1"}))]))
    assert (len(frame), list(frame)[-1]) == (0, "example")


# ---- Fallbacks


def test_fallbacks_say_how_often_they_were_asked_and_what_accuracy_they_added(write_attempts):
    evaluated = write_attempts([
        row(0, attempt(execution={"printed": "1"})),
        row(1, attempt(answer=None), attempt("cot")),
        row(2, attempt(answer=None, execution={}), attempt("cot"), outcome="incorrect"),
        row(3, attempt(answer=None, corrected="7", execution={"output": "7"}), attempt("cot")),
    ])  # fmt: skip
    (cells,) = tables.fallbacks(evaluated).to_dict("records")
    assert cells == {
        "benchmark": "gsm8k", "programs": 4, "gave_nothing": 3, "share": 0.75, "answered": 3,
        "right, published rule": 2, "right, corrected rule": 1, "added, published rule": 0.5,
        "added, corrected rule": 0.25, "why": "ok 2, no program 1",
    }, "under the corrected rule the last one counts by its program's value, not by the prose"  # fmt: skip


# ---- Baselines


def asked(decoding: str, gsm8k: str, svamp: str = "", name: str = "", **parameters) -> dict:
    benchmarks = {"gsm8k": entry(gsm8k), **({"svamp": entry(svamp, in_domain=False)} if svamp else {})}
    prompt = parameters.get("prompt", "mammoth")
    return record(benchmarks, decoding, name or f"base-{prompt}-{parameters.get('shots', 8)}", parameters=parameters)


def test_a_baseline_takes_the_better_shots_and_kind_in_domain_and_five_shots_out_of_domain():
    frame = reports.baseline([
        asked("cot", "1000", "1111", prompt="chat_cot"),
        asked("cot", "1100", "1110", prompt="cot_8shot"),
        asked("cot", "1111", "1000", prompt="cot_8shot", shots=5),
        asked("pot", "1110", "0000", prompt="pal_8shot"),
        asked("pot", "0000", "1100", prompt="pal_8shot", shots=5),
    ])  # fmt: skip
    gsm8k, svamp = frame.iloc[0], frame.iloc[1]
    assert gsm8k["published"] == 0.75
    assert gsm8k["published_from"] == "pot, 8-shot, pal_8shot: base-pal_8shot-8"
    assert svamp["corrected"] == 0.5, "four right without examples do not count out of domain"
    assert svamp["corrected_from"] == "pot, 5-shot, pal_8shot: base-pal_8shot-5"
    assert (svamp["corrected_low"], svamp["corrected_high"]) == intervals.wilson(2, 4)
    assert frame["note"].tolist() == [""] * 5
    assert frame["benchmark"].tolist()[2:] == ["average", "in-domain average", "out-of-domain average"]
    assert frame["published"].iloc[2] == pytest.approx(0.625)


def test_each_rule_takes_its_own_best():
    plain, other = asked("cot", "1100", name="a"), asked("pot", "1000", name="b")
    other["benchmarks"]["gsm8k"] = entry("1000", "1111")
    row = reports.baseline([plain, other]).iloc[0]
    assert row["published_from"].endswith("mammoth: a")
    assert row["corrected_from"].endswith("mammoth: b")


def test_a_record_that_holds_both_kinds_counts_as_both_and_its_hybrid_does_not():
    both = asked("hybrid", "1111", prompt="chat_cot+chat_pot")
    both["decodings"] = {"cot": {"gsm8k": entry("1000")}, "pot": {"gsm8k": entry("1100")}}
    row = reports.baseline([both]).iloc[0]
    assert row["published"] == 0.5
    assert row["published_from"].startswith("pot, 0-shot, chat_cot+chat_pot")
    assert row["note"] == "no record of 8-shot"


def test_a_cell_without_its_shots_is_missing_and_so_is_its_average():
    frame = reports.baseline([asked("cot", "1100", "1100", prompt="cot_8shot")])
    assert frame["published"].isna().tolist() == [False, True, True, False, True]
    assert frame["note"].tolist()[:2] == ["no record of 0-shot", "no record of 5-shot"]
    assert frame["published_from"].iloc[1] == ""
    assert frame["published_high"].isna().iloc[2]


@pytest.mark.parametrize(("others", "message"), [
    ([], "expected records of one model, got none"),
    ([asked("cot", "10", name="a"), {**asked("cot", "10", name="b"), "model": {"name": "b", "hash": "1"}}],
     "expected records of one model, got a, b"),
    ([asked("cot", "10", name="a"), asked("pot", "100", name="b")], "different problems of gsm8k .a: 2, b: 3."),
    ([asked("hybrid", "10")], "expected records of decoding cot or pot, or with it among `also`; got hybrid"),
])  # fmt: skip
def test_records_that_make_no_baseline_are_refused_with_the_reason(others, message):
    with pytest.raises(ValueError, match=message):
        reports.baseline(others)


def test_the_reports_read_the_records_that_evaluations_write():
    evaluated = evaluation_records.record(rate=0.5, also={"cot": 0.4, "pot": 0.3})
    assert len(reports.oracle(evaluated)) == 2 * 12
    assert set(reports.by_group(evaluated)["benchmark"]) == {"mini-aqua", "mini-mmlu"}
