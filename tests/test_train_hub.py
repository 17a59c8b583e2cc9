"""Bases of the hub, against a server that speaks its file API: looked at, fetched, checked, refused, and trained.

The server holds models of small width under the real names and commits, and a small release, so what is asked of it
is what the real hub would be asked. Each case runs in a process of its own, as a reader's does: the hub's library reads
``HF_ENDPOINT`` when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hub_bases
import hub_server
import pytest

from mammoth_utils import records, scales
from mammoth_utils.curation.sources import release

ROOT = Path(__file__).resolve().parent.parent
THIRTEEN = scales.scale("13b")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A 13b whose files of weights are longer than the pieces in which the hub's library keeps what came."""
    return hub_bases.files(hub_bases.write(tmp_path_factory.mktemp("base"), "13b", width=192))


@pytest.fixture
def served(files):
    with hub_server.serve() as running:
        running.holds(THIRTEEN.base, files, THIRTEEN.revision, kind="model")
        yield running


def environment(served, folder: Path, **given: str) -> dict[str, str]:
    """A reader's, with nothing but ``HF_ENDPOINT`` pointing at the server, and nothing in the cache."""
    for name in ("data", "runs"):
        (folder / name).mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MAMMOTH_DATA"))}
    return {
        **kept, "HF_ENDPOINT": served.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "MAMMOTH_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "1",
        "MAMMOTH_RUNS_DIR": str(folder / "runs"), "CUDA_VISIBLE_DEVICES": "", **given,
    }  # fmt: skip


FETCH = """
import json, sys
from mammoth_utils import base_models, training
base, revision = sys.argv[1:] if len(sys.argv) > 1 else ("", "")
found = base_models.locate_base("13b", "auto", base, revision)
description = training.describe("13b", base=base, revision=revision, method="lora")
lines, said = training.check_readiness(description), []
place = base_models.fetch_base(*description.base_source, say=said.append)
told = {"found": found, "ready": lines, "said": said, "files": sorted(file.name for file in place.iterdir()),
        "identity": base_models.identify_base(*description.base_source), "place": str(place),
        "evaluated": base_models.base_at_revision(description.base, description.revision),
        "share": training.trainable_share(description).weights}
print(json.dumps(told))
"""


