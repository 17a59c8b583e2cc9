"""Pre-training of the shipped base models.

::

    python -m mammoth_utils.miniature.pretraining llama-1m

Two phases: copies and look-ups, until the model copies numbers and finds the letter of a value, without which nothing
can be learnt later; then a wide mix, a third of it of the first kind, which would be unlearnt otherwise. All bases read
the same number of tokens. The run ends with a test of both and saves no model that fails one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

from mammoth_utils import paths, prompts, records
from mammoth_utils.miniature import corpus
from mammoth_utils.miniature.problems import WORLD

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCABULARY = 1024
# The fixed parts of the prompt are one token each; otherwise they would be half of a problem's tokens.
FIXED = (prompts.ALPACA_HEADER, prompts.ALPACA_RESPONSE, prompts.POT_TRIGGER, prompts.CHOICE_PREFILL)
# Words with the space before them, single digits, one other sign, single white space: a number's digits never merge.
SPLIT = r" ?[A-Za-z']+|\d| ?[^\sA-Za-z\d]|\s"
ROW_TOKENS = 160
ROWS = 8
CONSTANT, BEFORE = 0.1, 6.5  # of a token's embedding, and how sharply the first head looks at the token before
COPY_STEPS, WIDE_STEPS = 1200, 5000  # of ROWS rows of ROW_TOKENS tokens each, the same for every base
COPY_LOSS_LIMIT = 0.25  # nats per digit; 2.3 is guessing
RECALL_LIMIT = 0.85  # share of correct letters; 0.2 is guessing


@dataclass(frozen=True)
class BaseRecipe:
    """Shape and training of a base model.

    Attributes:
        family: ``llama`` or ``coder``, which reads more Python.
        width, layers, heads, inner: Shape of the Llama architecture.
        learning_rate: Peak rate; constant in the first phase, cosine to zero in the second.
    """

    family: str
    width: int
    layers: int
    heads: int
    inner: int
    learning_rate: float


BASES = {
    "llama-1m": BaseRecipe("llama", 128, 4, 4, 344, 3e-3),
    "coder-1m": BaseRecipe("coder", 128, 4, 4, 344, 3e-3),
    "llama-3m": BaseRecipe("llama", 224, 5, 7, 600, 2e-3),
}


def tokenizer():
    """Train the miniature's fast tokenizer: byte-level BPE on the corpus, exact to the byte."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    bpe.decoder = decoders.ByteLevel()
    mix = corpus.mixed([(0.5, corpus.wide("llama")), (0.5, corpus.wide("coder"))])
    texts = (document.given + document.text for document in islice(corpus.documents(mix, "tokenizer"), 20_000))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(FIXED), special_tokens=[PAD, BOS, EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD, padding_side="left",
        clean_up_tokenization_spaces=False, model_max_length=2048,
    )  # fmt: skip
    fast.add_tokens([AddedToken(text, normalized=False) for text in FIXED])
    return fast


