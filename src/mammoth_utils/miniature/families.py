"""All problem families by name."""

from __future__ import annotations

from mammoth_utils.miniature.family import Family
from mammoth_utils.miniature.logic import LOGIC
from mammoth_utils.miniature.numeric_large import LARGE
from mammoth_utils.miniature.numeric_small import SMALL

FAMILIES: dict[str, Family] = {family.name: family for family in (*SMALL, *LARGE, *LOGIC)}
