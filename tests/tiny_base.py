"""A base model of a few thousand weights with a byte-level tokenizer, made on the spot for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mammoth_utils import prompts

TEXTS = [
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "### Instruction:\nWhat is 17 plus 25?\n\n### Response:",
    "### Response:# add the numbers\nans = 17 + 25\nprint(ans)",
    "x:# a comment\ny:# another\nz:## three\n:# :# :#",
    "Tom has 12 apples and buys 30 more. The answer is 42.",
]


def rows(count: int = 4) -> list[dict[str, Any]]:
    """Rationales of both kinds in the form of a curated row; every second one is a program that begins with #."""
    made = []
    for number in range(count):
        first, second = 11 + 7 * number, 25 + 3 * number
        question = f"What is {first} plus {second}?"
        if number % 2:
            instruction, kind = prompts.pot_instruction(question), "pot"
            output = f"# add the numbers\nans = {first} + {second}\nprint(ans)"
        else:
            instruction, kind = question, "cot"
            output = f"{first} and {second} make {first + second}. The answer is {first + second}."
        made.append(
            {"instruction": instruction, "output": output, "kind": kind, "source": f"mini-{kind}", "key": str(number)}
        )
    return made


def tokenizer(fixed_parts: bool = False) -> Any:
    """A byte-level BPE with ``<s>``, ``</s>`` and ``<pad>`` in which ``:`` and ``#`` merge, as they do in large ones.

    Args:
        fixed_parts: Whether the template's parts are tokens of their own, as in the miniature's tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS * 20, trainer)
    if fixed_parts:
        made.add_tokens([prompts.ALPACA_HEADER, prompts.ALPACA_RESPONSE, prompts.POT_TRIGGER])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def base(
    folder: Path, width: int = 32, layers: int = 2, seed: int = 0, fixed_parts: bool = False, tied: bool = True
) -> Path:
    """A folder with a random Llama in Hugging Face form, in fp32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = tokenizer(fixed_parts)
    config = LlamaConfig(
        vocab_size=len(tok),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder
