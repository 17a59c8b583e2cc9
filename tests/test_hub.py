"""The hub's side: a release loaded by name and a mixture published, against a server that speaks the hub's file API.

Each case runs in a process of its own, as a reader's does: the hub's library reads ``HF_ENDPOINT`` when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import _synthetic_release
import hub_server
import pytest

from mammoth_utils import hub, records
from mammoth_utils.curation import export, mixtures, publish
from mammoth_utils.curation.sources import hub_files, release

NAME, FILE = release.HUB_NAME, release.HUB_FILE


@pytest.fixture
def served():
    with hub_server.serve() as running:
        yield running


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A small release in the published form."""
    path = tmp_path_factory.mktemp("release") / FILE
    _synthetic_release.write(path, 400)
    return path.read_bytes()


def python(served, folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run some Python as a reader would, with nothing but ``HF_ENDPOINT`` pointing at the server."""
    for name in ("data", "runs"):
        (folder / name).mkdir(exist_ok=True)
    given = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MAMMOTH_DATA"))},
        "HF_ENDPOINT": served.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MAMMOTH_DATA_DIR": str(folder / "data"), "MAMMOTH_RUNS_DIR": str(folder / "runs"), **environment,
    }  # fmt: skip
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=120)


FETCH = """
import json
from mammoth_utils.curation.sources import release
origin = release.find_release()
print(json.dumps({**origin.as_dict(), "rows": sum(1 for _ in release.stream_release(origin.path))}))
"""


def fetched(served, folder: Path, **environment: str) -> dict:
    done = python(served, folder, FETCH, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refused(served, folder: Path, **environment: str) -> str:
    done = python(served, folder, FETCH, **environment)
    assert done.returncode == 1
    last = done.stderr[done.stderr.rindex("FileNotFoundError:") :]
    assert "put it there\n" in last
    assert "release/MathInstruct.json" in last
    return last


def test_the_release_is_read_by_its_hub_name_at_the_pinned_revision_and_once(served, content, tmp_path):
    served.holds(NAME, {FILE: content}, release.REVISION)
    served.holds(NAME, {FILE: b"[]"})  # what `main` has become since
    told = fetched(served, tmp_path)
    assert told == {
        "home": f"{served.url}/datasets/{NAME}",
        "revision": release.REVISION,
        "sha256": hub_server.sha256(content),
        "bytes": len(content),
        "rows": 400,
    }
    asked = [(method, path) for method, path, _ in served.asked]
    resolve = f"/datasets/{NAME}/resolve/{release.REVISION}/{FILE}"
    assert ("HEAD", resolve) in asked, "the etag was asked for"
    assert served.ranges() == [""], "the redirect was followed once, for the whole file"
    assert fetched(served, tmp_path) == told
    assert served.ranges() == [""], "a second reader finds it in the cache"


def test_a_branch_is_resolved_and_its_commit_recorded(served, content, tmp_path):
    served.holds(NAME, {FILE: b"[]"}, release.REVISION)
    newest = served.holds(NAME, {FILE: content})
    told = fetched(served, tmp_path, **{hub_files.REVISION_VARIABLE: "main"})
    assert (told["revision"], told["rows"]) == (newest, 400)


def test_a_cut_download_goes_on_where_it_broke(served, content, tmp_path):
    rows = content.decode().strip("[]\n")
    large = ("[" + ",".join([rows] * 80) + "]").encode()
    served.holds(NAME, {FILE: large}, release.REVISION)
    served.cut, served.cut_after = 2, 11 << 20
    told = fetched(served, tmp_path)
    assert (told["sha256"], told["rows"]) == (hub_server.sha256(large), 32_000)
    # The hub's library keeps what came in whole pieces of 10 MiB, and asks for the rest.
    assert served.ranges() == ["", f"bytes={10 << 20}-", f"bytes={20 << 20}-"]


def test_content_that_is_not_the_etags_is_refused(served, content, tmp_path):
    served.holds(NAME, {FILE: content}, release.REVISION)
    served.spoil = True
    assert f"expected content with SHA-256 {hub_server.sha256(content)}" in refused(served, tmp_path)


def test_a_gated_set_says_where_to_ask_and_a_token_opens_it(served, content, tmp_path):
    served.holds(NAME, {FILE: content}, release.REVISION)
    served.repositories[NAME].gated = True
    said = refused(served, tmp_path)
    assert f"{served.url}/datasets/{NAME} is gated: accept its conditions there" in said
    assert "set HF_TOKEN" in said
    assert "Access to dataset TIGER-Lab/MathInstruct is restricted" in said, "the hub's own words"
    assert fetched(served, tmp_path, HF_TOKEN=served.token)["rows"] == 400
    assert not served.leaked, "the token stays with the hub and does not follow the redirect"
    assert served.token not in said


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("absent", "there is no data set"),
        ("another revision", "has no revision 'b4fdc323"),
        ("another file", "has no file MathInstruct.json"),
        ("offline", "HF_HUB_OFFLINE is set"),
        # The hub's library asks again for twenty seconds before it gives up.
        pytest.param("down", "could not be read, and MathInstruct.json is not in the cache", marks=pytest.mark.long),
    ],
)
def test_what_the_hub_does_not_give_is_told_with_what_to_do(served, content, tmp_path, state, expected):
    environment = {"offline": {"HF_HUB_OFFLINE": "1"}, "down": {"HF_ENDPOINT": "http://127.0.0.1:9"}}.get(state, {})
    if state == "another file":
        served.holds(NAME, {"other.json": content}, release.REVISION)
    elif state != "absent":
        served.holds(NAME, {FILE: content})
    assert expected in refused(served, tmp_path, **environment)


def test_a_local_copy_is_taken_first_and_the_hub_is_not_asked(served, content, tmp_path):
    (tmp_path / "data" / "release").mkdir(parents=True)
    (tmp_path / "data" / "release" / FILE).write_bytes(content)
    told = fetched(served, tmp_path)
    assert (told["home"], told["revision"], told["rows"]) == ("local copy", "", 400)
    assert not served.asked


CURATE = """
import json
from mammoth_utils.curation import curate, describe
record = curate(describe("release", decontaminate="none"))
told = {one["name"]: [one["entered"], one["kept"], one["notes"]] for one in record["sources"]}
print(json.dumps({"world": record["world"], "sources": told}))
"""


def test_the_page_curates_the_release_of_the_hub_by_name_alone(served, content, tmp_path):
    served.holds(NAME, {FILE: content}, release.REVISION)
    done = python(served, tmp_path, CURATE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["world"] == "real"
    assert len(told["sources"]) == 14
    assert sum(entered for entered, _, _ in told["sources"].values()) == 400
    for entered, kept, notes in told["sources"].values():
        assert 0 < kept <= entered
        assert f"at revision {release.REVISION}" in notes
        assert hub_server.sha256(content) in notes


DATASETS = """
import json, sys, datasets
loaded = datasets.load_dataset(sys.argv[1] if len(sys.argv) > 1 else {name!r}, split="train"{more})
print(json.dumps([len(loaded), loaded.column_names, loaded[0]]))
"""


def test_datasets_loads_the_same_rows_by_the_same_name(served, content, tmp_path):
    served.holds(NAME, {FILE: content, "README.md": b"---\nlicense: mit\n---\n"}, release.REVISION)
    done = python(served, tmp_path, DATASETS.format(name=NAME, more=f", revision={release.REVISION!r}"))
    assert done.returncode == 0, done.stderr
    count, columns, first = json.loads(done.stdout.splitlines()[-1])
    assert (count, set(columns)) == (400, set(release.KEYS))
    assert first == json.loads(content)[0]


# --- publishing ---------------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path):
    """An exported mixture of a few generated rows."""
    folder = tmp_path / "curated"
    rows = [
        {"source": row["source"], "instruction": row["instruction"], "output": row["output"], "author": "generator",
         "kind": release.RELEASE_SOURCES[row["source"]].kind} for row, _ in _synthetic_release.rows(60)
    ]  # fmt: skip
    records.write_jsonl(folder / mixtures.KEPT, rows)
    records.write_json(folder / "run.json", {"schema": 1, "dataset": "miniature", "seed": 42})
    records.write_record(folder, {"page": "curate"})
    export.export_mixture(folder, tmp_path / "out", "hybrid", seed=1)
    return tmp_path / "out"


PUBLISH = """
import sys
from mammoth_utils.curation import publish
sys.exit(publish.main({arguments!r}))
"""
OURS = "someone/mini-mathinstruct"


def run_publish(served, folder, *arguments: str, token: str = "") -> subprocess.CompletedProcess:
    environment = {"HF_TOKEN": token} if token else {}
    return python(served, folder, PUBLISH.format(arguments=list(arguments)), **environment)


def test_a_mixture_is_published_as_one_commit_checked_there_and_loaded_back(served, exported, tmp_path):
    done = run_publish(served, tmp_path, str(exported), OURS, token=served.token)
    assert done.returncode == 0, done.stderr
    there = served.repositories[OURS]
    assert there.private, "private unless --public is given"
    assert f"at commit {there.head}" in done.stdout
    assert there.messages == ["initial commit", "mini-MathInstruct, mixture hybrid"]
    for name in publish.FILES:
        assert there.commits[there.head][name] == (exported / name).read_bytes()
        assert records.sha256(exported / name) in done.stdout
    assert served.token not in done.stdout + done.stderr
    code = DATASETS.format(name=OURS, more="")
    done = python(served, tmp_path, code, HF_TOKEN=served.token)
    assert done.returncode == 0, done.stderr
    count, _, first = json.loads(done.stdout.splitlines()[-1])
    assert (count, first) == (60, json.loads((exported / "train.json").read_text())[0])


def test_the_same_mixture_published_again_makes_no_new_commit(served, exported, tmp_path):
    first = run_publish(served, tmp_path, str(exported), OURS, "--public", token=served.token)
    again = run_publish(served, tmp_path, str(exported), OURS, "--public", token=served.token)
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert first.stdout == again.stdout
    assert not served.repositories[OURS].private
    assert len(served.repositories[OURS].commits) == 2


def test_nothing_is_published_without_a_token_and_nothing_asked_in_a_dry_run(served, exported, tmp_path):
    done = run_publish(served, tmp_path, str(exported), OURS)
    assert done.returncode == 1
    assert "a token that may write is read from HF_TOKEN" in done.stderr
    assert not served.repositories
    served.asked.clear()
    dry = run_publish(served, tmp_path, str(exported), OURS, "--dry-run", token=served.token)
    assert dry.returncode == 0
    assert "nothing was uploaded" in dry.stdout
    assert not served.asked


def test_a_folder_without_a_mixture_and_a_name_without_an_owner_are_refused(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found no README\.md, train\.json, data/train\.parquet"):
        publish.publish_mixture(tmp_path / "nothing", OURS)
    with pytest.raises(ValueError, match="expected OWNER/NAME, got 'mixture'"):
        publish.publish_mixture(exported, "mixture")


@pytest.mark.parametrize(("module", "expected"), [("httpx2", hub.HubError), ("elsewhere", None)])
def test_a_network_that_is_away_is_one_line_and_a_fault_of_ours_keeps_its_name(module, expected, monkeypatch, capsys):
    away = type("ConnectError", (Exception,), {"__module__": module})

    def refuse(*arguments, **more):
        raise away("[Errno 111] Connection refused")

    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(expected or away) as caught:
        hub.upload_files("owner/name", {"card.md": b"text"}, "dataset", "first")
    if expected:
        assert "cannot be reached ([Errno 111] Connection refused)" in str(caught.value)
        assert "nothing was sent" in str(caught.value)
