"""The published MathInstruct: its 14 sources and five triggers checked row by row, wherever the file is from."""

from __future__ import annotations

import json
from collections import Counter

import _synthetic_release
import pytest

from mammoth_utils.curation.sources import hub_files, release
from mammoth_utils.curation.sources.release import (
    PROGRAM_TRIGGERS,
    RELEASE_SOURCES,
    Checks,
    split_trigger,
    wording,
)

PROGRAM = {"source": "data/PoT/mathqa.json", "instruction": "1 / 8 ? Let's write a program.", "output": "print(1 / 8)"}
PROSE = {"source": "data/CoT/gsm_rft.json", "instruction": "What is 4 + 4?", "output": "The answer is 8"}


def checked(*rows: dict) -> Checks:
    checks = Checks()
    for number, row in enumerate(rows):
        checks.count_row(number, row)
    return checks


def test_the_release_has_fourteen_sources_and_five_triggers():
    assert len(RELEASE_SOURCES) == 14
    assert Counter(source.kind for source in RELEASE_SOURCES.values()) == {"cot": 8, "pot": 6}
    assert all(file.split("/")[1].lower() == source.kind for file, source in RELEASE_SOURCES.items())
    assert len(set(PROGRAM_TRIGGERS)) == 5
    assert release.RELEASE_ROWS == 262_039


@pytest.mark.parametrize("trigger", PROGRAM_TRIGGERS)
def test_each_trigger_is_split_off_with_its_space_and_put_back_byte_for_byte(trigger):
    for ending in (trigger, trigger.rstrip(".")):
        for space in (" ", "\n"):
            instruction = f"How far is it? Let's say 3 km.{space}{ending}"
            question, split = split_trigger(instruction)
            assert question == "How far is it? Let's say 3 km."
            assert question + split == instruction
            assert wording(split) == trigger


@pytest.mark.parametrize(
    ("instruction", "because"),
    [
        ("Let's write a program that sorts. How long does it run?", "it is not the last sentence"),
        ("What does the program cost?", "nobody asks for one"),
        ("He says: please write.", "no program"),
    ],
)
def test_a_question_about_programs_keeps_its_words(instruction, because):
    assert split_trigger(instruction) == (instruction, ""), because


def test_what_does_not_fit_is_counted_with_its_rows():
    checks = checked(
        PROGRAM,
        {**PROGRAM, "instruction": "1 / 8 ?"},
        {**PROGRAM, "instruction": "1 / 8 ? Let's use Python for this."},
        {**PROSE, "instruction": "What is 4 + 4? Let's write a program."},
        {**PROSE, "idx": 4},
    )
    assert checks.odd == {
        "a program that no trigger asks for": 1,
        "a trigger in other words": 1,
        "prose that a trigger asks for": 1,
        "more keys: idx": 1,
    }
    assert [checks.where[what] for what in checks.odd] == [[1], [2], [3], [4]]
    assert checks.triggers == {
        PROGRAM["source"]: {PROGRAM_TRIGGERS[0]: 1, release.NO_TRIGGER: 1, "Let's use Python for this.": 1}
    }
    assert len(checks.absent) == 12
    assert json.loads(json.dumps(checks.as_dict()))["rows"] == 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": "x", "instruction": ""}, "row 0 lacks output; it has instruction, source"),
        ({**PROSE, "output": None}, "row 0: expected text in 'output', got NoneType"),
        ({**PROSE, "source": "data/CoT/x.json"}, "row 0: unknown source .*; known: data/CoT/gsm_train"),
    ],
)
def test_a_row_that_cannot_be_one_is_refused(row, message):
    with pytest.raises(ValueError, match=message):
        checked(row)


def test_a_local_release_says_where_it_is_from_and_what_was_seen(tmp_path, monkeypatch):
    file = tmp_path / release.FILE
    planted = _synthetic_release.write(file, 300)
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
    origin = release.find_release()
    assert (origin.home, origin.revision, origin.bytes) == ("local copy", "", file.stat().st_size)
    assert "where the published file has 212,488,891" in release.describe_origin(origin)
    assert str(tmp_path) not in json.dumps(origin.as_dict())
    entries = release.load_release(tuple(release.SOURCES))
    assert len(entries) == 14
    assert sum(len(entry.rationales) for entry in entries) == planted.total() == 300
    for entry in entries:
        assert origin.sha256 in entry.notes
        assert ("triggers: " in entry.notes) == (entry.source.kind == "pot")


def test_the_revision_is_pinned_unless_another_is_named(monkeypatch):
    monkeypatch.delenv(hub_files.REVISION_VARIABLE, raising=False)
    assert release.release_revision() == release.REVISION
    assert len(release.REVISION) == 40
    monkeypatch.setenv(hub_files.REVISION_VARIABLE, " main ")
    assert release.release_revision() == "main"


# --- the _synthetic_release ------------------------------------------------------------------------------------------


def test_a_synthetic_release_has_the_published_shares_and_form():
    assert sum(shape.rows for shape in _synthetic_release.SHAPES.values()) == release.RELEASE_ROWS
    assert set(_synthetic_release.SHAPES) == set(RELEASE_SOURCES)
    programs = sum(
        shape.rows for file, shape in _synthetic_release.SHAPES.items() if RELEASE_SOURCES[file].kind == "pot"
    )
    assert programs == pytest.approx(74_000, abs=500)
    rows = [row for row, _ in _synthetic_release.rows(5_000)]
    checks = checked(*rows)
    assert (checks.rows, checks.odd, checks.absent) == (5_000, {}, [])
    assert set(PROGRAM_TRIGGERS) == {trigger for counts in checks.triggers.values() for trigger in counts}
    assert checks.sources["data/CoT/aqua_rat.json"] / 5_000 == pytest.approx(89_300 / release.RELEASE_ROWS, abs=0.005)
    size = sum(len(json.dumps(row, ensure_ascii=False).encode()) for row in rows) / 5_000
    assert size == pytest.approx(release.BYTES / release.RELEASE_ROWS, rel=0.1), "as long as the published rows"


def test_a_synthetic_release_is_the_same_each_time_and_another_for_another_seed():
    one, same, other = (list(_synthetic_release.rows(200, seed)) for seed in (1, 1, 2))
    assert one == same != other
    with pytest.raises(ValueError, match="at least 14 rows"):
        list(_synthetic_release.rows(13))
