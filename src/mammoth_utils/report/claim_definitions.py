"""The nine claims as data, written down before anything was measured, with the paper's own figures for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.report import measured_models, published
from mammoth_utils.report.measured_models import PROGRAM_FIRST, DecodedModel, Seeds
from mammoth_utils.report.statistics import Sample
from mammoth_utils.vocabulary import EQUAL_STEPS, PROMPT_CHOICE, UNTUNED

LOGIC = ("logic", "abstract algebra")

HYBRID = DecodedModel("1m", "llama", "hybrid")
HYBRID_COT, HYBRID_POT = (DecodedModel("1m", "llama", "hybrid", decoding) for decoding in ("cot", "pot"))
HYBRID_V3 = DecodedModel("1m", "llama", "hybrid", PROGRAM_FIRST)
COT, POT = (DecodedModel("1m", "llama", kind, kind) for kind in ("cot", "pot"))
BASE = DecodedModel("1m", "llama", UNTUNED)
CODER, LARGER = DecodedModel("1m", "coder", "hybrid"), DecodedModel("3m", "llama", "hybrid")
GROWING = tuple(DecodedModel("1m", "llama", mixture) for mixture in ("G", "G+M", "G+M+C", "G+M+C+A"))
UNFILTERED = DecodedModel("1m", "llama", "unfiltered")
# The stand-ins of earlier fine-tuned models. The reference for every set is the better of the two on the nine-set
# average of the development split.
SPECIALISTS = tuple(DecodedModel("1m", "llama", mixture, "cot") for mixture in ("G-cot", "G+M-cot"))
SPECIALIST = SPECIALISTS[1]

ALL: Mapping[str, Any] = {}
IN, OUT = {"in_domain": True}, {"in_domain": False}
NUMERIC = {"choice": False, "not_fields": LOGIC}
REASONING = {"fields": LOGIC}
OWN = {"benchmarks": ("mini-gsm8k",)}


@dataclass(frozen=True)
class Part:
    """A weighted sum of accuracies that, by the claim, lies above a margin.

    Attributes:
        terms: Factor, model, and the items of it (arguments of :func:`measured_models.sample`).
        margin: As a fraction.
        says: What holds if it lies above, to be followed by "by so many points"; empty for a step.
        log_odds: Whether the log-odds of the accuracies are summed.
    """

    name: str
    terms: tuple[tuple[float, DecodedModel, Mapping[str, Any]], ...]
    margin: float = 0.0
    says: str = ""
    log_odds: bool = False

    @property
    def models(self) -> tuple[DecodedModel, ...]:
        """The models of its terms, each once."""
        return tuple(dict.fromkeys(model for _, model, _ in self.terms))

    def samples(self, measured: Mapping[DecodedModel, Seeds], rule: str) -> list[tuple[float, Sample]]:
        """Return its terms with their verdicts under a rule; raise ValueError if a record holds none of the items."""
        found = []
        for factor, model, items in self.terms:
            sample = measured_models.sample(measured[model], rule=rule, **items)
            if sample is None:
                raise ValueError(f"{self.name!r} needs items of {dict(items)}; the records of {model.label} hold none")
            found.append((factor, sample))
        return found


def models_of(parts: Iterable[Part]) -> tuple[DecodedModel, ...]:
    """Return the models of parts, each once."""
    return tuple(dict.fromkeys(model for part in parts for model in part.models))


def difference(
    name: str, first: DecodedModel, second: DecodedModel, items: Mapping[str, Any] = ALL, margin: float = 0.0,
    says: str = "",
) -> Part:  # fmt: skip
    """Return the part that compares two models on the same items: the first less the second."""
    return Part(name, ((1.0, first, items), (-1.0, second, items)), margin, says)


@dataclass(frozen=True)
class CounterWorld:
    """A world in which a claim must fail, or else the miniature does not test it.

    Attributes:
        variant: Of its models, such as ``logic-programs``; the data set is ``miniature-`` and this.
        differs: What it has otherwise, to follow "where".
        parts: The claim's parts that it turns, with its models.
    """

    variant: str
    differs: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper (C8: of this book), as it was written down before anything was measured.

    Attributes:
        id: ``C1`` to ``C9``.
        formula: The comparison in words, with the averages named.
        built_in: The part of the outcome that the miniature's construction settles, whatever the model.
        parts: The differences that decide.
        steps: Differences that are reported beside them and decide nothing.
        counter: The world in which it must fail, for claims on whose outcome the construction weighs most.
    """

    id: str
    statement: str
    formula: str
    built_in: str
    parts: tuple[Part, ...]
    steps: tuple[Part, ...] = ()
    command: str = "make book"
    counter: CounterWorld | None = None

    @property
    def needs(self) -> tuple[DecodedModel, ...]:
        """The models without which it has no verdict."""
        return models_of(self.parts)


