"""Write from committed records: blocks of the README and of pages, and the main figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mammoth_utils import paths
from mammoth_utils.report import generated_text


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 1 where ``--check`` finds a block out of date."""
    parser = argparse.ArgumentParser(prog="python -m mammoth_utils.report", description=__doc__)
    parser.add_argument("target", choices=[*generated_text.FILES, "figure"], help="what to write")
    parser.add_argument("--file", type=Path, help="another file than the project's own")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the block is out of date")
    options = parser.parse_args(arguments)
    if options.target == "figure":
        return _write_figure(options.file or paths.root() / "book" / "_static" / "main_figure.png")
    current = generated_text.update(options.target, options.file, options.check)
    if options.check and not current:
        print(f"{options.target}: the block is out of date; run `python -m mammoth_utils.report {options.target}`")
        return 1
    print(f"{options.target}: {'up to date' if current else 'block written'}")
    return 0


def _write_figure(file: Path) -> int:
    """Draw the README's main figure from committed records."""
    from mammoth_utils.report import figures

    evaluations = generated_text.committed_evaluations()
    if not evaluations:
        print("no committed record of the miniature to draw; `make book-full` makes them")
        return 1
    file.parent.mkdir(parents=True, exist_ok=True)
    figures.main_figure(evaluations).savefig(file, metadata={"Software": None})
    print(f"{file.name}: drawn from {len(evaluations)} committed records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
