"""Load the sources of one data set: the miniature, the release, or the rebuild from the primary files."""

from __future__ import annotations

from collections.abc import Iterable

from mammoth_utils.curation.sources import rebuild, release
from mammoth_utils.curation.sources.registry import DATASETS, MINI, SOURCES, LoadedSource
from mammoth_utils.miniature import WORLDS


def load_sources(
    dataset: str, names: Iterable[str], limit: int = 0, seed: int = 42, teacher: bool = True
) -> list[LoadedSource]:
    """Return what each named source holds in one data set, in Table 1's order.

    Args:
        names: Paper names, as ``select`` gives them.
        limit: Rows a source at most; 0 takes all.
        seed: Draws the rows where ``limit`` cuts.
        teacher: Whether problems may be put to a teacher (``rebuild`` lists those sources as missing otherwise).

    Raises:
        ValueError: If the data set is unknown.
        FileNotFoundError: If the release is neither here nor to be fetched.
    """
    names = tuple(names)
    if dataset in WORLDS:
        loaded = [_load_miniature(name, dataset) for name in names]
    elif dataset == "release":
        loaded = release.load_release(names)
    elif dataset == "rebuild":
        loaded = [rebuild.load_source(name, teacher) for name in names]
    else:
        raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}")
    return [entry.sample(limit, seed) for entry in loaded]


def _load_miniature(name: str, world: str) -> LoadedSource:
    from mammoth_utils.miniature import sources as mini_sources

    mini = MINI + name
    loaded = LoadedSource(SOURCES[name], mini)
    if mini_sources.SOURCES[mini].asks_teacher:
        loaded.problems = list(mini_sources.unsolved(mini, world))
    else:
        loaded.rationales = list(mini_sources.load(mini, world))
    return loaded
