"""Grading: from a completion to an answer, and from an answer and a gold to a verdict, under one of two rules."""

import lazy_loader

VERSION = 1  # of which answer is read and whether it is right, under both rules

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "answers": ["Answer", "answer_from_execution", "read_answer"],
        "benchmarks": ["RULES", "gold_letter", "gold_text", "options_in"],
        "completions": ["Graded", "Summary", "grade_file", "score_file"],
        "corrected.equality": ["equivalent"],
        "question_text": ["SHINGLE", "SHORT_QUESTION", "SIMILARITY", "question_stem", "question_tokens"],
        "verdicts": ["Verdict", "grade", "grade_math_number"],
    },
)
