"""A hub on this machine: the part of the Hugging Face hub's file API that loading and publishing data and models need.

Repositories are held in memory as commits, large files are reached by a redirect to another address, as the hub sends
them to its store, and each way to fail is a switch: gated, a connection cut after so many bytes, content that is not
what the etag says. Every request is kept, so a test can say what was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import serving

LARGE = (".parquet", "MathInstruct.json", "train.json", ".safetensors", ".bin", "tokenizer.model")
GATED = "Access to {} {} is restricted. You must have access to it and be authenticated to access it."


def git_oid(content: bytes) -> str:
    """The id that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repository:
    """One data set or model: its commits, newest last, each with all its files."""

    kind: str = "dataset"
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    messages: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def commit(self, files: dict[str, bytes], oid: str = "", message: str = "") -> str:
        """A new commit with some files more or changed; its id."""
        held = {**(self.commits[self.head] if self.commits else {}), **files}
        listed = json.dumps({path: sha256(content) for path, content in held.items()})
        oid = oid or hashlib.sha1(f"{len(self.commits)}{listed}".encode()).hexdigest()
        self.commits[oid] = held
        self.messages.append(message)
        return oid


@dataclass
class Hub:
    """A running hub.

    Attributes:
        url: What ``HF_ENDPOINT`` is set to.
        store: Address of the store of large files, another one as on the hub, where no token may arrive.
        repositories: Data sets and models by name.
        token: The one token that may write and read what is gated or private.
        cut: How many more downloads are cut, each after ``cut_after`` bytes.
        spoil: Whether downloads come with one byte changed.
        asked: Method, path and range of every request, in order.
        leaked: Requests to the store that carried a token.
    """

    url: str
    store: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    token: str = "hf_of_the_test"
    cut: int = 0
    cut_after: int = 0
    spoil: bool = False
    uploaded: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def holds(self, name: str, files: dict[str, bytes], oid: str = "", kind: str = "dataset") -> str:
        """Put files into a data set or model by a commit; its id."""
        return self.repositories.setdefault(name, Repository(kind)).commit(files, oid)

    def ranges(self) -> list[str]:
        """The ranges that downloads from the store asked for; ``""`` for a whole file."""
        return [span for method, path, span in self.asked if method == "GET" and path.startswith("/store/")]


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub on a free port of this machine's loopback, stopped at the end of the block."""
    with serving(_Handler) as hub, serving(_Handler) as store:
        hub.hub = store.hub = Hub(hub.url, store.url)  # type: ignore[attr-defined]
        yield hub.hub


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.kind = "dataset" if re.match(r"(/api)?/datasets/", path) else "model"
        with self.hub.lock:
            self.hub.asked.append((self.command, path, self.headers.get("Range") or ""))
            if path.startswith("/store/") and self.headers.get("Authorization"):
                self.hub.leaked.append(path)
        try:
            for pattern, method in _ROUTES:
                found = re.fullmatch(pattern, path)
                if found:
                    return method(self, **found.groupdict())
            raise _Refused(404, "EntryNotFound", f"no such address: {self.command} {path}")
        except _Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, json.dumps({"error": refused.message}).encode(), **headers)

    def _send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    # --- what may be read ---------------------------------------------------------------------------------------

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _repository(self, name: str, content: bool = False) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or found.kind != self.kind or (found.private and not self._known()):
            raise _Refused(401 if not self._known() else 404, "RepoNotFound", "Repository not found")
        if content and found.gated and not self._known():
            raise _Refused(403, "GatedRepo", GATED.format(self.kind, name))
        return found

    def _files(self, name: str, revision: str, content: bool = False) -> tuple[str, dict[str, bytes]]:
        held = self._repository(name, content)
        oid = held.head if revision == "main" and held.commits else revision
        if oid not in held.commits:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid, held.commits[oid]

    def _info(self, name: str, revision: str = "main") -> None:
        oid, files = self._files(name, revision)
        held = self.hub.repositories[name]
        self._json({"_id": "0" * 24, "id": name, "author": name.split("/")[0], "sha": oid, "private": held.private,
                    "gated": "auto" if held.gated else False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
                    "siblings": [self._sibling(path, content) for path, content in files.items()]})  # fmt: skip

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        """A file as a repository's own entry lists it; its size only where ``blobs`` is asked for."""
        if "blobs=true" not in self.path.lower():
            return {"rfilename": path}
        entry = self._entry(path, content)
        lfs = {"sha256": entry["lfs"]["oid"], "size": len(content), "pointerSize": 130} if "lfs" in entry else None
        return {"rfilename": path, "size": len(content), "blobId": entry["oid"], **({"lfs": lfs} if lfs else {})}

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return entry

    def _tree(self, name: str, revision: str, folder: str = "") -> None:
        _, files = self._files(name, revision)
        below = {path: content for path, content in files.items() if path.startswith(folder and f"{folder}/")}
        if folder and not below:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist")
        recursive = "recursive=true" in self.path.lower() or "recursive=1" in self.path
        entries, folders = [], set()
        for path, content in below.items():
            rest = path.removeprefix(f"{folder}/" if folder else "")
            for depth in range(1, rest.count("/") + 1):
                folders.add("/".join([*filter(None, [folder]), *rest.split("/")[:depth]]))
            if recursive or "/" not in rest:
                entries.append(self._entry(path, content))
        shown = sorted(one for one in folders if recursive or "/" not in one.removeprefix(f"{folder}/"))
        self._json([*({"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in shown), *entries])

    def _paths(self, name: str, revision: str) -> None:
        _, files = self._files(name, revision)
        if "json" in (self.headers.get("Content-Type") or ""):
            asked = json.loads(self.body)["paths"]
        else:
            asked = urllib.parse.parse_qs(self.body.decode())["paths"]
        found = [self._entry(path, files[path]) for path in asked if path in files]
        folders = [one for one in asked if one not in files and any(path.startswith(f"{one}/") for path in files)]
        self._json([*found, *({"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in folders)])

    def _resolve(self, name: str, revision: str, file: str) -> None:
        oid, files = self._files(name, revision, content=True)
        if file not in files:
            raise _Refused(404, "EntryNotFound", f"Entry not found: {file}")
        content, headers = files[file], {"X-Repo-Commit": oid}
        if not file.endswith(LARGE):
            self._send(200, content, **headers, ETag=f'"{git_oid(content)}"')
            return
        etag = sha256(content)
        headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content)), "ETag": f'"{etag[:32]}"'}
        self._send(302, **headers, Location=f"{self.hub.store}/store/{name}/{oid}/{file}")

    def _store(self, name: str, revision: str, file: str) -> None:
        content = self.hub.repositories[name].commits[revision][file]
        if self.hub.spoil:
            content = bytes([content[0] ^ 1]) + content[1:]
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start = int(span[1]) if span else 0
        end = int(span[2]) + 1 if span and span[2] else len(content)
        part = content[start:end]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(part)))
        if span:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.send_header("ETag", f'"{sha256(content)[:32]}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        with self.hub.lock:
            cut = self.hub.cut > 0
            self.hub.cut -= cut
        if cut:
            self.wfile.write(part[: self.hub.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(part)

    # --- what may be written ------------------------------------------------------------------------------------

    def _writing(self) -> dict[str, Any]:
        if not self._known():
            raise _Refused(401, "", "Invalid username or password.")
        return json.loads(self.body) if self.body else {}

    def _page(self, name: str, kind: str) -> str:
        return f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"

    def _create(self) -> None:
        asked = self._writing()
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        kind = asked.get("type") or "model"
        told = {"url": self._page(name, kind), "name": name}
        if name in self.hub.repositories:
            self._json({**told, "error": f"You already created this {kind} repo"}, 409)
            return
        made = self.hub.repositories[name] = Repository(kind, private=asked.get("visibility") == "private")
        made.commit({".gitattributes": b"*.parquet filter=lfs\n"}, message="initial commit")
        self._json(told)

    def _yaml(self) -> None:
        asked = json.loads(self.body)
        block = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        errors = [] if block else [{"message": "empty or missing yaml metadata in repo card"}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _preupload(self, name: str, revision: str) -> None:
        asked = self._writing()
        _, files = self._files(name, revision)
        told = []
        for one in asked["files"]:
            held = files.get(one["path"])
            large = one["path"].endswith(LARGE)
            oid = None if held is None else sha256(held) if large else git_oid(held)
            mode = "lfs" if large else "regular"
            told.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": told})

    def _batch(self, name: str) -> None:
        asked = self._writing()
        self._repository(name)
        told = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/put/{one['oid']}"}}} for one in asked["objects"]
        ]
        self._json({"transfer": "basic", "objects": told})

    def _put(self, oid: str) -> None:
        if sha256(self.body) != oid:
            raise _Refused(400, "", f"expected content with SHA-256 {oid}, got {sha256(self.body)}")
        self.hub.uploaded[oid] = self.body
        self._send(200)

    def _commit(self, name: str, revision: str) -> None:
        if not self._known():
            raise _Refused(401, "", "Invalid username or password.")
        files, message = {}, ""
        for line in self.body.decode().splitlines():
            one = json.loads(line)
            if one["key"] == "header":
                message = one["value"]["summary"]
            elif one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                files[one["value"]["path"]] = self.hub.uploaded[one["value"]["oid"]]
            else:
                raise _Refused(400, "", f"unknown operation {one['key']}")
        oid = self._repository(name).commit(files, message=message)
        url = f"{self._page(name, self.kind)}/commit/{oid}"
        self._json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


_NAME, _REVISION = r"(?P<name>[\w.-]+/[\w.-]+)", r"(?P<revision>[\w.-]+)"
_API = rf"/api/(?:datasets|models)/{_NAME}"
_ROUTES = (
    (_API, _Handler._info),
    (rf"{_API}/revision/{_REVISION}", _Handler._info),
    (rf"{_API}/tree/{_REVISION}/?(?P<folder>.*)", _Handler._tree),
    (rf"{_API}/paths-info/{_REVISION}", _Handler._paths),
    (rf"(?:/datasets)?/{_NAME}/resolve/{_REVISION}/(?P<file>.+)", _Handler._resolve),
    (rf"/store/{_NAME}/{_REVISION}/(?P<file>.+)", _Handler._store),
    (r"/api/repos/create", _Handler._create),
    (r"/api/validate-yaml", _Handler._yaml),
    (rf"{_API}/preupload/{_REVISION}", _Handler._preupload),
    (rf"(?:/datasets)?/{_NAME}\.git/info/lfs/objects/batch", _Handler._batch),
    (r"/put/(?P<oid>[0-9a-f]{64})", _Handler._put),
    (rf"{_API}/commit/{_REVISION}", _Handler._commit),
)
