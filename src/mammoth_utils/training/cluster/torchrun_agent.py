"""``python -m mammoth_utils.training.cluster.torchrun_agent WORDS RUN.json``: torchrun on one of several nodes, with torchrun's words.

What ends it is left in the run's folder, where the page on another machine reads it. So a worker that a signal killed,
for want of memory or by NCCL, is heard of too: it can leave nothing itself, but torchrun sees it end.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from mammoth_utils.training.cluster import node_errors


def main() -> None:
    """Run torchrun with the command's words, of which the last names the run."""
    if len(sys.argv) < 2 or not Path(sys.argv[-1]).is_file():
        raise SystemExit(
            "usage: python -m mammoth_utils.training.cluster.torchrun_agent TORCHRUN'S WORDS runs/train/NAME/run.json"
        )
    with node_errors.leaving_errors(Path(sys.argv[-1]).resolve().parent, f"torchrun-{platform.node()}-{os.getpid()}"):
        from torch.distributed import run

        run.main(sys.argv[1:])


main()
