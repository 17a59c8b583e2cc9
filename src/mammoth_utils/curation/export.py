"""Export a mixture as a data set that others can load: Alpaca-style JSON, Parquet and a card.

``python -m mammoth_utils.curation.export release hybrid OUT`` writes one; ``curation.publish`` uploads it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.command_line import in_one_line
from mammoth_utils.curation.dataset_card import MixtureCounts, dataset_card
from mammoth_utils.curation.mixtures import stream_mixture
from mammoth_utils.curation.pipeline import ensure_dataset
from mammoth_utils.curation.sources.release import KEYS
from mammoth_utils.scales import MIXTURES

ROW_GROUP = 10_000


@dataclass(frozen=True)
class Export:
    """An exported mixture: its name, the seed of its order, its rows, and size and SHA-256 of each file."""

    mixture: str
    seed: int
    rows: int
    files: dict[str, dict[str, Any]]


def export_mixture(folder: Path, out: Path, mixture: str = "hybrid", seed: int = 42) -> Export:
    """Write a mixture, with its card, to a folder that ``datasets.load_dataset`` reads.

    ``train.json`` is one array of MathInstruct's three keys, ``data/train.parquet`` the same rows, ``README.md`` the
    card, which points ``datasets`` at the Parquet file. Rows go by one at a time; each file appears when it is whole.

    Args:
        mixture: One of ``scales.MIXTURES``.

    Raises:
        FileNotFoundError: If the folder holds no finished curation.
        ValueError: If the mixture is unknown, or holds no row.
    """
    out, counts = Path(out), MixtureCounts()
    rows = stream_mixture(folder, mixture, seed)
    (out / "data").mkdir(parents=True, exist_ok=True)
    places = {name: out / name for name in ("train.json", "data/train.parquet")}
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_json(places["train.json"])),
                   stack.enter_context(_parquet(places["data/train.parquet"]))]  # fmt: skip
        while batch := list(islice(rows, ROW_GROUP)):
            counts.add(batch)
            plain = [{key: row[key] for key in KEYS} for row in batch]
            for write in writers:
                write(plain)
    files = {name: {"sha256": records.sha256(path), "bytes": path.stat().st_size} for name, path in places.items()}
    description = records.read_json(Path(folder) / "run.json")
    sources = records.read_json(Path(folder) / "record.json").get("sources", [])
    read = {source["name"]: list(source.get("files") or ()) for source in sources}
    records.write_text(out / "README.md", dataset_card(counts, mixture, files, description, read))
    return Export(mixture, seed, counts.rows, files)


@contextlib.contextmanager
def _json(path: Path) -> Iterator[Any]:
    """Yield a writer of rows as one JSON array, a row a line."""
    with records.atomic_file(path) as file:
        opened = False

        def write(rows: list[dict[str, str]]) -> None:
            nonlocal opened
            for row in rows:
                file.write((",\n " if opened else "[\n ") + json.dumps(row, ensure_ascii=False))
                opened = True

        yield write
        file.write("\n]\n")


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """Yield a writer of rows as Parquet, a row group a call."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(key, pyarrow.string()) for key in KEYS])
    with (
        records.atomic_file(path) as file,
        pyarrow.parquet.ParquetWriter(file.buffer, schema, compression="zstd") as writer,
    ):
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


@in_one_line("not exported")
def main(arguments: Sequence[str] | None = None) -> int:
    """Export a mixture of a curated data set; return 0 if that went well."""
    parser = argparse.ArgumentParser(description="Write a mixture as JSON, Parquet and a card.")
    parser.add_argument("dataset", help="miniature, release, rebuild, a run's name, or the path of your own file")
    parser.add_argument("mixture", choices=MIXTURES, metavar="mixture", help=", ".join(MIXTURES))
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--seed", type=int, default=42, help="orders the rows")
    chosen = parser.parse_args(arguments)
    export = export_mixture(ensure_dataset(chosen.dataset), chosen.out, chosen.mixture, chosen.seed)
    for name, entry in export.files.items():
        print(f"{chosen.out / name}: {entry['bytes']:,} bytes, sha256 {entry['sha256']}")
    print(f"{export.rows:,} rows; publish them with: python -m mammoth_utils.curation.publish {chosen.out} OWNER/NAME")
    return 0


if __name__ == "__main__":
    sys.exit(main())
