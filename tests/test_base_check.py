"""A base model's folder: what is not whole, or not what is trained here, is refused in seconds and by name."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import pytest
import tiny_base

from mammoth_utils import records, scales
from mammoth_utils.base_models import (
    MODEL_TYPES,
    Architecture,
    BaseModelError,
    check_adapter,
    check_weights,
    is_adapter,
    load_causal_model,
    locate_base,
    required_rope_theta,
    training_problems,
)
from mammoth_utils.evaluation.engines.decoders import load_decoder
from mammoth_utils.evaluation.engines.llama_loop import unsupported_reason
from mammoth_utils.evaluation.engines.requests import Request, complete
from mammoth_utils.training import NotReadyError, check_readiness, describe, finetune, readiness
from mammoth_utils.training.export import merge_adapter
from mammoth_utils.training.loop import encoding, guards
from mammoth_utils.training.loop import model as models

torch = pytest.importorskip("torch")
FILE = "model.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.delenv("MAMMOTH_BASES", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    return tiny_base.base(tmp_path_factory.mktemp("untied"), layers=3, tied=False)


@pytest.fixture
def folder(untied, here):
    return shutil.copytree(untied, here / "base")


def run(folder, **changes):
    """Two steps on a base."""
    return dataclasses.replace(describe("1m", base=str(folder), max_length=320, max_steps=2, name="a"), **changes)


def change(folder, edit):
    """Write a folder's tensors again after an edit of their dictionary."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / FILE)
    edit(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / FILE, metadata={"format": "pt"})


def configure(folder, **values):
    config = records.read_json(folder / "config.json") | values
    (folder / "config.json").write_text(json.dumps(config))


def renamed(prefix, inside=""):
    def edit(tensors):
        for name in list(tensors):
            tensors[prefix + name.replace("self_attn.", f"self_attn.{inside}")] = tensors.pop(name)

    return edit


def without(*parts):
    def edit(tensors):
        for name in [name for name in tensors if any(part in name for part in parts)]:
            del tensors[name]

    return edit


def with_tensor(name, shape=(4, 4), dtype=torch.float32):
    return lambda tensors: tensors.update({name: torch.zeros(shape, dtype=dtype)})


FAULTS = [
    (without("layers.1."), ["9 missing: model.layers.1.input_layernorm", "and 6 more", "Layers 1 of 3 are lost"]),
    (without(UP), [f"1 missing: {UP}"]),
    (without("lm_head"), ["1 missing: lm_head.weight", '"tie_word_embeddings": true']),
    (renamed("module."), ["30 missing", "module.lm_head.weight", "Names with module come from a wrapped model"]),
    (renamed("_orig_mod."), ["Names with _orig_mod come"]),
    (renamed("_orig_mod.module."), ["Names with _orig_mod and module come"]),
    (renamed("", "_checkpoint_wrapped_module."), ["12 missing", "Names with _checkpoint_wrapped_module"]),
    (renamed("base_model.model."), ["Names with base_model.model come"]),
    (renamed("language_model."), ["Every name begins with 'language_model.'"]),
    (renamed("model."), ["Every name begins with 'model.'"]),
    (with_tensor("model.layers.3.mlp.up_proj.weight"), ["not of this model: ", "layers 3, the files hold 4"]),
    (with_tensor(UP), [f"1 of another shape: {UP} (4, 4), by config.json (64, 32)"]),
    (with_tensor("model.layers.0.self_attn.q_proj.lora_A.weight"), ["merge_and_unload"]),
    (with_tensor("model.layers.0.self_attn.q_proj.qweight", dtype=torch.int32), ["quantised weights"]),
    (with_tensor(UP, (64, 32), torch.uint8), ["quantised weights", f"{UP} in U8"]),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "words"), FAULTS)
