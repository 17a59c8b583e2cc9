"""A release audited in pieces: the same rows as all at once, by every engine, after every kill, in bounded memory."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import _synthetic_release
import pytest

from mammoth_utils import records
from mammoth_utils.curation import contamination, curate, describe, filters, mathinstruct_rows, mixtures
from mammoth_utils.curation.at_scale import sharded_curation, shards
from mammoth_utils.curation.at_scale.shards import ShardSettings
from mammoth_utils.curation.benchmark_questions import load_questions
from mammoth_utils.curation.sources import release

ROWS, SEED = 1_500, 3  # with each of the faults that the tests name
SETTINGS = ShardSettings(worlds=("miniature",), timeout_s=2.0)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A synthetic release, and what is wrong with each of its rows."""
    file = tmp_path_factory.mktemp("release") / "release" / release.HUB_FILE
    _synthetic_release.write(file, ROWS, SEED)
    return file, [fault for _, fault in _synthetic_release.rows(ROWS, SEED)]


@pytest.fixture(scope="module")
def streamed(made, tmp_path_factory):
    """The release audited by the stream, in several shards and buckets."""
    out = tmp_path_factory.mktemp("streamed")
    return out, sharded_curation.curate_in_shards(made[0], out, SETTINGS, workers=2, shard_rows=400)


def hashes(told: dict) -> dict[str, str]:
    return {name: one["sha256"] for name, one in told["files"].items()}


def number(row: dict) -> int:
    return int(row["history"]["problem"].rsplit("/", 1)[1])


def test_every_row_is_kept_or_dropped_with_its_reason_in_the_order_of_the_input(streamed):
    out, told = streamed
    kept, dropped = (list(records.read_jsonl(out / name)) for name in (mixtures.KEPT, mixtures.DROPPED))
    assert sorted(map(number, [*kept, *dropped])) == list(range(ROWS))
    assert all(list(map(number, rows)) == sorted(map(number, rows)) for rows in (kept, dropped))
    assert all(row["stage"] in filters.STAGES and row["reason"] for row in dropped)
    assert (told["rows"], told["kept"], told["dropped"]) == (ROWS, len(kept), len(dropped))
    assert (told["checks"]["rows"], told["checks"]["absent"], told["checks"]["odd"]) == (ROWS, [], {})
    for line in told["sources"]:
        assert line["entered"] == line["kept"] + sum(line["dropped"].values())
    assert not (out / "parts").exists()


def test_what_was_planted_is_found(made, streamed):
    out, _ = streamed
    found = {number(row): row["stage"] for row in records.read_jsonl(out / mixtures.DROPPED)}
    stages = {"copy": {"duplicate"}, "reworded": {"near-duplicate"}, "leaked": {"contamination", "duplicate"},
              "error": {"execution"}, "syntax": {"execution"}, "endless": {"execution"},
              "long": {"length"}}  # fmt: skip
    planted = Counter(made[1])
    assert all(planted[fault] for fault in ("copy", "reworded", "leaked", "error"))
    for place, fault in enumerate(made[1]):
        if fault != _synthetic_release.RIGHT:
            assert found.get(place) in stages[fault], f"row {place}: {fault}"
    # The twins of GSM8K-RFT and of GPT-4's programs are now and then the same text; else a right row stays.
    wrongly = [stage for place, stage in found.items() if made[1][place] == _synthetic_release.RIGHT]
    assert set(wrongly) <= {"duplicate", "near-duplicate"}
    assert len(wrongly) < 0.1 * ROWS


def test_pieces_keep_what_the_whole_at_once_keeps(made, streamed):
    rows = list(release.parse_release(release.stream_release(made[0])))
    rows, _ = filters.drop_malformed(rows)
    rows, _ = filters.drop_failed_programs(rows, timeout_s=SETTINGS.timeout_s)
    for each in (filters.drop_disagreeing_prose, filters.drop_duplicates, filters.drop_near_duplicates):
        rows, _ = each(rows)
    rows, _ = contamination.drop_contaminated(rows, contamination.BenchmarkIndex(load_questions("miniature")))
    assert [mathinstruct_rows.format_row(row) for row in rows] == list(sharded_curation.kept_rows(streamed[0]))


