"""Problems and tokens per second that a model writes: ours in this process against plain batched ``generate``.

``python speed/decoding.py`` prints a table for the miniature; ``--json`` prints one object a row with the ratio against
each peer. Contestants, over the same weights, prompts and threads:

- ours: the loop that ``load_decoder`` chooses, rows that end leave the batch;
- generate: Hugging Face's ``generate`` on 16 prompts a time in the order of the file, padded left, each batch as long
  as its longest completion.

How many texts are the same stands beside the ratio: all of them in fp32. How far dropping ended rows helps depends
on how different the lengths are, so the miniature is a fine-tuned one where there is one, and ``--model`` wants a
model that ends its completions: a folder, or a GGUF file, whose weights are then dequantised for both. ``--chat`` asks
it in its chat template. ``--server ADDRESS`` measures a server instead, with 1, 8 and 16 requests at once.

On one thread the process's own clock counts, so that other work on the machine lengthens the minutes and not the
seconds of that clock; on several, on a card and at a server the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mammoth_utils import paths, prompts, scales
from mammoth_utils.base_models import dequantised_folder, is_gguf
from mammoth_utils.evaluation import Completion, LocalDecoder, Request, benchmarks, complete, load_decoder

PEER_BATCH = 16
AT_ONCE = (1, 8, 16)  # requests at a server
GOALS = {"miniature": 3.0, "model": 2.0}
SIZE = "1m"

Contestant = Callable[[list[Request]], list[Completion]]


def miniature() -> str:
    """Return the folder of a fine-tuned miniature, or of the untuned base where none was trained yet."""
    from mammoth_utils.training import describe

    hybrid = describe(size=SIZE, mixture="hybrid").folder
    tuned = [hybrid, *sorted(hybrid.parent.glob(f"llama-{SIZE}-*"))]
    found = (folder / "model" for folder in tuned if (folder / "record.json").is_file())
    return str(next(found, paths.miniature_models() / scales.scale(SIZE).base))


def open_model(name: str) -> str:
    """Return the folder of a model; of a GGUF file the one with its weights dequantised."""
    return str(dequantised_folder(name)) if is_gguf(name) else name


def requests_for(world: str, count: int, max_new_tokens: int, chat: bool) -> list[Request]:
    """Return what is asked: a program for problems of all sets of the miniature, or of GSM8K."""
    names = benchmarks.names(world) if world == "miniature" else ("gsm8k",)
    each = -(-count // len(names))
    problems = [problem for name in names for problem in benchmarks.load(name, "test", each)][:count]
    style = "chat_pot" if chat else "mammoth"
    texts = [prompts.build(problem, "pot", (style,)).text for problem in problems]
    return [Request(text, max_new_tokens, chat=chat) for text in dict.fromkeys(texts)]


def plain_generate(decoder: LocalDecoder) -> Contestant:
    """Return the usual loop over the decoder's own model and tokenizer."""
    import torch
    from transformers import GenerationConfig

    model, tokenizer = decoder.model, decoder.tokenizer
    tokenizer.padding_side = "left"
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(decoder.stop)

    def run(requests: list[Request]) -> list[Completion]:
        made = []
        for first in range(0, len(requests), PEER_BATCH):
            rows = [decoder._tokens(request) for request in requests[first : first + PEER_BATCH]]
            longest = max(map(len, rows))
            ids = torch.tensor([[filler] * (longest - len(row)) + row for row in rows], device=model.device)
            mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
            settings = GenerationConfig(
                max_new_tokens=requests[first].max_new_tokens, do_sample=False, pad_token_id=filler,
                eos_token_id=sorted(decoder.stop),
            )  # fmt: skip
            with torch.inference_mode():
                written = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
            for row, tokens in zip(rows, written[:, longest:].tolist(), strict=True):
                end = next((place for place, token in enumerate(tokens) if token in decoder.stop), len(tokens))
                made.append(Completion(decoder._text(row, tokens[:end]), "", end))
        return made

    return run


