"""Decoding: our loop writes what Hugging Face's generate writes; adapters are merged; servers are asked politely."""

from __future__ import annotations

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mammoth_utils import records
from mammoth_utils.base_models import weights_hash
from mammoth_utils.evaluation.engines import decoders as decoding
from mammoth_utils.evaluation.engines.llama_loop import GreedyLlama, unsupported_reason
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


def saved(folder, tokenizer, net):
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
    texts = own.complete(PROMPTS, 48)
    assert texts == other.complete(PROMPTS, 48)
    lengths = {len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts}
    assert len(lengths) > 3, "rows must end at different steps, or dropping ended rows is not tested"
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
    together = decoder.complete(PROMPTS, 32)
    assert together[::13] == [decoder.complete([prompt], 32)[0] for prompt in PROMPTS[::13]]
    assert not any("</s>" in text or "<pad>" in text or "<s>" in text for text in together)


def test_added_tokens_stay_in_the_text_and_special_ones_do_not(tmp_path):
    tokenizer = tiny_tokenizer()
    decoder = LocalDecoder(str(saved(tmp_path, tokenizer, tiny_llama(tokenizer))), device="cpu")
    fixed = tokenizer.convert_tokens_to_ids(RESPONSE)
    prompt = tokenizer("é" + RESPONSE).input_ids
    text = decoder._text(prompt, [*tokenizer("a b\n", add_special_tokens=False).input_ids, fixed, 0, 2])
    assert text == "a b\n" + RESPONSE


def test_a_prompt_longer_than_the_context_is_refused(tmp_path):
    tokenizer = tiny_tokenizer()
    net = tiny_llama(tokenizer, max_position_embeddings=16)
    decoder = LocalDecoder(str(saved(tmp_path, tokenizer, net)), device="cpu")
    with pytest.raises(ValueError, match="leaves no room in a context of 16"):
        decoder.complete(["x" * 40], 4)
    assert decoder.complete([], 4) == []


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


class Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that writes prompts backwards, fails once, and counts requests at once."""

    asked: list[dict] = []
    at_once, most, failures = 0, 0, 1
    lock = threading.Lock()

    def do_GET(self):
        self._send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Server.at_once += 1
            Server.most = max(Server.most, Server.at_once)
            Server.asked.append({**body, "key": self.headers.get("Authorization")})
            fails, Server.failures = Server.failures > 0, Server.failures - 1
        threading.Event().wait(0.02)
        with self.lock:
            Server.at_once -= 1
        choice = {"text": body["prompt"][::-1], "index": 0, "finish_reason": "stop", "logprobs": None}
        self._send(
            503 if fails else 200,
            {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]},
        )

    def _send(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Server.asked, Server.at_once, Server.most, Server.failures = [], 0, 0, 1
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.models = ["m"]
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_an_endpoint_is_asked_greedily_with_bounded_concurrency_and_tried_again(server, monkeypatch):
    monkeypatch.setenv("MAMMOTH_API_KEY", "sk-of-the-environment")
    decoder = decoding.load_decoder(f"http://127.0.0.1:{server.server_port}/v1", batch=3)
    prompts = [f"prompt {number}" for number in range(12)]
    assert decoder.complete(prompts, 9) == [prompt[::-1] for prompt in prompts]
    assert len(Server.asked) == 13, "the request that failed was sent again"
    assert Server.most <= 3
    assert {(one["temperature"], one["max_tokens"], tuple(one["stop"])) for one in Server.asked} == {
        (0.0, 9, ("### Instruction",))
    }
    assert Server.asked[0]["key"] == "Bearer sk-of-the-environment"
    assert "sk-of" not in json.dumps(decoder.describe())


def test_an_endpoint_with_several_models_wants_one_named(server):
    server.models = ["one", "two"]
    address = f"http://127.0.0.1:{server.server_port}/v1"
    with pytest.raises(ValueError, match="several models; its models: one, two"):
        decoding.load_decoder(address)
    assert decoding.load_decoder(f"{address}#two").describe()["model"] == "two"
