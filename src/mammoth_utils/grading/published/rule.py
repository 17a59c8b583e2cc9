"""The published rule: what the authors' evaluation code does, each quirk a function with its name and reason.

Read from three public copies of the released evaluation (`utils.py`, `number_utils.py`, `data_loader.py`,
`run_open.py`, `run_choice.py`); written anew here, without their `eval` of model text. DESIGN.md section 6 and the
page `grading` of the book list the quirks.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from functools import lru_cache
from typing import Any

from mammoth_utils.grading._formulas.formula_values import Undefined, constant
from mammoth_utils.grading._formulas.notation import joined_thousands, plain
from mammoth_utils.grading._formulas.parser import Unreadable, parse
from mammoth_utils.grading.benchmarks import Benchmark, gold_letter, gold_text
from mammoth_utils.grading.published import hendrycks

TRIGGERS = ("####", "The answer is")  # in this order and spelling; "the answer is" is a trigger on MATH alone
REL_TOLERANCE = 0.04  # of a gold on MATH that is no integer
_NUMBERS = re.compile(r"-?\d+/?\.?\d*")
_LETTERS = re.compile(r"\b(A|B|C|D|E)\b")
_PLAIN_NUMBERS = re.compile(r"-?\d*\.?\d+")
MAX_LITERAL = 200

Read = tuple[str, tuple[int, int]]


def text_of_output(output: str) -> str:
    """Return the completion that a program's output stands for, without line breaks at the output's ends."""
    return "The answer is " + output.strip("\n")


def read_published(completion: str, benchmark: Benchmark) -> Read | None:
    """Return answer and span under the published rule; None where the authors' answer would be empty."""
    if benchmark.name == "math":
        read = math_answer(completion) if completion else None
        return read if read and read[0] else None
    end = first_block_when_triggers_repeat(completion)
    start, triggered = after_last_trigger(completion, end)
    start = after_last_equals_sign(completion, start, end)
    segment = completion[start:end]
    if benchmark.choice:
        candidates = letters_even_the_article(segment) or whole_segment(segment)
    elif benchmark.letters_too:
        candidates = letters_even_the_article(segment) or numbers_by_regular_expression(segment)
    else:
        candidates = numbers_by_regular_expression(segment)
    if not candidates:
        return None
    text, (left, right) = first_after_a_trigger_else_last(candidates, triggered)
    text = without_final_dot_or_slash(text)
    return (text, (start + left, start + right)) if text else None


def first_block_when_triggers_repeat(completion: str) -> int:
    """Return the end of what is read: all, or the first block where a trigger stands twice.

    The authors take a repeated trigger for a model that went on to write further few-shot examples.
    """
    if any(completion.count(trigger) > 1 for trigger in TRIGGERS):
        return len(completion.split("\n\n", 1)[0])
    return len(completion)


def after_last_trigger(completion: str, end: int) -> tuple[int, bool]:
    """Return where the text after the last trigger starts, and whether there was one."""
    ends = [at + len(trigger) for trigger in TRIGGERS if (at := completion.rfind(trigger, 0, end)) >= 0]
    return max(ends, default=0), bool(ends)


def after_last_equals_sign(completion: str, start: int, end: int) -> int:
    """Return where the text after the last ``=`` starts: ``x = 3 + 4 = 7`` is 7, and so is ``7 apples = enough``."""
    at = completion.rfind("=", start, end)
    return at + 1 if at >= 0 else start


def numbers_by_regular_expression(segment: str) -> list[Read]:
    """Return numbers as the authors' pattern finds them, without commas, in the form of `without_extra_zeros`.

    The pattern has no exponents, no leading dot and one oddity, ``12/5`` as a single token that no gold equals.
    """
    kept = [at for at, character in enumerate(segment) if character != ","] if "," in segment else range(len(segment))
    joined = segment.replace(",", "")
    return [
        (without_extra_zeros(number.group()), (kept[number.start()], kept[number.end() - 1] + 1))
        for number in _NUMBERS.finditer(joined)
    ]


