"""What an evaluation is of: an adapter is applied, a changed base or server is noticed, the world is the model's."""

import json
import shutil
from http.server import BaseHTTPRequestHandler

import pytest
import tiny_base
from local_server import serving

from mammoth_utils import paths, records
from mammoth_utils.base_models import BaseModelError, identify_base
from mammoth_utils.evaluation import describe_evaluation, evaluate
from mammoth_utils.evaluation.description import find_given
from mammoth_utils.evaluation.engines import endpoint
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder, EndpointError, is_endpoint
from mammoth_utils.vocabulary import NINE

CHAT_ONLY = (404, {"error": {"message": "unknown path /completions"}})


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs of the test's own."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def adapter_run(runs, method="lora", merged=False, name="tuned"):
    """A finished run that holds an adapter, and its base in a folder beside."""
    base, folder = runs.parent / "base", runs / "train" / name
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"the base's weights")
    for kind, file in [("adapter", "adapter_model"), *([("model", "model")] if merged else [])]:
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{file}.safetensors").write_bytes(b"x")
    (folder / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(base)})
    )
    run = {"size": "7b", "family": "llama", "method": method, "base": str(base)}
    records.write_json(folder / "run.json", {**run, "inputs": {"base": identify_base(str(base))}})
    records.write_record(folder, {"page": "train"})
    return folder, base


# --- adapters and their bases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapters_folder_inside_a_run_means_that_run(runs, method):
    folder, base = adapter_run(runs, method)
    for given in (folder, folder / "adapter"):
        found = describe_evaluation(model=str(given), benchmarks="gsm8k")
        assert (found.model, found.adapter, found.method) == (str(base), str(folder / "adapter"), method)
        assert found.dequantise == (method == "qlora")
        assert found.as_dict()["adapter"]


def test_a_merged_run_is_taken_whole_whichever_of_its_folders_is_given(runs):
    folder, _ = adapter_run(runs, merged=True)
    found = {find_given(str(given)) for given in (folder, folder / "model", folder / "adapter")}
    assert [(one.name, one.model, one.adapter) for one in found] == [("tuned", str(folder / "model"), "")]


def test_a_base_that_changed_under_an_adapter_is_refused_with_both_hashes(runs):
    folder, base = adapter_run(runs)
    before = identify_base(str(base))["sha256"]
    (base / "model.safetensors").write_bytes(b"another base's weights")
    with pytest.raises(BaseModelError, match="is not the one that the adapter was trained on") as caught:
        find_given(str(folder))
    assert before[:16] in str(caught.value)
    assert identify_base(str(base))["sha256"][:16] in str(caught.value)


def test_an_adapter_from_elsewhere_goes_onto_the_base_that_it_names(runs):
    folder, base = adapter_run(runs)
    foreign = shutil.copytree(folder / "adapter", runs.parent / "foreign")
    found = find_given(str(foreign))
    assert (found.name, found.model, found.adapter, found.base) == ("foreign", str(base), str(foreign), str(base))
    assert "16 bit" in found.method


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING adapter; only LoRA"),
        ({"base_model_name_or_path": None}, "names no base"),
        ({"base_model_name_or_path": "/gone/away"}, "of the base /gone/away, which is not here"),
        ("weights beside", r"holds a model \(model.safetensors\) and an adapter"),
    ],
)
def test_an_adapter_that_cannot_be_applied_as_it_was_trained_is_refused(runs, change, message):
    folder, _ = adapter_run(runs)
    foreign = shutil.copytree(folder / "adapter", runs.parent / "foreign")
    if isinstance(change, str):
        (foreign / "model.safetensors").write_bytes(b"x")
    else:
        config = records.read_json(foreign / "adapter_config.json") | change
        records.write_json(foreign / "adapter_config.json", config)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_given(str(foreign))


def test_a_checkpoint_of_a_run_is_no_model(runs):
    folder, _ = adapter_run(runs)
    (folder / "checkpoints" / "checkpoint-15").mkdir(parents=True)
    with pytest.raises(ValueError, match="checkpoint of an unfinished training"):
        find_given(str(folder / "checkpoints" / "checkpoint-15"))


