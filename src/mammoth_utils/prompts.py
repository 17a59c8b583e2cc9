"""Prompt templates, exact to the byte; the same ones in training and in decoding."""

from __future__ import annotations

from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import KINDS, Kind, check_known

VERSION = 1  # of every byte that a model is given

# The Alpaca template without input, as in the authors' `prompt_utils.py`: two line breaks before
# each marker and nothing after "### Response:". A space there would be a token the model never saw.
ALPACA_HEADER = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
ALPACA_RESPONSE = "\n\n### Response:"
ALPACA = ALPACA_HEADER + "{instruction}" + ALPACA_RESPONSE

# The leading space is part of the trigger: the training prompts have it, and
# without it the first token differs, so the model is asked something else.
POT_TRIGGER = " Let's write a program."  # the released evaluation code; the default
POT_TRIGGER_PAPER = " Let's write a program to solve the problem"  # the paper's section 2.4
POT_TRIGGERS = {"code": POT_TRIGGER, "paper": POT_TRIGGER_PAPER}

# What the authors' `alpaca_mc` form writes into the response before the model does.
CHOICE_PREFILL = "Let's solve the multi-choice question step by step.\n"

ANSWER_TRIGGER = "The answer is "


def pot_instruction(instruction: str, trigger: str = POT_TRIGGER) -> str:
    """Return the instruction that asks for a program: the trigger follows the question directly."""
    return instruction + trigger


def alpaca(instruction: str) -> str:
    """Return the Alpaca prompt around an instruction; a rationale follows it without a space."""
    return ALPACA_HEADER + instruction + ALPACA_RESPONSE


def prompt(problem: Problem, kind: Kind, trigger: str = POT_TRIGGER, prefill: bool = True) -> str:
    """Return the prompt that asks for one kind of rationale; raise ValueError for an unknown kind.

    Args:
        problem: The problem; its options are part of the instruction.
        kind: ``"cot"`` asks for prose, ``"pot"`` adds the trigger.
        trigger: The PoT trigger with its leading space.
        prefill: Whether a multiple-choice prompt for ``"cot"`` ends in ``CHOICE_PREFILL``. The authors' runner adds it
            for both kinds, but a program cannot follow that sentence.
    """
    check_known("kind", kind, KINDS)
    instruction = problem.instruction if kind == "cot" else pot_instruction(problem.instruction, trigger)
    filled = alpaca(instruction)
    return filled + CHOICE_PREFILL if kind == "cot" and problem.options is not None and prefill else filled
