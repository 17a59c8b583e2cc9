"""What a base model must have learnt before fine-tuning: copying numbers, and looking up the letter of a value."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature import corpus
from mammoth_utils.miniature.problems import WORLD


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
