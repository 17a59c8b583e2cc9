"""What an evaluation is of: an adapter is applied, a changed base or server is noticed, the world is the model's."""

import json
import shutil

import fault_server
import pytest
import tiny_base

from mammoth_utils import paths, records
from mammoth_utils.base_models import BaseModelError, identify_base
from mammoth_utils.evaluation import describe_evaluation, evaluate
from mammoth_utils.evaluation.description import find_given
from mammoth_utils.evaluation.engines import endpoint
from mammoth_utils.evaluation.engines.endpoint import EndpointError
from mammoth_utils.vocabulary import NINE


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs of the test's own."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def adapter_run(runs, method="lora", merged=False, name="tuned"):
    """A finished run that holds an adapter, and its base in a folder beside."""
    base, folder = runs.parent / "base", runs / "train" / name
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"the base's weights")
    for kind, file in [("adapter", "adapter_model"), *([("model", "model")] if merged else [])]:
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{file}.safetensors").write_bytes(b"x")
    (folder / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(base)})
    )
    run = {"size": "7b", "family": "llama", "method": method, "base": str(base)}
    records.write_json(folder / "run.json", {**run, "inputs": {"base": identify_base(str(base))}})
    records.write_record(folder, {"page": "train"})
    return folder, base


# --- adapters and their bases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapters_folder_inside_a_run_means_that_run(runs, method):
    folder, base = adapter_run(runs, method)
    for given in (folder, folder / "adapter"):
        found = describe_evaluation(model=str(given), benchmarks="gsm8k")
        assert (found.model, found.adapter, found.method) == (str(base), str(folder / "adapter"), method)
        assert found.dequantise == (method == "qlora")
        assert found.as_dict()["adapter"]


def test_a_merged_run_is_taken_whole_whichever_of_its_folders_is_given(runs):
    folder, _ = adapter_run(runs, merged=True)
    found = {find_given(str(given)) for given in (folder, folder / "model", folder / "adapter")}
    assert [(one.name, one.model, one.adapter) for one in found] == [("tuned", str(folder / "model"), "")]


def test_a_base_that_changed_under_an_adapter_is_refused_with_both_hashes(runs):
    folder, base = adapter_run(runs)
    before = identify_base(str(base))["sha256"]
    (base / "model.safetensors").write_bytes(b"another base's weights")
    with pytest.raises(BaseModelError, match="is not the one that the adapter was trained on") as caught:
        find_given(str(folder))
    assert before[:16] in str(caught.value)
    assert identify_base(str(base))["sha256"][:16] in str(caught.value)


def test_an_adapter_from_elsewhere_goes_onto_the_base_that_it_names(runs):
    folder, base = adapter_run(runs)
    foreign = shutil.copytree(folder / "adapter", runs.parent / "foreign")
    found = find_given(str(foreign))
    assert (found.name, found.model, found.adapter, found.base) == ("foreign", str(base), str(foreign), str(base))
    assert "16 bit" in found.method


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING adapter; only LoRA"),
        ({"base_model_name_or_path": None}, "names no base"),
        ({"base_model_name_or_path": "/gone/away"}, "of the base /gone/away, which is not here"),
        ("weights beside", r"holds a model \(model.safetensors\) and an adapter"),
    ],
)
def test_an_adapter_that_cannot_be_applied_as_it_was_trained_is_refused(runs, change, message):
    folder, _ = adapter_run(runs)
    foreign = shutil.copytree(folder / "adapter", runs.parent / "foreign")
    if isinstance(change, str):
        (foreign / "model.safetensors").write_bytes(b"x")
    else:
        config = records.read_json(foreign / "adapter_config.json") | change
        records.write_json(foreign / "adapter_config.json", config)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_given(str(foreign))


def test_a_checkpoint_of_a_run_is_no_model(runs):
    folder, _ = adapter_run(runs)
    (folder / "checkpoints" / "checkpoint-15").mkdir(parents=True)
    with pytest.raises(ValueError, match="checkpoint of an unfinished training"):
        find_given(str(folder / "checkpoints" / "checkpoint-15"))


