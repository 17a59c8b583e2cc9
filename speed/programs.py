"""Programs per second: ours, each path, against those that run a program safely, fast, or as the paper does.

``python speed/programs.py`` prints a table; ``--json`` prints one object a row with the ratio against each peer. Rows:

- ours: programs that pass the static check share a confined interpreter, any other has a process;
- ours, a process each: with ``share=False``;
- a fresh interpreter each: ``subprocess.run([python, "-I", "-c", program])``;
- a process and a manager each: ``multiprocessing``, the program run by ``exec``, as the paper's released code does;
- pebble: a pool of long-lived workers that run programs by ``exec`` in place, one or 32 at a time, with a time limit
  and no isolation of any kind;
- sandlock: a fresh interpreter each behind Landlock and seccomp, the one other sandbox here that needs neither root
  nor Docker.

A mix is run by each in turn, several times, and the median counts, without the start of the workers. On the plain and
sympy mixes all must print the same. The real mix is drawn by a seed from the data directory, less the programs that do
not end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from _real import real_programs

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
SHAPES = {"plain": PLAIN, "sympy": SYMPY}
TIMEOUT_S = 10
WORKERS = os.cpu_count() or 1
WARMING = 20 * WORKERS
SEED = 0

Runner = Callable[[list[str]], Iterator[str]]


def mixes(largest: dict[str, int]) -> dict[str, list[str]]:
    """Return the programs of each mix, the same at each call; the real mix only if there is a data directory."""
    programs = {mix: [shape.format(n=n) for n in range(largest[mix])] for mix, shape in SHAPES.items()}
    if folder := os.environ.get("MAMMOTH_DATA_DIR"):
        whole = [program if isinstance(program, str) else "\n".join(program) for program in real_programs(Path(folder))]
        drawn = random.Random(SEED).sample(whole, min(largest["real"], len(whole)))
        ran = run_programs(drawn, timeout_s=1, isolation="auto")
        programs["real"] = [
            program for program, execution in zip(drawn, ran, strict=True) if execution.status != "timeout"
        ]
    return programs


def ours(programs: list[str]) -> Iterator[str]:
    """Yield what programs print in this library's sandbox, at the isolation that pages use."""
    return (
        execution.printed
        for execution in run_programs(programs, timeout_s=TIMEOUT_S, workers=WORKERS, isolation="auto")
    )


def ours_a_process_each(programs: list[str]) -> Iterator[str]:
    """Yield the same with a process for every program."""
    ran = run_programs(programs, timeout_s=TIMEOUT_S, workers=WORKERS, isolation="auto", share=False)
    return (execution.printed for execution in ran)


def fresh_interpreter(programs: list[str]) -> Iterator[str]:
    """Yield what programs print in an interpreter each."""
    for program in programs:
        command = [sys.executable, "-I", "-c", program]
        yield subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def in_place(program: str) -> str:
    """Return what a program prints in this interpreter, where its changes stay."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(Exception, SystemExit):
        exec(program, {"__name__": "__main__"})
    return printed.getvalue()


def _in_place_into(program: str, shared) -> None:
    shared["printed"] = in_place(program)


def manager_each(programs: list[str]) -> Iterator[str]:
    """Yield what programs print in a process and with a manager each, as the paper's code runs them."""
    context = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork")
    for program in programs:
        with context.Manager() as manager:
            shared = manager.dict()
            process = context.Process(target=_in_place_into, args=(program, shared))
            process.start()
            process.join(TIMEOUT_S)
            yield shared.get("printed", "")


def pebble_pool(programs: list[str], together: int = 1) -> Iterator[str]:
    """Yield what programs print in a pool of workers that run one after another in place."""
    from pebble import ProcessPool

    context = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork")
    with ProcessPool(max_workers=WORKERS, context=context) as pool:
        yield from pool.map(in_place, programs, timeout=TIMEOUT_S * together, chunksize=together).result()


def sandlock_each(programs: list[str]) -> Iterator[str]:
    """Yield what programs print in an interpreter each behind sandlock: no files but Python, no network."""
    import sandlock

    readable = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev", sys.base_prefix, sys.prefix]
    readable += [sysconfig.get_path("purelib")]
    readable = [place for place in dict.fromkeys(readable) if os.path.exists(place)]
    box = sandlock.Sandbox(fs_readable=readable, max_memory="2G", clean_env=True, env={"PYTHONHASHSEED": "0"})
    for program in programs:
        yield box.run([sys.executable, "-I", "-c", program], timeout=TIMEOUT_S).stdout.decode()


