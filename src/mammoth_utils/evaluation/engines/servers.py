"""Engines as servers that an evaluation starts and ends itself: vLLM and llama.cpp, where their programs are installed.

Neither is a dependency: ``vllm`` or ``llama-server`` is looked for on the PATH, and may live in an environment of its
own. What it writes stays in ``server.log`` of the evaluation's folder.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models import is_gguf, read_config
from mammoth_utils.evaluation.engines.endpoint import EndpointError, is_endpoint
from mammoth_utils.processors import count_cores
from mammoth_utils.vocabulary import check_known

ENGINES = ("auto", "transformers", "endpoint", "vllm", "llama.cpp")
PROGRAMS = {"vllm": "vllm", "llama.cpp": "llama-server"}
# Requests at once. llama.cpp reserves the whole context of each before it starts; vLLM lets those wait that do not fit.
PARALLEL = {"vllm": 256, "llama.cpp": 8}
CONTEXT = 4096  # tokens of a request, its prompt and its completion together
LOG = "server.log"
START_TIMEOUT_S = 1800.0
GRACE_S = 15.0  # from SIGTERM to SIGKILL
SAY_EVERY_S = 30.0
POLL_S = 0.1
DEATH_S = 3.0  # a connection breaks a moment before its server's process has ended
LAST_LINES = 5
WITHOUT = "-p engine transformers decodes without it"
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values that vLLM's --max-lora-rank takes
SERVER_KEYS = ("LLAMA_API_KEY", "VLLM_API_KEY")  # would make the server ask for a key

# Starts the server, hands SIGTERM on to it, and ends with its status, 128 and the number of a signal that ended it.
# It watches the process that wanted the server: without that one, whatever ended it, nobody would stop the server, so
# it ends its whole process group, in which vLLM has further processes that hold the cards.
_GUARD = """
import os, signal, subprocess, sys, threading, time
server = subprocess.Popen(sys.argv[2:])
signal.signal(signal.SIGTERM, lambda *_: server.terminate())
def watch():
    while os.getppid() == int(sys.argv[1]):
        time.sleep(0.3)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
