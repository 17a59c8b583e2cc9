"""Base models of the hub: which files are needed, whether the hub grants access, and the download into its cache.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean
what they mean elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import records, scales
from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.base_models.locations import (
    HUB_NAME,
    WEIGHT_FILES,
    find_cached,
    find_folder,
    missing_files,
)
from mammoth_utils.base_models.weights import find_model
from mammoth_utils.paths import BASES_VARIABLE
from mammoth_utils.silence_libraries import silent_import, without_hub_bars

# A repository may hold the same weights three times; the original's own format and training states are not needed.
_SAFE, _PICKLED = re.compile(r"model(-\d+-of-\d+)?\.safetensors"), re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_BESIDE = re.compile(r"[\w.-]+\.json|tokenizer\.model|merges\.txt|vocab\.txt")
EVERY_S = 5.0


@dataclass(frozen=True)
class HubListing:
    """The files of a hub's model that are needed.

    Attributes:
        name: ``owner/name``.
        commit: The revision as the hub resolved it.
        files: Path to size and SHA-256 of each needed file; the hash is None where the hub keeps the file in git.
    """

    name: str
    commit: str
    files: dict[str, tuple[int, str | None]]

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(size for size, _ in self.files.values())


def list_files(name: str, revision: str = "") -> HubListing:
    """List the needed files of a hub's model at a revision. Sends one request and does not repeat it.

    Raises:
        BaseModelError: If the hub cannot be reached, or has no such model or no weights of it.
    """
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision or None, files_metadata=True, timeout=15)
    except Exception as error:
        raise BaseModelError(_explain(error, name, revision)) from error
    entries = {file.rfilename: (file.size or 0, getattr(file.lfs, "sha256", None)) for file in info.siblings or ()}
    kind = _SAFE if any(map(_SAFE.fullmatch, entries)) else _PICKLED
    needed = {path: entry for path, entry in entries.items() if kind.fullmatch(path) or _BESIDE.fullmatch(path)}
    if kind is _SAFE:
        needed.pop("pytorch_model.bin.index.json", None)
    if not any(map(kind.fullmatch, needed)):
        raise BaseModelError(f"{_page(name)} holds no weights in a known form: {', '.join(WEIGHT_FILES)}")
    return HubListing(name, info.sha or revision, needed)


def check_access(name: str, revision: str = "") -> HubListing:
    """List the needed files of a hub's model and fetch its configuration, which shows that the hub grants access.

    Raises:
        BaseModelError: If the hub does not give it; the message says why and what to do.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise BaseModelError(
            f"{name} is not in the hub's cache on this machine, and HF_HUB_OFFLINE is set. {_remedy(name)}"
        )
    listing = list_files(name, revision)
    try:
        with without_hub_bars():
            # By the revision's own name, so that the cache knows which commit a branch was.
            huggingface_hub.hf_hub_download(name, "config.json", revision=revision or None, etag_timeout=15)
    except Exception as error:
        raise BaseModelError(_explain(error, name, revision)) from error
    return listing


def locate_base(size: str, family: str = "auto", base: str = "", revision: str = "") -> str:
    """Return a sentence that says where the base model of a run is; fetch at most its configuration.

    Call it before ``describe``: the planner then uses the base model's own numbers, where it is another than the
    scale's. A hub that cannot be reached raises nothing here; readiness reports it.
    """
    scale = scales.scale(size, family)
    name = base or scale.base
    if scale.miniature and not base:
        return f"{name} ships with the project"
    folder = find_folder(name)
    if folder is not None:
        return f"{name} in {folder}"
    if not HUB_NAME.fullmatch(name):
        return f"{name} is neither a folder here nor a hub name like owner/name"
    revision = revision or (scale.revision if name == scale.base else "")
    snapshot = find_cached(name, revision)
    if snapshot is not None:
        return f"{name} at {snapshot.name} in the hub's cache" + (" in part" if missing_files(snapshot) else "")
    try:
        listing = check_access(name, revision)
    except BaseModelError as error:
        return f"{name} is not here; the planner takes the numbers published for {size}. {error}"
    return f"{name} at {listing.commit} on the hub, {listing.bytes / 1e9:.2f} GB"


