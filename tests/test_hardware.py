"""The page on hardware: its figures show every plan and every measurement, and refuse to show nothing."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import pandas
import pytest

from mammoth_utils import records
from mammoth_utils.report import figures
from mammoth_utils.training import hardware_tables
from mammoth_utils.training.plan import measurements
from mammoth_utils.training.plan.memory import PARTS


def words(figure):
    figure.canvas.draw()
    return [
        text.get_text() for axis in figure.axes for text in (*axis.texts, *axis.get_yticklabels(), axis.xaxis.label)
    ]


def plans(gpu="H100", gpus=1):
    machine = hardware_tables.Hardware.of(gpu, gpus, 0, 2048, 1, True)
    return pandas.DataFrame(hardware_tables.scale_table(machine)), machine


def test_families_that_need_the_same_share_a_row():
    frame, machine = plans()
    merged = pandas.DataFrame(hardware_tables.merge_families(frame.to_dict("records")))
    families = merged.groupby("size")["family"].unique().map(list)
    assert families["0.5b"] == ["qwen, qwen-coder, qwen-coder-instruct"]
    assert families["7b"] == ["llama, coder", "mistral"]
    assert len(merged) == 3 * sum(map(len, families))
    assert len(hardware_tables.merge_families(hardware_tables.advice_table(machine))) == (~merged["fits"]).sum()


@pytest.mark.parametrize(
    ("gpu", "gpus", "parts"),
    [("H100", 1, len(PARTS) - 1), ("RTX 4090", 8, len(PARTS))],
    ids=["nothing to load twice", "a share of a 4-bit net"],
)
def test_every_plan_has_a_bar_of_its_parts_and_its_total_written_on(gpu, gpus, parts):
    frame, machine = plans(gpu, gpus)
    figure = figures.memory_by_part(frame, machine.gpu.gib, str(machine))
    axis = figure.axes[0]
    assert len(axis.patches) == len(frame) * parts
    for number, row in enumerate(frame.to_dict("records")):
        bar = axis.patches[number * parts : (number + 1) * parts]
        assert sum(part.get_width() for part in bar) == pytest.approx(row["total"])


def test_a_bar_beyond_the_axis_carries_its_length():
    frame, machine = plans()
    shown = words(figures.memory_by_part(frame, machine.gpu.gib, str(machine)))
    assert "1,165 GiB" in shown, "a bar beyond the axis carries its length"
    assert " 75 GiB" in shown, "the card's memory"
    assert "70b llama qlora" in shown
    assert any(f"n = {len(frame)} plans" in text for text in shown)


def test_a_bar_that_is_cut_keeps_its_text_inside_the_axis():
    frame, machine = plans("T4")
    figure = figures.memory_by_part(frame, machine.gpu.gib, str(machine))
    figure.canvas.draw()
    axis = figure.axes[0]
    right = axis.get_xlim()[1]
    assert right >= figures.AXIS_REACH * machine.gpu.gib * 0.999
    assert all(text.get_position()[0] <= right for text in axis.texts)


def test_the_parts_of_the_figure_are_the_planners():
    assert tuple(figures.MEMORY_COLOURS) == PARTS
    assert len(set(figures.MEMORY_COLOURS.values())) == len(PARTS)


def test_every_measurement_has_a_mark_and_the_band_is_the_bound():
    frame = pandas.DataFrame(hardware_tables.measured_table(measurements.committed_measurements()))
    figure = figures.planned_against_measured(frame, 15)
    axis = figure.axes[0]
    marks = [
        line for line in axis.lines if line.get_marker() in figures.METHOD_MARKERS.values() and len(line.get_xdata())
    ]
    assert sorted(line.get_xdata()[0] for line in marks) == sorted(frame["peak, %"])
    assert set(frame["net"]) <= set(words(figure))
    assert any(f"n = {len(frame)} runs" in text for text in words(figure))


@pytest.mark.parametrize(
    "draw",
    [lambda: figures.memory_by_part(pandas.DataFrame(), 80, "H100"),
     lambda: figures.planned_against_measured(pandas.DataFrame(), 15)],
    ids=["parts", "measured"],
)  # fmt: skip
def test_a_figure_of_nothing_is_refused(draw):
    with pytest.raises(ValueError, match="needs at least one run, got none"):
        draw()


def test_what_a_gpu_measured_stands_beside_its_plan(tmp_path, monkeypatch):
    part = {"method": "lora", "way": "ours", "optimizer": "adamw", "tokens_a_pass": 4096, "planned_gib": 22.0,
            "peak_gib": 20.0, "tokens_a_second": 9000.0, "share_of_the_rate": 0.4}  # fmt: skip
    record = {"device": "h100", "shown": True, "size": "7b", "parts": {"matrix_product": {"tflops": 700}, "lora": part}}
    monkeypatch.setattr(hardware_tables.paths, "records", lambda: tmp_path)
    assert hardware_tables.gpu_table() == []
    records.write_json(tmp_path / "h100" / "gpu.json", record)
    records.write_json(tmp_path / "cpu" / "gpu.json", record | {"shown": False})
    (row,) = hardware_tables.gpu_table()
    assert (row["device"], row["planned, GiB"], row["measured, GiB"]) == ("h100", 22.0, 20.0)
    assert row["difference, %"] == pytest.approx(10)