status = server.wait()
sys.exit(status if status >= 0 else 128 - status)
"""


class ServerDiedError(EndpointError):
    """A server that the evaluation started has ended; the message has its status, its log and its last lines."""


def choose_engine(
    engine: str, model: str | Path, adapter: str | Path = "", miniature: bool = False, dequantise: bool = False
) -> str:
    """Return the engine that decodes a model: what ``"auto"`` means, or the one that was asked for.

    ``"auto"`` takes the endpoint for an address and llama.cpp for a GGUF file. For any other model it takes vLLM where
    its program is on the PATH and a CUDA card is visible, else transformers; also transformers for an adapter and for a
    model of the miniature.

    Args:
        model: A folder, a hub name, a GGUF file or an address.
        adapter: Folder of a LoRA adapter of that model.
        dequantise: Whether the adapter was trained on the 4-bit base.

    Raises:
        ValueError: If the engine is unknown, or engine, model and adapter do not go together.
        FileNotFoundError: If a GGUF file or the engine's program is not there.
    """
    check_known("engine", engine, ENGINES)
    if is_endpoint(model):
        if engine not in ("auto", "endpoint"):
            raise ValueError(f"the address {model} is decoded by its server: expected -p engine auto or endpoint, "
                             f"got {engine!r}")  # fmt: skip
        if adapter:
            raise ValueError(f"an endpoint serves its own weights; start it with the adapter {adapter} merged")
        return "endpoint"
    if engine == "endpoint":
        raise ValueError(f"engine 'endpoint' expects an address, such as -p model http://host:8000/v1, got {model}; "
                         f"other engines: {', '.join(name for name in ENGINES if name != engine)}")  # fmt: skip
    if is_gguf(model):
        return _choose_for_gguf(engine, Path(model).expanduser(), adapter)
    if engine == "llama.cpp":
        raise ValueError(_explain_not_gguf(Path(model).expanduser()))
    if engine == "auto":
        servable = not miniature and not adapter and shutil.which(PROGRAMS["vllm"]) and count_cards()
        return "vllm" if servable else "transformers"
    if engine == "vllm":
        if dequantise:
            raise ValueError(
                f"the adapter {adapter} was trained on the 4-bit base, and vLLM would add it to the base in 16 bit: "
                "merge it (python -m mammoth_utils.training.export.merge_adapter runs/train/NAME) and give the merged "
                "model, or take -p engine transformers"
            )
        _program("vllm")
    return engine


def _choose_for_gguf(engine: str, file: Path, adapter: str | Path) -> str:
    if not file.is_file():
        raise FileNotFoundError(f"there is no GGUF file {file}")
    if engine == "vllm":
        raise ValueError(f"{file} is a GGUF file: expected -p engine auto, llama.cpp or transformers, got {engine!r}")
    if adapter:
        raise ValueError(f"the adapter {adapter} cannot be added to the GGUF file {file}: give the model that the file "
                         "was made from, or merge the adapter into that model and convert the result")  # fmt: skip
    if engine == "transformers":
        return engine
    _program("llama.cpp")
    return "llama.cpp"


def _explain_not_gguf(model: Path) -> str:
    """Say what engine ``llama.cpp`` needs in place of a model that is no GGUF file."""
    inside = sorted(file.name for file in model.glob("*.gguf")) if model.is_dir() else []
    if inside:
        return f"engine 'llama.cpp' expects a GGUF file, got a folder; give one of its files: {', '.join(inside)}"
    return (
        f"engine 'llama.cpp' expects a GGUF file, got {model}; convert it (python llama.cpp/convert_hf_to_gguf.py "
        f"{model} --outfile {model.name}.gguf) and give that file, or take -p engine auto, transformers or vllm"
    )


def _program(engine: str) -> str:
    """Return the path of an engine's program, or raise FileNotFoundError that says how to get it."""
    path = shutil.which(PROGRAMS[engine])
    if path is not None:
        return path
    if engine == "vllm":
        raise FileNotFoundError(
            "engine 'vllm' needs the program vllm on the PATH, and it is not there; install it into an environment of "
            "its own (python -m venv vllm-env && vllm-env/bin/pip install vllm), put vllm-env/bin at the end of the "
            "PATH, or take -p engine transformers"
        )
    raise FileNotFoundError(
        "a GGUF file is decoded by llama.cpp, whose program llama-server is not on the PATH; install a package of "
        "llama.cpp (conda-forge, Homebrew and others have one) or build it (cmake -B build && cmake --build build "
        "--target llama-server), or take -p engine transformers, which reads the file too (`pip install gguf`)"
    )


def count_cards() -> int:
    """Return how many CUDA cards this process may use, by ``nvidia-smi`` and ``CUDA_VISIBLE_DEVICES``."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=60)
    cards = sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return cards
    # CUDA reads the list up to its first entry that names no card.
    named = itertools.takewhile(lambda entry: entry.strip() not in ("", "-1"), chosen.split(","))
    return min(cards, len(list(named)))


def describe_server(engine: str) -> str:
    """Return the line in which a server's program says its version, such as ``version: 6500 (a1b2c3d)``."""
    answer = subprocess.run([_program(engine), "--version"], capture_output=True, text=True, timeout=300)
    lines = [line.strip() for line in f"{answer.stderr}\n{answer.stdout}".splitlines() if line.strip()]
    versions = [line for line in lines if re.match(r"version\b|v?\d+\.\d+", line)]
    if answer.returncode or not lines:
        return f"not said: {PROGRAMS[engine]} --version ended with exit status {answer.returncode}"
    return versions[-1] if versions else lines[-1]


