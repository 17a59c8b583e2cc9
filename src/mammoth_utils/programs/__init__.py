"""Run programs that a model wrote, isolated from this machine and from each other, and say what happened."""

import os

import lazy_loader

if os.name != "posix":
    raise ImportError(
        f"mammoth_utils.programs runs programs on Linux, macOS and other Unix systems; this is {os.name!r}. "
        "On Windows, use Python inside the Windows Subsystem for Linux."
    )

VERSION = 1  # of what a program's execution says: its status, its output, its value

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["isolation"],
    submod_attrs={
        "execution": ["Execution", "Program"],
        "isolation": ["IsolationError", "IsolationReport", "describe"],
        "sandbox": ["NONE_AT_HAND", "Sandbox", "run_program", "run_programs"],
        "worker_handle": ["SandboxError"],
    },
)