def fetch_base(name: str, revision: str = "", path: str = "", say: Callable[[str], None] = lambda line: None) -> Path:
    """Return the folder of a base model, and download it into the hub's cache first if it is missing.

    A broken download is resumed, and complete files are not fetched again. Each large file is then compared with the
    SHA-256 that the hub gives it.

    Args:
        name: Folder or hub name.
        revision: Commit, tag or branch on the hub; empty takes the newest.
        path: Where the base model is, if ``name`` does not say so.
        say: Called with a line every few seconds during the download.

    Raises:
        BaseModelError: If the hub does not give it, or its content differs.
    """
    folder = find_folder(path or name)
    if folder is not None:
        return folder
    place = find_cached(name, revision)
    if place is not None and not missing_files(place):
        return place
    listing = check_access(name, revision)
    import huggingface_hub
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    begun, had = time.monotonic(), _bytes_in(blobs)
    pool = futures.ThreadPoolExecutor(1)
    with without_hub_bars():
        job = pool.submit(
            huggingface_hub.snapshot_download, name, revision=revision or None, allow_patterns=list(listing.files)
        )
        pool.shutdown(wait=False)  # an interrupted page does not wait for gigabytes
        while not futures.wait([job], timeout=EVERY_S).done:
            now = _bytes_in(blobs)
            rate = (now - had) / 1e6 / (time.monotonic() - begun)
            say(f"fetching {name}: {now / 1e9:.2f} of {listing.bytes / 1e9:.2f} GB, {rate:.0f} MB/s")
    try:
        place = Path(job.result())
    except Exception as error:
        raise BaseModelError(_explain(error, name, revision)) from error
    _compare_hashes(place, listing, say)
    say(
        f"fetched {name} at {listing.commit}: {len(listing.files)} files, {listing.bytes / 1e9:.2f} GB in "
        f"{time.monotonic() - begun:.0f} s, each as the hub's SHA-256 says"
    )
    return place


def fetch_model(name: str, say: Callable[[str], None] = lambda line: None) -> str:
    """Return the folder of any model that a name means (``weights.find_model``), fetched from the hub if it is missing.

    Raises:
        FileNotFoundError, BaseModelError: As ``find_model`` and ``fetch_base`` do.
    """
    place = find_model(name)
    return place if Path(place).is_dir() else str(fetch_base(place, say=say))


def _bytes_in(blobs: Path) -> int:
    """Count the bytes in a folder of the cache; a file may be renamed meanwhile."""
    total = 0
    for file in blobs.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _compare_hashes(place: Path, listing: HubListing, say: Callable[[str], None]) -> None:
    """Raise BaseModelError if a file has another size or content than the hub says, naming the file to remove."""
    say(f"comparing {listing.bytes / 1e9:.2f} GB with the hub's SHA-256")
    for path, (size, expected) in listing.files.items():
        file = place / path
        got = file.stat().st_size
        digest = records.sha256(file) if got == size and expected else expected
        if got != size or digest != expected:
            raise BaseModelError(
                f"{listing.name}/{path} at {listing.commit}: expected {size:,} bytes with SHA-256 {expected}, got "
                f"{got:,} with {digest}; remove {file.resolve()} and try again"
            )


def _page(name: str) -> str:
    """Return the address of a model's page on the hub."""
    with silent_import():
        from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{name}"


def _remedy(name: str) -> str:
    """Say how to bring a base model to this machine."""
    copies = scales.known_copies(name)
    other = f"; an ungated copy of the same weights: -p base {' or '.join(copies)}" if copies else ""
    return (
        f"`hf download {name}` fetches it, -p base PATH names a folder with it, and {BASES_VARIABLE} one that holds it "
        f"as {name}. Where {_page(name)} asks for consent, give it there, signed in, and set HF_TOKEN to a token of "
        f"that account{other}"
    )


def _explain(error: Exception, name: str, revision: str = "") -> str:
    """Say why the hub did not give a model and what to do, with the hub's own words."""
    from huggingface_hub import errors

    words, page = " ".join(str(error).split()), _page(name)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        token = "the token in HF_TOKEN has no access yet" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
        why = f"{page} is gated, and {token}"
    elif isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        why = f"there is no model {page}, or it is private and HF_TOKEN names no account that may read it"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"{page} has no revision {revision!r}; -p revision main takes what is there now"
    elif isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        why = f"{page} lacks a file"
    elif status is not None:
        why = f"{page}: the hub answered {status}"
    else:  # a dozen types of the library below, which change with it
        why = f"the hub cannot be reached ({type(error).__name__})"
    return f"{why}: {words.rstrip('.')}. {_remedy(name)}"
