"""Where each source of Table 1 lives, as far as a public source that could be opened names it.

A revision stands here only where it was read in full; elsewhere it is resolved when a file is fetched, and kept beside
the file. Nothing in this room was opened on the hub itself: a name or revision that has changed since fails aloud.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import records

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
        """Its address, with the revision where one is known."""
        if self.place == "teacher":
            return self.name
        at = f"/tree/{self.revision}" if self.revision else ""
        return f"{_HUB if self.place == 'hub' else 'https://github.com/'}{self.name}{at}"

    def __str__(self) -> str:
        revision = "" if self.place == "teacher" else f", revision {self.revision[:12] or RESOLVED}"
        return f"{self.address.split('/tree/')[0]}{f', {self.path}' if self.path else ''}{revision}"


_PAGES = "the hub's own pages, as stored copies show them"
MATHINSTRUCT = Home("hub", "TIGER-Lab/MathInstruct", "b4fdc323a7be1379c9c7c0b67b1de72dfee2111a", "MathInstruct.json",
                    "public project manifests")  # fmt: skip
_GSM8K = (
    Home("github", "openai/grade-school-math", "3101c7d5072418e28b9008a6636bde82a006892c",
         "grade_school_math/data/train.jsonl", "the repository"),
    Home("hub", "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "main/train", "public project manifests"),
)  # fmt: skip
_AQUA = (
    Home("github", "google-deepmind/AQuA", "26b64ed1f22208c6742f47df547dfd65088ec30d", "train.json", "the repository"),
    Home("hub", "deepmind/aqua_rat", "33301c6a050c96af81f63cad5562cb5363e88971", "raw/train", _PAGES),
)
_MATH = (
    Home("hub", "EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3", "train of seven subjects",
         "public project manifests; the original entry of the hub was taken down in January 2025"),
)  # fmt: skip
_THEOREMQA = (
    Home("github", "TIGER-AI-Lab/MAmmoTH2", "9c67cb137b87e3c2f68ab412c6731b1f47a51b55",
         "math_eval/dataset/theoremqa/theoremqa_test.json", "the repository"),
    Home("hub", "TIGER-Lab/TheoremQA", "a340b1782960a712843aae3ed25f1e013cc008a5", "data/test", _PAGES),
)  # fmt: skip
_LILA = (
    Home("hub", "allenai/lila", "", "one file a category", _PAGES),
    Home("github", "allenai/Lila", "b81117ac7e56cc1dfb0fcabf0005d1755177252b", "lila.zip", "the repository's history"),
)
_TEACHER = Home("teacher", "asked of a teacher", "", "any OpenAI-compatible endpoint")
HOMES: dict[str, tuple[Home, ...]] = {
    "GSM8K (CoT)": _GSM8K,
    "GSM8K-RFT (CoT)": (
        Home("github", "OFA-Sys/gsm8k-ScRel", "", "data/rft/u13b.jsonl", "the path stands in the repository's README"),
        MATHINSTRUCT,
    ),
    "AQuA-RAT (CoT)": _AQUA,
    "MATH (CoT)": _MATH,
    "TheoremQA (CoT)": (_TEACHER, *_THEOREMQA, MATHINSTRUCT),
    "Camel-Math (CoT)": (Home("hub", "camel-ai/math", "", "math.zip", _PAGES), MATHINSTRUCT),
    "College-Math (CoT)": (_TEACHER, MATHINSTRUCT),
    "GSM8K (PoT)": (_TEACHER, *_GSM8K, MATHINSTRUCT),
    "AQuA-RAT (PoT)": (_TEACHER, *_AQUA, MATHINSTRUCT),
    "MATH (PoT)": (_TEACHER, *_MATH, MATHINSTRUCT),
    "TheoremQA (PoT)": (_TEACHER, *_THEOREMQA, MATHINSTRUCT),
    "MathQA (PoT)": (*_LILA, MATHINSTRUCT),
    "NumGLUE (PoT)": (*_LILA, MATHINSTRUCT),
}


def second(homes: tuple[Home, ...]) -> str:
    """The home to turn to where the first fails, or the word that there is none."""
    real = [home for home in homes if home.place != "teacher"]
    return str(real[1]) if len(real) > 1 else NONE


def fetch(home: Home, target: Path) -> dict[str, Any]:
    """Download a hub's file to its place, and keep beside it where it came from.

    ``<target>.home.json`` names data set, path, revision as it was resolved, and SHA-256.

    Args:
        home: A home on the hub whose ``path`` is one file.
        target: Where readers look for it.

    Raises:
        ValueError: If the home is not on the hub.
        OSError: If it cannot be had, naming the address and where to put the file by hand.
    """
    from mammoth_utils.curation.sources import hub

    if home.place != "hub":
        raise ValueError(f"expected a home on the hub, got {home}")
    try:
        origin = hub.fetch(home.name, home.path, home.revision or "main")
    except hub.HubError as error:
        raise OSError(f"{home.path} of {home.address} could not be fetched: {error}; put it at {target}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.copyfile(origin.path, part)
    part.replace(target)
    told = {"name": home.name, "path": home.path, "revision": origin.revision, "sha256": origin.sha256}
    records.write_json(target.with_name(f"{target.name}.home.json"), told)
    return told
