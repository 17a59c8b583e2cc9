"""Decoding: our loop writes what Hugging Face's generate writes; adapters are merged; servers are asked politely."""

from __future__ import annotations

import random

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from mammoth_utils import records
from mammoth_utils.base_models import weights_hash
from mammoth_utils.evaluation.engines import decoders as decoding
from mammoth_utils.evaluation.engines.llama_loop import GreedyLlama, unsupported_reason
from mammoth_utils.evaluation.engines.requests import Completion, Request, RequestQueue, complete
from mammoth_utils.evaluation.engines.transformers_engine import LocalDecoder

RESPONSE = "\n\n### Response:"


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, beginning of sequence added, a fixed part of the prompt as one added token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    fast.add_tokens([AddedToken(RESPONSE, normalized=False)])
    return fast


def tiny_llama(tokenizer, **changes) -> LlamaForCausalLM:
    """A random net that writes varied text and ends some rows early."""
    torch.manual_seed(changes.pop("seed", 0))
    settings = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.3,
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    net = LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()
    if net.lm_head.bias is None:  # more ends than chance gives, so that rows leave the batch at different steps
        with torch.no_grad():
            net.model.embed_tokens.weight[2] *= 1.6
    return net


def tiny_net(tokenizer, kind, **changes):
    """A random net of another architecture that ends some rows early."""
    config = {"qwen2": Qwen2Config, "mistral": MistralConfig, "llama": LlamaConfig}[kind]
    torch.manual_seed(4)
    settings = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3,
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    net = AutoModelForCausalLM.from_config(config(**{**settings, **changes})).eval().float()
    with torch.no_grad():
        net.model.embed_tokens.weight[2] *= 1.6
    return net


def saved(folder, tokenizer, net):
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ask(decoder, prompts, max_new_tokens, **more) -> list[Completion]:
    """The completions of some prompts."""
    return complete(decoder, [Request(prompt, max_new_tokens, **more) for prompt in prompts])


def run_collecting(decoder, requests, then=()):
    """Run a decoder over requests; ``then`` joins after the first completion. Completions and failures by prompt."""
    done, failed, later = {}, {}, list(then)

    def finish(request, completion):
        done[request.prompt] = completion
        queue.put(later)
        later.clear()
        if len(done) + len(failed) == len(requests) + len(then):
            queue.close()

    queue = RequestQueue(finish, lambda request, reason: failed.update({request.prompt: reason}))
    queue.put(requests)
    if not then:
        queue.close()
    decoder.run(queue)
    return done, failed


PROMPTS = [
    f"Question {number}: "
    + "".join(random.Random(number).choices("abc 0123456789+*é√", k=3 + number * 2 % 37))
    + RESPONSE
    for number in range(40)
]


@pytest.mark.parametrize("shape", [
    {},
    {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False, "seed": 3},
    {"head_dim": 16, "rope_theta": 1e6, "seed": 1},
], ids=["as the miniature", "shared heads and biases", "wide heads"])  # fmt: skip
def test_our_loop_writes_exactly_what_generate_writes_on_prompts_of_mixed_length(tmp_path, shape):
    tokenizer = tiny_tokenizer()
    folder = str(saved(tmp_path, tokenizer, tiny_llama(tokenizer, **shape)))
    own = LocalDecoder(folder, device="cpu", batch=16, engine="own loop")
    other = LocalDecoder(folder, device="cpu", batch=7, engine="generate")
    completions = ask(own, PROMPTS, 48)
    assert completions == ask(other, PROMPTS, 48)
    assert len({one.tokens for one in completions}) > 3, "rows must end at different steps, or no row is dropped early"
    assert own.describe()["engine"] == "own loop"
    assert other.describe()["engine"] == "generate"


