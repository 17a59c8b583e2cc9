"""The claims: each verdict from records made by hand, and the grids that measure what the claims need."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import evaluation_records
import pytest
import yaml
from evaluation_records import record

from mammoth_utils.report import claims, measured_models
from mammoth_utils.report.claim_definitions import CLAIMS, HYBRID, LOGIC, paper_figures
from mammoth_utils.report.claims import CANNOT_TELL, NO_DIFFERENCE, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED
from mammoth_utils.report.measured_models import DecodedModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

import generated_text  # noqa: E402  (the workflow is scripts beside each other, no package)


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
    ]
    found = verdicts(given)
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, NOT_REPRODUCED), {
        name: one.reason for name, one in found.items()
    }


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
    assert (
        "one of form, since fewer than half of the answers of llama-1m, unfiltered mixture, hybrid decoding"
        in found.reason
    )


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
    assert found.estimate == pytest.approx(0.3), "what this run measured comes before what is committed"
    origins = {label: (origin, paths) for label, origin, paths in found.models}
    assert origins["llama-1m, hybrid mixture, hybrid decoding"] == (
        "this run", ("runs/evaluate/llama-1m-hybrid-full-s0-hybrid/record.json",)
    )  # fmt: skip
    assert origins["llama-1m, unfiltered mixture, hybrid decoding"] == ("committed", ("records/full/unfiltered.json",))


def test_the_papers_figures_are_those_of_its_tables():
    paper = paper_figures()
    assert set(paper) == {claim.id for claim in CLAIMS}
    assert paper["C1"] == "7B, Table 6: hybrid - PoT +6.9, PoT - CoT +9.0"
    assert "-7.0 on SimulEq" in paper["C3"]


def named(model: dict) -> DecodedModel:
    way = model.get("evaluate", {}).get("decoding", "hybrid")
    variant = "equal-steps" if model.get("name", "").endswith("-equal-steps") else ""
    return DecodedModel(model["size"], model["family"], model["mixture"], way, variant)


def test_the_grids_measure_what_the_claims_need():
    grids = {
        name: yaml.safe_load((ROOT / f"workflow/grids/{name}.yaml").read_text())["models"] for name in ("book", "full")
    }
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
    assert "| C1 | Hybrid beats PoT only" in new
    assert "| reproduced |" in new
    assert "**Not in the committed records**" in new
    with pytest.raises(ValueError, match="once each"):
        generated_text.replace_block("no markers", "results", block)


@pytest.mark.parametrize("target", generated_text.FILES)
def test_the_generated_blocks_of_this_project_agree_with_its_records(target):
    assert generated_text.update(target, check=True), f"run `python workflow/generated_text.py {target}`"


def test_the_development_split_showed_what_the_miniature_was_chosen_for():
    split = generated_text.DevelopmentSplit.of(generated_text.committed_evaluations())
    assert split.programs >= 0.8
    assert 0.2 <= split.prose <= 0.6
    assert split.logic - split.logic_half_width > 0.2
    assert all(0.05 <= share <= 0.97 for share in split.by_benchmark.values())
    assert split.out_of_domain >= split.in_domain / 2
