"""All problem families by name: those that the modules named here define, in their order."""

from __future__ import annotations

from mammoth_utils.miniature.families import logic, numeric_large, numeric_small
from mammoth_utils.miniature.families.definition import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for module in (numeric_small, numeric_large, logic)
    for family in vars(module).values()
    if isinstance(family, Family)
}
