"""Every problem of the nine real benchmarks goes through one hybrid evaluation, programs and fallbacks included."""

from __future__ import annotations

import pytest
import tiny_base

from mammoth_utils.evaluation import benchmarks, describe_evaluation, evaluate, reports, tables
from mammoth_utils.vocabulary import NINE

PIECES = ["print(7)\n", "print(0.5)", "print(", "x = 3\n", "The answer is 12.", "(B)", "1/0\n"]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder with a Llama of random weights that can write nothing but these pieces, and the end."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    tokenizer = tiny_base.tokenizer()
    tokenizer.add_tokens(PIECES)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=8192, tie_word_embeddings=False, initializer_range=1.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    net = LlamaForCausalLM(config)
    allowed = [*tokenizer.convert_tokens_to_ids(PIECES), tokenizer.eos_token_id]
    others = [token for token in range(len(tokenizer)) if token not in allowed]
    with torch.no_grad():
        net.lm_head.weight[others] = 0
    net.save_pretrained(tmp_path / "random")
    tokenizer.save_pretrained(tmp_path / "random")
    return tmp_path / "random"


@pytest.mark.long
def test_every_problem_of_the_nine_is_asked_run_and_graded(model, data_dir):
    sizes = {name: benchmarks.info(name).size for name in NINE}
    assert sum(sizes.values()) == 11_323
    record = evaluate(describe_evaluation(model=str(model), max_new_tokens=6))
    assert {name: entry["n"] for name, entry in record["benchmarks"].items()} == sizes
    fallbacks = tables.fallbacks(record)
    assert record["completions"] == 11_323 + fallbacks["gave_nothing"].sum()
    assert 0 < fallbacks["gave_nothing"].sum() < fallbacks["programs"].sum()
    failures = reports.failures(record)
    assert "ZeroDivisionError" in failures.to_string(), "programs ran"
    frame = tables.table(record)
    assert (frame["corrected_low"] <= frame["corrected"]).all()
    assert reports.by_group(record)["by"].nunique() == 3
    assert reports.cut(record)["cut"].sum() > 0
