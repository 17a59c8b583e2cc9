"""Prompt styles: the bytes of each, which kinds they ask for, and what the graders read of a completion."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from mammoth_utils import licences, paths, prompts
from mammoth_utils.grading import program_under
from mammoth_utils.rationale import Problem

OPEN = Problem("x/1", "What is 1 + 1?", "2")
CHOICE = Problem("x/2", "How many?", "B", ("3", "4"))
PAIRS = [(f"Add 1 to {n}?", f"{n} + 1 is {n + 1}. The answer is {n + 1}.") for n in range(8)]
PROGRAMS = [f'def solution():\n    """Add 1 to {n}?"""\n    result = {n} + 1\n    return result' for n in range(8)]
FILLED = {
    ("mammoth", "cot", OPEN): "3f84b15680e260e28e6869f689501e879e6bf14f06a6ea922e560477bce28f2a",
    ("mammoth", "pot", OPEN): "593802b6f8656921d93230bd958c5870e0a731eb54263b3579a5d10c7ce50dde",
    ("mammoth", "cot", CHOICE): "8ecb6c35b782978032d38510568c92a7b6cb4a117588fabb14e30cc8481e9173",
    ("mammoth", "pot", CHOICE): "c9a44d2dedc3d068cc20b44d270f880c2e18bad6a55cb4a95d0aaceb3c51dfb6",
    ("chat_cot", "cot", OPEN): "27d7f0b0d318ecf515870bfcab5622f62054c69f25656f96a5fbd54884837417",
    ("chat_cot", "cot", CHOICE): "08fef4b7d61fdf1d6bf2e318bffd9dd5ef789d3a68a491378757e0058f25472c",
    ("chat_pot", "pot", OPEN): "d3ce75a663691cd56810c54bac103840e9e23632487b405edf494ac44d20f9a7",
    ("chat_pot", "pot", CHOICE): "4f64405fd7ab4a5e2f8bdca54a21a70e2b8becc47c51561ddf81ececc54bc6a1",
}
FEW_SHOT = [
    ("cot_8shot", OPEN, 8, "3eae2a776476b73ceb410c9d2223c594055981fa275e2f4ba9252882cd0a11d3"),
    ("cot_8shot", OPEN, 5, "da952cd2434b5628a3b31849a89711f2c5b0085f1c10cea139f6321185bb59f5"),
    ("cot_8shot", CHOICE, 8, "c5ead86924929968f9b542863128918ba4b5ccde442a2c432bcc96073f0e6216"),
    ("pal_8shot", OPEN, 8, "abd33d46d6bd1cd3b3139965778c772c878a5b2fc16ef4cb91d216ee0f596d85"),
    ("pal_8shot", OPEN, 5, "9b7f83201fcd74547eea484ace8f619b64b5450c836aaf1944d1fa51f1339159"),
    ("pal_8shot", CHOICE, 8, "af0859394bb4bdfcd034e402bf6d4ef42e31dddc6e37b6d2370465930639a7fb"),
]
DATA = paths.data()
needs_examples = pytest.mark.skipif(
    DATA is None or not all((DATA / file.name).is_file() for file in prompts.EXEMPLAR_FILES.values()),
    reason="the data folder holds no files of worked examples",
)
FENCED = "To add them:\n\n```python\nx = 6 * 7\nprint(x)\n```\n\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ask(problem: Problem, style: str, shots: int = 8) -> prompts.AskedPrompt:
    return prompts.build(problem, prompts.kinds_of((style,))[0], (style,), shots)


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Files of the four published forms, with questions of our own."""
    letters = "\nAnswer Choices: (A) 1 (B) 2"
    texts = {
        "gsm8k_cot": json.dumps(
            {"fewshot_config": {"samples": [{"question": asked, "target": answer} for asked, answer in PAIRS]}}
        ),
        "aqua_cot": "examples = {}\nexamples['sat'] = []\nexamples['aqua'] = "
        + repr([(asked + letters, answer) for asked, answer in PAIRS[:4]]),
        "gsm8k_pal": "MATH_PROMPT = '''\n"
        + "\n" * 5
        + ("\n" * 6).join(
            [f"Q: {asked}\n\n# solution in Python:\n\n\n{program}"
             for (asked, _), program in zip(PAIRS, PROGRAMS, strict=True)]
        )
        + "\n" * 6
        + "Q: {question}\n\n# solution in Python:\n'''.strip() + '\\n\\n\\n'\n",
        "aqua_pal": "\n\n\n\n".join(
            f"Question: {asked}\nAnswer Choices:\n(a) 1\n(b) 2\n\n# solution using Python:\n\n{program}"
            for (asked, _), program in zip(PAIRS[:4], PROGRAMS, strict=False)
        ),
    }  # fmt: skip
    (tmp_path / "prompts").mkdir()
    known = {}
    for key, file in prompts.EXEMPLAR_FILES.items():
        (tmp_path / file.name).write_text(texts[key], encoding="utf8")
        known[key] = replace(file, sha256=digest(texts[key]))
    monkeypatch.setattr(prompts, "EXEMPLAR_FILES", known)
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("style", "kind", "problem"), FILLED)
def test_the_bytes_of_a_prompt_without_examples(style, kind, problem):
    asked = prompts.build(problem, kind, (style,))
    assert digest(asked.text) == FILLED[style, kind, problem]
    assert asked.chat == style.startswith("chat")


