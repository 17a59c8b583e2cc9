"""Prompt templates, exact to the byte: the one of training and decoding, and styles that suit other models."""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import yaml

from mammoth_utils import paths
from mammoth_utils.rationale import LETTERS, Problem
from mammoth_utils.vocabulary import KINDS, Kind, check_known

VERSION = 1  # of every byte that a model is given in the style `mammoth`

# The Alpaca template without input, as in the authors' `prompt_utils.py`: two line breaks before
# each marker and nothing after "### Response:". A space there would be a token the model never saw.
ALPACA_HEADER = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
ALPACA_RESPONSE = "\n\n### Response:"
ALPACA = ALPACA_HEADER + "{instruction}" + ALPACA_RESPONSE

# The leading space is part of the trigger: the training prompts have it, and
# without it the first token differs, so the model is asked something else.
POT_TRIGGER = " Let's write a program."  # the released evaluation code; the default
POT_TRIGGER_PAPER = " Let's write a program to solve the problem"  # the paper's section 2.4
POT_TRIGGERS = {"code": POT_TRIGGER, "paper": POT_TRIGGER_PAPER}

# What the authors' `alpaca_mc` form writes into the response before the model does.
CHOICE_PREFILL = "Let's solve the multi-choice question step by step.\n"

ANSWER_TRIGGER = "The answer is "


def pot_instruction(instruction: str, trigger: str = POT_TRIGGER) -> str:
    """Return the instruction that asks for a program: the trigger follows the question directly."""
    return instruction + trigger


def alpaca(instruction: str) -> str:
    """Return the Alpaca prompt around an instruction; a rationale follows it without a space."""
    return ALPACA_HEADER + instruction + ALPACA_RESPONSE


def prompt(problem: Problem, kind: Kind, trigger: str = POT_TRIGGER, prefill: bool = True) -> str:
    """Return the prompt that asks for one kind of rationale; raise ValueError for an unknown kind.

    Args:
        problem: The problem; its options are part of the instruction.
        kind: ``"cot"`` asks for prose, ``"pot"`` adds the trigger.
        trigger: The PoT trigger with its leading space.
        prefill: Whether a multiple-choice prompt for ``"cot"`` ends in ``CHOICE_PREFILL``. The authors' runner adds it
            for both kinds, but a program cannot follow that sentence.
    """
    check_known("kind", kind, KINDS)
    instruction = problem.instruction if kind == "cot" else pot_instruction(problem.instruction, trigger)
    filled = alpaca(instruction)
    return filled + CHOICE_PREFILL if kind == "cot" and problem.options is not None and prefill else filled


# Styles: the ways in which models that were not trained on the template above are asked.

STYLE_VERSION = 1  # of every byte that the styles besides ``mammoth`` give a model, and of `text_to_grade`
MAMMOTH, CHAT_COT, CHAT_POT = "mammoth", "chat_cot", "chat_pot"
FEW_SHOT = ("cot_8shot", "pal_8shot")
STYLES = (MAMMOTH, CHAT_COT, CHAT_POT, *FEW_SHOT)
MAX_SHOTS = 8
# The paper's baselines (section 3.1): in domain the better of 8-shot and 0-shot, out of domain 5-shot. The better of
# two is taken on the test split itself, which favours the baseline; the tuned models are asked without examples.
BASELINE_SHOTS = {"in_domain": (8, 0), "out_of_domain": (5,)}

_STYLE_KINDS: dict[str, tuple[Kind, ...]] = {
    "mammoth": ("cot", "pot"), "chat_cot": ("cot",), "chat_pot": ("pot",), "cot_8shot": ("cot",), "pal_8shot": ("pot",),
}  # fmt: skip

