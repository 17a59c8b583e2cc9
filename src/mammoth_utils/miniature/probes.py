"""What a base must have learnt before it can be fine-tuned: copying numbers, and finding a value's letter again."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature import corpus
from mammoth_utils.miniature.problems import WORLD


def copy_loss(net, tok, count: int = 64) -> float:
    """Mean loss in nats on the digits of numbers that are being repeated; guessing is 2.3."""
    import torch

    rng, total, digits = Random(f"{WORLD['seed']}/copy test"), 0.0, 0
    is_digit = torch.zeros(len(tok), dtype=torch.bool)
    is_digit[[tok.convert_tokens_to_ids(digit) for digit in "0123456789"]] = True
    with torch.no_grad():
        for _ in range(count):
            document = corpus.copied(rng)
            head, tail = tok(document.given).input_ids, tok(document.text, add_special_tokens=False).input_ids
            logits = net(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
            wanted = torch.tensor(tail)
            each = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")[is_digit[wanted]]
            total, digits = total + each.sum().item(), digits + len(each)
    return total / digits


def recall_share(net, tok, count: int = 60) -> float:
    """Share of the letters that are found again behind their values; guessing earns 0.2."""
    import torch

    rng, found, asked = Random(f"{WORLD['seed']}/recall test"), 0, 0
    letters = {tok.convert_tokens_to_ids(f"\u0120{letter}") for letter in "ABCDE"}
    with torch.no_grad():
        for _ in range(count):
            document = corpus.recalled(rng)
            given, _, again = (document.given + document.text).partition("So ")
            head, tail = tok(f"{given}So ").input_ids, tok(again, add_special_tokens=False).input_ids
            guessed = net(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1].argmax(-1).tolist()
            hits = [guess == wanted for guess, wanted in zip(guessed, tail, strict=True) if wanted in letters]
            found, asked = found + sum(hits), asked + len(hits)
    return found / asked
