"""Base models of the hub: what of one is needed, whether the hub gives it, and how it comes into the cache here.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean
what they mean elsewhere.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils import records, scales
from mammoth_utils.base_models.locations import NAME, WEIGHT_FILES, cached, folder, lacking
from mammoth_utils.paths import BASES_VARIABLE
from mammoth_utils.silence_libraries import silent_import, without_hub_bars

if TYPE_CHECKING:
    from mammoth_utils.training.description import RunDescription

# A repository may hold the same weights three times; the original's own format and training states are not needed.
_SAFE, _PICKLED = re.compile(r"model(-\d+-of-\d+)?\.safetensors"), re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_BESIDE = re.compile(r"[\w.-]+\.json|tokenizer\.model|merges\.txt|vocab\.txt")
EVERY_S = 5.0


class BaseModelError(RuntimeError):
    """A base model is not here and the hub does not give it; the message says why and what to do."""


@dataclass(frozen=True)
class Listing:
    """What is needed of a hub's model.

    Attributes:
        name: ``owner/name``.
        commit: The revision as the hub resolved it.
        files: Path to size and SHA-256 (None where the hub keeps the file in git) of every file that is needed.
    """

    name: str
    commit: str
    files: dict[str, tuple[int, str | None]]

    @property
    def bytes(self) -> int:
        """Size of all of them."""
        return sum(size for size, _ in self.files.values())


def listing(name: str, revision: str = "") -> Listing:
    """What the hub holds of a model at a revision, as far as it is needed. One request, which is not repeated.

    Raises:
        BaseModelError: If the hub cannot be asked, or has no such model or no weights of it.
    """
    import huggingface_hub

    try:
        told = huggingface_hub.HfApi().model_info(name, revision=revision or None, files_metadata=True, timeout=15)
    except Exception as error:
        raise BaseModelError(explained(error, name, revision)) from error
    entries = {one.rfilename: (one.size or 0, getattr(one.lfs, "sha256", None)) for one in told.siblings or ()}
    kind = _SAFE if any(map(_SAFE.fullmatch, entries)) else _PICKLED
    wanted = {path: entry for path, entry in entries.items() if kind.fullmatch(path) or _BESIDE.fullmatch(path)}
    if kind is _SAFE:
        wanted.pop("pytorch_model.bin.index.json", None)
    if not any(map(kind.fullmatch, wanted)):
        raise BaseModelError(f"{page(name)} holds no weights that are known here: {', '.join(WEIGHT_FILES)}")
    return Listing(name, told.sha or revision, wanted)


def look(name: str, revision: str = "") -> Listing:
    """What is needed of a hub's model, after its configuration alone was fetched: so the hub lets us have the rest.

    Raises:
        BaseModelError: If the hub does not give it, saying why and what to do.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise BaseModelError(
            f"{name} is not in the hub's cache on this machine, and HF_HUB_OFFLINE is set. {how(name)}"
        )
    found = listing(name, revision)
    try:
        with without_hub_bars():
            # By the name that was asked for, so that the cache knows which commit a branch was.
            huggingface_hub.hf_hub_download(name, "config.json", revision=revision or None, etag_timeout=15)
    except Exception as error:
        raise BaseModelError(explained(error, name, revision)) from error
    return found


def found(size: str, family: str = "auto", base: str = "", revision: str = "") -> str:
    """Where the base of a run is, in a sentence; of a hub's the configuration alone is fetched, and nothing else.

    Ask it before ``describe``: the planner then counts with the base's own numbers, where it is another than the
    scale's. A hub that cannot be asked is no error here; whether the run can start is for ``ready`` to say.
    """
    scale = scales.scale(size, family)
    name = base or scale.base
    if scale.miniature and not base:
        return f"{name} ships with the project"
    here = folder(name)
    if here is not None:
        return f"{name} in {here}"
    if not NAME.fullmatch(name):
        return f"{name} is neither a folder here nor a hub name like owner/name"
    revision = revision or (scale.revision if name == scale.base else "")
    snapshot = cached(name, revision)
    if snapshot is not None:
        return f"{name} at {snapshot.name} in the hub's cache" + (" in part" if lacking(snapshot) else "")
    try:
        there = look(name, revision)
    except BaseModelError as error:
        return f"{name} is not here; the planner takes the numbers published for {size}. {error}"
    return f"{name} at {there.commit} on the hub, {there.bytes / 1e9:.2f} GB"


