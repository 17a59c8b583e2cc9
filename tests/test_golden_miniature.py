"""Every problem, rationale and reply of the miniature's world by its hash, kept with the version of ``miniature``."""

from __future__ import annotations

import dataclasses
from itertools import islice

import golden

from mammoth_utils import records
from mammoth_utils.miniature import benchmarks, corpus, sources, teacher


def test_the_world_and_its_teacher_say_what_they_said(write_golden):
    decisions = {}
    for name, source in sources.SOURCES.items():
        decisions[name] = records.fingerprint([dataclasses.asdict(true) for true in sources.truths(name)])
        if source.asks_teacher:
            replies = [dataclasses.asdict(teacher.reply(true)) for true in sources.truths(name)]
            decisions[f"{name}, replies"] = records.fingerprint(replies)
        else:
            rows = [dataclasses.asdict(row) for row in sources.load(name)]
            decisions[f"{name}, rows"] = records.fingerprint(rows)
    for name in benchmarks.BENCHMARKS:
        for split in benchmarks.SPLITS:
            true = [dataclasses.asdict(true) for true in benchmarks.truths(name, split)]
            decisions[f"{name}, {split}"] = records.fingerprint(true)
    for family in corpus.PYTHON_SHARE:
        read = islice(corpus.documents(corpus.wide(family), "golden"), 2000)
        decisions[f"corpus of {family}"] = records.fingerprint([dataclasses.asdict(document) for document in read])
    golden.check("miniature", "world", decisions, write_golden)