def at_equal_steps(model: DecodedModel) -> DecodedModel:
    """Return the control of a model that is trained for as many steps as the hybrid."""
    return replace(model, variant=EQUAL_STEPS)


def _equal_steps(name: str, first: DecodedModel, second: DecodedModel, items: Mapping[str, Any] = ALL) -> Part:
    return difference(f"{name} at equal steps", first, at_equal_steps(second), items)


def _in(model: DecodedModel, variant: str) -> DecodedModel:
    return replace(model, variant=variant)


def _gain_part(model: DecodedModel, reference: DecodedModel, says: str = "", log_odds: bool = False) -> Part:
    """Return the gain over a reference out of domain less that in domain."""
    terms = ((1, model, OUT), (-1, reference, OUT), (-1, model, IN), (1, reference, IN))
    name = "gain out of domain - gain in domain" + (", log-odds" if log_odds else "")
    return Part(name, terms, says=says, log_odds=log_odds)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1", "Hybrid beats PoT only, and PoT only beats CoT only, on the average of nine sets.",
        "nine-set average: hybrid model (hybrid decoding) - PoT model (PoT) > 0 and PoT model - CoT model (CoT) > 0, "
        "at equal epochs",
        "Half of the numeric problems have products that a model of this size cannot do in prose, which favours PoT; "
        "logic and abstract algebra have no program, which favours the hybrid. The hybrid mixture has more rows.",
        (
            difference("hybrid - PoT only", HYBRID, POT, says="hybrid training beats programs alone"),
            difference("PoT only - CoT only", POT, COT, says="programs alone beat prose alone"),
        ),
        (
            difference("hybrid, program first on every question - PoT only", HYBRID_V3, POT),
            _equal_steps("hybrid - PoT only", HYBRID, POT), _equal_steps("hybrid - CoT only", HYBRID, COT),
            difference("hybrid - untuned base", HYBRID, BASE),
        ),
    ),
    Claim(
        "C2", "PoT beats CoT on open numeric questions, and CoT beats PoT on logic and abstract algebra.",
        "models trained on one kind: PoT - CoT on open numeric questions > 0, CoT - PoT on logic and abstract algebra "
        "> 0; the hybrid model's two decodings are reported beside them",
        "No source has a program for logic or abstract algebra, so PoT never learns to answer there; numbers are large "
        "enough that arithmetic in prose is hard.",
        (
            difference("open numeric: PoT only - CoT only", POT, COT, NUMERIC,
                       says="programs beat prose on open numeric questions"),
            difference("logic and abstract algebra: CoT only - PoT only", COT, POT, REASONING,
                       says="prose beats programs on logic and abstract algebra"),
        ),
        (
            difference("open numeric, hybrid model: PoT - CoT decoding", HYBRID_POT, HYBRID_COT, NUMERIC),
            difference(
                "logic and abstract algebra, hybrid model: CoT - PoT decoding", HYBRID_COT, HYBRID_POT, REASONING
            ),
        ),
        counter=CounterWorld(
            "logic-programs", "sources have programs for logic and abstract algebra too",
            (difference("logic and abstract algebra: CoT only - PoT only", COT, _in(POT, "logic-programs"), REASONING,
                        says="prose beats programs on logic and abstract algebra"),),
        ),
    ),
    Claim(
        "C3", "Hybrid decoding is at least as good as either way alone.",
        "nine-set average of the hybrid model: hybrid - CoT and hybrid - PoT decoding both above -1 point "
        "(non-inferiority: the smaller of the two decides)",
        "The rule takes prose where no program can help; where a program runs and prints something wrong, the fallback "
        "never fires, here as in the paper.",
        (
            difference("hybrid - CoT decoding", HYBRID, HYBRID_COT, margin=-0.01,
                       says="hybrid decoding is level with prose or ahead"),
            difference("hybrid - PoT decoding", HYBRID, HYBRID_POT, margin=-0.01,
                       says="hybrid decoding is level with programs or ahead"),
        ),
        (
            difference("program first on every question - PoT decoding", HYBRID_V3, HYBRID_POT),
            difference("program first on every question - CoT decoding", HYBRID_V3, HYBRID_COT),
            difference("logic and abstract algebra: hybrid - CoT decoding", HYBRID, HYBRID_COT, REASONING),
            difference("multiple choice: hybrid - PoT decoding", HYBRID, HYBRID_POT, {"choice": True}),
        ),
    ),
    Claim(
        "C4", "Each added group of sources (G, +M, +C, +A, all) raises out-of-domain accuracy.",
        "out-of-domain average: all - G > 0; the four steps between are reported",
        "Out-of-domain sets draw on families and wordings that only later sources carry; later mixtures have "
        "more rows.",
        (difference("all - G", HYBRID, GROWING[0], OUT,
                    says="all sources beat mini-GSM8K alone out of domain"),),
        (
            *(difference(f"{after.mixture} - {before.mixture}", after, before, OUT)
              for before, after in pairwise((*GROWING, HYBRID))),
            _equal_steps("all - G", HYBRID, GROWING[0], OUT),
        ),
        counter=CounterWorld(
            "one-family", "every source has problems of mini-GSM8K's kind only",
            (difference("all - G", _in(HYBRID, "one-family"), GROWING[0], OUT,
                        says="all sources beat mini-GSM8K alone out of domain"),),
        ),
    ),
    Claim(
        "C5", "A specialist trained on GSM8K alone gains in its own domain and loses out of domain.",
        "mini-gsm8k: G - untuned base > 0; out-of-domain average: hybrid - G > 0",
        "mini-GSM8K has 21 families, mostly told as stories, so that most out-of-domain wordings are new to it.",
        (
            difference("mini-gsm8k: G - untuned base", GROWING[0], BASE, OWN,
                       says="training on mini-GSM8K alone gains on its own test set"),
            difference("out of domain: hybrid - G", HYBRID, GROWING[0], OUT,
                       says="it falls behind the hybrid model out of domain"),
        ),
        (difference("mini-gsm8k: G - hybrid", GROWING[0], HYBRID, OWN),),
    ),
    Claim(
        "C6", "A larger model is better.",
        "nine-set average: 3m - 1m > 0, both hybrid",
        "The 3m base has 3.5 times the parameters; both bases read the same number of tokens.",
        (difference("3m - 1m", LARGER, HYBRID, says="the larger model is ahead"),),
        (difference("3m - 1m out of domain", LARGER, HYBRID, OUT),),
        command="make book-full",
    ),
    Claim(
        "C7", "The coder base beats the llama base, most of all out of domain.",
        "hybrid models: coder - llama > 0 on the nine-set average and out of domain; the gain out of domain less that "
        "in domain is reported",
        "The coder base read mostly Python, and as many tokens as the llama base.",
        (
            difference("nine sets: coder - llama", CODER, HYBRID, says="the coder base is ahead on nine sets"),
            difference("out of domain: coder - llama", CODER, HYBRID, OUT,
                       says="the coder base is ahead out of domain"),
        ),
        (
            _gain_part(CODER, HYBRID),
        ),
    ),
    Claim(
        "C8", "Rationales kept by execution train a better model than unfiltered ones (this book's claim).",
        "nine-set average: hybrid - unfiltered > 0",
        "A stated share of the teacher's programs is wrong; execution against the gold answer throws these out, and "
        "the unfiltered mixture keeps them and so has more rows.",
        (difference("kept by execution - unfiltered", HYBRID, UNFILTERED,
                    says="rationales kept by execution beat unfiltered ones"),),
        (
            difference("out of domain", HYBRID, UNFILTERED, OUT),
            _equal_steps("kept by execution - unfiltered", HYBRID, UNFILTERED),
        ),
        counter=CounterWorld(
            "faultless", "the teacher makes no mistake",
            (difference("kept by execution - unfiltered", _in(HYBRID, "faultless"), _in(UNFILTERED, "faultless"),
                        says="rationales kept by execution beat unfiltered ones"),),
        ),
    ),
    Claim(
        "C9", "The gain over earlier fine-tuned models is larger out of domain than in domain.",
        "(hybrid - specialist) out of domain - (hybrid - specialist) in domain > 0, in points; the specialist, trained "
        "on the prose of GSM8K and MATH or of GSM8K alone, is the one that was better on the development split",
        "The specialists stand for models that were fine-tuned on these training sets before the paper. Most wordings "
        "and families of the out-of-domain sets are in none of their sources. Points have less room where the "
        "reference is high, so log-odds stand beside them.",
        (
            _gain_part(HYBRID, SPECIALIST, says="the gain over a specialist is larger out of domain"),
        ),
        (
            _gain_part(HYBRID, SPECIALIST, log_odds=True),
            difference("gain in domain", HYBRID, SPECIALIST, IN),
            difference("gain out of domain", HYBRID, SPECIALIST, OUT),
            difference("gain over the untuned base in domain", HYBRID, BASE, IN),
            difference("gain over the untuned base out of domain", HYBRID, BASE, OUT),
        ),
        counter=CounterWorld(
            "told-specialists", "the specialists' sources have every wording and family",
            (_gain_part(_in(HYBRID, "told-specialists"), _in(SPECIALIST, "told-specialists"),
                        says="the gain over a specialist is larger out of domain"),),
        ),
    ),
)  # fmt: skip