def server_command(
    engine: str,
    model: str | Path,
    port: int,
    name: str,
    adapter: str | Path = "",
    context: int = CONTEXT,
    parallel: int = 0,
    threads: int = 0,
) -> list[str]:
    """Return the command that serves a model on this machine under a name; arguments are those of ``serve``.

    The options were read in llama.cpp's and vLLM's documentation in November 2026. Both would take a penalty on
    repeated text from the model's files (``generation_config.json``, the GGUF's metadata), which greedy decoding
    excludes.
    """
    parallel, place = parallel or PARALLEL[engine], ["--host", "127.0.0.1", "--port", str(port)]
    if engine == "llama.cpp":
        command = [_program(engine), "-m", str(Path(model).expanduser()), *place, "--alias", name]
        # -c is the sum over the slots.
        command += ["-np", str(parallel), "-c", str(parallel * context), "-t", str(threads or count_cores())]
        return [*command, "--repeat-penalty", "1.0", "--no-webui", *(["-ngl", "99"] if count_cards() else [])]
    config = read_config(str(model)) or {}
    limit = config.get("max_position_embeddings")
    if limit and not config.get("rope_scaling"):  # vLLM refuses a longer context than the model's
        context = min(context, limit)
    command = [_program(engine), "serve", str(model), *place, "--dtype", "auto", "--generation-config", "vllm"]
    command += ["--max-model-len", str(context), "--max-num-seqs", str(parallel)]
    if (cards := _cards_together(config, count_cards())) > 1:
        command += ["--tensor-parallel-size", str(cards)]
    if not adapter:
        return [*command, "--served-model-name", name]
    command += ["--served-model-name", f"{name}-base", "--enable-lora", "--lora-modules", f"{name}={adapter}"]
    return [*command, "--max-lora-rank", str(_lora_rank(Path(adapter)))]


def _cards_together(config: dict[str, Any], cards: int) -> int:
    """Return the largest power of two of cards among which vLLM can divide a model's attention heads."""
    heads = config.get("num_attention_heads")
    if not heads:
        return 1
    stored = config.get("num_key_value_heads") or heads
    powers = [1 << exponent for exponent in range(max(cards, 1).bit_length())]
    return max(n for n in powers if heads % n == 0 and (stored % n == 0 or n % stored == 0))


def _lora_rank(adapter: Path) -> int:
    """Return the smallest limit of vLLM that an adapter's rank is within."""
    config = records.read_json(adapter / "adapter_config.json")
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    fitting = [limit for limit in LORA_RANKS if rank <= limit]
    if not fitting:
        raise ValueError(f"vLLM serves LoRA adapters up to rank {LORA_RANKS[-1]}, and {adapter} has rank {rank}; merge "
                         "it into its base, or take -p engine transformers")  # fmt: skip
    return fitting[0]


@contextlib.contextmanager
def serve(
    engine: str,
    model: str | Path,
    folder: Path,
    adapter: str | Path = "",
    *,
    name: str = "",
    context: int = CONTEXT,
    parallel: int = 0,
    threads: int = 0,
    start_timeout_s: float = START_TIMEOUT_S,
    say: Callable[[str], None] = print,
) -> Iterator[str]:
    """Serve a model while the block runs, and yield its address for an ``EndpointDecoder``.

    The server ends with the block and with this process, however that ends.

    Args:
        engine: ``"vllm"`` or ``"llama.cpp"``.
        model: A GGUF file for llama.cpp; a folder or a hub name for vLLM.
        folder: Where ``server.log`` is kept; a later server writes behind an earlier one.
        adapter: Folder of a LoRA adapter of the model; for vLLM alone.
        name: What the server calls the model; its file's, folder's or hub name if empty.
        context: Tokens of a request at most, its prompt and its completion together.
        parallel: Requests at once; 0 takes ``PARALLEL``. llama.cpp reserves the memory of all of them at its start:
            half a megabyte a token for a Llama 2 of 7B, so 16 GB for 8 requests of 4,096 tokens. Take fewer where that
            does not fit.
        threads: Threads of llama.cpp; 0 takes the cores that this process may use. Run nothing beside it: with more
            threads than free cores it was measured to fall to one token a second, since each waits for all others.
        start_timeout_s: Seconds until it must be ready; a server that ends earlier is noticed at once.
        say: Called with a line at the start, and every ``SAY_EVERY_S`` while the model is loaded.

    Raises:
        ServerDiedError: If the server ends before it is ready, or the block raises EndpointError once it has ended.
        EndpointError: If it is not ready in time.
    """
    check_known("engine for a server", engine, tuple(PROGRAMS))
    name = re.sub(r"[^\w./+-]+", "-", name or _own_name(model))  # llama.cpp reads a comma as two names
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = server_command(engine, model, port, name, adapter, context, parallel, threads)
    server = _Server(command, port, folder / LOG)
    try:
        server.wait_until_ready(name, start_timeout_s, say)
        try:
            yield f"http://127.0.0.1:{port}/v1#{name}"
        except EndpointError as error:
            if server.has_ended(DEATH_S):
                raise server.death("while it was asked") from error
            raise
    finally:
        server.stop()


