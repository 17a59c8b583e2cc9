"""The shipped base models: what their records say is what lies there, and they have learnt what they must."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest

from mammoth_utils import paths, prompts, records, scales
from mammoth_utils.miniature import corpus, pretraining
from mammoth_utils.miniature.problems import WORLD

torch = pytest.importorskip("torch")
TINY = pretraining.BaseRecipe("llama", 32, 2, 2, 48, 3e-3)
SHIPPED = sorted(folder.name for folder in paths.miniature_models().iterdir() if (folder / "record.json").is_file())


@pytest.fixture(scope="module")
def tokenizer():
    return pretraining.tokenizer()


def load(name):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = paths.miniature_models() / name
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return net.eval(), AutoTokenizer.from_pretrained(folder)


def test_every_scale_of_the_miniature_is_shipped_and_all_of_them_stay_under_twenty_megabytes():
    stated = {scale.base for scale in scales.SCALES.values() if scale.miniature}
    assert set(SHIPPED) == stated
    assert sum(file.stat().st_size for file in paths.miniature_models().rglob("*")) < 20e6


@pytest.mark.parametrize("name", SHIPPED)
def test_the_record_of_a_base_tells_of_these_weights_and_of_this_world(name):
    record = records.read_json(paths.miniature_models() / name / "record.json")
    assert record["weights_sha256"] == records.sha256(paths.miniature_models() / name / "model.safetensors")
    again = f"python -m mammoth_utils.miniature.pretraining {name}"
    assert record["world_version"] == WORLD["version"], f"made for another world; make it again: {again}"
    steps = {"copy_steps": pretraining.COPY_STEPS, "wide_steps": pretraining.WIDE_STEPS}
    assert record["recipe"] == {**asdict(pretraining.BASES[name]), **steps}, f"make it again: {again}"


def test_the_bases_read_equally_many_tokens():
    tokens = [records.read_json(paths.miniature_models() / name / "record.json")["tokens"] for name in SHIPPED]
    assert max(tokens) < 1.01 * min(tokens), "or a comparison of bases is one of how much they read"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_base_copies_numbers_and_finds_values_again(name):
    net, tok = load(name)
    assert pretraining.copy_loss(net, tok, 24) < pretraining.COPY_LOSS_LIMIT
    assert pretraining.recall_share(net, tok, 24) > 0.8, "a sample of the check that the script makes"


def test_a_new_base_begins_with_a_head_that_looks_at_the_token_before(tokenizer):
    net = pretraining.model(pretraining.BASES["llama-1m"], len(tokenizer), seed=0).eval()
    net.set_attn_implementation("eager")
    ids = tokenizer("Anna has 47 apples and gets 38 more. How many apples is that?").input_ids
    with torch.no_grad():
        attended = net(input_ids=torch.tensor([ids]), output_attentions=True).attentions[0][0, 0]
    assert [int(row.argmax()) for row in attended[1:]] == list(range(len(ids) - 1))
    assert pretraining.copy_loss(net, tokenizer, 8) > 2, "what it writes is still to be learnt"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_tokenizer_is_the_one_that_the_script_makes(name, tokenizer):
    _, tok = load(name)
    assert tok.get_vocab() == tokenizer.get_vocab()


def test_the_fixed_parts_of_the_prompt_are_one_token_each_and_exact_to_the_byte(tokenizer):
    text = prompts.alpaca(prompts.pot_instruction("What is 12 + 7?"))
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids[1:]) == text
    assert [tokenizer.decode([ids[position]]) for position in (1, -2, -1)] == [
        prompts.ALPACA_HEADER,
        prompts.POT_TRIGGER,
        prompts.ALPACA_RESPONSE,
    ]


@pytest.mark.parametrize("text", ["1234", "x = 12\nprint(x)", "Ä ∑ 😀 \t\r\n", "a  b   c", "r^3 * 4%"])
def test_any_text_round_trips_and_digits_never_merge(text, tokenizer):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    pieces = [tokenizer.decode([token]) for token in ids]
    assert all(len(piece) == 1 for piece in pieces if any(sign.isdigit() for sign in piece))


def test_packed_documents_do_not_see_each_other(tokenizer):
    stream = pretraining.encoded(corpus.COPYING, "apart", tokenizer, Counter())
    ids, labels, position, mask = next(pretraining.batches(stream))
    net = pretraining.model(pretraining.BASES["llama-1m"], len(tokenizer), seed=0).eval()
    end = int((position[0] == 0).nonzero()[1])
    with torch.no_grad():
        packed = net(input_ids=ids, attention_mask=mask, position_ids=position).logits[0, :end]
        alone = net(input_ids=ids[:1, :end]).logits[0]
    assert torch.allclose(packed, alone, atol=1e-4)
    assert (labels[ids == tokenizer.pad_token_id] == -100).all(), "padding bears no loss"


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr(pretraining, "tokenizer", lambda: tokenizer)  # the same each time, and it takes seconds to make
    monkeypatch.setitem(pretraining.BASES, "tiny", TINY)
    for name, value in (("COPY_STEPS", 3), ("WIDE_STEPS", 3), ("COPY_LOSS_LIMIT", 99.0), ("RECALL_LIMIT", 0.0)):
        monkeypatch.setattr(pretraining, name, value)
    whole = pretraining.pretrain("tiny", tmp_path / "whole", tmp_path / "work-1")
    clipped, calls = torch.nn.utils.clip_grad_norm_, []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return clipped(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", cut)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain("tiny", tmp_path / "cut", tmp_path / "work-2")
    assert not (tmp_path / "cut").exists()
    again = pretraining.pretrain("tiny", tmp_path / "cut", tmp_path / "work-2")
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert len(calls) == 5 + 3, "the first phase was not repeated"


def test_an_unknown_base_and_one_that_cannot_copy_are_refused(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr(pretraining, "tokenizer", lambda: tokenizer)
    with pytest.raises(ValueError, match="unknown base 'llama-2m'; known: llama-1m"):
        pretraining.pretrain("llama-2m", tmp_path, tmp_path)
    monkeypatch.setitem(pretraining.BASES, "tiny", TINY)
    monkeypatch.setattr(pretraining, "COPY_STEPS", 1)
    monkeypatch.setattr(pretraining, "WIDE_STEPS", 1)
    with pytest.raises(RuntimeError, match="does not copy numbers"):
        pretraining.pretrain("tiny", tmp_path / "out", tmp_path / "work")
    assert not (tmp_path / "out").exists()
