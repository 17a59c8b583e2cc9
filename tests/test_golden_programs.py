"""What the sandbox says of forty small programs of every kind, kept with the version of ``programs``."""

from __future__ import annotations

import golden
import pytest

from mammoth_utils.programs import describe, run_programs

# Name: the program, or its cells.
PROGRAMS: dict[str, str | list[str]] = {
    "printed": "print(6 * 7)",
    "printed twice": "print('a')\nprint('b')",
    "ans": "ans = 4",
    "ans and printed": "ans = 4\nprint(5)",
    "ans is a tuple": "ans = (4, 6.0)",
    "solution": "def solution():\n    return 12",
    "solver": "def solver():\n    return 'x'",
    "solution sets ans": "def solution():\n    global ans\n    ans = 3",
    "solution is called already": "def solution():\n    return 12\nsolution()",
    "solution needs arguments": "def solution(n):\n    return n\n5",
    "solution after printing": "def solution():\n    return 12\nprint('1')",
    "last expression": "x = 2\nx + 1",
    "last expression is None": "x = [3]\nx.append(4)",
    "nothing": "x = 1",
    "comment alone": "# nothing",
    "empty": "",
    "white space": " \n\t\n",
    "null character": "print('\0')",
    "cells": ["x = 2", "x * 21"],
    "cells that print": ["print(1)", "print(2)\n3"],
    "cell that is no Python": ["print(1)", "this is prose"],
    "prose": "The answer is 5.",
    "name error": "print(y)",
    "zero division": "1 / 0",
    "assertion": "assert 1 == 2, 'no'",
    "exit": "print(1)\nexit()",
    "exit with a code": "import sys\nsys.exit(3)",
    "exit with ans": "ans = 8\nexit()",
    "input": "n = input()",
    "end without reporting": "import os\nprint(5)\nos._exit(0)",
    "tabs and spaces": "if True:\n\tx = 1\n        y = 2\nprint(x + y)",
    "other line ends": "x = 1\r\nprint(x)\r",
    "margin": "    x = 3\n    print(x)",
    "standard library": "import math\nfrom fractions import Fraction\nprint(math.comb(5, 2), Fraction(1, 3))",
    "random": "import random\nprint(random.randint(0, 10**9))",
    "sympy": "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))",
    "numpy": "import numpy as np\nprint(np.linalg.det(np.array([[1.0, 2.0], [3.0, 4.0]])).round(6))",
    "class": "class A:\n    def __init__(self):\n        self.v = 9\nprint(A().v)",
    "huge number": "ans = 7**10000",
    "long output": "print('x' * 70_000)",
    "endless output": "while True:\n    print('x' * 1000)",
    "endless loop": "while True:\n    pass",
    "too much memory": "x = 'a' * (10**10)\nprint(len(x))",
    "deep recursion": "def f(n):\n    return f(n + 1)\nf(0)",
    "network": "import socket\nsocket.socket()",
    "new process": "import os\nos.fork()",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "open a file": "try:\n    print(open('/etc/passwd').read())\nexcept OSError:\n    print('not allowed')",
    "write a file": "with open('a.txt', 'w') as f:\n    f.write('7')\nprint(open('a.txt').read())",
    "half a character": "print('a\\ud800b')",
}  # fmt: skip


def test_forty_programs_of_every_kind_are_told_as_before(write_golden):
    if not describe().full:
        pytest.skip("some of these programs would reach this machine, which has process limits only")
    ran = run_programs(PROGRAMS.values(), timeout_s=1, memory_mb=512)
    decisions = {}
    for name, execution in zip(PROGRAMS, ran, strict=True):
        # Where a process ends for want of memory or depth, the words depend on the version of Python.
        error = (execution.error or "").splitlines()[-1:] if execution.status == "error" else []
        decisions[name] = repr([
            execution.status, execution.printed[:80], (execution.value or "")[:80], *error, execution.truncated
        ])  # fmt: skip
    golden.check("programs", "executions", decisions, write_golden)
