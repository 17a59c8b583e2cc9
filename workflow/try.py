"""One problem from question to verdict, in about a minute: what a small model says before and after fine-tuning.

::

    make try
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sys
import textwrap
import time
import warnings

from mammoth_utils import paths, prompts, scales

SIZE, MIXTURE, BENCHMARK = "1m", "pot", "mini-gsm8k"
MAX_NEW_TOKENS = 120


def say(title: str, text: str = "") -> None:
    """Print a heading and an indented block at once."""
    print(f"\n{title}", flush=True)
    if text:
        print(textwrap.indent(text, "    "), flush=True)


def find_problem():
    """Return a problem of the development split that calls for a program."""
    from mammoth_utils.miniature import benchmarks

    return next(truth.problem for truth in benchmarks.truths(BENCHMARK, "dev") if truth.problem.family == "revenue")


def tuned_model() -> str:
    """Return the folder of a fine-tuned model: the book's, else one trained now (about 30 seconds)."""
    from mammoth_utils.training import describe

    for mixture in ("hybrid", MIXTURE):
        run = describe(size=SIZE, mixture=mixture)
        if (run.folder / "record.json").is_file():
            say(f"A fine-tuned model is here already: {run.folder.name}")
            return str(run.folder / "model")
    from mammoth_utils.curation import ensure_dataset, read_mixture
    from mammoth_utils.training import finetune

    say("No fine-tuned model is here yet: making the data (about 20 s), then training on its programs (about 30 s).")
    rows = read_mixture(ensure_dataset("miniature"), MIXTURE, 0)
    last = [time.monotonic()]

    def tell(step) -> None:
        if time.monotonic() - last[0] > 5:
            last[0] = time.monotonic()
            print(f"    step {step['step']}, loss {step['loss']:.3f}", flush=True)

    run = describe(size=SIZE, mixture=MIXTURE)
    finetune(run, rows, on_step=tell)
    return str(run.folder / "model")


def main() -> int:
    """Show the problem, the prompt, two completions, the execution and both verdicts."""
    warnings.filterwarnings("ignore")
    begun = time.monotonic()
    problem = find_problem()
    say("The problem", f"{problem.question}\n(the answer is {problem.gold})")
    prompt = prompts.prompt(problem, "pot")
    say("The prompt, as the model sees it", prompt)

    from mammoth_utils.evaluation import Request, complete, load_decoder

    base = str(paths.miniature_models() / scales.scale(SIZE).base)
    said = complete(load_decoder(base), [Request(prompt, 40)])[0].text
    say("What the shipped base model says", said.strip() or "(nothing)")
    program = complete(load_decoder(tuned_model()), [Request(prompt, MAX_NEW_TOKENS)])[0].text
    say("What the fine-tuned model says", program.strip())

    from mammoth_utils.grading import RULES, answer_from_execution, grade
    from mammoth_utils.programs import isolation, run_program

    execution = run_program(program, isolation="auto")
    say(
        f"Its program, run in a sandbox ({isolation.describe().summary})",
        f"{execution.status}: {execution.output.strip()}",
    )
    for rule in RULES:
        verdict = grade(answer_from_execution(execution.output, BENCHMARK, rule), problem.gold, BENCHMARK, rule)
        say(f"Verdict under the rule '{rule}': {verdict.outcome}", verdict.reason)
    print(f"\n{time.monotonic() - begun:.0f} seconds. Next: make book")
    return 0


if __name__ == "__main__":
    try:
        paths.writable_runs()
    except PermissionError as error:
        raise SystemExit(f"try: {error}") from None
    sys.exit(main())