OURS: dict[str, Runner] = {"ours": ours, "ours, a process each": ours_a_process_each}
PEERS: dict[str, Runner] = {
    "a fresh interpreter each": fresh_interpreter,
    "a process and a manager each": manager_each,
    "pebble": pebble_pool,
    "pebble, 32 at a time": lambda programs: pebble_pool(programs, 32),
    "sandlock": sandlock_each,
}
SLOW = ("a fresh interpreter each", "a process and a manager each", "sandlock")


def missing(peer: str) -> str | None:
    """Return why a peer cannot run here, or None."""
    try:
        if peer.startswith("pebble"):
            import pebble  # noqa: F401
        elif peer == "sandlock":
            import sandlock

            if sandlock.landlock_abi_version() < sandlock.min_landlock_abi():
                return f"it needs Landlock ABI {sandlock.min_landlock_abi()}"
    except ImportError as error:
        return f"{error}; pip install -e '.[speed]'"
    return None


def per_second(runner: Runner, programs: list[str], warming: int = WARMING) -> tuple[float, list[str]]:
    """Return programs a second without the start of workers, and what was printed.

    A few programs that start and warm the workers run alone, and then again with the rest behind them; the
    difference counts. A runner that starts anew for each program has nothing to warm, and a difference would only
    add noise. From the first result on would not do: a pool that is given all at once has run many by then.
    """
    first = [SHAPES[mix].format(n=n) for n in range(warming) for mix in SHAPES]
    started = time.perf_counter()
    list(runner(first))
    between = time.perf_counter()
    printed = list(runner(first + programs))
    ended = time.perf_counter()
    return len(programs) / ((ended - between) - (between - started)), printed[len(first) :]


def measure(mix: str, programs: list[str], counts: dict[str, int], repeats: int) -> dict[str, float]:
    """Return the median programs a second of every runner on a mix.

    Raises:
        SystemExit: If a peer prints something else on a made mix, since there is no comparison then.
    """
    speeds: dict[str, list[float]] = {}
    expected: list[str] = []
    for _ in range(repeats):
        for name, runner in (OURS | PEERS).items():
            if missing(name):
                continue
            some = programs[: counts["slow"] if name in SLOW else len(programs)]
            speed, printed = per_second(runner, some, 0 if name in SLOW else WARMING)
            expected = expected or printed
            if mix != "real" and printed != expected[: len(printed)]:
                raise SystemExit(f"{name} and ours print different answers on the {mix} mix: no comparison")
            speeds.setdefault(name, []).append(speed)
    return {name: statistics.median(each) for name, each in speeds.items()}


def main() -> None:
    """Print the table, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument(
        "--count",
        type=int,
        default=2000,
        help="programs (plain ones tenfold) for runners that stay",
    )
    parser.add_argument("--slow-count", type=int, default=12, help="programs for runners that start anew for each")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median counts")
    arguments = parser.parse_args()
    for name, value in vars(arguments).items():
        if name != "json" and value < 2 - (name == "repeats"):
            parser.error(f"--{name.replace('_', '-')} is too small: {value}")
    # Plain programs are short: more of them, so that a run takes seconds.
    largest = {"plain": 10 * arguments.count, "sympy": arguments.count, "real": arguments.count}
    absent = {peer: reason for peer in PEERS if (reason := missing(peer))}
    if not arguments.json:
        print(describe().summary)
        print(f"{WORKERS} workers; medians of {arguments.repeats} runs")
        for peer, reason in absent.items():
            print(f"without {peer}: {reason}")
    for mix, programs in mixes(largest).items():
        speeds = measure(mix, programs, {"slow": arguments.slow_count}, arguments.repeats)
        if not arguments.json:
            print(f"\n{mix}: {len(programs)} programs\n{'':<32}{'programs/s':>12}{'ours / it':>12}")
        for name, speed in speeds.items():
            ratios = {peer: round(speed / speeds[peer], 2) for peer in PEERS if peer in speeds}
            if not arguments.json:
                print(f"{name:<32}{speed:>12.1f}{speeds['ours'] / speed:>12.2f}")
            elif name in OURS:
                row = {"name": "programs", "mix": mix, "path": name, "programs": len(programs), "peers": ratios}
                print(json.dumps(row | {"programs_per_s": round(speed, 1), "isolation": describe().level}))
    if "MAMMOTH_DATA_DIR" not in os.environ and not arguments.json:
        print("\nreal: MAMMOTH_DATA_DIR names no data directory, so there are no real programs to run")


if __name__ == "__main__":
    main()
