"""Texts that say nearly the same: the same numbers, and nearly the same words."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from mammoth_utils.grading import SHINGLE, SIMILARITY

PERMUTATIONS = 64
DIRECT = 64  # texts with the same numbers that are still compared one by one

Item = TypeVar("Item")


class NearIndex(Generic[Item]):
    """Texts that can be asked for those with the same numbers and nearly the same words.

    Few texts share all their numbers, and those are compared directly; where more than ``DIRECT`` do (texts
    without numbers), MinHash with locality-sensitive hashing (``datasketch``) proposes the pairs. The exact Jaccard
    similarity of the shingles decides in any case, so a hash can lose a pair but not invent one.
    """

    def __init__(self, similarity: float = SIMILARITY) -> None:
        self.similarity = similarity
        # Most texts share their numbers with no other: only those that do are cut into shingles.
        self._members: dict[bytes, list[tuple[Item, str]]] = defaultdict(list)
        self._shingles: dict[bytes, list[set]] = {}
        self._hashed: dict[bytes, Any] = {}

    def add(self, item: Item, words: Sequence[str], group: str = "") -> None:
        """Add an item by its text's ``tokens``; items of different groups are never compared."""
        key = self._key(words, group)
        members = self._members[key]
        members.append((item, " ".join(words)))
        if key in self._hashed:
            self._hashed[key].insert(len(members) - 1, _sketch(self._cut(key)[-1]))
        elif len(members) > DIRECT:
            from datasketch import MinHashLSH

            # 16 bands of 4: at a similarity of 0.7 a pair is proposed with a probability of 0.99.
            self._hashed[key] = MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // 4, 4))
            for number, known in enumerate(self._cut(key)):
                self._hashed[key].insert(number, _sketch(known))

    def find(self, words: Sequence[str], group: str = "") -> Iterator[Item]:
        """Yield the items that are near a text, in the order in which they were added."""
        key = self._key(words, group)
        members = self._members.get(key)
        if not members:
            return
        own, known = shingles(words), self._cut(key)
        proposed = sorted(self._hashed[key].query(_sketch(own))) if key in self._hashed else range(len(members))
        for number in proposed:
            if jaccard(own, known[number]) >= self.similarity:
                yield members[number][0]

    def _cut(self, key: bytes) -> list[set]:
        """Return the shingles of the texts under a key."""
        cut = self._shingles.setdefault(key, [])
        cut += [shingles(text.split(" ")) for _, text in self._members[key][len(cut) :]]
        return cut

    def _key(self, words: Sequence[str], group: str) -> bytes:
        numbers = " ".join([group, *(word for word in words if word[0].isdigit())])
        return hashlib.blake2b(numbers.encode(), digest_size=16).digest()


def _sketch(known: set) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
    sketch.update_batch([" ".join(shingle).encode() for shingle in known])
    return sketch


def shingles(words: Sequence[str], size: int = SHINGLE) -> set[tuple[str, ...]]:
    """Return the runs of ``size`` words of a text; a shorter text is one run."""
    if len(words) <= size:
        return {tuple(words)}
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def jaccard(first: set, second: set) -> float:
    """Return the Jaccard similarity of two sets, from 0 to 1."""
    return len(first & second) / len(first | second) if first or second else 1.0
