"""Which checkpoint a run goes on from: one that holds all that is trained, whatever else its files look like."""

from __future__ import annotations

import json

import pytest

from mammoth_utils import records
from mammoth_utils.training.loop import checkpoints

torch = pytest.importorskip("torch")

LAYERS = ("base_model.model.a", "base_model.model.b")
WEIGHTS = {f"{layer}.{half}": torch.ones(4, 2) for layer in LAYERS for half in ("lora_A", "lora_B")}


def sharded(place, step, weights=None, averages=None):
    """A checkpoint below ``.part`` as accelerate's FSDP2 leaves it, of an adapter in four matrices."""
    import torch.distributed.checkpoint as dcp

    written = place / checkpoints.PART / f"checkpoint-{step}"
    weights = WEIGHTS if weights is None else weights
    averages = WEIGHTS if averages is None else averages
    model = {f"{name}.weight": value for name, value in weights.items()}
    state = {f"state.{name}.default.weight.exp_avg": value for name, value in averages.items()}
    # Besides the averages, as in a real one: a number for each weight, and settings.
    state |= {f"state.{name}.default.weight.step": torch.tensor(1.0) for name in averages} | {"param_groups.0.lr": 0.1}
    for key, folder, content in (("model", "pytorch_model_fsdp_0", model), ("optimizer", "optimizer_0", state)):
        dcp.save({key: content}, checkpoint_id=written / folder, no_dist=True)
    (written / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    for name in ("scheduler.pt", "rng_state_0.pth"):
        torch.save({}, written / name)
    return written


def listed(written, place):
    """The checkpoint under its final name with a list of its files, as a program without today's checks left it."""
    files = {f.relative_to(written).as_posix(): f.stat().st_size for f in written.rglob("*") if f.is_file()}
    records.write_json(written / checkpoints.MANIFEST, {"processes": 2, "files": files})
    written.rename(place / written.name)
    return place / written.name


NAMES = list(WEIGHTS)
INCOMPLETE = {
    # What a wrapper in the modules' names made of every adapter.
    "no weights": ({"weights": {}}, "holds 0 of the 4 weights that are trained"),
    "half the layers": ({"weights": {n: WEIGHTS[n] for n in NAMES[:2]}}, "holds 2 of the 4 weights that are trained"),
    "one half of a pair": ({"weights": {n: WEIGHTS[n] for n in NAMES[:3]}}, f"{NAMES[3]}.weight is missing"),
    "another shape": (
        {"weights": WEIGHTS | {NAMES[0]: torch.ones(4, 1)}},
        f"{NAMES[0]}.weight is missing or has anoth",
    ),
    "an empty optimiser": ({"averages": {}}, "optimizer_0 holds no averages"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_shards_that_lack_a_trained_weight_are_passed_over_aloud_for_the_checkpoint_before(tmp_path, case):
    how, said = INCOMPLETE[case]
    checkpoints.commit(sharded(tmp_path, 2), tmp_path, 2)
    listed(sharded(tmp_path, 3, **how), tmp_path)
    lines = []
    assert checkpoints.find_checkpoint(tmp_path, lines.append).name == "checkpoint-2"
    assert "checkpoint-3 is passed over" in lines[0]
    assert said in lines[0]


@pytest.mark.parametrize("case", INCOMPLETE)
def test_shards_that_lack_a_trained_weight_take_no_good_checkpoints_place(tmp_path, case):
    how, said = INCOMPLETE[case]
    for step in (1, 2):
        checkpoints.commit(sharded(tmp_path, step), tmp_path, 2)
    with pytest.raises(RuntimeError, match=f"checkpoint-3 was not written whole.*{said}"):
        checkpoints.commit(sharded(tmp_path, 3, **how), tmp_path, 2)
    assert [folder.name for folder in checkpoints.list_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-1"]


@pytest.mark.parametrize("part", checkpoints.SHARDS)
@pytest.mark.parametrize(("content", "said"), [(None, "is missing"), (b"\x80\x04 no pickle of anything", "is damaged")])
def test_a_table_of_contents_that_cannot_be_read_is_a_fault(tmp_path, part, content, said):
    written = sharded(tmp_path, 3)
    table = written / part / ".metadata"
    table.unlink() if content is None else table.write_bytes(content)
    found = checkpoints.faults(listed(written, tmp_path))
    assert len(found) == 1
    assert found[0].startswith(f"{part}/.metadata {said}")


def test_an_adapter_file_without_a_tensor_is_a_fault(tmp_path):
    from safetensors.torch import save_file

    written = tmp_path / checkpoints.PART / "checkpoint-3"
    written.mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, written / name)
    (written / "trainer_state.json").write_text("{}")
    save_file({"a": torch.ones(2)}, written / "adapter_model.safetensors")
    kept = checkpoints.commit(written, tmp_path, 1)
    assert not checkpoints.faults(kept)
    save_file({}, kept / "adapter_model.safetensors")
    assert "adapter_model.safetensors is damaged" in checkpoints.faults(kept)
