"""Homes of the sources of Table 1: the table ``homes.yaml``, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

import yaml

NONE = "no second home is known"
RESOLVED = "resolved when it is fetched"
_HUB = "https://huggingface.co/datasets/"
_FULL = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Home:
    """One place that holds a source.

    Attributes:
        place: ``"hub"``, ``"github"``, or ``"teacher"`` where the rationales are asked for.
        name: Its name there, as owner and name.
        revision: Commit in full; empty where none was seen.
        path: The file there, or a word on what to take.
        seen: Where name and revision were read.
    """

    place: str
    name: str
    revision: str = ""
    path: str = ""
    seen: str = ""

    def __post_init__(self) -> None:
        if self.place not in ("hub", "github", "teacher"):
            raise ValueError(f"unknown place {self.place!r}; known: hub, github, teacher")
        if self.revision and not _FULL.fullmatch(self.revision):
            raise ValueError(f"expected a commit of 40 hexadecimal digits for {self.name}, got {self.revision!r}")

    @property
    def address(self) -> str:
        """Return its address, with the revision where one is known."""
        if self.place == "teacher":
            return self.name
        at = f"/tree/{self.revision}" if self.revision else ""
        return f"{_HUB if self.place == 'hub' else 'https://github.com/'}{self.name}{at}"

    def __str__(self) -> str:
        revision = "" if self.place == "teacher" else f", revision {self.revision[:12] or RESOLVED}"
        return f"{self.address.split('/tree/')[0]}{f', {self.path}' if self.path else ''}{revision}"


def _read_table() -> tuple[dict[str, tuple[Home, ...]], Home]:
    """Return the homes by source, and that of the published MathInstruct."""
    text = (resources.files("mammoth_utils.curation.sources") / "homes.yaml").read_text(encoding="utf8")
    table = yaml.safe_load(text)
    groups = {name: tuple(Home(**row) for row in rows) for name, rows in table["homes"].items()}
    homes = {
        source: tuple(home for name in names for home in groups[name]) for source, names in table["sources"].items()
    }
    return homes, groups["MathInstruct"][0]


HOMES, MATHINSTRUCT = _read_table()
