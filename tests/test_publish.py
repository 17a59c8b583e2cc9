"""A trained model on the hub, against a server that speaks its file API: what is sent, refused, and comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import types
from pathlib import Path

import hub_server
import pytest
import tiny_base
import yaml
from test_hub import python

from mammoth_utils import hub, licences, prompts, records, scales
from mammoth_utils.curation.sources import release
from mammoth_utils.training import describe, finetune, training_run
from mammoth_utils.training.export import merge_adapter, model_card, publish

BASE, OURS = "meta-llama/Llama-2-7b-hf", "someone/mammoth-test"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run for each method under the name of a real scale, of a base of a few thousand weights."""
    place = tmp_path_factory.mktemp("published")
    base = tiny_base.base(place / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(place / "runs"))
        for method in ("full", "qlora"):
            description = describe("7b", method=method, base=str(base), devices="cpu", max_length=320, max_steps=2,
                                   learning_rate=1e-3, name=method)  # fmt: skip
            finetune(dataclasses.replace(description, global_batch=4), tiny_base.rows(8))
    return place / "runs" / "train", base


@pytest.fixture
def served(runs):
    with hub_server.serve() as running:
        files = {file.name: file.read_bytes() for file in runs[1].iterdir()}
        running.holds(BASE, files, scales.scale("7b", "llama").revision, kind="model")
        yield running


def command(served, folder: Path, *arguments: str, token: str = ""):
    words = list(map(str, arguments))
    code = f"import sys\nfrom mammoth_utils.training.export import publish\nsys.exit(publish.main({words!r}))"
    return python(served, folder, code, **({"HF_TOKEN": token} if token else {}))


LOSS = """
import json, sys, torch
names, kind, row = {given}
from transformers import AutoModelForCausalLM, AutoTokenizer
if kind == "adapter":
    from peft import AutoPeftModelForCausalLM as AutoModelForCausalLM
read = []
for name in names:
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").eval()
    ids = tokenizer(row, return_tensors="pt").input_ids
    read.append([model(input_ids=ids, labels=ids).loss.item(), str(model.dtype), tokenizer.padding_side,
                 model.generation_config.eos_token_id])
print(json.dumps(read))
"""


def read_back(served, folder: Path, names: list[str], kind: str) -> list[list]:
    row = tiny_base.rows(2)[1]
    given = repr((names, kind, prompts.alpaca(row["instruction"]) + row["output"]))
    done = python(served, folder, LOSS.replace("{given}", given), HF_TOKEN=served.token)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize(("method", "kind"), [("full", "model"), ("qlora", "model"), ("qlora", "adapter")])
def test_what_a_run_left_is_published_as_one_commit_checked_and_loaded_back(served, runs, tmp_path, method, kind):
    folder = runs[0] / method
    flags = ["--adapter", "--base", BASE] if kind == "adapter" else ["--base", BASE]
    done = command(served, tmp_path, folder, OURS, *flags, token=served.token)
    assert done.returncode == 0, done.stderr
    there = served.repositories[OURS]
    assert (there.kind, there.private) == ("model", True)
    assert there.messages == ["initial commit", f"{method}: {kind}"], "one commit"
    assert f"at commit {there.head}" in done.stdout
    assert served.token not in done.stdout + done.stderr
    sent = there.commits[there.head]
    ours = {file.name for file in (folder / kind).iterdir()}
    assert set(sent) == ours | {".gitattributes", "README.md", "LICENSE.md", "record.json"}
    for name in ours - {"README.md", "LICENSE.md", "record.json", "GGUF.md", "adapter_config.json"}:  # with their names
        assert sent[name] == (folder / kind / name).read_bytes()
    for name, content in sent.items():
        if not name.endswith(".safetensors"):
            assert str(runs[0].parent).encode() not in content, f"{name} names a path of this machine"
    if kind == "adapter":
        config = json.loads(sent["adapter_config.json"])
        assert config["base_model_name_or_path"] == BASE
        here = records.read_json(folder / kind / "adapter_config.json")
        assert here["base_model_name_or_path"] == str(runs[1]), "here it still loads from the folder"
    (loss, dtype, side, end), (here_too, *_) = read_back(served, tmp_path, [OURS, str(folder / kind)], kind)
    assert loss == pytest.approx(here_too, abs=1e-5)
    assert (side, end) == ("left", 1)
    assert dtype == ("torch.bfloat16" if kind == "model" else "torch.float32")


BY_NAME = """
import sys
sys.path.insert(0, {tests!r})
import dataclasses, tiny_base
from mammoth_utils.training import describe, finetune
from mammoth_utils.training.export import publish
description = describe("7b", method="lora", devices="cpu", max_length=320, max_steps=2, name="by-name")
finetune(dataclasses.replace(description, global_batch=4), tiny_base.rows(8))
sys.exit(publish.main([str(description.folder), {name!r}, "--adapter"]))
"""