def backwards(task, count, logs, workers):
    """An engine of one's own: tasks of a stage are independent, so they may run in any order and be sent elsewhere."""
    for place in reversed(range(count)):
        pickle.loads(pickle.dumps(task))(place)


@pytest.mark.parametrize(("shard_rows", "buckets", "engine"), [(250, 7, backwards), (5_000, 3, "stream")])
def test_how_pieces_are_cut_and_run_decides_nothing_and_two_files_are_one_set(
    made, streamed, tmp_path, shard_rows, buckets, engine
):
    rows, files = list(release.stream_release(made[0])), made[0]
    if engine == "stream":
        parts = (("a.jsonl", rows[:700]), ("b.jsonl", rows[700:]))
        files = [records.write_jsonl(tmp_path / name, part) for name, part in parts]
    settings = ShardSettings(worlds=("miniature",), timeout_s=2.0, buckets=buckets)
    out = tmp_path / "out"
    told = sharded_curation.curate_in_shards(files, out, settings, engine, workers=2, shard_rows=shard_rows)
    assert told["engine"] == ("stream" if engine == "stream" else "own")
    assert hashes(told) == hashes(streamed[1])
    for key in ("sources", "contamination", "clean", "checks"):
        assert _without_places(told[key]) == _without_places(streamed[1][key]), key


def _without_places(value):
    """Odd rows are listed a shard at a time, twenty each, so their number depends on the cut."""
    return {key: one for key, one in value.items() if key != "odd_rows"} if isinstance(value, dict) else value


def test_an_engine_keeps_the_same_rows(made, streamed, tmp_path):
    pytest.importorskip("datatrove", reason="pip install 'mammoth_utils[scale]'")
    told = sharded_curation.curate_in_shards(made[0], tmp_path, SETTINGS, engine="datatrove", workers=2, shard_rows=400)
    assert (told["engine"], hashes(told)) == ("datatrove", hashes(streamed[1]))
    assert told["sources"] == streamed[1]["sources"]
    assert told["contamination"] == streamed[1]["contamination"]


def test_the_documented_command_audits_and_says_what_became_of_the_rows(made, streamed, tmp_path, capsys):
    line = [str(made[0]), str(tmp_path), "--world", "miniature", "--timeout", "2", "--workers", "2"]
    assert sharded_curation.main(line) == 0
    assert records.sha256(tmp_path / mixtures.KEPT) == hashes(streamed[1])[mixtures.KEPT]
    said = capsys.readouterr().out
    first = streamed[1]["sources"][0]
    assert f"{first['name']}: {first['entered']} read, {first['kept']} kept; " in said
    assert sharded_curation.main([str(tmp_path / "none.json"), str(tmp_path)]) == 1
    assert "not curated: expected rows in" in capsys.readouterr().err
    howto = (ROOT / "book" / "howto.md").read_text(encoding="utf8")
    (told,) = [
        line
        for line in howto.splitlines()
        if line.startswith("python -m mammoth_utils.curation.at_scale.sharded_curation ")
    ]
    for option in (part for part in told.split() if part.startswith("--")):
        with pytest.raises(SystemExit):
            sharded_curation.main(["--help"])
        assert option in capsys.readouterr().out


def test_a_killed_audit_goes_on_where_it_stopped(made, streamed, tmp_path):
    """Killed in the first stage, then in the second; what stands is not made again."""
    settings, before, unchanged = ShardSettings(worlds=("miniature",), timeout_s=2.0, buckets=4), {}, []

    def killed_in(stage):
        def run(task, count, logs, workers):
            for place in range(count):
                if isinstance(task, stage) and place == 2:
                    raise KeyboardInterrupt
                task(place)

        return run

    def watched(task, count, logs, workers):
        sharded_curation.run_in_order(task, count, logs, workers)
        unchanged.extend(piece.stat().st_mtime_ns == at for piece, at in before.items())

    def audit(engine):
        return sharded_curation.curate_in_shards(made[0], tmp_path, settings, engine, workers=2, shard_rows=400)

    for stage, name in ((sharded_curation.CheckShard, "shard"), (sharded_curation.CompareBucket, "bucket")):
        with pytest.raises(KeyboardInterrupt):
            audit(killed_in(stage))
        assert not (tmp_path / "audit.json").exists()
        assert not (tmp_path / mixtures.KEPT).exists()
        pieces = sorted((tmp_path / "parts").glob(f"*/rows/{name}-*.json"))
        assert len(pieces) == 2
        before |= {piece: piece.stat().st_mtime_ns for piece in pieces}
    told = audit(watched)
    assert hashes(told) == hashes(streamed[1])
    assert len(unchanged) == 8
    assert all(unchanged), "finished pieces were not made again"


