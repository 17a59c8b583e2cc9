"""The miniature and its counter-worlds, a line each.

A counter-world changes one thing on which a claim rests, and there the claim should fail; a claim that holds there too
is not tested by the miniature. Its sources and teacher are others; problems, benchmarks and base models are the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MiniWorld:
    """What the sources and the teacher of a world are like; the defaults are the miniature's.

    Attributes:
        wrong_share: Share of the teacher's programs that are wrong.
        logic_programs: Whether sources have programs for logic and abstract algebra.
        one_family: Whether every source has the problems of GSM8K's kind only.
        told_specialists: Whether GSM8K and MATH have every wording of every source and out-of-domain set.
    """

    wrong_share: float = 0.25
    logic_programs: bool = False
    one_family: bool = False
    told_specialists: bool = False


MINIATURE = "miniature"


def variant_of(world: str) -> str:
    """Return the variant of the models of a world, as their names end: ``wrong-40``; empty for the miniature."""
    return world.removeprefix(MINIATURE).removeprefix("-")


WORLDS = {
    MINIATURE: MiniWorld(),
    "miniature-logic-programs": MiniWorld(logic_programs=True),  # against C2
    "miniature-one-family": MiniWorld(one_family=True),  # against C4
    "miniature-faultless": MiniWorld(wrong_share=0.0),  # against C8, and the first point of its curve
    "miniature-wrong-40": MiniWorld(wrong_share=0.4),
    "miniature-wrong-60": MiniWorld(wrong_share=0.6),
    "miniature-told-specialists": MiniWorld(told_specialists=True),  # against C9
}
