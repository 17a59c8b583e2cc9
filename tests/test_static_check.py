"""The static check: what may share an interpreter, what may not, and what the lists must never hold."""

from __future__ import annotations

import ast
import importlib
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoth_utils.programs._sharing.allowed_names import BUILTINS, METHODS, MODULES
from mammoth_utils.programs._sharing.static_check import reason_for_own_process


def reason(*cells: str) -> str | None:
    for module in MODULES:
        importlib.import_module(module)
    return reason_for_own_process(ast.parse(cell) for cell in cells)


@pytest.mark.parametrize(
    "program",
    [
        "print(6 * 7)",
        "x = 3\nx += 1\nans = [n ** 2 for n in range(x) if n % 2]",
        "import math\nprint(math.sqrt(9), math.pi)",
        "from math import *\nprint(sqrt(9) + floor(2.5))",
        "import numpy as np\nprint(np.linalg.det(np.array([[1, 2], [3, 4]])))",
        "from sympy import symbols, Eq, solve\nx = symbols('x')\nprint(solve(Eq(x + 1, 2), x)[0].evalf())",
        "from sympy import *\nx = Symbol('x', positive=True)\nprint(simplify(sin(x) ** 2 + cos(x) ** 2))",
        "from sympy.solvers import solve\nfrom sympy import Symbol\nprint(solve(Symbol('x') - 1))",
        "def solution():\n    def f(n):\n        return 1 if n < 2 else n * f(n - 1)\n    return f(5)",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef f(n):\n    return n\nprint(f(3))",
        "try:\n    print(1 / 0)\nexcept ZeroDivisionError as error:\n    print(error)",
        "def walk(n):\n    yield n\nprint(list(walk(3)))",
        "print('{:.2f} and {name}'.format(1.5, name=2), f'{1.5:.1f}', '%d' % 3)",
        "d = {}\nd['a'] = [1]\nd['a'].append(2)\ndel d['a'][0]\nprint(d)",
        "from datetime import datetime, timedelta\nprint((datetime(2020, 1, 1) + timedelta(days=3)).strftime('%d'))",
        "if __name__ == '__main__':\n    print(1)",
        "from typing import List\ndef f(x: List[int]) -> int:\n    return sum(x)\nprint(f([1]))",
        "import random\nrandom.seed(3)\nprint(random.randint(1, 6))",
        "import numpy as np\nx = np.array([1, 2], dtype=float)\nprint(np.zeros(3, int), x.astype(np.int64), x.sum(0))",
        "import numpy as np\nx = np.zeros((2, 2), dtype=np.float64)\nprint(np.full(3, 7), np.mean(x, axis=0))",
        "import numpy as np\nprint(list(map(sum, [[1, 2], [3]])), sum([1], 2), np.sum([[1]], 0))",
        "print(bytes([65]), b'a'.hex(), 'a'.encode())",
        "a = b = (c := 3)\nprint(a if b else c, *[1, 2], sep='')",
    ],
)
def test_programs_as_models_write_them_may_share_an_interpreter(program):
    assert reason(program) is None


