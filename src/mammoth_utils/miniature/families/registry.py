"""All problem families by name."""

from __future__ import annotations

from mammoth_utils.miniature.families.definition import Family
from mammoth_utils.miniature.families.logic import LOGIC
from mammoth_utils.miniature.families.numeric_large import LARGE
from mammoth_utils.miniature.families.numeric_small import SMALL

FAMILIES: dict[str, Family] = {family.name: family for family in (*SMALL, *LARGE, *LOGIC)}
