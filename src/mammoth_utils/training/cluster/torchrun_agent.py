"""Torchrun on one of several nodes: ``python -m mammoth_utils.training.cluster.torchrun_agent ARGUMENTS RUN.json``.

The error that ends it is stored in the run's folder, where the page on another machine reads it. So the page also sees
a worker that a signal killed, by lack of memory or by NCCL: it stores nothing itself, but torchrun notices its end.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from mammoth_utils.training.cluster.node_errors import store_errors


def main() -> None:
    """Run torchrun with the command's arguments, of which the last names the run."""
    if len(sys.argv) < 2 or not Path(sys.argv[-1]).is_file():
        raise SystemExit(
            "usage: python -m mammoth_utils.training.cluster.torchrun_agent TORCHRUN'S WORDS runs/train/NAME/run.json"
        )
    with store_errors(Path(sys.argv[-1]).resolve().parent, f"torchrun-{platform.node()}-{os.getpid()}"):
        from torch.distributed import run

        run.main(sys.argv[1:])


if __name__ == "__main__":
    main()
