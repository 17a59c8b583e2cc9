"""Programs per second: ours, a fresh interpreter each, and a process with a manager each, as the paper's code does.

``python speed/programs.py`` prints a table; ``--json`` prints one object a row with the ratio against each peer. The
peers are written here for the comparison: a fresh interpreter is ``subprocess.run([python, "-I", "-c", program])``; the
authors' way is a ``multiprocessing`` manager and a process for each program, which runs it by ``exec``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mammoth_utils.programs import describe, run_programs

PLAIN = """price = {n} * 1.25
discount = price * 0.1
total = price - discount
print(round(total, 2))
"""
SYMPY = """from sympy import symbols, Eq, solve
x = symbols('x')
answer = solve(Eq(3 * x + {n}, 100), x)
print(answer[0])
"""
MIXES = {"plain": [PLAIN], "sympy": [SYMPY], "mixed": [PLAIN, PLAIN, PLAIN, SYMPY]}


def programs(mix: str, count: int) -> list[str]:
    """Different programs of a mix, the same at each call."""
    shapes = MIXES[mix]
    return [shapes[n % len(shapes)].format(n=n) for n in range(count)]


def ours(mix: Iterable[str]) -> Iterator[str]:
    """What this library says that the programs print, at the isolation that pages use."""
    return (execution.output for execution in run_programs(mix, timeout_s=10, isolation="auto"))


def fresh_interpreter(mix: Iterable[str]) -> Iterator[str]:
    """What programs print in an interpreter each."""
    for program in mix:
        done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60)
        yield done.stdout


def _execute_into(program: str, shared) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {"__name__": "__main__"})
    shared["printed"] = printed.getvalue()


def manager_each(mix: Iterable[str]) -> Iterator[str]:
    """What programs print in a process and with a manager each, as the paper's code runs them."""
    context = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork")
    for program in mix:
        with context.Manager() as manager:
            shared = manager.dict()
            process = context.Process(target=_execute_into, args=(program, shared))
            process.start()
            process.join(60)
            yield shared.get("printed", "")


PEERS: dict[str, Callable[[Iterable[str]], Iterator[str]]] = {
    "a fresh interpreter each": fresh_interpreter,
    "a process and a manager each": manager_each,
}


def per_second(runner: Callable[[Iterable[str]], Iterator[str]], mix: str, count: int) -> tuple[float, list[str]]:
    """Programs a second, start of the workers included, and what was printed."""
    started = time.perf_counter()
    printed = list(runner(programs(mix, count)))
    return count / (time.perf_counter() - started), printed


def main() -> None:
    """Print the table, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--count", type=int, default=400, help="programs for ours, start of its workers included")
    parser.add_argument("--peer-count", type=int, default=10, help="programs for each peer")
    arguments = parser.parse_args()
    if not arguments.json:
        print(describe().summary, end="\n\n")
        print(f"{'mix':<8}{'programs/s':>12}   ratio against")
    for mix in MIXES:
        speed, printed = per_second(ours, mix, arguments.count)
        row = {"name": "programs", "mix": mix, "programs_per_s": round(speed, 1), "peers": {}}
        for peer, runner in PEERS.items():
            peer_speed, peer_printed = per_second(runner, mix, arguments.peer_count)
            if peer_printed != printed[: len(peer_printed)]:
                raise SystemExit(f"{peer} and ours print different answers on the {mix} mix: no comparison")
            row["peers"][peer] = {"programs_per_s": round(peer_speed, 2), "ratio": round(speed / peer_speed, 1)}
        if arguments.json:
            print(json.dumps(row | {"isolation": describe().level}))
            continue
        against = ", ".join(
            f"{at['ratio']:g} x {peer} ({at['programs_per_s']:g}/s)" for peer, at in row["peers"].items()
        )
        print(f"{mix:<8}{speed:>12.1f}   {against}")


if __name__ == "__main__":
    main()
