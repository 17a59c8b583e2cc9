"""What training rows share with the benchmarks: by which rule, which rows, and which problems stay clean."""

from __future__ import annotations

import os

import pytest

from mammoth_utils import paths, records
from mammoth_utils.curation import benchmark_questions, clean_subset, contamination
from mammoth_utils.curation.contamination import BenchmarkIndex, OverlapCounts
from mammoth_utils.curation.near_duplicates import jaccard, shingles
from mammoth_utils.evaluation import benchmarks as evaluation
from mammoth_utils.grading import SIMILARITY, question_stem, question_tokens
from mammoth_utils.rationale import Problem, Rationale

REAL = os.environ.get("MAMMOTH_DATA_DIR", "")
needs_real = pytest.mark.skipif(not REAL, reason="MAMMOTH_DATA_DIR names no folder of real data")
LONG = "Anna has {n} apples in a basket and buys {m} more apples at the market in {town}. How many apples has she now?"


def row(question, id="a", source="GSM8K (CoT)", options=None):
    return Rationale(Problem(id, question, "5", options), "cot", "The answer is 5.", source)


def asked(*questions):
    return {"B": [Problem(f"b/{number}", question, "42") for number, question in enumerate(questions)]}


ROWS = {
    "equal": LONG.format(n=12, m=30, town="town").upper().replace(".", " ."),
    "near": LONG.format(n=12, m=30, town="London"),
    "run of eight": "Tom buys 30 more apples at the market in town, cheap ones.",
    "free": "Tom buys 31 more apples at home.",
}


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("equal", {"equal"}),
        ("near", {"equal", "near"}),
        ("ngram_8", {"equal", "near", "run of eight"}),
        ("ngram_13", {"equal", "near"}),
    ],
)
def test_a_rule_finds_what_it_says_and_what_stricter_rules_find(rule, found):
    index = BenchmarkIndex(asked(LONG.format(n=12, m=30, town="town")), windows=(8, 13))
    kept, dropped = contamination.drop_contaminated([row(text, name) for name, text in ROWS.items()], index, rule)
    assert {one.rationale.problem.id for one in dropped} == found
    assert [one.problem.id for one in kept] == [name for name in ROWS if name not in found]
    assert {one.stage for one in dropped} == {"contamination"}
    assert all(one.detail == "B: b/0" for one in dropped)


def test_the_report_counts_rows_and_questions_of_every_pair_and_rule():
    index = BenchmarkIndex(
        {**asked(LONG.format(n=12, m=30, town="town")), "C": [Problem("c/0", "Other words here?", "")]}, (5, 8)
    )
    rows = [row(text, name) for name, text in ROWS.items()] + [row("What?", "x", "MATH (CoT)")]
    by_pair = {(one.source, one.benchmark): one.as_dict() for one in contamination.count_overlaps(rows, index)}
    assert len(by_pair) == 4
    assert by_pair["GSM8K (CoT)", "B"] == {
        "source": "GSM8K (CoT)", "benchmark": "B", "rows": 4, "questions": 1, "equal_rows": 1, "equal_questions": 1,
        "near_rows": 2, "near_questions": 1, "ngram_5_rows": 3, "ngram_5_questions": 1, "ngram_8_rows": 3,
        "ngram_8_questions": 1,
    }  # fmt: skip
    assert not any(by_pair["MATH (CoT)", "C"][f"{rule}_rows"] for rule in index.rules)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find the value of tan 225° in the plane, please.", "Find the value of tan 22.5° in the plane, please."),
        ("Solve the equation x - 3 = 0 for the real number x.", "Solve the equation x + 3 = 0 for the real number x."),
        ("What is the cube of -5 plus one hundred and two?", "What is the cube of 5 plus one hundred and two?"),
        ("What is the cube of –5 plus one hundred and two?", "What is the cube of 5 plus one hundred and two?"),
        ("Compute $.5 + .25$ and write it as a decimal number.", "Compute $5 + 25$ and write it as a decimal number."),
    ],
)
def test_signs_and_dots_tell_questions_apart(one, other):
    index = BenchmarkIndex(asked(one))
    assert not index.find(row(other).problem)["equal"]
    assert index.find(row(one.replace(",", "").lower()).problem)["equal"] == {0}


def test_a_hash_alone_makes_no_hit(monkeypatch):
    index = BenchmarkIndex(asked("one two three four five six seven eight nine"), windows=(8,))
    other = "red blue green gold grey pink black white brown"
    known, run = index._runs[8], tuple(other.split()[:8])
    known[hash(run)] = next(iter(known.values()))
    assert index.find(row(other).problem)["ngram_8"] == set()


def test_options_are_compared_only_where_the_question_is_too_short():
    short = Problem("b/0", "Which is true?", "A", ("one is odd", "two is odd"))
    assert not BenchmarkIndex({"B": [short]}).find(Problem("s", "Which is true?", "A", ("red is a colour", "no")))[
        "equal"
    ]
    question = "A train runs 60 km in 2 hours. What is its speed?"
    listed = Problem("b/0", question, "A", ("30", "40"))
    assert BenchmarkIndex({"B": [listed]}).find(Problem("s", question, ""))["equal"] == {0}