@pytest.mark.parametrize(
    ("program", "words", "because"),
    [
        ("import math\nmath.sqrt = 1", "attribute sqrt is written", "an attribute of a module is everybody's"),
        ("import math\nmath.pi += 1", "attribute pi is written", "so it is in an augmented assignment"),
        ("import math\nfor math.pi in [3]: pass", "attribute pi is written", "or as the target of a loop"),
        ("import math\n[0 for math.pi in [3]]", "attribute pi is written", "or of a comprehension"),
        ("import math\ndel math.pi", "attribute pi is written", "or deleted"),
        ("import math\n(x, math.pi) = 1, 2", "attribute pi is written", "or inside of a tuple"),
        ("import math as m\nx = m\nx.sqrt", "module m", "a module is no value: its alias would pass unseen"),
        ("import math\nprint(math)", "module math", "nor an argument"),
        ("import math\nmath = 3", "module math", "a name that is a module and more is not followed"),
        ("import numpy as np\nx = np.random", "module numpy.random as a value", "a module inside of one"),
        ("import sys", "import of sys", "it holds the settings of the interpreter"),
        ("import os", "import of os", "not listed"),
        ("import numpy.linalg", "import of numpy.linalg", "it binds the outer name"),
        ("from builtins import print", "import from builtins", "not listed"),
        ("from . import x", "import from .", "relative"),
        ("from math import __doc__", "import of __doc__", "two underscores"),
        ("from decimal import getcontext", "import of getcontext", "a setting for all"),
        ("from collections import namedtuple", "import of namedtuple", "makes a class from text"),
        ("from functools import wraps", "import of wraps", "writes attributes"),
        ("from operator import attrgetter", "import of attrgetter", "takes names as text"),
        ("from operator import methodcaller", "import of methodcaller", "takes names as text"),
        ("from sympy import Function", "import of Function", "makes a class"),
        ("from sympy import lambdify", "import of lambdify", "makes code from text"),
        ("from sympy import init_printing", "import of init_printing", "a setting for all"),
        ("from sympy.core.cache import clear_cache", "import of clear_cache", "a cache for all"),
        ("from sympy import *\nf = Function('f')", "Function of sympy", "a star brings more than the list"),
        ("from sympy import *\nf = sympify\ninit_printing()", "init_printing of sympy", "the same"),
        ("import numpy\nnumpy.seterr(all='raise')", "seterr of numpy", "a setting for all"),
        ("import numpy\nnumpy.set_printoptions(1)", "set_printoptions of numpy", "a setting for all"),
        ("print.__self__", "name __self__", "from any function to its module"),
        ("().__class__", "name __class__", "from any object to all classes"),
        ("(0)._x", "name _x", "one underscore is private too"),
        ("__builtins__['print'] = 1", "name __builtins__", "the built-ins of all"),
        ("__import__('os')", "name __import__", "an import without the statement"),
        ("def __getattr__(): pass", "name __getattr__", "a hook"),
        ("f(__x=1)", "name __x", "a keyword may become an attribute"),
        ("f(**{'__x': 1})", "** in a call", "the same, hidden"),
        ("exec('x = 1')", "built-in exec", "text as code"),
        ("x = eval\nx('1')", "built-in eval", "under another name"),
        ("setattr(f, 'x', 1)", "built-in setattr", "an attribute written by a call"),
        ("getattr(f, 'x')", "built-in getattr", "an attribute read by a call"),
        ("type('A', (), {})", "built-in type", "a class made by a call"),
        ("globals()['x'] = 1", "built-in globals", "a namespace as a container"),
        ("open('x', 'w')", "built-in open", "a file"),
        ("open = 3\nprint(open)", "built-in open", "bound or not, since the binding may be skipped"),
        ("print(id(1))", "built-in id", "differs from process to process"),
        ("raise SystemExit", "built-in SystemExit", "ends the process"),
        ("class A:\n    pass", "classdef", "a class may have a destructor"),
        ("with f() as x:\n    pass", "with", "a context may be a setting"),
        ("async def f():\n    pass", "asyncfunctiondef", "nobody runs it here"),
        ("match x:\n    case A(b=1):\n        pass", "match", "reads attributes"),
        ("def f():\n    try:\n        yield 1\n    except ValueError:\n        print(2)", "generator beside a try",
         "what a generator does when it is thrown away would be done in the next program's time"),
        ("'{0.__class__}'.format(1)", "attribute format", "a template that reads attributes"),
        ("'{0[0]}'.format([1])", "attribute format", "or indices"),
        ("x = '{0.__class__}'\nx.format(1)", "attribute format", "a template that is not seen"),
        ("str.format('{0.__class__}', 1)", "attribute format", "the same, unbound"),
        ("'{x.__class__}'.format_map({'x': 1})", "attribute format_map", "the same"),
        ("f'{().__class__}'", "name __class__", "an f-string is code"),
        ("x.cache_clear()", "attribute cache_clear", "any method that was not looked at"),
        ("try:\n    f()\nexcept Exception:\n    pass", "except of more", "it holds back the end of memory and depth"),
        ("try:\n    f()\nexcept:\n    pass", "except of more", "and our own word to leave"),
        ("try:\n    f()\nexcept (ValueError, RecursionError):\n    pass", "except of more", "one of several"),
        ("ValueError = Exception\ntry:\n    f()\nexcept ValueError:\n    pass", "bound again", "by another name"),
        ("try:\n    f()\nfinally:\n    x = 1", "finally", "a return there swallows any exception"),
        ("import numpy as np\nnp.divide(1, x, where=x != 0)", "where", "the rest is what lay in memory"),
        ("import numpy as np\nbytes(np.ones(3))", "bytes beside numpy", "an array as bare bytes, gaps and all"),
        ("import numpy as np\nint.from_bytes(np.ones(3), 'big')", "from_bytes beside numpy", "the same as a number"),
        ("import numpy as np\nb''.join([np.ones(3)])", "bytes beside numpy", "the same by a text of bytes"),
        ("import numpy as np\n'a'.encode().join([np.ones(3)])", "encode beside numpy", "or by one that is made"),
        ("import numpy as np\nnp.ones(3, dtype='longdouble')", "a type of numpy's", "ten bytes of 16 are written"),
        ("import numpy as np\nnp.ones(3, 'V16')", "a type of numpy's", "bytes that are shown as they are"),
        ("import numpy as np\nx = 'V16'\nnp.ones(3, x)", "a type of numpy's", "by a name"),
        ("import numpy as np\nint = 'V16'\nnp.ones(3, int)", "a type of numpy's", "by a name that looks like a type"),
        ("import numpy as np\nnp.ones(3, {'names': ['a'], 'formats': ['i1'], 'itemsize': 256})", "a type of numpy's",
         "a record with room"),
        ("import numpy as np\nnp.ones(3).astype('g')", "a type of numpy's", "by a method"),
        ("import numpy as np\nnp.ones(3).sum(0, 'g')", "a type of numpy's", "by a sum"),
        ("import numpy as np\nnp.sum([1], 0, 'g')", "a type of numpy's", "by a sum that is a function"),
        ("import numpy as np\nx = (3, 'g')\nnp.ones(*x)", "* in a call", "hidden among arguments"),
        ("import numpy as np\nnp.add([1], [2], sig='gg->g')", "signature", "by what a function adds"),
        ("import numpy as np\nlist(map(np.array, [[1]], ['V16']))", "array as a value", "called by another"),
        ("from numpy import array\nlist(map(array, [[1]], ['V16']))", "array as a value", "by its name"),
        ("from numpy import *\nlist(map(array, [[1]], ['V16']))", "array as a value", "by its name, from a star"),
        ("from numpy import ones as f\nf(3, 'V16')", "ones of numpy under another name", "not seen for what it is"),
        ("from numpy import *\nones(3, 'V16')", "a type of numpy's", "by a star"),
        ("import sympy\nsympy.core.cache", "core of sympy", "a module inside that is not listed"),
        ("import sympy.abc as x", "import of sympy.abc", "not listed"),
    ],
)  # fmt: skip
def test_what_could_reach_the_next_program_gets_a_process_of_its_own(program, words, because):
    found = reason(program)
    assert found is not None, because
    assert words in found, because


