"""Makes ``.venv`` with everything that the book and its tests need; a finished one costs no time.

Runs with the standard library alone. Two at once: the second waits. Interrupted: it goes on, since each stage leaves
its mark and pip keeps what it downloaded. It changes nothing in a ``.venv`` that it did not make: its own holds
``set-up.json``. ``MAMMOTH_TORCH=cpu|default`` overrides the choice of torch's build.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "set-up.json"
LOG = VENV / "set-up.log"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INDEX_PATIENCE_S = 5
TORCH_VERSION = "import importlib.metadata as m; print(m.version('torch'))"


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"set-up: {text}", flush=True)


def key() -> str:
    """Return a hash of the environment's inputs: the tables of pyproject.toml, this file, Python and the folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = json.dumps([project["project"], project["build-system"], sys.version_info[:3], str(VENV)])
    return hashlib.sha256(parts.encode() + Path(__file__).read_bytes()).hexdigest()


def finished() -> str | None:
    """Return the key of the last finished set-up; None without one."""
    try:
        return json.loads(STAMP.read_text())["key"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or of another form: not finished
        return None


def mark(key: str) -> None:
    """Write the stamp by rename, so that an interrupted write is no stamp."""
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(json.dumps({"key": key}))
    os.replace(temporary, STAMP)


def wait_for_turn() -> object:
    """Return the lock on this folder's set-up; wait, with a message, while another set-up holds it."""
    file = open(ROOT / ".venv.lock", "w")  # noqa: SIM115 (closing it gives the lock back)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up is at work in this folder; waiting for it to end")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def ask(code: str) -> str | None:
    """Return the output of a line of code under ``.venv``'s Python; None if it fails."""
    try:
        answer = subprocess.run([VENV / "bin" / "python", "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def works() -> bool:
    """Return whether ``.venv`` holds this version of Python with pip, and was made in this folder."""
    script = VENV / "bin" / "pip"
    # The scripts of a folder that was moved or copied still start the old folder's Python.
    here = script.is_file() and f"{VENV}/bin/python" in script.read_text()[:400]
    return here and ask("import pip, platform; print(platform.python_version())") == platform.python_version()


def describe_foreign() -> str:
    """Return what stands in the place of ``.venv`` that set-up did not make; empty if the place is free or its own."""
    if VENV.is_symlink():
        return f"a symbolic link to {os.readlink(VENV)}"
    if not VENV.exists():
        return ""
    if not VENV.is_dir():
        return "a file"
    if STAMP.exists() or LOG.exists() or not any(VENV.iterdir()):
        return ""
    if (VENV / "conda-meta").is_dir():
        return "a conda environment"
    settings = VENV / "pyvenv.cfg"
    if not settings.is_file():
        return "a folder that holds something else than an environment"
    uv = re.search(r"^uv *= *", settings.read_text(errors="replace"), re.MULTILINE)
    return f"an environment that {'uv' if uv else 'somebody else'} made"


def refuse_foreign() -> None:
    """Raise SystemExit, having changed nothing, if ``.venv`` is not set-up's own."""
    if foreign := describe_foreign():
        hand_over = "\n  or hand it over, so that set-up installs into it and may clear it:  touch "
        hand_over = hand_over + shlex.quote(str(STAMP)) if VENV.is_dir() and not VENV.is_symlink() else ""
        raise SystemExit(
            f"set-up: {VENV} is {foreign}, which set-up did not make; nothing was changed in it. Either"
            f"\n  move or remove it, and start again:  mv {shlex.quote(str(VENV))} {shlex.quote(str(VENV))}.other"
            "\n  or use your own environment without make:  pip install -e '.[all]' && python workflow/book.py"
            + hand_over
        )


def make_venv() -> None:
    """Make an empty virtual environment in ``.venv``, in place of an unfinished one of set-up.

    Raises:
        SystemExit: If ``.venv`` is not set-up's own, or this Python lacks ``venv``, naming Debian's package.
    """
    refuse_foreign()
    if VENV.is_dir():
        for entry in VENV.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    VENV.mkdir(exist_ok=True)
    mark("")  # first of all: interrupted from here on, the folder is known as set-up's own
    command = [sys.executable, "-m", "venv", str(VENV)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        print(process.stdout + process.stderr, file=sys.stderr)
        raise SystemExit(
            f"set-up: {sys.executable} could not make a virtual environment; on Debian and Ubuntu it needs the package "
            f"python3-venv: apt install python3-venv (or python{version}-venv), then start again"
        )


def repair() -> None:
    """Remove packages whose installation was interrupted: pip writes INSTALLER last, and fails on those without it."""
    for site in VENV.glob("lib/python*/site-packages"):
        for broken in (info for info in site.glob("*.dist-info") if not (info / "INSTALLER").is_file()):
            say(f"removing {broken.name}, whose installation was interrupted")
            shutil.rmtree(broken)
        for leftover in site.glob("~*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def pip(*arguments: str) -> None:
    """Run ``pip install`` with its output in the log, and say now and then how far it is.

    Raises:
        SystemExit: If pip fails, with the end of its output.
    """
    command = [VENV / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    tail: list[str] = []
    packages, last = set(), time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_PROGRESS_BAR": "off", "PIP_NO_INPUT": "1"}
    with (
        open(LOG, "a") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=environment,
        ) as process,
    ):  # fmt: skip
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-24:], line]
            if match := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line):
                packages.add(match[1].lower())
            if line.startswith("Installing collected packages"):
                say(f"  installing, the longest part; new packages: {line.count(',') + 1}")
            elif packages and time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"  packages looked up or fetched so far: {len(packages)}")
    if process.returncode:
        print("".join(tail), file=sys.stderr)
        raise SystemExit(f"set-up: pip failed; its output is in {LOG}. Start again and it goes on from here.")


def torch_choice(requirement: str) -> tuple[list[str], str]:
    """Return pip's arguments for torch, and a sentence that gives the reason.

    PyPI's Linux wheel is a CUDA build of 3 GB, which a machine without an NVIDIA card cannot use.
    """
    wish = os.environ.get("MAMMOTH_TORCH", "")
    if wish not in ("", "cpu", "default"):
        raise SystemExit(f"set-up: MAMMOTH_TORCH is {wish!r}; known: cpu, default")
    if platform.system() != "Linux":
        return [requirement], f"{requirement} as PyPI has it for {platform.system()}"
    card = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if wish == "default" or (card and wish != "cpu"):
        return [requirement], f"{requirement} with CUDA, since this machine has an NVIDIA card"
    try:
        urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=INDEX_PATIENCE_S).close()
    except OSError as error:  # URLError and TimeoutError are OSErrors
        reason = getattr(error, "reason", error)
        return [requirement], (
            f"{requirement} as pip finds it: no NVIDIA card here, and PyTorch's CPU index did not answer ({reason}); "
            "where pip has no CPU build at hand this is the CUDA build, 3 GB, which works without a card too"
        )
    return [
        f"{requirement}+cpu",
        "--extra-index-url",
        CPU_INDEX,
    ], f"the CPU build of {requirement} (no NVIDIA card)"


