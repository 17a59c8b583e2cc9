"""Publishing on the hub: files as one commit, compared there with what was sent. Nothing does so unless it is told to.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HOME`` mean what they mean
elsewhere.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mammoth_utils import records

KINDS = ("dataset", "model")
TOKEN_ADVICE = "a token that may write is read from HF_TOKEN"


class HubError(RuntimeError):
    """The hub did not give or take what it was asked for; the message says why and what to do."""


def upload(
    name: str, files: Mapping[str, Path | bytes], kind: str, message: str, private: bool = True, dry_run: bool = False
) -> dict[str, Any]:
    """Upload files as one commit and check on the hub that what lies there is what was sent.

    Args:
        name: ``owner/name`` on the hub; made if it is not there.
        files: What is sent under each name, a file or its content.
        kind: ``dataset`` or ``model``.
        message: The commit's.
        private: Whether a new one is visible to its owner alone.
        dry_run: Say what would be uploaded, and ask the hub nothing.

    Returns:
        The page, its commit (None in a dry run), and each file's size and SHA-256.

    Raises:
        ValueError: If the name or the kind has another form.
        HubError: If there is no token, or the hub refuses, or holds another content afterwards.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"expected OWNER/NAME, got {name!r}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    told = {one: {"bytes": _size(content), "sha256": _sha256(content)} for one, content in files.items()}
    if dry_run:
        return {"name": name, "private": private, "commit": None, "files": told}
    import huggingface_hub
    from huggingface_hub import errors

    api = huggingface_hub.HfApi()
    page = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if huggingface_hub.get_token() is None:
        raise HubError(f"{page}: nobody is signed in; {TOKEN_ADVICE}")
    try:
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        operations = [huggingface_hub.CommitOperationAdd(one, content if isinstance(content, bytes) else str(content))
                      for one, content in files.items()]  # fmt: skip
        commit = api.create_commit(name, operations, repo_type=kind, commit_message=message)
        listed = api.get_paths_info(name, list(files), repo_type=kind, revision=commit.oid)
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, OSError) as error:
        raise HubError(f"{page}: {' '.join(str(error).split())}; {TOKEN_ADVICE}") from error
    there = {one.path: one for one in listed}
    for one, content in files.items():
        _same(page, one, content, told[one], there.get(one))
    return {"name": name, "page": page, "private": private, "commit": commit.oid, "files": told}


def command(publish: Callable[[], dict[str, Any]]) -> int:
    """Publish as a command line does: print what was sent and where it is, or why nothing was; the exit status."""
    try:
        done = publish()
    except (FileNotFoundError, ValueError, HubError) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    for file, entry in done["files"].items():
        print(f"{file}: {entry['bytes']:,} bytes, sha256 {entry['sha256']}")
    print(f"{done['page']} at commit {done['commit']}" if done["commit"] else "dry run: nothing was uploaded")
    return 0


def _same(page: str, name: str, content: Path | bytes, sent: dict[str, Any], found: Any) -> None:
    """Nothing, if the hub's entry of a file is what was sent: by SHA-256 for large files, by git's id for others."""
    if found is None or found.size != sent["bytes"]:
        raise HubError(f"{page}: {name} is not there as it was sent: {found}")
    if found.lfs is not None:
        if found.lfs.sha256 != sent["sha256"]:
            raise HubError(f"{page}: {name} has SHA-256 {found.lfs.sha256}, sent was {sent['sha256']}")
    elif found.blob_id != (own := _git_id(content)):
        raise HubError(f"{page}: {name} has git's id {found.blob_id}, sent was {own}")


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sha256(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else records.sha256(content)


def _git_id(content: Path | bytes) -> str:
    """The id that git gives a file's content; small files are compared by it, the hub hashes them no other way."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