@pytest.mark.parametrize(("rule", "known"), [("ngram_9", "ngram_8"), ("exact", "equal, near")])
def test_an_unknown_rule_names_those_there_are(rule, known):
    with pytest.raises(ValueError, match=known):
        contamination.drop_contaminated([], BenchmarkIndex(asked("x")), rule)


def test_a_window_of_one_word_is_refused():
    with pytest.raises(ValueError, match="at least 2 words"):
        BenchmarkIndex({}, windows=(1,))


def test_rules_hold_on_many_questions_as_a_direct_comparison_says():
    """Against the plain definition, question by question, on the miniature's own texts."""
    from mammoth_utils.miniature import sources as world

    benchmark = benchmark_questions.load_questions("miniature")["mini-numglue"]
    rows = world.load("mini-NumGLUE (PoT)")[::7]
    index = BenchmarkIndex({"mini-numglue": benchmark}, windows=(8,))
    texts = [question_tokens(question_stem(problem)) for problem in benchmark]

    def runs(words):
        return {tuple(words[at : at + 8]) for at in range(len(words) - 7)}

    hits = 0
    for one in rows:
        words = question_tokens(question_stem(one.problem))
        numbers = [word for word in words if word[0].isdigit()]
        near = {
            at for at, text in enumerate(texts)
            if [word for word in text if word[0].isdigit()] == numbers
            and jaccard(shingles(words), shingles(text)) >= SIMILARITY
        }  # fmt: skip
        found = index.find(one.problem)
        assert found["equal"] == {at for at, text in enumerate(texts) if text == words}
        assert found["near"] == near | found["equal"]
        assert found["ngram_8"] == {at for at, text in enumerate(texts) if runs(text) & runs(words)} | found["equal"]
        hits += len(found["equal"]) + len(found["ngram_8"])
    assert hits, "nothing was found, so nothing was compared"


# --- the clean part of a benchmark ---------------------------------------------------------------------------------


@pytest.fixture
def curated(tmp_path):
    """A folder with the ``clean.json`` of two sources and a benchmark of three problems."""
    index = BenchmarkIndex(
        asked(LONG.format(n=1, m=2, town="Rome"), LONG.format(n=3, m=4, town="Rome"), "Nothing like it?")
    )
    touched = OverlapCounts()
    index.count_row(row(LONG.format(n=1, m=2, town="Rome")), touched)
    index.count_row(row(LONG.format(n=3, m=4, town="Paris"), source="MATH (CoT)"), touched)
    sources = ["GSM8K (CoT)", "MATH (CoT)", "MathQA (PoT)"]
    told = {"world": "real", "sources": sources, "benchmarks": index.clean(touched)}
    records.write_json(tmp_path / clean_subset.CLEAN, told)
    return tmp_path


@pytest.mark.parametrize(
    ("rule", "sources", "clean"),
    [
        ("equal", None, ("b/1", "b/2")),
        ("near", None, ("b/2",)),
        ("near", ["MATH (CoT)"], ("b/0", "b/2")),
        ("equal", ["MATH (CoT)"], ("b/0", "b/1", "b/2")),
        ("ngram_8", ["GSM8K (CoT)", "MATH (CoT)"], ("b/2",)),
        ("ngram_8", ["MathQA (PoT)"], ("b/0", "b/1", "b/2")),
    ],
)
def test_the_clean_problems_are_those_that_no_wanted_source_touches(curated, rule, sources, clean):
    assert clean_subset.clean_ids(curated, "b", rule, sources) == clean


def test_an_unknown_benchmark_or_rule_names_those_there_are(curated):
    with pytest.raises(ValueError, match="known: b"):
        clean_subset.clean_ids(curated, "gsm8k", "equal")
    with pytest.raises(ValueError, match="known: equal, near, ngram_8, ngram_13"):
        clean_subset.clean_ids(curated, "b", "exact")


def test_a_mistyped_source_is_refused_and_not_called_clean(curated):
    with pytest.raises(ValueError, match=r"unknown source 'Math \(CoT\)'; known: GSM8K \(CoT\), MATH \(CoT\), MathQA"):
        clean_subset.clean_ids(curated, "b", "near", ["GSM8K (CoT)", "Math (CoT)"])
    with pytest.raises(TypeError, match=r"expected a list of sources, got the text 'MATH \(CoT\)'"):
        clean_subset.clean_ids(curated, "b", "near", "MATH (CoT)")
    told = records.read_json(curated / clean_subset.CLEAN)
    del told["sources"]
    records.write_json(curated / clean_subset.CLEAN, told)
    with pytest.raises(ValueError, match="older code made it"):
        clean_subset.clean_ids(curated, "b", "near", ["MATH (CoT)"])