def test_merging_refuses_another_base(runs):
    from mammoth_utils.training import describe
    from mammoth_utils.training.export import merge_adapter

    folder, base = adapter_run(runs)
    run = describe(size="7b", method="lora", base=str(base), name="tuned").as_dict()
    records.write_json(folder / "run.json", {**run, "inputs": {"base": identify_base(str(base))}})
    records.write_record(folder, {"page": "train", "environment": {"dtype": "bf16"}})
    (base / "model.safetensors").write_bytes(b"another base's weights")
    with pytest.raises(BaseModelError, match="is not the one that the adapter was trained on"):
        merge_adapter.estimate_needs(folder)


@pytest.mark.parametrize("four_bit", [False, True])
def test_the_adapters_own_completions_come_from_its_folder_and_not_the_bases(tmp_path, four_bit):
    """The whole way: an adapter that moves the net writes other texts than its base, by folder name alone."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    from mammoth_utils.evaluation.engines.decoders import load_decoder
    from mammoth_utils.evaluation.engines.requests import Request, complete

    base = tiny_base.base(tmp_path / "base")
    net = AutoModelForCausalLM.from_pretrained(base)
    lora = peft.get_peft_model(net, peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    lora.save_pretrained(tmp_path / "adapter")
    found = find_given(str(tmp_path / "adapter"))
    requests = [Request("What is 2 + 2?", 12), Request("Tom has 12 apples.", 12)]
    applied = complete(load_decoder(found.model, found.adapter, device="cpu", dequantise=four_bit), requests)
    assert applied != complete(load_decoder(base, device="cpu"), requests)


# --- worlds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["TIGER-Lab/MAmmoTH-7B", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1#x", "base"])
def test_a_model_that_is_not_the_miniatures_is_asked_the_real_nine(runs, model):
    _, base = adapter_run(runs)
    found = describe_evaluation(model=str(base) if model == "base" else model)
    assert (found.world, found.benchmarks, found.max_new_tokens) == ("real", NINE, 1500)
    mini = describe_evaluation(model=found.model, benchmarks="mini-gsm8k")
    assert (mini.world, mini.max_new_tokens) == ("miniature", 200)


def test_a_model_of_the_miniature_is_asked_the_miniatures_nine(runs):
    folder, _ = adapter_run(runs, merged=True)
    records.write_json(folder / "run.json", {"size": "1m", "family": "llama", "method": "full", "base": "llama-1m"})
    for model in (folder, paths.miniature_models() / "llama-1m", "llama-1m"):
        found = describe_evaluation(model=str(model))
        assert (found.world, len(found.benchmarks), found.max_new_tokens) == ("miniature", 9, 200)
    with pytest.raises(ValueError, match="is a model of the miniature, and size=7b is not"):
        describe_evaluation(model=str(folder), size="7b")


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    for name in endpoint.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with fault_server.serve() as made:
        yield made


def test_what_arrived_before_a_server_failed_is_not_asked_again(server, runs):
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=6)
    server.fault, server.after = "key", 3
    with pytest.raises(EndpointError, match="wrong key"):
        evaluate(description, concurrency=1)
    arrived = {body["prompt"] for body in server.bodies[:3]}
    server.fault = ""
    server.asked.clear()
    record = evaluate(description)
    assert not arrived & set(server.asked)
    assert server.asked.total() == 3
    assert record["completions"] == 6


def test_another_model_at_the_same_address_is_evaluated_for_itself(server, runs):
    said = []
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=2)
    server.models = [{"id": "mammoth-7b", "created": 1, "root": "/w/7b"}]
    first = evaluate(description, say=said.append)
    assert first["inputs"]["server"]["root"] == "/w/7b"
    server.models = [{"id": "mammoth-7b", "created": 2, "root": "/w/7b"}]
    server.asked.clear()
    said.clear()
    assert evaluate(description, say=said.append) == first, "started anew it is the same model"
    assert not server.asked
    assert not said
    server.models = [{"id": "mammoth-13b", "created": 3, "root": "/w/13b"}]
    second = evaluate(description, say=said.append)
    assert server.asked.total() == 2
    assert second["inputs"]["server"]["id"] == "mammoth-13b"
    assert "mammoth-7b" in said[0]
    assert "mammoth-13b" in said[0]
    aside = description.folder.with_name(f"{description.folder.name}.old-1")
    assert records.read_json(aside / "record.json") == first


def test_a_finished_evaluation_is_shown_while_its_server_is_off(server, runs):
    said = []
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=2)
    first = evaluate(description)
    server.fault = "loading"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "CONNECTING_S", 0.1)
        assert evaluate(description, say=said.append) == first
    assert "is shown; its model was not asked" in said[0]
