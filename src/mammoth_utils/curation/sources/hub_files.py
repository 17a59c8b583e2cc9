"""Files of data sets on the hub, fetched by name and revision and checked.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean
what they mean elsewhere.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.curation.sources.homes import Home
from mammoth_utils.hub import HubError
from mammoth_utils.records import Record

REVISION_VARIABLE = "MAMMOTH_RELEASE_REVISION"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """The place from which a file was read.

    Attributes:
        home: ``local copy``, or the hub's address and name.
        revision: The hub's commit; empty for a local copy.
    """

    path: Path
    home: str
    revision: str
    sha256: str
    bytes: int

    def as_dict(self) -> Record:
        """Return the origin as a record keeps it; it names no path of a machine."""
        return {"home": self.home, "revision": self.revision, "sha256": self.sha256, "bytes": self.bytes}


def fetch(name: str, file: str, revision: str) -> Origin:
    """Download a data set's file into the hub's cache, where it is not there, and check its content.

    A connection that is cut is taken up where it broke, a few times; a process that is killed downloads the file
    again. The hub's etag of a large file is its SHA-256, and the file must have it.

    Args:
        name: ``owner/name`` of the data set.
        revision: A commit, or a branch or tag that is resolved to one.

    Raises:
        HubError: If the hub cannot be reached, has no such thing, or asks for permission; or if another content came.
    """
    import huggingface_hub
    from huggingface_hub import constants

    try:
        path = Path(huggingface_hub.hf_hub_download(name, file, repo_type="dataset", revision=revision))
    except Exception as error:
        raise HubError(_explain(error, name, file, revision)) from error
    # The cache lays a file out as snapshots/<commit>/<file>, a link to blobs/<etag>.
    commit = path.parents[len(Path(file).parts) - 1].name
    etag, sha256 = path.resolve().name, records.sha256(path)
    if _SHA256.fullmatch(etag) and etag != sha256:
        raise HubError(
            f"{name}/{file} at {commit}: expected content with SHA-256 {etag}, got {sha256}; remove {path.resolve()} "
            "and try again"
        )
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise HubError(f"{name}/{file}: asked for revision {revision}, got {commit}")
    return Origin(path, f"{constants.ENDPOINT}/datasets/{name}", commit, sha256, path.stat().st_size)


def fetch_home(home: Home, target: Path) -> Origin:
    """Download a home's file to its place, and keep beside it where it came from.

    ``<target>.home.json`` names data set, path, revision as it was resolved, and SHA-256.

    Args:
        home: A home on the hub whose ``path`` is one file.
        target: Where readers look for it.

    Raises:
        ValueError: If the home is not on the hub.
        OSError: If it cannot be had, naming the address and where to put the file by hand.
    """
    if home.place != "hub":
        raise ValueError(f"expected a home on the hub, got {home}")
    try:
        origin = fetch(home.name, home.path, home.revision or "main")
    except HubError as error:
        raise OSError(f"{home.path} of {home.address} could not be fetched: {error}; put it at {target}") from error
    with open(origin.path, "rb") as source, records.atomic_file(target) as copy:
        shutil.copyfileobj(source, copy.buffer)
    where = {"name": home.name, "path": home.path, "revision": origin.revision, "sha256": origin.sha256}
    records.write_json(target.with_name(f"{target.name}.home.json"), where)
    return origin


def _explain(error: Exception, name: str, file: str, revision: str) -> str:
    """Return why the hub did not give a file and what to do, with the hub's own words."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/datasets/{name}"
    words = " ".join(str(error).split())
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{page} is gated: accept its conditions there, signed in, and set HF_TOKEN to a token of that account "
            f"({words})"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no data set {page}, or it is private and HF_TOKEN names no account that may read it ({words})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{page} has no revision {revision!r}; {REVISION_VARIABLE}=main reads what is there now ({words})"
    if isinstance(error, errors.LocalEntryNotFoundError):
        offline = "; HF_HUB_OFFLINE is set" if constants.is_offline_mode() else ""
        return f"{page} could not be read, and {file} is not in the cache on this machine{offline} ({words})"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{page} has no file {file} at revision {revision} ({words})"
    return f"{page}: {type(error).__name__}: {words}"  # a dozen types of the library below, which change with it