def evaluated(corrected="1n0", ids=("b/0", "b/1", "b/2"), **more):
    """An evaluation's record as far as its scores are read."""
    items = {"ids": list(ids), "corrected": corrected, "published": "1" * len(ids)}
    return {"world": "real", "benchmarks": {"b": {"items": items}, **more}}


@pytest.mark.parametrize(
    ("rule", "sources", "clean", "correct"),
    [("equal", None, 2, 0), ("near", None, 1, 0), ("near", ["MATH (CoT)"], 2, 1), ("near", ["MathQA (PoT)"], 3, 1)],
)
def test_a_finished_evaluations_score_is_computed_again_on_the_clean_part(curated, rule, sources, clean, correct):
    (line,) = clean_subset.score_clean_subset(evaluated(), curated, rule, sources)
    assert (line["problems"], line["correct"], line["accuracy"]) == (3, 1, 1 / 3)
    assert (line["clean"], line["clean_correct"], line["clean_accuracy"]) == (clean, correct, correct / clean)
    (line,) = clean_subset.score_clean_subset(evaluated(), curated, rule, sources, graded_by="published")
    assert line["clean_correct"] == clean


def test_scores_on_the_clean_part_say_what_they_cannot_know(curated):
    other = {"items": {"ids": ["c/0"], "corrected": "1", "published": "1"}}
    _, line = clean_subset.score_clean_subset(evaluated(c=other), curated)
    assert (line["correct"], line["clean"], line["clean_accuracy"]) == (1, None, None), "a benchmark not compared"
    (line,) = clean_subset.score_clean_subset(evaluated("1", ["b/0"]), curated)
    assert (line["clean"], line["clean_accuracy"]) == (0, None), "nothing clean is left"
    with pytest.raises(ValueError, match="no problem b/7"):
        clean_subset.score_clean_subset(evaluated("1", ["b/7"]), curated)
    with pytest.raises(ValueError, match="expected an evaluation of the world 'real'"):
        clean_subset.score_clean_subset({**evaluated(), "world": "miniature"}, curated)
    with pytest.raises(ValueError, match="unknown grading 'mine'; known: published, corrected"):
        clean_subset.score_clean_subset(evaluated(), curated, graded_by="mine")


def test_the_documented_command_prints_the_scores_on_the_clean_part(curated, capsys, root):
    records.write_record(curated / "evaluation", evaluated(c={"items": {"ids": ["c/0"], "corrected": "1"}}))
    assert (
        clean_subset.main([str(curated / "evaluation"), str(curated), "--rule", "near", "--sources", "MATH (CoT)"]) == 0
    )
    told = capsys.readouterr().out
    assert "b                      3     33.3%       2     50.0%\n" in told
    assert "c                      1    100.0%       -         -\n" in told
    assert "nothing is known of: c" in told
    assert clean_subset.main([str(curated / "evaluation" / "record.json"), str(curated), "--rule", "nearly"]) == 1
    assert "unknown rule 'nearly'; known: equal, near" in capsys.readouterr().err
    assert "python -m mammoth_utils.curation.clean_subset runs/evaluate/" in (root / "book" / "howto.md").read_text(
        "utf8"
    )


def test_a_committed_score_is_recomputed_on_the_clean_part():
    """The ids are those of an evaluation's items, so its verdicts can be picked by them."""
    from mammoth_utils.miniature import sources as world

    index, touched = BenchmarkIndex(benchmark_questions.load_questions("miniature")), OverlapCounts()
    for one in world.load("mini-NumGLUE (PoT)"):
        index.count_row(one, touched)
    clean = set(index.clean(touched)["mini-numglue"]["clean"]["equal"])
    record = records.read_json(paths.records() / "miniature" / "llama-1m-hybrid-full-s0-hybrid.json")
    items = record["benchmarks"]["mini-numglue"]["items"]
    picked = [verdict for id, verdict in zip(items["ids"], items["corrected"], strict=True) if id in clean]
    assert len(picked) == len(items["ids"]) - world.SOURCES["mini-NumGLUE (PoT)"].leaked


@needs_real
@pytest.mark.parametrize("name", evaluation.NINE)
def test_ids_and_questions_are_the_evaluations(name):
    ours = {problems[0].set: problems for problems in benchmark_questions.load_questions("real").values()}[name]
    theirs = evaluation.load(name)
    assert [one.id for one in ours] == [one.id for one in theirs]
    same = [question_tokens(question_stem(a)) == question_tokens(question_stem(b))
            for a, b in zip(ours, theirs, strict=True)]  # fmt: skip
    assert all(same), f"{name}: {same.count(False)} questions differ, the first {ours[same.index(False)].id}"


def test_our_names_are_the_papers_nine():
    assert len(benchmark_questions.NAMES) == 9
    assert [one for one in benchmark_questions.NAMES if one != "AQuA-RAT"] == [
        evaluation.BENCHMARKS[name].paper_name for name in evaluation.NINE if name != "aqua"
    ]