# The published rule cuts a completion there, so what would follow is never read.
MAMMOTH_STOP = ("### Instruction",)
# By kind, and by whether the question has options.
CHAT_INSTRUCTIONS = {
    ("cot", False): (
        'Solve the problem step by step. End your reply with the sentence "The answer is X.", where X is the final '
        "answer alone."
    ),
    ("cot", True): (
        'Solve the problem step by step. End your reply with the sentence "The answer is X.", where X is the letter of '
        "the correct option alone."
    ),
    ("pot", False): (
        "Write one Python program that computes the answer and prints only the final answer with print(). The program "
        "may import math, numpy and sympy and reads no input. Reply with the program in one ```python code block, and "
        "do not show its output."
    ),
    ("pot", True): (
        "Write one Python program that computes the answer, compares it with the options, and prints only the letter "
        "of the correct option with print(). The program may import math, numpy and sympy and reads no input. Reply "
        "with the program in one ```python code block, and do not show its output."
    ),
}
# A chat model that goes on behind its program makes up what the program prints.
OUTPUT_FENCE = "```output"
_OUTPUT_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*output\b", re.MULTILINE | re.IGNORECASE)
_PAL_CALL = "print(solution())"


@dataclass(frozen=True)
class AskedPrompt:
    """A problem as a model is asked it.

    Attributes:
        style: One of ``STYLES``.
        text: The prompt; of a chat the user's one message.
        chat: Whether the model's own chat template goes around it.
        stop: Texts before the first of which the completion ends.
    """

    style: str
    text: str
    chat: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExemplarFile:
    """A public file that holds the worked examples of a published few-shot prompt; it is no part of the library.

    Attributes:
        name: Its place below the data folder.
        home: Where it is published, at a fixed commit.
        sha256: Of its content.
        source: The paper that the examples are from.
    """

    name: str
    home: str
    sha256: str
    source: str


_RAW = "https://raw.githubusercontent.com"
EXEMPLAR_FILES = {
    "gsm8k_cot": ExemplarFile(
        "prompts/gsm8k-cot.yaml",
        f"{_RAW}/EleutherAI/lm-evaluation-harness/4e7e0d47f33bc71070c1d38394bafbb52b117163/lm_eval/tasks/gsm8k/gsm8k-cot.yaml",
        "7c9dd2561fe334a55f62bdc6a876f045e6dc7f53714c7a9db506b89c6de6bc96",
        "Wei et al. 2022, Chain-of-Thought Prompting (arXiv 2201.11903): eight for GSM8K",
    ),
    # Of this file the four for AQuA alone. Those for SAT-Math are questions of the test split itself.
    "aqua_cot": ExemplarFile(
        "prompts/prompt_utils.py",
        f"{_RAW}/TIGER-AI-Lab/MAmmoTH2/9c67cb137b87e3c2f68ab412c6731b1f47a51b55/math_eval/prompt_utils.py",
        "a0c42552d930cd702d972d5c47fc9b910bcfce93938e3c2c70389b1d935d5be2",
        "Wei et al. 2022 (arXiv 2201.11903): four for AQuA, as MAmmoTH's authors write them: letters in capitals, and "
        "without the first word of the second solution",
    ),
    "gsm8k_pal": ExemplarFile(
        "prompts/math_prompts.py",
        f"{_RAW}/reasoning-machines/pal/f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02/pal/prompt/math_prompts.py",
        "95a2e69baff1f4fb05390bd67b45e04e0730dbf55149b59f378dde4c0718aa43",
        "Gao et al. 2022, PAL (arXiv 2211.10435): eight for GSM8K",
    ),
    "aqua_pal": ExemplarFile(
        "prompts/aqua.txt",
        f"{_RAW}/reasoning-machines/pal/f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02/datasets/aqua.txt",
        "9eca40bc49c8a1675cfe378e707e7d0068bbda0db87e32873f0132dc6c7f0238",
        "Gao et al. 2022 (arXiv 2211.10435): four for AQuA",
    ),
}


