"""The grammar of run names: what is formatted is parsed again, and a record's fields come before its name."""

from __future__ import annotations

import itertools

import pytest

from mammoth_utils import paths, records, scales
from mammoth_utils.vocabulary import EQUAL_STEPS, UNTUNED, RunName, evaluated_run, evaluation_name


def test_every_run_name_is_read_as_it_was_written():
    trained = itertools.product(scales.SCALES, scales.MIXTURES, scales.METHODS[1:], (0, 42))
    names = [RunName(family, size, mixture, method, seed)
             for (size, family), mixture, method, seed in trained]  # fmt: skip
    names += [RunName(family, size, UNTUNED, "") for size, family in scales.SCALES]
    names += [RunName("llama", "1m", "cot", "full", 3, variant) for variant in (EQUAL_STEPS, "max_steps2-epochs1")]
    assert [RunName.parse(str(name)) for name in names] == names
    assert len({str(name) for name in names}) == len(names)
    assert str(RunName("llama", "1m", "hybrid")) == "llama-1m-hybrid-full-s0"
    assert str(RunName("coder", "7b", UNTUNED)) == "coder-7b-none-base"


@pytest.mark.parametrize("name", ["", "mine", "llama-1m", "gpt-1m-hybrid-full-s0", "llama-1m-hybrid-full", "Llama-2"])
def test_another_name_is_no_run(name):
    assert RunName.parse(name) is None


@pytest.mark.parametrize(
    ("name", "expected", "because"),
    [
        ("llama-1m-G-lora-s2-pot", RunName("llama", "1m", "G", "lora", 2), "the name that follows from the fields"),
        (
            "llama-1m-G-lora-s2-epochs1-pot",
            RunName("llama", "1m", "G", "lora", 2, "epochs1"),
            "a variant",
        ),
        ("llama-1m-G-lora-s2-pot-n20", RunName("llama", "1m", "G", "lora", 2, "pot-n20"), "a part of the test set"),
        ("mine-pot", None, "a name that the reader gave may stand for any settings"),
        ("llama-3m-G-lora-s2-pot", None, "the fields say 1m"),
    ],
)
def test_the_fields_of_a_record_say_what_was_trained(name, expected, because):
    fields = {"name": name, "family": "llama", "size": "1m", "mixture": "G", "method": "lora", "seed": 2}
    assert evaluated_run(fields, "pot") == expected, because


def test_a_record_whose_model_was_given_as_a_folder_is_known_by_its_name():
    empty = {"family": "", "size": "", "mixture": "", "method": "full", "seed": 0}
    expected = RunName("llama", "1m", "G", "full", 0, EQUAL_STEPS)
    assert evaluated_run({**empty, "name": "llama-1m-G-full-s0-equal-steps-hybrid"}, "hybrid") == expected
    assert evaluated_run({**empty, "name": "localhost-8000-v1-hybrid"}, "hybrid") is None


def test_every_committed_evaluation_belongs_to_the_run_that_its_name_spells():
    found = [records.read_json(file) for file in paths.records().glob("miniature/*.json")]
    found = [record for record in found if record["page"] == "evaluate"]
    runs = {record["model"]["name"]: evaluated_run(record["model"], record["decoding"]) for record in found}
    assert len(runs) >= 25
    for record in found:
        run = runs[record["model"]["name"]]
        assert RunName.parse(record["model"]["name"].removesuffix(f"-{record['decoding']}")) == run
        assert f"{run.family}-{run.size}" == record["model"]["base"]


def test_an_evaluation_is_named_after_what_differs_from_the_whole_test_set():
    assert evaluation_name("llama-1m-none-base", "hybrid", "test", (), 0) == "llama-1m-none-base-hybrid"
    assert evaluation_name("mine", "cot", "dev", ("mini-gsm8k", "mini-sat"), 9) == "mine-cot-dev-mini-gsm8k+mini-sat-n9"
