"""Programs: one adversary a test; each gets the right status, and neither the machine nor a neighbour is harmed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import below, children, gone

from mammoth_utils.programs import Sandbox, SandboxError, isolation, run_program, run_programs, worker_handle
from mammoth_utils.programs import sandbox as sandbox_file
from mammoth_utils.programs._worker import pipe_messages, program_process

ROOT = Path(__file__).resolve().parent.parent
STRONG = [level for level in isolation.FULL_LEVELS if isolation.try_level(level)[0] is not None]
needs_full = pytest.mark.skipif(not STRONG, reason="neither namespaces nor Landlock can be had on this machine")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells processes and limits memory so")


@pytest.fixture(scope="module")
def sandboxes():
    """Warm sandboxes by level and limits, kept for the module: a test then costs its program and no start."""
    opened: dict[tuple, Sandbox] = {}

    def sandbox(level: str = "auto", **limits) -> Sandbox:
        key = (level, *sorted(limits.items()))
        if key not in opened:
            opened[key] = Sandbox(**{"timeout_s": 10, "memory_mb": 256, **limits}, workers=1, isolation=level)
        return opened[key]

    yield sandbox
    for each in opened.values():
        each.close()


@pytest.fixture
def run(sandboxes):
    """The execution of one program, its margin taken off, by a worker that then shows that it is well."""

    def execution(program: str, level: str = "auto", **limits):
        sandbox = sandboxes(level, **limits)
        first, second = sandbox.run_all([textwrap.dedent(program), "print('well')"])
        assert (second.status, second.output.strip()) == ("ok", "well"), "the next program suffered"
        return first

    return execution


# --- ways of answering ---


@pytest.mark.parametrize(
    ("program", "printed", "value", "because"),
    [
        ("print(6 * 7)", "42\n", None, "print returns nothing that could be a value"),
        ("ans = 6 * 7", "", "42", "a variable ans answers"),
        ("def solution():\n    return 6 * 7", "", "42", "a function solution() is called"),
        ("def solver():\n    return 6 * 7", "", "42", "a function solver() is called"),
        ("def solver():\n    global ans\n    ans = 42\nsolver()", "", "42", "solver() leaves its result in ans"),
        ("def solver():\n    global ans\n    ans = 42", "", "42", "the same where nobody calls it"),
        ("x = 6\nx * 7", "", "42", "the last line is an expression, as in a notebook"),
        ("print('steps')\nans = 42", "steps\n", "42", "both may be there"),
        ("def solution():\n    return 42\nprint(solution())", "42\n", None, "printing answers, so no second call"),
        ("calls = []\ndef solution():\n    calls.append(1)\n    return len(calls)\nsolution()", "", "1", "one call"),
        ("def solution():\n    return 42\n'''that was all'''", "", "42", "a comment at the end is no answer"),
        ("def solution(a, b):\n    return a + b\nsolution(40, 2)", "", "42", "one that needs arguments is a helper"),
        ("def solution(a):\n    return a * 6\nx = solution(7)\nx", "", "42", "which the last line need not call"),
        ("def solution(a=42):\n    return a", "", "42", "one that can do without them is called"),
        ("def solution(*a, b=42):\n    return b", "", "42", "so is one that takes any number"),
        ("import os\ndef solution(a):\n    return a\nsolution(42)", "", "42", "the same in a process of its own"),
        ("ans = 42\nexit()", "", "42", "what was set before leaving counts"),
        ("ans = '42\\ud800'", "", "42?", "half a character is no text that a file could take"),
        ("ans = None\n42", "", "42", "an ans of None is no answer"),
        ("if __name__ == '__main__':\n    print(42)", "42\n", None, "programs run as the main module"),
        ("print()\nans = 42", "\n", "42", "white space is printed, but the output is the value"),
        ("x = 1\r\nprint(x)\r\n", "1\n", None, "line ends of another system"),
        ("if True:\n\tx = 1\n        \n\tprint(x)", "1\n", None, "tabs"),
        ("if True:\n        x = 1\n\tprint(x)", "1\n", None, "tabs and spaces mixed, at eight"),
        ("if True:\n    x = 1\n\tprint(x)", "1\n", None, "tabs and spaces mixed, at four"),
        ("    x = 1\n    print(x)", "1\n", None, "a margin common to all lines"),
        ("\ufeffprint('caf\u00e9 \u221a2 \u2248 1.41 \U0001d70b')", "café √2 ≈ 1.41 𝜋\n", None, "unicode, and a mark"),
        ("print(len(str(7 ** 12000)))", "10142\n", None, "integers of ten thousand digits are numbers"),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 1\nA()", "", "A(x=1)", "types"),
    ],
)
def test_a_program_answers_in_any_of_four_ways(run, program, printed, value, because):
    execution = run(program)
    assert (execution.status, execution.printed, execution.value) == ("ok", printed, value), because
    assert execution.output == (printed if printed.strip() else value), because


def test_sympy_and_numpy_answers_are_text(run):
    execution = run(
        """
        import numpy as np
        from sympy import symbols, solve
        x = symbols('x')
        print(np.arange(3).sum())
        solve(x**2 - 2, x)
        """
    )
    assert (execution.status, execution.printed, execution.value) == ("ok", "3\n", "[-sqrt(2), sqrt(2)]")
    assert execution.seconds > 0
    assert execution.peak_memory_mb > 1


@pytest.mark.parametrize(
    ("program", "status", "words", "because"),
    [
        ("print(1 / 0)", "error", "ZeroDivisionError", "the last lines of the traceback are kept"),
        ("x = = 1", "error", "SyntaxError", "text that is no Python is the model's fault"),
        ("The answer is 42.", "error", "SyntaxError", "nor is prose"),
        ("print('\\ud800')", "error", "UnicodeEncodeError", "half a character cannot be printed"),
        ("print('a')\ninput('n? ')", "error", "EOFError", "there is nobody to ask"),
        ("import no_such_module", "error", "ModuleNotFoundError", "what is not installed is not there"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt", "a program may raise anything"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "error", "RecursionError", "recursion without end"),
        ("x = []\nfor _ in range(200000):\n    x = [x]\nprint(x)", "error", "RecursionError", "the same in C"),
        ("import sys\nprint(5)\nsys.exit(3)", "error", "SystemExit: 3", "an exit code is an error"),
        ("import sys\nprint(5)\nsys.exit('no')", "error", "SystemExit: no", "so is a message"),
        ("import os\nos._exit(3)", "error", "exit code 3", "also past Python's own end"),
        ("import os\nos.kill(os.getpid(), 9)", "crashed", "SIGKILL", "ended by its own hand"),
        ("import os\nos.abort()", "crashed", "SIGABRT", "a failed assertion in C"),
        ("import ctypes\nctypes.string_at(0)", "crashed", "SIGSEGV", "a read where there is no memory"),
        ("import os\nos.closerange(0, 64)", "crashed", "SIGABRT", "every channel closed: it cannot report its end"),
        ("import os\nos._exit(86)", "error", "exit code 86", "every exit code is the program's own"),
        ("import os\nos._exit(87)", "error", "exit code 87", "none of them speaks of memory"),
        ("raise ValueError('\\ud800 of a text')", "error", "ValueError: ? of a text", "half a character is no text"),
        ("", "refused", "empty", "nothing to run"),
        (" \n\t", "refused", "empty", "white space is nothing too"),
        ("print(1)\0", "refused", "null character", "Python itself refuses it"),
        ("#" * 1_000_001, "refused", "at most 1000000", "no program is that long"),
    ],
)
def test_what_a_program_does_wrong_is_told_in_its_execution(run, program, status, words, because):
    execution = run(program)
    assert execution.status == status, (because, execution)
    assert words in execution.error, because


@pytest.mark.parametrize("leaving", ["import sys\nsys.exit()", "import sys\nsys.exit(0)", "exit()", "quit()"])
def test_leaving_after_printing_is_well(run, leaving):
    execution = run(f"print(5)\n{leaving}\nprint(6)")
    assert (execution.status, execution.printed) == ("ok", "5\n")


def test_what_was_printed_before_an_abrupt_end_is_kept(run):
    execution = run("import os\nprint(5)\nos._exit(0)")
    assert (execution.status, execution.printed) == ("ok", "5\n")


# --- time, memory, output ---


def test_an_endless_loop_ends_at_its_limit_and_what_it_said_is_kept(run):
    execution = run("print('here')\nwhile True: pass", timeout_s=0.3)
    assert (execution.status, execution.printed) == ("timeout", "here\n")


def test_an_endless_loop_in_c_ends_at_its_limit(run):
    assert run("print(sum(range(10 ** 18)))", timeout_s=0.3).status == "timeout"


def test_a_loop_that_ignores_signals_ends_at_its_limit(run):
    execution = run(
        """
        import signal
        for name in ('SIGTERM', 'SIGALRM', 'SIGINT', 'SIGHUP', 'SIGXCPU', 'SIGPROF'):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        while True:
            pass
        """,
        timeout_s=0.3,
    )
    assert execution.status == "timeout"


@pytest.mark.parametrize(
    "program", ["import time\ntime.sleep(600)", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"]
)
def test_a_program_that_waits_or_stops_itself_ends_by_elapsed_time(run, program):
    execution = run(program, wall_s=1, timeout_s=7)
    assert (execution.status, execution.error) == ("timeout", "ran longer than 1 s of elapsed time and was stopped")


@needs_linux
@pytest.mark.parametrize(
    "program",
    [
        "x = []\nwhile True:\n    x.append('a' * 1000000 + str(len(x)))",
        "x = bytearray(8 * 2 ** 30)",
        "import numpy\nx = numpy.ones(2 ** 30)",
        "x = list(range(10 ** 9))",
    ],
)
def test_too_much_memory_is_a_status_of_its_own(run, program):
    execution = run(program)
    assert execution.status == "memory"
    assert execution.peak_memory_mb < 2000


@pytest.mark.parametrize("program", ["import sympy, os\nos.abort()", "import os\nos.abort()"])
def test_what_a_process_has_from_its_parent_does_not_count_as_its_memory(run, program):
    execution = run(program, memory_mb=32)
    assert (execution.status, execution.error) == ("crashed", "the program's process was ended by SIGABRT")


def test_memory_within_the_limit_is_given(run):
    assert run("import sympy\nx = bytearray(150 * 2 ** 20)\nprint(len(x))").status == "ok"


def test_a_flood_of_prints_is_stopped_and_cut(run):
    execution = run("while True: print('x' * 1000)", timeout_s=20)
    assert (execution.status, execution.truncated) == ("output", True)
    assert len(execution.printed) == program_process.PRINTED_BYTES


def test_a_long_output_is_cut_and_the_cut_is_said(run):
    execution = run("print('é' * 100000)")
    assert (execution.status, execution.truncated) == ("ok", True)
    assert execution.printed == "é" * (program_process.PRINTED_BYTES // 2)


def test_a_long_value_is_cut_and_the_cut_is_said(run):
    execution = run("list(range(100000))")
    assert (execution.status, execution.truncated) == ("ok", True)
    assert execution.value.startswith("[0, 1, 2")


# --- neighbours ---


@pytest.mark.parametrize(
    ("poison", "innocent", "expected"),
    [
        ("import builtins\nbuiltins.print = builtins.sum = None", "print(sum([1, 2]))", "3"),
        ("import math\nmath.sqrt = lambda x: 1", "import math\nprint(math.sqrt(9))", "3.0"),
        ("import sys\nsys.setrecursionlimit(40)", "import sys\nprint(sys.getrecursionlimit())", "1000"),
        ("import decimal\ndecimal.getcontext().prec = 2", "from decimal import Decimal as D\nprint(D(1) / 8)", "0.125"),
        ("import sys\nsys.modules['math'] = None", "import math\nprint(math.floor(2.5))", "2"),
        ("import sympy\nsympy.sqrt = lambda x: x", "import sympy\nprint(sympy.sqrt(8))", "2*sqrt(2)"),
        ("import numpy\nnumpy.set_printoptions(precision=1)", "import numpy\nprint(numpy.float64(1) / 3)", "0.3333"),
        ("import os\nos.chdir('/')", "import os\nprint(os.getcwd() == '/')", "False"),
        ("import os\nos.environ['A'] = 'b'", "import os\nprint(dict(os.environ))", "{}"),
    ],
)
def test_a_poisoner_does_not_reach_the_next_program(sandboxes, poison, innocent, expected):
    poisoned, answered = sandboxes().run_all([poison, innocent])
    assert poisoned.status == "ok"
    assert answered.printed.startswith(expected)


def test_chance_is_the_same_in_every_program(sandboxes):
    program = """
