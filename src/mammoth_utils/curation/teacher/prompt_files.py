"""Prompts that a teacher is asked with: files with a version, known by their hash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from mammoth_utils import records
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import MINI, Kind, check_known

_FOLDER = resources.files("mammoth_utils.curation.teacher")
# The paper's six new subsets and the prompt that each is asked with.
SUBSETS = {
    "GSM8K (PoT)": "pot",
    "AQuA-RAT (PoT)": "pot_choice",
    "MATH (PoT)": "pot_math",
    "TheoremQA (PoT)": "pot_theorem",
    "TheoremQA (CoT)": "cot_theorem",
    "College-Math (CoT)": "self_instruct",
}
_PROMPT = re.compile(
    r"---\nversion: (\S+)\nasks for: [^\n]*\((PoT|CoT)\)[^\n]*\n.*?---\n## system\n(.*?)\n+## user\n(.*?)\n*", re.DOTALL
)
_KINDS: dict[str, Kind] = {"PoT": "pot", "CoT": "cot"}


@dataclass(frozen=True)
class Prompt:
    """A prompt file: its name, version, hash, the kind of rationale that it asks for, and its two messages."""

    name: str
    version: str
    kind: Kind
    sha256: str
    system: str
    user: str

    @property
    def label(self) -> str:
        """Return name, version and hash, as a row's history keeps them."""
        return f"{self.name}/{self.version}/{self.sha256}"

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """Return the chat messages that put a problem; options are part of it."""
        # str.replace, not format: a problem may hold braces.
        content = self.user.replace("{instruction}", problem.instruction)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": content}]


def prompt_names() -> list[str]:
    """Return the names of the prompts in ``teacher/prompts/``."""
    files = (_FOLDER / "prompts").iterdir()
    return sorted(file.name.removesuffix(".md") for file in files if file.name.endswith(".md"))


def load_prompt(name: str) -> Prompt:
    """Load a prompt of ``teacher/prompts/``.

    Raises:
        ValueError: If there is none of that name, naming those there are, or the file lacks a part.
    """
    check_known("prompt", name, prompt_names())
    text = (_FOLDER / "prompts" / f"{name}.md").read_text(encoding="utf8")
    parts = _PROMPT.fullmatch(text)
    if parts is None or "{instruction}" not in parts[4]:
        raise ValueError(
            f"prompts/{name}.md: expected a version, what it asks for with (PoT) or (CoT), '## system', '## user' "
            "and {instruction}"
        )
    return Prompt(name, parts[1], _KINDS[parts[2]], records.fingerprint(text), parts[3], parts[4])


def prompt_for(source: str) -> Prompt:
    """Return the prompt of one of the six new subsets, by its name with or without ``mini-``.

    Raises:
        ValueError: If the source is none of them.
    """
    name = source.removeprefix(MINI)
    if name not in SUBSETS:
        raise ValueError(f"{source!r} is not asked of a teacher; those that are: {', '.join(SUBSETS)}")
    return load_prompt(SUBSETS[name])


def files_hash() -> str:
    """Return one hash of every prompt and of Self-Instruct's seeds: what a row can depend on besides the code."""
    texts = {name: load_prompt(name).sha256 for name in prompt_names()}
    seeds = (_FOLDER / "college_math_seeds.yaml").read_text(encoding="utf8")
    return records.fingerprint({**texts, "college_math_seeds": seeds})