# A real model of half a billion parameters, by the settings of book/real_model.md. All its cells take equal steps.
REAL_SIZE, REAL_FAMILY, REAL_ROWS = "0.5b", "qwen-coder-instruct", "rows400"
REAL_SPECIALIST = "G-cot"
# Fifty problems hold too few of logic and of abstract algebra: MMLU-Math as a whole stands for them.
_REAL_ITEMS = ((NUMERIC, {"choice": False}), (REASONING, {"benchmarks": ("mmlu_math",)}),
               (OWN, {"benchmarks": ("gsm8k",)}))  # fmt: skip


def real_model(mixture: str, decoding: str = "hybrid") -> DecodedModel:
    """Return the real model that was trained on a mixture, or the untuned base, under a decoding."""
    trained = {"method": ""} if mixture == UNTUNED else {"variant": REAL_ROWS, "method": "lora"}
    return DecodedModel(REAL_SIZE, REAL_FAMILY, mixture, decoding, **trained)


def real_base() -> DecodedModel:
    """Return the untuned real base under the decoding that did best on training questions, else under hybrid."""
    files = (paths.run_dir("evaluate", PROMPT_CHOICE), paths.records() / "real" / "prompts.json")
    choice = next((records.read_json(file) for file in files if file.is_file()), {})
    return real_model(UNTUNED, choice.get("decoding", "hybrid"))


