"""Completions on disk as they arrive: a run goes on without asking anything twice, and is graded without decoding.

A file is of one model, asked by one engine. Decoding is greedy, so the model and the request (prompt, chat or not,
limit of tokens, stop texts) say what comes. Every evaluation of the model reads the same file, whatever benchmarks or
ways of decoding it is of. A line is a decoder, or a completion with the hashes of its request and its decoder.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator

from mammoth_utils import paths, records
from mammoth_utils.evaluation.engines.requests import Completion, Request
from mammoth_utils.records import Record


class CompletionStore:
    """The stored completions of one model.

    Args:
        weights: Hash of the model's weights, or what stands for it.
        engine: The engine that was chosen by name; empty where none was.
    """

    def __init__(self, weights: str, engine: str = "") -> None:
        name = "-".join(filter(None, (weights[:32], engine)))
        self.file = paths.runs() / "completions" / f"{name}.jsonl"
        self._stored: dict[str, tuple[Completion, str]] = {}
        self._decoders: dict[str, Record] = {}
        self._decoder = ""  # the hash of the one that writes now
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._cut = False  # whether a kill left the last line without its end
        for row in self._lines():
            if "describes" in row:
                self._decoders[row["describes"]] = row["decoder"]
            else:
                completion = Completion(row["text"], row["finish"], row["tokens"])
                self._stored[row["request"]] = (completion, row["decoder"])

    def get(self, request: Request) -> Completion | None:
        """Return the stored completion of a request, or None."""
        completion, decoder = self._stored.get(request_hash(request), (None, ""))
        self._used[decoder] += completion is not None
        return completion

    def begin(self, decoder: Record) -> None:
        """Name the decoder whose completions follow, as ``Decoder.describe`` returns it."""
        self._decoder = records.fingerprint(decoder)
        if self._decoder not in self._decoders:
            self._decoders[self._decoder] = decoder
            self._write({"describes": self._decoder, "decoder": decoder})

    def keep(self, request: Request, completion: Completion) -> None:
        """Write a completion that has arrived."""
        key = request_hash(request)
        fields = {"text": completion.text, "finish": completion.finish, "tokens": completion.tokens}
        self._write({"request": key, "decoder": self._decoder, **fields})
        self._stored[key] = (completion, self._decoder)
        self._used[self._decoder] += 1

    def used(self) -> list[Record]:
        """Return the decoders of what was read or kept, each with its number of ``completions``, the most first."""
        counts = [(decoder, count) for decoder, count in self._used.most_common() if count]
        return [{**self._decoders[decoder], "completions": count} for decoder, count in counts]

    def _write(self, row: Record) -> None:
        line = json.dumps(row) + "\n"
        with self._lock:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # One write of a whole line, so that two evaluations of a model may share the file.
            with open(self.file, "ab", buffering=0) as file:
                file.write((f"\n{line}" if self._cut else line).encode())
            self._cut = False

    def _lines(self) -> Iterator[Record]:
        """Yield the complete lines; one that a kill cut is asked again."""
        if not self.file.is_file():
            return
        with open(self.file, "rb") as file:
            for line in file:
                self._cut = not line.endswith(b"\n")
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def request_hash(request: Request) -> str:
    """Return the hash of what is asked; whose request it is makes no difference."""
    asked = {"prompt": request.prompt, "chat": request.chat, "max_new_tokens": request.max_new_tokens}
    return records.fingerprint({**asked, "stop": list(request.stop)})