def test_a_finished_audit_is_read_and_another_is_made(made, streamed):
    out, told = streamed
    at = (out / mixtures.KEPT).stat().st_mtime_ns
    assert sharded_curation.curate_in_shards(made[0], out, SETTINGS, workers=2, shard_rows=400) == told
    assert (out / mixtures.KEPT).stat().st_mtime_ns == at


def test_contaminated_rows_stay_where_that_is_asked(made, streamed, tmp_path):
    settings = ShardSettings(worlds=("miniature",), timeout_s=2.0, decontaminate="none")
    told = sharded_curation.curate_in_shards(made[0], tmp_path, settings, workers=2)
    lost = sum(count for line in streamed[1]["sources"] for why, count in line["dropped"].items() if "contam" in why)
    assert told["kept"] == streamed[1]["kept"] + lost
    assert lost > 0


def test_rows_of_other_origins_take_the_same_way(tmp_path):
    rows = [
        {"source": "web", "kind": "cot", "instruction": "What is 2 + 3?", "output": "It is 5."},
        {"source": "web", "kind": "pot", "instruction": "2 + 3? Let's write a program.", "output": "print(5)"},
        {"source": "web", "kind": "pot", "instruction": "1 / 0? Let's write a program.", "output": "print(1/0)"},
        {"source": "web", "kind": "cot", "instruction": "What is 2 + 3?", "output": "It is 5."},
    ]  # fmt: skip
    file = records.write_jsonl(tmp_path / "web.jsonl", rows)
    told = sharded_curation.curate_in_shards(
        file, tmp_path / "out", ShardSettings(form="rows", worlds=("miniature",)), workers=1
    )
    assert told["sources"][0]["dropped"] == {"duplicate: same text": 1, "execution: error": 1}
    assert [row["instruction"] for row in sharded_curation.kept_rows(tmp_path / "out")] == [
        row["instruction"] for row in rows[:2]
    ]


def test_a_row_that_is_no_text_or_that_no_file_can_hold_is_dropped_with_its_reason(tmp_path):
    good = {"source": "web", "kind": "cot", "instruction": "What is 2 + 3?", "output": "It is 5."}
    rows = [good, {**good, "instruction": None}, {**good, "output": 5}, {**good, "output": "It is \ud83d5."},
            {**good, "kind": "pot", "instruction": "2 + 3? Let's write a \udc80 program."}]  # fmt: skip
    file = tmp_path / "web.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = sharded_curation.curate_in_shards(
        file, tmp_path / "out", ShardSettings(form="rows", worlds=("miniature",)), workers=1
    )
    assert told["sources"][0]["dropped"] == {"malformed: broken characters": 2, "malformed: no text": 2}
    details = [row["detail"] for row in records.read_jsonl(tmp_path / "out" / mixtures.DROPPED)]
    assert details == ["instruction: NoneType", "output: int", "a lone surrogate", "a lone surrogate"]
    assert told["kept"] == 1