def test_all_cells_of_a_program_count():
    assert reason("import math", "x = 3", "math.sqrt = x") == "attribute sqrt is written"
    assert reason("import math", "math = 3") is not None


@pytest.mark.parametrize("module", MODULES)
def test_no_listed_name_is_a_container_or_a_module(module):
    """An item of a shared list could be written without any attribute."""
    loaded = importlib.import_module(module)
    for name in MODULES[module]:
        if not hasattr(loaded, name):
            continue  # an older or a newer release; the program meets an ImportError
        value = getattr(loaded, name)
        assert not isinstance(value, (list, dict, set, bytearray, types.ModuleType)), name
        assert not hasattr(value, "__setitem__") or isinstance(value, type), name


def test_nearly_all_listed_names_exist():
    """A list with names that nothing has was written from memory."""
    for module, names in MODULES.items():
        absent = [name for name in names if not hasattr(importlib.import_module(module), name)]
        assert len(absent) <= max(2, len(names) // 50), (module, absent)


def test_the_lists_hold_no_names_that_reach_everything():
    for name in BUILTINS | METHODS:
        assert not name.startswith("_")
    doors = {"eval", "exec", "compile", "open", "type", "getattr", "setattr", "delattr", "globals", "vars", "object"}
    assert not BUILTINS & doors
    assert not METHODS & {"format", "format_map", "func", "tofile", "dump", "save", "ctypes", "data", "setflags"}


HOSTILE = (
    "math", "m", "x", "f", "self", "sys", "__class__", "__dict__", "_x", "sqrt", "append", "print", "eval", "open",
)  # fmt: skip


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4), st.sampled_from(HOSTILE), st.integers(0, 6))
def test_no_attribute_of_a_module_is_ever_written_however_it_is_put(path, name, shape):
    target = ".".join([*path, name])
    forms = ("{} = 1", "{}: int = 1", "{} += 1", "del {}", "for {} in y: pass", "[{}, z] = 1, 2", "x = [1 for {} in y]")
    assert reason(f"import math\nimport math as m\n{forms[shape].format(target)}") is not None
