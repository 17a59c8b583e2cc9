"""Publishing on the Hugging Face hub: upload files as one commit, and compare what lies there with what was sent.

Everything goes through ``huggingface_hub``, so ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HOME`` keep their meaning.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.openai_client import name_proxy

KINDS = ("dataset", "model")
TOKEN_ADVICE = "a token that may write is read from HF_TOKEN"


class HubError(RuntimeError):
    """The hub refused a request or holds other content; the message says why and what to do."""


@dataclass(frozen=True)
class UploadedFile:
    """Size and SHA-256 of an uploaded file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """An upload, or in a dry run the plan of one.

    Attributes:
        name: ``owner/name`` on the hub.
        files: Each file by its name on the hub.
        page: The address; empty in a dry run.
        commit: The commit's id; None in a dry run.
    """

    name: str
    files: dict[str, UploadedFile]
    page: str = ""
    commit: str | None = None


def upload_files(
    name: str, files: Mapping[str, Path | bytes], kind: str, message: str, private: bool = True, dry_run: bool = False
) -> Upload:
    """Upload files as one commit, and check that the hub holds what was sent.

    Args:
        name: ``owner/name`` on the hub; created if it is missing.
        files: A file or its content, by the name on the hub.
        kind: ``dataset`` or ``model``.
        private: Whether a new repository is visible to its owner only.
        dry_run: Return what would be uploaded without asking the hub anything.

    Raises:
        ValueError: If the name or the kind has another form.
        HubError: If there is no token, the hub refuses, or it holds other content afterwards.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"expected OWNER/NAME, got {name!r}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    sent = {path: _measured(content) for path, content in files.items()}
    if dry_run:
        return Upload(name, sent)
    import huggingface_hub
    from huggingface_hub import errors

    api = huggingface_hub.HfApi()
    page = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if huggingface_hub.get_token() is None:
        raise HubError(f"{page}: nobody is signed in; {TOKEN_ADVICE}")
    try:
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        operations = [huggingface_hub.CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
                      for path, content in files.items()]  # fmt: skip
        commit = api.create_commit(name, operations, repo_type=kind, commit_message=message)
        listed = api.get_paths_info(name, list(files), repo_type=kind, revision=commit.oid)
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, OSError) as error:
        raise HubError(f"{page}: {' '.join(str(error).split())}; {TOKEN_ADVICE}") from error
    except Exception as error:
        # The client's own errors of a network that is away; the hub's library does not export their class.
        if not any(base.__module__.startswith("httpx") for base in type(error).__mro__):
            raise
        raise HubError(f"{page} cannot be reached ({error}){name_proxy(api.endpoint)}; nothing was sent") from error
    entries = {entry.path: entry for entry in listed}
    for path, content in files.items():
        _check_entry(page, path, content, sent[path], entries.get(path))
    return Upload(name, sent, page, commit.oid)


def run_command(publish: Callable[[], Upload]) -> int:
    """Publish for a command line: print what was sent and where it is, or why nothing was; return the exit status."""
    try:
        upload = publish()
    except (OSError, ValueError, HubError) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    for path, file in upload.files.items():
        print(f"{path}: {file.bytes:,} bytes, sha256 {file.sha256}")
    print(f"{upload.page} at commit {upload.commit}" if upload.commit else "dry run: nothing was uploaded")
    return 0


def _check_entry(page: str, name: str, content: Path | bytes, sent: UploadedFile, entry: Any) -> None:
    """Raise HubError if the hub's entry of a file is not what was sent.

    Large files are compared by SHA-256, small ones by git's id, the only hash that the hub has of them.
    """
    if entry is None or entry.size != sent.bytes:
        raise HubError(f"{page}: {name} is not there as it was sent: {entry}")
    if entry.lfs is not None:
        if entry.lfs.sha256 != sent.sha256:
            raise HubError(f"{page}: {name} has SHA-256 {entry.lfs.sha256}, sent was {sent.sha256}")
    elif entry.blob_id != (own := _git_id(content)):
        raise HubError(f"{page}: {name} has git's id {entry.blob_id}, sent was {own}")


def _measured(content: Path | bytes) -> UploadedFile:
    if isinstance(content, bytes):
        return UploadedFile(len(content), hashlib.sha256(content).hexdigest())
    return UploadedFile(content.stat().st_size, records.sha256(content))


def _git_id(content: Path | bytes) -> str:
    """Return the id that git gives to a file's content."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