def _real_part(part: Part, base: DecodedModel) -> Part:
    """Return a part of the miniature's claims with the real model's cells and benchmarks."""
    specialists = {"G": (REAL_SPECIALIST, "cot"), SPECIALIST.mixture: (REAL_SPECIALIST, "cot")}
    terms = []
    for factor, model, items in part.terms:
        mixture, decoding = specialists.get(model.mixture, (model.mixture, model.decoding))
        real_items = next((real for mini, real in _REAL_ITEMS if mini is items), items)
        found = base if mixture == UNTUNED else real_model(mixture, decoding)
        terms.append((factor, found, real_items))
    name = part.name.replace("mini-gsm8k: G", f"gsm8k: {REAL_SPECIALIST}").replace(
        "logic and abstract algebra", "MMLU-Math").replace("hybrid - G", f"hybrid - {REAL_SPECIALIST}")  # fmt: skip
    says = part.says.replace("mini-GSM8K", "GSM8K").replace("logic and abstract algebra", "MMLU-Math")
    return replace(part, name=name, terms=tuple(terms), says=says)


def _real_claim(claim: Claim, base: DecodedModel) -> Claim:
    steps = [step for step in claim.steps if all(not model.variant for model in step.models)]
    return replace(
        claim, parts=tuple(_real_part(part, base) for part in claim.parts),
        steps=tuple(_real_part(step, base) for step in steps), counter=None, command="make real",
        built_in="Nothing: rows and benchmarks are real. The base may have seen the benchmarks, and the rows hold no "
        "program of GPT-4's.",
    )  # fmt: skip


def real_claims() -> tuple[Claim, ...]:
    """Return the claims that the real model's cells are read for."""
    base = real_base()
    return tuple(_real_claim(claim, base) for claim in CLAIMS if claim.id in ("C1", "C2", "C3", "C5", "C9"))


