"""The thirteen sources of the miniature, named after Table 1's, in rough proportion to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from mammoth_utils.miniature import benchmarks
from mammoth_utils.miniature.benchmarks import (
    AQUA,
    BARE,
    EXAM,
    FORMAL,
    LOGIC,
    LOGIC_FORMAL,
    LOGIC_STORY,
    MATH,
    PAIRS,
    RETOLD,
    STORY,
    Cells,
    cells,
)
from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.miniature.problems import FACT_SHARE, WORLD, MiniProblem, draw_many
from mammoth_utils.miniature.worlds import MINIATURE, WORLDS
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import LETTERS, Kind, Problem, Rationale
from mammoth_utils.vocabulary import check_known


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


def with_program(chosen: Cells) -> Cells:
    """Return the cells for whose families the miniature's sources have programs."""
    return tuple((family, style) for family, style in chosen if FAMILIES[family].size != "logic")


CAMEL = (
    *cells("formal", LOGIC),
    *cells("story", "rooms clock symmetry affine"),
    *cells("bare", "gain loss gain_loss groups doubled missing"),
    *cells("retold", "gain_loss three halves pair_legs pair_less"),
)
COLLEGE = (*LOGIC_FORMAL, *cells("formal", "gain groups three term angle perimeter union derivative"))
THEOREM = cells("formal", "derivative integral peak slope choose series remainder next_prime cyclic symmetry")

_ALL = (
    MiniSource("mini-GSM8K (CoT)", "GSM8K", "cot", "Human", True, False, 800, STORY, pool="gsm8k"),
    MiniSource("mini-GSM8K-RFT (CoT)", "GSM8K-RFT", "cot", "Llama", True, False, 1600, STORY, pool="gsm8k",
               per_problem=2),
    MiniSource("mini-AQuA-RAT (CoT)", "AQuA-RAT", "cot", "Human", True, False, 1400, AQUA, choice=1.0, pool="aqua"),
    MiniSource("mini-MATH (CoT)", "MATH", "cot", "Human", True, False, 500, MATH, pool="math"),
    MiniSource("mini-TheoremQA (CoT)", "TheoremQA", "cot", "GPT-4", True, True, 100, THEOREM, pool="theoremqa"),
    MiniSource("mini-Camel-Math (CoT)", "Camel-Math", "cot", "GPT-4", False, False, 900, CAMEL, wrong_share=0.1),
    MiniSource("mini-College-Math (CoT)", "College-Math", "cot", "GPT-4", False, True, 300, COLLEGE, choice=1.0,
               wrong_share=0.1),
    MiniSource("mini-GSM8K (PoT)", "GSM8K", "pot", "GPT-4", True, True, 650, STORY, asks_teacher=True, pool="gsm8k"),
    MiniSource("mini-AQuA-RAT (PoT)", "AQuA-RAT", "pot", "GPT-4", True, True, 400, EXAM, choice=1.0, asks_teacher=True),
    MiniSource("mini-MATH (PoT)", "MATH", "pot", "GPT-4", True, True, 1000, (*FORMAL, *BARE), asks_teacher=True,
               pool="math-pot"),
    MiniSource("mini-TheoremQA (PoT)", "TheoremQA", "pot", "GPT-4", True, True, 150, with_program(THEOREM),
               asks_teacher=True),
    MiniSource("mini-MathQA (PoT)", "MathQA", "pot", "Human", True, False, 650,
               (*EXAM, *cells("exam", "discount interest triangle outfits"),
                *cells("exam", "pair_large pair_coins pair_product pair_system"))),
    MiniSource("mini-NumGLUE (PoT)", "NumGLUE", "pot", "Human", True, False, 650,
               (*RETOLD, *cells("retold", "pair_large pair_system")), leaked=12),
)  # fmt: skip
SOURCES: dict[str, MiniSource] = {source.name: source for source in _ALL}
TOLD_CHOICES = 0.4
EVERYTHING = (*STORY, *RETOLD, *EXAM, *FORMAL, *BARE, *CAMEL, *THEOREM, *LOGIC_STORY, *(
    cell for style in ("retold", "exam", "formal") for cell in cells(style, PAIRS)
))  # fmt: skip


