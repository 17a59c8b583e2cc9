"""``make train SIZE=... METHOD=...``: the page `train` through papermill, into ``runs/train-<name of the run>.ipynb``.

Every parameter of the page may stand behind ``make train``, in capitals or not; any other name is refused.
"""

from __future__ import annotations

import inspect
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping

from stages import ROOT

from mammoth_utils import pages, paths

MAKES_OWN = ("PYTHON",)  # read by set-up


def read_parameters(given: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the page's parameters that make was given, by their names on the page.

    Args:
        given: Names on make's command line, with blanks between them.
        environment: Holds their values, since make exports them.

    Raises:
        ParameterError: If a name is given in capitals and in small letters with two values.
    """
    parameters: dict[str, str] = {}
    for variable in given.split():
        if variable in MAKES_OWN or variable.startswith("MAMMOTH_"):
            continue
        name, value = variable.lower(), environment[variable]
        if parameters.setdefault(name, value) != value:
            raise pages.ParameterError(f"{name} is given twice, as {parameters[name]!r} and as {value!r}")
    return parameters


def main(environment: Mapping[str, str]) -> int:
    """Check the parameters before papermill starts, and run the page; return papermill's exit status."""
    try:
        given = read_parameters(environment.get("GIVEN", ""), environment)
        for name in ("size", "method", "mixture", "dataset", "max_steps", "learning_rate"):
            if name.upper() in environment and name not in given:
                print(f"train: {name.upper()} of the environment is not read; write it behind `make train`")
        resolved = pages.resolve("train", given)
        from mammoth_utils.training import describe, find_gpus

        known = inspect.signature(describe).parameters
        values = {name: value for name, value in resolved.as_dict().items() if name in known}
        run = describe(**values, gpus=find_gpus())
        out = paths.writable_runs() / f"train-{run.name}.ipynb"
    except (ValueError, FileNotFoundError, PermissionError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "train.ipynb"), str(out)]
    for name in given:
        command += ["-r" if isinstance(resolved[name], str) else "-p", name, str(resolved[name])]
    print(f"train: {shlex.join(['papermill', *command[3:]])}", flush=True)
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    raise SystemExit(main(os.environ))
