"""The audit: golds, workings, repeats, public graders, the record, and the table that shows them."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import golden
import pytest

from mammoth_utils import grading, paths, records
from mammoth_utils.audit import __main__ as audit_command
from mammoth_utils.audit import (
    audit_page,
    audit_record,
    cleaned_sets,
    golds,
    grader_comparison,
    judged_disagreements,
    lm_eval_harness,
    math_verify_client,
    overlaps,
    tables,
    worked_solutions,
)
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.grading import question_tokens
from mammoth_utils.rationale import Problem
from mammoth_utils.report import row_browser

CASES = Path(__file__).parent / "cases"
needs_math_verify = pytest.mark.skipif(
    math_verify_client.installed_version() is None, reason="math-verify is not installed"
)


def problem(gold="1", question="Which number is it, of all those that were written down?", options=None, at=0):
    return Problem(f"made/{at}", question, gold, options, "made")


# --- golds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gold", "benchmark", "options", "kind"), [
    ("18", "gsm8k", None, "integer"),
    ("2,125", "gsm8k", None, "integer"),
    ("1363.0", "mathematics", None, "decimal"),
    (r"\frac{3}{4}", "math", None, "fraction"),
    (r"2\sqrt{3}", "math", None, "radical or constant"),
    ("x^2-1", "math", None, "expression"),
    ("[3, 4]", "mathematics", None, "list, tuple or set"),
    (r"[1,\infty)", "math", None, "interval"),
    ("y = 2x", "math", None, "equation or relation"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "math", None, "matrix"),
    ("1200_7", "math", None, "numeral with a base"),
    ("-221_3", "math", None, "numeral with a base"),
    ("August", "numglue", None, "words"),
    ("True", "theoremqa", None, "truth value"),
    ("B", "aqua", ("1", "2"), "option"),
    ("B", "numglue", ("web", "tree"), "option"),
    ("(b)", "theoremqa", None, "option"),
    ("", "math", None, "empty"),
])  # fmt: skip
def test_the_kind_of_a_gold(gold, benchmark, options, kind):
    assert kind in golds.KINDS
    assert golds.gold_kind(problem(gold, options=options), benchmark) == kind


@pytest.mark.parametrize(("gold", "options", "alone", "because"), [
    (r"\frac{1}{2004!}", None, True, "the factorial is beyond the parser's numbers"),
    ("the 8 blue and the 9 red", None, True, "prose with numbers"),
    (r"\text{VW}", None, False, "a block of letters is compared in other dress too"),
    (r"\text{even}", None, False, "a word"),
    (r"\frac{3}{4}", None, False, "a number"),
    (r"(-\infty, 2] \cup [5, \infty)", None, False, "a union"),
    (r"\pm \sqrt{3}", None, False, "two numbers"),
    ("-221_3", None, False, "a numeral, whose base may be left out"),
    ("x^2 - 1", None, False, "an expression"),
    ("B", ("1", "2"), False, "an option"),
])  # fmt: skip
def test_a_gold_that_the_corrected_rule_knows_as_text_alone_is_told(gold, options, alone, because):
    made = problem(gold, options=options)
    assert golds.gold_matches_as_text_only(made, "aqua" if options else "math") == alone, because
    table = tables.golds_matched_as_text({"benchmarks": {"math": {"verbatim": [[0, gold]] if alone else []}}})
    assert [row["gold"] for row in table] == [gold] * alone


@pytest.mark.parametrize(("gold", "benchmark", "published", "because"), [
    ("1363", "mathematics", "accepts", "a whole number is its own normal form"),
    ("1363.0", "mathematics", "never", "the reader gives back 1363, and texts must be equal"),
    ("[3]", "mathematics", "never", "no bracket is ever read"),
    ("August", "numglue", "never", "no word is ever read"),
    ("-20*x", "mathematics", "never", "only numbers are read"),
    ("0.5", "numglue", "accepts", "a decimal in its normal form"),
])  # fmt: skip
def test_which_golds_the_published_rule_can_meet_and_that_the_corrected_one_meets_all(
    gold, benchmark, published, because
):
    assert golds.acceptance(problem(gold), benchmark) == {"published": published, "corrected": "accepts"}, because


FAULTS = [
    (problem(""), "gsm8k", "empty", ""),
    (problem("D", options=("3", "4", "5")), "aqua", "no option", "D of 3"),
    (problem("A", options=("8.75", "9", "8.75")), "aqua", "gold twice", "A = C"),
    (problem("B", options=("8.75", "9", "8.75")), "aqua", "options alike", "A = C"),
    (problem("B", options=("3", "7/2", "3.5")), "aqua", "gold in two forms", "B = C"),
    (problem(r"\frac{1}{2"), "math", "brackets", r"\frac{1}{2"),
    (problem("0.6666667"), "numglue", "rounded", "0.6666667"),
    (problem("12", "The sum of two numbers is 20. Find the numbers."), "simuleq", "several asked", "12"),
    (problem("3", "How many boys are there? How many girls are there?"), "simuleq", "several asked", "3"),
    (problem("3", "What is the area of the triangle in the figure?"), "math", "figure", ""),
]  # fmt: skip


@pytest.mark.parametrize(("made", "benchmark", "flag", "detail"), FAULTS)
def test_a_made_fault_is_found(made, benchmark, flag, detail):
    assert [(one.flag, one.detail) for one in golds.check_gold(made, benchmark)] == [(flag, detail)]
    assert golds.FLAGS[flag][0] in golds.SEVERITIES


@pytest.mark.parametrize(("made", "benchmark", "because"), [
    (problem("A", options=("2 and 3", "3 and 2")), "aqua", "which order is right may be the question"),
    (problem("A", options=("5C4*4C2", "5C2*4C4")), "aqua", "letters are not compared by value"),
    (problem("A", options=("12 over 11", "11 over 12")), "mmlu_math", "words are not compared by value"),
    (problem("A", options=("{0}", "{ }")), "mmlu_math", "braces may be sets"),
    (problem("[1,2)"), "math", "a half-open interval is closed"),
    (problem("0.67"), "numglue", "two places are a rounding that is meant"),
    (problem("3", "How many dimes does he have?"), "simuleq", "one value is asked for"),
    (problem("3", "Find the smaller number, if the sum is 5 and one is 2."), "simuleq", "one value is asked for"),
    (problem("3", "Is the graph of the equation below a line? $x = 3$"), "math", "the equation is there"),
    (problem("3", "What is the area of the triangle in the figure? [asy] draw(A--B); [/asy]"), "math", "it is drawn"),
])  # fmt: skip
def test_what_is_no_fault_is_not_found(made, benchmark, because):
    assert list(golds.check_gold(made, benchmark)) == [], because


def test_a_finding_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="known: empty"):
        golds.Finding("made/0", "odd")


# --- workings -----------------------------------------------------------------------------------------------------

GSM8K = "He has 3*4=<<3*4={said}>>{said} pens\nSo he has {last} pens\n#### {gold}"


WORKINGS = [
    ("gsm8k", "12", {"answer": GSM8K.format(said=12, last=12, gold=12)}, [], "all agree"),
    ("gsm8k", "4", {"answer": GSM8K.format(said=12, last=12, gold=4)}, ["own working"], "the gold is another number"),
    ("gsm8k", "12", {"answer": GSM8K.format(said=15, last=12, gold=12)}, ["step"], "3*4 is not 15"),
    ("gsm8k", "3", {"answer": "it is <<10/3=3.33>>3.33\nabout 3\n#### 3"}, [], "3.33 is a rounding"),
    ("gsm8k", "1", {"answer": "so <<5*20*.01=1>>1\n#### 1"}, [], "a decimal without its zero"),
    ("gsm8k", "25", {"answer": "that is $<<2/8=0.25>>0.25 each\n#### 25"}, [], "asked for in cents"),
    ("gsm8k", "3", {"answer": "16*2 = <<16*2=32>>32 feet, so it took three days\n#### 3"}, [], "said in words"),
    ("gsm8k", "-3", {"answer": "Start = <<2=2>>2\nIt was -3 degrees\n#### -3"}, [], "said with its sign"),
    ("svamp", "5", {"Equation": "( ( 4.0 - 2.0 ) + 3.0 )"}, [], "the equation's value"),
    ("svamp", "1", {"Equation": "( ( 4.0 - 2.0 ) + 3.0 )"}, ["own working"], "another value"),
    ("aqua", "B", {"rationale": "so x = 3.\nAnswer: B", "correct": "B"}, [], "the letter of the solution"),
    ("aqua", "C", {"rationale": "so x = 3.\nAnswer: B", "correct": "C"}, ["own working"], "another letter"),
    ("aqua", "B", {"rationale": "answer choice: (A) can never be." + " It is so." * 20, "correct": "B"}, [],
     "a letter far from the end is talked about"),
    ("math", "2", {"solution": r"so \boxed{2}."}, [], "one box"),
    ("math", r"\frac12", {"solution": r"$\boxed{0.5}$, that is $\boxed{\frac12}$."}, [], "two forms of one value"),
    ("math", "2", {"solution": r"$x = \boxed{-1}$ or $\boxed{2}$."}, ["several boxes"], "two values"),
    ("mathematics", "-7", {"question": "Calculate 3 - 10."}, [], "the question's value"),
    ("mathematics", "-8", {"question": "Calculate 3 - 10."}, ["own working"], "another value"),
    ("mathematics", "6", {"question": "Multiply 2 and 3."}, [], "a product"),
    ("mathematics", "5", {"question": "Multiply 2 and 3."}, ["own working"], "another product"),
    ("mathematics", "5", {"question": "What is the prime factors of 25?"}, [], "not arithmetic alone"),
    ("theoremqa", "5", {"Picture": "images/a.jpg"}, ["figure"], "a picture is named"),
    ("theoremqa", "5", {"Picture": None}, [], "no picture"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "gold", "row", "flags", "because"), WORKINGS)
def test_a_gold_is_held_against_the_working_in_its_row(name, gold, row, flags, because):
    assert [one.flag for one in worked_solutions.CHECKS[name](problem(gold), row)] == flags, because


# --- repeats ------------------------------------------------------------------------------------------------------

LONG = "A farmer has {n} cows and {m} hens in the barn, how many legs are there in all?"


def test_repeats_inside_a_benchmark_are_grouped_and_their_golds_compared():
    made = [
        problem("18", LONG.format(n=3, m=3), at=0),
        problem("18.0", LONG.format(n=3, m=3).upper() + " ", at=1),
        problem("17", LONG.format(n=4, m=1), at=2),
        problem("18", LONG.format(n=4, m=1), at=3),
        problem("18", LONG.format(n=4, m=2), at=4),
    ]
    found = {group.ids: group.agree for group in overlaps.find_repeats(made)}
    assert found == {("made/0", "made/1"): True, ("made/2", "made/3"): False}


def test_the_same_question_with_other_options_is_no_repeat():
    made = [problem("A", LONG.format(n=1, m=1), ("5", "6"), 0), problem("A", LONG.format(n=1, m=1), ("6", "5"), 1)]
    assert overlaps.find_repeats(made) == []


def test_a_shared_question_is_found_across_options_and_its_golds_are_compared_by_value():
    first = [Problem("a/0", LONG.format(n=1, m=1), "6"), Problem("a/1", LONG.format(n=2, m=1), "10")]
    second = [
        Problem("b/0", LONG.format(n=1, m=1), "B", ("5", "6")),
        Problem("b/1", LONG.format(n=2, m=1), "A", ("9", "10")),
        Problem("b/2", LONG.format(n=21, m=1), "A", ("86", "10")),
    ]
    index = overlaps.question_index({"a": first, "b": second, "c": [Problem("c/0", LONG.format(n=3, m=1), "14")]})
    assert overlaps.find_shared(index) == {("a", "b"): [("a/0", "b/0", True), ("a/1", "b/1", False)]}


def test_training_rows_are_equal_near_or_other():
    cows = [problem("18", LONG.format(n=3, m=3), at=0), problem("2", LONG.format(n=5, m=7), at=1)]
    other = [problem("3", "Which whole number lies between 2 and 4, both of them left out?", at=2)]
    rows = [
        LONG.format(n=3, m=3).lower(),  # equal
        LONG.format(n=3, m=3),  # equal again, counted as a row and not as a question
        LONG.format(n=5, m=7).replace("all", "total"),  # near
        LONG.format(n=5, m=8),  # other numbers: another problem
        "Something else altogether with 5 and 7 in it.",  # the same numbers, other words
    ]
    found = overlaps.find_in_training(overlaps.question_index({"cows": cows, "other": other}), rows)
    assert found["cows"] == overlaps.TrainingOverlap(5, equal_rows=2, near_rows=1, equal={"made/0"}, near={"made/1"})
    assert found["other"] == overlaps.TrainingOverlap(5)


# --- public graders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "gold", "same", "because"), [
    (r"\frac12", "1/2", True, "braces are added, a quotient of whole numbers is a fraction"),
    ("0.5", r"\frac{1}{2}", True, "the one decimal that it knows"),
    ("0.25", r"\frac{1}{4}", False, "no other decimal"),
    ("k=3", "3", True, "a short name before the only equals sign"),
    ("total=3", "3", False, "a long one"),
    ("x/2", "x/2 ", False, "the normalisation fails on a quotient of letters, and the texts differ"),
    ("x/2", "x/2", True, "and here they do not"),
    (r"3\text{ cm}", "3", True, "units behind a space"),
    (r"3\text{ cm}\text{ or}", "3", False, "but once only"),
    (r"\sqrt3", r"\sqrt{3}", True, "braces of roots"),
    ("1,080", "1080", False, "commas are left alone"),
    ("18.0", "18", False, "and so are zeros"),
    (r"\sqrt", r"\sqrt", True, "what cannot be normalised is compared as it stands"),
    (None, None, True, "nothing is nothing"),
    (None, "1", False, "and not something"),
])  # fmt: skip
def test_the_harness_on_expressions(answer, gold, same, because):
    assert lm_eval_harness.is_equivalent(answer, gold) is same, because
    assert lm_eval_harness.is_equivalent(gold, answer) is same, because


@pytest.mark.parametrize(("answer", "gold", "same", "because"), [
    ("$1,080", "1080", True, "commas and dollar signs go"),
    ("8 hours.", "8", True, "the last number counts"),
    ("18.0", "18", False, "texts are compared"),
    ("12 and 8", "12", False, "the last number, not the first"),
    ("none", "0", False, "no number"),
])  # fmt: skip
def test_the_harness_on_numbers(answer, gold, same, because):
    assert lm_eval_harness.is_same_number(answer, gold) is same, because


@needs_math_verify
def test_math_verify_answers_from_a_process_of_its_own_and_remembers(tmp_path):
    store = tmp_path / "verdicts.jsonl"
    asked = [
        (("number", "18", "18.0"), "1"),
        (("number", "18", r"\$18"), "1"),
        (("number", "18", "19"), "0"),
        (("expression", r"\frac{1}{2}", "0.5"), "1"),
        (("expression", "x^2-1", "(x-1)(x+1)"), "1"),
        (("option", "B", "B"), "1"),
        (("number", "18", "So it is 4*4+2. The answer is 18.", True), "1"),
        (("number", "18", "Nobody knows.", True), "n"),
    ]
    with math_verify_client.MathVerify(store) as verify:
        assert [verify.judge(*question)[0] for question, _ in asked] == [mark for _, mark in asked]
        assert verify.questions == len(asked)
    with open(store, "a", encoding="utf8") as file:
        file.write('["torn", "1"')  # a killed run's last line
    with math_verify_client.MathVerify(store) as again:
        assert [again.judge(*question)[0] for question, _ in asked] == [mark for _, mark in asked]
        assert again.questions == 0
    assert "math_verify" not in sys.modules


def test_a_stored_verdict_may_hold_any_of_unicodes_line_ends(tmp_path):
    store = tmp_path / "verdicts.jsonl"
    store.write_text('["a", "1", "x\u2028y\u2029z\x85"]\n["torn", "1"', encoding="utf8")
    assert math_verify_client._read_store(store) == {"a": ["1", "x\u2028y\u2029z\x85"]}


@needs_math_verify
def test_a_question_on_which_math_verify_hangs_costs_its_time_limit_and_no_more():
    took = []
    with math_verify_client.MathVerify(limit_s=2.0) as verify:
        for tries in range(1, 6):
            assert verify.judge("number", str(tries), str(tries))[0] == "1", "the next question finds a new process"
            begin = time.monotonic()
            assert verify.judge("number", str(tries), "9**9**9**9")[0] == "t"
            took.append(time.monotonic() - begin)
            assert verify.killed == tries
            if took[-1] < 3:
                break  # a busy machine only adds to what it costs, so the least of a few is the measure
    assert 2 <= min(took) < 3


@needs_math_verify
def test_a_process_that_dies_is_a_verdict_and_not_an_error():
    with math_verify_client.MathVerify() as verify:
        assert verify.judge("number", "1", "1")[0] == "1"
        verify._child.kill()
        assert verify.judge("number", "1", "2") == ("e", "the process ended")
        assert verify.judge("number", "1", "3")[0] == "0"


def test_what_the_audit_decides_is_what_its_version_says(write_golden):
    """A character a gold of the tests' pairs: its kind, and whether each rule accepts it; the harness on each pair."""
    pairs = list(records.read_jsonl(CASES / "grading_table.jsonl"))
    golds_of = dict.fromkeys((str(row["gold"]), row["benchmark"], tuple(row.get("options") or ())) for row in pairs)
    problems = [(problem(gold, options=options or None), benchmark) for gold, benchmark, options in golds_of]
    accepted = [golds.acceptance(made, benchmark) for made, benchmark in problems]
    texts = [(str(row["answer"]), str(row["gold"])) for row in pairs]
    found = {
        "kinds": "".join(chr(65 + golds.KINDS.index(golds.gold_kind(*made))) for made in problems),
        "matched as text only": "".join(str(int(golds.gold_matches_as_text_only(*made))) for made in problems),
        **{rule: "".join(status[rule][0] for status in accepted) for rule in ("published", "corrected")},
        "harness, expressions": "".join(str(int(lm_eval_harness.is_equivalent(*pair))) for pair in texts),
        "harness, numbers": "".join(str(int(lm_eval_harness.is_same_number(*pair))) for pair in texts),
        "faults": str([[f.flag for f in golds.check_gold(made, benchmark)] for made, benchmark, *_ in FAULTS]),
        "workings": str([[f.flag for f in worked_solutions.CHECKS[name](problem(gold), row)]
                         for name, gold, row, *_ in WORKINGS]),
    }  # fmt: skip
    golden.check("audit", "golds", found, write_golden)


