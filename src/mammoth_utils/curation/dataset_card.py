"""The card of an exported mixture in Hugging Face's form: what its rows are, how many, whose, under which licences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mammoth_utils.curation import mixtures
from mammoth_utils.curation.mathinstruct_rows import TEACHER
from mammoth_utils.curation.sources.registry import paper_name, table1_place
from mammoth_utils.curation.sources.release import KEYS
from mammoth_utils.licences import OURS, TERMS, of_read, of_rows
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MINI


@dataclass
class MixtureCounts:
    """Counts of a mixture's rows, made as they go by.

    Attributes:
        bytes: Bytes of the three keys' texts.
        authors: Rows by who wrote the rationale.
    """

    rows: int = 0
    bytes: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Iterable[Record]) -> None:
        """Count rows."""
        for row in rows:
            self.rows += 1
            self.bytes += sum(len(row[key].encode()) for key in KEYS)
            self.sources[row["source"]] += 1
            self.kinds[row["kind"]] += 1
            self.authors[row["author"] or "not stated"] += 1


def dataset_card(
    counts: MixtureCounts,
    mixture: str,
    files: dict[str, Record],
    description: Record,
    read: Mapping[str, Iterable[str]] | None = None,
) -> str:
    """Return the data set card of a mixture, in Markdown.

    Args:
        files: Size and SHA-256 of each file.
        description: The curation's ``run.json``.
        read: The public files that each source was read from; what they say of licences goes before Table 1.
    """
    read = read or {}
    mini = description["dataset"] == "miniature"
    title = f"{MINI if mini else ''}MathInstruct, mixture {mixture}"
    parameters = {key: value for key, value in description.items() if key != "versions"}
    lines = [
        *_front(counts, title, mini, of_rows(counts.sources, read)),
        f"# {title}",
        "",
        f"{counts.rows:,} rows ({counts.kinds['cot']:,} in prose, {counts.kinds['pot']:,} programs): "
        f"{mixtures.MEANING[mixture]}. Made by the `curate` page after section 2 of *MAmmoTH: Building Math Generalist "
        "Models through Hybrid Instruction Tuning* (arXiv 2309.05653); keys as in MathInstruct: `source`, "
        "`instruction`, `output`.",
        "",
    ]
    if mini:
        lines += ["Every problem is generated; the names follow the paper's sources, the content does not.", ""]
    lines += ["| source | rows | licence of the original |", "|---|---|---|"]
    names = sorted(counts.sources, key=lambda name: table1_place(paper_name(name)))
    lines += [
        f"| {name} | {counts.sources[name]:,} | {', '.join(of_read(name, read.get(name, ())))} |" for name in names
    ]
    lines += ["", "| rationales by | rows |", "|---|---|"]
    lines += [f"| {name} | {count:,} |" for name, count in counts.authors.most_common()]
    lines += ["", "## Licences", "", *_inherited(counts, mini, of_rows(counts.sources, read))]
    lines += ["", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|"]
    lines += [f"| {name} | {entry['bytes']:,} | `{entry['sha256']}` |" for name, entry in files.items()]
    lines += ["", "## How it was made", "", "```json", json.dumps(parameters, indent=1, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _front(counts: MixtureCounts, title: str, mini: bool, by_licence: dict[str, int]) -> list[str]:
    """Return the block that the hub reads: names, licences, size, and the columns and rows that a loader checks."""
    tags = [TERMS[OURS].tag] if mini else list(dict.fromkeys(TERMS[name].tag for name in by_licence))
    return [
        "---",
        f"pretty_name: {title}",
        "language:\n- en",
        "task_categories:\n- text-generation",
        f"license: {tags[0]}" if len(tags) == 1 else "license:\n" + "\n".join(f"- {tag}" for tag in tags),
        "tags:\n- math\n- program-of-thought\n- chain-of-thought",
        f"size_categories:\n- {size_category(counts.rows)}",
        "dataset_info:\n  features:\n" + "\n".join(f"  - name: {key}\n    dtype: string" for key in KEYS),
        f"  splits:\n  - name: train\n    num_bytes: {counts.bytes}\n    num_examples: {counts.rows}",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train.parquet",
        "---",
        "",
    ]


def _inherited(counts: MixtureCounts, mini: bool, by_licence: dict[str, int]) -> list[str]:
    """Return the terms that bind whoever passes the mixture on or trains a model on it."""
    if mini:
        return [f"Generated text, under {OURS} as the code that makes it: none of the originals' licences binds these "
                "rows or a model trained on them; they are listed for the names."]  # fmt: skip
    listed = ", ".join(f"{name} ({count:,} rows)" for name, count in by_licence.items())
    lines = [f"The mixture, and a model trained on it, inherits: {listed}.", ""]
    lines += ["| licence | rows | to pass the rows on | to pass a model on |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {count:,} | {TERMS[name].rows} | {TERMS[name].model} |" for name, count in by_licence.items()
    ]
    if forbidding := [name for name in by_licence if "NC" in name]:
        lines += ["", f"{', '.join(forbidding)} forbids commercial use, of the mixture as a whole too."]
    if unstated := [name for name in by_licence if TERMS[name].tag == "unknown"]:
        rows = sum(by_licence[name] for name in unstated)
        lines += ["", f"For {rows:,} rows no licence is stated: whoever passes them on does so without permission."]
    vendors = {name: count for name, count in counts.authors.items() if name.startswith(("GPT", TEACHER))}
    if vendors:
        listed = ", ".join(f"{name} ({count:,} rows)" for name, count in vendors.items())
        lines += ["", f"Rationales written by a model carry the terms of who served it besides: {listed}."]
    return [*lines, "", "This is a list of what the sources say, not legal advice."]


def size_category(rows: int) -> str:
    """Return the hub's tag for a number of rows."""
    for limit, tag in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return tag
    return "1M<n<10M"
