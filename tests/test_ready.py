"""Readiness: what a run lacks on a machine is said within seconds, with what to do about it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections import namedtuple

import hub_bases
import pytest
import tiny_base

from mammoth_utils import paths, prompts, records, scales, training
from mammoth_utils.base_models import architectures, identify_base, locations, weights
from mammoth_utils.curation import ensure_dataset, mixtures
from mammoth_utils.curation.sources import release
from mammoth_utils.training import NotReadyError, check_readiness, finetune, readiness
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import encoding, guards
from mammoth_utils.training.loop.run_folder import claim_folder
from mammoth_utils.training.loop.tokenizer import load_tokenizer
from mammoth_utils.training.plan import planner, this_machine
from mammoth_utils.training.readiness import bytes_written, loading_memory

pytest.importorskip("torch")
LLAMA = "meta-llama/Llama-2-7b-hf"


def describe(*arguments, **parameters):
    """Describe a run for the GPUs that a test gives this machine."""
    return training.describe(*arguments, **parameters, gpus=this_machine.find_gpus())


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A 7b of small width in a folder that MAMMOTH_BASES may name."""
    root = tmp_path_factory.mktemp("bases")
    hub_bases.write(root / LLAMA, "7b")
    return root


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.delenv("MAMMOTH_BASES", raising=False)
    monkeypatch.setattr(this_machine, "find_gpus", list)
    monkeypatch.setattr(this_machine, "explain_torch", lambda cards: "")
    monkeypatch.setattr(this_machine, "free_memory", lambda: 500.0)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def seconds():
    """Every case ends within seconds; the models that some of them load are a few thousand weights."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 60, "an error that takes this long is found too late"


def refused(description: RunDescription) -> str:
    with pytest.raises(NotReadyError) as error:
        check_readiness(description)
    return str(error.value)


# --- where a base lies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["owner/name", "owner--name"])
def test_a_folder_of_bases_is_named_once_for_every_size(seven, here, monkeypatch, layout):
    root = seven
    if layout == "owner--name":
        root = here / "bases"
        shutil.copytree(seven / LLAMA, root / LLAMA.replace("/", "--"))
    assert describe("7b").base_path == LLAMA, "without the variable the name is the hub's"
    monkeypatch.setenv("MAMMOTH_BASES", str(root))
    description = describe("7b", method="lora")
    assert description.base == LLAMA, "what a run is does not depend on where this machine keeps it"
    assert description.base_path == str((root / layout.replace("owner/name", LLAMA).replace(
        "owner--name", LLAMA.replace("/", "--"))).resolve())  # fmt: skip
    assert any("base model in" in line for line in check_readiness(description))
    assert architectures.architecture_of(scales.scale("7b"), description.base).hidden == hub_bases.WIDTH
    assert describe("13b").base_path == "meta-llama/Llama-2-13b-hf", "one that the folder does not hold"
    assert weights.find_model(LLAMA) == description.base_path, "an adapter is evaluated on the same folder"


def test_a_variable_that_names_no_folder_is_no_fallback(here, monkeypatch):
    monkeypatch.setenv("MAMMOTH_BASES", str(here / "nowhere"))
    with pytest.raises(FileNotFoundError, match="MAMMOTH_BASES names .*nowhere, which is no folder"):
        _ = describe("7b").base_path


@pytest.mark.parametrize(("absent", "said"), [
    ("model-00002-of-00003.safetensors", "holds no model-00002-of-00003.safetensors"),
    ("config.json", "holds no config.json"),
    ("tokenizer.*", "holds no tokenizer.json or tokenizer.model"),
    ("model*", "holds no *.safetensors or pytorch_model*.bin"),
])  # fmt: skip
def test_a_folder_that_is_not_whole_is_told_what_it_lacks(seven, here, absent, said):
    folder = shutil.copytree(seven / LLAMA, here / "base")
    for file in folder.glob(absent):
        file.unlink()
    assert said in refused(describe("7b", base=str(folder), method="full"))


def test_a_base_is_known_by_its_content_and_a_hubs_by_its_commit(seven, here, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    pinned = describe("7b")
    assert identify_base(*pinned.base_source) == {"name": LLAMA, "revision": pinned.revision}
    assert identify_base(*describe("7b", revision="main").base_source) == {"name": LLAMA, "revision": None}
    monkeypatch.setenv("MAMMOTH_BASES", str(seven))
    assert len(identify_base(*pinned.base_source)["sha256"]) == 64


# --- what a machine lacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "absent", "words"), [
    ("qlora", "bitsandbytes", ["bitsandbytes, which method=qlora imports", "pip install -e '.[train]'",
                               "-p method lora needs no bitsandbytes"]),
    ("lora", "peft", ["peft, which method=lora imports", "pip install -e '.[train]'"]),
    ("full", "trl", ["trl, which method=full imports"]),
])  # fmt: skip
def test_a_method_without_its_library_says_how_to_get_it(seven, monkeypatch, method, absent, words):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == absent else there(name, *a))
    said = refused(describe("7b", base=str(seven / LLAMA), method=method))
    assert all(word in said for word in words), said
    with pytest.raises(NotReadyError, match=absent):
        finetune(describe("7b", base=str(seven / LLAMA), method=method), tiny_base.rows(4))


def test_a_tracker_that_is_not_installed_is_named_and_none_is_needed(seven, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else there(name, *a))
    base = str(seven / LLAMA)
    assert "`pip install wandb`, or leave it out of trackers" in refused(describe("7b", base=base, trackers="wandb"))
    assert check_readiness(describe("7b", base=base))


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "minutes", "words"), [
    (1_000_000, 30, ["disk: 0.16 GB for the model and its checkpoints", "has 0.00", "MAMMOTH_RUNS_DIR",
                     "-p checkpoint_minutes 0 keeps no checkpoint"]),
    (1_000_000, 0, ["disk: 0.01 GB for the model and its checkpoints", "MAMMOTH_RUNS_DIR"]),
])  # fmt: skip
def test_a_disk_without_room_says_how_much_is_needed_and_free(seven, monkeypatch, free, minutes, words):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 10**9 - free, free))
    said = refused(describe("7b", base=str(seven / LLAMA), method="full", checkpoint_minutes=minutes))
    assert all(word in said for word in words), said


def test_what_a_run_writes_follows_from_its_method():
    seven = architectures.ARCHITECTURES["7b", "llama"]
    full = bytes_written(describe("7b", method="full"), seven)
    assert full == (2 * seven.parameters, 3 * 12 * seven.parameters), "two checkpoints and the one being written"
    assert bytes_written(describe("7b", method="full", checkpoint_minutes=0), seven) == (2 * seven.parameters, 0)
    bf16 = bytes_written(describe("7b", method="full", master_weights="bf16"), seven)
    assert bf16 == (2 * seven.parameters, 3 * 6 * seven.parameters)
    lora = seven.lora_parameters(64)
    assert bytes_written(describe("7b", method="qlora"), seven) == (4 * lora, 3 * 12 * lora), "no merged model at 7B"


def test_the_pages_table_counts_the_disk_that_readiness_asks_for_and_the_base():
    seven = architectures.ARCHITECTURES["7b", "llama"]
    asked = sum(bytes_written(describe("7b", method="full"), seven)) + 2 * seven.parameters
    row = next(row for row in planner.cost_table() if (row["size"], row["family"]) == ("7b", "llama"))
    assert row["disk (GB)"] == round(asked / 1e9)


@pytest.mark.parametrize(("there", "free", "fits", "because"), [
    ({}, 150e6, False, "a fresh run needs all of its 160 MB"),
    ({"checkpoints/checkpoint-9/w": 50e6, "checkpoints/checkpoint-8/w": 50e6}, 65e6, True, "two of three are there"),
    ({"checkpoints/checkpoint-9/w": 50e6}, 65e6, False, "one is, and two and the model are still to come"),
    ({"checkpoints/.part/checkpoint-9/w": 100e6}, 65e6, True, "the next one is written where half of one lies"),
    ({"train.log": 150e6}, 65e6, False, "what serves another purpose makes no room"),
    ({"model/w": 150e6}, 150e6, False, "a model beyond its own size makes none for checkpoints"),
])  # fmt: skip
def test_a_run_that_goes_on_needs_room_for_what_its_folder_lacks(seven, monkeypatch, there, free, fits, because):
    description = describe("7b", base=str(seven / LLAMA), method="full")
    for name, size in there.items():
        file = description.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as opened:
            opened.truncate(int(size))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 0, free))
    if fits:
        assert any("of its folder" in line for line in check_readiness(description)), because
    else:
        assert "disk: " in refused(description), because


# --- what torch can do with the cards that the driver lists -----------------------------------------------------------

WHEEL = {"torch": "2.13.0", "cuda": "13.0", "archs": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
         "cards": [["NVIDIA A10G", 8, 6]], "error": ""}  # fmt: skip


@pytest.mark.parametrize(("found", "words"), [
    ({}, None),
    ({"cards": [["NVIDIA L4", 8, 9]]}, None),
    ({"cards": [["Tesla T4", 7, 5]]}, None),
    ({"torch": "2.13.0+cpu", "cuda": None, "archs": [], "cards": []},
     ["torch 2.13.0+cpu is built without CUDA", "`pip install --force-reinstall torch==2.13.0`"]),
    ({"cards": [], "error": "The NVIDIA driver on your system is too old (found version 12040)."},
     ["built for CUDA 13.0, cannot use them: The NVIDIA driver on your system is too old", "of CUDA 13 or newer"]),
    ({"cards": [["Tesla V100-SXM2-32GB", 7, 0]]},
     ["no code for Tesla V100-SXM2-32GB (compute capability 7.0), only sm_75", "sm_70", "one of CUDA 12.6"]),
    ({"cards": [["NVIDIA R100", 13, 0]]}, ["no code for NVIDIA R100 (compute capability 13.0)", "a newer one"]),
    ({"cards": []}, ["sees 0 of 1 cards", "CUDA_VISIBLE_DEVICES"]),
])  # fmt: skip
def test_a_card_that_torch_cannot_use_is_refused_before_anything_is_fetched(seven, monkeypatch, found, words):
    monkeypatch.setattr(this_machine, "explain_torch", lambda gpus: this_machine.explain_build(WHEEL | found, gpus))
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("NVIDIA A10G", 22.0)])
    description = describe("7b", base=str(seven / LLAMA), method="qlora", force=True)
    if words is None:
        assert check_readiness(description)
    else:
        said = refused(description)
        assert all(word in said for word in ("a card that torch can use: nvidia-smi lists NVIDIA A10G", *words)), said


@pytest.mark.parametrize(("archs", "capability", "runs", "because"), [
    (["sm_80"], (8, 9), True, "binary code runs on later minor versions of its generation"),
    (["sm_86"], (8, 0), False, "and not on earlier ones"),
    (["sm_80"], (9, 0), False, "nor on the next generation"),
    (["sm_80", "compute_80"], (9, 0), True, "PTX is compiled for any card since"),
    (["sm_90a"], (9, 0), True, "a letter means that one card"),
    (["sm_100a"], (10, 3), False, "and no other"),
    (["sm_100f"], (10, 3), True, "but for f, which means a family"),
    (["sm_120"], (12, 0), True, "two digits of generation"),
    ([], (8, 0), False, "a build for no card"),
])  # fmt: skip
def test_code_runs_on_the_cards_that_it_was_built_for(archs, capability, runs, because):
    assert this_machine.runs_on(archs, *capability) == runs, because


@pytest.mark.parametrize(("body", "words"), [
    (f"print('a warning'); print('PROBED ' + {json.dumps(json.dumps(WHEEL))})", ""),
    ("raise ModuleNotFoundError(\"No module named 'torch'\")", "No module named 'torch'"),
])  # fmt: skip
def test_torch_is_asked_in_a_process_of_its_own(monkeypatch, body, words):
    monkeypatch.undo()
    monkeypatch.setattr(this_machine, "PROBE", body)
    assert words in this_machine.explain_torch(1)
    assert bool(this_machine.explain_torch(1)) == bool(words)


def test_the_probe_itself_says_of_this_torch_what_it_was_built_for(monkeypatch):
    import torch

    monkeypatch.undo()
    said = this_machine.explain_torch(10_000)
    assert torch.__version__ in said
    assert ("is built without CUDA" in said) == (torch.version.cuda is None)


# --- a step's examples, and this machine's own memory -----------------------------------------------------------------


@pytest.mark.parametrize(("cards", "asked", "words"), [
    (1, {"micro_batch": 60}, ["a step of lora has 32", "1 process with micro_batch 60 has 60 rows",
                              "use -p micro_batch 31"]),
    (8, {"micro_batch": 8}, ["8 processes with micro_batch 8 have 64 rows", "-p micro_batch 3 or at most 4 processes"]),
    (8, {"nodes": 5}, ["40 processes with micro_batch 1 have 40 rows", "use at most 32 processes"]),
    (8, {"micro_batch": 3}, None),
    (8, {"nodes": 5, "method": "full"}, None),
])  # fmt: skip
def test_more_rows_than_a_step_has_examples_are_refused_with_the_choices(seven, monkeypatch, cards, asked, words):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 79.6)] * cards)
    description = describe("7b", base=str(seven / LLAMA), **{"method": "lora", **asked})
    if words is None:
        assert any("examples a step; a pass reads at least" in line for line in check_readiness(description))
    else:
        said = refused(description)
        assert all(word in said for word in words), said


def test_as_many_rows_as_examples_are_warned_of_unless_each_step_has_them_all(seven, monkeypatch):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 79.6)] * 8)
    asked = {"base": str(seven / LLAMA), "method": "lora", "micro_batch": 4}
    assert any(line.startswith("warning: a step's 32 examples") for line in check_readiness(describe("7b", **asked)))
    assert not any("warning" in line for line in check_readiness(describe("7b", **asked, max_steps=9)))


SEVENTY = architectures.ARCHITECTURES["70b", "llama"]


@pytest.mark.parametrize(("method", "cards", "asked", "gib", "because"), [
    ("full", 8, {}, 4 * SEVENTY.parameters / 2**30 + 8 * 0.6, "the first process holds the net in fp32"),
    ("full", 8, {"master_weights": "bf16"}, 2 * SEVENTY.parameters / 2**30 + 8 * 0.6, "or in bf16"),
    ("lora", 8, {}, 2 * SEVENTY.parameters / 2**30 + 8 * 0.6, "a base for adapters is in 16 bit"),
    ("qlora", 8, {}, 8 * (0.6 + 4 * 8192 * 28_672 / 2**30), "each process reads a tensor at a time onto its card"),
    ("full", 1, {}, 0.6 + 4 * 8192 * 28_672 / 2**30, "so does one that shares with nobody"),
])  # fmt: skip
def test_what_loading_puts_into_the_machines_own_memory_follows_from_the_method(
    monkeypatch, method, cards, asked, gib, because
):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H200", 140.0)] * cards)
    need, _ = loading_memory(describe("70b", method=method, **asked), SEVENTY, cards)
    assert need == pytest.approx(gib), because


@pytest.mark.parametrize(("free", "words"), [
    (64.0, "memory of the machine: 261.8 GiB of this machine's own memory for loading, where the first process holds "
           "the whole net in 32 bit until it is cut; 64 are free"),
    (300.0, "261.8 GiB of this machine's own memory for loading"),
    (None, "only Linux says so in /proc/meminfo"),
])  # fmt: skip
def test_a_machine_without_room_to_load_is_refused_unless_it_is_forced(monkeypatch, free, words):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H200", 140.0)] * 8)
    monkeypatch.setattr(this_machine, "free_memory", lambda: free)
    monkeypatch.setattr(readiness, "missing_files", lambda place: [])
    monkeypatch.setattr(readiness, "check_weights", lambda place, finite: None)
    monkeypatch.setattr(readiness, "find_cached", lambda name, revision="": paths.Path("snapshot"))
    monkeypatch.setattr(locations, "read_config", lambda base, revision="": None)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**14, 0, 10**14))
    asked = {"method": "full", "nodes": 2}
    if free == 64.0:
        assert words in refused(describe("70b", **asked))
        lines = check_readiness(describe("70b", **asked, force=True))
        assert any(line.startswith("warning: memory of the machine") for line in lines)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert check_readiness(describe("70b", **asked)), "a later process finds what the first one holds by then"
    else:
        assert any(words in line for line in check_readiness(describe("70b", **asked)))


def test_free_memory_is_linuxes_own_figure_and_nothing_elsewhere(here, monkeypatch):
    monkeypatch.undo()
    file = here / "meminfo"
    file.write_text("MemTotal:       99999999 kB\nMemFree: 5 kB\nMemAvailable:   16777216 kB\n")
    monkeypatch.setattr(this_machine, "MEMINFO", file)
    monkeypatch.setattr(this_machine.platform, "system", lambda: "Linux")
    assert this_machine.free_memory() == 16.0
    monkeypatch.setattr(this_machine.platform, "system", lambda: "Darwin")
    assert this_machine.free_memory() is None


# --- cards that are too small, too old or too few ---------------------------------------------------------------------


@pytest.mark.parametrize(("size", "method", "cards", "words"), [
    ("13b", "full", [24.0], ["13b full needs 222 GiB, this card has 24", "method qlora", "-p force true"]),
    ("70b", "qlora", [24.0], ["70b qlora needs", "such cards", "-p force true"]),
    ("13b", "full", [], ["an NVIDIA GPU: 13b has 13,015,864,320 parameters", "nvidia-smi lists none here",
                         "-p force true"]),
])  # fmt: skip
def test_a_run_that_cannot_fit_is_refused_with_what_would_and_starts_if_it_is_forced(
    seven, monkeypatch, size, method, cards, words
):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("RTX 4090", gib) for gib in cards])
    monkeypatch.setattr(readiness, "missing_files", lambda place: [])
    monkeypatch.setattr(readiness, "check_weights", lambda place, finite: None)
    monkeypatch.setattr(readiness, "find_cached", lambda name, revision="": paths.Path("snapshot"))
    monkeypatch.setattr(locations, "read_config", lambda base, revision="": None)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**14, 0, 10**14))
    said = refused(describe(size, method=method))
    assert all(word in said for word in words), said
    lines = check_readiness(describe(size, method=method, force=True))
    assert any(line.startswith("warning: ") and "since force=true" in line for line in lines)


@pytest.mark.parametrize(("card", "capability", "sharding", "words"), [
    ("Tesla T4", 7.5, "none", ["Tesla T4 has no bf16, so the run computes in fp16 with loss scaling"]),
    ("Tesla V100", 7.0, "none", ["fp16 with loss scaling"]),
    ("NVIDIA A10G", 8.6, "none", ["NVIDIA A10G: 7b qlora needs"]),
])  # fmt: skip
def test_cards_without_bf16_are_told_from_others(seven, monkeypatch, card, capability, sharding, words):
    program = _nvidia_smi(seven, f"{card}, {capability}")
    monkeypatch.setenv("PATH", f"{program}:/usr/bin:/bin")
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu(card, 15.0)])
    lines = check_readiness(describe("7b", base=str(seven / LLAMA), method="qlora", sharding=sharding))
    assert all(any(word in line for line in lines) for word in words), lines
    assert any("fp16" in line for line in lines) == (capability < 8)


@pytest.mark.parametrize(("compiler", "named", "header", "words"), [
    ("gcc", "", True, ""), ("clang", "", True, ""), ("", "", True, "neither gcc nor clang is here"),
    ("gcc", "icc", True, "CC names icc, which is no program here"), ("gcc", "", False, "Python.h is missing"),
])  # fmt: skip
def test_a_machine_whose_first_step_could_not_compile_the_loss_is_refused_before_anything_is_fetched(
    seven, tmp_path, monkeypatch, compiler, named, header, words
):
    tools, include = tmp_path / "bin", tmp_path / "include"
    tools.mkdir()
    include.mkdir()
    if compiler:
        (tools / compiler).write_text("#!/bin/sh\n")
        (tools / compiler).chmod(0o755)
    if header:
        (include / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("CC", named) if named else monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(this_machine.sysconfig, "get_paths", lambda scheme: {"include": str(include)})
    monkeypatch.setattr(this_machine, "is_installed", lambda package: True)
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 80.0)])
    monkeypatch.setattr(this_machine, "explain_torch", lambda count: "")
    description = describe("7b", base=str(seven / LLAMA), method="qlora")
    if words:
        said = refused(description)
        assert "a C compiler and Python.h, without which the first step ends: " in said
        assert words in said
    else:
        assert this_machine.explain_compiler() == ""
        check_readiness(description)


def test_without_triton_no_compiler_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(this_machine, "is_installed", lambda package: False)
    assert this_machine.explain_compiler() == ""


def test_cards_without_bf16_are_refused_where_weights_are_cut(seven, monkeypatch):
    monkeypatch.setenv("PATH", f"{_nvidia_smi(seven, 'Tesla V100, 7.0')}:/usr/bin:/bin")
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("Tesla V100", 32.0)] * 2)
    said = refused(describe("7b", base=str(seven / LLAMA), method="qlora", sharding="fsdp2"))
    assert "bf16: Tesla V100 has none" in said
    assert "-p sharding none, or -p devices 1" in said


def _nvidia_smi(folder, line):
    program = folder / line.split(",")[0].replace(" ", "") / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho '{line}'\n")
    program.chmod(0o755)
    return program.parent


# --- what a run is told and does not keep ---------------------------------------------------------------------------


def test_force_is_no_part_of_what_a_run_is(seven, monkeypatch):
    base = str(seven / LLAMA)
    forced, plain = describe("7b", base=base, force=True), describe("7b", base=base)
    assert forced.as_dict() == plain.as_dict()
    assert claim_folder(plain, tiny_base.rows(4)) is None
    assert claim_folder(forced, tiny_base.rows(4)) is None, "the same folder, the same run"
    stored = records.read_json(plain.folder / "run.json")
    assert not RunDescription.from_dict(stored).force
    monkeypatch.setenv("MAMMOTH_FORCE", "1")
    assert RunDescription.from_dict(stored).force, "as a page tells the workers that it starts"


# --- the data -----------------------------------------------------------------------------------------------------


def _curated(name: str, rows: list[dict]) -> None:
    folder = paths.run_dir("curate", name)
    records.write_jsonl(folder / mixtures.KEPT, rows)
    records.write_json(folder / "record.json", {})


def test_an_empty_data_set_says_how_to_make_it_again():
    _curated("mine", [])
    with pytest.raises(
        ValueError,
        match="holds no row of .*mine.*sources: none; make it again: name the file of rows, .*-p dataset PATH",
    ):
        mixtures.read_mixture(ensure_dataset("mine"), "hybrid", 0)


@pytest.mark.parametrize("column", mixtures.COLUMNS)
def test_a_missing_column_is_named_with_those_expected(column):
    row = {"source": "GSM8K (CoT)", "kind": "cot", "instruction": "a", "output": "b", "author": ""}
    del row[column]
    _curated("mine", [row])
    with pytest.raises(
        ValueError, match=f"has no {column}.*expected text in each of source, kind, instruction, output"
    ):
        mixtures.read_mixture(ensure_dataset("mine"), "hybrid", 0)


def test_a_release_that_is_empty_or_lacks_a_column_ends_before_anything_is_executed(here, monkeypatch):
    file = here / release.FILE
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(here))
    file.write_text("[]")
    with pytest.raises(ValueError, match="MathInstruct.json holds no row"):
        ensure_dataset("release")
    file.write_text(json.dumps([{"source": "data/CoT/gsm_train.json", "instruction": "a"}]))
    with pytest.raises(ValueError, match="row 0 lacks output"):
        ensure_dataset("release")


def test_a_release_that_is_nowhere_says_where_to_put_it(here, monkeypatch):
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(here))
    with pytest.raises(FileNotFoundError, match="download MathInstruct.json .212 MB. of TIGER-Lab/MathInstruct"):
        ensure_dataset("release")


# --- the tokenizer ------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_a_padding_token_gets_one_that_adds_no_row(seven):
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(seven / LLAMA)
    assert bare.pad_token_id is None, "as Llama 2's"
    with pytest.raises(ValueError, match="no padding token; tokenizer.prepare_tokenizer gives it one"):
        guards.check_tokenizer(bare, hub_bases.VOCABULARY)
    tokenizer = load_tokenizer(describe("7b", base=str(seven / LLAMA)))
    assert tokenizer.pad_token == "<unk>"
    assert len(tokenizer) == hub_bases.VOCABULARY, "no row is added, as the authors did"
    guards.check_tokenizer(tokenizer, hub_bases.VOCABULARY)


def test_rationales_round_trip_behind_their_prompts_under_a_sentencepiece_like_tokenizer(seven):
    tokenizer = load_tokenizer(describe("7b", base=str(seven / LLAMA)))
    for row in tiny_base.rows(6):
        prompt, answer = encoding.encode(prompts.alpaca(row["instruction"]), row["output"], tokenizer)
        assert prompt == tokenizer(prompts.alpaca(row["instruction"])).input_ids
        whole = tokenizer.decode([*prompt, *answer[:-1]], skip_special_tokens=True)
        assert whole.strip() == prompts.alpaca(row["instruction"]) + row["output"]
        assert answer[-1] == tokenizer.eos_token_id


def test_paged_moments_count_as_the_machines_own_memory(monkeypatch):
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 80.0)])
    architecture = readiness.architecture_of(scales.scale("7b"), "", "")
    plain, paged = (
        readiness.loading_memory(describe("7b", method="full", optimizer=name), architecture, 1)
        for name in ("adamw_8bit", "paged_adamw_8bit")
    )
    assert 12 < paged[0] - plain[0] < 14, "a byte for each of two moments, but those of the embedding, which have four"
    assert "GiB of the optimiser's paged moments" in paged[1]