@pytest.mark.parametrize("kind", ["cot", "pot"])
@pytest.mark.parametrize("problem", [OPEN, CHOICE])
@pytest.mark.parametrize("prefill", [True, False])
def test_mammoth_is_the_default_and_the_prompt_that_models_are_trained_with(problem, kind, prefill):
    asked = prompts.build(problem, kind, prefill=prefill)
    assert asked == prompts.AskedPrompt(
        "mammoth", prompts.prompt(problem, kind, prefill=prefill), stop=("### Instruction",)
    )


def test_a_chat_model_is_asked_for_a_letter_where_there_are_options():
    assert ask(OPEN, "chat_cot").text == (
        'What is 1 + 1?\n\nSolve the problem step by step. End your reply with the sentence "The answer is X.", where '
        "X is the final answer alone."
    )
    for style in ("chat_cot", "chat_pot"):
        text = ask(CHOICE, style).text
        assert text.startswith("How many?\nAnswer Choices: (A) 3 (B) 4\n\n")
        assert "the letter of the correct option" in text


@needs_examples
@pytest.mark.parametrize(("style", "problem", "shots", "expected"), FEW_SHOT)
def test_the_bytes_of_the_published_few_shot_prompts(style, problem, shots, expected):
    assert digest(ask(problem, style, shots).text) == expected


@needs_examples
def test_the_examples_are_the_published_ones():
    counts = {key: len(prompts._exemplars(form)) for form in prompts._FEW_SHOT.values() for key in [form.file]}
    assert counts == {"gsm8k_cot": 8, "aqua_cot": 4, "gsm8k_pal": 8, "aqua_pal": 4}
    text = ask(OPEN, "pal_8shot").text
    assert text.count("def solution():") == text.count("return result") == 8
    assert ask(OPEN, "cot_8shot").text.count("The answer is") == 8


def test_prose_examples_come_before_the_question(examples):
    assert ask(OPEN, "cot_8shot", 2).text == (
        "Q: Add 1 to 0?\nA: 0 + 1 is 1. The answer is 1.\n\nQ: Add 1 to 1?\nA: 1 + 1 is 2. The answer is 2.\n\n"
        "Q: What is 1 + 1?\nA:"
    )
    assert ask(CHOICE, "cot_8shot", 1).text == (
        "Q: Add 1 to 0?\nAnswer Choices: (A) 1 (B) 2\nA: 0 + 1 is 1. The answer is 1.\n\n"
        "Q: How many?\nAnswer Choices: (A) 3 (B) 4\nA:"
    )


def test_program_examples_come_before_the_question(examples):
    assert ask(OPEN, "pal_8shot", 1).text == (
        f"Q: Add 1 to 0?\n\n# solution in Python:\n\n\n{PROGRAMS[0]}\n\n\n\n\n\n"
        "Q: What is 1 + 1?\n\n# solution in Python:\n\n\n"
    )
    assert ask(CHOICE, "pal_8shot", 1).text == (
        f"Question: Add 1 to 0?\nAnswer Choices:\n(a) 1\n(b) 2\n\n# solution using Python:\n\n{PROGRAMS[0]}\n\n\n"
        "Question: How many?\nAnswer Choices:\n(a) 3\n(b) 4\n\n# solution using Python:\n\n"
    )


@pytest.mark.parametrize("style", ["cot_8shot", "pal_8shot"])
def test_shots_are_the_first_examples_and_at_most_four_where_there_are_options(examples, style):
    longer = [ask(OPEN, style, shots).text for shots in range(9)]
    assert [text.count("Add 1 to") for text in longer] == [n * (2 if style == "pal_8shot" else 1) for n in range(9)]
    assert ask(CHOICE, style, 8) == ask(CHOICE, style, 4) != ask(CHOICE, style, 3)


@pytest.mark.parametrize("shots", [-1, 9])
def test_other_numbers_of_shots_are_refused(shots):
    with pytest.raises(ValueError, match=f"expected 0 to 8 worked examples, got {shots}"):
        ask(OPEN, "cot_8shot", shots)


def test_without_examples_no_file_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
    assert ask(OPEN, "cot_8shot", 0).text == "Q: What is 1 + 1?\nA:"
    assert ask(OPEN, "pal_8shot", 0).text == "Q: What is 1 + 1?\n\n# solution in Python:\n\n\n"
    with pytest.raises(
        FileNotFoundError, match=r"gsm8k-cot\.yaml, which is not there; `make data` fetches it from https://"
    ):
        ask(OPEN, "cot_8shot")