def build(
    problem: Problem, kind: str, styles: Sequence[str] = ("mammoth",), shots: int = MAX_SHOTS, prefill: bool = True
) -> AskedPrompt:
    """Return the prompt that asks a problem for one kind of rationale, in the one of the styles that asks for it.

    Args:
        problem: The problem. One with options is asked for a letter, but for ``pal_8shot``, whose programs return an
            option's value: the corrected rule matches it with the options, the published rule finds no letter.
        kind: ``"cot"`` or ``"pot"``.
        styles: From `parse_styles`.
        shots: Worked examples of a few-shot style, its first ones; a question with options has four at most.
        prefill: As in `prompt`, for ``mammoth``.

    Raises:
        ValueError: If the kind or a style is unknown, no style asks for that kind, or ``shots`` is not 0 to 8.
        FileNotFoundError: If the file of the worked examples is not in the data folder, naming its home.
    """
    style = style_for(styles, kind)
    choice = problem.options is not None
    if style == "mammoth":
        return AskedPrompt(style, prompt(problem, kind, prefill=prefill), stop=MAMMOTH_STOP)
    if style in ("chat_cot", "chat_pot"):
        text = f"{problem.instruction}\n\n{CHAT_INSTRUCTIONS[kind, choice]}"
        return AskedPrompt(style, text, chat=True, stop=(OUTPUT_FENCE,) if kind == "pot" else ())
    if not 0 <= shots <= MAX_SHOTS:
        raise ValueError(f"expected 0 to {MAX_SHOTS} worked examples, got {shots}")
    form = _FEW_SHOT[style, choice]
    examples = _exemplars(form)[:shots] if shots else ()
    return AskedPrompt(style, form.separator.join((*examples, form.question(problem))), stop=form.stop)


def text_to_grade(style: str, completion: str) -> str:
    """Return what the graders read of a completion.

    Of ``chat_pot`` this ends before the first fence named ``output``: what it shows was made up, as no program had run.
    Of ``pal_8shot`` the answer is what ``solution()`` returns, so a call that prints it is added: the published rule
    runs nothing without ``print(``. Any other style's completion is read as it is.
    """
    check_known("prompt style", style, STYLES)
    if style == "chat_pot":
        fence = _OUTPUT_FENCE.search(completion)
        return completion[: fence.start()] if fence else completion
    if style == "pal_8shot" and re.search(r"^def solution\(", completion, re.MULTILINE) and _PAL_CALL not in completion:
        return f"{completion.rstrip()}\n{_PAL_CALL}"
    return completion


def parse_styles(text: str) -> tuple[str, ...]:
    """Return the styles that a parameter names, such as ``chat_cot+chat_pot``, in the order of ``STYLES``.

    Raises:
        ValueError: If one is unknown, or two ask for the same kind.
    """
    styles = [name.strip() for name in text.split("+")]
    for style in styles:
        check_known("prompt style", style, STYLES)
    kinds = [kind for style in styles for kind in _STYLE_KINDS[style]]
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise ValueError(
            f"prompt styles {text!r}: more than one asks for {twice}; name at most one of "
            + ", ".join(_styles_that_ask_for(twice))
        )
    return tuple(style for style in STYLES if style in styles)


def has_examples(styles: Sequence[str]) -> bool:
    """Return whether one of the styles is asked with worked examples."""
    return not set(FEW_SHOT).isdisjoint(styles)


def kinds_of(styles: Sequence[str]) -> tuple[Kind, ...]:
    """Return the kinds of rationale that the styles can ask for."""
    for style in styles:
        check_known("prompt style", style, STYLES)
    return tuple(kind for kind in ("cot", "pot") if any(kind in _STYLE_KINDS[style] for style in styles))


def style_for(styles: Sequence[str], kind: str) -> str:
    """Return the style that asks for a kind; raise ValueError if none does, naming those that would."""
    check_known("kind", kind, KINDS)
    for style in styles:
        check_known("prompt style", style, STYLES)
        if kind in _STYLE_KINDS[style]:
            return style
    known = ", ".join(_styles_that_ask_for(kind))
    raise ValueError(f"prompt style {'+'.join(styles) or 'none'} does not ask for {kind}; those that do: {known}")


def _styles_that_ask_for(kind: str) -> list[str]:
    return [style for style in STYLES if kind in _STYLE_KINDS[style]]


