"""What evaluation decides: which prompts are asked in which pass, and which attempt counts under each rule."""

from __future__ import annotations

import hashlib

import golden

from mammoth_utils.evaluation import attempts as reading
from mammoth_utils.evaluation import hybrid
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import DECODINGS, RULES

OPTIONS = ("41", "42", "43")
# A program that is asked for, the prose that is asked for, and the runner's second call.
COMPLETIONS = {
    "printed": ("print(6 * 7)", "The answer is 42.", "The answer is B."),
    "failed": ("print(41)\nprint(6 / 0)", "The answer is 42.", "The answer is B."),
    "printed nothing": ("x = 3\nprint()", "So x = 42.", "The answer is B."),
    "printed words": ("print('none')", "I cannot say.", "The answer is B."),
    "broken": ("print(6 *", "The answer is 42.", "I cannot say."),
    "left in ans": ("ans = 6 * 7", "The answer is 41.", "The answer is C."),
    "fenced": ("```python\nprint(42)\n```", "The answer is 41.", "The answer is C."),
    "prose": ("The answer is 41.", "The answer is 42.", "print('B')"),
    "prose without": ("I cannot say.", "I cannot say.", "The answer is B."),
    "letter": ("print('B')", "The answer is (B).", "The answer is A."),
    "next problem": ("print(42)\n### Instruction:\nx", "The answer is 42.\n### Instruction:\nx", "The answer is B."),
}
PROBLEMS = [
    Problem(f"{name}/{case}", f"What is 6 times 7, {case}?", "42" if options is None else "B", options, set=name)
    for name, options in {"gsm8k": None, "math": None, "aqua": OPTIONS, "numglue": OPTIONS, "mini-sat": OPTIONS}.items()
    for case in COMPLETIONS
]  # fmt: skip


class Scripted:
    """A decoder that answers by the case that a prompt names and writes down each pass of prompts."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.cases: dict[str, str] = {}

    def complete(self, prompts, max_new_tokens):
        self.passes.append([f"{max_new_tokens} {prompt}" for prompt in prompts])
        return [COMPLETIONS[self.case(prompt)][self.kind(prompt)] for prompt in prompts]

    def kind(self, prompt):
        return 2 if "Please find the closest option" in prompt else 0 if "write a program" in prompt else 1

    def case(self, prompt):
        if self.kind(prompt) == 2:  # its prompt holds the answer and not the question
            return "prose" if "to 41." in prompt else "printed"
        return prompt.split("6 times 7, ")[1].split("?")[0]


def decisions(decodings):
    """Each pass as a count and a hash of its prompts; for each problem the kinds that were asked for, which of them
    gave the answer, and under each rule the place of the attempt that counts and its answer."""
    decoder = Scripted()
    attempts = hybrid.decode(PROBLEMS, decoder, decodings, 100)
    together = "+".join(decodings)
    found = {}
    for number, prompts in enumerate(decoder.passes, 1):
        digest = hashlib.sha256("\x00".join(prompts).encode()).hexdigest()[:16]
        found[f"{together}, pass {number}"] = f"{len(prompts)} prompts {digest}"
    for decoding, rows in attempts.items():
        for problem, made in zip(PROBLEMS, rows, strict=True):
            case = [problem.id.split("/")[1], "+".join(attempt.kind for attempt in made), reading.answering_kind(made)]
            for rule in RULES:
                counting = reading.counting_attempt(made, rule)
                case.append(f"{made.index(counting)}: {counting.answers[rule]}")
            found.setdefault(f"{together}, {decoding}, {problem.set}", []).append(", ".join(case))
    return {name: one if isinstance(one, str) else " | ".join(one) for name, one in found.items()}


def test_which_prompts_are_asked_and_which_attempt_counts(write_golden):
    found = {}
    for decodings in [(decoding,) for decoding in DECODINGS] + [("hybrid", "cot", "pot")]:
        found |= decisions(decodings)
    golden.check("evaluation", "decodings", found, write_golden)
