"""The limits that a sandbox accepts."""

from __future__ import annotations

from numbers import Real

from mammoth_utils.programs._worker.confinement import DISK_MB

# Name: the least, the most (less than what the kernel and its clocks can count), and whether it is a whole number. A
# least of 0 is itself too little.
LIMITS: dict[str, tuple[float, float, bool]] = {
    "timeout_s": (0, 86_400, False),
    "memory_mb": (1, 2**20, True),
    "workers": (1, 1024, True),
    "wall_s": (0, 7 * 86_400, False),
    "file_mb": (0, DISK_MB, False),
}


def check_limits(**given: object) -> None:
    """Raise ValueError if a limit is no number within its range, saying what was given and what is allowed."""
    for name, value in given.items():
        least, most, whole = LIMITS[name]
        number = isinstance(value, Real) and not isinstance(value, bool)
        enough = number and value <= most and (value >= least if least else value > 0)
        if not enough or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            start = f"from {least:,}" if least else "above 0"
            why = ", what a program's folder holds" if name == "file_mb" else ""
            raise ValueError(f"{name} must be {kind} {start} to {most:,}{why}, got {value!r}")
