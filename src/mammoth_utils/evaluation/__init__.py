"""Evaluation: nine benchmarks, completions, attempts, accuracy. Loading it loads no torch."""

import lazy_loader

VERSION = 1  # of what a model is asked, in which order, and which attempt counts

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["benchmarks", "prompt_choice", "reports", "tables"],
    submod_attrs={
        "attempts": ["PROGRAM_TIMEOUT_S"],
        "benchmarks": ["paper_name"],
        "description": ["describe_evaluation"],
        "engines.decoders": ["load_decoder"],
        "engines.requests": ["Completion", "Request", "complete"],
        "engines.transformers_engine": ["LocalDecoder"],
        "own_benchmarks": ["read_question"],
        "pipeline": ["MissingCompletionsError", "evaluate"],
        "solution": ["Solution", "describe_solution", "solve", "write_solution"],
    },
)
