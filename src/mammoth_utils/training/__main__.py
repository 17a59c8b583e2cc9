"""``python -m mammoth_utils.training RUN.json`` trains the run of that file; ``torchrun`` starts it on each device."""

from __future__ import annotations

import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from mammoth_utils import parent_watch, records
from mammoth_utils.training.cluster.node_errors import store_errors
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.training_run import finetune


# Without this decorator torchrun reports that a child failed, and not why.
@record
def main() -> None:
    """Train the run of the ``run.json`` that the command names, on the ``rows.jsonl`` beside it."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m mammoth_utils.training runs/train/NAME/run.json")
    parent_watch.end_with_parent(parent_watch.PAGE)
    file = Path(sys.argv[1]).resolve()
    with store_errors(file.parent):
        description = RunDescription.from_dict(records.read_json(file))
        if description.folder.resolve() != file.parent:
            raise SystemExit(f"{file} describes a run in {description.folder}; move it there or set MAMMOTH_RUNS_DIR")
        rows = file.parent / "rows.jsonl"
        if not rows.is_file():
            raise SystemExit(
                f"no rows.jsonl beside {file.name}: open the page `train` once, which writes the mixture there"
            )
        finetune(description, list(records.read_jsonl(rows)))


main()