# --- the record ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record():
    return records.committed(audit_record.COMMITTED, audit_record.COMMAND)


def test_the_record_is_of_this_code(record):
    assert records.stale_reasons(record, audit_record.DECIDING) == [], (
        f"the record is out of date; `{audit_record.COMMAND}` makes it again"
    )


def test_the_record_has_its_parts_and_no_path(record):
    assert (record["page"], record["world"], record["schema"]) == ("audit", "real", records.SCHEMA)
    assert tuple(record["benchmarks"]) == sets.names("real")
    for name, entry in record["benchmarks"].items():
        assert entry["n"] == sets.info(name).size == sum(entry["kinds"].values())
        assert all(sum(counts.values()) == entry["n"] for counts in entry["accepts"].values())
        assert all(flag in golds.FLAGS for _, flag, _ in entry["findings"])
    file = paths.records() / audit_record.COMMITTED
    assert file.stat().st_size < 1e6
    assert not re.search(r'"(?:/|[A-Z]:\\\\)', file.read_text(encoding="utf8"))


def test_the_marks_of_the_record_say_what_its_counts_say(record):
    assert len(record["outputs"]) == 10
    for file in record["outputs"]:
        assert set(grader_comparison.GRADERS) - {"math_verify_alone"} <= set(file["marks"])
        assert {len(marks) for marks in file["marks"].values()} == {file["rows"]}
        assert set().union(*file["marks"].values()) <= set(grader_comparison.MARK_NAMES)
        assert file["correct"] == {grader: marks.count("1") for grader, marks in file["marks"].items()}
        columns = [file["marks"][one] for one in grader_comparison.GRADERS if one in file["marks"]]
        differing = [
            at
            for at, row in enumerate(zip(*columns, strict=True))
            if len({one == "1" for one in row if one != "-"}) > 1
        ]
        assert [one[0] for one in file["differing"]] == differing


