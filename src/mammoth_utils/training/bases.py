"""Base models: where one lies, what of a hub's is needed, how it comes here, and what identifies it.

A base is a folder, a hub's name, or a hub's name that ``MAMMOTH_BASES`` holds as ``owner/name`` or ``owner--name``.
Everything of the hub goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and
``HF_HUB_OFFLINE`` mean what they mean elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import records, scales
from mammoth_utils.training.quiet import importing, without_bars

if TYPE_CHECKING:
    from mammoth_utils.training.describe import RunDescription

BASES_VARIABLE = "MAMMOTH_BASES"
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
# A repository may hold the same weights three times; the original's own format and training states are not needed.
_SAFE, _PICKLED = re.compile(r"model(-\d+-of-\d+)?\.safetensors"), re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_BESIDE = re.compile(r"[\w.-]+\.json|tokenizer\.model|merges\.txt|vocab\.txt")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
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


def folder(base: str) -> Path | None:
    """The folder of a base on this machine, or None: the path itself, else its hub name below ``MAMMOTH_BASES``.

    Raises:
        FileNotFoundError: If ``MAMMOTH_BASES`` names no folder.
    """
    path = Path(base).expanduser()
    if base and path.is_dir():
        return path.resolve()
    named = os.environ.get(BASES_VARIABLE, "").strip()
    if not named or not _NAME.fullmatch(base):
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{BASES_VARIABLE} names {named}, which is no folder")
    places = (root / base, root / base.replace("/", "--"))
    return next((place.resolve() for place in places if (place / "config.json").is_file()), None)


def cached(name: str, revision: str = "") -> Path | None:
    """The snapshot of a hub's model in the cache on this machine, or None where its configuration is not there."""
    if not _NAME.fullmatch(name):
        return None
    with importing():
        from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None


def config(base: str, revision: str = "") -> dict[str, Any] | None:
    """The ``config.json`` of a base that lies here, in a folder or in the hub's cache; None else. Asks no network."""
    place = folder(base) or cached(base, revision)
    if place is None or not (place / "config.json").is_file():
        return None
    return records.read_json(place / "config.json")


def lacking(place: Path) -> list[str]:
    """What a folder lacks of a model: its configuration, its tokenizer, its weights, or files that an index names."""
    found = []
    if not (place / "config.json").is_file():
        found.append("config.json")
    if not any((place / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        found.append("tokenizer.json or tokenizer.model")
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (place / index).is_file():
            named = set(records.read_json(place / index).get("weight_map", {}).values())
            return found + sorted(name for name in named if not (place / name).is_file())
    if not any(file for pattern in WEIGHT_FILES for file in place.glob(pattern)):
        found.append(" or ".join(WEIGHT_FILES))
    return found


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
        with without_bars():
            huggingface_hub.hf_hub_download(name, "config.json", revision=found.commit, etag_timeout=15)
    except Exception as error:
        raise BaseModelError(explained(error, name, revision)) from error
    return found


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
    with without_bars():
        job = pool.submit(
            huggingface_hub.snapshot_download, name, revision=needed.commit, allow_patterns=list(needed.files)
        )
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
    with importing():
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
    return f"{why}: {said}. {how(name)}"


def base_identity(description: RunDescription) -> dict[str, Any]:
    """What identifies the base: its commit on the hub, else the hash of its files (of their headers beyond 1 GB).

    The commit is None where no commit is asked for and nothing was fetched yet.
    """
    place = folder(description.base_path)
    if place is None:
        snapshot = cached(description.base, description.revision)
        pinned = description.revision if _COMMIT.fullmatch(description.revision) else None
        return {"name": description.base, "revision": snapshot.name if snapshot else pinned}
    files = sorted(file for pattern in WEIGHT_FILES for file in place.glob(pattern))
    whole = sum(file.stat().st_size for file in files) <= 1e9
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer.model"):
        if (place / name).is_file():
            digest.update(name.encode() + (place / name).read_bytes())
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        if whole:
            digest.update(records.sha256(file).encode())
        else:
            with open(file, "rb") as opened:
                digest.update(opened.read(1 << 20))
    return {"name": description.base, "sha256" if whole else "sha256 of headers": digest.hexdigest()}
