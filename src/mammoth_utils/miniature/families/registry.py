"""All problem families by name: those that the modules named here define, in their order."""

from __future__ import annotations

from mammoth_utils.miniature.families import (
    abstract_algebra,
    algebra,
    calculus,
    counting,
    geometry,
    number_theory,
    rates,
    walks,
    whole_numbers,
)
from mammoth_utils.miniature.families.definition import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for module in (
        whole_numbers,
        rates,
        geometry,
        number_theory,
        counting,
        calculus,
        algebra,
        walks,
        abstract_algebra,
    )  # fmt: skip
    for family in vars(module).values()
    if isinstance(family, Family)
}
