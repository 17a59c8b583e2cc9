"""Completions that a model wrote before: an evaluation whose grading changed is graded again, not decoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.engines.decoders import Decoder
from mammoth_utils.records import Record


class CompletionStore:
    """A decoder that repeats what the same weights wrote before, and loads another for prompts that they never read.

    Attributes:
        decoded: How many completions the loaded decoder wrote.

    Args:
        description: The evaluation, whose folder and those moved aside are looked at.
        load: Called when the first prompt is missing.
    """

    def __init__(self, description: Evaluation, weights: str, load: Callable[[], Decoder]) -> None:
        self.decoded = 0
        self._load, self._decoder = load, None
        self._stored: dict[str, str] = {}
        self._settings: Record = {}
        for part, attempts in _finished_parts(description):
            if part["inputs"].get("weights") == weights:
                self._settings = self._settings or part["decoder"]
                for row in records.read_jsonl(attempts):
                    for attempt in row["attempts"]:
                        self._stored.setdefault(attempt["prompt"], attempt["completion"])

    def complete(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the completion of every prompt, in their order."""
        texts = [self._stored.get(prompt, "") for prompt in prompts]
        missing = [place for place, prompt in enumerate(prompts) if prompt not in self._stored]
        if missing:
            self._decoder = self._decoder or self._load()
            new = self._decoder.complete([prompts[place] for place in missing], max_new_tokens)
            for place, text in zip(missing, new, strict=True):
                texts[place] = text
            self.decoded += len(missing)
        return texts

    def describe(self) -> Record:
        """Return the settings of the loaded decoder, else of the one that wrote the stored completions."""
        return self._decoder.describe() if self._decoder else self._settings


def _finished_parts(description: Evaluation) -> Iterator[tuple[Record, Path]]:
    """Yield each record or part of one with its attempts, the newest first: of this folder and of those moved aside.

    Only folders of the same description count, so that model, sampling and the limit of tokens are the same.
    """
    folder = description.folder
    aside = [(int(place.name.rpartition("-")[2]), place) for place in folder.parent.glob(f"{folder.name}.old-*")]
    run = records.read_json(folder / "run.json")
    for place in (folder, *(place for _, place in sorted(aside, reverse=True))):
        if not (place / "run.json").is_file() or records.read_json(place / "run.json") != run:
            continue
        pairs = [(part, part.with_suffix(".attempts.jsonl")) for part in sorted(place.glob("parts/*.json"))]
        for record, attempts in ((place / "record.json", place / "attempts.jsonl"), *pairs):
            if record.is_file() and attempts.is_file():
                yield records.read_json(record), attempts