def test_another_file_than_the_published_one_is_refused(examples):
    (examples / "prompts" / "gsm8k-cot.yaml").write_text("fewshot_config: {samples: []}", encoding="utf8")
    with pytest.raises(ValueError, match="expected the file https://.* with SHA-256"):
        ask(OPEN, "cot_8shot")


def test_every_source_of_examples_is_at_a_fixed_commit_with_its_paper_and_licence():
    for file in prompts.EXEMPLAR_FILES.values():
        assert any(len(part) == 40 for part in file.home.split("/"))
        assert "arXiv 22" in file.source
        assert licences.of_file(file.name)[0] in ("MIT", "Apache-2.0")


def test_a_completion_ends_where_a_model_begins_its_own_next_question():
    stops = {(style, problem.id): ask(problem, style, 0).stop for style in prompts.STYLES for problem in (OPEN, CHOICE)}
    assert stops["cot_8shot", "x/1"] == stops["cot_8shot", "x/2"] == ("\nQ:",)
    assert stops["pal_8shot", "x/1"] == ("\n\n\n", "\nQ:")
    assert stops["pal_8shot", "x/2"] == ("\n\n\n", "\nQuestion:")
    assert stops["chat_pot", "x/1"] == ("```output",)
    assert stops["chat_cot", "x/1"] == ()


@pytest.mark.parametrize(("text", "styles", "kinds"), [
    ("mammoth", ("mammoth",), ("cot", "pot")),
    ("chat_pot", ("chat_pot",), ("pot",)),
    ("chat_pot+chat_cot", ("chat_cot", "chat_pot"), ("cot", "pot")),
    ("cot_8shot + pal_8shot", ("cot_8shot", "pal_8shot"), ("cot", "pot")),
    ("chat_cot+pal_8shot", ("chat_cot", "pal_8shot"), ("cot", "pot")),
])  # fmt: skip
def test_styles_are_named_with_a_plus_between_them(text, styles, kinds):
    assert prompts.parse_styles(text) == styles
    assert prompts.kinds_of(styles) == kinds


@pytest.mark.parametrize(("text", "message"), [
    ("chat", "unknown prompt style 'chat'; known: mammoth, chat_cot, chat_pot, cot_8shot, pal_8shot"),
    ("", "unknown prompt style ''; known: mammoth"),
    ("chat_cot+cot_8shot", "more than one asks for cot; name at most one of mammoth, chat_cot, cot_8shot"),
    ("mammoth+chat_pot", "more than one asks for pot; name at most one of mammoth, chat_pot, pal_8shot"),
    ("chat_cot+chat_cot", "more than one asks for cot"),
])  # fmt: skip
def test_unknown_styles_and_two_of_a_kind_are_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        prompts.parse_styles(text)


def test_a_kind_that_no_style_asks_for_is_refused():
    with pytest.raises(ValueError, match="prompt style chat_cot does not ask for pot; those that do: mammoth, chat_p"):
        prompts.build(OPEN, "pot", ("chat_cot",))
    with pytest.raises(ValueError, match="unknown kind 'prose'; known: cot, pot"):
        prompts.build(OPEN, "prose")
    with pytest.raises(ValueError, match="unknown prompt style 'chat'"):
        prompts.build(OPEN, "pot", ("chat",))
    with pytest.raises(ValueError, match="unknown prompt style 'chat'"):
        prompts.kinds_of(("chat",))


@pytest.mark.parametrize(("completion", "because"), [
    (FENCED + "```output\n41\n```\nThe answer is 41.", "an output that the model made up, and a sentence behind it"),
    (FENCED + "``` Output\n41\n```", "spelt in another way"),
    (FENCED, "the completion stopped there"),
])  # fmt: skip
def test_a_made_up_output_is_never_read_as_what_a_program_printed(completion, because):
    text = prompts.text_to_grade("chat_pot", completion)
    assert text == FENCED, because
    assert program_under("corrected", text, "pot") == "x = 6 * 7\nprint(x)"


def test_a_solution_is_called_and_printed_under_both_rules():
    text = prompts.text_to_grade("pal_8shot", PROGRAMS[3] + "\n\n")
    assert text == PROGRAMS[3] + "\nprint(solution())"
    for rule in ("published", "corrected"):
        assert program_under(rule, text, "pot") == text
    assert program_under("published", PROGRAMS[3], "pot") is None, "without the call this rule reads the text"


@pytest.mark.parametrize(("style", "completion"), [
    ("pal_8shot", "x = 3"),
    ("pal_8shot", PROGRAMS[0] + "\nprint(solution())"),
    ("pal_8shot", "I know of def solution() only."),
    ("chat_cot", "```output\n4\n```"),
    ("mammoth", "```output\n4\n```"),
    ("cot_8shot", " 1 + 1 is 2. The answer is 2."),
])  # fmt: skip
def test_other_completions_are_read_as_they_are(style, completion):
    assert prompts.text_to_grade(style, completion) == completion


def test_the_papers_baselines_are_asked_with_these_shots():
    assert prompts.BASELINE_SHOTS == {"in_domain": (8, 0), "out_of_domain": (5,)}