def test_the_record_has_these_unmatched_golds_overlaps_and_wrong_golds(record):
    never = {
        name: entry["n"] - entry["accepts"]["published"]["accepts"] for name, entry in record["benchmarks"].items()
    }
    assert (never["mathematics"], never["numglue"]) == (139, 3)
    assert tables.summarize(record).unmatched_corrected == 0
    assert tables.summarize(record).text_only < 10
    assert tables.unmatched_counts(record)["matched as text only"].sum() < 10
    shared = {(one["first"], one["second"]): len({pair[1] for pair in one["pairs"]}) for one in record["shared"]}
    assert shared == {("math", "mmlu_math"): 79, ("numglue", "simuleq"): 30}
    assert tables.training_overlap_counts(record, "NumGLUE", "numglue") == (360, 28)
    assert tables.training_overlap_counts(record, "NumGLUE", "simuleq") == (35, 55)
    wrong = {(row["benchmark"], row["row"]) for row in tables.findings(record) if row["severity"] == "wrong"}
    assert wrong == {("GSM8K", 1038), ("SVAMP", 679)}


def test_each_item_on_which_graders_differ_has_a_line_of_the_record(record):
    text = (paths.records() / audit_record.COMMITTED).read_text(encoding="utf8")
    assert sum(len(one["differing"]) for one in record["outputs"]) < text.count("\n")


