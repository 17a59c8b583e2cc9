"""A mixture as a data set that others can load: Alpaca-style JSON, Parquet and a card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import mixtures
from mammoth_utils.curation.sources import SOURCES, paper_name

COLUMNS = ("source", "instruction", "output")


def export(folder: Path, out: Path, mixture: str = "hybrid", seed: int = 42) -> dict[str, Any]:
    """Write a mixture to a folder that ``datasets.load_dataset`` reads, with its card; what was written.

    ``train.json`` is one array of MathInstruct's three keys, ``data/train.parquet`` the same rows, ``README.md`` the
    card. The card points ``datasets`` at the Parquet file.

    Args:
        folder: A finished curation.
        out: Where to write.
        mixture: One of ``scales.MIXTURES``.
        seed: Orders the rows.
    """
    import pyarrow
    import pyarrow.parquet

    full = mixtures.read(folder, mixture, seed)
    rows = [{key: row[key] for key in COLUMNS} for row in full]
    out = Path(out)
    (out / "data").mkdir(parents=True, exist_ok=True)
    json_file = records.write_text(out / "train.json", json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    parquet, part = out / "data" / "train.parquet", out / "data" / ".train.parquet.part"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), part)
    part.replace(parquet)
    files = {name: {"sha256": records.sha256(path), "bytes": path.stat().st_size}
             for name, path in (("train.json", json_file), ("data/train.parquet", parquet))}  # fmt: skip
    description = records.read_json(Path(folder) / "run.json")
    records.write_text(out / "README.md", card(full, mixture, files, description))
    return {"mixture": mixture, "seed": seed, "rows": len(rows), "files": files}


def licences(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Rows under each licence, the most frequent first; a source outside Table 1 counts as ``not stated``."""
    known = {name: source.licence for name, source in SOURCES.items()}
    return dict(Counter(known.get(paper_name(row["source"]), "not stated") for row in rows).most_common())


def card(rows: list[dict[str, Any]], mixture: str, files: dict[str, dict], description: dict[str, Any]) -> str:
    """The data set card in Hugging Face's form: what the rows are, how many, their hashes and licences."""
    mini = description["dataset"] == "miniature"
    title = f"{'mini-' if mini else ''}MathInstruct, mixture {mixture}"
    by_licence = licences(rows)
    by_source = Counter(row["source"] for row in rows)
    kinds = Counter(row["kind"] for row in rows)
    lines = [
        "---",
        f"pretty_name: {title}",
        "language:\n- en",
        "task_categories:\n- text-generation",
        "license: other",
        "tags:\n- math\n- program-of-thought\n- chain-of-thought",
        f"size_categories:\n- {size_category(len(rows))}",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train.parquet",
        "---",
        "",
        f"# {title}",
        "",
        f"{len(rows):,} rows ({kinds['cot']:,} in prose, {kinds['pot']:,} programs): {mixtures.MEANING[mixture]}. "
        "Made by the `curate` page after section 2 of *MAmmoTH: Building Math Generalist Models through Hybrid "
        "Instruction Tuning* (arXiv 2309.05653); keys as in MathInstruct: `source`, `instruction`, `output`.",
        "",
    ]
    if mini:
        lines += ["Every problem is generated; the names follow the paper's sources, the content does not.", ""]
    lines += ["| source | rows | licence of the original |", "|---|---|---|"]
    for name in sorted(by_source, key=lambda name: _position(name)):
        licence = SOURCES[paper_name(name)].licence if paper_name(name) in SOURCES else "not stated"
        lines.append(f"| {name} | {by_source[name]:,} | {licence} |")
    lines += ["", "## Licences", ""]
    if mini:
        lines.append("Generated text: none of the original licences binds these rows; they are listed for the names.")
    else:
        lines.append("The mixture, and a model trained on it, inherits: " + _listed(by_licence, "{} ({} rows)") + ".")
        if any("NC" in licence for licence in by_licence):
            lines.append("\nOne of them forbids commercial use.")
    lines += ["", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|"]
    lines += [f"| {name} | {entry['bytes']:,} | `{entry['sha256']}` |" for name, entry in files.items()]
    told = {key: value for key, value in description.items() if key != "code"}
    lines += ["", "## How it was made", "", "```json", json.dumps(told, indent=1, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _position(name: str) -> tuple[int, str]:
    order = list(SOURCES)
    plain = paper_name(name)
    return (order.index(plain) if plain in SOURCES else len(order), name)


def _listed(counts: dict[str, int], form: str) -> str:
    entry: Callable[..., str] = form.format
    return ", ".join(entry(name, f"{count:,}") for name, count in counts.items())


def size_category(rows: int) -> str:
    """The hub's tag for a number of rows."""
    for limit, tag in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return tag
    return "1M<n<10M"
