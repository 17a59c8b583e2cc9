"""Publish an exported mixture on the hub, which nothing else does.

``python -m mammoth_utils.curation.publish FOLDER OWNER/NAME`` uploads what ``curation.export`` wrote. ``HF_ENDPOINT``,
``HF_TOKEN`` and the hub library's other variables mean what they mean elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mammoth_utils.hub import Upload, run_command, upload_files

CARD, FILES = "README.md", ("README.md", "train.json", "data/train.parquet")


def publish_mixture(folder: Path, name: str, private: bool = True, dry_run: bool = False) -> Upload:
    """Upload an exported mixture as one commit and check on the hub that what lies there is what was sent.

    Args:
        folder: What ``export_mixture`` wrote.
        name: ``owner/name`` on the hub; made if it is not there.
        private: Whether a new data set is visible to its owner alone.
        dry_run: Say what would be uploaded, and ask the hub nothing.

    Returns:
        The data set's page, its commit, and each file's size and SHA-256.

    Raises:
        FileNotFoundError: If the folder holds no exported mixture.
        ValueError: If the name has another form.
        HubError: If the hub refuses, or holds another content afterwards.
    """
    folder = Path(folder)
    if absent := [file for file in FILES if not (folder / file).is_file()]:
        raise FileNotFoundError(f"expected an exported mixture in {folder}, found no {', '.join(absent)}")
    title = (folder / CARD).read_text(encoding="utf8").split("pretty_name: ")[1].splitlines()[0]
    return upload_files(name, {file: folder / file for file in FILES}, "dataset", title, private, dry_run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish an exported mixture, or say what would be; return 0 if that went well."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.publish", description="Publish an exported mixture on the hub."
    )
    parser.add_argument("folder", type=Path, help="what `python -m mammoth_utils.curation.export` wrote")
    parser.add_argument("name", help="OWNER/NAME on the hub")
    parser.add_argument("--public", action="store_true", help="let everybody see a new data set; private otherwise")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and ask the hub nothing")
    chosen = parser.parse_args(arguments)
    return run_command(lambda: publish_mixture(chosen.folder, chosen.name, not chosen.public, chosen.dry_run))


if __name__ == "__main__":
    sys.exit(main())
