"""Engines as servers: which engine is taken, how its program is started, and that none of its processes is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from processes import below, processes

from mammoth_utils.evaluation.engines import servers
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder, EndpointError
from mammoth_utils.evaluation.engines.servers import ServerDiedError, choose_engine, serve, server_command

# A program in place of llama-server and vllm: BEHAVIOUR says what it does.
FAKE = """#!{python} -IS
import http.server, json, os, signal, subprocess, sys, time
words, behaviour = sys.argv, os.environ.get("BEHAVIOUR", "")
if words[1:] == ["--version"]:
    print("ggml_cuda_init: found 1 CUDA devices", file=sys.stderr)
    print("version: 6500 (a1b2c3d)", file=sys.stderr)
    sys.exit(0)
print("keys", [key for key in os.environ if key.endswith("_API_KEY")], "cache", os.environ["LLAMA_ARG_CACHE_RAM"])
for number in range(9):
    print("loading layer", number, "\\n")
sys.stdout.flush()
if behaviour == "dies at once":
    sys.exit("error: unknown architecture 'mammoth'")
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(600)"])
begun = time.monotonic()
option = lambda *names: next(words[words.index(name) + 1] for name in names if name in words)
class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self):
        if self.path == "/health":
            ready = time.monotonic() - begun > 0.15 and behaviour != "loads for ever"
            self.answer(200 if ready else 503, {{}})
        else:
            name = "another" if behaviour == "another model" else option("--alias", "--served-model-name")
            lora = [word.split("=")[0] for word in words if "=" in word]
            self.answer(200, {{"data": [{{"id": name}} for name in (name, *lora)]}})
    def do_POST(self):
        if behaviour == "dies later":
            print("out of memory, alas", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        self.answer(200, {{"choices": [{{"text": " 42", "finish_reason": "stop"}}]}})
http.server.ThreadingHTTPServer(("127.0.0.1", int(option("--port"))), Answers).serve_forever()
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Both programs on the PATH, and a GGUF file; no card is visible."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("llama-server", "vllm"):
        (folder / name).write_text(FAKE.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(servers, "count_cards", lambda: 0)
    return folder


@pytest.fixture
def gguf(tmp_path):
    """A file with a GGUF's name."""
    (tmp_path / "tiny-q4.gguf").write_bytes(b"GGUF")
    return tmp_path / "tiny-q4.gguf"


def started(before: set[int]) -> set[int]:
    """The processes that this one has started since."""
    return below(os.getpid()) - before


def ended(pids: set[int], wait_s: float = 10) -> bool:
    """Whether all these processes end within some seconds, fetched by their parent or not."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if not pids & processes().keys():
            return True
        time.sleep(0.02)
    return False


def ask(address: str) -> str:
    """The server's completion."""
    request = urllib.request.Request(address.partition("#")[0] + "/completions", b"{}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["choices"][0]["text"]


def test_a_server_is_started_asked_and_stopped(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_API_KEY", "secret")
    before, lines = below(os.getpid()), []
    with serve("llama.cpp", gguf, tmp_path / "run", say=lines.append) as address:
        assert ask(address) == " 42"
        assert EndpointDecoder(address).model == "tiny-q4"
        running = started(before)
        assert len(running) == 3, "the guard, the server and its worker"
    assert ended(running)
    log = (tmp_path / "run" / "server.log").read_text()
    assert f"llama-server -m {gguf} --host 127.0.0.1" in log
    assert "loading layer 8" in log
    assert "keys [] cache 0" in log, "a key of the environment would make the server refuse, and it keeps no contexts"
    assert lines == [f"llama-server loads tiny-q4; it writes to {tmp_path / 'run' / 'server.log'}"]


def test_a_later_server_writes_behind_an_earlier_one(programs, gguf, tmp_path):
    (tmp_path / "server.log").write_text("of an earlier server\n")
    with serve("llama.cpp", gguf, tmp_path):
        pass
    assert (tmp_path / "server.log").read_text().startswith("of an earlier server\n2")


def test_a_server_that_dies_at_once_is_told_with_its_last_lines(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("BEHAVIOUR", "dies at once")
    begun = time.monotonic()
    with pytest.raises(ServerDiedError) as caught, serve("llama.cpp", gguf, tmp_path):
        pytest.fail("the block is not entered")
    assert str(caught.value).splitlines() == [
        "llama-server ended with exit status 1 before it was ready (-p engine transformers decodes without it); "
        f"its log is {tmp_path / 'server.log'}, its last lines:",
        *(f"  loading layer {number}" for number in (5, 6, 7, 8)),
        "  error: unknown architecture 'mammoth'",
    ]
    assert time.monotonic() - begun < 5, "not after the limit of the start"


def test_a_server_that_dies_while_it_is_asked_is_told_in_place_of_the_broken_connection(
    programs, gguf, tmp_path, monkeypatch
):
    monkeypatch.setenv("BEHAVIOUR", "dies later")
    before, running = below(os.getpid()), set()

    def asked():
        with serve("llama.cpp", gguf, tmp_path) as address:
            running.update(started(before))
            try:
                ask(address)
            except OSError as error:
                raise EndpointError("the connection broke") from error

    with pytest.raises(ServerDiedError) as caught:
        asked()
    message = str(caught.value)
    assert message.startswith("llama-server was ended by SIGKILL (often because the memory is full) while it was asked")
    assert message.endswith("\n  out of memory, alas")
    assert str(caught.value.__cause__) == "the connection broke"
    assert ended(running), "its worker too, though nobody told it to end"


def test_an_error_of_a_server_that_runs_stays_as_it_is(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "DEATH_S", 0.2)
    with pytest.raises(EndpointError, match="^refused$") as caught, serve("llama.cpp", gguf, tmp_path):
        raise EndpointError("refused")
    assert type(caught.value) is EndpointError


def test_a_server_that_ignores_sigterm_is_killed(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("BEHAVIOUR", "stubborn")
    monkeypatch.setattr(servers, "GRACE_S", 0.3)
    before = below(os.getpid())
    with serve("llama.cpp", gguf, tmp_path):
        running = started(before)
    assert ended(running)


def test_a_server_ends_with_a_block_that_is_interrupted(programs, gguf, tmp_path):
    before, running = below(os.getpid()), set()

    def interrupted():
        with serve("llama.cpp", gguf, tmp_path):
            running.update(started(before))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(running) == 3
    assert ended(running)


def test_a_server_that_is_not_ready_in_time_is_stopped(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("BEHAVIOUR", "loads for ever")
    monkeypatch.setattr(servers, "SAY_EVERY_S", 0.3)
    before, lines, running = below(os.getpid()), [], set()

    def say(line):
        lines.append(line)
        running.update(started(before))

    late = serve("llama.cpp", gguf, tmp_path, start_timeout_s=0.7, say=say)
    with pytest.raises(EndpointError, match="not ready within 1 s"), late:
        pytest.fail("the block is not entered")
    assert running
    assert ended(running)
    assert lines[-1].endswith("so far: loading layer 8"), lines


def test_what_serves_another_model_at_the_port_is_no_server_of_ours(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("BEHAVIOUR", "another model")
    message = "expected llama-server to serve tiny-q4 .* serves another;"
    with pytest.raises(EndpointError, match=message), serve("llama.cpp", gguf, tmp_path):
        pytest.fail("the block is not entered")


def test_a_server_ends_with_the_process_that_started_it(programs, gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("BEHAVIOUR", "stubborn")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom mammoth_utils.evaluation.engines.servers import serve\n"
        "with serve('llama.cpp', sys.argv[1], Path(sys.argv[2]), say=lambda line: None) as address:\n"
        "    print(address, flush=True)\n    time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, gguf, tmp_path], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline().endswith("#tiny-q4\n")
    running = below(owner.pid)
    assert len(running) == 3
    owner.kill()
    owner.wait()
    assert ended(running)


def test_an_adapter_is_asked_by_its_own_name(programs, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 24, "rank_pattern": {"q_proj": 48}}))
    base = tmp_path / "base"
    base.mkdir()
    with serve("vllm", base, tmp_path, adapter, name="llama-7b, hybrid") as address:
        assert address.endswith("/v1#llama-7b-hybrid")
    log = (tmp_path / "server.log").read_text()
    assert f"--served-model-name llama-7b-hybrid-base --enable-lora --lora-modules llama-7b-hybrid={adapter}" in log
    assert "--max-lora-rank 64" in log, "the next limit that vLLM has above 48"


def test_an_adapter_of_a_rank_beyond_vllms_is_refused(programs, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 1024}')
    with pytest.raises(ValueError, match=r"up to rank 512, and .* has rank 1024"):
        server_command("vllm", "owner/name", 1, "name", tmp_path)


def test_the_command_of_llama_cpp(programs, monkeypatch):
    monkeypatch.setattr(servers, "count_cores", lambda: 6)
    command = " ".join(server_command("llama.cpp", "m.gguf", 8123, "m", context=3000))
    options = "-m m.gguf --host 127.0.0.1 --port 8123 --alias m -np 8 -c 24000 -t 6 --repeat-penalty 1.0 --no-webui"
    assert command == f"{programs}/llama-server {options}"
    monkeypatch.setattr(servers, "count_cards", lambda: 1)
    command = server_command("llama.cpp", "m.gguf", 8123, "m", context=3000, parallel=2, threads=3)
    assert " ".join(command).endswith("-np 2 -c 6000 -t 3 --repeat-penalty 1.0 --no-webui -ngl 99")


@pytest.mark.parametrize(("cards", "heads", "stored", "together", "because"), [
    (0, 32, 32, 1, "no card is counted, and vLLM takes what it finds"),
    (6, 32, 8, 4, "the largest power of two"),
    (8, 28, 4, 4, "28 heads cannot be divided among 8"),
    (4, 40, 10, 2, "10 stored heads cannot be divided among 4"),
    (4, 8, 1, 4, "each card holds a copy of the one stored head"),
])  # fmt: skip
def test_cards_share_a_model_as_its_heads_allow(
    programs, tmp_path, monkeypatch, cards, heads, stored, together, because
):
    config = {"num_attention_heads": heads, "num_key_value_heads": stored, "max_position_embeddings": 2048}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(servers, "count_cards", lambda: cards)
    command = " ".join(server_command("vllm", tmp_path, 8123, "m", context=4096))
    beginning = f"vllm serve {tmp_path} --host 127.0.0.1 --port 8123 --dtype auto --generation-config vllm"
    assert f"{beginning} --max-model-len 2048 --max-num-seqs 256" in command, "vLLM refuses more than the model's 2048"
    assert ("--tensor-parallel-size" in command) == (together > 1), because
    assert together == 1 or f"--tensor-parallel-size {together} --served-model-name m" in command, because


@pytest.mark.parametrize(("listed", "chosen", "cards"), [
    ("GPU 0: NVIDIA A100 (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)", None, 2),
    ("GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-1)", None, 1),
    ("GPU 0: A\nGPU 1: B\nGPU 2: C", "0,2", 2),
    ("GPU 0: A\nGPU 1: B", "1,-1,0", 1),
    ("GPU 0: A", "", 0),
    ("No devices were found", None, 0),
])  # fmt: skip
def test_cards_are_counted_without_torch(tmp_path, monkeypatch, listed, chosen, cards):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{listed}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert servers.count_cards() == cards


def test_a_server_says_its_version(programs):
    assert servers.describe_server("llama.cpp") == "version: 6500 (a1b2c3d)"


@pytest.mark.parametrize(("engine", "model", "more", "cards", "expected", "because"), [
    ("auto", "http://host:8000/v1", {}, 1, "endpoint", "an address has a server"),
    ("endpoint", "http://host:8000/v1", {}, 0, "endpoint", "the same, said"),
    ("auto", "GGUF", {}, 0, "llama.cpp", "what a GGUF file is made for"),
    ("transformers", "GGUF", {}, 0, "transformers", "it reads the file too, where that is asked for"),
    ("auto", "owner/name", {}, 1, "vllm", "a card and the program are there"),
    ("auto", "owner/name", {}, 0, "transformers", "no card"),
    ("auto", "owner/name", {"miniature": True}, 1, "transformers", "the miniature decodes in this process"),
    ("auto", "owner/name", {"adapter": "a"}, 1, "transformers", "an adapter is merged before decoding"),
    ("vllm", "owner/name", {"adapter": "a"}, 0, "vllm", "asked for: vLLM says itself what it runs on"),
    ("transformers", "owner/name", {}, 1, "transformers", "asked for"),
])  # fmt: skip
def test_the_engine_that_is_taken(programs, gguf, monkeypatch, engine, model, more, cards, expected, because):
    monkeypatch.setattr(servers, "count_cards", lambda: cards)
    assert choose_engine(engine, gguf if model == "GGUF" else model, **more) == expected, because


@pytest.mark.parametrize(("engine", "model", "more", "message"), [
    ("tgi", "m", {}, "unknown engine 'tgi'; known: auto, transformers, endpoint, vllm, llama.cpp"),
    ("vllm", "http://host:8000/v1", {}, "expected -p engine auto or endpoint, got 'vllm'"),
    ("auto", "http://host:8000/v1", {"adapter": "a"}, "start it with the adapter a merged"),
    ("endpoint", "owner/name", {}, "-p model http://host:8000/v1, got owner/name; other engines: auto, transformers,"),
    ("llama.cpp", "owner/name", {}, "python llama.cpp/convert_hf_to_gguf.py owner/name --outfile name.gguf"),
    ("llama.cpp", "FOLDER", {}, "got a folder; give one of its files: tiny-q4.gguf"),
    ("vllm", "GGUF", {}, "expected -p engine auto, llama.cpp or transformers, got 'vllm'"),
    ("auto", "GGUF", {"adapter": "a"}, "the adapter a cannot be added to the GGUF file"),
    ("auto", "nowhere.gguf", {}, "there is no GGUF file nowhere.gguf"),
    ("vllm", "m", {"adapter": "a", "dequantise": True}, "merge it (python -m mammoth_utils.training.export."),
])  # fmt: skip
def test_what_does_not_go_together_is_told_in_one_line(programs, gguf, engine, model, more, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        choose_engine(engine, {"GGUF": gguf, "FOLDER": gguf.parent}.get(model, model), **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("engine", "model", "message"), [
    ("auto", "GGUF", "llama-server is not on the PATH; install a package of llama.cpp"),
    ("vllm", "owner/name", "vllm-env/bin/pip install vllm"),
])  # fmt: skip
def test_a_missing_program_is_told_with_the_way_to_get_it(gguf, tmp_path, monkeypatch, engine, model, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        choose_engine(engine, gguf if model == "GGUF" else model)
    assert message in str(caught.value)
    assert "-p engine transformers" in str(caught.value)


def test_without_the_program_auto_takes_transformers(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "count_cards", lambda: 1)
    assert choose_engine("auto", Path("owner/name")) == "transformers"
