"""What evaluation decides: which prompts are asked in which pass, and which attempt counts under each rule."""

from __future__ import annotations

import hashlib

import golden
from scripted_decoder import ScriptedDecoder

from mammoth_utils.evaluation import attempts as reading
from mammoth_utils.evaluation import hybrid
from mammoth_utils.evaluation.completion_store import CompletionStore
from mammoth_utils.evaluation.scheduler import Schedule
from mammoth_utils.programs import Sandbox
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


class Scripted(ScriptedDecoder):
    """A decoder that answers by the case that a prompt names."""

    def write(self, prompt):
        return COMPLETIONS[self.case(prompt)][self.kind(prompt)]

    def kind(self, prompt):
        return 2 if "Please find the closest option" in prompt else 0 if "write a program" in prompt else 1

    def case(self, prompt):
        if self.kind(prompt) == 2:  # its prompt holds the answer and not the question
            return "prose" if "to 41." in prompt else "printed"
        return prompt.split("6 times 7, ")[1].split("?")[0]


def decisions(decodings):
    """A count and a hash of the prompts; for each problem the kinds that were asked for, which of them gave the answer,
    and under each rule the place of the attempt that counts and its answer."""
    decoder, together = Scripted(), "+".join(decodings)
    with Sandbox(isolation="auto") as sandbox:
        settings, store = hybrid.PromptSettings(100), CompletionStore(together)
        attempts, _ = Schedule(PROBLEMS, decodings, settings, store, lambda: decoder, sandbox).run()
    prompts = sorted(f"{request.max_new_tokens} {request.prompt}" for request in decoder.asked)
    digest = hashlib.sha256("\x00".join(prompts).encode()).hexdigest()[:16]
    found = {f"{together}, prompts": f"{len(prompts)} prompts {digest}"}
    for decoding in decodings:
        for problem, ways in zip(PROBLEMS, attempts, strict=True):
            made = ways[decoding]
            case = [problem.id.split("/")[1], "+".join(attempt.kind for attempt in made), reading.answering_kind(made)]
            for rule in RULES:
                counting = reading.counting_attempt(made, rule)
                case.append(f"{made.index(counting)}: {counting.answers[rule]}")
            found.setdefault(f"{together}, {decoding}, {problem.set}", []).append(", ".join(case))
    return {name: one if isinstance(one, str) else " | ".join(one) for name, one in found.items()}


def test_which_prompts_are_asked_and_which_attempt_counts(write_golden, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    found = {}
    for decodings in [(decoding,) for decoding in DECODINGS] + [("hybrid", "cot", "pot")]:
        found |= decisions(decodings)
    golden.check("evaluation", "decodings", found, write_golden)
