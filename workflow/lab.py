"""``make lab``: the pages in JupyterLab; as root, which containers are, with the option that it then asks for."""

from __future__ import annotations

import os
import sys

from stages import ROOT


def main(arguments: list[str]) -> None:
    """Replace this process by JupyterLab in the project's folder."""
    options = ["--notebook-dir=.", *arguments, "notebooks"]
    if os.geteuid() == 0:
        print("lab: you are root, so JupyterLab is started with --allow-root", flush=True)
        options.insert(0, "--allow-root")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options])


if __name__ == "__main__":
    main(sys.argv[1:])