def letters_even_the_article(segment: str) -> list[Read]:
    """Return letters A to E of the upper-cased text; the article "a" is upper-cased too and reads as option A."""
    if segment.isascii():
        upper = segment.upper()
    else:  # "ß" would become two letters, and spans would move
        upper = "".join(character.upper() if len(character.upper()) == 1 else character for character in segment)
    return [(letter.group(), letter.span()) for letter in _LETTERS.finditer(upper)]


def whole_segment(segment: str) -> list[Read]:
    """Return the segment itself, where a multiple-choice answer names no letter; the authors then ask again."""
    text = segment.strip().strip(".")
    at = segment.find(text) if text else 0
    return [(text, (at, at + len(text)))]


def first_after_a_trigger_else_last(candidates: list[Read], triggered: bool) -> Read:
    """Return the first candidate after a trigger, the last one where no trigger stands."""
    return candidates[0] if triggered else candidates[-1]


def without_final_dot_or_slash(text: str) -> str:
    """Return the text without one final dot and one final slash."""
    return text.removesuffix(".").removesuffix("/")


def without_extra_zeros(text: str) -> str:
    """Return a number in the authors' normal form: through a float, zeros at the end gone.

    ``12.50`` becomes ``12.5`` and ``7.0`` becomes ``7``; a whole number beyond 2**53 loses digits, and one whose float
    prints as ``1e+20`` becomes ``100.0``, since the exponent's zero is stripped too. What is no float stays.
    """
    if len(text) > 400 and text.removeprefix("-").isdigit():
        return text[: text.startswith("-")] + "inf"  # what the float of so many digits prints as
    try:
        value = float(text)
    except ValueError:
        return text
    stripped = str(value).rstrip("0")
    if stripped.endswith("."):
        return str(int(stripped.rstrip(".")))
    return str(float(stripped))


def math_answer(completion: str) -> Read:
    """Return the answer on MATH, after the Hendrycks normalisation.

    It stands after the last ``The answer is ``, else ``the answer is ``, else in a box; else it is the last number.
    """
    for trigger in ("The answer is ", "the answer is "):
        at = completion.rfind(trigger)
        if at >= 0:
            start = at + len(trigger)
            text = completion[start:].strip()
            start = completion.find(text, start) if text else start
            break
    else:
        if "boxed" in completion:
            text, start = hendrycks.boxed_content(completion)
            return _finished(hendrycks.normal(text), (start, start + len(text)))
        numbers = list(_PLAIN_NUMBERS.finditer(completion))
        text, start = (numbers[-1].group(), numbers[-1].start()) if numbers else ("", 0)
    return _finished(text, (start, start + len(text)))


def _finished(text: str, span: tuple[int, int]) -> Read:
    text = hendrycks.normal(without_final_dot_or_slash(text))
    if "boxed" in text:
        text = hendrycks.normal(hendrycks.boxed_content(text)[0])
    return text, span


def published_gold(gold: Any, benchmark: Benchmark, options: Any = None) -> str | None:
    """Return the gold as the authors' loader has it: a letter, a normalised number or ``str(answer)``, or None.

    GSM8K's gold is what follows ``####``, without commas; MATH's the last ``\\boxed`` of a solution. Mathematics,
    SimulEq and NumGLUE golds are compared as they are written, which is why ``1363.0`` can never be met there.
    """
    if gold is None:
        return None
    if benchmark.choice:
        return gold_letter(gold, options)
    if benchmark.name == "math":
        text = gold_text(gold)
        return hendrycks.normal(hendrycks.boxed_content(text)[0] if "boxed" in text else text) or None
    if benchmark.name == "gsm8k":
        return without_extra_zeros(gold_text(gold).split("####")[-1].strip().replace(",", "")) or None
    if benchmark.name in ("mathematics", "simuleq", "numglue"):
        return str(gold) or None
    return without_extra_zeros(gold_text(gold)) or None


@lru_cache(maxsize=16384)
def reachable(gold: str, benchmark: Benchmark) -> bool:
    """Return whether any completion can be read as this gold: does ``The answer is <gold>`` lead back to it?

    A string that the reader does not give back is one that it never gives: its normal form is the only one it writes.
    """
    for completion in ("The answer is " + gold, gold, "\\boxed{" + gold + "}"):
        read = read_published(completion, benchmark)
        if read and grade_published(read[0], gold, benchmark)[0]:
            return True
    return False


