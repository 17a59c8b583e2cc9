"""The hub: a data set's file by name and revision, and a mixture published, which nothing does unless it is told to.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean
what they mean elsewhere. ``python -m mammoth_utils.curation.sources.hub FOLDER OWNER/NAME`` publishes an exported mixture.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.curation.sources.release import REVISION, Origin
from mammoth_utils.hub import HubError, Upload, run_command, upload_files

REVISION_VARIABLE = "MAMMOTH_RELEASE_REVISION"
CARD, FILES = "README.md", ("README.md", "train.json", "data/train.parquet")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def release_revision() -> str:
    """The revision of the release that is read: the pinned one, unless ``MAMMOTH_RELEASE_REVISION`` names another.

    A branch or tag (``main``) is resolved when the file is fetched, and the commit is what is recorded.
    """
    return os.environ.get(REVISION_VARIABLE, "").strip() or REVISION


def fetch(name: str, file: str, revision: str) -> Origin:
    """A data set's file in the hub's cache on this machine, downloaded where it is not there, its content checked.

    A connection that is cut is taken up where it broke, a few times; a process that is killed downloads the file
    again. The hub's etag of a large file is its SHA-256, and the file must have it.

    Args:
        name: ``owner/name`` of the data set.
        file: The file in it.
        revision: A commit, or a branch or tag that is resolved to one.

    Raises:
        HubError: If the hub cannot be reached, has no such thing, or asks for permission; or if another content came.
    """
    import huggingface_hub
    from huggingface_hub import constants

    try:
        path = Path(huggingface_hub.hf_hub_download(name, file, repo_type="dataset", revision=revision))
    except Exception as error:
        raise HubError(_explained(error, name, file, revision)) from error
    # The cache lays a file out as snapshots/<commit>/<file>, a link to blobs/<etag>.
    commit = path.parents[len(Path(file).parts) - 1].name
    etag, found = path.resolve().name, records.sha256(path)
    if _SHA256.fullmatch(etag) and etag != found:
        raise HubError(
            f"{name}/{file} at {commit}: expected content with SHA-256 {etag}, got {found}; remove {path.resolve()} "
            "and try again"
        )
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise HubError(f"{name}/{file}: asked for revision {revision}, got {commit}")
    return Origin(path, f"{constants.ENDPOINT}/datasets/{name}", commit, found, path.stat().st_size)


def _explained(error: Exception, name: str, file: str, revision: str) -> str:
    """Why the hub did not give a file, and what to do: its own words are kept."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/datasets/{name}"
    said = " ".join(str(error).split())
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{page} is gated: accept its conditions there, signed in, and set HF_TOKEN to a token of that account "
            f"({said})"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no data set {page}, or it is private and HF_TOKEN names no account that may read it ({said})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{page} has no revision {revision!r}; {REVISION_VARIABLE}=main reads what is there now ({said})"
    if isinstance(error, errors.LocalEntryNotFoundError):
        offline = "; HF_HUB_OFFLINE is set" if constants.is_offline_mode() else ""
        return f"{page} could not be read, and {file} is not in the cache on this machine{offline} ({said})"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{page} has no file {file} at revision {revision} ({said})"
    return f"{page}: {type(error).__name__}: {said}"  # a dozen types of the library below, which change with it


def publish(folder: Path, name: str, private: bool = True, dry_run: bool = False) -> Upload:
    """Upload an exported mixture as one commit and check on the hub that what lies there is what was sent.

    Args:
        folder: What ``export.export`` wrote.
        name: ``owner/name`` on the hub; made if it is not there.
        private: Whether a new data set is visible to its owner alone.
        dry_run: Say what would be uploaded, and ask the hub nothing.

    Returns:
        The data set's page, its commit, and each file's size and SHA-256.

    Raises:
        FileNotFoundError: If the folder holds no exported mixture.
        ValueError: If the name has another form.
        HubError: If the hub refuses, or holds another content afterwards.
    """
    folder = Path(folder)
    if absent := [one for one in FILES if not (folder / one).is_file()]:
        raise FileNotFoundError(f"expected an exported mixture in {folder}, found no {', '.join(absent)}")
    title = (folder / CARD).read_text(encoding="utf8").split("pretty_name: ")[1].splitlines()[0]
    return upload_files(name, {one: folder / one for one in FILES}, "dataset", title, private, dry_run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish an exported mixture, or say what would be; 0 if that went well."""
    parser = argparse.ArgumentParser(description="Publish an exported mixture on the hub.")
    parser.add_argument("folder", type=Path, help="what `python -m mammoth_utils.curation.export` wrote")
    parser.add_argument("name", help="OWNER/NAME on the hub")
    parser.add_argument("--public", action="store_true", help="let everybody see a new data set; private otherwise")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and ask the hub nothing")
    chosen = parser.parse_args(arguments)
    return run_command(lambda: publish(chosen.folder, chosen.name, not chosen.public, chosen.dry_run))


if __name__ == "__main__":
    sys.exit(main())