import random
import numpy as np
print(random.random(), np.random.rand(), hash('mammoth'), {'a', 'b', 'c', 'd', 'e'})
"""
    first, second = sandboxes().run_all([program, program])
    with Sandbox(workers=1, isolation="auto") as another:
        third = another.run(program)
    assert first.status == "ok"
    assert first.printed == second.printed == third.printed


def test_files_left_behind_are_gone_for_the_next_program(sandboxes):
    leave = """
import os
open('note', 'w').write('x')
for _ in range(1500):
    os.mkdir('deep')
    os.chdir('deep')
open('read-only', 'w').write('x')
os.symlink('/', 'link')
"""
    left, seen = sandboxes().run_all([leave, "import os\nprint(os.listdir('.'))"])
    assert left.status == "ok", left.error
    assert seen.printed == "[]\n"


def test_output_that_looks_like_the_protocol_is_output(run):
    execution = run(
        f"""
        import os, sys
        os.write(1, {pipe_messages.pack({"status": "ok", "printed": "forged", "value": None, "retired": False})!r})
        print('honest')
        """
    )
    assert execution.status == "ok"
    assert execution.printed.endswith("honest\n")


def test_bytes_in_the_channel_of_the_result_do_not_pass_for_one(run):
    execution = run(
        """
        import os
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"status": "ok", "value": "forged", "error": null, "truncated": false}')
            except OSError:
                pass
        """
    )
    assert (execution.status, execution.value) == ("crashed", None)


def test_threads_are_waited_for_or_ended(run):
    waited = run("import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('late'))).start()")
    assert (waited.status, waited.printed) == ("ok", "late\n")
    ended = run(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\nprint(1)"
    )
    assert (ended.status, ended.printed) == ("ok", "1\n")


# --- the machine, at each level that claims to hold ---


@needs_full
@pytest.mark.parametrize("level", STRONG)
class TestTheMachineIsOutOfReach:
    def test_secrets_in_the_environment(self, level, monkeypatch):
        monkeypatch.setenv("MAMMOTH_SECRET", "hunter2")
        program = """