def fetch(description: RunDescription, say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of a run's base, fetched from the hub into its cache where it is not here.

    A connection that breaks is taken up where it broke, and files that are whole are not fetched again. Each file of
    the hub's store is then compared with the SHA-256 that the hub gives it.

    Args:
        description: The run.
        say: Called with a line every few seconds while something is fetched.

    Raises:
        BaseModelError: If the hub does not give it, or another content came.
    """
    here = folder(description.base_path)
    if here is not None:
        return here
    name = description.base
    place = cached(name, description.revision)
    if place is not None and not lacking(place):
        return place
    needed = look(name, description.revision)
    import huggingface_hub
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    begun, had = time.monotonic(), _held(blobs)
    pool = futures.ThreadPoolExecutor(1)
    with without_hub_bars():
        job = pool.submit(
            huggingface_hub.snapshot_download, name, revision=description.revision or None,
            allow_patterns=list(needed.files),
        )  # fmt: skip
        pool.shutdown(wait=False)  # an interrupted page does not wait for gigabytes
        while not futures.wait([job], timeout=EVERY_S).done:
            now = _held(blobs)
            rate = (now - had) / 1e6 / (time.monotonic() - begun)
            say(f"fetching {name}: {now / 1e9:.2f} of {needed.bytes / 1e9:.2f} GB, {rate:.0f} MB/s")
    try:
        place = Path(job.result())
    except Exception as error:
        raise BaseModelError(explained(error, name, description.revision)) from error
    _check(place, needed, say)
    say(
        f"fetched {name} at {needed.commit}: {len(needed.files)} files, {needed.bytes / 1e9:.2f} GB in "
        f"{time.monotonic() - begun:.0f} s, each as the hub's SHA-256 says"
    )
    return place


def _held(blobs: Path) -> int:
    """Bytes in a folder of the cache; a file may be renamed while it is counted."""
    total = 0
    for file in blobs.glob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _check(place: Path, needed: Listing, say: Callable[[str], None]) -> None:
    """Nothing, if every file has the size and the content that the hub gives it.

    Raises:
        BaseModelError: Naming the file to remove.
    """
    say(f"comparing {needed.bytes / 1e9:.2f} GB with the hub's SHA-256")
    for path, (size, wanted) in needed.files.items():
        file = place / path
        got = file.stat().st_size
        found = records.sha256(file) if got == size and wanted else wanted
        if got != size or found != wanted:
            raise BaseModelError(
                f"{needed.name}/{path} at {needed.commit}: expected {size:,} bytes with SHA-256 {wanted}, got {got:,} "
                f"with {found}; remove {file.resolve()} and try again"
            )


def page(name: str) -> str:
    """The address of a model's page on the hub."""
    with silent_import():
        from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{name}"


def how(name: str) -> str:
    """How a base comes to this machine, in a sentence or two."""
    copies = scales.known_copies(name)
    other = f"; an ungated copy of the same weights: -p base {' or '.join(copies)}" if copies else ""
    return (
        f"`hf download {name}` fetches it, -p base PATH names a folder with it, and {BASES_VARIABLE} one that holds it "
        f"as {name}. Where {page(name)} asks for consent, give it there, signed in, and set HF_TOKEN to a token of "
        f"that account{other}"
    )


def explained(error: Exception, name: str, revision: str = "") -> str:
    """Why the hub did not give a model, and what to do: its own words are kept."""
    from huggingface_hub import errors

    said, at = " ".join(str(error).split()), page(name)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        token = "the token in HF_TOKEN has no access yet" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
        why = f"{at} is gated, and {token}"
    elif isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        why = f"there is no model {at}, or it is private and HF_TOKEN names no account that may read it"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"{at} has no revision {revision!r}; -p revision main takes what is there now"
    elif isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        why = f"{at} lacks a file"
    elif status is not None:
        why = f"{at}: the hub answered {status}"
    else:  # a dozen types of the library below, which change with it
        why = f"the hub cannot be reached ({type(error).__name__})"
    return f"{why}: {said.rstrip('.')}. {how(name)}"