def measure(
    contestants: dict[str, Contestant], requests: list[Request], repeats: int, clock: Callable[[], float]
) -> dict[str, dict[str, Any]]:
    """Return problems and tokens a second of each contestant, run in turn; the median of several runs counts."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    written: dict[str, list[Completion]] = {}
    for contestant in contestants.values():
        contestant(requests[:2])  # the first calls load and tune what later ones have
    for _ in range(repeats):
        for name, contestant in contestants.items():
            started = clock()
            written[name] = contestant(requests)
            seconds[name].append(clock() - started)
    return {
        name: {
            "problems_per_s": round(len(requests) / statistics.median(times), 2),
            "tokens_per_s": round(sum(one.tokens for one in written[name]) / statistics.median(times), 1),
            "texts": [one.text for one in written[name]],
        }
        for name, times in seconds.items()
    }


def measure_here(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the row of a model in this process, with the ratio against ``generate``."""
    kind = "model" if arguments.model else "miniature"
    folder = open_model(arguments.model or miniature())
    decoder = load_decoder(folder, device=arguments.device, batch=arguments.batch, threads=arguments.threads)
    tokens = arguments.max_new_tokens or (512 if arguments.model else 200)
    world = "real" if arguments.model and os.environ.get("MAMMOTH_DATA_DIR") else "miniature"
    count = arguments.count or (64 if arguments.model else 450)
    requests = requests_for(world, count, tokens, arguments.chat)
    settings = decoder.describe()
    clock = time.process_time if settings["threads"] == 1 else time.perf_counter
    peer = f"generate, {PEER_BATCH} a batch"
    contestants = {"ours": lambda some: complete(decoder, some), peer: plain_generate(decoder)}
    speeds = measure(contestants, requests, arguments.repeats, clock)
    texts = {name: speed.pop("texts") for name, speed in speeds.items()}
    ratio = speeds["ours"]["problems_per_s"] / speeds[peer]["problems_per_s"]
    same = sum(one == other for one, other in zip(texts["ours"], texts[peer], strict=True))
    yield {
        "name": "decoding", "model": kind, "parameters": settings["parameters"], "dtype": settings["dtype"],
        "device": settings["device"], "threads": settings["threads"], "engine": settings["engine"],
        "batch": settings["batch"], "problems": len(requests), **speeds["ours"], "goal": GOALS[kind],
        "same_texts": round(same / len(requests), 4), "peers": {peer: {**speeds[peer], "ratio": round(ratio, 2)}},
    }  # fmt: skip


def measure_server(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of requests at once at a server; its peer is one request at a time."""
    world = "real" if os.environ.get("MAMMOTH_DATA_DIR") else "miniature"
    requests = requests_for(world, arguments.count or 64, arguments.max_new_tokens or 512, arguments.chat)
    slowest = 0.0
    for at_once in AT_ONCE:
        decoder = load_decoder(arguments.server, batch=at_once)
        contestants = {"ours": lambda some, decoder=decoder: complete(decoder, some)}
        speed = measure(contestants, requests, arguments.repeats, time.perf_counter)["ours"]
        del speed["texts"]
        slowest = slowest or speed["problems_per_s"]
        peers = {"one request at a time": {"ratio": round(speed["problems_per_s"] / slowest, 2)}}
        yield {"name": "decoding", "model": "server", "at_once": at_once, "problems": len(requests), **speed,
               "peers": peers}  # fmt: skip


def main() -> None:
    """Print the table, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--model", default="", help="a folder, a hub name or a GGUF file in place of the miniature")
    parser.add_argument("--server", default="", help="the address of a server, such as http://localhost:8000/v1")
    parser.add_argument("--chat", action="store_true", help="ask in the model's chat template")
    parser.add_argument("--count", type=int, default=0, help="problems; 0 is 450, or 64 for another model or a server")
    parser.add_argument("--max-new-tokens", type=int, default=0, help="0 is 200, or 512 for another model or a server")
    parser.add_argument("--batch", type=int, default=0, help="rows that ours decodes together; 0 chooses")
    parser.add_argument("--threads", type=int, default=0, help="0 is one for the miniature, else all cores")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median counts")
    arguments = parser.parse_args()
    if arguments.server and arguments.model:
        parser.error("--server and --model exclude each other: a server has its own model")
    if not arguments.json:
        print(f"{'':<32}{'problems/s':>12}{'tokens/s':>10}   ratio against")
    for row in measure_server(arguments) if arguments.server else measure_here(arguments):
        if arguments.json:
            print(json.dumps(row))
            continue
        title = f"server, {row['at_once']} at once" if arguments.server else f"{row['model']}, {row['engine']}"
        print(f"{title:<32}{row['problems_per_s']:>12.2f}{row['tokens_per_s']:>10.1f}   ", end="")
        print(", ".join(f"{peer['ratio']:g} x {name}" for name, peer in row["peers"].items()))
        if not arguments.server:
            words = f"{row['problems']} problems, {row['threads'] or 'no'} threads, {row['dtype']}"
            print(f"{words}; {100 * row['same_texts']:.1f} % of the texts are the same; goal {row['goal']:g}")


if __name__ == "__main__":
    main()