def test_no_question_stands_in_the_record(record, data_dir):
    text = (paths.records() / audit_record.COMMITTED).read_text(encoding="utf8")
    said = words_of(text)
    runs = {tuple(said[at : at + RUN]) for at in range(len(said) - RUN + 1)}
    compared = 0
    for name in sets.names("real"):
        for one in sets.load(name, data_dir=data_dir):
            own = words_of(one.question)
            found = [own[at : at + RUN] for at in range(len(own) - RUN + 1) if tuple(own[at : at + RUN]) in runs]
            assert not found, (one.id, found[0])
            compared += len(own) >= RUN
    assert compared > 9000


RUN = 8


def words_of(text):
    """Words of three letters and more: formulas and numbers of a question may stand in an answer."""
    return [word for word in question_tokens(text) if len(word) > 2 and word.isalpha()]


@pytest.mark.parametrize("name", ["numglue", "mathematics", "gsm8k", "svamp", "aqua", "simuleq"])
def test_measured_again_the_golds_are_as_the_record_has_them(record, data_dir, name):
    made = audit_record.audit_benchmark(name, sets.load(name, data_dir=data_dir), data_dir, None)
    kept = json.loads(json.dumps(record["benchmarks"][name]))
    kept["accepts"].pop("math_verify")
    kept["refused"] = [
        [at, gold, bare] for at, gold, who in kept["refused"] if (bare := [w for w in who if w != "math_verify"])
    ]
    assert json.loads(json.dumps(made)) == kept


