"""A question of the reader's own: asked, run and graded by the evaluation's code, shown step by step."""

import pytest
from scripted_decoder import ScriptedDecoder

from mammoth_utils import paths, records
from mammoth_utils.evaluation import describe_solution, read_question, solve, write_solution

PROGRAM, BROKEN, PROSE = "print(6 * 7)", "print(6 *", "Six times seven is 42. The answer is 42."


def description(said=None, **settings):
    """The untuned base of the miniature, which ships with the project; a scripted decoder answers in its place."""
    return describe_solution(mixture="none", say=(said if said is not None else []).append, **settings)


def answered(question, program=PROGRAM, prose=PROSE, **settings):
    decoder = ScriptedDecoder(lambda prompt: program if "write a program" in prompt else prose)
    return solve(question, description(also="none", **settings), decoder), decoder


def titles(solution):
    return [step.title.split(" (")[0].split(":")[0] for step in solution.steps]


def test_a_program_is_asked_for_run_and_graded_under_both_rules(runs_dir):
    solution, decoder = answered(read_question("What is 6 * 7?", "42"))
    assert titles(solution) == [
        "The model is asked for a program", "It writes", "The program runs in the sandbox",
        "The answer that each rule reads", "The verdicts, against the answer 42",
    ]  # fmt: skip
    assert solution.steps[0].text == decoder.asked[0].prompt
    assert solution.steps[1].text == PROGRAM
    assert solution.steps[1].language == "python"
    assert solution.steps[2].text == "42"
    assert {rule: verdict.outcome for rule, verdict in solution.verdicts.items()} == {
        "published": "correct", "corrected": "correct",
    }  # fmt: skip
    assert solution.summary() == {
        "answer": "42", "kind": "a program", "published": "correct", "corrected": "correct",
    }  # fmt: skip


def test_prose_is_asked_for_where_the_program_gave_nothing(runs_dir):
    solution, decoder = answered(read_question("What is 6 * 7?", "42"), BROKEN)
    assert len(decoder.asked) == 2
    assert "The program gave nothing, so the model is asked for prose" in titles(solution)
    assert "SyntaxError" in solution.steps[2].text
    assert solution.steps[1].language == "text", "Sphinx warns of Python that it cannot read"
    assert solution.summary()["kind"] == "prose"
    assert solution.verdicts["published"].correct


def test_a_question_with_options_is_asked_for_prose_and_its_answer_may_be_an_options_text(runs_dir):
    question = read_question("What is 6 * 7?", "42", "13 | 42 | 67")
    assert question.gold == "B"
    solution, decoder = answered(question, prose="The answer is (B).")
    assert "Answer Choices: (A) 13 (B) 42 (C) 67" in decoder.asked[0].prompt
    assert titles(solution)[0] == "The model is asked for prose"
    assert titles(solution)[-1] == "The verdicts, against the answer B, 42"
    assert solution.verdicts["corrected"].correct


def test_without_a_reference_answer_there_is_an_answer_and_no_verdict(runs_dir):
    solution, _ = answered(read_question("What is 6 * 7?"))
    assert solution.verdicts == {}
    assert titles(solution)[-1] == "The answer that each rule reads"
    assert "none was asked for" in solution.summary()["published"]
    assert "verdict, published" not in solution.by_decoding()


def test_text_in_place_of_a_program_is_not_called_one(runs_dir):
    solution, _ = answered(read_question("What is 6 * 7?", "42"), "I think it is 42.")
    assert solution.summary()["kind"] == "text in place of a program"


def test_each_way_of_decoding_is_a_row(runs_dir):
    decoder = ScriptedDecoder(lambda prompt: PROGRAM if "write a program" in prompt else "The answer is 41.")
    solution = solve(read_question("What is 6 * 7?", "42"), description(), decoder)
    frame = solution.by_decoding().set_index("decoding")
    assert list(frame.index) == ["hybrid", "cot", "pot"]
    assert frame.loc["cot", "verdict, corrected"] == "incorrect"
    assert frame.loc["pot", "answered by"] == "a program"


def test_a_question_is_asked_once_and_its_record_holds_every_step(runs_dir):
    question = read_question("What is 6 * 7?", "42")
    first, _ = answered(question)
    again, decoder = answered(question)
    assert decoder.asked == []
    record = records.read_json(write_solution(again, description(also="none")))
    assert record["attempts"]["hybrid"][0]["completion"] == first.attempts["hybrid"][0].completion
    assert record["verdicts"]["hybrid"]["published"]["outcome"] == "correct"
    assert str(paths.root()) not in str(record)


def test_a_fence_in_a_completion_does_not_end_the_block_that_shows_it(runs_dir):
    solution, _ = answered(read_question("What is 6 * 7?"), "```python\nprint(6 * 7)\n```")
    assert "````" in solution._repr_markdown_()


def test_without_a_trained_model_the_untuned_base_answers_and_the_page_says_so(runs_dir):
    said = []
    plan = describe_solution(seed=3, say=said.append)
    assert plan.mixture == "none"
    assert "untuned base answers" in said[0]
    assert "papermill notebooks/train.ipynb" in said[0]
    assert "-p seed 3" in said[0]
    with pytest.raises(FileNotFoundError, match="train"):
        describe_solution(size="7b")


@pytest.mark.parametrize(("asked", "says"), [
    (("", "", ""), "no question"),
    (("What?", "", "only one"), "2 to 26"),
    (("What?", "D", "1|2|3"), "none of the 3 options"),
])  # fmt: skip
def test_a_question_that_cannot_be_asked_is_refused_with_the_reason(asked, says):
    with pytest.raises(ValueError, match=says):
        read_question(*asked)