def _own_name(model: str | Path) -> str:
    path = Path(model).expanduser()
    if is_gguf(path):
        return path.stem
    return path.resolve().name if path.is_dir() else str(model)


class _Server:
    """A server's process, under its guard, and its log."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.program, self.log, self.url = Path(command[0]).name, log, f"http://127.0.0.1:{port}"
        environment = {key: value for key, value in os.environ.items() if key not in SERVER_KEYS}
        # llama.cpp would keep the contexts of answered requests, up to 8 GB, in case that one of them comes again.
        environment = {"LLAMA_ARG_CACHE_RAM": "0", "PYTHONUNBUFFERED": "1"} | environment
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} $ {shlex.join(command)}\n".encode())
            file.flush()
            self._begun = file.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command], env=environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        # Never through a proxy: none reaches what listens on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def wait_until_ready(self, name: str, timeout_s: float, say: Callable[[str], None]) -> None:
        """Return once the server serves a model of that name."""
        say(f"{self.program} loads {name}; it writes to {paths.relative_to_root(self.log)}")
        begun = said = time.monotonic()
        while self._get("/health") is None:
            now = time.monotonic()
            if self.has_ended():
                raise self.death(f"before it was ready ({WITHOUT})")
            if now - begun > timeout_s:
                raise EndpointError(
                    f"{self.program} was not ready within {timeout_s:.0f} s ({WITHOUT}); {self._shown_log()}"
                )
            if now - said >= SAY_EVERY_S:
                last = self._last_lines(1)
                say(f"{self.program} loads {name}, {now - begun:.0f} s so far{': ' + last[0] if last else ''}")
                said = now
            time.sleep(POLL_S)
        listed = self._get("/v1/models") or b"{}"
        if self.has_ended():
            raise self.death(f"before it was ready ({WITHOUT})")
        names = [entry["id"] for entry in json.loads(listed).get("data", [])]
        if name not in names:
            raise EndpointError(f"expected {self.program} to serve {name} at {self.url}, and what answers there serves "
                                f"{', '.join(names) or 'no model'}; {self._shown_log()}")  # fmt: skip

    def _get(self, path: str) -> bytes | None:
        """Return what the server answers, or None unless it answers with status 200."""
        try:
            with self._opener.open(self.url + path, timeout=10) as answer:
                return answer.read()
        except (OSError, http.client.HTTPException):  # nothing listens yet, or 503: the model is being loaded
            return None

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Return whether the process has ended, at the latest after some seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(within_s)
        return self._guard.returncode is not None

    def death(self, when: str) -> ServerDiedError:
        """Return the error that says how and when the server ended."""
        status = self._guard.returncode
        number = -status if status < 0 else status - 128
        how = f"ended with exit status {status}"
        if number in list(signal.Signals):
            how = f"was ended by {signal.Signals(number).name}"
            how += " (often because the memory is full)" if number == signal.SIGKILL else ""
        return ServerDiedError(f"{self.program} {how} {when}; {self._shown_log()}")

    def _shown_log(self) -> str:
        lines = self._last_lines(LAST_LINES)
        tail = "it wrote nothing" if not lines else "its last lines:\n" + "\n".join(f"  {line}" for line in lines)
        return f"its log is {paths.relative_to_root(self.log)}, {tail}"

    def _last_lines(self, count: int) -> list[str]:
        """Return the last lines of this server's part of the log that are not empty."""
        with open(self.log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._begun, size - 65_536))
            text = file.read().decode("utf8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-count:]

    def stop(self) -> None:
        """End the server, and whatever processes it leaves."""
        try:
            if not self.has_ended():
                self._guard.terminate()
                self.has_ended(GRACE_S)
        finally:
            # macOS refuses a group whose last process has ended and was not yet fetched.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