def test_measured_again_the_overlaps_are_as_the_record_has_them(record, data_dir, monkeypatch):
    monkeypatch.setattr(audit_record, "TRAINING_FILES", {"NumGLUE": audit_record.TRAINING_FILES["NumGLUE"]})
    index = overlaps.question_index({name: sets.load(name, data_dir=data_dir) for name in ("numglue", "simuleq")})
    pairs = overlaps.find_shared(index)["numglue", "simuleq"]
    assert len(pairs) == 30
    assert [pair for pair in pairs if not pair[2]] == [("numglue/595", "simuleq/407", False)]
    recorded = [overlap for overlap in record["training"] if overlap["source"] == "NumGLUE"]
    assert list(audit_record.training_overlaps("real", index, data_dir)) == recorded


# --- the page's side ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    store = tmp_path_factory.mktemp("verdicts") / "verdicts.jsonl"
    return audit_record.measure_audit("miniature", "mini-numglue,mini-aqua", store=store)


def test_in_the_miniature_our_rule_accepts_every_right_rationale(mini):
    (file,) = mini["outputs"]
    assert file["benchmarks"] == ["mini-aqua", "mini-numglue"]
    assert file["correct"]["corrected"] == file["rows"] > 400
    assert all(entry["findings"] == [] for entry in mini["benchmarks"].values())


