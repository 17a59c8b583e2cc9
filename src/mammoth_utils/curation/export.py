"""A mixture as a data set that others can load: Alpaca-style JSON, Parquet and a card.

``python -m mammoth_utils.curation.export release hybrid OUT`` writes one; ``mammoth_utils.curation.sources.hub`` publishes it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import mixtures
from mammoth_utils.curation.dataset_card import card
from mammoth_utils.curation.sources.release import KEYS
from mammoth_utils.scales import MIXTURES

ROW_GROUP = 10_000


@dataclass
class Counts:
    """What a mixture holds, counted as its rows go by.

    Attributes:
        rows: Rows.
        bytes: Bytes of the three keys' texts.
        sources: Rows of each source.
        kinds: Rows of each kind.
        authors: Rows by who wrote the rationale.
    """

    rows: int = 0
    bytes: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)

    def see(self, row: dict[str, Any]) -> None:
        """Count one row."""
        self.rows += 1
        self.bytes += sum(len(row[key].encode()) for key in KEYS)
        self.sources[row["source"]] += 1
        self.kinds[row["kind"]] += 1
        self.authors[row["author"] or "not stated"] += 1

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]]) -> Counts:
        """The counts of some rows."""
        counts = cls()
        for row in rows:
            counts.see(row)
        return counts


def export(folder: Path, out: Path, mixture: str = "hybrid", seed: int = 42) -> dict[str, Any]:
    """Write a mixture to a folder that ``datasets.load_dataset`` reads, with its card; what was written.

    ``train.json`` is one array of MathInstruct's three keys, ``data/train.parquet`` the same rows, ``README.md`` the
    card, which points ``datasets`` at the Parquet file. Rows go by one at a time; each file appears when it is whole.

    Args:
        folder: A finished curation.
        out: Where to write.
        mixture: One of ``scales.MIXTURES``.
        seed: Orders the rows.

    Raises:
        FileNotFoundError: If the folder holds no finished curation.
        ValueError: If the mixture is unknown, or holds no row.
    """
    out, counts = Path(out), Counts()
    rows = mixtures.stream(folder, mixture, seed)
    (out / "data").mkdir(parents=True, exist_ok=True)
    places = {name: out / name for name in ("train.json", "data/train.parquet")}
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_json(places["train.json"])),
                   stack.enter_context(_parquet(places["data/train.parquet"]))]  # fmt: skip
        while batch := list(islice(rows, ROW_GROUP)):
            for row in batch:
                counts.see(row)
            plain = [{key: row[key] for key in KEYS} for row in batch]
            for write in writers:
                write(plain)
    files = {name: {"sha256": records.sha256(path), "bytes": path.stat().st_size} for name, path in places.items()}
    description = records.read_json(Path(folder) / "run.json")
    sources = records.read_json(Path(folder) / "record.json").get("sources", [])
    read = {one["name"]: list(one["files"]) for one in sources}
    records.write_text(out / "README.md", card(counts, mixture, files, description, read))
    return {"mixture": mixture, "seed": seed, "rows": counts.rows, "files": files}


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place beside a file, which takes the file's name if the block ends well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _json(path: Path) -> Iterator[Any]:
    """A writer of rows as one JSON array, a row a line."""
    with _whole(path) as part, open(part, "w", encoding="utf8", newline="\n") as file:
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
    """A writer of rows as Parquet, a row group a call."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(key, pyarrow.string()) for key in KEYS])
    with _whole(path) as part, pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def main(arguments: Sequence[str] | None = None) -> int:
    """Export a mixture of a curated data set; 0 if that went well."""
    parser = argparse.ArgumentParser(description="Write a mixture as JSON, Parquet and a card.")
    parser.add_argument("dataset", help="a curated data set: miniature, release, rebuild or a run's name")
    parser.add_argument("mixture", choices=MIXTURES, metavar="mixture", help=", ".join(MIXTURES))
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--seed", type=int, default=42, help="orders the rows")
    chosen = parser.parse_args(arguments)
    try:
        told = export(mixtures.ensure(chosen.dataset), chosen.out, chosen.mixture, chosen.seed)
    except (FileNotFoundError, ValueError) as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    for name, entry in told["files"].items():
        print(f"{chosen.out / name}: {entry['bytes']:,} bytes, sha256 {entry['sha256']}")
    print(
        f"{told['rows']:,} rows; publish them with: python -m mammoth_utils.curation.sources.hub {chosen.out} OWNER/NAME"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
