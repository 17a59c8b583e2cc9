"""Plain numbers, compared without a parser: most pairs of GSM8K and SVAMP are two of them."""

from __future__ import annotations

import re

# Short enough that exact integers stay small; thousands are set apart by commas or not at all.
_NUMERAL = re.compile(r"\s*([-+]?(?:\d{1,15}|\d{1,3}(?:,\d{3}){1,4}))(?:\.(\d{0,9}))?\s*").fullmatch


def plainly_equal(answer: str, gold: str) -> bool | None:
    """Whether two plain numbers are equal as `corrected.equivalent` has it; None where it must be asked itself.

    It is asked for all that is no plain number, for answers of more decimals than a decimal gold, which may round to
    it, and for those within a billionth of a whole gold, which may be a program's float.
    """
    ours, theirs = _NUMERAL(answer), _NUMERAL(gold)
    if ours is None or theirs is None:
        return None
    whole, decimals = ours.groups()
    wanted, places = theirs.groups()
    if not decimals and not places:
        if "," in whole or "," in wanted:
            return int(whole.replace(",", "")) == int(wanted.replace(",", ""))
        return int(whole) == int(wanted)
    decimals, places = (decimals or "").rstrip("0"), (places or "").rstrip("0")
    found = int(whole.replace(",", "") + decimals)
    aim = int(wanted.replace(",", "") + places)
    further = len(decimals) - len(places)
    if further <= 0:
        return found * 10**-further == aim
    aim *= 10**further
    if places or abs(found - aim) * 10**9 <= (abs(aim) or 10 ** len(decimals)):
        return None
    return False
