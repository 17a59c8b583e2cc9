"""Fetch the public evaluation sets and training files: ``python -m mammoth_utils.curation.sources.download``.

Files come from GitHub at a fixed commit (``public_files.yaml``) and are put into the layout of ``data/``:
``eval/NAME.jsonl`` and ``train/NAME``. Every file is checked against its SHA-256 after it was brought into that form,
and where the upstream file's own hash is known, before. With ``MAMMOTH_DATA_DIR`` nothing is fetched.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mammoth_utils import licences, paths, prompts, records
from mammoth_utils.command_line import in_one_line

Convert = Callable[[Sequence[bytes]], bytes]


def as_it_is(parts: Sequence[bytes]) -> bytes:
    """Return the one upstream file, unchanged."""
    return parts[0]


def lines(rows: Sequence[dict]) -> bytes:
    """Return rows as JSON Lines, characters written out."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def list_to_lines(parts: Sequence[bytes]) -> bytes:
    """Return a JSON array, as most of the released evaluation sets are, as JSON Lines."""
    return lines(json.loads(parts[0]))


def instances_to_lines(parts: Sequence[bytes]) -> bytes:
    """Return Lila's file, a header around ``Instances``, as JSON Lines of its instances."""
    return lines(json.loads(parts[0])["Instances"])


def math_to_lines(parts: Sequence[bytes]) -> bytes:
    """Return MATH's 5,000 test problems, a file each in an archive, as JSON Lines by subject and number."""
    numbered = []
    with tarfile.open(fileobj=io.BytesIO(parts[0]), mode="r:*") as archive:
        for member in archive:
            place = re.search(r"math_eval/dataset/math/(\w+)/(\d+)\.json$", member.name)
            file = archive.extractfile(member) if place and member.isfile() else None
            if place and file is not None:
                row = {**json.loads(file.read()), "file": f"{place[1]}/{place[2]}.json"}
                numbered.append(((place[1], int(place[2])), row))
    return lines([row for _, row in sorted(numbered, key=lambda entry: entry[0])])


def numglue_programs(parts: Sequence[bytes]) -> bytes:
    """Return distinct questions and programs of Human-Think-Language's files, which put these after ``****``."""
    pairs = {}
    for part in parts:
        for row in json.loads(part):
            pairs[row["question"], row["output"].split("\n****\n")[-1]] = None
    return lines([{"question": question, "program": program} for question, program in pairs])


# By the names under which ``public_files.yaml`` calls them.
CONVERTERS: dict[str, Convert] = {
    convert.__name__: convert for convert in (list_to_lines, instances_to_lines, math_to_lines, numglue_programs)
}


@dataclass(frozen=True)
class Part:
    """One upstream file: where it is, first home first, and its SHA-256 where that is known."""

    homes: tuple[str, ...]
    sha256: str | None = None


@dataclass(frozen=True)
class Item:
    """One file of the layout.

    Attributes:
        name: Its place below the data folder.
        sha256: SHA-256 of its content (uncompressed, where it is ``.gz``).
    """

    name: str
    parts: tuple[Part, ...]
    sha256: str
    convert: Convert = as_it_is

    @property
    def licence(self) -> str:
        """Return the data's licences, as ``licences.FILES`` lists them for the cards too."""
        return ", ".join(licences.of_file(self.name))


@cache
def public_files() -> tuple[Item, ...]:
    """Return the files that ``make data`` fetches: of ``public_files.yaml``, and those of few-shot prompts."""
    examples = tuple(
        Item(file.name, (Part((file.home,), file.sha256),), file.sha256) for file in prompts.EXEMPLAR_FILES.values()
    )
    table = tuple(
        Item(row["name"], tuple(Part(tuple(part["homes"]), part.get("sha256")) for part in row["parts"]), row["sha256"],
             CONVERTERS[row["convert"]] if "convert" in row else as_it_is)
        for row in _table()["files"]
    )  # fmt: skip
    return table + examples


@cache
def known_hashes() -> dict[str, str]:
    """Return the SHA-256 of each known file's content, uncompressed, by its name below the data folder."""
    rows = [row for part in ("files", "by_hand") for row in _table()[part]]
    return {row["name"]: row["sha256"] for row in rows if "sha256" in row}


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("mammoth_utils.curation.sources") / "public_files.yaml").read_text(encoding="utf8")
    return yaml.safe_load(text)


