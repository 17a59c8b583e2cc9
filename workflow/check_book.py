"""Checks the built book: every page of the contents is there, ran to its end, shows outputs and loads its files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import yaml
from stages import ROOT

from mammoth_utils import paths
from mammoth_utils.report import first_error, is_finished

HTML = ROOT / "_build" / "html"
# What loads when a page is opened; a link that a reader clicks may lead outside.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"([^\"]+)\"|<link\b[^>]*?>", re.IGNORECASE)
# What the browser of problems says of the files that it loads when a reader asks for one.
ITEM_INDEX = re.compile(r'class="ib-index">(.*?)</script>', re.DOTALL)
IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
PATH_LIKE = re.compile(r"(?:\S*(?:/|_build)\S*|\S+\.(?:png|svg|jpe?g))", re.IGNORECASE)
MAX_PAGE_BYTES = 3_000_000  # what a reader's browser loads of a page besides its style
FETCHED_RELATIONS = ("stylesheet", "preload", "icon", "shortcut icon", "modulepreload", "manifest")


def contents(toc: Path = ROOT / "_toc.yml") -> list[str]:
    """Return the pages of the table of contents, in order, without suffix."""

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield str(value)
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load(toc.read_text(encoding="utf8"))))


def faults(html: Path = HTML, runs: Path | None = None) -> list[str]:
    """Return the faults of the built book, one line each."""
    runs, lines = runs or paths.runs(), []
    for page in contents():
        file = html / f"{page}.html"
        if not file.is_file():
            lines.append(f"{page}: not in the built book")
            continue
        text = file.read_text(encoding="utf8")
        lines += [f"{page}: {fault}" for fault in (*_loaded(text, file), *_items(text, file), *_readable(text))]
        if page.startswith("notebooks/"):
            lines += [f"{page}: {fault}" for fault in _executed(text, runs / "book" / f"{Path(page).name}.ipynb")]
    return lines


def _executed(text: str, run: Path) -> Iterator[str]:
    """Yield the faults of a page that shows a run."""
    if not run.is_file():
        yield f"no executed run at {run}"
        return
    notebook = json.loads(run.read_text(encoding="utf8"))
    if not is_finished(notebook):
        yield f"its run did not finish: {first_error(notebook)}"
    shown = [cell for cell in notebook["cells"] if cell.get("outputs")]
    if not shown:
        yield "its run has no output at all"
    if shown and text.count('class="cell_output') == 0:
        yield "its run has outputs and the HTML shows none"
    if "Traceback (most recent call last)" in text or "output traceback" in text:
        yield "it shows a traceback"
    if "no executed run" in text.lower():
        yield "it says that its run is missing"


def _loaded(text: str, file: Path) -> Iterator[str]:
    """Yield the faults of what a page loads when it is opened: an outside address, or a file that is not there."""
    for match in LOADED.finditer(text):
        address = match[1]
        if address is None:
            relation = re.search(r'rel="([^"]+)"', match[0])
            target = re.search(r'href="([^"]+)"', match[0])
            if not relation or not target or relation[1] not in FETCHED_RELATIONS:
                continue
            address = target[1]
        if re.match(r"(?:https?:)?//", address):
            yield f"loads {address} from outside"
        elif not address.startswith(("data:", "#", "javascript:")):
            path = unquote(re.split(r"[?#]", address)[0])
            if path and not (file.parent / path).exists():
                yield f"loads {address}, which is not there"


def _readable(text: str) -> Iterator[str]:
    """Yield the faults of a page that some readers could not read: images without words, and too many bytes."""
    for image in IMAGE.findall(text):
        words = re.search(r'\balt="([^"]*)"', image)
        if words is None or PATH_LIKE.fullmatch(words[1].strip()):
            source = re.search(r'\bsrc="([^"]{0,80})', image)
            yield f"image {source[1] if source else '?'} has no alternative text that says what is seen"
    if len(text.encode()) > MAX_PAGE_BYTES:
        yield f"{len(text.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}"


def _items(text: str, file: Path) -> Iterator[str]:
    """Yield the fault of a page whose problems cannot all be opened: files beside it that are missing."""
    for match in ITEM_INDEX.finditer(text):
        index = json.loads(match[1])
        names = [f"{model['name']}.{name}" for model in index["models"] for name in model["sets"]]
        names += [f"questions.{name}" for name in index["questions"]]
        missing = [name for name in names if not (file.parent / index["book"] / f"{name}.js").is_file()]
        if missing:
            yield f"{len(missing)} of {len(names)} files of problems are not there, such as {missing[0]}.js"


def main() -> int:
    """Print the faults and return the exit status."""
    lines = faults()
    print("\n".join(lines) if lines else f"every one of {len(contents())} pages is there, finished and self-contained")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
