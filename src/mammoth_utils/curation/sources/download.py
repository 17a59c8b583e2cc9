"""Fetch the public evaluation sets and training files: ``python -m mammoth_utils.curation.sources.download``.

Files come from GitHub at a fixed commit and are put into the layout of ``data/``: ``eval/NAME.jsonl`` and
``train/NAME``. Every file is checked against its SHA-256 after it was brought into that form, and where the upstream
file's own hash is known, before. With ``MAMMOTH_DATA_DIR`` nothing is fetched.
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
from pathlib import Path
from urllib.parse import urlsplit

from mammoth_utils import licences, paths

RAW = "https://raw.githubusercontent.com"
ARCHIVE = "https://codeload.github.com"
MAMMOTH2 = "TIGER-AI-Lab/MAmmoTH2/9c67cb137b87e3c2f68ab412c6731b1f47a51b55"
GSM8K = "openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data"
HTL = "seamoke/Human-Think-Language/1961a68a7d70df7277e880338adc3fd16b1046fe/math_eval/dataset"

Convert = Callable[[Sequence[bytes]], bytes]


def as_it_is(parts: Sequence[bytes]) -> bytes:
    """The one upstream file, unchanged."""
    return parts[0]


def lines(rows: Sequence[dict]) -> bytes:
    """Rows as JSON Lines, characters written out."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def list_to_lines(parts: Sequence[bytes]) -> bytes:
    """A JSON array, as most of the released evaluation sets are, as JSON Lines."""
    return lines(json.loads(parts[0]))


def instances_to_lines(parts: Sequence[bytes]) -> bytes:
    """Lila's file, a header around ``Instances``, as JSON Lines of its instances."""
    return lines(json.loads(parts[0])["Instances"])


def math_to_lines(parts: Sequence[bytes]) -> bytes:
    """MATH's 5,000 test problems, a file each in an archive of the repository, as JSON Lines by subject and number."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(parts[0]), mode="r:*") as archive:
        for member in archive:
            place = re.search(r"math_eval/dataset/math/(\w+)/(\d+)\.json$", member.name)
            file = archive.extractfile(member) if place and member.isfile() else None
            if place and file is not None:
                row = {**json.loads(file.read()), "file": f"{place[1]}/{place[2]}.json"}
                found.append(((place[1], int(place[2])), row))
    return lines([row for _, row in sorted(found, key=lambda entry: entry[0])])


def numglue_programs(parts: Sequence[bytes]) -> bytes:
    """Distinct questions and MathInstruct programs of Human-Think-Language's files, which put them after ``****``."""
    pairs = {}
    for part in parts:
        for row in json.loads(part):
            pairs[row["question"], row["output"].split("\n****\n")[-1]] = None
    return lines([{"question": question, "program": program} for question, program in pairs])


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
        parts: The upstream files that it is made of.
        sha256: SHA-256 of its content (uncompressed, where it is ``.gz``).
        convert: How the upstream bytes become it.
    """

    name: str
    parts: tuple[Part, ...]
    sha256: str
    convert: Convert = as_it_is

    @property
    def licence(self) -> str:
        """The data's licences, as ``licences.FILES`` lists them for the cards too."""
        return ", ".join(licences.of_file(self.name))


def _eval(name: str, path: str, upstream: str, sha256: str, *more: str, convert: Convert = list_to_lines) -> Item:
    homes = (f"{RAW}/{MAMMOTH2}/math_eval/dataset/{path}", *(f"{RAW}/{home}" for home in more))
    return Item(f"eval/{name}.jsonl", (Part(homes, upstream),), sha256, convert)


