"""Run programs that a model wrote, isolated from this machine and from each other, and say what happened."""

from mammoth_utils.programs.execution import Execution, Program
from mammoth_utils.programs.isolation import IsolationError, IsolationReport, describe
from mammoth_utils.programs.parents import SandboxError
from mammoth_utils.programs.sandbox import Sandbox, run_program, run_programs

__all__ = [
    "Execution", "IsolationError", "IsolationReport", "Program", "Sandbox", "SandboxError", "describe", "run_program",
    "run_programs",
]  # fmt: skip