def test_a_released_row_that_no_file_can_hold_is_dropped_by_the_audit_and_by_the_page(made, tmp_path, monkeypatch):
    rows = list(release.stream_release(made[0]))[:40]
    rows[3] = {**rows[3], "output": "half \ud83d"}
    program = next(place for place, row in enumerate(rows) if "PoT" in row["source"])
    rows[program] = {**rows[program], "instruction": "2 + 3? Please write a \udc80 program."}
    file = tmp_path / "data" / release.FILE
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(rows))
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    told = sharded_curation.curate_in_shards(file, tmp_path / "out", ShardSettings(decontaminate="none"), workers=1)
    record = curate(describe("release", decontaminate="none"))
    for one in (told, record):
        assert sum(line["dropped"].get("malformed: broken characters", 0) for line in one["sources"]) == 2


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0c", "\x1c", "\r"], ids=ascii)
def test_a_row_may_hold_any_of_unicodes_line_ends(tmp_path, sign):
    row = {"source": "web", "kind": "cot", "instruction": f"What is{sign}2 + 3?", "output": f"It is{sign}5."}
    file = records.write_jsonl(tmp_path / "web.jsonl", [row, {**row, "instruction": f"What is{sign}2 + 4?"}])
    sharded_curation.curate_in_shards(
        file, tmp_path / "out", ShardSettings(form="rows", worlds=("miniature",)), workers=1
    )
    kept = list(sharded_curation.kept_rows(tmp_path / "out"))
    assert [one["instruction"] for one in kept] == [row["instruction"], f"What is{sign}2 + 4?"]
    assert kept[0]["output"] == row["output"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": "web", "instruction": "", "output": ""}, "row 1 lacks kind"),
        ({"source": "web", "instruction": "", "output": "", "kind": "prose"}, "unknown kind 'prose'; known: cot, pot"),
        (
            {"source": None, "instruction": "", "output": "", "kind": "cot"},
            "row 1: expected text in 'source', got None",
        ),
    ],
)
def test_a_row_of_another_form_is_refused_by_its_number(tmp_path, row, message):
    good = {"source": "web", "kind": "cot", "instruction": "What is 2 + 3?", "output": "It is 5."}
    file = records.write_jsonl(tmp_path / "web.jsonl", [good, row, row])
    with pytest.raises(ValueError, match=message):
        sharded_curation.curate_in_shards(file, tmp_path / "out", ShardSettings(form="rows", worlds=("miniature",)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"form": "alpaca"}, "unknown form 'alpaca'; known: release, rows"),
        ({"buckets": 0}, "at least one bucket"),
        ({"decontaminate": "near-ish"}, "unknown rule 'near-ish'; known: equal"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ShardSettings(**wrong)


def test_an_unknown_engine_and_a_missing_file_are_refused(made, tmp_path):
    with pytest.raises(ValueError, match="unknown engine 'ray'; known: stream, datatrove"):
        sharded_curation.curate_in_shards(made[0], tmp_path, engine="ray")
    with pytest.raises(FileNotFoundError, match=r"no\.json, found no such file"):
        sharded_curation.curate_in_shards(tmp_path / "no.json", tmp_path)
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no row"):
        sharded_curation.curate_in_shards(tmp_path / "empty.json", tmp_path / "out", SETTINGS)


def test_without_any_benchmark_an_audit_is_refused_before_it_begins(made, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"eval/gsm8k\.jsonl.*`make data`.*decontaminate=none"):
        sharded_curation.curate_in_shards(made[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_that_can_be_near_duplicates_share_a_bucket(made):
    """What the cut into buckets rests on: whatever the whole at once calls a duplicate has the same group."""
    rows = list(release.parse_release(release.stream_release(made[0])))
    by_id = {row.problem.id: row for row in rows}
    seen = 0
    for each in (filters.drop_duplicates, filters.drop_near_duplicates):
        rows, dropped = each(rows)
        for one in dropped:
            other = by_id[one.detail.rsplit(", ", 1)[1]]
            assert shards.comparison_group(one.rationale) == shards.comparison_group(other)
            seen += 1
    assert seen > 20


def test_the_page_keeps_the_same_rows_of_a_local_release(made, tmp_path, monkeypatch):
    asked = next(row["instruction"] for row in release.stream_release(made[0]) if "PoT" not in row["source"])
    records.write_jsonl(made[0].parent.parent / "eval" / "gsm8k.jsonl", [{"question": asked, "answer": "#### 1"}])
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(made[0].parent.parent))
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    record = curate(describe("release", timeout_s=2.0), workers=2)
    told = sharded_curation.curate_in_shards(made[0], tmp_path / "out", ShardSettings(timeout_s=2.0), workers=2)
    pages = {number(row): row for row in records.read_jsonl(tmp_path / "runs" / "curate" / "release" / mixtures.KEPT)}
    assert pages == {number(row): row for row in sharded_curation.kept_rows(tmp_path / "out")}
    assert "eval/math.jsonl" in told["benchmarks_missing"]
    assert any("contamination: stands in a benchmark" in one["dropped"] for one in told["sources"])
    assert {one["name"]: one["dropped"] for one in record["sources"]} == {
        one["name"]: one["dropped"] for one in told["sources"]
    }


# --- the whole size -----------------------------------------------------------------------------------------

MEMORY_MB, MANY = 4_096, 40_000


@pytest.mark.alone
@pytest.mark.long
def test_a_release_of_many_rows_is_curated_in_four_gigabytes(tmp_path):
    """Rows stream, so a sixth of the release takes the memory of the whole; `speed/curation.py` times all of it."""
    import curation as speed

    file = tmp_path / "MathInstruct.json"
    planted = _synthetic_release.write(file, MANY)
    out = tmp_path / "out"
    told = speed.measure(speed.OURS, file, out)
    assert told["rows"] == planted.total() == MANY
    programs = sum(sum(line["statuses"].values()) for line in told["sources"])
    assert programs == pytest.approx(74_000 * MANY / release.RELEASE_ROWS, rel=0.03), "every program was executed"
    assert told["kept"] + told["dropped"] == MANY
    assert told["peak_mb"] is None or told["peak_mb"] < MEMORY_MB


@pytest.mark.long
def test_a_kill_at_any_moment_loses_no_row(made, streamed, tmp_path):
    """SIGKILL again and again, until the audit ends; what it leaves is what an undisturbed one leaves."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom mammoth_utils.curation import ShardSettings, curate_in_shards\n"
        "settings = ShardSettings(worlds=('miniature',), timeout_s=2.0, buckets=4)\n"
        "curate_in_shards(Path(sys.argv[1]), Path(sys.argv[2]), settings, workers=1, shard_rows=200)\n"
    )
    kills, patience = 0, 1.5
    while True:
        process = subprocess.Popen([sys.executable, "-c", code, str(made[0]), str(tmp_path)], env=os.environ)
        try:
            assert process.wait(patience) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills, patience = kills + 1, patience + 0.3
        assert kills < 60, "it never ends"
    assert kills >= 2
    assert hashes(json.loads((tmp_path / "audit.json").read_text())) == hashes(streamed[1])


def test_the_watch_over_memory_sees_what_a_child_of_a_child_holds(tmp_path):
    from _memory import run

    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("memory is read from /proc")
    inner = "import time; held = bytearray(b'x') * 200_000_000; time.sleep(1)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    started = time.monotonic()
    ran = run([sys.executable, "-c", outer], tmp_path)
    assert ran.returncode == 0
    assert 190 < ran.peak_mb < 400
    assert ran.seconds <= time.monotonic() - started
    assert 0 < ran.processor_s < ran.seconds


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="what others take is read from /proc")
def test_the_watch_over_time_tells_a_command_from_others(tmp_path):
    from _memory import run

    work = "import time\nwhile time.process_time() < {seconds}: pass"
    other = subprocess.Popen([sys.executable, "-c", work.format(seconds=60)])
    try:
        ran = run([sys.executable, "-c", work.format(seconds=1)], tmp_path)
    finally:
        other.kill()
        other.wait()
    assert 1 <= ran.processor_s < 2
    assert ran.others_s > 0.3 * ran.seconds
    assert ran.least_s == ran.seconds - ran.others_s


def test_growth_is_a_line_through_the_ends():
    import curation as speed

    line = speed.growth({10_000: 12.0, 50_000: 20.2, 260_000: 62.0})
    assert line["per_million_s"] == 200.0
    assert line["fixed_s"] == 10.0
    assert line["off"] == pytest.approx(0.01, abs=0.001)
    with pytest.raises(ValueError, match="two sizes at least"):
        speed.growth({1: 1.0})