def grade_published(answer: str, gold: str, benchmark: Benchmark) -> tuple[bool, str]:
    """Return whether an answer passes, and why: equal strings; on MATH also numbers, within a tolerance."""
    if answer == gold:
        return True, f"the text {answer[:60]!r} is the gold"
    if benchmark.name != "math":
        return False, f"the text {answer[:60]!r} is not {gold[:60]!r}, and texts must be equal"
    number, reference = number_of(answer), gold_number(gold)
    if number is None or reference is None:
        return False, f"the texts {answer[:60]!r} and {gold[:60]!r} differ and not both are numbers"
    return compare_math_numbers(number, reference)


def compare_math_numbers(answer: float, gold: int | float) -> tuple[bool, str]:
    """Return whether a number passes on MATH: rounded to an integer gold, or within 4 % of another, and why.

    The form ``gold - eps <= answer <= gold + eps`` is kept, since others differ at the edge: 0.52 passes for 0.5.
    """
    if not math.isfinite(answer):
        return False, "the answer is not a finite number"
    if isinstance(gold, int):
        return round(answer) == gold, f"{_shown(answer)} rounds to {_shown(round(answer))}, gold is {_shown(gold)}"
    slack = REL_TOLERANCE * abs(gold)
    return gold - slack <= answer <= gold + slack, f"{_shown(answer)} against {gold} ± {slack}"


def _shown(value: float) -> str:
    return f"{value:.12g}" if isinstance(value, float) or abs(value) < 10**15 else "a huge number"


def gold_number(gold: str) -> int | float | None:
    """Return a MATH gold as a number, whole where it is; None for tuples, intervals, unknowns and lists.

    The authors ship it beside the text in their `MATH.json`, which is in no public copy; here our parser makes it.
    """
    try:
        value = constant(parse(joined_thousands(plain(gold))))
        if isinstance(value, complex):
            return None
        return int(value) if value == int(value) else float(value)
    except (Unreadable, Undefined, OverflowError):
        return None


def number_of(text: str) -> int | float | None:
    """Return the number that the authors' `number_it` makes of an answer's text; None if none.

    It is Python's reading, not mathematics': ``^`` is exclusive or (``2^3`` is 1), ``2\\frac{1}{2}`` is 21/2, commas
    vanish (``(1,2)`` is 12), the first item of a tuple counts. A literal arithmetic walker stands in for `eval`.
    """
    if len(text) <= MAX_LITERAL and "frac" in text:
        text = re.sub(r"\\frac\{([^{}]+)\}\{([^{}]+)\}", r"\1/\2", text)
    elif "," in text:
        text = text.replace(",", "")
    if len(text) > MAX_LITERAL:
        return math.inf if text.isdigit() and len(text) > 400 else None
    try:
        return _whole(float(text))
    except ValueError:
        value = python_arithmetic(text)
    if isinstance(value, list):
        value = value[0] if value else None
    try:
        return None if value is None else _whole(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: float) -> int | float:
    return round(value) if math.isfinite(value) and value.is_integer() else value


_NO_ARITHMETIC = re.compile(r"['\"]|\d(?:and|else|for|if|in|is|not|or)")
_OPERATIONS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitXor: operator.xor, ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


def python_arithmetic(text: str) -> Any:
    """Return the value of Python arithmetic on literals, None for anything else; powers are bounded."""
    if _NO_ARITHMETIC.search(text):  # such texts are no arithmetic in any case, and Python's reader warns of them
        return None
    try:
        return _walk(ast.parse(text.strip(), mode="eval").body, 0)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None


def _walk(node: ast.AST, depth: int) -> Any:
    if depth > 40:
        raise ValueError("nested too deeply")
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_walk(part, depth + 1) for part in node.elts]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_walk(node.operand, depth + 1))
    if isinstance(node, ast.BinOp):
        left, right = _walk(node.left, depth + 1), _walk(node.right, depth + 1)
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise ValueError("arithmetic on lists")
        if isinstance(node.op, ast.Pow):
            if abs(right) > 1000 or abs(left) > 10**6:
                raise ValueError("too large a power")
            return left**right
        if type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"{type(node).__name__} is no arithmetic")
