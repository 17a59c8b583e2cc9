"""Rows to token ids: what the model is asked in training is what it will be asked in decoding."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import tiny_base

from mammoth_utils import prompts
from mammoth_utils.training.loop import encoding


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_base.tokenizer()


ANSWERS = [
    ("# a program\nprint(1)", "a byte-level tokenizer merges :# across the border"),
    ("Let's see. The answer is 4.", "prose begins with a word"),
    (" 4", "a space in front is part of the answer"),
    ("4", "a digit"),
    ("\n\nprint(2)", "line breaks in front"),
    ("é ≤ √2", "bytes beyond ASCII"),
]


@pytest.mark.parametrize(("answer", "because"), ANSWERS)
def test_prompt_and_answer_give_their_text_back(tokenizer, answer, because):
    prompt = prompts.alpaca("What is 2 plus 2?")
    head, tail = encoding.encode(prompt, answer, tokenizer)
    assert head == tokenizer(prompt).input_ids, because
    assert tail[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(head + tail[:-1], skip_special_tokens=False) == "<s>" + prompt + answer, because


def test_this_tokenizer_does_merge_across_the_border(tokenizer):
    prompt = prompts.alpaca("What is 2 plus 2?")
    head, joint = tokenizer(prompt).input_ids, tokenizer(prompt + "# a program").input_ids
    assert joint[: len(head)] != head, "otherwise the test above would show nothing"


def test_the_templates_parts_may_be_tokens_of_their_own():
    tokenizer = tiny_base.tokenizer(fixed_parts=True)
    for row in tiny_base.rows(4):
        head, tail = encoding.encode(prompts.alpaca(row["instruction"]), row["output"], tokenizer)
        text = tokenizer.decode(head + tail, skip_special_tokens=False)
        assert text == "<s>" + prompts.alpaca(row["instruction"]) + row["output"] + "</s>"


def test_sentencepiece_gains_no_space_in_front_of_the_answer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "</s>"], show_progress=False)
    made.train_from_iterator(tiny_base.TEXTS * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")
    prompt = prompts.alpaca("What is 17 plus 25?")
    for answer in ("# add the numbers", "The answer is 42."):
        head, tail = encoding.encode(prompt, answer, tokenizer)
        assert head == tokenizer(prompt).input_ids
        assert tokenizer.decode(head + tail[:-1]) == prompt + answer


@pytest.mark.parametrize("text", ["</s>", "so </s> ends it", "<pad>"])
def test_a_text_with_a_special_token_is_refused(tokenizer, text):
    with pytest.raises(ValueError, match="special token"):
        encoding.encode(prompts.alpaca("What?"), text, tokenizer)
    with pytest.raises(ValueError, match="special token"):
        encoding.encode(prompts.alpaca(text), "4", tokenizer)


def test_a_tokenizer_that_ends_every_prompt_is_refused():
    from tokenizers import processors

    tokenizer = tiny_base.tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    with pytest.raises(ValueError, match="does not append by itself"):
        encoding.encode(prompts.alpaca("What?"), "4", tokenizer)


def test_rows_are_counted_and_none_is_cut(tokenizer):
    rows = tiny_base.rows(6)
    rows.append(rows[0] | {"output": "word " * 900})
    rows.append(rows[0] | {"output": "an end </s> inside"})
    rows.append(rows[0] | {"output": "  "})
    examples, report = encoding.encode_rows(rows, tokenizer, max_length=400)
    assert (report.rows, report.kept, report.too_long, report.special, report.empty) == (9, 6, 1, 1, 1)
    assert report.dropped == 3
    assert report.longest > 400
    assert all(example.answer[-1] == tokenizer.eos_token_id for example in examples)
    assert report.kinds == Counter(cot=3, pot=3)
    assert report.tokens == sum(map(len, examples))
    assert report.supervised == sum(len(example.answer) for example in examples)


def test_batched_rows_are_encoded_as_single_ones(tokenizer):
    rows = tiny_base.rows(4)
    examples, _ = encoding.encode_rows(rows, tokenizer, max_length=1000)
    for row, example in zip(rows, examples, strict=True):
        head, tail = encoding.encode(prompts.alpaca(row["instruction"]), row["output"], tokenizer)
        assert (list(example.prompt), list(example.answer)) == (head, tail)


def test_a_mixture_of_which_nothing_is_left_is_refused(tokenizer):
    with pytest.raises(ValueError, match="none is left.*over 40 tokens"):
        encoding.encode_rows(tiny_base.rows(2), tokenizer, max_length=40)
    with pytest.raises(ValueError, match="row 0 lacks output"):
        encoding.encode_rows([{"instruction": "What?", "kind": "cot"}], tokenizer, max_length=40)


def test_labels_hide_exactly_the_prompt(tokenizer):
    examples, _ = encoding.encode_rows(tiny_base.rows(4), tokenizer, max_length=1000)
    for example in examples:
        hidden = [label == encoding.IGNORE_INDEX for label in example.labels]
        assert hidden == [True] * len(example.prompt) + [False] * len(example.answer)
        assert [label for label in example.labels if label != encoding.IGNORE_INDEX] == list(example.answer)


def test_columns_say_where_each_document_ends(tokenizer):
    examples, _ = encoding.encode_rows(tiny_base.rows(9), tokenizer, max_length=1000)
    data = encoding.columns([examples[:4], examples[4:5], examples[5:]])
    for ids, labels, lengths in zip(data["input_ids"], data["labels"], data["seq_lengths"], strict=True):
        assert len(ids) == len(labels) == sum(lengths)


def test_a_marked_row_shows_what_the_loss_sees(tokenizer):
    row = tiny_base.rows(2)[1]
    shown = encoding.mark_rationale(row, tokenizer)
    assert shown.prompt == "<s>" + prompts.alpaca(row["instruction"])
    assert shown.trained == row["output"] + "</s>"
    boxes = re.findall(r"<(span|mark) [^>]*>(.*?)<br><small>(-?\d+)</small>", shown._repr_html_())
    assert [int(label) for _, _, label in boxes] == shown.example.labels
    assert [tag for tag, _, _ in boxes] == ["span"] * len(shown.example.prompt) + ["mark"] * len(shown.example.answer)
    assert boxes[-1][1] == "&lt;/s&gt;"


def test_rows_are_encoded_once_for_the_same_tokenizer_and_length(tmp_path, monkeypatch):
    from mammoth_utils.training.loop import encoded_rows

    rows, tokenizer, said = tiny_base.rows(12), tiny_base.tokenizer(), []
    rows[3]["output"] = "word " * 400
    calls = []
    monkeypatch.setattr(encoded_rows, "encode_rows", lambda *a: calls.append(1) or encoding.encode_rows(*a))
    made = [encoded_rows.encode_once(rows, tokenizer, 500, tmp_path / "new", said.append) for _ in range(3)]
    assert len(calls) == 1
    assert made[0] == made[1] == made[2]
    assert made[1][1].kinds["cot"] == made[0][1].kinds["cot"] > 0
    assert made[0][1].too_long == 1
    assert "12 rows were encoded before" in said[0]
    assert encoding.columns([made[0][0]]) == encoding.columns([made[1][0]])
    for other in ((rows[:11], tokenizer, 500), (rows, tokenizer, 490), (rows, tiny_base.tokenizer(True), 500)):
        encoded_rows.encode_once(*other, tmp_path / "new", said.append)
    assert len(calls) == 4
    assert len(list((tmp_path / "new").glob("*.npz"))) == 1, "of other rows nothing is kept"
