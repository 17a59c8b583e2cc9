"""The thirteen sources of the miniature, named after Table 1's, in rough proportion to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from random import Random

from mammoth_utils.miniature import benchmarks
from mammoth_utils.miniature.benchmarks import EXAM, FORMAL, LOGIC_FORMAL, LOGIC_STORY, RETOLD, STORY, Cells, cells
from mammoth_utils.miniature.families.logic import DAYS
from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.miniature.problems import FACT_SHARE, WORLD, MiniProblem, draw_many
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import Kind, Problem, Rationale


@dataclass(frozen=True)
class MiniSource:
    """One source of the miniature's MathInstruct.

    Attributes:
        name: ``mini-GSM8K (CoT)`` ...
        paper_name: The source of Table 1 that it is named after.
        kind: ``cot`` or ``pot``.
        author: Who wrote its rationales, in Table 1's words.
        validated: Whether its wrong rationales were removed by its authors.
        new: Whether it is one of the paper's six new subsets.
        count: Rows before any filter.
        cells: Families and styles of its problems.
        choice: Share of its problems that offer options.
        wrong_share: Share of its rationales that are wrong, which is known here.
        asks_teacher: Whether its rationales come from the teacher rather than being loaded.
        pool: Sources with the same pool share problems (GSM8K's three are about the same questions).
        per_problem: Rows for one problem (rejection sampling keeps several).
        leaked: Rows whose question is in a benchmark, for the decontamination to find.
    """

    name: str
    paper_name: str
    kind: Kind
    author: str
    validated: bool
    new: bool
    count: int
    cells: Cells
    choice: float = 0.0
    wrong_share: float = 0.0
    asks_teacher: bool = False
    pool: str = ""
    per_problem: int = 1
    leaked: int = 0

    @property
    def field(self) -> str:
        """Return the fields of mathematics of its problems, separated by commas."""
        return ", ".join(dict.fromkeys(FAMILIES[family].field for family, _ in self.cells))


BARE = cells("bare", "gain linear three gcd remainder groups big_sum squares gain_loss series percent loss share")
PAIRS = (*cells("retold", "pair_large pair_small"), *cells("retold", "pair_large"))
CAMEL = (
    *LOGIC_STORY,
    *LOGIC_FORMAL,
    *cells("formal", "three groups share"),
    *cells("bare", "gain loss gain_loss"),
    *cells("retold", "gain loss three pair_small"),
)
COLLEGE = (*LOGIC_FORMAL, *cells("formal", "squares share gain"))
THEOREM = (*cells("formal", "gcd choose series remainder"), *cells("formal", "cyclic"))
THEOREM_POT = cells("formal", "gcd choose series remainder squares")
AQUA = (*EXAM, *LOGIC_STORY, *LOGIC_STORY)

_ALL = (
    MiniSource("mini-GSM8K (CoT)", "GSM8K", "cot", "Human", True, False, 300, STORY, pool="gsm8k"),
    MiniSource("mini-GSM8K-RFT (CoT)", "GSM8K-RFT", "cot", "Llama", True, False, 600, STORY, pool="gsm8k",
               per_problem=2),
    MiniSource("mini-AQuA-RAT (CoT)", "AQuA-RAT", "cot", "Human", True, False, 1400, AQUA, choice=1.0, pool="aqua"),
    MiniSource("mini-MATH (CoT)", "MATH", "cot", "Human", True, False, 360, FORMAL, pool="math"),
    MiniSource("mini-TheoremQA (CoT)", "TheoremQA", "cot", "GPT-4", True, True, 50, THEOREM, pool="theoremqa"),
    MiniSource("mini-Camel-Math (CoT)", "Camel-Math", "cot", "GPT-4", False, False, 1200, CAMEL, wrong_share=0.1),
    MiniSource("mini-College-Math (CoT)", "College-Math", "cot", "GPT-4", False, True, 180, COLLEGE, choice=1.0,
               wrong_share=0.1),
    MiniSource("mini-GSM8K (PoT)", "GSM8K", "pot", "GPT-4", True, True, 460, STORY, asks_teacher=True, pool="gsm8k"),
    MiniSource("mini-AQuA-RAT (PoT)", "AQuA-RAT", "pot", "GPT-4", True, True, 300, EXAM, choice=1.0, asks_teacher=True),
    MiniSource("mini-MATH (PoT)", "MATH", "pot", "GPT-4", True, True, 520, (*FORMAL, *BARE), asks_teacher=True,
               pool="math-pot"),
    MiniSource("mini-TheoremQA (PoT)", "TheoremQA", "pot", "GPT-4", True, True, 50, THEOREM_POT, asks_teacher=True),
    MiniSource("mini-MathQA (PoT)", "MathQA", "pot", "Human", True, False, 460, (*EXAM, *cells("exam", "pair_large"))),
    MiniSource("mini-NumGLUE (PoT)", "NumGLUE", "pot", "Human", True, False, 420, (*RETOLD, *PAIRS), leaked=12),
)  # fmt: skip
SOURCES: dict[str, MiniSource] = {source.name: source for source in _ALL}


def source(name: str) -> MiniSource:
    """Return a source by name; raise ValueError with the choices if there is none."""
    if name not in SOURCES:
        raise ValueError(f"unknown source {name!r}; known: {', '.join(SOURCES)}")
    return SOURCES[name]


@cache
def truths(name: str) -> tuple[MiniProblem, ...]:
    """Return the problems of a source with their true rationales in a fixed order, leaked ones last."""
    entry = source(name)
    pool = entry.pool or entry.name
    fresh = entry.count // entry.per_problem - entry.leaked
    choices = round(fresh * entry.choice)
    common = {"fact": "training", "fact_share": FACT_SHARE, "set": entry.name, "avoid": benchmarks.questions()}
    drawn = list(draw_many(fresh - choices, entry.cells, f"source/{pool}", **common))
    drawn += draw_many(choices, entry.cells, f"source/{pool}/choice", choice=True, **common)
    if entry.leaked:
        tested = [true for true in benchmarks.truths(f"mini-{entry.paper_name.lower()}", "test") if true.pot]
        drawn += Random(f"{WORLD['seed']}/leak/{name}").sample(tested, entry.leaked)
    return tuple(drawn)


def load(name: str) -> list[Rationale]:
    """Return the rationales of a source that is loaded, not asked of the teacher; raise ValueError for any other.

    Of an unvalidated source, a share of ``wrong_share`` ends with a wrong answer.
    """
    entry = source(name)
    if entry.asks_teacher:
        raise ValueError(f"the rationales of {name!r} are asked of the teacher; its problems: unsolved({name!r})")
    rng = Random(f"{WORLD['seed']}/rationales/{name}")
    rows = []
    for number, true in enumerate(truths(name)):
        for copy in range(entry.per_problem):
            text = true.cot if entry.kind == "cot" else true.pot
            if text is None:
                raise ValueError(f"{true.problem.id} has no {entry.kind} rationale")
            if entry.per_problem > 1:
                # As rejection sampling finds it: another correct rationale, here with another opening remark.
                text = f"{('We get this.', 'Step by step.', 'Let us see.')[copy % 3]} {text}"
            if rng.random() < entry.wrong_share:
                text = spoiled(text, rng)
            history = {"loaded": entry.name, "row": number * entry.per_problem + copy}
            rows.append(Rationale(true.problem, entry.kind, text, entry.name, entry.author, history))
    return rows


def unsolved(name: str) -> list[Problem]:
    """Return the problems whose programs are asked of the teacher; raise ValueError for another or unknown source."""
    entry = source(name)
    if not entry.asks_teacher:
        raise ValueError(f"the rationales of {name!r} are loaded, not asked of the teacher: load({name!r})")
    return [true.problem for true in truths(name)]


@cache
def _index() -> dict[str, MiniProblem]:
    return {true.problem.instruction: true for name in SOURCES for true in truths(name)}


def truth(instruction: str) -> MiniProblem | None:
    """Return the problem of an instruction with its true rationales, or None; a PoT trigger at its end is ignored."""
    return _index().get(instruction.removesuffix(POT_TRIGGER))


def is_right(rationale: Rationale) -> bool:
    """Return whether a loaded rationale reaches the gold."""
    true = truth(rationale.problem.instruction)
    closing = re.search(r"The answer is (.+)\.$", rationale.text)
    if true is None:
        raise ValueError(f"{rationale.problem.id} is not a problem of the miniature's sources")
    return rationale.text == true.pot if closing is None else closing.group(1) == true.problem.gold


def spoiled(text: str, rng: Random) -> str:
    """Return prose that ends with a wrong number, day or letter."""
    head, trigger, answer = text.rpartition("The answer is ")
    answer = answer.rstrip(".")
    if answer.isdigit():
        wrong = str(int(answer) + rng.choice((1, 2, 3, 10)))
    elif len(answer) == 1:
        wrong = rng.choice([letter for letter in "ABCDE" if letter != answer])
    else:
        wrong = rng.choice([day for day in DAYS if day != answer])
    return f"{head}{trigger}{wrong}."
