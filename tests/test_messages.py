"""What is read from a teacher's message: its program and never the output beside it, or why there is none."""

from __future__ import annotations

import pytest

from mammoth_utils.curation.teacher import messages
from mammoth_utils.curation.teacher.messages import program, why_not

CODE = "boxes = 12 * 17\nprint(boxes - 30)"


@pytest.mark.parametrize(
    ("message", "expected", "because"),
    [
        ("Sure.\n```python\nx = 1\nprint(x)\n```\nDone.", "x = 1\nprint(x)", "a fenced block"),
        ("```\nprint(1)\n```", "print(1)", "a fence without a language"),
        ("```python\nprint(1)", "print(1)", "an answer that was cut before its fence closed"),
        ("```python\nprint(1)\n```\nBetter:\n```python\nprint(2)\n```", "print(2)", "the last block is the final word"),
        ("```python\nprint((1)\n```", "print((1)", "a broken program is for the execution to refuse"),
        ("```\nprint((1)\n```", "print((1)", "the same without a language"),
        ("x = 2\nprint(x)", "x = 2\nprint(x)", "a message that is nothing but Python"),
        (f"```python\n{CODE}\n```\n\nOutput:\n```\n174\n```", CODE, "the output is no program, though it is the gold"),
        (f"```\n{CODE}\n```\nOutput:\n```\n174\n```", CODE, "nor where no fence names a language"),
        (f"```\n{CODE}\n```\nOutput:\n```\nsqrt(3)/2\n```", CODE, "nor an expression, as sympy prints it"),
        (f"```\n{CODE}\n```\nOutput:\n```\nx = 174\n```", CODE, "nor an equation"),
        (f"```\n{CODE}\n```\nThat shows:\n```text\nThe rest is 174\n```", CODE, "nor a sentence"),
        (f"```python\n{CODE}\n```\n```python\n174\n```", CODE, "nor where it is called Python"),
        (f"```python3\n{CODE}\n```\nIt multiplies first.", CODE, "a version in the language; the prose is no program"),
        (f"```Python3\n{CODE}\n```\nIt multiplies first.", CODE, "in capitals"),
        (f"```Python 3.11\n{CODE}\n```\nIt multiplies first.", CODE, "with a space"),
        (f"```{{.python}}\n{CODE}\n```", CODE, "as some renderers want it"),
        (f"```tool_code\n{CODE}\n```\nIt multiplies first.", CODE, "any word, if it is a program that prints"),
        (f"~~~\n{CODE}\n~~~\nDone.", CODE, "tildes"),
        (f"~~~python\n{CODE}\n~~~\nDone.", CODE, "tildes with a language"),
        (f"```python\n{CODE}\n```\nDone.".replace("\n", "\r\n"), CODE, "lines that end in two characters"),
        (f"Here it is: ```python\n{CODE}\n```", CODE, "words before the fence"),
        ("```python\nprint(1)```", "print(1)", "a fence that closes on the program's last line"),
        ("1. So:\n   ```python\n   x = 1\n   print(x)\n   ```", "x = 1\nprint(x)", "a fence within a list"),
        ("```python\nx = 1\n```python\nprint(2)\n```", "print(2)", "a first block that was never closed"),
        ('```python\nmark = "```" + "x"\nprint(mark)\n```', 'mark = "```" + "x"\nprint(mark)', "marks within a line"),
        (f"The call ```print(x)``` shows it.\n```\n{CODE}\n```", CODE, "three backticks around a word"),
        ("The answer is 7.", None, "prose"),
        ("seven", None, "one word parses as Python and is no program"),
        ("3\n4", None, "numbers are no program"),
        ("", None, "an empty message"),
        ("```python\n174\n```", None, "a bare value"),
        ("```python\n# the rest\n174\n```", None, "with a comment"),
        ("```\n[1, -2]\n```", None, "a list of them"),
        ("```python\n\n```", None, "an empty block"),
    ],
)  # fmt: skip
def test_the_program_in_a_message(message, expected, because):
    assert program(message) == expected, because


@pytest.mark.parametrize(
    ("message", "kind", "finish", "refusal", "expected"),
    [
        ("", "pot", "length", "", messages.CUT),
        ("```", "pot", "length", "", messages.CUT),
        ("First we", "cot", "length", "", messages.CUT),
        ("", "pot", "stop", "", "an empty answer"),
        ("", "pot", "stop", "I cannot  help\nwith that.", "refused: I cannot help with that."),
        ("", "cot", "content_filter", "", "refused: the content was filtered"),
        ("```python\n174\n```", "pot", "stop", "", messages.BARE_VALUE),
        ("174", "pot", "stop", "", messages.BARE_VALUE),
        ("The answer is 7.", "pot", "stop", "", "no program"),
        ("It is seven.", "cot", "stop", "", "no answer in the prose"),
    ],
)
def test_why_a_message_holds_no_rationale(message, kind, finish, refusal, expected):
    assert messages.read_rationale(message, kind) is None
    assert why_not(message, kind, finish, refusal) == expected