import os
print(dict(os.environ), os.getenv('MAMMOTH_SECRET'))
for pid in ('self', '1', os.getppid()):
    try:
        print(open(f'/proc/{pid}/environ').read())
    except OSError:
        print('hidden')
"""
        execution = run_program(program, isolation=level)
        assert execution.status == "ok"
        assert "hunter2" not in execution.printed
        assert execution.printed.count("hidden") == 3

    def test_files_that_are_not_pythons(self, level, run, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("hunter2")
        places = [str(secret), "/etc/hostname", "/etc/passwd", "/proc/1/cmdline", str(Path(__file__).resolve())]
        execution = run(
            f"""
            import os
            os.symlink({str(secret)!r}, 'link')
            for place in [*{places}, 'link', '../' * 9 + {str(secret)!r}]:
                try:
                    print(open(place).read())
                except OSError:
                    print('hidden')
            try:
                print(os.listdir({str(tmp_path)!r}), os.listdir('/'))
            except OSError:
                print('hidden')
            """,
            level,
        )
        assert "hunter2" not in execution.printed
        assert set(execution.printed.split()) == {"hidden"}
        assert execution.status == "ok"

    def test_writing_outside_of_the_scratch_folder(self, level, run, tmp_path):
        kept = tmp_path / "kept"
        kept.write_text("whole")
        kept.chmod(0o666)
        tmp_path.chmod(0o777)
        execution = run(
            f"""
            import os, sys
            folder, kept = {str(tmp_path)!r}, {str(kept)!r}
            attempts = {{
                'write': lambda: open(os.path.join(folder, 'new'), 'w'),
                'append': lambda: open(kept, 'a'),
                'truncate': lambda: os.truncate(kept, 0),
                'remove': lambda: os.remove(kept),
                'rename': lambda: os.rename(kept, kept + '2'),
                'chmod': lambda: os.chmod(kept, 0o600),
                'utime': lambda: os.utime(kept, (0, 0)),
                'link': lambda: os.link(kept, 'mine'),
                'mkdir': lambda: os.mkdir(os.path.join(folder, 'folder')),
                'shared memory': lambda: open('/dev/shm/mammoth-test', 'w'),
                'python': lambda: open(os.path.join(os.path.dirname(os.__file__), 'mammoth_test.py'), 'w'),
                'device': lambda: os.mknod('device'),
            }}
            for name, attempt in attempts.items():
                try:
                    attempt()
                    print(name)
                except OSError:
                    pass
            open('mine', 'w').write('here it may')
            """,
            level,
        )
        assert (execution.status, execution.printed) == ("ok", "")
        assert kept.read_text() == "whole"
        assert kept.stat().st_mode & 0o777 == 0o666
        assert os.listdir(tmp_path) == ["kept"]
        assert not Path("/dev/shm/mammoth-test").exists()

    def test_the_network(self, level, run):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            server.settimeout(0.2)
            execution = run(
                f"""
                import socket
                socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=1)
                """,
                level,
            )
            with pytest.raises(TimeoutError):
                server.accept()
        assert execution.status == "error"
        resolved = run("import socket\nprint(socket.gethostbyname('example.org'))", level)
        assert (resolved.status, resolved.printed) == ("error", "")

    def test_new_processes(self, level, run):
        bomb = run("import os\nwhile True:\n    os.fork()", level)
        assert bomb.status == "error"
        for program in ("import os\nos.system('echo out')", "import subprocess\nsubprocess.run(['/bin/echo', 'out'])"):
            assert "out" not in run(program, level).printed

    def test_signals_to_others(self, level, run):
        execution = run(
            """
            import os, signal
            attempts = [
                lambda: os.kill(os.getppid() or 1, signal.SIGKILL),
                lambda: os.kill(1, signal.SIGKILL),
                lambda: os.kill(-1, signal.SIGKILL),
                lambda: os.killpg(os.getpgid(os.getppid() or 1) or 1, signal.SIGKILL),
            ]
            for attempt in attempts:
                try:
                    attempt()
                    print('sent')
                except (PermissionError, ProcessLookupError):
                    pass
            """,
            level,
        )
        assert (execution.status, execution.printed) == ("ok", "")

    def test_the_memory_and_the_limits_of_others(self, level, run):
        execution = run(
            """
            import ctypes, os, resource
            libc = ctypes.CDLL(None, use_errno=True)
            parent = os.getppid() or 1
            print(libc.ptrace(16, parent, 0, 0))
            print(libc.process_vm_readv(parent, 0, 0, 0, 0, 0))
            print(libc.unshare(0x10000000), libc.mount(b'tmpfs', b'.', b'tmpfs', 0, 0))
            try:
                resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1))
                print('set')
            except PermissionError:
                pass
            """,
            level,
        )
        assert execution.status == "ok"
        assert set(execution.printed.split()) == {"-1"}

    def test_a_file_without_end(self, level, run):
        execution = run("with open('big', 'wb') as f:\n    while True:\n        f.write(bytes(1 << 20))", level)
        assert execution.status == "error"
        assert "OSError" in execution.error

    def test_nothing_is_left_in_the_temporary_folder(self, level, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        for _ in run_programs(["open('left', 'w').write('x')"] * 3, isolation=level, workers=1):
            pass
        assert os.listdir(tmp_path) == []


@needs_linux
def test_a_child_that_outlives_its_program_is_ended_where_only_limits_hold(run):
    execution = run(
        """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                os.close(1)
                time.sleep(600)
            os._exit(0)
        print(os.read(reader, 32).decode())
        """,
        "process",
    )
    assert execution.status == "ok"
    assert gone({int(execution.printed)})


def test_a_file_is_no_larger_than_its_limit(run):
    write = "with open('f', 'wb') as file:\n    file.write(bytes({size}))\nprint('written')"
    assert run(write.format(size=2**20), file_mb=1).printed == "written\n"
    ran = run(write.format(size=2**20 + 1), file_mb=1)
    assert ran.status == "error"
    assert "File too large" in ran.error


# --- many programs ---


def test_executions_come_in_the_order_of_the_programs():
    programs = [f"import time\ntime.sleep({0.2 if n % 5 == 0 else 0})\nprint({n})" for n in range(20)]
    printed = [execution.printed for execution in run_programs(programs, workers=4, isolation="auto")]
    assert printed == [f"{n}\n" for n in range(20)]


def test_executions_are_streamed_from_programs_without_end():
    def endless():
        n = 0
        while True:
            yield f"ans = {n}"
            n += 1

    executions = run_programs(endless(), workers=2, isolation="auto")
    assert [next(executions).value for _ in range(5)] == ["0", "1", "2", "3", "4"]
    executions.close()


@needs_linux
def test_an_abandoned_iterator_leaves_no_process():
    before = children()
    executions = run_programs(["print(1)", *["while True: pass"] * 4], workers=2, isolation="auto")
    assert next(executions).status == "ok"
    started = children() - before
    assert started
    del executions
    assert gone(started)


def killing_at_the_start(monkeypatch, times: int, which: str) -> list[int]:
    """Let the first workers be killed while they import: their guard's process, or its child's."""
    started, killed = worker_handle.Worker.__init__, []

    def start(self, kind, level):
        started(self, kind, level)
        if len(killed) == times:
            return
        made, until = set(), 0.0
        while time.monotonic() < until or not made:  # what helps to make a namespace comes and goes
            if (now := below(self._process.pid)) != made:
                made, until = now, time.monotonic() + 0.05
            time.sleep(0.001)
        killed.append(self._process.pid if which == "guard" else min(made))
        os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(worker_handle.Worker, "__init__", start)
    return killed


@needs_linux
@pytest.mark.parametrize("level", [*STRONG, "process"])
@pytest.mark.parametrize("which", ["guard", "child"])
def test_workers_that_are_killed_while_they_start_cost_no_program_an_attempt(level, which, monkeypatch):
    times = sandbox_file.ATTEMPTS + 2
    killed = killing_at_the_start(monkeypatch, times, which)
    ran = list(run_programs([f"import sympy\nprint({n})" for n in range(3)], workers=1, isolation=level))
    assert [one.printed for one in ran] == ["0\n", "1\n", "2\n"]
    assert len(killed) == times


@needs_linux
def test_workers_that_are_always_killed_while_they_start_are_told_and_not_started_for_ever(monkeypatch):
    monkeypatch.setattr(sandbox_file, "STARTS", 4)
    killed = killing_at_the_start(monkeypatch, 1000, "child")
    with pytest.raises(SandboxError, match="4 workers in a row were ended while they started"):
        list(run_programs(["import sympy"], workers=1, isolation="auto"))
    assert len(killed) == 4


@needs_linux
@pytest.mark.parametrize("level", [*STRONG, "process"])
def test_a_worker_that_is_killed_loses_no_program_and_leaves_no_folder(level, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    programs = [f"import time\ntime.sleep(0.02)\nprint({n})" for n in range(30)]
    printed = []
    for execution in run_programs(programs, workers=2, isolation=level):
        printed.append(execution.printed)
        if len(printed) in (5, 15):
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
    assert printed == [f"{n}\n" for n in range(30)]
    assert os.listdir(tmp_path) == []


@needs_linux
def test_workers_end_when_the_caller_is_killed():
    script = """
