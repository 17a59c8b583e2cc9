"""Glossary terms: the first mention on a page is a link that carries the term's definition."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import term_hover  # noqa: E402  (an extension of the book, no package)

CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
project = "A small book"
extensions = ["myst_parser", "term_hover"]
myst_enable_extensions = ["colon_fence"]
term_hover_plain = ["question"]
"""
GLOSSARY = """# Words

:::{glossary}
question
  The task.

fine-tuning
  Training a base model "further".

CoT
chain of thought
  A rationale in prose.
:::
"""
PAGE = """# On fine-tuning

> A quoted fine-tuning.

We look at `fine-tuning` and **fine-tuning**, then at fine-tuning itself, and at fine-tuning again. A question is no
link, a {term}`question` is. In a cot sleeps nobody; CoTs are prose.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The page of a small book with a glossary, and the warnings."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "conf.py").write_text(CONF)
    (folder / "src" / "index.md").write_text("# Book\n\n```{toctree}\nwords\ndeep/page\n```\n")
    (folder / "src" / "words.md").write_text(GLOSSARY)
    (folder / "src" / "deep" / "page.md").write_text(PAGE)
    source = str(folder / "src")
    # In a process of its own: what another test's build has registered with docutils stays in this one.
    command = [sys.executable, "-m", "sphinx", "-q", "-w", str(folder / "warnings"), source, str(folder / "out")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "out", (folder / "warnings").read_text()


def test_the_first_mention_in_running_text_is_linked_with_its_definition(built):
    out, warnings = built
    assert warnings == ""
    page = (out / "deep" / "page.html").read_text()
    links = re.findall(r'<a class="glossary-term" data-definition="([^"]*)" href="([^"]*)">(.*?)</a>', page)
    assert links == [
        ("Training a base model “further”.", "../words.html#term-fine-tuning", "fine-tuning"),
        ("The task.", "../words.html#term-question", "question"),
        ("A rationale in prose.", "../words.html#term-CoT", "CoTs"),
    ]
    assert "then at <a " in page, "neither code, bold text nor a quotation is running text"


def test_the_glossary_does_not_link_to_itself(built):
    assert "glossary-term" not in (built[0] / "words.html").read_text()


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("CoT", "CoT", True),
        ("CoT", "cot", False),
        ("gold", "Golds that match", True),
        ("gold", "golden", False),
        ("in-domain", "in-domain sets", True),
        ("record", "re-record", False),
    ],
)
def test_a_term_is_found_as_a_whole_word(name, text, found):
    assert bool(term_hover.pattern(name).search(text)) is found


def test_a_long_definition_is_cut_at_a_word():
    assert term_hover.shorten("a  b\nc") == "a b c"
    cut = term_hover.shorten("word " * 100)
    assert cut.endswith("word ...")
    assert len(cut) <= term_hover.LONGEST + 4


def test_the_words_that_are_not_linked_by_themselves_stand_in_the_glossary():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf8").splitlines()
    assert set(term_hover.PLAIN) <= set(glossary)


def test_what_a_newcomer_meets_stands_in_the_glossary():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf8").splitlines()
    words = "instruction tuning, fine-tuning, chain of thought, program of thought, hybrid decoding, in-domain, "
    words += "out-of-domain, rationale, mixture, gold, interval, seed, LoRA, miniature"
    assert set(words.split(", ")) <= set(glossary)