def test_tensors_that_are_not_the_configurations_are_named_with_the_likely_cause(folder, edit, words):
    check_weights(folder)
    change(folder, edit)
    with pytest.raises(BaseModelError) as error:
        check_weights(folder)
    assert all(word in str(error.value) for word in words), error.value


def test_what_harms_nothing_is_accepted(folder, base):
    change(folder, with_tensor("model.layers.0.self_attn.rotary_emb.inv_freq"))
    (folder / "consolidated.safetensors").write_bytes(b"Mistral's own form")
    check_weights(folder, finite=True)
    tied = shutil.copytree(base, folder.parent / "tied")
    change(tied, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    check_weights(tied)
    assert load_causal_model(str(tied)).lm_head.weight is not None
    change(tied, lambda tensors: tensors["lm_head.weight"].add_(1))
    with pytest.raises(BaseModelError, match=r'holds? another head.*"tie_word_embeddings": false'):
        load_causal_model(str(tied))


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_no_method_trains_a_base_with_a_part_that_transformers_would_make_up(folder, method):
    change(folder, without(UP))
    with pytest.raises(NotReadyError, match="1 missing: model.layers.1.mlp.up_proj"):
        finetune(run(folder, method=method), tiny_base.rows(4))
    with pytest.raises(BaseModelError, match="1 missing: model.layers.1.mlp.up_proj"):  # the second net
        models.load_model(dataclasses.replace(describe("1m", base=str(folder), method=method)), "fp32")


def test_a_model_that_lacks_a_layer_is_neither_decoded_nor_merged_into(folder):
    change(folder, without("layers.1."))
    with pytest.raises(BaseModelError, match="9 missing.*Layers 1 of 3 are lost"):
        load_decoder(folder)
    description = run(folder, method="lora")
    records.write_json(description.folder / "run.json", description.as_dict())
    with pytest.raises(BaseModelError, match="9 missing"):
        merge_adapter.estimate_needs(description.folder, "fp32")


# --- files ----------------------------------------------------------------------------------------------------------


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, share=0.5):
    def edit(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return edit


def as_torch(folder, **extra):
    from safetensors.torch import load_file

    torch.save(load_file(folder / FILE) | extra, folder / "pytorch_model.bin")
    (folder / FILE).unlink()


def renamed_file(folder):
    (folder / FILE).rename(folder / "weights.safetensors")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n"


@pytest.mark.parametrize(("edit", "words"), [
    (put(FILE, LFS), [FILE, "Git-LFS pointer", "git lfs pull"]),
    (put("tokenizer.json", LFS), ["tokenizer.json is a Git-LFS pointer"]),
    (put("config.json", LFS), ["config.json is a Git-LFS pointer"]),
    (put(FILE, b""), [f"{FILE} is empty"]),
    (put("config.json", b"{"), ["config.json is no JSON"]),
    (put("tokenizer.json", b"[]"), ["tokenizer.json holds a list"]),
    (put("tokenizer.json", b"{}"), ["tokenizer.json holds no vocabulary"]),
    (put("config.json", b"{}"), ["config.json names no model_type"]),
    (lambda folder: configure(folder, vocab_size=500), ["2 of another shape: lm_head.weight (391,", "of two models"]),
    (lambda folder: configure(folder, num_hidden_layers=4), ["9 missing: model.layers.3", "Layers 3 of 4 are lost"]),
    (put("generation_config.json", LFS), ["generation_config.json is a Git-LFS pointer"]),
    (cut(FILE), [f"{FILE} has", "it is cut"]),
    (cut(FILE, 0.001), [f"{FILE} is cut"]),
    (lambda folder: put(FILE, (folder / FILE).read_bytes() + b"x")(folder), [f"{FILE} has", "damaged"]),
    (put(FILE, b"<!DOCTYPE html><html>sign in</html>" * 9), [f"{FILE} is cut or no safetensors file"]),
    (put(FILE + ".index.json", b"{}"), None),  # transformers reads the single file first
    (lambda folder: ((folder / FILE).unlink(), put(FILE + ".index.json", b"{}")(folder)), ["names no files"]),
    (renamed_file, ["holds no model.safetensors", "weights.safetensors without its index or under another name"]),
    (as_torch, None),
    (lambda folder: (as_torch(folder), cut("pytorch_model.bin")(folder)), ["pytorch_model.bin is cut"]),
    (lambda folder: as_torch(folder, extra=torch.zeros(2)), ["1 not of this model: extra"]),
])  # fmt: skip
def test_files_that_are_not_whole_are_refused_by_name(folder, edit, words):
    edit(folder)
    if words is None:
        check_weights(folder)
        return
    with pytest.raises(BaseModelError) as error:
        check_weights(folder)
    assert all(word in str(error.value) for word in words), error.value
    with pytest.raises((BaseModelError, FileNotFoundError)):
        load_decoder(folder)


def test_a_lost_shard_is_named(untied, here):
    model = models.load_model(run(untied), "fp32")
    model.save_pretrained(here / "base", max_shard_size="20KB")
    tiny_base.tokenizer().save_pretrained(here / "base")
    check_weights(here / "base")
    lost = sorted((here / "base").glob("model-0*"))[1]
    lost.unlink()
    with pytest.raises(NotReadyError, match=f"holds no {lost.name}, which its index names"):
        check_readiness(run(here / "base"))


@pytest.mark.parametrize(("files", "words"), [
    (["model.gguf"], "GGUF files"),
    (["adapter_config.json", "adapter_model.safetensors"], "it is an adapter alone, trained on some/base"),
    (["run.json", "model/config.json"], r"it is a training run; its weights are in .*model"),
    (["checkpoint-9/config.json"], "there is one in checkpoint-9: name that folder"),
    (["notes.txt"], "no model in Hugging Face's form"),
])  # fmt: skip
@pytest.mark.parametrize("size", ["1m", "7b"])
def test_a_folder_without_a_configuration_says_what_it_is(here, files, words, size):
    for name in files:
        (here / "base" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "base" / name).write_text('{"base_model_name_or_path": "some/base"}')
    assert is_adapter(here / "base") == (files[0] == "adapter_config.json")
    said = f"holds no config.json; .*{words}"
    with pytest.raises(BaseModelError, match=said):
        check_weights(here / "base")
    if not is_adapter(here / "base"):  # from which training goes on
        with pytest.raises((BaseModelError, NotReadyError), match=said):
            check_readiness(describe(size, base=str(here / "base"), devices="cpu", method="full"))


# --- tokenizer ------------------------------------------------------------------------------------------------------


def test_a_tokenizer_with_ids_beyond_the_embedding_is_refused_and_fewer_are_padding(folder):
    rows = records.read_json(folder / "config.json")["vocab_size"]
    settings = records.read_json(folder / "tokenizer_config.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": "<new>"}))
    with pytest.raises(BaseModelError, match=f"ids beyond the {rows} rows of the embedding: '<new>' = {rows}"):
        check_weights(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = tiny_base.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<PRE>", "<MID>"]})
    tokenizer.save_pretrained(folder)
    check_weights(folder)  # Code Llama's 34B has such: no text becomes one
    guards.check_tokenizer(tokenizer, rows)
    tokenizer.add_tokens([f"<{number}>" for number in range(9)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(BaseModelError, match="'<0>' = .* and 6 more.*resize_token_embeddings"):
        load_decoder(folder)
    configure(folder, vocab_size=rows + 64)
    wider = torch.zeros(rows + 64, 32)
    change(folder, lambda held: held.update({"model.embed_tokens.weight": wider, "lm_head.weight": wider.clone()}))
    check_weights(folder)


def test_a_tokenizer_without_its_fast_form_says_how_to_make_it(folder):
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(NotReadyError, match=r"without tokenizer.json.*pip install sentencepiece.*save_pretrained"):
        check_readiness(run(folder))


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named_before_training_and_decoding(folder, dtype, value):
    change(folder, lambda tensors: tensors.update({name: held.to(dtype) for name, held in tensors.items()}))
    check_weights(folder, finite=True)
    change(folder, lambda tensors: tensors[UP].view(-1)[7:8].fill_(value))
    with pytest.raises(NotReadyError, match=f"{UP} holds NaN or infinite weights"):
        check_readiness(run(folder))
    with pytest.raises(BaseModelError, match=f"{UP} holds NaN or infinite weights"):
        load_decoder(folder)
    for method in ("full", "qlora"):  # whatever the size
        with pytest.raises(BaseModelError, match=f"{UP} holds NaN or infinite weights"):
            models.load_model(run(folder, method=method), "fp32")


def test_codes_of_4_bits_that_are_stored_as_floats_are_not_read_as_numbers(base, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    sharded = models.load_model(run(base, method="qlora"), "bf16", sharded=True)
    codes = sharded.model.layers[0].mlp.up_proj.weight
    assert codes.dtype == torch.bfloat16
    assert not torch.isfinite(codes).all(), "or this test shows nothing"


def test_a_loss_that_is_no_number_is_not_called_a_fault_of_packing(base):
    model = models.load_model(run(base), "fp32")
    model.model.norm.weight.data.fill_(float("inf"))
    examples, _ = encoding.encode_rows(tiny_base.rows(3), tiny_base.tokenizer(), 320)
    with pytest.raises(ValueError, match="the base's loss is nan before training"):
        guards.check_packing(model, examples, 1e-4)


# --- architectures --------------------------------------------------------------------------------------------------

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 2048}  # fmt: skip
VARIANTS = [
    ("llama", {}), ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 16, "tie_word_embeddings": True}),
    ("mistral", {"sliding_window": None}), ("mistral", {"sliding_window": 320, "head_dim": 16}),
    ("qwen2", {"tie_word_embeddings": True}), ("qwen2", {"use_sliding_window": True, "max_window_layers": 2}),
    ("qwen3", {"head_dim": 16}), ("qwen3", {"head_dim": 8, "attention_bias": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes"), VARIANTS)
def test_each_type_of_the_list_is_planned_checked_and_trained_alike(here, kind, changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_base.tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, **SHAPE | changes, vocab_size=len(tokenizer) + 9, bos_token_id=0, eos_token_id=1, pad_token_id=2
    )
    net = AutoModelForCausalLM.from_config(config)
    for name, value in net.named_parameters():  # biases and norms that would not show otherwise
        if value.dim() == 1:
            torch.nn.init.normal_(value, 1.0 if "norm" in name else 0.0, 0.3)
    net.save_pretrained(here / "base")
    tokenizer.save_pretrained(here / "base")
    architecture = Architecture.from_config(records.read_json(here / "base" / "config.json"))
    assert architecture.parameters == sum(value.numel() for value in net.parameters())
    assert architecture.tensors == len(list(net.parameters()))
    record = finetune(run(here / "base"), tiny_base.rows(8))
    assert record["steps"] == 2
    assert record["model"]["parameters"] == architecture.parameters
    examples, _ = encoding.encode_rows(tiny_base.rows(6), tokenizer, 320)
    assert guards.check_packing(models.load_model(run(here / "base"), "fp32"), examples, 1e-4) < 1e-4


def test_the_list_is_the_one_that_the_guide_shows():
    guide = (records.paths.root() / "book" / "training.md").read_text()
    assert all(f"`{kind}`" in guide for kind in MODEL_TYPES)
    assert {kind for kind, _ in VARIANTS} == set(MODEL_TYPES)


@pytest.mark.parametrize("kind", ["mixtral", "gemma2", "phi", "phi3", "gpt2", "falcon", "qwen2_moe", "gemma3_text"])
def test_another_type_is_refused_by_name_with_the_list(folder, kind):
    configure(folder, model_type=kind)
    expected = f"{kind}'.*llama, mistral, qwen2, qwen3"
    with pytest.raises(ValueError, match=expected):
        Architecture.from_config(records.read_json(folder / "config.json"))
    with pytest.raises(NotReadyError, match=expected):
        check_readiness(describe("1m", base=str(folder)))
    assert str(folder) in locate_base("1m", base=str(folder)), "which is asked before, and says where it is"


def test_a_hubs_base_of_another_type_is_refused_before_its_weights_are_fetched(monkeypatch):
    listing = SimpleNamespace(commit="c0ffee", bytes=9e9, files={})
    monkeypatch.setattr(readiness, "check_access", lambda name, revision: listing)
    monkeypatch.setattr(readiness, "find_cached", lambda name, revision: None)
    monkeypatch.setattr(readiness, "read_config", lambda name, revision: {"model_type": "mixtral"})
    with pytest.raises(NotReadyError, match="mixtral'.*llama, mistral"):
        check_readiness(describe("7b", base="mistralai/Mixtral-8x7B-v0.1", method="qlora", force=True))


@pytest.mark.parametrize(("values", "words"), [
    ({"hidden_size": "32"}, "missing: .'hidden_size'"),
    ({"num_attention_heads": 0}, "missing: .'num_attention_heads'"),
    ({"model_type": "mistral"}, None),  # 4,096 where nothing is said
    ({"model_type": "mistral", "sliding_window": 319}, "sees 319 tokens back .* -p max_length 319"),
    ({"model_type": "mistral", "sliding_window": None}, None),
    ({"model_type": "qwen2", "sliding_window": 64}, None),
    ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 1}, "sees 64"),
    ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 3}, None),
    ({"model_type": "qwen3", "sliding_window": 64, "use_sliding_window": True,
      "layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "sees 64"),
    ({"max_position_embeddings": 64}, "context is 64 tokens .* -p max_length 64"),
    ({"max_position_embeddings": 64, "rope_scaling": {"type": "linear", "factor": 8.0}}, "context is 64"),
    ({"max_position_embeddings": 64, "rope_scaling": {
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}}, None),
    ({"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 64}}, "context is 64"),
    ({"attention_dropout": 0.1}, "attention_dropout is 0.1"),
    ({"rope_scaling": {"type": "magic", "factor": 2.0}}, "rope_type is 'magic'; known: default, linear"),
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "quantised .bitsandbytes."),
    ({"quantization_config": {"quant_method": "gptq"}}, "quantised .gptq."),
])  # fmt: skip
def test_a_configuration_that_is_not_honoured_is_refused_with_what_to_do(folder, values, words):
    configure(folder, **values)
    problems = training_problems(records.read_json(folder / "config.json"), 320)
    assert bool(problems) == bool(words), problems
    if words:
        assert re.search(words, problems[0]), problems
        with pytest.raises(NotReadyError):
            check_readiness(run(folder))


def test_a_recipe_that_is_longer_than_the_bases_context_is_refused_unless_a_shorter_one_is_asked_for(folder):
    configure(folder, max_position_embeddings=320)
    with pytest.raises(NotReadyError, match="context is 320 tokens .*max_length 2048: -p max_length 320"):
        check_readiness(describe("1m", base=str(folder)))
    assert check_readiness(run(folder))


@pytest.mark.parametrize(("size", "family", "name", "values", "theta"), [
    ("7b", "coder", "", {}, 1e6),
    ("7b", "coder", "codellama/CodeLlama-7b-hf", {}, 1e6),
    ("7b", "coder", "deepseek-coder", {"rope_theta": 1e5}, None),
    ("7b", "llama", "CodeLlama-7b-Python-hf", {}, 1e6),
    ("1m", "llama", "my-copy", {"vocab_size": 32016}, 1e6),
    ("7b", "llama", "wizard", {"hidden_size": 8192, "num_hidden_layers": 48, "num_attention_heads": 64,
                               "num_key_value_heads": 8, "intermediate_size": 22016, "vocab_size": 32000,
                               "head_dim": 128}, 1e6),
    ("7b", "llama", "my-copy", {"vocab_size": 32000}, None),
])  # fmt: skip
def test_code_llama_alone_must_have_its_rope_theta(folder, size, family, name, values, theta):
    place = name
    if name and "/" not in name:
        configure(folder, **values)
        place = str(folder.rename(folder.parent / name))
    assert required_rope_theta(scales.scale(size, family), place) == theta
    assert describe(size, family, base=place, method="full").rope_theta == theta


# --- adapters and the second net ------------------------------------------------------------------------------------


def test_an_adapter_on_a_base_of_another_shape_is_refused_with_both_names(folder, base, here):
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(base)
    description = dataclasses.replace(describe("1m", base=str(base), method="lora"), lora_rank=4)
    adapted = get_peft_model(net, models.lora_config(description))
    adapted.save_pretrained(here / "adapter")
    check_adapter(here / "adapter", base)
    started = run(tiny_base.base(here / "other", width=64), method="lora", adapter=str(here / "adapter"))
    with pytest.raises(NotReadyError, match="of 14 matrices differ; give its own base"):
        check_readiness(started)
    assert "peft" in unsupported_reason(adapted.base_model.model), "our loop would decode the base alone"
    wide = tiny_base.base(here / "wide", width=64)
    with pytest.raises(BaseModelError, match=rf"trained on {base}, which is not .*wide: .* of 14 matrices differ"):
        load_decoder(wide, adapter=here / "adapter")
    shallow = tiny_base.base(here / "shallow", layers=1)
    with pytest.raises(BaseModelError, match=r"model.layers.1.*here missing and 4 more of 14"):
        check_adapter(here / "adapter", shallow)


@pytest.mark.parametrize(("edit", "words"), [
    (without("h.1."), "12 missing: transformer.h.1"),
    (renamed("module."), "not of this model: module"),
    (lambda tensors: tensors.update({"transformer.wpe.weight": torch.zeros(7, 32)}), "other shapes than its config"),
    (lambda tensors: tensors["transformer.wpe.weight"].fill_(float("nan")), "transformer.wpe.weight holds NaN"),
    (None, ""),
])  # fmt: skip
def test_a_type_that_is_only_evaluated_has_its_tensors_checked_as_it_is_loaded(here, edit, words):
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_base.tokenizer()
    net = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64))
    net.save_pretrained(here / "gpt")
    tokenizer.save_pretrained(here / "gpt")
    if edit is None:
        (completion,) = complete(load_decoder(here / "gpt"), [Request("a", 2)])
        assert completion.tokens
        return
    change(here / "gpt", edit)
    with pytest.raises(BaseModelError, match=words):
        load_decoder(here / "gpt")


@pytest.mark.parametrize(("given", "words"), [
    ({"sliding_window": 4}, "sees 4 tokens back"), ({"sliding_window": 5}, None), ({"softcap": 50.0}, "softcap"),
    ({"s_aux": torch.zeros(2)}, "sinks"), ({"is_causal": False}, "is causal"), ({"dropout": 0.1}, "no dropout"),
])  # fmt: skip
def test_attention_that_is_not_computed_is_not_passed_over(given, words):
    from mammoth_utils.training.loop.packed_attention import packed_attention

    parts = [torch.zeros(1, 2, 8, 4) for _ in range(3)]
    borders = torch.tensor([0, 5, 8], dtype=torch.int32)
    if words is None:
        assert packed_attention(None, *parts, None, cu_seq_lens_q=borders, **given)[0].shape == (1, 8, 2, 4)
        return
    with pytest.raises(ValueError, match=words):
        packed_attention(None, *parts, None, cu_seq_lens_q=borders, **given)
