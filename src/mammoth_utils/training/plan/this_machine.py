"""The machine at hand, asked without loading anything here: its cards, what torch can do with them, its memory."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ASK_S, TORCH_S = 20, 300  # the driver answers at once; torch's first import from a shared disk takes minutes
MEMINFO = Path("/proc/meminfo")
# What a process of its own says of torch, so that this one never touches CUDA before it starts others.
PROBE = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "archs": [], "cards": [], "error": ""}
try:
    if torch.version.cuda is not None:
        found["archs"] = torch.cuda.get_arch_list()
        torch.cuda.init()
        for one in range(torch.cuda.device_count()):
            found["cards"].append([torch.cuda.get_device_name(one), *torch.cuda.get_device_capability(one)])
        found["archs"] = torch.cuda.get_arch_list()
except Exception as error:
    found["error"] = " ".join(str(error).split())
print("PROBED " + json.dumps(found))
"""


@dataclass(frozen=True)
class Gpu:
    """A card of this machine.

    Attributes:
        name: As the driver has it.
        gib: Its memory in GiB that nothing else holds; plans are made for this.
        listed: All of its memory in GiB; 0 where it is ``gib``.
    """

    name: str
    gib: float
    listed: float = 0.0

    @property
    def whole(self) -> float:
        """All of its memory in GiB, as the driver lists it."""
        return self.listed or self.gib


def gpus() -> list[Gpu]:
    """The NVIDIA cards that this process may use, asked of ``nvidia-smi``; empty without one. Loads nothing.

    A process of ``torchrun`` counts a card's whole memory as free: what is held there by then is its neighbours' and
    its own, and the page that started them has looked.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return []
    rows = [row for row in _smi("name,memory.total,memory.free,uuid", "nounits") if len(row) == 4]
    cards = [(uuid, _gpu(name, total, free)) for name, total, free, uuid in rows if _number(total)]
    if visible is None:
        return [card for _, card in cards]
    chosen = []
    for name in visible.split(","):
        name = name.strip()
        chosen += [c for n, (uuid, c) in enumerate(cards) if name == str(n) or (name and uuid.startswith(name))]
    return chosen


def _gpu(name: str, total: str, free: str) -> Gpu:
    whole = float(total) / 1024
    left = float(free) / 1024 if _number(free) and "RANK" not in os.environ else whole
    return Gpu(name, left, whole)


def compute_capabilities() -> dict[str, float]:
    """Compute capability of this machine's cards, by name; empty where ``nvidia-smi`` does not tell."""
    rows = _smi("name,compute_cap")
    return {name: float(value) for name, value in (row for row in rows if len(row) == 2) if _number(value)}


def _smi(query: str, *options: str) -> list[list[str]]:
    """Rows of ``nvidia-smi``, a card each; none where it is missing, knows no card, or does not know the words."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={query}", f"--format={','.join(('csv', 'noheader', *options))}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # a driver without a card answers with an error, which is "no GPU" and no fault of ours
    return [[part.strip() for part in line.split(",")] for line in said.splitlines()]


def _number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def torch_refuses(cards: int) -> str:
    """Why this interpreter's torch cannot use the first so many cards, and what to do; empty where it can.

    ``nvidia-smi`` lists a card whatever torch was built for. Asked in a process of its own.
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
    return refusal(json.loads(lines[-1].removeprefix("PROBED ")), cards)


def refusal(found: dict, cards: int) -> str:
    """Why what ``PROBE`` found does not do for so many cards, and what would; empty where it does."""
    version, cuda = found["torch"], found["cuda"]
    release = version.split("+")[0]
    if cuda is None:
        return (
            f"torch {version} is built without CUDA; install the build with it (`pip install --force-reinstall "
            f"torch=={release}`, without PIP_EXTRA_INDEX_URL and the like that name CPU builds)"
        )
    if found["error"]:
        return (
            f"torch {version}, built for CUDA {cuda}, cannot use them: {found['error']}; a driver of CUDA "
            f"{cuda.split('.')[0]} or newer is needed (`nvidia-smi` says which one it has), or a build of torch for "
            "the CUDA of the driver"
        )
    if len(found["cards"]) < cards:
        return f"torch {version} sees {len(found['cards'])} of {cards} cards; CUDA_VISIBLE_DEVICES may hide the others"
    for name, major, minor in found["cards"][:cards]:
        if not runs_on(found["archs"], major, minor):
            return (
                f"torch {version}, built for CUDA {cuda}, has no code for {name} (compute capability {major}.{minor}), "
                f"only {', '.join(found['archs'])}; install a build whose `torch.cuda.get_arch_list()` has "
                f"sm_{major}{minor}: for cards before Turing one of CUDA 12.6, for cards newer than torch {release} a "
                "newer one"
            )
    return ""


def runs_on(archs: Sequence[str], major: int, minor: int) -> bool:
    """Whether code for one of these architectures runs on a card of that compute capability.

    Binary code runs on its own generation from its own minor version on (``sm_80`` on 8.9, not on 9.0), code with a
    letter behind it on that one card alone (``sm_90a``), and ``compute_`` code is compiled for any card since.
    """
    for arch in archs:
        parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if parts is None:
            continue
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
    """GiB of this machine's own memory that programs may still take; None where Linux does not tell.

    A container's limit is not in it.
    """
    if platform.system() != "Linux" or not MEMINFO.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) / 2**20 if found else None