def exemplar_text(file: ExemplarFile) -> str:
    """Return the text of a file of worked examples, read from ``paths.data()``.

    Raises:
        FileNotFoundError: If it is not there, naming its home.
        ValueError: If it is another file than the one at its home.
    """
    folder = paths.data()
    place = folder / file.name if folder is not None else None
    if place is None or not place.is_file():
        raise FileNotFoundError(
            f"expected worked examples ({file.source}) in {place or f'data/{file.name}'}, which is not there; `make "
            f"data` fetches it from {file.home}; or ask without examples (shots=0)"
        )
    content = place.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise ValueError(f"{place}: expected the file {file.home} with SHA-256 {file.sha256}, got {found}")
    return content.decode("utf8")


@dataclass(frozen=True)
class _FewShot:
    """A published few-shot prompt: its file, how the examples are read there, and how the question follows them."""

    file: str
    read: Callable[[str], tuple[str, ...]]
    separator: str
    question: Callable[[Problem], str]
    stop: tuple[str, ...]


@lru_cache
def _examples_in(text: str, read: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    return read(text)


def _exemplars(form: _FewShot) -> tuple[str, ...]:
    return _examples_in(exemplar_text(EXEMPLAR_FILES[form.file]), form.read)


def _questions_and_answers(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"Q: {question}\nA: {answer}" for question, answer in pairs)


def _read_gsm8k_cot(text: str) -> tuple[str, ...]:
    samples = yaml.safe_load(text)["fewshot_config"]["samples"]
    return _questions_and_answers((sample["question"], sample["target"]) for sample in samples)


def _read_aqua_cot(text: str) -> tuple[str, ...]:
    return _questions_and_answers(ast.literal_eval(_assigned(text, "examples['aqua']")))


def _read_gsm8k_pal(text: str) -> tuple[str, ...]:
    """Return the examples of PAL's template, whose last part is the form of the question."""
    parts = [node.value for node in ast.walk(_assigned(text, "MATH_PROMPT")) if isinstance(node, ast.Constant)]
    return tuple(max(parts, key=len).strip().split(_PAL_SEPARATOR)[:-1])


def _read_aqua_pal(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"^(?=Question: )", text, flags=re.MULTILINE) if part.strip())


def _assigned(text: str, target: str) -> ast.expr:
    """Return the expression that a Python file assigns to a name; nothing of the file is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of LaTeX in strings
        tree = ast.parse(text)
    return next(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == target
    )


def _pal_choice_question(problem: Problem) -> str:
    letters = LETTERS.lower()
    options = "\n".join(f"({letter}) {text}" for letter, text in zip(letters, problem.options or (), strict=False))
    return f"Question: {problem.question}\nAnswer Choices:\n{options}\n\n# solution using Python:\n\n"


def _cot_question(problem: Problem) -> str:
    return f"Q: {problem.instruction}\nA:"


def _pal_question(problem: Problem) -> str:
    return f"Q: {problem.question}\n\n# solution in Python:\n\n\n"


_PAL_SEPARATOR = "\n" * 6
# A line that begins with "Q:" is the model's own next question. lm-evaluation-harness stops at "Q:" anywhere, which
# would cut a ratio P:Q:R. PAL stops at two empty lines; a model may write its next question after one.
_FEW_SHOT = {
    ("cot_8shot", False): _FewShot("gsm8k_cot", _read_gsm8k_cot, "\n\n", _cot_question, ("\nQ:",)),
    ("cot_8shot", True): _FewShot("aqua_cot", _read_aqua_cot, "\n\n", _cot_question, ("\nQ:",)),
    ("pal_8shot", False): _FewShot("gsm8k_pal", _read_gsm8k_pal, _PAL_SEPARATOR, _pal_question, ("\n\n\n", "\nQ:")),
    ("pal_8shot", True): _FewShot(
        "aqua_pal", _read_aqua_pal, "\n\n\n", _pal_choice_question, ("\n\n\n", "\nQuestion:")
    ),
}
