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
import time
import warnings

from mammoth_utils import paths

SIZE, MIXTURE, BENCHMARK = "1m", "pot", "mini-gsm8k"


def find_problem():
    """Return a problem of the development split that calls for a program."""
    from mammoth_utils.miniature import benchmarks

    return next(truth.problem for truth in benchmarks.truths(BENCHMARK, "dev") if truth.problem.family == "revenue")


def tuned_mixture() -> str:
    """Return the mixture of a fine-tuned model: the book's, else one trained now (about 30 seconds)."""
    from mammoth_utils.training import describe

    for mixture in ("hybrid", MIXTURE):
        run = describe(size=SIZE, mixture=mixture)
        if (run.folder / "record.json").is_file():
            print(f"\nA fine-tuned model is here already: {run.folder.name}", flush=True)
            return mixture
    from mammoth_utils.curation import ensure_dataset, read_mixture
    from mammoth_utils.training import finetune

    print(
        "\nNo fine-tuned model is here yet: making the data (about 20 s), then training on its programs (about 30 s)."
    )
    rows = read_mixture(ensure_dataset("miniature"), MIXTURE, 0)
    last = [time.monotonic()]

    def tell(step) -> None:
        if time.monotonic() - last[0] > 5:
            last[0] = time.monotonic()
            print(f"    step {step['step']}, loss {step['loss']:.3f}", flush=True)

    finetune(describe(size=SIZE, mixture=MIXTURE), rows, on_step=tell)
    return MIXTURE


def main() -> int:
    """Show what the untuned base and a fine-tuned model make of one problem, step by step."""
    warnings.filterwarnings("ignore")
    begun = time.monotonic()
    problem = find_problem()
    print(f"The problem: {problem.question}\n(the answer is {problem.gold})", flush=True)

    from mammoth_utils.evaluation import describe_solution, solve
    from mammoth_utils.programs import isolation

    base = solve(problem, describe_solution(SIZE, mixture="none", decoding="pot"))
    print(f"\n== The shipped base model, {base.name}\n\n{base}", flush=True)
    tuned = solve(problem, describe_solution(SIZE, mixture=tuned_mixture(), decoding="pot"))
    print(f"\n== The fine-tuned model, {tuned.name}\n\n{tuned}\n\n{isolation.describe().summary}")
    print(f"\n{time.monotonic() - begun:.0f} seconds. Next: make book, or a question of your own on the page solve")
    return 0


if __name__ == "__main__":
    try:
        paths.writable_runs()
    except PermissionError as error:
        raise SystemExit(f"try: {error}") from None
    sys.exit(main())