from mammoth_utils.programs import run_programs
for execution in run_programs(["print(1)", *["while True: pass"] * 3], timeout_s=60, workers=2, isolation="auto"):
    print(execution.printed, flush=True)
"""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    caller = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    with caller.stdout as lines:
        assert lines.readline() == b"1\n"
        started = below(caller.pid)
        caller.kill()
        caller.wait()
    assert len(started) >= 4
    assert gone(started)


def test_programs_run_from_threads_that_end_before_their_workers():
    sandbox = Sandbox(workers=1, isolation="auto")
    printed: dict[int, str] = {}
    for n in range(3):
        thread = threading.Thread(target=lambda n=n: printed.update({n: sandbox.run(f"print({n})").printed}))
        thread.start()
        thread.join()
    sandbox.close()
    together = [
        threading.Thread(target=lambda n=n: printed.update({n: run_program(f"print({n})", isolation="auto").printed}))
        for n in range(3, 6)
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert printed == {n: f"{n}\n" for n in range(6)}


def test_a_sandbox_says_when_it_is_misused():
    with Sandbox(workers=1, isolation="auto") as sandbox:
        going = sandbox.run_all(["print(1)", "print(2)"])
        next(going)
        with pytest.raises(SandboxError, match="running other programs"):
            sandbox.run("print(3)")
        going.close()
        assert sandbox.run("print(3)").printed == "3\n"
        with pytest.raises(TypeError, match="a program is text, or a list of cells that are text, got int"):
            sandbox.run(3)
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run("print(4)")


@pytest.mark.parametrize(
    ("name", "wrong", "allowed"),
    [
        (
            "timeout_s",
            [0, -1, float("inf"), float("nan"), "5", None, True, 10**9, 10**999],
            "a number above 0 to 86,400",
        ),
        ("memory_mb", [0, -1, 0.5, 1.5, 10**13, float("inf"), "1024", None], "a whole number from 1 to 1,048,576"),
        ("workers", [0, 0.5, 1.5, 10**6, "2", float("nan")], "a whole number from 1 to 1,024"),
        ("wall_s", [0, -1, float("inf"), float("nan"), "5", 10**9], "a number above 0 to 604,800"),
        ("file_mb", [0, 65, float("nan"), None, "1"], "a number above 0 to 64, what a program's folder holds"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused_with_what_can(name, wrong, allowed):
    for value in wrong:
        with pytest.raises(ValueError, match=re.escape(f"{name} must be {allowed}, got {value!r}")):
            run_programs(["print(1)"], **{"isolation": "auto", name: value})


def test_whole_numbers_may_be_of_any_type():
    limits = {"memory_mb": np.int64(256), "workers": 1.0, "timeout_s": np.float32(5)}
    assert next(run_programs(["print(1)"], isolation="auto", **limits)).printed == "1\n"


@pytest.mark.parametrize("one", ["print(1)", b"print(1)"])
def test_one_text_is_not_taken_for_many_programs(one):
    with pytest.raises(TypeError, match="expected programs, got one text; use run_program"):
        run_programs(one, isolation="auto")
    with Sandbox(workers=1, isolation="auto") as sandbox:
        with pytest.raises(TypeError, match="expected programs, got one text; use run_program"):
            next(sandbox.run_all(one))
        assert sandbox.run("print(2)").printed == "2\n"
