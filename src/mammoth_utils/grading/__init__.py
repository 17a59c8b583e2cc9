"""Grading: from a completion to an answer, and from an answer and a gold to a verdict, under one of two rules."""

from mammoth_utils.grading.answers import Answer, answer_from_execution, read_answer
from mammoth_utils.grading.benchmarks import RULES, options_in
from mammoth_utils.grading.completions import Graded, Summary, grade_file, score_file
from mammoth_utils.grading.verdicts import Verdict, grade, grade_math_number

__all__ = [
    "RULES", "Answer", "Graded", "Summary", "Verdict", "answer_from_execution", "grade", "grade_file",
    "grade_math_number", "options_in", "read_answer", "score_file",
]  # fmt: skip

VERSION = 1  # of which answer is read and whether it is right, under both rules