def test_in_the_miniature_the_leaked_questions_are_found(mini):
    assert tables.training_overlap_counts(mini, "mini-NumGLUE (PoT)", "mini-numglue")[0] == 12


def test_differing_rows_have_their_questions_where_these_are_known(mini, record):
    rows = tables.disputed_outputs(mini)
    assert rows
    assert all(row["question"] and row["right says"] for row in rows)
    assert "question" not in tables.disputed_outputs(record, None)[0], "without data no question is shown"
    assert len(tables.disputed_outputs(record, None)) == tables.summarize(record).differing


def test_a_reason_is_shown_only_beside_the_verdict_that_it_explains(record):
    choices = {tables.paper_name(name) for name in ("aqua", "sat", "mmlu_math")}
    rows = tables.disputed_outputs(record, None)
    unexplained = [row for row in rows if row["corrected, why"] == tables.BY_OPTIONS]
    assert {row["benchmark"] for row in unexplained} <= choices, "only options can be missing from the record"
    for row in rows:
        differs = re.search(r"differs from|no option's letter", row["corrected, why"])
        assert not (differs and "corrected" in row["right says"].split(", ")), row


def test_questions_are_joined_from_the_data_where_they_may_be_shown(record, data_dir):
    rows = tables.disputed_outputs(record, data_dir)
    assert {row["benchmark"] for row in rows if not row["question"]} == {"SimulEq"}, "its licence is not stated"
    mathematics = next(one for one in record["outputs"] if one["file"].startswith("mathcoder_l_7b_deepmind"))
    stored = list(records.read_jsonl(data_dir / "outputs" / mathematics["file"]))
    shown = [row for row in rows if row["outputs"] == "mathcoder_l_7b_deepmind"]
    assert [row["question"] for row in shown] == [stored[row["row"]]["question"] for row in shown]


def test_the_common_disputes_are_the_most_frequent_sets_of_graders_with_their_first_output(record):
    rows = tables.disputed_outputs(record)
    frame = tables.common_disputes(rows, most=3)
    assert frame["rows"].is_monotonic_decreasing
    assert len(frame) == 3
    for one in frame.to_dict("records"):
        alike = [row for row in rows if row["right says"] == one["right says"]]
        assert (len(alike), f"{alike[0]['outputs']}/{alike[0]['row']}") == (one["rows"], one["such as"])


def test_the_tables_of_the_page_add_up(record):
    unmatched = tables.unmatched_counts(record)
    assert tables.gold_kinds(record)["problems"].sum() == 11323 + 800
    assert unmatched.set_index("benchmark").loc["Mathematics", "published rule"] == 139
    assert tables.finding_counts(record)["golds"].sum() == len(tables.findings(record))
    assert len(tables.unmatched_golds(record)) == unmatched["published rule"].sum()
    square = tables.grader_disagreements(record)
    assert (square == square.T).all(axis=None)
    low, high = tables.accuracy_range(record, "mathcoder_l_7b_deepmind")
    assert low < high
    cleaned = cleaned_sets.compare_with_cleaned_sets(record).set_index("benchmark")
    assert cleaned.loc["SVAMP", "here: wrong"] == 1
    fewer = tables.select_benchmarks(record, ("gsm8k",))
    assert list(fewer["benchmarks"]) == ["gsm8k"]
    assert {name for one in fewer["outputs"] for name in one["benchmarks"]} == {"gsm8k"}
    assert fewer["shared"] == []


def test_the_judged_disagreements_are_counted_as_they_stand(tmp_path):
    judged = judged_disagreements.read_judged_disagreements()
    frame = judged.counts()
    assert frame["in the sample"].sum() + frame["besides"].sum() == len(judged.rows) == len(judged.listed())
    assert frame["in the sample"].sum() == sum(judged.right_in_sample().values()) <= judged.differing
    row = {"id": "x/1", "right": "nobody", "drawn": True}
    file = records.write_jsonl(tmp_path / "judged.jsonl", [{"rows": 2, "differing": 1}, row])
    with pytest.raises(ValueError, match="unknown judgement 'nobody'; known: ours"):
        judged_disagreements.read_judged_disagreements(file)


