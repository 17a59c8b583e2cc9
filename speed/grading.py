"""Pairs of answer and gold judged per second: ours, Math-Verify's and lm-evaluation-harness's; and who judges rightly.

``python speed/grading.py`` prints a table; ``--json`` one object a row with the ratio against the peer. Golds are
the real ones where ``MAMMOTH_DATA_DIR`` names a folder of data (GSM8K, SVAMP and SimulEq; MATH), made ones otherwise.
Half of the answers are the gold in another form, half are another gold, and no pair comes twice, so that nothing is
remembered; each figure is the median of several runs. Reading a gold and an answer counts for all. The harness
compares normalised texts, in our own rewriting (``audit/lm_eval_harness.py``). The last lines judge labelled answers of
the kinds that public bug reports name, in both directions.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mammoth_utils.audit import (
    JUDGES,
    compare_on_reports,
    is_equivalent,
    is_same_number,
    open_fresh_math_verify,
)
from mammoth_utils.grading import boxed_content, forget_parsed_formulas, grade

SEED = 0
NUMERIC = {"gsm8k": "answer", "svamp": "Answer", "simuleq": "answer"}  # benchmark and the key of its gold
GOALS = {"numeric": 100, "latex": 10}
Pair = tuple[str, str]


def real_golds(kind: str, folder: Path) -> list[str]:
    """The distinct golds of the real sets, in an order drawn once."""
    found: dict[str, None] = {}
    for name, key in NUMERIC.items() if kind == "numeric" else {"math": "solution"}.items():
        for line in (folder / "eval" / f"{name}.jsonl").read_text(encoding="utf8").splitlines():
            gold = str(json.loads(line)[key])
            gold = boxed_content(gold)[0] if kind == "latex" else gold.rpartition("####")[2].strip()
            if kind == "numeric" or "\\" in gold:
                found[gold] = None
    golds = list(found)
    random.Random(SEED).shuffle(golds)
    return golds


def made_golds(kind: str, count: int) -> list[str]:
    """Golds of the same kinds without any data."""
    made, found = random.Random(SEED), {}
    while len(found) < count:
        a, b, c = made.randrange(2, 9999), made.randrange(2, 99), made.randrange(2, 99)
        numeric = (str(a), f"{a}.0", f"{a / 100:.2f}")
        latex = (f"\\frac{{{a}}}{{{b}}}", f"{b}\\sqrt{{{c}}}", f"x^2 + {a}x - {b}", f"({b}, \\frac{{{a}}}{{{c}}})",
                 f"[{b}, {b + c})", f"\\{{{b}, {b + c}, {a + 200}\\}}", f"\\frac{{{b} + \\sqrt{{{a}}}}}{{{c}}}",
                 f"\\begin{{pmatrix}} {b} \\\\ {c} \\end{{pmatrix}}", f"{a}\\%", f"{b}\\pi")  # fmt: skip
        found[made.choice(numeric if kind == "numeric" else latex)] = None
    return list(found)


def rewritten(gold: str, kind: str) -> str:
    """The gold in another form."""
    if kind == "latex":
        return gold.replace("\\frac", "\\dfrac").replace("+", " + ") + " "
    try:
        value = Fraction(gold.replace(",", ""))
    except ValueError:
        return gold
    return f"{int(value):,}.00" if value.denominator == 1 else f"{float(value)}0"


def pairs(kind: str, count: int) -> list[Pair]:
    """Different pairs of an answer and a gold, every second one in agreement."""
    named = os.environ.get("MAMMOTH_DATA_DIR")
    golds = real_golds(kind, Path(named)) if named else made_golds(kind, count)
    golds = golds[:count]
    return [(rewritten(gold, kind) if at % 2 else golds[at - 1], gold) for at, gold in enumerate(golds)]


def ours(kind: str, some: list[Pair]) -> list[bool]:
    """Our verdicts."""
    benchmark = "gsm8k" if kind == "numeric" else "math"
    forget_parsed_formulas()
    return [grade(answer, gold, benchmark, "corrected").correct for answer, gold in some]


def math_verify(kind: str, some: list[Pair]) -> list[bool]:
    """Math-Verify's verdicts: each side parsed as its documentation asks for, then compared."""
    from math_verify import parse, verify

    form = "{}" if kind == "numeric" else "${}$"
    return [verify(parse(form.format(gold)), parse(form.format(answer))) for answer, gold in some]


def harness(kind: str, some: list[Pair]) -> list[bool]:
    """The verdicts of lm-evaluation-harness's rules."""
    return [(is_same_number if kind == "numeric" else is_equivalent)(answer, gold) for answer, gold in some]


def per_second(judge: Callable[[str, list[Pair]], list[bool]], kind: str, some: list[Pair], repeats: int) -> float:
    """Pairs per second, the median of several runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        judge(kind, some)
        seconds.append(time.perf_counter() - started)
    return len(some) / statistics.median(seconds)


def main() -> None:
    """Print the table, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--count", type=int, default=1000, help="pairs for ours")
    parser.add_argument("--peer-count", type=int, default=300, help="pairs for the peer")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median counts")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the peer reports what it cannot parse
    if not arguments.json:
        print(f"{'golds':<9}{'pairs/s':>10}   ratio against")
    for kind in GOALS:
        some = pairs(kind, arguments.count)
        peers_share = some[: arguments.peer_count]
        math_verify(kind, peers_share[:5])  # loads the package, which is not what is timed
        speed = per_second(ours, kind, some, arguments.repeats)
        peer_speed = per_second(math_verify, kind, peers_share, arguments.repeats)
        harness_speed = per_second(harness, kind, some, arguments.repeats)
        agree = sum(a == b for a, b in zip(ours(kind, peers_share), math_verify(kind, peers_share), strict=True))
        row = {
            "name": "grading", "golds": kind, "real": bool(os.environ.get("MAMMOTH_DATA_DIR")), "pairs": len(some),
            "pairs_per_s": round(speed, 1), "goal": GOALS[kind], "judged_alike": round(agree / len(peers_share), 4),
            "peers": {
                name: {"pairs_per_s": round(of, 2), "ratio": round(speed / of, 2)}
                for name, of in (("math-verify", peer_speed), ("lm-evaluation-harness", harness_speed))
            },
        }  # fmt: skip
        if arguments.json:
            print(json.dumps(row))
            continue
        peers = ", ".join(f"{of['ratio']:g} x {name} ({of['pairs_per_s']:.0f}/s)" for name, of in row["peers"].items())
        print(f"{kind:<9}{speed:>10.0f}   {peers}; {100 * row['judged_alike']:.1f} % as Math-Verify judges")
    with open_fresh_math_verify() as verifier:
        for answers, report in compare_on_reports(verifier).items():
            for judge, of in report["judges"].items():
                row = {"name": "grading", "answers": answers, "grader": JUDGES[judge], **of}
                line = f"{of['as_labelled']} of {of['asked']} as labelled, {of['false_accepts']} false accepts"
                took = "" if of["seconds"] is None else f", {of['seconds']:g} s"
                print(json.dumps(row) if arguments.json else f"{answers:<20} {JUDGES[judge]:<34} {line}{took}")


if __name__ == "__main__":
    main()
