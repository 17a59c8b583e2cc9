"""The nine benchmarks of the miniature: four in domain, five out of domain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.miniature.problems import MiniProblem, draw_many
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import check_known

SPLITS = ("test", "dev")
COUNT = 200

Cells = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MiniBenchmark:
    """One evaluation set.

    Attributes:
        name: ``mini-gsm8k`` ...
        paper_name: The set that it is named after.
        in_domain: Whether sources have the same families, styles and ranges.
        choice: Whether five options are offered; guessing then earns 0.2.
        cells: Families and styles from which its problems are drawn in turn.
        wide: Factor on the number ranges of the sources.
        fact: Wordings of an unrelated sentence in front, ``"training"`` or ``"test"``.
        fact_share: Share of the problems that have one.
        differs: How it differs from the sources, in a sentence.
    """

    name: str
    paper_name: str
    in_domain: bool
    choice: bool
    cells: Cells
    wide: float = 1.0
    fact: str = ""
    fact_share: float = 0.0
    differs: str = ""


def cells(style: str, families: str) -> Cells:
    """Return pairs of family and style, from family names separated by spaces, each once or several times."""
    pairs = tuple((family, style) for family in families.split())
    for family, _ in pairs:
        if style not in FAMILIES[family].wordings:
            raise ValueError(f"family {family!r} has no style {style!r}")
    return pairs


SMALL = "gain loss groups share gain_loss three missing doubled share_rest packs halves"
LOGIC = "rooms weekday months notes queue pile lamps cyclic clock units affine symmetry"

STORY = (
    *cells("story", f"{SMALL} big_sum big_loss change revenue percent two_kinds distance minutes"),
    *cells("retold", "gain loss groups share three packs wages discount"),
    *cells("exam", "gain_loss halves doubled missing"),
)
RETOLD = cells(
    "retold",
    "gain loss groups share three missing packs unit_price big_sum average change revenue two_kinds remainder interest "
    "outfits chance_percent union neither pair_small pair_times pair_ages pair_coins",
)
EXAM = cells("exam", f"{SMALL} big_loss average revenue percent linear box angle perimeter union pair_less pair_legs")
FORMAL = cells(
    "formal",
    "share three doubled remainder gcd lcm power_mod multiples digit_sum linear polynomial quadratic term root squares "
    "angle perimeter box frame triangle hypotenuse choose series handshakes union expected next_prime",
)
BARE = cells("bare", f"{SMALL} big_sum percent remainder gcd squares linear polynomial power_mod series choose")
PAIRS = "pair_small pair_less pair_times pair_ages pair_legs pair_coins pair_large pair_system pair_product"
LOGIC_STORY = cells("story", LOGIC)
LOGIC_FORMAL = cells("formal", LOGIC)
AQUA = (*EXAM, *LOGIC_STORY)
MATH = (*FORMAL, *cells("formal", "cyclic clock units affine"))

_ALL = (
    MiniBenchmark("mini-gsm8k", "GSM8K", True, False, STORY, fact="training", fact_share=0.25),
    MiniBenchmark("mini-math", "MATH", True, False, MATH),
    MiniBenchmark("mini-aqua", "AQuA-RAT", True, True, AQUA),
    MiniBenchmark("mini-numglue", "NumGLUE", True, False, RETOLD, fact="training", fact_share=0.25),
    MiniBenchmark(
        "mini-svamp", "SVAMP", False, False,
        (*cells("story", SMALL), *cells("retold", "loss gain_loss three share big_sum missing")),
        fact="test", fact_share=0.75,
        differs="three of four questions open with a fact that has nothing to do with them",
    ),
    MiniBenchmark(
        "mini-mathematics", "Mathematics", False, False, BARE,
        wide=2.0, differs="bare symbols, numbers up to twice as large",
    ),
    MiniBenchmark(
        "mini-simuleq", "SimulEq", False, False,
        (*cells("retold", PAIRS), *cells("exam", PAIRS), *cells("formal", PAIRS)),
        wide=1.5, differs="two unknowns, numbers up to 1.5 times as large",
    ),
    MiniBenchmark(
        "mini-sat", "SAT-Math", False, True,
        (*cells("formal", "three groups linear share average term root angle perimeter percent union pair_small"),
         *cells("bare", "gain loss groups doubled linear")),
        wide=1.5, differs="textbook wordings as multiple choice, numbers up to 1.5 times as large",
    ),
    MiniBenchmark(
        "mini-mmlu", "MMLU-Math", False, True,
        (*LOGIC_FORMAL, *cells("formal", "gain share groups three squares remainder choose"),
         *cells("formal", "derivative slope integral peak")),
        wide=1.25, differs="logic and abstract algebra in textbook wordings as multiple choice, longer walks",
    ),
)  # fmt: skip
BENCHMARKS: dict[str, MiniBenchmark] = {benchmark.name: benchmark for benchmark in _ALL}


@cache
def truths(name: str, split: str = "test") -> tuple[MiniProblem, ...]:
    """Return the problems of a benchmark with their true rationales; raise ValueError if it or the split is unknown.

    ``dev`` has a seed of its own and shares no problem with ``test``; world, base models and recipes are chosen on it
    only.
    """
    check_known("benchmark", name, tuple(BENCHMARKS))
    check_known("split", split, SPLITS)
    benchmark = BENCHMARKS[name]
    avoid = [] if split == "test" else [problem.problem.instruction for problem in truths(name, "test")]
    drawn = draw_many(
        COUNT, benchmark.cells, f"benchmark/{name}/{split}", wide=benchmark.wide, fact=benchmark.fact,
        fact_share=benchmark.fact_share, choice=benchmark.choice, set=f"{name}/{split}", reserved=True, avoid=avoid,
    )  # fmt: skip
    return tuple(drawn)


def load(name: str, split: str = "test") -> list[Problem]:
    """Return the problems of a benchmark."""
    return [true.problem for true in truths(name, split)]


@cache
def questions() -> frozenset[str]:
    """Return every question and instruction of every benchmark and split, which no source and base model may hold."""
    everything = (true.problem for name in BENCHMARKS for split in SPLITS for true in truths(name, split))
    return frozenset(text for problem in everything for text in (problem.question, problem.instruction))