def test_merging_refuses_another_base(runs):
    from mammoth_utils.training import describe
    from mammoth_utils.training.export import merge_adapter

    folder, base = adapter_run(runs)
    run = describe(size="7b", method="lora", base=str(base), name="tuned").as_dict()
    records.write_json(folder / "run.json", {**run, "inputs": {"base": identify_base(str(base))}})
    records.write_record(folder, {"page": "train", "environment": {"dtype": "bf16"}})
    (base / "model.safetensors").write_bytes(b"another base's weights")
    with pytest.raises(BaseModelError, match="is not the one that the adapter was trained on"):
        merge_adapter.estimate_needs(folder)


@pytest.mark.parametrize("four_bit", [False, True])
def test_the_adapters_own_completions_come_from_its_folder_and_not_the_bases(tmp_path, four_bit):
    """The whole way: an adapter that moves the net writes other texts than its base, by folder name alone."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    from mammoth_utils.evaluation.engines.decoders import load_decoder

    base = tiny_base.base(tmp_path / "base")
    net = AutoModelForCausalLM.from_pretrained(base)
    lora = peft.get_peft_model(net, peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    lora.save_pretrained(tmp_path / "adapter")
    found = find_given(str(tmp_path / "adapter"))
    prompts = ["What is 2 + 2?", "Tom has 12 apples."]
    applied = load_decoder(found.model, found.adapter, device="cpu", dequantise=four_bit).complete(prompts, 12)
    assert applied != load_decoder(base, device="cpu").complete(prompts, 12)


# --- worlds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["TIGER-Lab/MAmmoTH-7B", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1#x", "base"])
def test_a_model_that_is_not_the_miniatures_is_asked_the_real_nine(runs, model):
    _, base = adapter_run(runs)
    found = describe_evaluation(model=str(base) if model == "base" else model)
    assert (found.world, found.benchmarks, found.max_new_tokens) == ("real", NINE, 1500)
    mini = describe_evaluation(model=found.model, benchmarks="mini-gsm8k")
    assert (mini.world, mini.max_new_tokens) == ("miniature", 200)


def test_a_model_of_the_miniature_is_asked_the_miniatures_nine(runs):
    folder, _ = adapter_run(runs, merged=True)
    records.write_json(folder / "run.json", {"size": "1m", "family": "llama", "method": "full", "base": "llama-1m"})
    for model in (folder, paths.miniature_models() / "llama-1m", "llama-1m"):
        found = describe_evaluation(model=str(model))
        assert (found.world, len(found.benchmarks), found.max_new_tokens) == ("miniature", 9, 200)
    with pytest.raises(ValueError, match="is a model of the miniature, and size=7b is not"):
        describe_evaluation(model=str(folder), size="7b")


@pytest.mark.parametrize("address", ["localhost:8000/v1", "127.0.0.1:8000", "host.example:8000/v1", "localhost/v1"])
def test_an_address_without_its_scheme_is_named_as_one(address):
    with pytest.raises(ValueError, match="looks like the address of a server; write http:// in front"):
        is_endpoint(address)


@pytest.mark.parametrize("name", ["owner/model", "owner/model-1.5b", "runs/train/x", "C:/models/x", "./localhost"])
def test_a_name_that_is_no_address_stays_one(name):
    assert not is_endpoint(name)


# --- servers ---------------------------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """A server whose list of models and whose answers a test sets; counts what it completed."""

    def do_GET(self):
        self.answer(self.server.models)

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        self.server.asked.append(prompt)
        self.answer(self.server.reply(len(self.server.asked), prompt))

    def answer(self, value):
        status, value, *headers = value
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


def models(*names, **more):
    return 200, {"object": "list", "data": [{"id": name, "object": "model", **more} for name in names]}


def text(content="The answer is 4."):
    return 200, {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": content}]}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("MAMMOTH_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(Server) as made:
        made.models, made.reply, made.asked = models("m"), lambda count, prompt: text(), []
        yield made


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ((200, "<html>Please sign in</html>"), "a web page, so the path or a login is wrong"),
        ((200, {"object": "list", "data": []}), "lists no model at /models; name the one that it serves"),
        ((404, {"detail": "Not Found"}), "lists no model at /models; name the one that it serves"),
        ((200, {"models": ["m"]}), "in place of a list of models"),
        ((200, "not JSON"), "answers with no JSON"),
        ((401, {"error": {"message": "no key"}}), "refuses a request without a key; MAMMOTH_API_KEY is not set"),
        (models("one", "two"), "serves several models; its models: one, two; name one as"),
    ],
)
def test_a_server_that_is_none_is_named_in_one_line(server, listed, says):
    server.models = listed
    with pytest.raises((EndpointError, ValueError)) as caught:
        EndpointDecoder(f"{server.url}/v1", patience_s=0.2)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listed", [(404, {"detail": "Not Found"}), (200, {"object": "list", "data": []})])
def test_a_server_without_a_list_is_asked_by_the_name_that_is_given(server, listed):
    server.models = listed
    decoder = EndpointDecoder(f"{server.url}/v1#mine")
    assert decoder.complete(["2 + 2"], 8) == ["The answer is 4."]
    assert decoder.identity["id"] == "mine"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (CHAT_ONLY, "has no /completions for 'm' (404: unknown path /completions). A server of chat alone"),
        ((200, "<html>"), "a web page"),
        ((200, {"choices": []}), "answers without a choice"),
        ((200, {"error": {"message": "out of slots"}}), "answers with an error"),
        ((200, {"choices": [{"text": None}]}), "whose text is no text"),
        ((400, {"error": {"message": "maximum context length is 64"}}), "maximum context length is 64. If that is"),
        ((500, {"error": {"message": "boom"}}), "answers 500: boom; given up after"),
        ((429, {"error": "slow down"}), "answers 429: slow down; given up after"),
    ],
)
def test_an_answer_that_is_no_completion_ends_in_one_line(server, reply, says):
    server.reply = lambda count, prompt: reply
    decoder = EndpointDecoder(f"{server.url}/v1", patience_s=0.6)
    with pytest.raises(EndpointError) as caught:
        decoder.complete(["2 + 2"], 8)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_refuses_every_second_request_for_its_rate_is_asked_to_the_end(server):
    server.reply = lambda count, prompt: (
        (429, {"error": "slow"}, ("Retry-After", "0.01")) if count % 2 else text(prompt)
    )
    prompts = [f"prompt {number}" for number in range(12)]
    assert EndpointDecoder(f"{server.url}/v1", concurrency=4).complete(prompts, 8) == prompts


def test_a_server_that_hangs_is_named_with_the_seconds_that_it_had(server):
    import time

    server.reply = lambda count, prompt: time.sleep(1) or text()
    with pytest.raises(EndpointError, match="did not answer within"):
        EndpointDecoder(f"{server.url}/v1", patience_s=0.1, timeout_s=0.2).complete(["2 + 2"], 8)


def test_what_arrived_before_a_server_failed_is_not_asked_again(server, runs):
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=6)
    server.reply = lambda count, prompt: text() if count < 4 else (400, {"error": "gone"})
    with pytest.raises(EndpointError, match="gone"):
        evaluate(description, batch=1)
    arrived = server.asked[:3]
    server.asked.clear()
    server.reply = lambda count, prompt: text()
    record = evaluate(description)
    assert not set(arrived) & set(server.asked)
    assert len(server.asked) == 3
    assert record["completions"] == 6
    assert not (description.folder / "completions.jsonl").exists()


def test_another_model_at_the_same_address_is_evaluated_for_itself(server, runs):
    said = []
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=2)
    server.models = models("mammoth-7b", created=1, root="/w/7b")
    first = evaluate(description, say=said.append)
    assert first["inputs"]["server"]["root"] == "/w/7b"
    server.models, server.asked[:] = models("mammoth-7b", created=2, root="/w/7b"), []
    assert evaluate(description, say=said.append) == first, "started anew it is the same model"
    assert not server.asked
    assert not said
    server.models = models("mammoth-13b", created=3, root="/w/13b")
    second = evaluate(description, say=said.append)
    assert len(server.asked) == 2
    assert second["inputs"]["server"]["id"] == "mammoth-13b"
    assert "mammoth-7b" in said[0]
    assert "mammoth-13b" in said[0]
    aside = description.folder.with_name(f"{description.folder.name}.old-1")
    assert records.read_json(aside / "record.json") == first


def test_a_finished_evaluation_is_shown_while_its_server_is_off(server, runs):
    said = []
    description = describe_evaluation(model=f"{server.url}/v1", benchmarks="mini-svamp", decoding="cot", limit=2)
    first = evaluate(description)
    server.models = (503, {"error": "loading"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "LONGEST_WAIT_S", 0.05)
        patch.setattr(EndpointDecoder.__init__, "__defaults__", (1, 0.2, 5.0))
        assert evaluate(description, say=said.append) == first
    assert "is shown; its model was not asked" in said[0]