def content(path: Path) -> bytes:
    """Return the bytes of a file, uncompressed."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def is_there(item: Item, folder: Path) -> bool:
    """Return whether the item's file is in the folder with the right content."""
    path = folder / item.name
    try:
        return path.is_file() and hashlib.sha256(content(path)).hexdigest() == item.sha256
    except (OSError, EOFError, zlib.error):  # a gzip file that was cut or spoilt
        return False


def make(item: Item, parts: Sequence[bytes], folder: Path) -> Path:
    """Write the item's file from its upstream bytes.

    Raises:
        ValueError: If the result is not the file that the layout names: upstream has changed.
    """
    data = item.convert(parts)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != item.sha256:
        raise ValueError(f"{item.name}: expected content with SHA-256 {item.sha256}, upstream gives {sha256}")
    path = folder / item.name
    with records.atomic_file(path) as file:
        file.buffer.write(data)
    return path


def fetch(item: Item, folder: Path, dead: set[str] | None = None, hosts: dict[str, str] | None = None) -> Path:
    """Download an item's parts, from the second home where the first fails, and put the file in place.

    Args:
        folder: The data folder; upstream files are kept below ``.downloads``.
        dead: Hosts that did not answer; they are not tried again, and new ones are added.
        hosts: Replacements of URL beginnings, for a mirror.

    Raises:
        OSError: If no home has it, naming each and what went wrong.
        ValueError: If what came is not the file that the layout names.
    """
    dead = set() if dead is None else dead
    return make(item, [_part(part, folder / ".downloads", dead, hosts or {}) for part in item.parts], folder)


def _part(part: Part, cache: Path, dead: set[str], hosts: dict[str, str]) -> bytes:
    import pooch
    import requests

    wrong = []
    for home in part.homes:
        url = home
        for old, new in hosts.items():
            url = url.replace(old, new)
        host = urlsplit(url).netloc
        if host in dead:
            wrong.append(f"{home}: {host} does not answer")
            continue
        try:
            # pooch keeps the file, checks its hash and downloads it again if that differs.
            file = pooch.retrieve(url, part.sha256 and f"sha256:{part.sha256}", path=cache,
                                  downloader=pooch.HTTPDownloader(timeout=30))  # fmt: skip
            return Path(file).read_bytes()
        except (requests.ConnectionError, requests.Timeout) as error:
            dead.add(host)
            wrong.append(f"{home}: {type(error).__name__}")
        except (requests.RequestException, ValueError, OSError) as error:
            wrong.append(f"{home}: {error}")
    second = "" if len(part.homes) > 1 else "; no second home is known"
    raise OSError("; ".join(wrong) + second)


@in_one_line("not fetched")
def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what is not there; return 0 if all of it is there in the end, else 1."""
    parser = argparse.ArgumentParser(
        prog="make data", description="Fetch the public evaluation sets and training files."
    )
    parser.add_argument("--list", action="store_true", help="say what would be fetched from where, and fetch nothing")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="OLD=NEW", help="replace the beginning of an address"
    )
    options = parser.parse_args(arguments)
    named = os.environ.get("MAMMOTH_DATA_DIR")
    folder = (paths.data() if named else None) or paths.root() / "data"
    if named:
        print(f"MAMMOTH_DATA_DIR names {folder}: nothing is fetched")
    if odd := next((pair for pair in options.mirror if "=" not in pair), ""):
        parser.error(f"expected --mirror OLD=NEW, got {odd!r}")
    hosts = dict(pair.split("=", 1) for pair in options.mirror)
    dead: set[str] = set()
    items, failed = public_files(), 0
    for number, item in enumerate(items, 1):
        label = f"{number:>2}/{len(items)}  {item.name}"
        if is_there(item, folder):
            print(f"{label}: there")
        elif named or options.list:
            failed += not options.list
            print(f"{label}: not there; from {', '.join(part.homes[0] for part in item.parts)}")
        else:
            try:
                path = fetch(item, folder, dead, hosts)
                print(f"{label}: fetched, {path.stat().st_size:,} bytes ({item.licence})")
            except (OSError, ValueError, KeyError, tarfile.TarError) as error:
                failed += 1
                print(f"{label}: FAILED: {error}\n       put the file at {folder / item.name} yourself, or try again")
    for row in _table()["by_hand"]:
        print(f"    -  {row['name']}: {'there' if (folder / row['name']).is_file() else 'by hand: ' + row['how']}")
    print(f"{len(items) - failed} of {len(items)} files are there" if not options.list else "nothing was fetched")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
