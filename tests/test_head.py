"""The head on labelled positions, and attention by document: the same update, whatever computes it."""

from __future__ import annotations

import dataclasses
import os

import pytest
import tiny_base

from mammoth_utils.training import describe
from mammoth_utils.training.loop import batches, curve, encoding, losses, tokenizer
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.loop import packed_attention as attention
from mammoth_utils.training.plan.memory import scores_whole_head

torch = pytest.importorskip("torch")
from mammoth_utils.training.loop import trainer as trainers  # noqa: E402


@pytest.fixture(scope="module")
def examples():
    return encoding.encode_rows(tiny_base.rows(12), tiny_base.tokenizer(), 1000)[0]


@pytest.fixture
def made(base, examples, tmp_path, monkeypatch):
    """A trainer of the tiny base, two steps of six examples in three rows each, and the points of its curve."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))

    def build(method="full", compute="fp32"):
        description = dataclasses.replace(
            describe("1m", base=str(base), method=method, max_length=400, learning_rate=5e-3), global_batch=6
        )
        layout = batches.lay_out([len(example) for example in examples], 400, 6, max_steps=2)
        options = trainers.trainer_arguments(description, "cpu", compute, layout, recompute=False)
        options.logging_steps = 1
        torch.manual_seed(0)
        model = models.load_model(description, compute)
        log = curve.Curve(tmp_path / f"{len(os.listdir(tmp_path))}.jsonl", lambda row: None)
        recorder = curve.recorder(log, 0)
        tokens = tokenizer.load_tokenizer(description)
        trainer = trainers.build_trainer(description, model, tokens, examples, layout, options, [recorder], print)
        return trainer, log

    return build


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


def batch_of(trainer):
    return next(iter(trainer.get_train_dataloader()))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_loss_and_gradient_are_those_of_trls_head(made, method, monkeypatch):
    found = {}
    for way in ("ours", "trl"):
        monkeypatch.setattr(trainers, "scores_whole_head", lambda *run, way=way: way == "ours")
        trainer, _ = made(method)
        inputs = batch_of(trainer)
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=torch.tensor(50))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        found[way] = (loss.item(), gradient, trainer._metrics["train"]["num_tokens"])
    assert found["ours"][0] == pytest.approx(found["trl"][0], rel=1e-6)
    assert torch.linalg.norm(found["ours"][1] - found["trl"][1]) < 1e-6 * torch.linalg.norm(found["trl"][1])
    assert found["ours"][2] == found["trl"][2] == [inputs["input_ids"].numel()]


def test_the_head_sees_the_labels_positions_alone(made):
    trainer, _ = made()
    inputs = batch_of(trainer)
    seen = []
    trainer.model.train()
    trainer.model.get_output_embeddings().register_forward_hook(lambda module, given, made: seen.append(made.shape[1]))
    trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=torch.tensor(50))
    assert seen == [int((inputs["labels"] != encoding.IGNORE_INDEX).sum())]
    assert seen[0] < 0.7 * inputs["input_ids"].numel()


@pytest.mark.parametrize("compute", ["fp32", "bf16"])
def test_a_run_has_the_curve_and_the_weights_that_it_has_with_trls_head(made, compute, monkeypatch):
    found = {}
    for way in ("ours", "trl"):
        monkeypatch.setattr(trainers, "scores_whole_head", lambda *run, way=way: way == "ours")
        trainer, log = made(compute=compute)
        trainer.train()
        found[way] = log.rows, weights(trainer)
    close = 1e-5 if compute == "fp32" else 1e-2
    for ours, theirs in zip(found["ours"][0], found["trl"][0], strict=True):
        assert (ours["step"], ours["lr"], ours["tokens"]) == (theirs["step"], theirs["lr"], theirs["tokens"])
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=close)
    assert torch.linalg.norm(found["ours"][1] - found["trl"][1]) < 10 * close * torch.linalg.norm(found["trl"][1])


def test_one_optimiser_step_equals_the_one_over_documents_one_at_a_time(made, examples, base):
    """SGD, whose update is the gradient: AdamW's first one is the gradient's sign, and hides its size."""
    trainer, _ = made()
    trainer.args.lr_scheduler_type, trainer.args.warmup_steps, trainer.args.max_grad_norm = "constant", 0, 0.0
    before = weights(trainer).clone()
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.train()
    plain = models.load_model(describe("1m", base=str(base)), "fp32")
    plain.set_attn_implementation("eager")
    optimiser = torch.optim.SGD(plain.parameters(), lr=1.0)
    layout = batches.lay_out([len(example) for example in examples], 400, 6, max_steps=2)
    for step in range(2):
        members = [examples[index] for index in layout.batch(step)]
        count = sum(len(example.answer) for example in members)
        for example in members:
            logits = plain(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            target = torch.tensor(example.labels[1:])
            (torch.nn.functional.cross_entropy(logits, target, reduction="sum") / count).backward()
        optimiser.step()
        optimiser.zero_grad()
    after = torch.cat([p.detach().flatten() for p in plain.parameters()])
    update = torch.linalg.norm(after - before)
    assert update > 0.01
    assert torch.linalg.norm(weights(trainer) - after) < 1e-5 * update


@pytest.mark.parametrize(
    ("device", "tokens", "vocabulary", "expected", "because"),
    [
        ("cpu", 2048, 1024, True, "the miniature"),
        ("cpu", 8 * 2048, 1024, True, "its micro_batch of eight"),
        ("cpu", 2048, 151_936, False, "the scores of 2,048 tokens would take 3 GB"),
        ("cuda", 2048, 768, False, "TRL's kernel leaves unlabelled positions out there"),
    ],
)
def test_scores_are_built_whole_where_they_fit(device, tokens, vocabulary, expected, because):
    assert scores_whole_head(vocabulary, tokens, device) == expected, because


def test_a_model_that_scores_other_positions_is_refused(examples):
    class Deaf(torch.nn.Module):
        def forward(self, input_ids, **rest):
            return type("Out", (), {"logits": torch.zeros(1, input_ids.shape[1], 5)})

    data = encoding.columns([examples[:2]])
    with pytest.raises(RuntimeError, match="takes no logits_to_keep"):
        losses.summed_loss(Deaf(), {key: torch.tensor(data[key]) for key in ("input_ids", "labels")})


# ---- attention


@pytest.mark.parametrize(
    ("kind", "capability", "expected"),
    [
        ("cuda", (7, 0), False),  # V100
        ("cuda", (7, 5), False),  # T4
        ("cuda", (8, 0), True),  # A100
        ("cuda", (8, 6), True),  # RTX 3090
        ("cuda", (9, 0), True),  # H100
        ("cpu", None, False),
    ],
)
def test_the_variable_length_kernel_is_for_cards_from_ampere_on(kind, capability, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability)
    attention.has_varlen_kernel.cache_clear()
    device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
    assert [attention.has_varlen_kernel(device) for _ in range(3)] == [expected] * 3
    assert len(asked) == (kind == "cuda"), "decided once"
    attention.has_varlen_kernel.cache_clear()


@pytest.mark.parametrize(
    ("has", "dtype", "expected"),
    [(True, "bfloat16", "varlen"), (True, "float16", "varlen"), (True, "float32", "document"),
     (False, "float16", "document")],
)  # fmt: skip
def test_the_kernel_is_chosen_by_the_type_of_the_values(has, dtype, expected, monkeypatch):
    """Beside fp32 weights, queries and keys come out of the rotary embedding in fp32."""
    taken = []

    def varlen(query, *rest):
        taken.append(("varlen", query.dtype))

    monkeypatch.setattr(attention, "has_varlen_kernel", lambda device: has)
    monkeypatch.setattr(attention, "_varlen", varlen)
    monkeypatch.setattr(attention, "_by_document", lambda *rest: taken.append(("document", rest[2].dtype)))
    wide = torch.zeros(1, 2, 6, 4)
    borders = torch.tensor([0, 2, 6], dtype=torch.int32)
    values = wide.to(getattr(torch, dtype))
    attention.packed_attention(None, wide, wide, values, None, cu_seq_lens_q=borders)
    assert taken == [(expected, values.dtype)]


@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_by_document_is_the_plain_one_of_each_document(heads, dtype):
    torch.manual_seed(0)
    lengths = [5, 1, 9]
    query, key, value = (torch.randn(1, count, 15, 8, requires_grad=True) for count in (heads[0], heads[1], heads[1]))
    borders = torch.tensor([0, 5, 6, 15], dtype=torch.int32)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        found, _ = attention.packed_attention(
            None, query, key, value.to(getattr(torch, dtype)), None, cu_seq_lens_q=borders
        )
    assert found.dtype == getattr(torch, dtype)
    repeat = heads[0] // heads[1]
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        scores = query[:, :, part] @ key.repeat_interleave(repeat, 1)[:, :, part].transpose(2, 3) / 8**0.5
        hidden = torch.ones(length, length).triu(1).bool()
        expected = (
            scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value.repeat_interleave(repeat, 1)[:, :, part]
        )
        close = 1e-5 if dtype == "float32" else 2e-2
        assert torch.allclose(found[:, part].float(), expected.transpose(1, 2), atol=close)
        start += length
