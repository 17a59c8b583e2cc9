"""Errors of the filters: wrong programs kept and right ones thrown out, which the miniature alone can know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import is_by_teacher
from mammoth_utils.miniature import MINIATURE, sources, teacher
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record


def planted_fault(rationale: Rationale, world: str = MINIATURE) -> str:
    """Return what a world's teacher did wrong on purpose in a program: ``"right"`` or one of ``teacher.FAULTS``.

    Raises:
        ValueError: If the program is none of the miniature teacher's.
    """
    true = sources.truth(rationale.problem.instruction, world)
    if true is None or not is_by_teacher(rationale.author):
        raise ValueError(f"{rationale.problem.id} by {rationale.author!r} was not written by the miniature's teacher")
    return teacher.reply(true, world).fault


def count_filter_errors(kept: Iterable[Rationale], dropped: Iterable[Dropped], world: str = MINIATURE) -> Record:
    """Return how many of the teacher's right and wrong programs were kept and thrown out, and why.

    A program *passed by luck* if the teacher made it wrong on purpose and its output still equals the gold: it
    prints a number that happens to be the answer, or the changed number or sign does not matter for these values.
    A program was *lost* if the teacher made it right and it was thrown out all the same. For prose, which nothing
    executes, the wrong rows that stay are counted.
    """
    kept, dropped = list(kept), list(dropped)
    fates = [(row, "kept") for row in kept]
    fates += [(drop.rationale, f"{drop.stage}: {drop.reason}") for drop in dropped]
    table: dict[str, Counter] = {}
    for row, fate in fates:
        if is_by_teacher(row.author):
            table.setdefault(planted_fault(row, world), Counter())[fate] += 1
    right = table.get(teacher.RIGHT, Counter())
    luck = {name: fates["kept"] for name, fates in table.items() if name != teacher.RIGHT and fates["kept"]}
    lost = {fate: count for fate, count in right.items() if fate != "kept"}
    prose = [row for row in kept if row.kind == "cot"]
    wrong = Counter(row.source for row in prose if not sources.is_right(row, world))
    return {
        "fates": {name: dict(table[name]) for name in (teacher.RIGHT, *teacher.FAULTS) if name in table},
        "programs": sum(map(Counter.total, table.values())),
        "right": right.total(),
        "right_kept": right["kept"],
        "lost": lost,
        "wrong": sum(fates.total() for name, fates in table.items() if name != teacher.RIGHT),
        "passed_by_luck": luck,
        "wrong_prose_kept": dict(wrong),
        "prose_kept": len(prose),
    }
