"""This machine, without loading torch here: its GPUs, whether torch can use them, its memory and its packages."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASK_S, TORCH_S = 20, 300  # the driver answers at once; torch's first import from a shared disk takes minutes
MEMINFO = Path("/proc/meminfo")
# Run in a process of its own, so that this one never touches CUDA before it starts others.
PROBE = """
import json, torch
build = {"torch": torch.__version__, "cuda": torch.version.cuda, "archs": [], "cards": [], "error": ""}
try:
    if torch.version.cuda is not None:
        build["archs"] = torch.cuda.get_arch_list()
        torch.cuda.init()
        for gpu in range(torch.cuda.device_count()):
            build["cards"].append([torch.cuda.get_device_name(gpu), *torch.cuda.get_device_capability(gpu)])
        build["archs"] = torch.cuda.get_arch_list()
except Exception as error:
    build["error"] = " ".join(str(error).split())
print("PROBED " + json.dumps(build))
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        name: As the driver has it.
        gib: Free memory in GiB; plans are made for this.
        listed: All memory in GiB; 0 if it is ``gib``.
    """

    name: str
    gib: float
    listed: float = 0.0

    @property
    def whole(self) -> float:
        """Return all memory in GiB, as the driver lists it."""
        return self.listed or self.gib


def find_gpus() -> list[Gpu]:
    """List the NVIDIA GPUs that this process may use, by ``nvidia-smi``; empty without one.

    A process of ``torchrun`` counts a GPU's whole memory as free: what is held there by then is its own and its
    neighbours', and the page that started them has checked.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return []
    rows = [row for row in _smi("name,memory.total,memory.free,uuid", "nounits") if len(row) == 4]
    gpus = [(uuid, _gpu(name, total, free)) for name, total, free, uuid in rows if _is_number(total)]
    if visible is None:
        return [gpu for _, gpu in gpus]
    chosen = []
    for name in visible.split(","):
        name = name.strip()
        chosen += [gpu for n, (uuid, gpu) in enumerate(gpus) if name == str(n) or (name and uuid.startswith(name))]
    return chosen


def _gpu(name: str, total: str, free: str) -> Gpu:
    whole = float(total) / 1024
    left = float(free) / 1024 if _is_number(free) and "RANK" not in os.environ else whole
    return Gpu(name, left, whole)


def compute_capabilities() -> dict[str, float]:
    """Return the compute capability of this machine's GPUs by name; empty if ``nvidia-smi`` does not say."""
    rows = _smi("name,compute_cap")
    return {name: float(value) for name, value in (row for row in rows if len(row) == 2) if _is_number(value)}


def _smi(query: str, *options: str) -> list[list[str]]:
    """Return the rows of ``nvidia-smi``, one per GPU; none if it is missing, lists no GPU, or rejects the query."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={query}", f"--format={','.join(('csv', 'noheader', *options))}"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # a driver without a card answers with an error, which is "no GPU" and no fault of ours
    return [[part.strip() for part in line.split(",")] for line in output.splitlines()]


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def explain_torch(gpus: int) -> str:
    """Say why this interpreter's torch cannot use the first ``gpus`` GPUs and what to do; empty if it can.

    ``nvidia-smi`` lists a GPU whatever torch was built for. Runs in a process of its own.
    """
    command = [sys.executable, "-c", PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_S, check=False)
    except subprocess.TimeoutExpired:
        return f"torch did not answer within {TORCH_S} s when it was asked for its cards"
    lines = [line for line in done.stdout.splitlines() if line.startswith("PROBED ")]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"torch does not start here (exit status {done.returncode}): {last}"
    return explain_build(json.loads(lines[-1].removeprefix("PROBED ")), gpus)


def explain_build(build: dict[str, Any], gpus: int) -> str:
    """Say why a build of torch, as ``PROBE`` prints it, cannot use so many GPUs, and what to do; empty if it can."""
    version, cuda = build["torch"], build["cuda"]
    release = version.split("+")[0]
    if cuda is None:
        return (
            f"torch {version} is built without CUDA; install the build with it (`pip install --force-reinstall "
            f"torch=={release}`, without PIP_EXTRA_INDEX_URL and the like that name CPU builds)"
        )
    if build["error"]:
        return (
            f"torch {version}, built for CUDA {cuda}, cannot use them: {build['error']}; a driver of CUDA "
            f"{cuda.split('.')[0]} or newer is needed (`nvidia-smi` says which one it has), or a build of torch for "
            "the CUDA of the driver"
        )
    if len(build["cards"]) < gpus:
        return f"torch {version} sees {len(build['cards'])} of {gpus} cards; CUDA_VISIBLE_DEVICES may hide the others"
    for name, major, minor in build["cards"][:gpus]:
        if not runs_on(build["archs"], major, minor):
            return (
                f"torch {version}, built for CUDA {cuda}, has no code for {name} (compute capability {major}.{minor}), "
                f"only {', '.join(build['archs'])}; install a build whose `torch.cuda.get_arch_list()` has "
                f"sm_{major}{minor}: for cards before Turing one of CUDA 12.6, for cards newer than torch {release} a "
                "newer one"
            )
    return ""


def explain_compiler() -> str:
    """Say what Triton lacks to start a kernel, and how to get it; empty if nothing, or without Triton.

    TRL computes the loss on a GPU by a kernel of Triton's wherever that is installed. At its first call Triton compiles
    a C file that includes Python's header, with the compiler in ``CC``, else gcc, else clang.
    """
    if not is_installed("triton"):
        return ""
    named = os.environ.get("CC")
    if not (shutil.which(named) if named else shutil.which("gcc") or shutil.which("clang")):
        return (
            f"CC names {named}, which is no program here" if named else "neither gcc nor clang is here"
        ) + "; `apt-get install gcc` or `conda install gcc` brings one, or set CC to one"
    scheme = sysconfig.get_default_scheme()
    places = sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)
    header = Path(places["include"]) / "Python.h"
    if not header.is_file():
        return f"{header} is missing; `apt-get install python3-dev` brings that of the system's Python"
    return ""


def runs_on(archs: Sequence[str], major: int, minor: int) -> bool:
    """Return whether code for one of these architectures runs on a GPU of that compute capability.

    Binary code runs on its own generation from its own minor version on (``sm_80`` on 8.9, not on 9.0), code with
    the letter ``a`` on that one GPU alone (``sm_90a``), and ``compute_`` code is compiled for any later GPU.
    """
    for parts in filter(None, (re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch) for arch in archs)):
        kind, built, letter = parts[1], (int(parts[2]), int(parts[3])), parts[4]
        if letter == "a":
            fits = built == (major, minor)
        elif kind == "compute" and not letter:
            fits = built <= (major, minor)
        else:
            fits = built[0] == major and built[1] <= minor
        if fits:
            return True
    return False


def free_memory() -> float | None:
    """Return the GiB of this machine's own memory that programs may still take; None if not on Linux.

    A container's limit is not considered.
    """
    if platform.system() != "Linux" or not MEMINFO.is_file():
        return None
    available = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    return int(available[1]) / 2**20 if available else None


def is_installed(package: str) -> bool:
    """Return whether a package can be imported; a mere folder of that name, as wandb leaves one, does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None