def main() -> None:
    """Make or complete the environment, stage by stage."""
    current = key()
    refuse_foreign()
    if finished() == current and works():
        return
    lock = wait_for_turn()
    refuse_foreign()
    if finished() == current and works():
        return
    begin = time.monotonic()
    say(f"making the environment in {VENV} with Python {platform.python_version()}: 4 stages, about 3 to 5 minutes")
    if works():
        say("1/4 an environment is here and works; going on with it")
        repair()
    else:
        say("1/4 an empty virtual environment (10 seconds)")
        make_venv()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    requirement = next(line for line in extras["train"] if line.startswith("torch=="))
    have = ask(TORCH_VERSION)
    if have and have.partition("+")[0] == requirement.removeprefix("torch=="):
        say(f"2/4 torch {have} is installed already")
    else:
        arguments, reason = torch_choice(requirement)
        say(f"2/4 torch (about 1 minute): {reason}")
        pip(*arguments)
        say(f"  installed: torch {ask(TORCH_VERSION)}")
    say("3/4 the other packages, and this project's library in place (about 2 to 3 minutes)")
    pip("-e", ".[all]")
    say("4/4 checking that the packages fit each other")
    check = subprocess.run([VENV / "bin" / "python", "-m", "pip", "check"], capture_output=True, text=True)
    if check.returncode:
        raise SystemExit(f"set-up: the packages do not fit each other:\n{check.stdout}{check.stderr}")
    mark(current)
    say(f"done in {(time.monotonic() - begin) / 60:.1f} minutes")
    lock.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nset-up: interrupted; start again and it goes on from here") from None