@pytest.mark.long
def test_an_adapter_of_a_base_from_the_hub_names_it_with_its_commit(served, tmp_path):
    commit = served.repositories[BASE].head
    code = BY_NAME.format(tests=str(Path(__file__).parent), name=OURS)
    done = python(served, tmp_path, code, HF_TOKEN=served.token)
    assert done.returncode == 0, done.stderr
    sent = served.repositories[OURS].commits[served.repositories[OURS].head]
    config = json.loads(sent["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (BASE, commit)
    assert front(sent["README.md"].decode())["base_model"] == BASE
    assert "its use policy binds" in sent["LICENSE.md"].decode()
    assert read_back(served, tmp_path, [OURS], "adapter")[0][0] > 0


@pytest.mark.long
def test_the_same_model_published_again_makes_no_new_commit(served, runs, tmp_path):
    for _ in range(2):
        done = command(served, tmp_path, runs[0] / "qlora", OURS, "--base", BASE, "--public", token=served.token)
        assert done.returncode == 0, done.stderr
    assert len(served.repositories[OURS].commits) == 2
    assert not served.repositories[OURS].private


def test_nothing_is_published_without_a_token_and_nothing_asked_in_a_dry_run(served, runs, tmp_path):
    done = command(served, tmp_path, runs[0] / "full", OURS)
    assert done.returncode == 1
    assert "nobody is signed in; a token that may write is read from HF_TOKEN" in done.stderr
    assert OURS not in served.repositories
    served.asked.clear()
    dry = command(served, tmp_path, runs[0] / "full", OURS, "--dry-run", token=served.token)
    assert dry.returncode == 0
    assert "model.safetensors: " in dry.stdout
    assert "nothing was uploaded" in dry.stdout
    assert not served.asked


def test_a_token_that_may_not_write_is_told_with_the_hubs_own_words(served, runs, tmp_path):
    done = command(served, tmp_path, runs[0] / "full", OURS, token="hf_of_another")
    assert done.returncode == 1
    assert "Invalid username or password" in done.stderr
    assert "hf_of_another" not in done.stderr


def _unfinished(folder):
    (folder / "record.json").unlink()


def _changed(folder):
    file = folder / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def _merged_past_the_command(folder):
    record = records.read_json(folder / "record.json")
    del record["merging"]["hash"]
    records.write_json(folder / "record.json", record)


def _merged_later(folder):
    """A large base's run: what it recorded when it ended, then merged by the command, then changed."""
    record = records.read_json(folder / "record.json")
    record["merging"] = {"command": merge_adapter.merge_command(folder, "cpu"), "needs": "5 GB"}
    record["model"]["folders"] = ["adapter"]
    records.write_json(folder / "record.json", record)
    shutil.rmtree(folder / "model")
    assert merge_adapter.main([str(folder)]) == 0
    _changed(folder)


def _emptied(folder):
    shutil.rmtree(folder / "adapter")
    shutil.rmtree(folder / "model")


def _unmerged(folder):
    shutil.rmtree(folder / "model")


def _names_a_place(folder):
    file = folder / "model" / "config.json"
    records.write_json(file, records.read_json(file) | {"_name_or_path": str(folder.parent / "base")})


@pytest.mark.parametrize(
    ("damage", "kind", "base", "said"),
    [
        (_unfinished, "model", "", "holds no record.json: the run has not finished"),
        (_changed, "model", "", "they were changed after the run"),
        (_merged_past_the_command, "model", "", "knows no hash of model/, so nothing says that it is what was trained"),
        (_merged_later, "model", "", "they were changed after the run"),
        (_emptied, "auto", "", "holds neither model/ nor adapter/ with safetensors"),
        (_unmerged, "model", "", "`python -m mammoth_utils.training.export.merge_adapter"),
        (_names_a_place, "model", "", "config.json names "),
        (lambda folder: None, "adapter", "", "say --base OWNER/NAME, or publish the merged model"),
        (lambda folder: None, "weights", "", "holds no weights/, only model and adapter"),
    ],
)
def test_what_should_not_be_published_is_refused_before_the_hub_is_asked(
    runs, tmp_path, monkeypatch, damage, kind, base, said
):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    folder = shutil.copytree(runs[0] / "qlora", tmp_path / "runs" / "train" / "qlora")
    damage(folder)
    with pytest.raises((FileNotFoundError, ValueError)) as error:
        publish.publish(folder, OURS, kind, base)
    assert said in str(error.value)


def test_a_model_that_was_merged_after_its_run_is_published_with_its_hash(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    folder = shutil.copytree(runs[0] / "qlora", tmp_path / "runs" / "train" / "qlora")
    before = (folder / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "model")
    assert merge_adapter.main([str(folder)]) == 0
    assert (folder / "model" / "model.safetensors").read_bytes() == before, "what the run itself merges"
    record = records.read_json(folder / "record.json")
    upload = publish.publish(folder, OURS, base=BASE, dry_run=True)
    sent = publish.hub_files(folder, "model", record, OURS, BASE)
    assert set(upload.files) == set(sent) >= {"model.safetensors", "README.md"}
    assert record["merging"]["hash"].encode() in sent["README.md"]
    assert json.loads(sent["record.json"])["merging"]["checked"] == record["merging"]["checked"]
    assert str(tmp_path).encode() not in sent["record.json"]


def test_a_name_without_an_owner_is_refused(runs):
    with pytest.raises(ValueError, match="expected OWNER/NAME, got 'mine'"):
        publish.publish(runs[0] / "full", "mine", dry_run=True)


def entry(size: int = 5, blob_id: str = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", lfs: str = ""):
    """What the hub lists of a file that holds ``hello``."""
    return types.SimpleNamespace(size=size, blob_id=blob_id, lfs=types.SimpleNamespace(sha256=lfs) if lfs else None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (entry(), ""),
        (entry(lfs=hub_server.sha256(b"hello")), ""),
        (None, "is not there as it was sent"),
        (entry(size=4), "is not there as it was sent"),
        (entry(blob_id="0" * 40), "has git's id 0000"),
        (entry(lfs="1" * 64), "has SHA-256 1111"),
    ],
)
def test_another_content_on_the_hub_than_was_sent_is_refused(tmp_path, found, said):
    (tmp_path / "file").write_bytes(b"hello")
    for content in (b"hello", tmp_path / "file"):
        sent = hub.UploadedFile(5, hub_server.sha256(b"hello"))
        with pytest.raises(hub.HubError, match=said) if said else contextlib.nullcontext():
            hub._check_entry("page", "config.json", content, sent, found)


def test_a_kind_that_the_hub_does_not_have_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'space'; known: dataset, model"):
        hub.upload_files(OURS, {}, "space", "message")


# ---- the card


@pytest.fixture
def record(runs):
    return records.read_json(runs[0] / "qlora" / "record.json")


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_is_what_the_hub_reads(record):
    from huggingface_hub import ModelCard

    text = model_card.card_files(record, "adapter", OURS, BASE)["README.md"]
    told = ModelCard(text)
    assert told.data.base_model == BASE
    assert told.data.library_name == "peft"
    assert told.data.pipeline_tag == "text-generation"
    assert front(text) == {
        "language": ["en"], "license": "other", "license_name": "inherited-from-base-and-data",
        "license_link": "LICENSE.md", "library_name": "peft", "pipeline_tag": "text-generation", "base_model": BASE,
        "base_model_relation": "adapter", "datasets": ["TIGER-Lab/MathInstruct"],
        "tags": ["math", "chain-of-thought", "program-of-thought", "qlora"],
    }  # fmt: skip
    assert model_card.RELEASE == release.HUB_NAME


def test_the_card_says_what_was_trained_and_how_it_went(record):
    text = model_card.card_files(record, "model", OURS, BASE)["README.md"]
    for said in (
        f"{record['losses']['first']:.3f} at first, {record['losses']['last']:.3f} over the last tenth",
        f"{record['model']['trained']:,} of {record['model']['parameters']:,}",
        "2 steps of 4.0 examples, AdamW, peak rate 0.001, cosine, 3% warm-up, seed 0",
        "| mini-cot | 4 |",
        "the dequantised 4-bit base, the net that was trained",
        "The paper trained all weights; an adapter is a cheaper relative",
        f"-p size 7b -p family llama -p model {OURS}",
        record["model"]["hash"],
    ):
        assert said in text, said


def test_the_template_of_the_card_is_the_trainings_to_the_byte_and_its_lines_run(runs, capsys):
    text = (runs[0] / "full" / "model" / "README.md").read_text()
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    space: dict = {}
    assert "name = 'runs/train/full/model'" in block
    exec(block.replace("runs/train/full/model", str(runs[0] / "full" / "model")), space)
    assert space["template"] == prompts.ALPACA
    assert space["trigger"] == prompts.POT_TRIGGER
    question = space["question"]
    assert (
        space["asked"].input_ids[0].tolist()
        == space["tokenizer"](prompts.alpaca(prompts.pot_instruction(question))).input_ids
    )
    assert capsys.readouterr().out


def test_the_lines_of_an_adapters_card_load_it_on_the_base_as_it_was_trained(runs):
    text = (runs[0] / "qlora" / "adapter" / "README.md").read_text()
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    space: dict = {}
    exec(block.replace("runs/train/qlora/adapter", str(runs[0] / "qlora" / "adapter")), space)
    held = [module for module in space["model"].modules() if type(module).__module__.startswith("bitsandbytes")]
    assert len(held) == 14
    assert not any(module.support_avx512bf16_for_cpu for module in held)
    assert "its base, quantised to nf4 and dequantised again" in text


def sourced(record: dict, *names: str, world: str = "real", base: str = BASE) -> dict:
    changed = json.loads(json.dumps(record))
    changed["dataset"]["encoding"]["sources"] = {name: 10 for name in names}
    changed["world"], changed["parameters"]["base"] = world, base
    return changed


@pytest.mark.parametrize(
    ("sources", "base", "world", "tag", "because"),
    [
        (["GSM8K (PoT)", "AQuA-RAT (CoT)"], "meta-llama/Llama-2-7b-hf", "real", "llama2", "notices do not bind more"),
        (["GSM8K (PoT)"], "Qwen/Qwen2.5-0.5B", "real", "apache-2.0", "the base's own"),
        (["GSM8K (PoT)"], "NousResearch/Llama-2-7b-hf", "real", "llama2", "a copy has the original's"),
        (["GSM8K (PoT)"], "Qwen/Qwen2.5-3B", "real", "other", "another of the owner's models, under other terms"),
        (["MATH (CoT)", "Camel-Math (CoT)"], "Qwen/Qwen2.5-0.5B", "real", "cc-by-nc-4.0", "the data's binds the model"),
        (["Camel-Math (CoT)"], "meta-llama/Llama-2-7b-hf", "real", "other", "two that bind"),
        (["GSM8K-RFT (CoT)"], "Qwen/Qwen2.5-0.5B", "real", "other", "nobody has given permission"),
        (["GSM8K (PoT)"], "someone/a-base", "real", "other", "a base whose licence is not known here"),
        (["mini-Camel-Math (CoT)"], "llama-1m", "miniature", "mit", "generated text under a borrowed name"),
    ],
)
def test_a_model_inherits_the_licences_of_its_base_and_of_its_data(record, sources, base, world, tag, because):
    told = model_card.card_files(sourced(record, *sources, world=world, base=base), "model", OURS)
    assert front(told["README.md"])["license"] == tag, because
    if world == "real":
        assert licences.of_base(base).model in told["LICENSE.md"]
        for name in sources:
            assert f"| the data | {licences.of_source(name)} | 10 |" in told["LICENSE.md"]
    else:
        assert "base_model" not in front(told["README.md"])
        assert "A miniature" in told["README.md"]


def test_a_model_of_a_rebuilt_set_inherits_the_licences_of_the_files_that_were_read(record):
    changed = sourced(record, "MathQA (PoT)", "GSM8K (CoT)", base="Qwen/Qwen2.5-0.5B")
    changed["dataset"]["files"] = {"MathQA (PoT)": ["train/lila_mathqa_gain_train.jsonl.gz"]}
    told = model_card.card_files(changed, "model", OURS)
    assert "| the data | CC-BY-4.0 | 10 |" in told["LICENSE.md"], "Lila's own, beside the set's Apache-2.0"
    assert "| the data | Apache-2.0 | 10 |" in told["LICENSE.md"]
    assert "| the data | MIT | 10 |" in told["LICENSE.md"], "a source whose files are not named has Table 1's"


def test_a_run_records_the_files_that_its_data_set_was_read_from(runs_dir):
    place = runs_dir / "curate" / "mine"
    place.mkdir(parents=True)
    sources = [{"name": "GSM8K (CoT)", "files": {"train/gsm8k_train.jsonl.gz": "0" * 64}}, {"name": "MATH (CoT)"}]
    (place / "record.json").write_text(json.dumps({"sources": sources}))
    assert training_run._provenance("mine")["files"] == {"GSM8K (CoT)": ["train/gsm8k_train.jsonl.gz"]}
    assert training_run._provenance("elsewhere") == {"files": {}}


def test_every_run_leaves_its_card_beside_its_weights(runs):
    for place in (runs[0] / "full" / "model", runs[0] / "qlora" / "model", runs[0] / "qlora" / "adapter"):
        text = (place / "README.md").read_text()
        assert front(text)["library_name"] == ("peft" if place.name == "adapter" else "transformers")
        assert str(runs[1]) not in text + (place / "record.json").read_text()
        assert (place / "LICENSE.md").read_text().startswith("# Licences\n")
