"""Decisions of curation, held by its VERSION: the filters on a fixed table, and the rows of a small miniature."""

from __future__ import annotations

import golden

from mammoth_utils import records
from mammoth_utils.curation import contamination, curate, describe, filters, mixtures
from mammoth_utils.rationale import Problem, Rationale

APPLES = "Anna has {n} apples in a basket and buys 30 more apples at the market in {town}. How many apples has she now?"
# id: source, question, gold, text; one row a decision
TABLE = {
    "right prose": ("TheoremQA (CoT)", "What is 2 + 3?", "5", "It is 5. The answer is 5."),
    "the same again": ("TheoremQA (CoT)", "What is 2 + 3?", "5", "It is 5. The answer is 5."),
    "wrong prose": ("TheoremQA (CoT)", "What is 2 + 4?", "6", "It is 7. The answer is 7."),
    "wrong unvalidated prose": ("Camel-Math (CoT)", "What is 2 + 5?", "7", "It is 8. The answer is 8."),
    "no answer": ("TheoremQA (CoT)", "What is 2 + 6?", "8", "That is a matter of taste."),
    "no gold": ("TheoremQA (CoT)", "What is 2 + 7?", "", "It is 9."),
    "empty question": ("GSM8K (CoT)", " ", "1", "1"),
    "empty rationale": ("GSM8K (CoT)", "What is 1?", "1", " "),
    "broken": ("GSM8K (CoT)", "What is 1?", "1", "caf\ufffd"),
    "surrogate": ("GSM8K (CoT)", "What is 1?", "1", "half \ud83d"),
    "long": ("GSM8K (CoT)", "What is 1?", "1", "x" * 8_000),
    "apples": ("GSM8K (CoT)", APPLES.format(n=12, town="town"), "42", "12 + 30 = 42. The answer is 42."),
    "apples in London": ("GSM8K (CoT)", APPLES.format(n=12, town="London"), "42", "12 + 30 = 42. The answer is 42."),
    "more apples": ("GSM8K (CoT)", APPLES.format(n=13, town="town"), "43", "13 + 30 = 43. The answer is 43."),
    "right program": ("MathQA (PoT)", "What is 2 + 3?", "5", "print(2 + 3)"),
    "wrong program": ("MathQA (PoT)", "What is 2 + 4?", "6", "print(2 * 4)"),
    "rounded program": ("MATH (PoT)", "What is 1 / 3?", r"\frac{1}{3}", "print(0.33)"),
    "exact program": ("MATH (PoT)", "What is 1 / 3, exactly?", r"\frac{1}{3}", "print('1/3')"),
    "failing program": ("MathQA (PoT)", "What is 2 + 5?", "7", "print(1 / 0)"),
    "silent program": ("MathQA (PoT)", "What is 2 + 6?", "8", "x = 8"),
    "program without gold": ("NumGLUE (PoT)", "What is 2 + 7?", "", "print(9)"),
}
BENCHMARK = {"B": [Problem("b/0", APPLES.format(n=12, town="Rome"), "42"), Problem("b/1", "What is 2 + 6?", "8")]}


def rows() -> list[Rationale]:
    return [
        Rationale(Problem(id, question, gold, set=source), source[-4:-1].lower(), text, source, "human")
        for id, (source, question, gold, text) in TABLE.items()
    ]


def decisions(split: filters.Split) -> str:
    """Who stays, by number in the table, and who goes with which reason."""
    places = {id: place for place, id in enumerate(TABLE)}
    kept, dropped = split
    lost = [f"{places[one.rationale.problem.id]} {one.stage}: {one.reason}" for one in dropped]
    return f"{' '.join(str(places[row.problem.id]) for row in kept)} | {'; '.join(lost)}"


def test_the_filters_decide_as_their_version_says(write_golden):
    table, index = rows(), contamination.BenchmarkIndex(BENCHMARK)
    sound, _ = filters.drop_malformed(table)
    found = {
        "malformed": decisions(filters.drop_malformed(table)),
        "executed": decisions(filters.drop_failed_programs(sound, timeout_s=5.0, workers=1)),
        **{
            f"agreeing, {which}": decisions(filters.drop_disagreeing_prose(sound, which)) for which in filters.AGREEMENT
        },
        "duplicates": decisions(filters.drop_duplicates(sound)),
        "near_duplicates": decisions(filters.drop_near_duplicates(sound)),
        **{f"without, {rule}": decisions(contamination.drop_contaminated(sound, index, rule)) for rule in index.rules},
    }
    golden.check("curation", "filters", found, write_golden)


def test_the_miniatures_rows_are_those_of_the_version(runs_dir, write_golden):
    description = describe("miniature", limit=8, seed=7)
    curate(description)
    kept, unfiltered, dropped = (
        list(records.read_jsonl(description.folder / name))
        for name in (mixtures.KEPT, mixtures.UNFILTERED, mixtures.DROPPED)
    )
    # Not the whole row: it names the teacher, whose name follows from what it writes.
    rows = {
        "kept": [[row["source"], row["key"], row["gold"], row["history"].get("verdict")] for row in kept],
        "unfiltered": [[row["source"], row["key"]] for row in unfiltered],
        "dropped": [[row["source"], row["key"], row["stage"], row["reason"]] for row in dropped],
    }
    found = {name: f"{len(lines)} rows, {records.fingerprint(lines)}" for name, lines in rows.items()}
    golden.check("curation", "miniature", found, write_golden)