_GSM8K_TEST = "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"
_AQUA_TEST = "de41581881ef95c5588c44ddc701c77fd480839241dd422a0d181262af24520c"
# Of the evaluation sets only GSM8K and AQuA have a second home at a fixed commit that we could name.
ITEMS: tuple[Item, ...] = (
    _eval("gsm8k", "gsm8k/gsm8k.jsonl", _GSM8K_TEST, _GSM8K_TEST, f"{GSM8K}/test.jsonl", convert=as_it_is),
    _eval("aqua", "AQuA/AQuA.json", _AQUA_TEST, _AQUA_TEST,
          "google-deepmind/AQuA/26b64ed1f22208c6742f47df547dfd65088ec30d/test.json", convert=as_it_is),
    _eval("numglue", "numglue/numglue.json", "88d16c07e08b36492566ad0f35f95504cc1f1b15694c94052be0170d81d85936",
          "b7732bd0a55d3a05447f9ae601d1b2841048a921056bd0b7688bbded4c4cf26f"),
    _eval("svamp", "SVAMP/SVAMP.json", "5be77703a6d891ae476d7c082787ad361392aa02453b132516cdd5f4e7934e3e",
          "6fe662d6aab49834d3e95be4b84cbb56e4a5099e0a839338a13171a61cbdd1f8"),
    _eval("deepmind", "deepmind/deepmind.json", "1caa7e191af2df1c110ca405dcaf7fc663a1bac16f589e6af853bff5d1012a11",
          "9a6b7283ea47c50bfe3892ea8d1a0e8c450bd345128a5f3970649bd0ce1fe3ff"),
    _eval("simuleq", "simuleq/simuleq.json", "2fdc97194c641c7c969866a2a25f01e6c6ae36b00391467d33e15a1a7d4e75e1",
          "44285ebaaa68dd56875713f3596d63ae6197536b3cba2a6565ed0bad91c56435"),
    _eval("sat", "sat/sat.json", "8e551d655828c4162e3f098c7c8fa560f8ba4bc7b6f24a9caa205f23bcd861d9",
          "f27e46e1dea85d20c888df535f61b114ca4233de4150a18ebf1e05d9a8726891"),
    _eval("mmlu_mathematics", "mmlu/mathematics.json",
          "4d07b027d398890e5bc1bbee5ed568fd4b3ba9bb4539d076fe082107d0e9d8bf",
          "1b91f8184a4ef68d06e8588fd06ce142525d64edecff323d0e0436d57d7ae7ad"),
    _eval("theoremqa", "theoremqa/theoremqa_test.json",
          "84b85febccbcbc03668b710cc5c9fb3ffb972e19db88f5a3423bd943e025087c",
          "0cd57c45c9af462eeb2282d1383fd69cf70664367fa3fce10176c3d648272cbb"),
    # 5,000 files one by one would take an hour: the commit's archive holds them all, and its content is checked.
    Item("eval/math.jsonl", (Part((f"{ARCHIVE}/{MAMMOTH2.rsplit('/', 1)[0]}/tar.gz/{MAMMOTH2.rsplit('/', 1)[1]}",)),),
         "776f354af01327aa077c4aec4ca48181d9059e269b7e37cd602295e39ac4e485", math_to_lines),
    Item("train/gsm8k_train.jsonl.gz",
         (Part((f"{RAW}/{GSM8K}/train.jsonl",
                f"{RAW}/iamansinha/GSM8K/9d657e45ee92d13a4a98130cbcd0770ff36915c1/grade_school_math/data/train.jsonl"),
               "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465"),),
         "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", as_it_is),
    Item("train/aqua_train_flan.tsv.gz",
         (Part((f"{RAW}/google-research/FLAN/e9e4ec6e2701182c7a91af176f705310da541277/flan/v2/cot_data/aqua_train.tsv",)),),
         "2e43bd7900e739a78d7b7b7444e19bae4259399327eb76b78a30f4e4fb7dfdda", as_it_is),
    Item("train/lila_mathqa_gain.jsonl.gz",
         (Part((f"{RAW}/mukhal/grace/be493be2c650a1758add7de5a3ec822295785892/data/mathqa/mathqa_gain.json",
                f"{RAW}/mukhal/grace/2cfa60702fdaf943ee2f830ed20750fea5af3fc4/data/mathqa/mathqa_gain.json")),),
         "2a8f7374847e9f8a68c820bd76f0499163fa0892a4be8a29804748060b2c1b26", instances_to_lines),
    Item("train/numglue_pot_from_htl.jsonl.gz",
         (Part((f"{RAW}/{HTL}/mistral/numglue.json",)), Part((f"{RAW}/{HTL}/llama_data/my_numglue.json",))),
         "156c01184cc72dfa084b2e4f7f4398fb445a8066a7b709f7d0946a90463c1003", numglue_programs),
)  # fmt: skip

BY_HAND = {
    "train/math_train.jsonl.gz": "MATH's training split (7,500 problems) left its hub in January 2025 and has no "
    "second home at a fixed address that we could verify; put JSON Lines with problem, level, type, solution, "
    "file there",
    "release/MathInstruct.json": "212 MB from https://huggingface.co/datasets/TIGER-Lab/MathInstruct, at the revision "
    "that `curation.release` pins; without it `dataset=release` fetches the file into the hub's own cache",
}


def content(path: Path) -> bytes:
    """The bytes of a file, uncompressed."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def is_there(item: Item, folder: Path) -> bool:
    """Whether the item's file is in the folder with the right content."""
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
    made = item.convert(parts)
    found = hashlib.sha256(made).hexdigest()
    if found != item.sha256:
        raise ValueError(f"{item.name}: expected content with SHA-256 {item.sha256}, upstream gives {found}")
    path = folder / item.name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    # No time stamp in the gzip header, so that the same content makes the same file.
    part.write_bytes(gzip.compress(made, mtime=0) if path.suffix == ".gz" else made)
    part.replace(path)
    return path


def fetch(item: Item, folder: Path, dead: set[str] | None = None, hosts: dict[str, str] | None = None) -> Path:
    """Download an item's parts, from the second home where the first fails, and put the file in place.

    Args:
        item: What to fetch.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what is not there; 0 if all of it is there in the end, else 1."""
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
    hosts = dict(pair.split("=", 1) for pair in options.mirror if "=" in pair)
    dead: set[str] = set()
    failed = 0
    for number, item in enumerate(ITEMS, 1):
        label = f"{number:>2}/{len(ITEMS)}  {item.name}"
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
    for name, how in BY_HAND.items():
        print(f"    -  {name}: {'there' if (folder / name).is_file() else 'by hand: ' + how}")
    print(f"{len(ITEMS) - failed} of {len(ITEMS)} files are there" if not options.list else "nothing was fetched")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