def test_the_first_logits_of_our_loop_equal_the_models_to_1e_5():
    net = tiny_llama(tiny_tokenizer())
    rows = [[1, 5, 9, 11, 40], [1, 7]]
    loop, room = GreedyLlama(net), 6
    cache, (cos, sin) = torch.empty(2, 2, 2, 4, room, 8), loop._rotations(room)
    with torch.inference_mode():
        ids, pads = torch.tensor([rows[0], [0, 0, 0, *rows[1]]]), torch.tensor([0, 3])
        first = loop._first(ids, pads, cache, cos, sin)
        second = loop._next(torch.tensor([20, 21]), pads, 5, cache, cos, sin)
        for place, row in enumerate(rows):
            expected = net(torch.tensor([[*row, 20 + place]])).logits[0]
            torch.testing.assert_close(first[place], expected[-2], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(second[place], expected[-1], atol=1e-5, rtol=1e-5)


def test_a_row_ends_at_the_first_end_of_sequence_and_is_right_whatever_its_batch(tmp_path):
    tokenizer = tiny_tokenizer()
    decoder = LocalDecoder(str(saved(tmp_path, tokenizer, tiny_llama(tokenizer))), device="cpu", batch=40)
    together = ask(decoder, PROMPTS, 32)
    assert together[::13] == [ask(decoder, [prompt], 32)[0] for prompt in PROMPTS[::13]]
    assert not any("</s>" in one.text or "<pad>" in one.text or "<s>" in one.text for one in together)


def test_added_tokens_stay_in_the_text_and_special_ones_do_not(tmp_path):
    tokenizer = tiny_tokenizer()
    decoder = LocalDecoder(str(saved(tmp_path, tokenizer, tiny_llama(tokenizer))), device="cpu")
    fixed = tokenizer.convert_tokens_to_ids(RESPONSE)
    prompt = tokenizer("é" + RESPONSE).input_ids
    text = decoder._text(prompt, [*tokenizer("a b\n", add_special_tokens=False).input_ids, fixed, 0, 2])
    assert text == "a b\n" + RESPONSE


@pytest.mark.parametrize(("kind", "changes"), [
    ("qwen2", {}), ("llama", {"num_key_value_heads": 4, "attention_bias": True}), ("mistral", {"sliding_window": None}),
], ids=["qwen2", "llama", "mistral"])  # fmt: skip
def test_the_batched_loop_writes_what_one_at_a_time_writes_whatever_the_batch(tmp_path, kind, changes):
    tokenizer = tiny_tokenizer()
    folder = str(saved(tmp_path, tokenizer, tiny_net(tokenizer, kind, **changes)))
    requests = [Request(prompt, 12 + 40 * (place % 2)) for place, prompt in enumerate(PROMPTS)]
    alone = complete(LocalDecoder(folder, device="cpu", batch=1, engine="generate"), requests)
    assert len({one.tokens for one in alone}) > 5
    assert {one.finish for one in alone} == {"stop", "length"}
    for batch in (1, 3, 7, 40):
        decoder = LocalDecoder(folder, device="cpu", batch=batch, engine="batched loop")
        assert complete(decoder, requests) == alone
        assert decoder.describe()["engine"] == "batched loop"


def test_auto_takes_the_batched_loop_for_other_architectures(tmp_path):
    tokenizer = tiny_tokenizer()
    folder = str(saved(tmp_path, tokenizer, tiny_net(tokenizer, "qwen2")))
    assert LocalDecoder(folder, device="cpu").engine == "batched loop"
    with pytest.raises(ValueError, match="'qwen2' is not 'llama'"):
        LocalDecoder(folder, device="cpu", engine="own loop")
    with pytest.raises(ValueError, match="batched loop"):
        LocalDecoder(folder, device="cpu", engine="vllm")


def test_rows_that_end_make_room_for_rows_that_wait_and_longer_ones_may_join_later(tmp_path, monkeypatch):
    tokenizer = tiny_tokenizer()
    folder = str(saved(tmp_path, tokenizer, tiny_net(tokenizer, "qwen2")))
    decoder = LocalDecoder(folder, device="cpu", batch=6)
    passes = []
    expected = ask(decoder, PROMPTS, 40)
    monkeypatch.setattr(decoder._loop, "model", CountingNet(decoder.model, passes))
    requests = [Request(prompt, 40) for prompt in PROMPTS]
    order = sorted(requests, key=lambda request: len(request.prompt))
    done, failed = run_collecting(decoder, order[:20], then=order[20:])
    assert [done[prompt] for prompt in PROMPTS] == expected
    assert not failed
    steps = [rows for rows, columns in passes if columns == 1]
    assert max(steps) == 6
    refills = [place for place, (_, columns) in enumerate(passes) if columns > 1]
    assert refills[-1] > 8, "prompts must be read while other rows go on"
    assert sum(steps) == sum(one.tokens + (one.finish == "stop") - 1 for one in expected), "no step of an ended row"


class CountingNet:
    """A net that notes the shape of what it is given."""

    def __init__(self, net, passes):
        self.net, self.passes, self.device = net, passes, net.device

    def __call__(self, **inputs):
        self.passes.append(tuple(inputs["input_ids"].shape))
        return self.net(**inputs)


def test_rows_beyond_a_sliding_window_go_through_generate_and_the_others_do_not(tmp_path):
    tokenizer = tiny_tokenizer()
    folder = str(saved(tmp_path, tokenizer, tiny_net(tokenizer, "mistral", sliding_window=60)))
    expected = ask(LocalDecoder(folder, device="cpu", batch=1, engine="generate"), PROMPTS, 30)
    decoder = LocalDecoder(folder, device="cpu", batch=8)
    short = sorted(PROMPTS, key=len)[:5]
    assert ask(decoder, short, 30) == [expected[PROMPTS.index(prompt)] for prompt in short]
    assert decoder.describe()["engine"] == "batched loop"
    assert ask(decoder, PROMPTS, 30) == expected
    assert decoder.describe()["engine"] == "batched loop and generate"


def test_a_position_table_that_depends_on_the_batch_goes_through_generate(tmp_path):
    tokenizer = tiny_tokenizer()
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    folder = str(saved(tmp_path, tokenizer, tiny_net(tokenizer, "qwen2", rope_parameters=rope)))
    assert LocalDecoder(folder, device="cpu").engine == "generate"
    with pytest.raises(ValueError, match="rope type dynamic depends on the longest row"):
        LocalDecoder(folder, device="cpu", engine="batched loop")


@pytest.fixture(params=["own loop", "batched loop", "generate"])
def engine(request, tmp_path):
    """A decoder of each engine over the same net."""
    tokenizer = tiny_tokenizer()
    folder = saved(tmp_path, tokenizer, tiny_llama(tokenizer, max_position_embeddings=64))
    return LocalDecoder(str(folder), device="cpu", batch=4, engine=request.param)


def test_a_completion_says_how_it_ended_and_how_long_it_is(engine):
    whole = ask(engine, PROMPTS[:12], 20)
    for prompt, one in zip(PROMPTS, whole, strict=False):
        assert one.finish in ("stop", "length")
        assert one.prompt_tokens == len(engine.tokenizer(prompt).input_ids)
        assert one.finish == "stop" or one.tokens == min(20, 64 - one.prompt_tokens)
    cut = ask(engine, PROMPTS[:12], 3)
    assert {one.finish for one in cut} == {"stop", "length"}
    assert all(a.text.startswith(b.text) for a, b in zip(whole, cut, strict=True))


def test_a_prompt_that_fills_the_context_fails_alone_and_the_context_cuts_the_others(engine):
    long, near = "x" * 64, "y" * 60
    done, failed = run_collecting(engine, [Request(prompt, 30) for prompt in (long, near, *PROMPTS[:3])])
    assert list(failed) == [long]
    assert "a prompt of 65 tokens leaves no room in a context of 64: 'xxx" in failed[long]
    assert set(done) == {near, *PROMPTS[:3]}
    assert done[near].tokens <= 3
    assert complete(engine, []) == []
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        ask(engine, ["a"], 0)


def test_a_stop_text_ends_a_row_and_is_no_part_of_the_text(engine):
    whole = ask(engine, PROMPTS, 40)
    prompt, text, tokens = max(
        ((prompt, one.text, one.tokens) for prompt, one in zip(PROMPTS, whole, strict=True)), key=lambda row: row[2]
    )
    stop = text[4:6]
    [one] = ask(engine, [prompt], 40, stop=("never written", stop))
    assert one.text == text[: text.index(stop)]
    assert one.finish == "stop"
    assert one.tokens < tokens, "the row must end soon after the stop text"


def test_a_chat_is_asked_in_the_models_template_without_a_second_beginning(engine):
    with pytest.raises(ValueError, match="has no chat template.*-p prompt mammoth"):
        ask(engine, ["2 + 2"], 4, chat=True)
    engine.tokenizer.chat_template = (
        "{{ bos_token }}{% for message in messages %}[{{ message['content'] }}]{% endfor %}"
        "{% if add_generation_prompt %}!{% endif %}"
    )
    [chat] = ask(engine, ["2 + 2"], 8, chat=True)
    [plain] = ask(engine, ["[2 + 2]!"], 8)
    assert chat == plain


def test_rows_are_decoded_together_as_far_as_keys_and_values_have_memory(engine, monkeypatch):
    expected = ask(engine, PROMPTS[:12], 16)
    sizes = []
    if engine.engine == "batched loop":
        monkeypatch.setattr(engine._loop, "model", CountingNet(engine.model, sizes))
    for places in (1, 2):
        sizes.clear()
        # A row of the context's 64 tokens and, in the batched loop, columns to spare.
        engine.budget = places * engine._token_bytes * (64 + 64 * (engine.engine == "batched loop"))
        assert engine._places(64) == places
        assert ask(engine, PROMPTS[:12], 16) == expected
        assert not sizes or max(rows for rows, _ in sizes) in range(places, 3)
    assert engine.describe()["batch"] == 4, "the record has the most rows that were allowed"
    engine.budget = engine._token_bytes * 10
    done, failed = run_collecting(engine, [Request(prompt, 16) for prompt in PROMPTS[:3]])
    assert not done
    assert all("do not fit the memory" in reason for reason in failed.values())


def test_keys_and_values_are_counted_as_the_model_makes_them(tmp_path):
    tokenizer = tiny_tokenizer()
    decoder = LocalDecoder(str(saved(tmp_path, tokenizer, tiny_net(tokenizer, "qwen2"))), device="cpu")
    held = []
    step = decoder._loop.step
    decoder._loop.step = lambda: held.append(
        sum(kept.nbytes / kept.shape[0] / kept.shape[2] for layer in decoder._loop._layers
            for kept in (layer.keys, layer.values))
    ) or step()  # fmt: skip
    ask(decoder, PROMPTS[:4], 8)
    assert set(held) == {decoder._token_bytes}


def test_a_batch_that_runs_out_of_memory_is_halved_and_rows_go_on_where_they_were(engine, monkeypatch):
    engine.batch = 8
    expected = ask(engine, PROMPTS[:12], 24)
    name = {"own loop": "_next", "batched loop": "_forward", "generate": "generate"}[engine.engine]
    owner = engine.model if engine.engine == "generate" else engine._loop
    plain = getattr(owner, name)

    def scarce(*given, **named):
        ids = named["input_ids"] if named else given[0]
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*given, **named)

    monkeypatch.setattr(owner, name, scarce)
    assert ask(engine, PROMPTS[:12], 24) == expected
    assert engine.describe()["batch"] <= 2
    monkeypatch.setattr(owner, name, lambda *_, **__: (_ for _ in ()).throw(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        ask(engine, PROMPTS[:12], 24)


def test_a_request_that_runs_out_of_memory_alone_fails_alone(engine, monkeypatch):
    name = {"own loop": "_first", "batched loop": "_forward", "generate": "generate"}[engine.engine]
    owner = engine.model if engine.engine == "generate" else engine._loop
    plain = getattr(owner, name)

    def scarce(*given, **named):
        if (named["input_ids"] if named else given[0]).shape[1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*given, **named)

    monkeypatch.setattr(owner, name, scarce)
    done, failed = run_collecting(engine, [Request(prompt, 8) for prompt in ("x" * 50, "abc", "de")])
    assert set(done) == {"abc", "de"}
    assert "do not fit the memory alone: CUDA out of memory" in failed["x" * 50]


def test_a_queue_that_is_cancelled_stops_an_engine_within_a_batch(engine):
    done = []

    def finish(request, completion):
        done.append(completion)
        queue.cancel()

    queue = RequestQueue(finish, lambda *_: None)
    queue.put([Request(prompt, 24) for prompt in PROMPTS])
    engine.run(queue)
    assert len(done) <= 4


def test_threads_that_are_not_given_are_one_for_the_own_loop_and_all_cores_for_others(tmp_path):
    tokenizer, before = tiny_tokenizer(), torch.get_num_threads()
    folder = str(saved(tmp_path, tokenizer, tiny_llama(tokenizer)))
    try:
        assert LocalDecoder(folder, device="cpu", threads=0).describe()["threads"] == 1
        every = LocalDecoder(folder, device="cpu", threads=0, engine="batched loop").describe()["threads"]
        assert every == torch.get_num_threads() >= 1
    finally:
        torch.set_num_threads(before)


def test_a_model_that_our_loop_cannot_run_says_why():
    net = tiny_llama(tiny_tokenizer())
    assert unsupported_reason(net) == ""
    assert "bfloat16" in unsupported_reason(net.to(torch.bfloat16))
    with pytest.raises(ValueError, match="needs Hugging Face's generate"):
        GreedyLlama(net)


@pytest.mark.parametrize("four_bit", [False, True])
def test_an_adapter_is_merged_into_the_net_that_it_was_trained_on(tmp_path, four_bit):
    peft = pytest.importorskip("peft")
    if four_bit:
        pytest.importorskip("bitsandbytes")
    tokenizer = tiny_tokenizer()
    net = tiny_llama(tokenizer, hidden_size=64, intermediate_size=64)
    base = saved(tmp_path / "base", tokenizer, net)
    lora = peft.get_peft_model(net, peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    lora.save_pretrained(tmp_path / "adapter")
    decoder = decoding.load_decoder(base, tmp_path / "adapter", device="cpu", dequantise=four_bit)
    assert decoder.engine == "own loop", "a merged model is a plain Llama again"
    ids = torch.tensor([[1, 9, 40, 41]])
    with torch.inference_mode():
        merged, expected = decoder.model(ids).logits, lora(ids).logits
        plain = decoding.load_decoder(base, device="cpu").model(ids).logits
    apart = (merged - expected).abs().mean() / expected.std()
    assert apart < (0.5 if four_bit else 1e-4), "4 bits round the base, 32 bits do not"
    assert (merged - plain).abs().mean() > (merged - expected).abs().mean()


def test_the_hash_of_the_weights_changes_with_the_weights_and_with_the_adapter(tmp_path):
    tokenizer = tiny_tokenizer()
    one = saved(tmp_path / "one", tokenizer, tiny_llama(tokenizer))
    two = saved(tmp_path / "two", tokenizer, tiny_llama(tokenizer, seed=5))
    assert weights_hash(one) == records.sha256(one / "model.safetensors")
    assert len({weights_hash(one), weights_hash(two), weights_hash(one, two)}) == 3


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"model": "/nowhere/at/all"}, FileNotFoundError, "hub name"),
    ({"model": "runs/train/none-here"}, FileNotFoundError, "no such folder"),
    ({"model": "http://user:pw@localhost:1/v1"}, ValueError, "holds a user or a key"),
    ({"model": "http://127.0.0.1:9/v1", "adapter": "x"}, ValueError, "serves its own weights"),
    ({"model": "some/name", "dequantise": True}, ValueError, "no adapter was given"),
])  # fmt: skip
def test_a_model_that_cannot_be_had_is_refused_before_anything_is_loaded(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        decoding.load_decoder(**arguments)
    assert "pw" not in str(caught.value)
