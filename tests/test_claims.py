"""The claims: each verdict from records made by hand, and the grids that measure what the claims need."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import evaluation_records
import pytest
import yaml
from evaluation_records import record

from mammoth_utils.miniature import WORLD
from mammoth_utils.report import claims, development, measured_models
from mammoth_utils.report.claim_definitions import CLAIMS, HYBRID, LOGIC, SPECIALIST, SPECIALISTS, paper_figures
from mammoth_utils.report.claims import CANNOT_TELL, NO_DIFFERENCE, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED
from mammoth_utils.report.measured_models import DecodedModel
from mammoth_utils.vocabulary import RunName

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

import generated_text  # noqa: E402  (the workflow is scripts beside each other, no package)
import measure_models  # noqa: E402


def by_field(numeric: float, logic: float):
    return lambda name, family, kind: logic if kind in LOGIC else numeric


def by_domain(inside: float, outside: float):
    return lambda name, family, kind: inside if name in measured_models.MINI_BENCHMARKS[:4] else outside


def verdicts(given) -> dict[str, claims.ClaimResult]:
    return {one.id: one for one in claims.evaluate_claims(given)}


ALL_GOOD = [
    record("hybrid", by_domain(0.8, 0.7), also={"pot": 0.6, "cot": 0.4}),
    record("pot", by_field(0.6, 0.1), "pot"),
    record("cot", by_field(0.3, 0.4), "cot"),
    record("none", by_domain(0.4, 0.1)),
    record("hybrid", by_domain(0.9, 0.9), family="coder"),
    record("hybrid", by_domain(0.9, 0.9), size="3m"),
    record("unfiltered", 0.5),
    record("G", by_domain(0.6, 0.2)),
    record("G+M", by_domain(0.6, 0.3)),
    record("G+M+C", by_domain(0.6, 0.5)),
    record("G+M+C+A", by_domain(0.7, 0.6)),
    record("G-cot", by_domain(0.5, 0.2), "cot"),
    record("G+M-cot", by_domain(0.6, 0.2), "cot"),
]


def test_every_claim_can_be_reproduced():
    found = verdicts(ALL_GOOD)
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, REPRODUCED), {
        name: one.reason for name, one in found.items()
    }
    assert list(found) == [f"C{number}" for number in range(1, 10)]
    for one in found.values():
        assert one.low <= one.estimate <= one.high
        assert "one training seed: about this model only" in one.reason


def test_every_claim_can_fail():
    given = [
        record("hybrid", by_domain(0.5, 0.3), also={"pot": 0.6, "cot": 0.4}),
        record("pot", by_field(0.4, 0.6), "pot"),
        record("cot", by_field(0.7, 0.3), "cot"),
        record("none", by_domain(0.1, 0.2)),
        record("hybrid", by_domain(0.3, 0.2), family="coder"),
        record("hybrid", by_domain(0.3, 0.2), size="3m"),
        record("unfiltered", 0.6),
        record("G", by_domain(0.6, 0.5)),
        record("G-cot", by_domain(0.1, 0.2), "cot"),
        record("G+M-cot", by_domain(0.1, 0.2), "cot"),
    ]
    found = verdicts(given)
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, NOT_REPRODUCED), {
        name: one.reason for name, one in found.items()
    }


COUNTER_RECORDS = {
    "C2": [record("pot", by_field(0.6, 0.9), "pot", suffix="-logic-programs")],
    "C4": [record("hybrid", by_domain(0.7, 0.2), suffix="-one-family")],
    "C8": [record("hybrid", 0.6, suffix="-faultless"), record("unfiltered", 0.6, suffix="-faultless")],
    "C9": [
        record("hybrid", by_domain(0.7, 0.6), suffix="-told-specialists"),
        record("G+M-cot", by_domain(0.4, 0.4), "cot", suffix="-told-specialists"),
    ],
}


def test_a_counter_world_says_whether_its_claim_can_fail():
    told = verdicts([*ALL_GOOD, *sum(COUNTER_RECORDS.values(), [])])
    assert "it comes out the other way, as it must: -50.0 [" in told["C2"].counter
    assert "it vanishes, as it must: +0.0 [" in told["C4"].counter
    assert told["C8"].counter.startswith("Where the teacher makes no mistake, it vanishes, as it must")
    assert "it comes out the other way, as it must: -10.0" in told["C9"].counter
    still = record("hybrid", by_domain(0.7, 0.6), suffix="-one-family")
    assert "it holds as well, so that the miniature does not test it" in verdicts([*ALL_GOOD, still])["C4"].counter
    beaten = [one for one in ALL_GOOD if one["model"]["mixture"] != "unfiltered"] + [record("unfiltered", 0.9)]
    assert "it is not seen either: +0.0 [" in verdicts([*beaten, *COUNTER_RECORDS["C8"]])["C8"].counter
    assert "nothing is measured yet; `make book-full` measures it" in verdicts(ALL_GOOD)["C4"].counter
    assert verdicts(ALL_GOOD)["C1"].counter == "", "it has none"


def test_a_program_first_on_every_question_takes_prose_where_no_answer_was_read():
    given = record("hybrid", 0.5, also={"pot": 0.4, "cot": 0.9})
    unread = given["decodings"]["pot"]["mini-sat"]["items"]
    for rule in ("corrected", "published"):
        unread[rule] = unread[rule].replace("0", "n")
    evaluation = measured_models.EvaluationRecord(given)
    scores = evaluation.benchmarks(measured_models.PROGRAM_FIRST)
    program, prose = evaluation.benchmarks("pot"), evaluation.benchmarks("cot")
    assert scores["mini-gsm8k"] == program["mini-gsm8k"], "a wrong program stays"
    assert scores["mini-sat"]["items"]["corrected"] == prose["mini-sat"]["items"]["corrected"]
    assert measured_models.EvaluationRecord(record("pot", 0.5, "pot")).benchmarks(measured_models.PROGRAM_FIRST) is None


def test_the_gain_over_a_specialist_is_told_in_log_odds_too():
    (step, *_) = [part for part in verdicts(ALL_GOOD)["C9"].steps if part.log_odds]
    odds = [math.log(share / (1 - share)) for share in (0.7, 0.2, 0.8, 0.6)]
    assert step.interval.estimate == pytest.approx(odds[0] - odds[1] - odds[2] + odds[3])
    assert step.difference.endswith("in log-odds")


def test_the_development_split_foretells_how_wide_an_interval_will_be():
    def dev(mixture, rate, seed):
        made = record(mixture, by_domain(0.6, rate), seed=seed)
        return made | {"split": "dev", "model": made["model"] | {"name": made["model"]["name"] + "-dev"}}

    given = [dev("hybrid", 0.7, 0), dev("hybrid", 0.8, 1), dev("G", 0.2, 0), dev("G", 0.4, 1)]
    few, many = (development.expected_half_widths(given, seeds)["C4"]["all - G"] for seeds in (2, 5))
    assert 0 < many < few, "more seeds, a narrower interval"
    assert development.expected_half_widths(ALL_GOOD, 5) == {}, "the test split foretells nothing"


def test_a_difference_that_turns_between_the_rules_is_told_in_words():
    given = [record("hybrid", 0.5, looser=0.0, also={"pot": 0.6, "cot": 0.4})]
    given[0]["decodings"]["pot"] = evaluation_records.benchmarks(0.6, looser=-0.2)
    told = claims.between_rules(verdicts(given)["C3"], "hybrid - PoT decoding")
    assert "has another sign under the two rules: -10.0 points under the corrected one, +10.0 under" in told
    assert claims.between_rules(verdicts([])["C3"], "hybrid - PoT decoding") == ""


def test_a_claim_that_cannot_be_told_names_what_it_would_take():
    mixed = record("unfiltered", lambda name, family, kind: 0.9 if family in ("family0", "family1", "logic0") else 0.5)
    found = verdicts([record("hybrid", 0.6), mixed])["C8"]
    (part,) = found.parts
    half = (part.interval.high - part.interval.low) / 2
    families = part.interval.families * (half / part.interval.estimate) ** 2
    assert f"would take about {math.ceil(families / 10) * 10:,} families" in found.reason
    level = verdicts([record("hybrid", 0.6), record("unfiltered", lambda *_: 0.6)])["C8"]
    assert "more than 10,000 families" in level.reason


def test_a_verdict_is_a_sentence():
    told = verdicts(ALL_GOOD)["C6"].reason
    assert re.fullmatch(
        r"The larger model is ahead by \d+\.\d points \(95 % interval [\d.]+ to [\d.]+; 18 problem .*\)", told
    )


def test_an_interval_that_contains_nothing_decides_nothing():
    mixed = record("unfiltered", lambda name, family, kind: 0.9 if family in ("family0", "family1", "logic0") else 0.5)
    found = verdicts([record("hybrid", 0.6), mixed])["C8"]
    assert found.verdict == CANNOT_TELL
    assert found.low < 0 < found.high
    assert "includes zero" in found.reason


@pytest.mark.parametrize(("rate", "says"), [(0.0, "every accuracy under 5 %"), (1.0, "every accuracy over 97 %")])
def test_two_models_at_the_floor_or_the_ceiling_support_no_claim(rate, says):
    found = verdicts([record("hybrid", rate), record("unfiltered", rate)])["C8"]
    assert found.verdict == CANNOT_TELL
    assert says in found.reason


def test_one_model_at_the_floor_loses_to_one_above_it():
    assert verdicts([record("hybrid", 0.6), record("unfiltered", 0.0)])["C8"].verdict == REPRODUCED


def test_a_model_that_does_not_answer_in_the_form_asked_for_is_compared_by_form_only():
    found = verdicts([record("hybrid", 0.6), record("unfiltered", 0.0, wrong="n")])["C8"]
    assert found.verdict == CANNOT_TELL
    unread = "most answers of llama-1m, unfiltered mixture, hybrid decoding cannot be read"
    assert f"{unread}, so that it may be form and not mathematics" in found.reason


def test_a_part_needs_eight_families(monkeypatch):
    monkeypatch.setattr(evaluation_records, "LOGIC", evaluation_records.LOGIC[:7])
    given = [record("pot", by_field(0.6, 0.1), "pot"), record("cot", by_field(0.3, 0.4), "cot")]
    found = verdicts(given)["C2"]
    assert found.verdict == CANNOT_TELL
    assert "7 problem families" in found.reason
    assert "fewer than 8 families decide nothing" in found.reason


def test_an_interval_within_half_of_the_papers_effect_shows_no_difference():
    found = verdicts([record("hybrid", 0.6), record("hybrid", 0.6, size="3m")])["C6"]
    assert found.verdict == NO_DIFFERENCE
    assert "within half of the paper's 5.0 points" in found.reason
    higher = verdicts([record("hybrid", 0.95), record("hybrid", 0.95, size="3m")])["C6"]
    assert higher.verdict == CANNOT_TELL, "above 90 % little is left to differ by"
    without = verdicts([record("hybrid", 0.6), record("unfiltered", 0.6)])["C8"]
    assert without.verdict == CANNOT_TELL, "the paper has no effect to compare with"


def test_a_part_that_fails_outweighs_one_that_cannot_tell():
    given = [record("pot", by_field(0.3, 0.0), "pot"), record("cot", by_field(0.6, 0.0), "cot")]
    assert verdicts(given)["C2"].verdict == NOT_REPRODUCED


def test_hybrid_decoding_may_lose_a_point_and_no_more():
    within = record("hybrid", 0.6, also={"pot": 0.6, "cot": 0.4})
    assert verdicts([within])["C3"].verdict == REPRODUCED
    assert verdicts([within])["C3"].estimate == 0
    beyond = record("hybrid", 0.5, also={"pot": 0.6, "cot": 0.4})
    assert verdicts([beyond])["C3"].verdict == NOT_REPRODUCED


def test_a_missing_cell_names_the_command_that_measures_it():
    found = verdicts([record("hybrid", 0.6)])
    assert found["C8"].verdict == NOT_MEASURED
    assert "unfiltered mixture" in found["C8"].reason
    assert (found["C8"].command, found["C6"].command) == ("make book", "make book-full")
    assert found["C8"].estimate is None
    table = claims.table(list(found.values())).set_index("claim")
    assert table.loc["C6", "reason"].endswith("measure it with `make book-full`")
    assert table.loc["C6", "difference"] == ""


def test_the_verdict_is_the_corrected_rules_and_the_published_rule_stands_beside_it():
    found = verdicts([record("hybrid", 0.5, looser=0.3), record("unfiltered", 0.6)])["C8"]
    assert found.verdict == NOT_REPRODUCED
    assert found.estimate == pytest.approx(-0.1)
    assert found.published_rule == pytest.approx(0.2)


def test_seeds_are_pooled_and_counted():
    given = [record("hybrid", 0.6 + 0.1 * seed, seed=seed) for seed in range(3)]
    given += [record("unfiltered", 0.3, seed=seed) for seed in range(3)]
    found = verdicts(given)["C8"]
    assert found.seeds == 3
    assert found.estimate == pytest.approx(0.4)
    assert "3 training seeds" in found.reason


def test_seeds_on_other_items_are_refused():
    other = record("hybrid", 0.6, seed=1)
    other["benchmarks"]["mini-math"]["items"]["ids"][0] = "mini-math/test/another"
    with pytest.raises(ValueError, match="holds other items"):
        verdicts([record("hybrid"), other, record("unfiltered")])


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"split": "dev"}, "the development split chooses the world, so it supports nothing"),
        ({"parameters": {"limit": 20}}, "a limit leaves most problems out"),
        ({"suffix": "-max_steps10"}, "a run with settings of its own is another model"),
        ({"world": "real"}, "a real benchmark shares no claim with the miniature"),
    ],
)
def test_records_that_stand_for_no_model_are_left_out(changes, because):
    def seeds(evaluation):
        return measured_models.seeds_of(HYBRID, measured_models.as_evaluations([evaluation]))

    assert seeds(record("hybrid", **changes)) == [], because
    part = record("hybrid")
    del part["benchmarks"]["mini-mmlu"]
    assert seeds(part) == [], "an average of eight is not the average of nine"


def test_the_control_at_equal_steps_is_reported_and_decides_nothing():
    given = [*ALL_GOOD[:3], record("pot", 0.9, "pot", suffix="-equal-steps")]
    found = verdicts(given)["C1"]
    assert found.verdict == REPRODUCED
    steps = {step.name: step.interval.estimate for step in found.steps}
    assert steps["hybrid - PoT only at equal steps"] < 0
    assert claims.beside(found, "hybrid - PoT only at equal steps").startswith("-15.6 [")
    assert claims.beside(verdicts([])["C1"], "hybrid - PoT only at equal steps") == "not measured here"


def test_growing_mixtures_are_listed_step_by_step():
    found = verdicts(ALL_GOOD)["C4"]
    assert [step.name for step in found.steps] == ["G+M - G", "G+M+C - G+M", "G+M+C+A - G+M+C", "hybrid - G+M+C+A"]
    assert sum(step.interval.estimate for step in found.steps) == pytest.approx(found.estimate)


def test_each_cell_says_whether_it_was_measured_here_or_read(tmp_path):
    def write(path, content):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))

    runs, committed = tmp_path / "runs", tmp_path / "records"
    write(runs / "evaluate" / "llama-1m-hybrid-full-s0-hybrid" / "record.json", record("hybrid", 0.7))
    write(runs / "evaluate" / "llama-1m-hybrid-full-s0-hybrid.old-1" / "record.json", record("hybrid", 0.1))
    write(committed / "miniature" / "hybrid.json", record("hybrid", 0.2))
    write(committed / "full" / "unfiltered.json", record("unfiltered", 0.4))
    write(committed / "other" / "curate.json", {"page": "curate"})
    found = verdicts(measured_models.read("miniature", runs, committed))["C8"]
    assert found.estimate == pytest.approx(-0.2), "what is committed decides, with its seeds"
    assert found.this_run is None, "this run has one of the two models only"
    write(runs / "evaluate" / "llama-1m-unfiltered-full-s0-hybrid" / "record.json", record("unfiltered", 0.4))
    beside = verdicts(measured_models.read("miniature", runs, committed))["C8"]
    assert (beside.estimate, beside.this_run) == (pytest.approx(-0.2), pytest.approx(0.3)), "this run stands beside it"
    assert claims.table([beside])["this run"].item() == "+30.0"
    (committed / "miniature" / "hybrid.json").unlink()
    mixed = verdicts(measured_models.read("miniature", runs, committed))["C8"]
    assert mixed.estimate == pytest.approx(0.3), "where not all is committed, this run decides"
    origins = {label: (origin, paths) for label, origin, paths in mixed.models}
    assert origins["llama-1m, hybrid mixture, hybrid decoding"] == (
        "this run", ("runs/evaluate/llama-1m-hybrid-full-s0-hybrid/record.json",)
    )  # fmt: skip


def test_the_papers_figures_are_those_of_its_tables():
    paper = paper_figures()
    assert set(paper) == {claim.id for claim in CLAIMS}
    assert paper["C1"] == "7B, Table 6: hybrid - PoT +6.9, PoT - CoT +9.0"
    assert "-7.0 on SimulEq" in paper["C3"]


def named(model: dict) -> DecodedModel:
    way = model.get("evaluate", {}).get("decoding", "hybrid")
    run = RunName.parse(model.get("name", ""))
    return DecodedModel(model["size"], model["family"], model["mixture"], way, run.variant if run else "")


def test_the_grids_measure_what_the_claims_need():
    grids = {name: measure_models.read_grid(ROOT / f"workflow/grids/{name}.yaml") for name in ("book", "full")}
    made = {name: {named(model) for model in listed} for name, listed in grids.items()}
    for claim in CLAIMS:
        for need in claim.needs:
            ways = {need}
            if need.mixture == "hybrid":  # the hybrid model's evaluation scores its two other decodings too
                ways.add(DecodedModel(need.size, need.family, need.mixture))
            grid = "book" if claim.command == "make book" else "full"
            assert ways & (made["book"] | made[grid]), f"{claim.id} needs {need.label}, and no grid measures it"
    controls = {need for claim in CLAIMS for step in claim.steps for _, need, _ in step.terms if need.variant}
    assert controls <= made["full"]
    worlds = {model for claim in CLAIMS if claim.counter for part in claim.counter.parts for model in part.models}
    assert {model for model in worlds if model.variant} <= made["full"]


def test_every_cell_that_a_claim_reads_has_five_seeds_in_the_grids():
    listed = [
        model for name in ("book", "full") for model in measure_models.read_grid(ROOT / f"workflow/grids/{name}.yaml")
    ]
    seeds = Counter(named(model).training for model in listed)
    trained = {model for claim in CLAIMS for part in claim.parts for model in part.models if model.mixture != "none"}
    trained |= {model for claim in CLAIMS for step in claim.steps for model in step.models if model.variant}
    assert {model.label: seeds[model.training] for model in trained} == {model.label: 5 for model in trained}


def test_a_grid_entry_with_seeds_stands_for_one_model_each(tmp_path):
    (tmp_path / "grid.yaml").write_text("models:\n- {size: 1m, seeds: [3, 4], name: 'run-s{seed}'}\n- {size: 1m}\n")
    first, second, third = measure_models.read_grid(tmp_path / "grid.yaml")
    assert (first, second) == ({"size": "1m", "seed": 3, "name": "run-s3"}, {"size": "1m", "seed": 4, "name": "run-s4"})
    assert third == {"size": "1m"}


def test_the_equal_steps_of_the_grid_are_the_hybrid_runs():
    steps = yaml.safe_load((ROOT / "workflow/grids/full.yaml").read_text())["steps"]
    found = [
        json.loads(file.read_text())
        for folder in (ROOT / "runs/train", ROOT / "records")
        for file in folder.glob("**/llama-1m-hybrid-full-s0/record.json")
    ]
    if not found:
        pytest.skip("no record of llama-1m-hybrid-full-s0 to compare with; `make book` leaves one")
    assert steps == found[0]["steps"], "workflow/grids/full.yaml trains its controls for another number of steps"


def test_a_block_is_made_from_records_and_replaced_between_its_markers():
    text = "# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\ntail\n"
    block = generated_text.results_block(ALL_GOOD[:3])
    new = generated_text.replace_block(text, "results", block)
    assert new == f"# Title\n\n<!-- results:begin -->\n{block}<!-- results:end -->\n\ntail\n"
    assert "| C1 | PoT only - CoT only | +" in new, "the weakest difference decides"
    assert "| reproduced |" in new
    assert "| C9 |  |  |  |" in new, "what was not measured has no figures"
    with pytest.raises(ValueError, match="once each"):
        generated_text.replace_block("no markers", "results", block)


@pytest.mark.parametrize("target", generated_text.FILES)
def test_the_generated_blocks_of_this_project_agree_with_its_records(target):
    assert generated_text.update(target, check=True), f"run `python workflow/generated_text.py {target}`"


def test_the_development_split_showed_what_the_miniature_was_chosen_for():
    told = development.read()
    assert told["inputs"]["world"] == WORLD
    assert all(0.1 <= told["hybrid"][name] <= 0.95 for name in measured_models.MINI_BENCHMARKS)
    assert told["hybrid"]["prose on logic and abstract algebra"] > 0.3, "guessing gives 0.2"
    parts = {(claim.id, part.name) for claim in CLAIMS for part in claim.parts}
    assert {(claim, part) for claim, parts in told["half_widths"].items() for part in parts} == parts


def test_the_reference_of_c9_is_the_specialist_that_was_better_on_the_development_split():
    found = {
        model: [
            sum(scores.values()) / len(scores)
            for label, scores in development.read()["accuracies"].items()
            if label.startswith(f"{model.label}, seed ")
        ]
        for model in SPECIALISTS
    }
    assert max(found, key=lambda model: sum(found[model]) / len(found[model])) == SPECIALIST