@pytest.fixture
def without_data(monkeypatch, runs_dir):
    monkeypatch.setattr(paths, "data", lambda: None)


def test_without_data_the_page_reads_the_record(without_data, record):
    page = audit_page.open_audit("svamp")
    assert (page.record, page.origin, page.data_dir, page.problems) == (record, "records/real/audit.json", None, {})
    assert list(page.real["benchmarks"]) == ["svamp"]
    assert list(page.mini["benchmarks"]) == ["mini-svamp"]
    assert page.own["outputs"] == []
    assert "records/real/audit.json" in page.provenance().to_string()


@pytest.fixture
def measured(monkeypatch, record, mini):
    """The worlds that a page measured; the miniature's audit and the real one's are at hand."""
    worlds = []

    def measure(world, *names, **options):
        worlds.append(world)
        versions = records.versions(*audit_record.DECIDING)
        return mini if world == "miniature" else {**record, "inputs": {**record["inputs"], "versions": versions}}

    monkeypatch.setattr(audit_page, "measure_audit", measure)
    return worlds


def test_an_old_record_says_so_and_names_the_command(without_data, measured, monkeypatch):
    monkeypatch.setattr(grading, "VERSION", grading.VERSION + 1)
    shown = audit_page.open_audit("svamp").provenance().to_string()
    assert "the record was made with grading version" in shown
    assert audit_record.COMMAND in shown
    assert measured == ["miniature"]


def test_a_folder_with_part_of_the_data_keeps_the_records_figures(
    without_data, measured, tmp_path, monkeypatch, data_dir
):
    (tmp_path / "part" / "eval").mkdir(parents=True)
    shutil.copy(data_dir / "eval" / "svamp.jsonl", tmp_path / "part" / "eval")
    monkeypatch.setattr(grading, "VERSION", grading.VERSION + 1)
    page = audit_page.open_audit("svamp,gsm8k", data_dir=str(tmp_path / "part"))
    assert page.origin == "records/real/audit.json"
    assert list(page.problems) == ["svamp"]
    assert page.stale_reasons
    assert measured == ["miniature"]


def test_an_old_record_is_measured_again_where_the_data_is_and_then_read(without_data, measured, monkeypatch, data_dir):
    monkeypatch.setattr(grading, "VERSION", grading.VERSION + 1)
    first = audit_page.open_audit("svamp", data_dir=str(data_dir))
    second = audit_page.open_audit("svamp", data_dir=str(data_dir))
    third = audit_page.open_audit("svamp", data_dir=str(data_dir), again=True)
    assert [page.origin for page in (first, second, third)] == [
        "measured in this run", "runs/audit/real.json", "measured in this run",
    ]  # fmt: skip
    assert measured.count("real") == 2
    assert first.stale_reasons == second.stale_reasons == ()


def test_without_math_verify_its_columns_are_left_out_and_the_page_says_so(without_data, monkeypatch):
    monkeypatch.setattr(math_verify_client, "installed_version", lambda: None)
    page = audit_page.open_audit("svamp")
    assert set(page.mini["outputs"][0]["marks"]) == {"published", "corrected", "harness"}
    assert "Math-Verify" not in tables.unmatched_counts(page.mini)
    assert "not installed" in page.provenance().to_string()


def test_a_file_of_ones_own_is_put_before_the_graders(without_data, measured, tmp_path):
    file = tmp_path / "mine.jsonl"
    asked = {"id": "a", "benchmark": "gsm8k", "kind": "cot", "question": "How many?", "gold": "18"}
    rows = [{**asked, "completion": f"The answer is {answer}."} for answer in ("18", "18.0", "19")]
    records.write_jsonl(file, rows)
    page = audit_page.open_audit("gsm8k", outputs=str(file))
    (own,) = page.own["outputs"]
    assert own["marks"]["corrected"] == "110"
    assert own["marks"]["harness"] == "100"
    (row,) = tables.disputed_outputs(page.own)
    assert (row["corrected reads"], row["question"]) == ("18.0", "How many?")


@pytest.mark.parametrize(("asked", "error", "words"), [
    ({"benchmarks": "gms8k"}, ValueError, "did you mean 'gsm8k'"),
    ({"outputs": "nowhere.jsonl"}, FileNotFoundError, "nowhere.jsonl"),
    ({"data_dir": "nowhere"}, FileNotFoundError, "make data"),
    ({"again": True}, ValueError, "data_dir"),
])  # fmt: skip
def test_what_the_page_cannot_do_is_refused_with_a_way_on(without_data, asked, error, words):
    with pytest.raises(error, match=words):
        audit_page.open_audit(**asked)


