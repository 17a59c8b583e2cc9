"""Grading: from a completion to an answer, and from an answer and a gold to a verdict, under one of two rules."""

import lazy_loader

VERSION = 3  # of which answer is read and whether it is right, under both rules

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_formulas.words": ["SPOKEN"],
        "answers": ["Answer", "answer_after_run", "answer_from_execution", "output_under", "read_answer"],
        "benchmarks": [
            "RULES", "Benchmark", "bare_options", "benchmark_named", "gold_letter", "gold_text", "options_in",
        ],
        "completions": [
            "CompletionsError", "Graded", "Summary", "describe_doubled", "grade_file", "is_doubled", "score_file",
        ],
        "corrected.equality": ["equivalent", "forget_parsed_formulas"],
        "corrected.option_letters": ["option_of"],
        "formula_kinds": ["FORMULA_KINDS", "constant_value", "formula_kind", "is_matched_as_text_only"],
        "programs_in_text": [
            "corrected_program", "fenced_blocks", "is_bare_value", "is_program", "program_in", "program_to_run",
            "program_under", "published_program",
        ],
        "published.hendrycks": [
            "boxed_content", "braces_of_fractions", "short_name_before_equals", "units_after_a_space_in_text",
        ],
        "question_text": ["SHINGLE", "SIMILARITY", "question_stem", "question_tokens"],
        "verdicts": ["Verdict", "corrected_gold", "grade", "grade_math_number"],
    },
)  # fmt: skip