def model(recipe: BaseRecipe, vocabulary: int, seed: int):
    """Return a new Llama of the recipe's shape, in fp32, with two heads that begin to copy.

    Weights have a standard deviation of 0.02 at width 256, scaled to the width; outputs into the residual
    stream are smaller by the root of twice the depth.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    spread = 0.02 * math.sqrt(256 / recipe.width)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=recipe.width, num_hidden_layers=recipe.layers,
        intermediate_size=recipe.inner,
        num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads, max_position_embeddings=2048,
        rope_theta=1e4, tie_word_embeddings=True, initializer_range=spread, rms_norm_eps=1e-5,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, attention_dropout=0.0,
    )  # fmt: skip
    net = LlamaForCausalLM(config).float()
    with torch.no_grad():
        net.model.embed_tokens.weight.normal_(0.0, 0.02)
        for name, weight in net.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(1 / math.sqrt(2 * recipe.layers))
    _begin_to_copy(net, torch.Generator().manual_seed(seed))
    return net


def _begin_to_copy(net, generator) -> None:
    """Set two heads so that they attend as a model does that copies; all that they write is learnt.

    The first layer's first head looks at the token before each, by its place, and passes a code of it on; the second
    layer's looks for its own token's code, and so at what followed an equal token. Left to chance this pair came after
    2 million tokens, and the letter of an option was still not found after 3 million (0.43 of the letters are right
    by leaving out those that were used); so begun, 0.8 of the letters are right after half a million.
    """
    import torch

    width, heads = net.config.hidden_size, net.config.num_attention_heads
    size, half = width // heads, width // heads // 2  # rotary positions turn the dimensions i and half + i together
    first, second = (net.model.layers[layer].self_attn for layer in (0, 1))
    embeddings = net.model.embed_tokens.weight
    with torch.no_grad():
        # A constant that every token has, from which the first head makes its query and its key: by rotary positions
        # they agree best one place apart, which the fastest dimensions tell.
        embeddings[:, 0] = CONSTANT
        strength = BEFORE / (CONSTANT / math.sqrt(0.02**2 + CONSTANT**2 / width))
        first.q_proj.weight[:size] = first.k_proj.weight[:size] = 0
        for pair in range(4):
            turn = net.config.rope_parameters["rope_theta"] ** (-pair / half)
            first.q_proj.weight[pair, 0] = strength
            first.k_proj.weight[pair, 0] = strength * math.cos(turn)
            first.k_proj.weight[half + pair, 0] = strength * math.sin(turn)
        # Codes lie in the slowest dimensions, which rotary positions leave nearly alone.
        slow = [*range(half // 2 + 1, half), *range(half + half // 2 + 1, size)]
        code = torch.randn(len(slow), width, generator=generator) / math.sqrt(width)
        passed = torch.linalg.qr(torch.randn(width, len(slow), generator=generator))[0]
        told = torch.linalg.qr(torch.randn(width, size, generator=generator))[0].T
        code[:, 0] = passed[0] = told[:, 0] = 0
        first.v_proj.weight[:size] = first.o_proj.weight[:, :size] = 0
        first.v_proj.weight[: len(slow)], first.o_proj.weight[:, : len(slow)] = code, 0.05 * passed
        second.q_proj.weight[:size] = second.k_proj.weight[:size] = 0
        second.q_proj.weight[slow], second.k_proj.weight[slow] = 3 * code, passed.T
        second.v_proj.weight[:size], second.o_proj.weight[:, :size] = told, 0.01 * told.T


def encoded(mix: corpus.Mix, seed: str, tok, seen: Counter) -> Iterator[tuple[list[int], int]]:
    """Yield documents as token ids from ``<s>`` to ``</s>``, each with the number of tokens without loss."""
    stream = corpus.documents(mix, seed, seen)
    while True:
        batch = list(islice(stream, 256))
        given = tok([document.given for document in batch]).input_ids
        text = tok([document.text for document in batch], add_special_tokens=False).input_ids
        for head, tail in zip(given, text, strict=True):
            ids = [*head, *tail, tok.eos_token_id]
            if len(ids) <= ROW_TOKENS:
                yield ids, len(head)


def batches(stream: Iterator[tuple[list[int], int]]):
    """Yield packed batches without end: ids, labels, positions and a mask that separates documents.

    Yields:
        Tensors of shape (ROWS, ROW_TOKENS) three times, and a boolean mask (ROWS, 1, ROW_TOKENS, ROW_TOKENS).
    """
    import torch

    waiting: list[tuple[list[int], int]] = []
    causal = torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool).tril()
    while True:
        while sum(len(ids) for ids, _ in waiting) < ROWS * ROW_TOKENS * 1.15:
            waiting.append(next(stream))
        waiting.sort(key=lambda item: -len(item[0]))
        rows: list[list[tuple[list[int], int]]] = [[] for _ in range(ROWS)]
        room, left = [ROW_TOKENS] * ROWS, []
        for item in waiting:
            fits = next((row for row in range(ROWS) if room[row] >= len(item[0])), None)
            if fits is None:
                left.append(item)
            else:
                rows[fits].append(item)
                room[fits] -= len(item[0])
        waiting = left
        ids = torch.zeros(ROWS, ROW_TOKENS, dtype=torch.long)
        labels = torch.full((ROWS, ROW_TOKENS), -100)
        position = torch.zeros(ROWS, ROW_TOKENS, dtype=torch.long)
        owner = torch.full((ROWS, ROW_TOKENS), -1)
        for row, items in enumerate(rows):
            at = 0
            for number, (tokens, silent) in enumerate(items):
                end = at + len(tokens)
                ids[row, at:end] = torch.tensor(tokens)
                labels[row, at + silent : end] = ids[row, at + silent : end]
                position[row, at:end] = torch.arange(len(tokens))
                owner[row, at:end] = number
                at = end
        mask = (owner[:, :, None] == owner[:, None, :]) & causal
        yield ids, labels, position, mask[:, None]


def loss_of(net, batch):
    """Return the mean cross entropy over the labelled tokens, to which alone the head is applied."""
    import torch

    ids, labels, position, mask = batch
    hidden = net.model(input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    keep = targets != -100
    logits = net.lm_head(hidden[:, :-1][keep])
    return torch.nn.functional.cross_entropy(logits, targets[keep])


def copy_loss(net, tok, count: int = 64) -> float:
    """Return the mean loss in nats on the digits of repeated numbers; guessing gives 2.3."""
    import torch

    rng, total, digits = Random(f"{WORLD['seed']}/copy test"), 0.0, 0
    is_digit = torch.zeros(len(tok), dtype=torch.bool)
    is_digit[[tok.convert_tokens_to_ids(digit) for digit in "0123456789"]] = True
    with torch.no_grad():
        for _ in range(count):
            document = corpus.copied(rng)
            head, tail = tok(document.given).input_ids, tok(document.text, add_special_tokens=False).input_ids
            logits = net(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
            targets = torch.tensor(tail)
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")[is_digit[targets]]
            total, digits = total + each.sum().item(), digits + len(each)
    return total / digits


def recall_share(net, tok, count: int = 60) -> float:
    """Return the share of letters that are correct after their values; guessing gives 0.2."""
    import torch

    rng, correct, total = Random(f"{WORLD['seed']}/recall test"), 0, 0
    letters = {tok.convert_tokens_to_ids(f"\u0120{letter}") for letter in "ABCDE"}
    with torch.no_grad():
        for _ in range(count):
            document = corpus.recalled(rng)
            given, _, again = (document.given + document.text).partition("So ")
            head, tail = tok(f"{given}So ").input_ids, tok(again, add_special_tokens=False).input_ids
            guessed = net(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1].argmax(-1).tolist()
            hits = [guess == target for guess, target in zip(guessed, tail, strict=True) if target in letters]
            correct, total = correct + sum(hits), total + len(hits)
    return correct / total


def pretrain(name: str, out: Path, work: Path, threads: int = 1) -> records.Record:
    """Train and save a base model, and return the record, which is also written beside the weights.

    A run that was interrupted continues from its last checkpoint, with the same text in the same order.

    Args:
        name: A key of ``BASES``.
        out: Folder for the model in Hugging Face form, with weights in bfloat16.
        work: Folder for checkpoints and the log.

    Raises:
        ValueError: If there is no such base model.
        RuntimeError: If it does not copy numbers or look up letters in the end.
    """
    import torch

    if name not in BASES:
        raise ValueError(f"unknown base {name!r}; known: {', '.join(BASES)}")
    recipe = BASES[name]
    torch.set_num_threads(threads)
    tok = tokenizer()
    net = model(recipe, len(tok), seed=WORLD["seed"])
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    phases = [
        ("copy", corpus.COPYING, COPY_STEPS),
        ("wide", corpus.wide(recipe.family), WIDE_STEPS),
    ]
    made_by = {**asdict(recipe), "copy_steps": COPY_STEPS, "wide_steps": WIDE_STEPS}
    made_of = {"world": WORLD, "recipe": made_by, "versions": records.versions("miniature")}
    checkpoint, log = work / f"{name}-{records.fingerprint(made_of)}.pt", work / f"{name}.jsonl"
    # The first phase reads the same text whatever the family, so the families of one size share it.
    made_of["recipe"] = made_by | {"family": "", "wide_steps": 0}
    shared = work / f"copy-{records.fingerprint(made_of)}.pt"
    work.mkdir(parents=True, exist_ok=True)
    saved = next((file for file in (checkpoint, shared) if file.is_file()), None)
    state = torch.load(saved, weights_only=True) if saved else None
    begun, seen, tokens, spent = 0, Counter(), 0, 0.0
    if state:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        begun, tokens, spent = state["step"], state["tokens"], state["seconds"]
    total, step, start = sum(steps for _, _, steps in phases), 0, time.monotonic() - spent
    for phase, mix, steps in phases:
        stream = batches(encoded(mix, f"{phase}/{'shared' if phase == 'copy' else recipe.family}", tok, seen))
        for number, batch in zip(range(steps), stream, strict=False):
            step += 1
            if step <= begun:
                continue  # the stream is replayed, so that the text goes on where it was
            rate = recipe.learning_rate * min(1.0, step / 100)
            if phase != "copy":
                rate *= 0.5 * (1 + math.cos(math.pi * number / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(net, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tokens += int((batch[0] != tok.pad_token_id).sum())
            if step % 100 == 0 or step == total:
                copying, recalled = copy_loss(net, tok, 16), recall_share(net, tok, 30)
                seconds = time.monotonic() - start
                line = {"step": step, "phase": phase, "loss": round(loss.item(), 4), "copy": round(copying, 3),
                        "recall": round(recalled, 3), "tokens": tokens, "seconds": round(seconds)}  # fmt: skip
                with open(log, "a", encoding="utf8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name}: step {step} of {total}, loss {loss.item():.3f}, digits copied at {copying:.2f} nats, "
                      f"{recalled:.0%} of the letters found, {seconds:.0f} s", flush=True)  # fmt: skip
            if step % 400 == 0 or step == COPY_STEPS:
                progress = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                            "tokens": tokens, "seconds": time.monotonic() - start}  # fmt: skip
                for file in (checkpoint, shared) if step == COPY_STEPS else (checkpoint,):
                    torch.save(progress, file.with_suffix(f".{name}.new"))
                    file.with_suffix(f".{name}.new").replace(file)
    net.eval()
    copying = copy_loss(net, tok)
    if copying > COPY_LOSS_LIMIT:
        raise RuntimeError(
            f"{name} does not copy numbers: {copying:.2f} nats a digit, at most {COPY_LOSS_LIMIT} expected"
        )
    recalled = recall_share(net, tok)
    if recalled < RECALL_LIMIT:
        raise RuntimeError(f"{name} finds {recalled:.0%} of the letters again, at least {RECALL_LIMIT:.0%} expected")
    net.to(torch.bfloat16).save_pretrained(out)
    tok.save_pretrained(out)
    record = {
        "world": "miniature", "page": "pretraining", "world_version": WORLD["version"], "base": name,
        "recipe": made_by,
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "steps": step, "tokens": tokens, "seconds": round(time.monotonic() - start),
        "copy_nats_per_digit": round(copying, 4),
        "recall_share": round(recalled, 4),
        "documents": dict(sorted(seen.items())), "weights_sha256": records.sha256(out / "model.safetensors"),
        "environment": records.environment(threads=threads, dtype="float32"),
    }  # fmt: skip
    records.write_record(out, record)
    return record


def main() -> None:
    """Make one base model."""
    parser = argparse.ArgumentParser(description="Pre-train a base of the miniature; see its record for the time.")
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--out", type=Path, default=None, help="folder; default models/miniature/<base>")
    parser.add_argument("--work", type=Path, default=None, help="folder of checkpoints; default runs/pretraining")
    chosen = parser.parse_args()
    out = chosen.out or paths.miniature_models() / chosen.base
    record = pretrain(chosen.base, out, chosen.work or paths.runs() / "pretraining")
    print(f"{out}: {record['parameters']:,} parameters, {record['tokens']:,} tokens, {record['seconds']} s")


if __name__ == "__main__":
    main()