def test_the_command_names_what_it_needs(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        audit_command.main(["--data", str(tmp_path), "--out", str(tmp_path / "audit.json")])
    assert stopped.value.code == 2
    assert "make data" in capsys.readouterr().err
    assert not (tmp_path / "audit.json").exists()


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_carries_its_rows_and_asks_for_nothing_from_outside():
    rows = [["a", "</script><script>alert(1)</script>", None], ["b", r"\(x^2\) & $5$", 3]]
    made = row_browser.browser_html(rows, ["set", "answer", "row"], "my answers", filters=("set",), code=("answer",))
    data = re.search(r'<script type="application/json" class="mb-data">(.*?)</script>', made, re.S)[1]
    assert json.loads(data)["rows"] == [["a", rows[0][1], ""], ["b", rows[1][1], "3"]]
    assert "alert(1)</script>" not in made
    assert not re.search(r"https?://|//cdn|src=|@import|url\(", made)
    assert 'id="mb-my-answers"' in made
    assert '<option value="a">a (1)</option>' in made
    assert "mathjax_ignore" in made, "formulas are shown as they were read"


def test_the_table_refuses_rows_and_columns_that_do_not_fit():
    with pytest.raises(ValueError, match="unknown column 'who'; known: set"):
        row_browser.browser_html([["a"]], ["set"], "x", filters=("who",))
    with pytest.raises(ValueError, match="2 values for 1 columns"):
        row_browser.browser_html([["a", "b"]], ["set"], "x")


def test_rows_of_many_columns_are_cards_and_an_empty_table_is_shown_too():
    many = [{f"c{at}": at for at in range(row_browser.MANY + 1)}]
    assert "mb-cards " in row_browser.browse_rows(many, "many").data
    assert 'class="mb mb-cards' not in row_browser.browse_rows([{"one": 1}], "few", filters=("other",)).data
    assert "0 rows" in row_browser.browse_rows([], "none", filters=("set",)).data


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the table's script in node, which is not here")
def test_the_tables_script_searches_filters_and_turns_pages(tmp_path):
    import subprocess

    rows = [[name, f"answer {number}"] for name in ("x", "y") for number in range(30)]
    made = row_browser.browser_html(rows, ["set", "answer"], "t", filters=("set",), page=25)
    script = re.findall(r"<script>(.*?)</script>", made, re.S)[0]
    data = re.search(r'class="mb-data">(.*?)</script>', made, re.S)[1]
    (tmp_path / "run.js").write_text(_DOM.replace("DATA", json.dumps(data)) + script + _STEPS, encoding="utf8")
    done = subprocess.run(["node", str(tmp_path / "run.js")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        "60 of 60, page 1 of 3 | 25 | back true on false",
        "60 of 60, page 2 of 3 | 25 | back false on false",
        "60 of 60, page 3 of 3 | 10 | back false on true",
        "30 of 60, page 1 of 2 | 25 | back true on false",
        "1 of 60 | 1 | back true on true",
        "0 of 60 | 0 | back true on true",
    ]


# As much of a browser as the script touches.
_DOM = """
function el(){return {listeners:{},children:[],dataset:{},value:"",textContent:"",disabled:false,
 addEventListener(n,f){this.listeners[n]=f},appendChild(c){this.children.push(c)},fire(n){this.listeners[n]()}}}
var parts={".mb-find":el(),"tbody":el(),".mb-count":el(),".mb-back":el(),".mb-on":el(),".mb-data":el()};
Object.defineProperty(parts["tbody"],"textContent",{set(v){this.children=[]},get(){return ""}});
parts[".mb-data"].textContent=DATA;
var pick=el();pick.dataset.column="0";
var root={dataset:{},querySelector:q=>parts[q],querySelectorAll:q=>[pick]};
var document={getElementById:i=>root,createElement:t=>el()};
"""
_STEPS = """
function say(){console.log(parts[".mb-count"].textContent+" | "+parts["tbody"].children.length+" | back "+
 parts[".mb-back"].disabled+" on "+parts[".mb-on"].disabled)}
say();parts[".mb-on"].fire("click");say();parts[".mb-on"].fire("click");say();
pick.value="y";pick.fire("change");say();
parts[".mb-find"].value="answer 17";parts[".mb-find"].fire("input");say();
parts[".mb-find"].value="nothing";parts[".mb-find"].fire("input");say();
"""


@pytest.mark.long
def test_the_page_runs_without_data(tmp_path):
    import os
    import subprocess

    environment = {key: value for key, value in os.environ.items() if key != "MAMMOTH_DATA_DIR"}
    environment["MAMMOTH_RUNS_DIR"] = str(tmp_path / "runs")
    command = [sys.executable, "workflow/run_page.py", "notebooks/audit.ipynb", str(tmp_path / "audit.ipynb")]
    done = subprocess.run(
        command, cwd=paths.root(), env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "audit.ipynb").read_text(encoding="utf8")
    assert "Who accepts the outputs on which graders differ" in text
    assert "records/real/audit.json" in text
