"""An answer: what was read from a completion or a program's output, and where it stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mammoth_utils.grading.benchmarks import bare_options, benchmark_named, check_rule
from mammoth_utils.grading.corrected import answering_part, option_letters, outputs, reading
from mammoth_utils.grading.programs_in_text import program_to_run
from mammoth_utils.grading.published import rule as published


@dataclass(frozen=True)
class Answer:
    """An answer as it was read.

    Attributes:
        text: The answer, in the rule's own form: a letter, a number, an expression, a word.
        span: Where it was read: start and end as indexes into the completion (or the output). Under the corrected rule
            the text is what stands there, several places joined by commas; the published rule normalises it.
    """

    text: str
    span: tuple[int, int]


def read_answer(
    completion: str,
    benchmark: str = "math",
    rule: str = "corrected",
    options: Sequence[str] | None = None,
    question: str | None = None,
) -> Answer | None:
    """Return the answer that a completion gives; None if it gives none.

    Args:
        completion: Prose, or prose with fenced cells and their quoted outputs. A program is run first and its output
            read by `answer_from_execution`.
        benchmark: Whose questions were asked; aliases count, an unknown name is read as numbers, with a warning.
        rule: ``"published"`` or ``"corrected"``.
        options: The options' texts of a multiple-choice question, with or without their letters.
        question: The question, by which the corrected rule knows, of ``14 crackers and 15 cakes``, which was asked for.

    Raises:
        ValueError: If the rule is unknown.
        TypeError: If the completion is no text.
    """
    check_rule(rule)
    if not isinstance(completion, str):
        raise TypeError(f"expected a completion's text, got {type(completion).__name__}")
    known, options = benchmark_named(benchmark, options), bare_options(options)
    if rule == "published":
        read = published.read_published(completion, known)
    else:
        read = reading.read_corrected(completion, known, options, question)
    return Answer(*read) if read else None


def answer_after_run(
    completion: str,
    programs: Mapping[str, str | None],
    execution: Any,
    benchmark: str = "math",
    rule: str = "corrected",
    options: Sequence[str] | None = None,
    question: str | None = None,
) -> Answer | None:
    """Return the answer of a completion whose program was run: from its output, or from the text where it has none.

    Args:
        completion: As in `read_answer`, and so are ``benchmark`` and what follows it.
        programs: The completion's program under each rule, from `programs_in_text.program_under`.
        execution: What happened to the one that was run, `programs_in_text.program_to_run`; None where none was.
    """
    program = programs.get(rule)
    if program is None:
        return read_answer(completion, benchmark, rule, options, question)
    ran = execution is not None and program == program_to_run(programs)  # another one is no Python, and prints nothing
    output = output_under(rule, execution) if ran else ""
    return answer_from_execution(output, benchmark, rule, options) if output else None


def output_under(rule: str, execution: Any) -> str:
    """Return a program's output under a rule; nothing where the program failed, whatever it printed before.

    It is the printed text, or under the corrected rule, where nothing was printed, the value left in ``ans``, in
    ``solution()`` or in the last expression.
    """
    if execution.status != "ok":
        return ""
    return (execution.printed if rule == "published" else execution.output) or ""


def answer_from_execution(
    execution_output: str, benchmark: str = "math", rule: str = "corrected", options: Sequence[str] | None = None
) -> Answer | None:
    """Return the answer that a program's output gives, None if it gives none; its span indexes the output.

    Under the published rule the output becomes the text ``The answer is <output>`` and is read as any completion.
    Under the corrected rule the output is the answer: its last line that is not empty, without a label before the
    value. For multiple choice it may be an option's value, which `grade` matches with the options.

    Raises:
        ValueError: If the rule is unknown.
        TypeError: If the output is no text.
    """
    check_rule(rule)
    if not isinstance(execution_output, str):
        raise TypeError(f"expected a program's output as text, got {type(execution_output).__name__}")
    known, options = benchmark_named(benchmark, options), bare_options(options)
    if rule == "published":
        text = published.text_of_output(execution_output)
        read = published.read_published(text, known)
        # the output's own start inside that text: its prefix, less the line breaks that went
        shift = len(execution_output) - len(execution_output.lstrip("\n")) - len(published.text_of_output(""))
        if read is None:
            return None
        left, right = (min(max(0, at + shift), len(execution_output)) for at in read[1])
        return Answer(read[0], (left, right))
    start = max(0, len(execution_output) - answering_part.WINDOW)
    read = outputs.output_value(execution_output, start, len(execution_output), known)
    if read and known.choice:
        read = option_letters.letter_read(read, options)
    return Answer(*read) if read else None