@cache
def paper_effects() -> dict[str, tuple[float | None, ...]]:
    """Return the paper's own effect for each part of each claim in points, from :mod:`published`; None if not printed.

    C2's logic is printed nowhere: in MMLU-Math, which holds it among other fields, the paper's programs lead.
    """
    figure, llama = published.figure, {"model": "MAmmoTH", "size": "7B"}
    averages = {kind: figure("Table 6", "average", training=kind) for kind in ("hybrid", "PoT", "CoT")}
    math = {kind: figure("Table 6", "MATH", training=kind) for kind in ("PoT", "CoT")}
    seven = {way: figure("Table 7", "average", decoding=way, **llama) for way in ("Hybrid", "PoT", "CoT")}
    own = {key: figure("Table 5", "GSM8K", training=key) for key in ("none", "G")}
    far = {key: figure("Table 5", "MMLU-Math", training=key) for key in ("G", "all")}
    larger = figure("Table 7", "average", model="MAmmoTH", size="13B", decoding="Hybrid")
    coder = figure("Table 7", "average", model="MAmmoTH-Coder", size="7B", decoding="Hybrid")
    rows = {row["model"]: row for _, row in published.main_results("7b").iterrows()}
    outside = rows["MAmmoTH-Coder"]["computed_out"] - rows["MAmmoTH"]["computed_out"]
    return {
        "C1": (averages["hybrid"] - averages["PoT"], averages["PoT"] - averages["CoT"]),
        "C2": (math["PoT"] - math["CoT"], None),
        "C3": (seven["Hybrid"] - seven["CoT"], seven["Hybrid"] - seven["PoT"]),
        "C4": (far["all"] - far["G"],),
        "C5": (own["G"] - own["none"], far["all"] - far["G"]),
        "C6": (larger - seven["Hybrid"],),
        "C7": (coder - seven["Hybrid"], outside),
        "C8": (None,),
        "C9": (None,),
    }


@cache
def paper_figures() -> dict[str, str]:
    """Return the paper's own figures for each claim in a sentence, from :mod:`published`; v3 unless stated."""
    figure, llama, effect = published.figure, {"model": "MAmmoTH", "size": "7B"}, paper_effects()
    aqua = {kind: figure("Table 6", "AQuA-RAT", training=kind) for kind in ("PoT", "CoT")}
    mmlu = {way: figure("Table 7", "MMLU-Math", decoding=way, **llama) for way in ("PoT", "CoT")}
    simul = {way: figure("Table 7", "SimulEq", decoding=way, **llama) for way in ("Hybrid", "PoT")}
    own = {key: figure("Table 5", "GSM8K", training=key) for key in ("G", "all")}
    rows = {row["model"]: row for _, row in published.main_results("7b").iterrows()}
    into = rows["MAmmoTH-Coder"]["computed_in"] - rows["MAmmoTH"]["computed_in"]
    return {
        "C1": f"7B, Table 6: hybrid - PoT {effect['C1'][0]:+.1f}, PoT - CoT {effect['C1'][1]:+.1f}",
        "C2": f"7B, Table 6: PoT - CoT {effect['C2'][0]:+.1f} on MATH, {aqua['PoT'] - aqua['CoT']:+.1f} on "
        "AQuA-RAT; logic is not printed apart, MMLU-Math (which holds it) has CoT - PoT "
        f"{mmlu['CoT'] - mmlu['PoT']:+.1f} in Table 7",
        "C3": f"7B, Table 7: hybrid - PoT {effect['C3'][1]:+.1f}, hybrid - CoT {effect['C3'][0]:+.1f} on the average, "
        f"but hybrid - PoT {simul['Hybrid'] - simul['PoT']:+.1f} on SimulEq",
        "C4": f"7B, Table 5: all - G {effect['C4'][0]:+.1f} on MMLU-Math; its other out-of-domain cells were not found",
        "C5": f"7B, Table 5: G - base {effect['C5'][0]:+.1f} on GSM8K, G - all {own['G'] - own['all']:+.1f} "
        f"there; all - G {effect['C5'][1]:+.1f} on MMLU-Math; two outside runs have about 40 where G is printed "
        f"{own['G']:.1f} on GSM8K",
        "C6": f"Table 7: 13B - 7B {effect['C6'][0]:+.1f} on the average",
        "C7": f"7B, Tables 3, 4 and 7: Coder - Llama {effect['C7'][0]:+.1f} on the average, "
        f"{effect['C7'][1]:+.1f} out of domain, {into:+.1f} in domain",
        "C8": "not a claim of the paper",
        "C9": "over the best open model before it, v3 states +16 to +28 in domain and +21 to +32 out of domain",
    }
