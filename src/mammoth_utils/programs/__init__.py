"""Run programs that a model wrote, isolated from this machine and from each other, and say what happened."""

import os

if os.name != "posix":
    raise ImportError(
        f"mammoth_utils.programs runs programs on Linux, macOS and other Unix systems; this is {os.name!r}. "
        "On Windows, use Python inside the Windows Subsystem for Linux."
    )

from mammoth_utils.programs.execution import Execution, Program
from mammoth_utils.programs.isolation import IsolationError, IsolationReport, describe
from mammoth_utils.programs.sandbox import Sandbox, run_program, run_programs
from mammoth_utils.programs.worker_handle import SandboxError

__all__ = [
    "Execution", "IsolationError", "IsolationReport", "Program", "Sandbox", "SandboxError", "describe", "run_program",
    "run_programs",
]  # fmt: skip

VERSION = 1  # of what a program's execution says: its status, its output, its value
