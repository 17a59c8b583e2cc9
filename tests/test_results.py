"""What a run leaves: models that any server loads, merged in little memory, and the same nets that were trained."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import types

import pytest
import tiny_base

from mammoth_utils import paths, prompts, records
from mammoth_utils.training import describe, finetune
from mammoth_utils.training.export import merge_adapter, model_folder, saved_run, verify_losses, verify_tensors
from mammoth_utils.training.loop import checkpoints, encoding, guards, losses
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.loop.tokenizer import load_tokenizer

torch = pytest.importorskip("torch")
REPACKS = "avx512_bf16" in records.processor() or "amx_bf16" in records.processor()

BASE_WIDTH = 64


@pytest.fixture(scope="module")
def examples():
    return encoding.encode_rows(tiny_base.rows(6), tiny_base.tokenizer(), 1000)[0]


def described(base, method: str, size: str = "1m", **changes):
    """A run of the tiny base at a size's precision; ``7b`` keeps 16 bits as every real scale does."""
    description = describe(size, method=method, base=str(base), devices="cpu", max_length=320, name="a")
    return dataclasses.replace(description, lora_rank=4, lora_alpha=8.0, **changes)


def adapted(description, compute: str = "bf16", strength: float = 0.05):
    """The folder of a finished run whose adapter holds random numbers: what merging reads, without training."""
    from peft import get_peft_model

    torch.manual_seed(1)
    model = models.load_model(description, compute)
    model = get_peft_model(model, models.lora_config(description))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = strength * torch.randn(parameter.shape)
    target = model_folder.save(description.folder / "adapter", model, load_tokenizer(description), description)
    model_folder.point_to_base(target, description.base_path)
    records.write_json(description.folder / "run.json", description.as_dict())
    records.write_json(description.folder / "record.json", {"environment": {"dtype": compute}})
    return model.eval()


def tensors(folder) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


# ---- merging