def run(served, folder: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", FETCH, *arguments]
    return subprocess.run(
        command, env=environment(served, folder, **given), capture_output=True, text=True, timeout=120
    )


def fetched(served, folder: Path, *arguments: str, **given: str) -> dict:
    done = run(served, folder, *arguments, **given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refused(served, folder: Path, *arguments: str, **given: str) -> str:
    done = run(served, folder, *arguments, **given)
    assert done.returncode == 1, done.stdout
    assert served.token not in done.stdout + done.stderr
    return done.stderr[done.stderr.rindex("Error: ") :]


def test_a_base_is_fetched_by_name_at_its_pinned_commit_and_once(served, files, tmp_path):
    served.holds(THIRTEEN.base, {"config.json": b"{}"}, kind="model")  # what `main` has become since
    told = fetched(served, tmp_path)
    assert told["found"].startswith(f"{THIRTEEN.base} at {THIRTEEN.revision} on the hub, 0.0")
    assert told["identity"] == {"name": THIRTEEN.base, "revision": THIRTEEN.revision}
    wanted = {
        name for name in files if not name.startswith("pytorch_model") and name not in ("README.md", "LICENSE.txt")
    }
    assert set(told["files"]) == wanted, "weights once, in safetensors, and what belongs to them"
    assert "each as the hub's SHA-256 says" in told["said"][-1]
    assert any("GB of it to be fetched" in line for line in told["ready"])
    assert any("GB of disk for the base model" in line for line in told["ready"])
    assert any("parameters train on the CPU" in line for line in told["ready"]), "the planner read the base's own shape"
    assert told["evaluated"] == told["place"], "an adapter is evaluated on the commit that it was trained on"
    assert not served.leaked
    asked = len(served.asked)
    again = fetched(served, tmp_path)
    assert again["found"] == f"{THIRTEEN.base} at {THIRTEEN.revision} in the hub's cache"
    assert again["said"] == []
    assert len(served.asked) == asked, "a second reader finds it in the cache and asks nothing"
    assert fetched(served, tmp_path, HF_HUB_OFFLINE="1")["identity"] == told["identity"]


def test_a_branch_is_resolved_and_its_commit_kept(served, files, tmp_path):
    newest = served.holds(THIRTEEN.base, {"README.md": b"a word more\n"}, kind="model")
    told = fetched(served, tmp_path, "", "main")
    assert told["identity"]["revision"] == newest != THIRTEEN.revision


def test_a_cut_download_goes_on_where_it_broke(served, files, tmp_path):
    served.cut, served.cut_after = 4, 11 << 20  # every first answer, of which those of long files break
    assert fetched(served, tmp_path)["identity"]["revision"] == THIRTEEN.revision
    # The hub's library keeps what came in whole pieces of 10 MiB, and asks for the rest.
    long = [name for name, content in files.items() if name.endswith(".safetensors") and len(content) > 11 << 20]
    assert len(long) >= 2
    assert served.ranges().count(f"bytes={10 << 20}-") == len(long)


def test_content_that_is_not_what_the_hub_says_is_refused_with_the_file_to_remove(served, files, tmp_path):
    served.spoil = True
    said = refused(served, tmp_path)
    assert "expected 12," in said
    assert f"SHA-256 {hub_server.sha256(files['model-00001-of-00003.safetensors'])}" in said
    assert "and try again" in said


def test_a_gated_base_names_the_page_the_variable_and_an_ungated_copy(served, files, tmp_path):
    served.repositories[THIRTEEN.base].gated = True
    said = refused(served, tmp_path)
    assert f"{served.url}/{THIRTEEN.base} is gated, and HF_TOKEN is not set" in said
    assert "Access to model meta-llama/Llama-2-13b-hf is restricted" in said, "the hub's own words"
    assert f"Where {served.url}/{THIRTEEN.base} asks for consent, give it there, signed in, and set HF_TOKEN" in said
    assert "an ungated copy of the same weights: -p base NousResearch/Llama-2-13b-hf" in said
    assert "the token in HF_TOKEN has no access yet" in refused(served, tmp_path, HF_TOKEN="hf_of_another")
    assert fetched(served, tmp_path, HF_TOKEN=served.token)["identity"]["revision"] == THIRTEEN.revision
    assert not served.leaked, "the token stays with the hub and does not follow the redirect"


def test_the_copy_that_the_message_names_is_taken_by_its_name(served, files, tmp_path):
    commit = served.holds("NousResearch/Llama-2-13b-hf", files, kind="model")
    told = fetched(served, tmp_path, "NousResearch/Llama-2-13b-hf", "")
    assert told["identity"] == {"name": "NousResearch/Llama-2-13b-hf", "revision": commit}


@pytest.mark.parametrize(("state", "arguments", "given", "words"), [
    ("absent", (), {}, ["there is no model", "HF_TOKEN names no account that may read it"]),
    ("there", ("", "v9"), {}, ["has no revision 'v9'; -p revision main takes what is there now"]),
    ("without weights", (), {}, ["holds no weights in a known form"]),
    ("there", (), {"HF_HUB_OFFLINE": "1"}, ["is not in the hub's cache on this machine, and HF_HUB_OFFLINE is set",
                                            "hf download meta-llama/Llama-2-13b-hf"]),
    ("there", (), {"HF_ENDPOINT": "http://127.0.0.1:9"}, ["the hub cannot be reached", "-p base PATH"]),
])  # fmt: skip
def test_what_the_hub_does_not_give_is_told_in_seconds_with_what_to_do(
    served, files, tmp_path, state, arguments, given, words
):
    if state == "absent":
        del served.repositories[THIRTEEN.base]
    elif state == "without weights":
        kept = {name: content for name, content in files.items() if not name.startswith(("model", "pytorch"))}
        served.repositories[THIRTEEN.base].commits[THIRTEEN.revision] = kept
    said = refused(served, tmp_path, *arguments, **given)
    assert said.startswith("Error: llama-13b-hybrid-lora-s0")
    for word in words:
        assert word in said


@pytest.mark.long
def test_from_an_empty_cache_the_command_of_this_project_trains_by_hub_name(served, files, tmp_path):
    """``papermill notebooks/train.ipynb runs/train-13b.ipynb -p size 13b``, unchanged, with a token and a cut."""
    hub_bases.small_release(tmp_path / "made" / "MathInstruct.json", 3)
    content = (tmp_path / "made" / "MathInstruct.json").read_bytes()
    served.holds(release.HUB_NAME, {release.HUB_FILE: content}, release.REVISION)
    served.repositories[THIRTEEN.base].gated = True
    served.cut, served.cut_after = 3, 11 << 20
    out = tmp_path / "runs" / "train-13b.ipynb"
    given = environment(served, tmp_path, HF_TOKEN=served.token, MAMMOTH_ROOT=str(ROOT))
    command = [sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(out), "-p", "size", "13b"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    record = records.read_json(tmp_path / "runs" / "train" / "llama-13b-hybrid-full-s0" / "record.json")
    assert record["base"] == {"name": THIRTEEN.base, "revision": THIRTEEN.revision}
    curated = records.read_json(tmp_path / "runs" / "curate" / "release" / "record.json")
    assert all(f"at revision {release.REVISION}" in source["notes"] for source in curated["sources"] if source["kept"])
    assert all(hub_server.sha256(content) in source["notes"] for source in curated["sources"] if source["kept"])
    assert curated["parameters"]["decontaminate"] == "none", "no benchmark's file was there to compare with"
    assert record["steps"] == max(1, round(3 * record["dataset"]["encoding"]["kept"] / 128))
    page = out.read_text(encoding="utf8")
    assert "papermill notebooks/evaluate.ipynb runs/evaluate-13b-llama-hybrid.ipynb -p size 13b" in page
    assert served.token not in page
    assert not served.leaked