def source(name: str, world: str = MINIATURE) -> MiniSource:
    """Return a source by name as it is in a world; raise ValueError with the choices if there is none."""
    check_known("source", name, tuple(SOURCES))
    check_known("world", world, tuple(WORLDS))
    entry, there = SOURCES[name], WORLDS[world]
    if there.one_family:
        return replace(entry, cells=STORY, choice=0.0, leaked=0)
    if there.told_specialists and entry.paper_name in ("GSM8K", "GSM8K-RFT", "MATH"):
        every = EVERYTHING if entry.kind == "cot" else with_program(EVERYTHING)
        return replace(entry, cells=every, choice=TOLD_CHOICES)
    if there.logic_programs and entry.name in ("mini-AQuA-RAT (PoT)", "mini-MATH (PoT)"):
        logic = LOGIC_STORY if entry.choice else LOGIC_FORMAL
        return replace(entry, cells=(*entry.cells, *logic), count=2 * entry.count)
    return entry


@cache
def truths(name: str, world: str = MINIATURE) -> tuple[MiniProblem, ...]:
    """Return the problems of a source with their true rationales in a fixed order, leaked ones last."""
    entry = source(name, world)
    pool = entry.pool or entry.name
    fresh = entry.count // entry.per_problem - entry.leaked
    choices = round(fresh * entry.choice)
    common = {
        "fact": "training", "fact_share": FACT_SHARE, "set": entry.name,
        "logic_programs": WORLDS[world].logic_programs,
    }  # fmt: skip
    drawn = list(draw_many(fresh - choices, entry.cells, f"source/{pool}", **common))
    drawn += draw_many(choices, entry.cells, f"source/{pool}/choice", choice=True, **common)
    if entry.leaked:
        tested = [true for true in benchmarks.truths(f"mini-{entry.paper_name.lower()}", "test") if true.pot]
        drawn += Random(f"{WORLD['seed']}/leak/{name}").sample(tested, entry.leaked)
    return tuple(drawn)


def load(name: str, world: str = MINIATURE) -> list[Rationale]:
    """Return the rationales of a source that is loaded, not asked of the teacher; raise ValueError for any other.

    Of an unvalidated source, a share of ``wrong_share`` ends with a wrong answer.
    """
    entry = source(name, world)
    if entry.asks_teacher:
        raise ValueError(f"the rationales of {name!r} are asked of the teacher; its problems: unsolved({name!r})")
    rng = Random(f"{WORLD['seed']}/rationales/{name}")
    rows = []
    for number, true in enumerate(truths(name, world)):
        for copy in range(entry.per_problem):
            text = true.cot if entry.kind == "cot" else true.pot
            if text is None:
                raise ValueError(f"{true.problem.id} has no {entry.kind} rationale")
            if entry.per_problem > 1:
                # As rejection sampling finds it: another correct rationale, here with another opening remark.
                text = f"{('We get this.', 'Step by step.', 'Let us see.')[copy % 3]} {text}"
            if rng.random() < entry.wrong_share:
                text = spoiled(true, text, rng)
            history = {"loaded": entry.name, "row": number * entry.per_problem + copy}
            rows.append(Rationale(true.problem, entry.kind, text, entry.name, entry.author, history))
    return rows


def unsolved(name: str, world: str = MINIATURE) -> list[Problem]:
    """Return the problems whose programs are asked of the teacher; raise ValueError for another or unknown source."""
    if not source(name, world).asks_teacher:
        raise ValueError(f"the rationales of {name!r} are loaded, not asked of the teacher: load({name!r})")
    return [true.problem for true in truths(name, world)]


@cache
def _index(world: str) -> dict[str, MiniProblem]:
    return {true.problem.instruction: true for name in SOURCES for true in truths(name, world)}


def truth(instruction: str, world: str = MINIATURE) -> MiniProblem | None:
    """Return the problem of an instruction with its true rationales, or None; a PoT trigger at its end is ignored."""
    return _index(world).get(instruction.removesuffix(POT_TRIGGER))


def is_right(rationale: Rationale, world: str = MINIATURE) -> bool:
    """Return whether a loaded rationale reaches the gold."""
    true = truth(rationale.problem.instruction, world)
    closing = re.search(r"The answer is (.+)\.$", rationale.text)
    if true is None:
        raise ValueError(f"{rationale.problem.id} is not a problem of the sources of {world}")
    return rationale.text == true.pot if closing is None else closing.group(1) == true.problem.gold


def spoiled(true: MiniProblem, text: str, rng: Random) -> str:
    """Return the prose of a problem with a wrong answer at its end: another letter, another state, or a near number."""
    head, trigger, answer = text.rpartition("The answer is ")
    answer = answer.rstrip(".")
    others = LETTERS[:5] if true.problem.options else FAMILIES[true.problem.family].answers
    wrong = rng.choice([other for other in others if other != answer] or [int(answer) + rng.choice((1, 2, 3, 10))])
    return f"{head}{trigger}{wrong}."