@pytest.mark.parametrize("size", ["1m", "7b"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("compute", ["bf16", "fp32"])
def test_merging_one_matrix_at_a_time_gives_what_peft_gives_with_all_in_memory(runs_dir, base, method, size, compute):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    description = described(base, method, size)
    adapted(description, compute)
    place = merge_adapter.merge_adapter(description.folder)
    options = {"dtype": models.torch_dtype(compute)}
    if method == "qlora":
        options["quantization_config"] = models.quantisation_config(compute, sharded=False)
    whole = AutoModelForCausalLM.from_pretrained(base, **options)
    whole = (whole.dequantize() if method == "qlora" else whole).float()
    whole = PeftModel.from_pretrained(whole, description.folder / "adapter").merge_and_unload().state_dict()
    stays = torch.float32 if size == "1m" else torch.bfloat16
    ours = tensors(place)
    assert set(whole) - set(ours) <= {"lm_head.weight"}, "tied to the embedding"
    for name, value in ours.items():
        assert value.dtype == stays
        assert torch.equal(value, whole[name].to(stays)), name


def test_a_qlora_adapter_is_folded_into_the_dequantised_base_and_not_into_the_base(runs_dir, base):
    folded = {}
    for method in ("lora", "qlora"):
        description = described(base, method)
        adapted(description)
        folded[method] = tensors(merge_adapter.merge_adapter(description.folder))["model.layers.0.mlp.up_proj.weight"]
    stored = tensors(base)["model.layers.0.mlp.up_proj.weight"].bfloat16()
    assert not torch.allclose(folded["lora"], folded["qlora"], atol=1e-3)
    rounded = merge_adapter.quantise_and_dequantise(stored).float() - stored.float()
    assert torch.allclose(folded["qlora"] - folded["lora"], rounded, atol=1e-6)


def test_a_merged_model_is_what_any_server_loads(runs_dir, base, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    pieces = shutil.copytree(base, tmp_path / "pieces")
    (pieces / "tokenizer.model").write_bytes(b"sentencepiece")
    settings = records.read_json(pieces / "tokenizer_config.json")
    records.write_json(pieces / "tokenizer_config.json", settings | {"chat_template": "{{ 'the base asks so' }}"})
    description = described(pieces, "qlora", "7b")
    adapted(description)
    place = merge_adapter.merge_adapter(description.folder)
    assert sorted(file.name for file in place.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json",
    ]  # fmt: skip
    config = records.read_json(place / "config.json")
    assert "quantization_config" not in config
    assert (config["dtype"], config["architectures"], config["use_cache"]) == ("bfloat16", ["LlamaForCausalLM"], True)
    generation = GenerationConfig.from_pretrained(place)
    assert (generation.eos_token_id, generation.bos_token_id, generation.pad_token_id) == (1, 0, 2)
    assert generation.do_sample is False
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert (tokenizer.eos_token, tokenizer.padding_side) == ("</s>", "left")
    for name in ("tokenizer.json", "tokenizer.model"):
        assert (place / name).read_bytes() == (pieces / name).read_bytes(), "the base's own, as servers know it"
    model = AutoModelForCausalLM.from_pretrained(place, dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not [text for text in place.glob("*.json") if str(tmp_path) in text.read_text()], "a path of this machine"


@pytest.mark.parametrize("start", [True, False])
def test_a_servers_chat_gives_the_prompt_that_was_trained_on(runs_dir, base, tmp_path, start):
    from transformers import AutoTokenizer

    there = shutil.copytree(base, tmp_path / "base")
    if not start:  # a tokenizer that puts nothing in front, as Qwen's
        tokenizer = records.read_json(there / "tokenizer.json")
        records.write_json(there / "tokenizer.json", tokenizer | {"post_processor": None})
    description = described(there, "lora")
    adapted(description)
    tokenizer = AutoTokenizer.from_pretrained(merge_adapter.merge_adapter(description.folder))
    question = "What is 7 plus 5?\n{{ 1 }}" + prompts.POT_TRIGGER
    asked = tokenizer.apply_chat_template([{"role": "user", "content": question}], return_dict=False)
    assert asked == tokenizer(prompts.alpaca(question)).input_ids
    assert (asked[0] == tokenizer.bos_token_id) is start
    with pytest.raises(Exception, match="expected one message, of the user"):
        tokenizer.apply_chat_template([{"role": "system", "content": "You are a poet."}])


def test_a_large_model_is_written_in_shards_with_their_index(runs_dir, base):
    from transformers import AutoModelForCausalLM

    description = described(base, "lora", "7b")
    adapted(description)
    one = tensors(merge_adapter.merge_adapter(description.folder))
    place = merge_adapter.merge_adapter(description.folder, shard_bytes=40_000)
    index = records.read_json(place / "model.safetensors.index.json")
    files = sorted(file.name for file in place.glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert set(index["weight_map"].values()) == set(files)
    assert index["metadata"]["total_size"] == sum(v.numel() * v.element_size() for v in one.values())
    assert set(index["weight_map"]) == set(one)
    loaded = AutoModelForCausalLM.from_pretrained(place, dtype="auto").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in one.items())


@pytest.mark.parametrize("form", ["shards of safetensors", "torch's own files", "with old buffers", "an untied head"])
def test_every_form_of_a_base_is_read(runs_dir, base, tmp_path, form):
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    there = shutil.copytree(base, tmp_path / "base")
    held = tensors(base)
    if form == "an untied head":
        held["lm_head.weight"] = torch.randn_like(held["model.embed_tokens.weight"])
        config = records.read_json(there / "config.json")
        records.write_json(there / "config.json", config | {"tie_word_embeddings": False})
        save_file(held, there / "model.safetensors", metadata={"format": "pt"})
    elif form == "with old buffers":
        extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
        save_file(held | extra, there / "model.safetensors", metadata={"format": "pt"})
    elif form == "torch's own files":
        (there / "model.safetensors").unlink()
        torch.save(held, there / "pytorch_model.bin")
    else:
        model = AutoModelForCausalLM.from_pretrained(base)
        (there / "model.safetensors").unlink()
        model.save_pretrained(there, max_shard_size="100KB")
        assert len(list(there.glob("*.safetensors"))) > 1
    description = described(there, "lora")
    adapted(description)
    merged = tensors(merge_adapter.merge_adapter(description.folder))
    assert set(merged) == set(held)
    assert torch.equal(merged["model.embed_tokens.weight"], held["model.embed_tokens.weight"].bfloat16().float())
    if form == "an untied head":
        assert torch.equal(merged["lm_head.weight"], held["lm_head.weight"].bfloat16().float())


def _no_adapter(description):
    shutil.rmtree(description.folder / "adapter")


def _unfinished(description):
    (description.folder / "record.json").unlink()


def _dora(description):
    file = description.folder / "adapter" / "adapter_config.json"
    records.write_json(file, records.read_json(file) | {"use_dora": True})


def _edited(description, edit):
    from safetensors.torch import save_file

    file = description.folder / "adapter" / "adapter_model.safetensors"
    held = tensors(file.parent)
    edit(held)
    save_file(held, file)


def _half_a_pair(description):
    _edited(description, lambda held: held.pop(next(name for name in held if "lora_A" in name)))


def _a_matrix_without_its_pair(description):
    _edited(description, lambda held: [held.pop(name) for name in list(held) if "layers.1.mlp.up" in name])


def _another_base(description):
    other = tiny_base.base(description.folder / "other", width=32)
    file = description.folder / "run.json"
    records.write_json(file, records.read_json(file) | {"base": str(other)})


def _not_finite(description):
    _edited(description, lambda held: held[next(iter(held))].fill_(float("nan")))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_adapter, "holds no adapter/ to merge; full fine-tuning leaves model/ itself"),
        (_unfinished, "holds no record.json: the run has not finished"),
        (_dora, "expected pairs of plain LoRA matrices, found use_dora=True"),
        (_half_a_pair, "expected pairs of plain LoRA matrices, found halves"),
        (_a_matrix_without_its_pair, "a qlora run adapts all linear layers; without a pair: "
                                     "['model.layers.1.mlp.up_proj.weight']"),
        (_another_base, "it was trained on another base"),
        (_not_finite, "is not finite after merging"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused_and_leaves_no_model(runs_dir, base, damage, said):
    description = described(base, "qlora")
    adapted(description)
    damage(description)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        merge_adapter.merge_adapter(description.folder)
    assert said in str(error.value)
    assert not (description.folder / "model").exists()


def test_a_disk_without_room_is_said_before_anything_is_written(runs_dir, base, monkeypatch):
    description = described(base, "lora")
    adapted(description)
    monkeypatch.setattr(merge_adapter.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(OSError, match=r"takes 0\.00 GB, the disk has 0\.00 GB left"):
        merge_adapter.merge_adapter(description.folder)
    assert not list(description.folder.glob("model*"))


def test_the_command_says_what_it_needs_and_merges(runs_dir, base, monkeypatch, capsys):
    monkeypatch.setattr(saved_run, "MERGED_UP_TO", 1000)
    description = described(base, "qlora", "7b", max_steps=2, global_batch=4)
    finetune(description, tiny_base.rows(8))
    assert merge_adapter.main([str(description.folder), "--dry-run"]) == 0
    assert "needs 0.6 GB of memory and 0.00 GB of disk for 1 file" in capsys.readouterr().out
    assert not (description.folder / "model").exists()
    assert merge_adapter.main([str(description.folder)]) == 0
    assert (description.folder / "model" / "model.safetensors").is_file()
    _no_adapter(description)
    assert merge_adapter.main([str(description.folder)]) == 1
    assert "not merged" in capsys.readouterr().err


PEAK = """
import resource, sys, pathlib
from mammoth_utils.training.export import merge_adapter as merging
from transformers import AutoTokenizer, AutoModelForCausalLM
import torch, bitsandbytes, peft
folder = pathlib.Path(sys.argv[1])
merging.quantise_and_dequantise(torch.ones(64, 64))  # what the libraries hold once they have worked
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
merging.merge_adapter(folder, shard_bytes=int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


@pytest.mark.long
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_merging_takes_the_memory_that_it_says_and_far_less_than_the_model(runs_dir, tmp_path, method):
    big = tiny_base.base(tmp_path / "big", width=1536, layers=8)  # 0.7 GB in fp32
    description = described(big, method, "7b")
    adapted(description)
    shard = 30_000_000
    said = merge_adapter.estimate_needs(description.folder, shard_bytes=shard)
    command = [sys.executable, "-c", PEAK, str(description.folder), str(shard)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout.split()[-1])
    assert grown < 1.15 * said.memory + 30e6
    assert grown < 0.5 * sum(file.stat().st_size for file in big.glob("*.safetensors"))
    assert said.disk == sum(v.numel() * v.element_size() for v in tensors(description.folder / "model").values())


# ---- drift


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A QLoRA run of the shipped base that learnt something: its folder and the losses of the trained net itself."""
    measured, measure = [], verify_losses.trained_losses

    def kept(*given):
        measured[:] = measure(*given)
        return list(measured)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        patch.setattr(verify_losses, "trained_losses", kept)
        description = describe("1m", method="qlora", max_steps=12, learning_rate=1e-2, name="a")
        record = finetune(description, tiny_base.rows(16))
        assert record["losses"]["last"] < record["losses"]["first"] - 1
        return description.folder, measured


@pytest.fixture
def left(learnt, runs_dir):
    """The run in a folder of the test's own, the trained net's losses, and the examples that they belong to."""
    folder, trained = learnt
    shutil.copytree(folder, runs_dir / "train" / "a")
    description = describe("1m", method="qlora", max_steps=12, learning_rate=1e-2, name="a")
    return description, trained, encoding.encode_rows(
        tiny_base.rows(16), load_tokenizer(description), 1000
    )[0]  # fmt: skip


def test_what_a_run_leaves_gives_the_losses_of_the_net_that_was_trained(left):
    description, trained, examples = left
    record = records.read_json(description.folder / "record.json")
    drift = verify_losses.compare_reloaded(description, trained, examples, record["environment"]["dtype"])
    assert drift.examples == 6
    assert drift.adapter_nats == 0, "the same arithmetic"
    assert 0 < drift.model_nats < drift.tolerance_nats / 4
    assert drift.as_dict() | {"tensors": 28 * 2} == record["drift"]


def test_adapter_and_merged_model_write_the_same_answers(left):
    description, _, _ = left
    computed = records.read_json(description.folder / "record.json")["environment"]["dtype"]
    tokenizer, written = load_tokenizer(description), {}
    for load in (verify_losses._reload_adapter, verify_losses._reload_model):
        model = load(description, computed, "cpu")
        model.set_attn_implementation("sdpa")
        written[load.__name__] = [
            tokenizer.decode(model.generate(**tokenizer(prompts.alpaca(row["instruction"]), return_tensors="pt"),
                                            max_new_tokens=60, do_sample=False)[0], skip_special_tokens=True)
            for row in tiny_base.rows(4)
        ]  # fmt: skip
    adapter, merged = written.values()
    # Rounding decides where two tokens are as likely, and another processor rounds otherwise.
    assert sum(one == other for one, other in zip(adapter, merged, strict=True)) >= 3
    assert all("The answer is" in text or "print" in text for text in merged), "it learnt to answer"


def _altered(description, factor: float) -> None:
    """The merged model with so many times the adapter's product more."""
    from safetensors.torch import save_file

    place = description.folder / "model"
    pairs, held = merge_adapter.Pairs.read(description.folder / "adapter"), tensors(place)
    for name in pairs.a:
        held[name] = held[name] + factor * pairs.product(name, "cpu")
    save_file(held, place / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("mistake", "because"),
    [
        (lambda description: _altered(description, -1.0), "the adapter was not folded in"),
        (lambda description: _altered(description, 1.0), "the adapter was folded in twice"),
        (lambda description: _altered(description, -0.5), "alpha over rank was forgotten"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_the_trained_net_is_refused_with_the_mistakes_that_look_so(left, mistake, because):
    description, trained, examples = left
    mistake(description)
    with pytest.raises(verify_losses.DriftError) as error:
        verify_losses.compare_reloaded(description, trained, examples, "bf16")
    said = str(error.value)
    assert f"{description.folder / 'model'} gives a loss of" in said, because
    assert "more than the 0.02 of rounding" in said
    assert "belongs into the 4-bit base dequantised" in said
    assert "never into 4-bit layers, which hold repacked weights once they ran an evaluation pass" in said


@pytest.mark.skipif(not REPACKS, reason="4-bit weights are repacked on processors with AVX512-BF16 alone")
def test_an_adapter_folded_into_repacked_4_bit_layers_is_refused(runs_dir, base, tmp_path, examples):
    from peft import PeftModel
    from safetensors.torch import save_file

    loud = shutil.copytree(base, tmp_path / "loud")  # the losses of a net of small random weights are all alike
    save_file({name: 6 * value if value.dim() == 2 else value for name, value in tensors(base).items()},
              loud / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    description = described(loud, "qlora")
    trained = verify_losses.mean_losses(adapted(description), examples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards, "keep_four_bit", lambda model: 0)
        model = models.load_model(description, "bf16")
    model = PeftModel.from_pretrained(model, description.folder / "adapter")
    losses.mean_loss(model, examples[:2])  # the pass in evaluation mode
    merged = model.merge_and_unload().dequantize().float()
    model_folder.save(description.folder / "model", merged, load_tokenizer(description), description)
    with pytest.raises(verify_losses.DriftError, match="never into 4-bit layers, which hold repacked weights"):
        verify_losses.compare_reloaded(description, trained, examples, "bf16")
    merge_adapter.merge_adapter(description.folder)
    assert verify_losses.compare_reloaded(description, trained, examples, "bf16").model_nats < 0.02


def test_an_adapter_that_was_not_saved_whole_is_refused(left):
    description, trained, examples = left
    _edited(description, lambda held: [held[name].zero_() for name in held if "layers.1" in name])
    with pytest.raises(
        verify_losses.DriftError, match=r"adapter gives a loss of .* not saved whole, or is loaded on another"
    ):
        verify_losses.compare_reloaded(description, trained, examples, "bf16")


def test_an_adapter_on_another_base_than_its_own_is_refused(left):
    description, trained, examples = left
    with pytest.raises(verify_losses.DriftError, match="loaded on another base than it was trained on"):
        verify_losses.compare_reloaded(dataclasses.replace(description, base="coder-1m"), trained, examples, "bf16")


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("size", ["1m", pytest.param("7b", marks=pytest.mark.long)])
def test_a_run_ends_with_the_proof_in_its_record(runs_dir, base, method, size):
    description = described(base, method, size, max_steps=8, global_batch=4, learning_rate=5e-3)
    description = description if method != "full" else dataclasses.replace(description, lora_rank=0, lora_alpha=0.0)
    record = finetune(description, tiny_base.rows(8))
    drift, folders = record["drift"], ["model"] if method == "full" else ["adapter", "model"]
    assert record["model"]["folders"] == folders
    assert drift["examples"] == 6
    assert [name for name in ("adapter", "model") if f"{name}_nats" in drift] == folders
    assert all(drift[f"{name}_nats"] <= drift["tolerance_nats"] for name in folders)
    if method != "full":
        assert record["merging"]["memory_bytes"] > record["merging"]["disk_bytes"]
    held = {v.dtype for v in tensors(description.folder / "model").values()}
    assert held == {torch.float32 if size == "1m" else torch.bfloat16}
    said = records.read_json(description.folder / "model" / "config.json")["dtype"]
    assert said == str(held.pop()).removeprefix("torch.")


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_large_base_is_compared_in_memory_and_the_record_says_what_was_not_done(runs_dir, base, monkeypatch, method):
    monkeypatch.setattr(saved_run, "MERGED_UP_TO", 1000)
    description = described(base, method, max_steps=2, learning_rate=5e-3)
    record = finetune(description, tiny_base.rows(8))
    kind, drift = "model" if method == "full" else "adapter", record["drift"]
    assert record["model"]["folders"] == [kind]
    assert drift["tensors"] == len(tensors(description.folder / kind))
    assert drift[f"{kind}_nats"] == 0, "the same arithmetic on the same numbers"
    assert "loaded" in drift["not_done"]
    card = (description.folder / kind / "README.md").read_text()
    assert drift["not_done"] in card
    assert "| losses in memory | differ from those of the net that was trained by 0.0e+00 nats a token" in card
    assert "| loaded again |" not in card


def test_an_adapter_that_answers_otherwise_than_the_net_in_memory_is_refused(runs_dir, base, monkeypatch):
    write = model_folder.save

    def with_another_alpha(*given):
        place = write(*given)
        file = place / "adapter_config.json"
        records.write_json(file, records.read_json(file) | {"lora_alpha": 8000.0})
        return place

    monkeypatch.setattr(saved_run, "MERGED_UP_TO", 1000)
    monkeypatch.setattr(model_folder, "save", with_another_alpha)
    with pytest.raises(verify_losses.DriftError, match="adapter gives a loss of"):
        finetune(described(base, "lora", max_steps=8, learning_rate=5e-3), tiny_base.rows(8))


def test_a_large_base_is_left_unmerged_and_merged_later_with_record_and_card(runs_dir, base, monkeypatch, capsys):
    monkeypatch.setattr(saved_run, "MERGED_UP_TO", 1000)
    record = finetune(described(base, "lora", max_steps=2, learning_rate=5e-3), tiny_base.rows(8))
    folder = runs_dir / "train" / "a"
    assert record["merging"]["command"] == f"python -m mammoth_utils.training.export.merge_adapter {folder}"
    assert "GB of memory" in record["merging"]["needs"]
    assert merge_adapter.main([str(folder)]) == 0
    later = records.read_json(folder / "record.json")
    told = later["merging"]
    assert told["hash"] == model_folder.weights_hash(folder / "model")
    assert later["model"] == record["model"] | {"folders": ["adapter", "model"]}
    names = set(tensors(folder / "model"))
    assert len(set(told["checked"])) == merge_adapter.CHECKED
    assert set(told["checked"]) < names
    assert {key: later[key] for key in record if key not in ("merging", "model")} == {
        key: value for key, value in record.items() if key not in ("merging", "model")
    }
    card = (folder / "model" / "README.md").read_text()
    assert f"| merged weights' SHA-256 | `{told['hash']}` |" in card
    assert "| merged | 4 matrices, drawn by seed, computed once more" in card
    assert merge_adapter.main([str(folder)]) == 0, "a second time gives the same"
    assert records.read_json(folder / "record.json")["merging"]["hash"] == told["hash"]


@pytest.mark.parametrize(("device", "end"), [("cpu", "runs/train/a"), ("cuda", "runs/train/a --device cuda")])
def test_a_run_on_a_card_is_merged_on_a_card(device, end):
    assert merge_adapter.merge_command("runs/train/a", device).endswith(end)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_a_card_that_is_not_there_is_said(runs_dir, base, capsys):
    description = described(base, "lora")
    adapted(description)
    assert merge_adapter.main([str(description.folder), "--device", "cuda"]) == 1
    assert "torch finds no card here" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["1m", "7b"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(
    ("mistake", "because"),
    [
        (lambda b, p: 0 * p, "the adapter was not folded in"),
        (lambda b, p: 2 * p, "it was folded in twice"),
        (lambda b, p: p / 2, "alpha over rank was forgotten"),
        (lambda b, p: p * (1 + 2e-2 * (torch.arange(len(p)) == 5)[:, None]), "one row is off by a fiftieth"),
        (lambda b, p: p.fill_(1e4), "another adapter"),
    ],
)
def test_a_merged_matrix_that_is_not_its_base_plus_the_product_is_refused(
    runs_dir, base, monkeypatch, size, method, mistake, because
):
    description = described(base, method, size)
    adapted(description, strength=1.0)
    product = merge_adapter.Pairs.product
    monkeypatch.setattr(merge_adapter.Pairs, "product", lambda self, *given: mistake(None, product(self, *given)))
    with pytest.raises(ValueError, match=r"times the rounding of its type from base \+ scale · B A"):
        merge_adapter.merge_adapter(description.folder)
    assert not (description.folder / "model").exists(), because


# ---- whole or refused


def _file(place):
    return next(iter(sorted(place.glob("*.safetensors"))))


def _with(place, change) -> None:
    from safetensors.torch import save_file

    held = tensors(place)
    change(held)
    save_file(held, _file(place), metadata={"format": "pt"})


def _only(held, part: str) -> torch.Tensor:
    return held[next(name for name in held if part in name)]


def _cut_short(place):
    content = _file(place).read_bytes()
    _file(place).write_bytes(content[: len(content) // 2])


def _a_shard_gone(place):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(place, dtype="auto")
    _file(place).unlink()
    model.save_pretrained(place, max_shard_size="60KB")
    shards = sorted(place.glob("*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()


LAYER_1_UP = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"
DAMAGES = {
    "an empty adapter": ("adapter", lambda place: _with(place, lambda held: held.clear()),
                         "28 tensors expected, 0 there; missing: base_model.model.model.layers.0"),
    "no file": ("both", lambda place: _file(place).unlink(), "its files cannot be read"),
    "a file cut short": ("both", _cut_short, "its files cannot be read"),
    "one layer's matrix": ("adapter", lambda place: _with(place, lambda held: held.pop(LAYER_1_UP)),
                           f"28 tensors expected, 27 there; missing: {LAYER_1_UP}."),
    "a matrix of another shape": ("adapter", lambda place: _with(place, lambda held: held.update(
        {LAYER_1_UP: held[LAYER_1_UP][:2].clone()})), f"than the base's config gives: {LAYER_1_UP} (2, 64)"),
    "one NaN": ("both", lambda place: _with(place, lambda held: _only(held, "layers.1").view(-1)[3:4].fill_(
        float("nan"))), "with values that are not finite: "),
    "one infinity": ("both", lambda place: _with(place, lambda held: _only(held, "layers.0").view(-1)[:1].fill_(
        float("inf"))), "with values that are not finite: "),
    "another value": ("both", lambda place: _with(place, lambda held: _only(held, "layers.0").view(-1)[:1].add_(1)),
                      "other values than in the net that was trained: "),
    "foreign": ("both", lambda place: _with(place, lambda held: held.update(more=torch.ones(1))), "unknown: more"),
    "a shard gone": ("model", _a_shard_gone, "missing: "),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_result_that_is_not_whole_is_refused_at_every_size(wholes, runs_dir, monkeypatch, damage, large, method):
    which, harm, said = DAMAGES[damage]
    if which not in ("both", "model" if method == "full" else "adapter"):
        pytest.skip("no fault of this kind of result")
    description, trainer, tokenizer = wholes(method)
    write = model_folder.save

    def damaged(*given):
        place = write(*given)
        harm(place)
        return place

    monkeypatch.setattr(model_folder, "save", damaged)
    monkeypatch.setattr(model_folder, "point_to_base", lambda *given: None)
    monkeypatch.setattr(saved_run, "MERGED_UP_TO", 0 if large else 10**9)
    with pytest.raises(verify_tensors.IncompleteModelError) as error:
        save(description, trainer, tokenizer, total=1000)
    assert said in str(error.value)
    assert "The run is not finished; no checkpoint lies in" in str(error.value)
    assert not (description.folder / "record.json").exists()


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(("steps", "rate", "refused"), [
    (0, 1e-3, False), (1, 1e-3, False), (2, 1e-3, True), (2, 0.0, False),
])  # fmt: skip
def test_an_adapter_that_is_all_zero_after_a_step_is_refused(wholes, runs_dir, method, steps, rate, refused):
    description, trainer, tokenizer = wholes(method, steps, rate)
    if not refused:  # the first step of a warm-up is taken at a rate of 0
        assert save(description, trainer, tokenizer).checks["tensors"] == 28
        return
    with pytest.raises(
        verify_tensors.IncompleteModelError, match="all zero, as before the first step: the adapter was not trained"
    ):
        save(description, trainer, tokenizer)


def save(description, trainer, tokenizer, sharded=False, total=10**10, compute="fp32"):
    """What the export makes of a trainer, without losses to compare."""
    run = types.SimpleNamespace(
        trainer=trainer, tokenizer=tokenizer, sharded=sharded, rank=0, total=total, compute=compute, examples=[],
        device="cpu",
    )  # fmt: skip
    return saved_run.save_and_verify(description, run)


@pytest.fixture
def wholes(base):
    """Makes a run's description, what the export asks of a trainer, and a tokenizer; adapters have learnt nothing."""
    from accelerate import Accelerator
    from peft import get_peft_model
    from transformers import get_scheduler

    def made(method: str, steps: int = 0, rate: float = 1e-3, size: str = "1m"):
        description = described(base, method, size)
        records.write_json(description.folder / "run.json", description.as_dict())
        model = models.load_model(description, "fp32")
        if method != "full":
            model = get_peft_model(model, models.lora_config(description))
        optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=rate)
        schedule = get_scheduler("cosine", optimiser, num_warmup_steps=1, num_training_steps=10)
        trainer = types.SimpleNamespace(
            model=model, accelerator=Accelerator(cpu=True), lr_scheduler=schedule,
            state=types.SimpleNamespace(global_step=steps),
        )  # fmt: skip
        return description, trainer, load_tokenizer(description)

    return made


def _gathered(model) -> dict[str, torch.Tensor]:
    return {
        name: value.detach().clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)
    }


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_was_gathered_from_all_processes_is_compared_and_the_rest_said(wholes, runs_dir, method):
    description, trainer, tokenizer = wholes(method, size="7b")
    trainer.model_wrapped = trainer.model
    trainer.accelerator.get_state_dict = _gathered
    left = save(description, trainer, tokenizer, sharded=True, compute="bf16")
    kind = "model" if method == "full" else "adapter"
    assert left.folders == [kind]
    assert left.checks == {
        "tensors": len(tensors(description.folder / kind)),
        "not_done": saved_run.NOT_COMPARED[kind, True],
    }
    assert left.checks["not_done"].startswith("no losses were compared")
    if method == "full":
        assert {value.dtype for value in tensors(description.folder / "model").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("gather", "because"),
    [
        (lambda state: {name: value for name, value in state.items() if "lora_" not in name}, "the base alone"),
        (lambda state: {name: value for name, value in state.items() if "layers.1" not in name}, "a layer is missing"),
        (lambda state: {name.replace("layers.0.", "layers.0._checkpoint_wrapped_module."): value
                        for name, value in state.items()}, "names of a net that makes its activations again"),
    ],
)  # fmt: skip
def test_an_adapter_that_was_not_gathered_whole_is_refused(wholes, runs_dir, gather, because):
    description, trainer, tokenizer = wholes("lora", size="7b")
    trainer.model_wrapped = trainer.model
    trainer.accelerator.get_state_dict = lambda model: gather(_gathered(model))
    with pytest.raises(verify_tensors.IncompleteModelError, match=r"28 tensors expected, .* missing: base_model"):
        save(description, trainer, tokenizer, sharded=True, compute="bf16")


def test_a_refusal_names_the_last_checkpoint(runs_dir, base, monkeypatch):
    write = model_folder.save

    def emptied(*given):
        place = write(*given)
        if place.parent.name == "a":
            _with(place, lambda held: held.clear())
        return place

    monkeypatch.setattr(model_folder, "save", emptied)
    description = described(base, "lora", max_steps=3, checkpoint_minutes=1e-9, learning_rate=5e-3, logging_steps=1)
    with pytest.raises(verify_tensors.IncompleteModelError) as error:
        finetune(description, tiny_base.rows(8))
    last = checkpoints.find_checkpoint(description.folder / "checkpoints")
    assert last is not None
    assert f"the last checkpoint is {last}" in str(error.value)
    assert not (description.folder / "record.json").exists()


def test_an_adapter_of_a_70b_has_fourteen_tensors_a_layer_and_is_expected_without_weights(runs_dir, tmp_path):
    from transformers import LlamaConfig

    LlamaConfig(hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64,
                num_key_value_heads=8, tie_word_embeddings=False).save_pretrained(tmp_path / "70b")  # fmt: skip
    description = dataclasses.replace(
        describe("70b", method="qlora", base=str(tmp_path / "70b"), name="a"), lora_rank=64
    )
    wanted, optional = verify_tensors.expected_tensors(description)
    assert (len(wanted), optional) == (14 * 80, set())
    layer = "base_model.model.model.layers.79."
    assert wanted[layer + "mlp.down_proj.lora_A.weight"] == (64, 28672)
    assert wanted[layer + "mlp.down_proj.lora_B.weight"] == (8192, 64)
    assert wanted[layer + "self_attn.k_proj.lora_B.weight"] == (1024, 64)
    assert not any("lm_head" in name or "embed" in name for name in wanted)
    full, _ = verify_tensors.expected_tensors(
        dataclasses.replace(description, method="full", lora_rank=0, lora_alpha=0.0)
    )
    assert (len(full), full["lm_head.weight"]) == (9 * 80 + 3, (32000, 8192))


def test_names_that_a_net_has_while_it_trains_are_those_of_its_files():
    one, two = torch.ones(1), torch.zeros(1)
    state = {
        "base_model.model.model.layers.0._checkpoint_wrapped_module.mlp.up_proj.lora_A.default.weight": one,
        "_orig_mod.model.norm.weight": two,
    }
    named = verify_tensors.named_tensors(None, state)
    assert named["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"] is one
    assert named["model.norm.weight"] is two


def test_tied_weights_stay_tied_when_they_are_cast():
    state = {"head": torch.ones(2, 3), "other": torch.ones(2, 3)}
    state["embedding"] = state["head"]
    saved_run.cast_in_place(state, torch.bfloat16)
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    assert state["head"].data_ptr() == state["embedding"].data_ptr() != state["other"].data_ptr()
    assert list(state) == ["head", "other", "embedding"]


CAST = """
import resource, torch
from mammoth_utils.training.export import saved_run
state = {str(number): torch.ones(8_000_000) for number in range(12)}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
saved_run.cast_in_place(state, torch.bfloat16)
print(peak() - before)
"""


def test_casting_a_gathered_state_holds_one_weight_twice_and_not_all(runs_dir):
    done = subprocess.run([sys.executable, "-c", CAST], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 * 16_000_000, "all twelve in 16 bit beside the old ones take 192 MB"


# ---- 4-bit weights on a CPU


def qlora_run(base, name: str, evaluations: bool) -> dict:
    """The record of a QLoRA run with passes in evaluation mode before and during it, or with none until its end."""
    loaded, passes = [], []
    sample = encoding.encode_rows(tiny_base.rows(2), tiny_base.tokenizer(), 1000)[0]
    load = models.load_model

    def keep(*given, **more):
        loaded.append(load(*given, **more))
        return loaded[-1]

    def pass_in_evaluation(point):
        if evaluations:
            passes.append(losses.mean_loss(loaded[0], sample))

    description = described(base, "qlora", max_steps=12, learning_rate=2e-2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_model", keep)
        if not evaluations:
            patch.setattr(guards, "check_packing", lambda *given: 0.0)
        record = finetune(dataclasses.replace(description, name=name), tiny_base.rows(16), pass_in_evaluation)
    assert len(passes) == (3 if evaluations else 0)
    return record


@pytest.fixture(scope="module")
def undisturbed(base, tmp_path_factory):
    """A QLoRA run without a pass in evaluation mode before its end, and the hash of its merged model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        record = qlora_run(base, "undisturbed", False)
        return record, merged_hash("undisturbed")


def merged_hash(name: str) -> str:
    return records.sha256(paths.run_dir("train", name) / "model" / "model.safetensors")


def test_a_qlora_run_with_evaluation_passes_in_it_ends_as_one_without(runs_dir, base, undisturbed):
    record = qlora_run(base, "disturbed", True)
    assert record["losses"] == undisturbed[0]["losses"]
    assert record["model"]["hash"] == undisturbed[0]["model"]["hash"]
    assert merged_hash("disturbed") == undisturbed[1]
    assert record["drift"] == undisturbed[0]["drift"]


@pytest.mark.skipif(not REPACKS, reason="4-bit weights are repacked on processors with AVX512-BF16 alone")
def test_without_the_guard_the_same_evaluation_passes_change_what_is_learnt(runs_dir, base, undisturbed, monkeypatch):
    monkeypatch.setattr(guards, "keep_four_bit", lambda model: 0)
    record = qlora_run(base, "disturbed", True)
    assert record["model"]["hash"] != undisturbed[0]["model"]["hash"]
    assert abs(record["losses"]["last"] - undisturbed[0]["losses"]["last"]) > 1e-3
