"""``make train SIZE=...``: the page `train` through papermill with both paths, into ``runs/train-<...>.ipynb``."""

from __future__ import annotations

import subprocess
import sys

from stages import ROOT

from mammoth_utils import pages, paths


def main(arguments: list[str]) -> int:
    """Run the page with ``name=value`` parameters, checked before papermill starts; papermill's exit status."""
    given = dict(argument.split("=", 1) for argument in arguments)
    try:
        resolved = pages.resolve("train", given)
    except pages.ParameterError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    keys = ("size", "family", "mixture", "method", "seed", "name")
    words = [str(resolved[key]).replace("/", "_") for key in keys if resolved.get(key) not in (None, "", "auto")]
    out = paths.runs() / ("-".join(["train", *words]) + ".ipynb")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "train.ipynb"), str(out)]
    for name in given:
        command += ["-r" if isinstance(resolved[name], str) else "-p", name, str(resolved[name])]
    print(f"train: {' '.join(command[2:])}", flush=True)
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
