"""Completions that a model wrote before: an evaluation whose grading changed is graded again, not decoded again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.engines.decoders import Decoder
from mammoth_utils.records import Record

ARRIVED = "completions.jsonl"  # in the run's folder: what a server sent, a line each, until the run is finished


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
        self._arrived, self._weights, self._lock = description.folder / ARRIVED, weights, threading.Lock()
        self._stored: dict[str, str] = {}
        self._settings: Record = {}
        for part, attempts in _finished_parts(description):
            if part["inputs"].get("weights") == weights:
                self._settings = self._settings or part["decoder"]
                for row in records.read_jsonl(attempts):
                    for attempt in row["attempts"]:
                        self._stored.setdefault(attempt["prompt"], attempt["completion"])
        for row in _whole_lines(self._arrived):
            if row["weights"] == weights:
                self._stored.setdefault(row["prompt"], row["completion"])

    def complete(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the completion of every prompt, in their order."""
        texts = [self._stored.get(prompt, "") for prompt in prompts]
        missing = [place for place, prompt in enumerate(prompts) if prompt not in self._stored]
        if missing:
            if self._decoder is None:
                self._decoder = self._load()
                if hasattr(self._decoder, "on_completion"):  # a server's: it may go away in the middle
                    self._decoder.on_completion = self._keep
            new = self._decoder.complete([prompts[place] for place in missing], max_new_tokens)
            for place, text in zip(missing, new, strict=True):
                texts[place] = text
            self.decoded += len(missing)
        return texts

    def _keep(self, prompt: str, completion: str) -> None:
        """Add a completion to the file of those that arrived."""
        row = {"weights": self._weights, "prompt": prompt, "completion": completion}
        with self._lock, open(self._arrived, "a", encoding="utf8") as file:
            file.write(json.dumps(row) + "\n")

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


def _whole_lines(file: Path) -> Iterator[Record]:
    """Yield the rows of a file that is written line by line; the last one may have been cut by a kill."""
    if file.is_file():
        for line in file.read_text("utf8").splitlines(keepends=True):
            if line.endswith("}\n"):
                yield json.loads(line)
