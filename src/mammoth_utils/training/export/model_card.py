"""The card of a trained model in Hugging Face's form: what was trained, on what, how to ask it, whose licences bind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from mammoth_utils import licences, prompts, records
from mammoth_utils.base_models import HUB_NAME
from mammoth_utils.training.start_model import label_of
from mammoth_utils.vocabulary import check_known

RELEASE = "TIGER-Lab/MathInstruct"
PAPER = "*MAmmoTH: Building Math Generalist Models through Hybrid Instruction Tuning* (arXiv 2309.05653)"
CARD, LICENCE, RECORD, GGUF, PROMPT = "README.md", "LICENSE.md", "record.json", "GGUF.md", "prompt.txt"
QUESTION = "Tom has 12 apples and buys 30 more. How many apples does he have?"
KINDS = ("model", "adapter")
# They ask a model for a notice at most, so that the other one's terms are those of the whole.
PERMISSIVE = ("mit", "apache-2.0", "odc-by")


def hub_base(record: dict[str, Any]) -> str:
    """Return the hub name of the base that a run trained; empty where it was a folder or the miniature's."""
    name = record["parameters"]["base"]
    return name if HUB_NAME.fullmatch(name) and record["world"] != "miniature" and not Path(name).is_dir() else ""


def write_card(folder: Path, record: dict[str, Any]) -> list[Path]:
    """Write the card and the licences into each folder that a run saved, and return the files."""
    return [
        records.write_text(Path(folder) / kind / name, text)
        for kind in record["model"]["folders"]
        for name, text in card_files(record, kind).items()
    ]


def card_files(record: dict[str, Any], kind: str, name: str = "", base: str = "") -> dict[str, str]:
    """Return the card, the licences, the record, and the way to a GGUF with a prompt, as they go with a model, by file.

    Args:
        kind: ``model`` or ``adapter``.
        name: ``owner/name`` on the hub, for the lines that load it; the run's folder in the project otherwise.
        base: Hub name of the base, where the run trained one from a folder.

    Raises:
        ValueError: If the kind is unknown.
    """
    check_known("kind", kind, KINDS)
    base = base or hub_base(record)
    shown = public_record(record, base)
    name = name or f"runs/train/{record['name']}/{kind}"
    return {
        CARD: _card(shown, kind, name, base),
        GGUF: _gguf(shown, kind, name),
        PROMPT: prompts.alpaca(prompts.pot_instruction(QUESTION)),
        LICENCE: _licences(shown, base),
        RECORD: json.dumps(shown, indent=1, ensure_ascii=False) + "\n",
    }


def public_record(record: dict[str, Any], base: str = "") -> dict[str, Any]:
    """Return a record without what belongs to one machine: the base by its name, and no path of a folder."""
    shown, adapter = base or label_of(record["parameters"]["base"]), record["parameters"].get("adapter")
    own = {"adapter": label_of(adapter)} if adapter else {}
    return {
        "schema": records.SCHEMA,
        **record,
        "parameters": {**record["parameters"], "base": shown, **own},
        "base": {**record["base"], "name": shown},
        "merging": {key: value for key, value in (record.get("merging") or {}).items() if key != "command"},
    }


def _card(record: dict[str, Any], kind: str, name: str, base: str) -> str:
    parameters, losses = record["parameters"], record["losses"]
    sources = record["dataset"]["encoding"]["sources"]
    mini = record["world"] == "miniature"
    lines = [
        "---",
        yaml.safe_dump(_front(record, kind, base), sort_keys=False, allow_unicode=True).rstrip("\n"),
        "---",
        "",
        f"# {name.split('/')[-1] if name.count('/') == 1 else record['name']}",
        "",
        f"`{parameters['base']}` fine-tuned on rationales in prose (CoT) and in programs (PoT), after {PAPER}. "
        + _summary(record, kind),
        "",
    ]
    if mini:
        lines += ["**A miniature**: under four million weights, trained on generated problems so that the whole of the "
                  "paper's argument runs on a laptop. It answers nothing outside that world.", ""]  # fmt: skip
    lines += ["## How to ask it", "", *_asking(record, kind, name, base)]
    lines += ["", "## What was trained, on what", "", "| | |", "|---|---|"]
    rows = {
        "weights trained": f"{record['model']['trained']:,} of {record['model']['parameters']:,}"
                           f" ({record['model']['trainable_share']:.2%})",
        "method": parameters["method"] + _adapter(parameters),
        **({"went on from": f"the adapter of {record['adapter']['name']}, SHA-256 `{record['adapter']['sha256']}`"}
           if "adapter" in record else {}),
        "data": f"{record['dataset']['name']}, mixture {record['dataset']['mixture']}: "
                f"{record['dataset']['encoding']['kept']:,} of {record['dataset']['rows']:,} rows, "
                f"SHA-256 `{record['dataset']['sha256'][:16]}…`",
        "optimiser": f"{record['steps']:,} steps of {record['packing']['examples_per_step']:.1f} examples, AdamW, peak "
                     f"rate {parameters['learning_rate']:g}, cosine, {parameters['warmup']:.0%} warm-up, seed "
                     f"{parameters['seed']}",
        "tokens": f"{record['tokens']['seen']:,} seen; of the mixture's {record['tokens']['mixture']:,} the loss reads "
                  f"{record['tokens']['supervised']:,}",
        "loss, nats a token": f"{losses['first']:.3f} at first, {losses['last']:.3f} over the last tenth of the steps",
        **({"loss on held-out rows": f"{record['validation']['first']:.3f} before the first update, "
            f"{record['validation']['last']:.3f} at the end ({record['validation']['rows']:,} rows)"}
           if "validation" in record else {}),
        "weights' SHA-256": f"`{record['model']['hash']}` ({record['model']['folder']})",
    }  # fmt: skip
    lines += [f"| {key} | {value} |" for key, value in (rows | _proof(record, kind)).items()]
    lines += ["", "| source | rows |", "|---|---|"]
    lines += [f"| {source} | {count:,} |" for source, count in sources.items()]
    lines += ["", "## How to evaluate it", "", *_evaluating(record, kind, name)]
    lines += ["", "## Limits", "", *_limits(record)]
    lines += ["", "## Licences", "", *_licences(record, base).splitlines()[2:]]
    lines += ["", f"The whole record, with versions, seeds and settings, is `{RECORD}` beside this file.", ""]
    return "\n".join(lines)


def _proof(record: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the rows that say how the files were compared with the model that was trained."""
    checks, merging, rows = record.get("drift") or {}, record.get("merging") or {}, {}
    if kind == "model" and merging.get("hash"):
        rows["merged weights' SHA-256"] = f"`{merging['hash']}`"
        if merging.get("checked"):
            rows["merged"] = (f"{len(merging['checked'])} matrices, drawn by seed, computed once more: each is base + "
                              "scale · B A but for the rounding of its type")  # fmt: skip
    if checks.get("tensors"):
        rows["saved"] = f"each of the {checks['tensors']:,} trained tensors read back and equal to the net's in memory"
        rows["saved"] += f"; {checks['not_done']}" if checks.get("not_done") else ""
    if f"{kind}_nats" in checks:
        how = "losses in memory | differ from those of" if checks.get("not_done") else "loaded again | differs from"
        key, differs = how.split(" | ")
        rows[key] = (f"{differs} the net that was trained by {checks[f'{kind}_nats']:.1e} nats a token on "
                     f"{checks['examples']} training examples")  # fmt: skip
    return rows


def _front(record: dict[str, Any], kind: str, base: str) -> dict[str, Any]:
    """Return the block that the hub reads."""
    tag = licence_tag(record, base)
    front: dict[str, Any] = {"language": ["en"]}
    front |= {"license": tag} if tag != "other" else {
        "license": "other", "license_name": "inherited-from-base-and-data", "license_link": LICENCE}  # fmt: skip
    front["library_name"] = "peft" if kind == "adapter" else "transformers"
    front["pipeline_tag"] = "text-generation"
    if base:
        front |= {"base_model": base, "base_model_relation": "adapter" if kind == "adapter" else "finetune"}
    if record["dataset"]["name"] == "release":
        front["datasets"] = [RELEASE]
    tags = ["math", "chain-of-thought", "program-of-thought", record["parameters"]["method"]]
    front["tags"] = [tag for tag in tags if tag != "full"]
    return front


def _of_data(record: dict[str, Any]) -> dict[str, int]:
    """Count the rows under each licence: those of the files that a rebuilt source was read from go before Table 1's."""
    data = record["dataset"]
    return licences.of_rows(data["encoding"]["sources"], data.get("files"))


def licence_tag(record: dict[str, Any], base: str) -> str:
    """Return the hub's tag of the one licence that asks for more than a notice, else ``other``.

    The miniature's base and text are the project's own.
    """
    if record["world"] == "miniature":
        return licences.TERMS[licences.OURS].tag
    data = _of_data(record)
    tags = [licences.of_base(base).tag, *(licences.TERMS[name].tag for name in data)]
    binding = list(dict.fromkeys(tag for tag in tags if tag not in PERMISSIVE))
    if binding == ["unknown"] or len(binding) > 1:
        return "other"
    return binding[0] if binding else tags[0]


def _licences(record: dict[str, Any], base: str) -> str:
    """Return what binds those who pass the model on, from its base and from its data."""
    lines = ["# Licences", ""]
    if record["world"] == "miniature":
        lines += [f"Base model and training text are made by the project's own code and stand under {licences.OURS}: "
                  "none of the licences of the sources whose names they carry binds this model."]  # fmt: skip
        return "\n".join([*lines, ""])
    data = _of_data(record)
    lines += ["| from | licence | rows | to pass a model on |", "|---|---|---|---|"]
    terms = licences.of_base(base)
    lines += [f"| the base, {record['parameters']['base']} | {terms.tag} | | {terms.model} |"]
    lines += [f"| the data | {name} | {count:,} | {licences.TERMS[name].model} |" for name, count in data.items()]
    lines += ["", "Rationales that a commercial model wrote carry the terms of who served it besides; the paper's "
              "Table 1 says whose each source is.", ""]  # fmt: skip
    lines += ["This is a list of what base and sources say, not legal advice.", ""]
    return "\n".join(lines)


def _summary(record: dict[str, Any], kind: str) -> str:
    method = record["parameters"]["method"]
    if kind == "adapter":
        on = " on the base in nf4, and belongs there or into that base dequantised" if method == "qlora" else ""
        return f"This is the {method} adapter alone, trained{on}."
    if method == "full":
        return "All weights were trained."
    into = "the dequantised 4-bit base, the net that was trained" if method == "qlora" else "the base"
    return f"This is a {method} adapter merged into {into}, in 16 bit."


def _adapter(parameters: dict[str, Any]) -> str:
    if parameters["method"] == "full":
        return f", {parameters['master_weights']} master weights"
    base = ", base in nf4 with double quantisation" if parameters["method"] == "qlora" else ""
    targets = parameters.get("lora_targets", "all-linear").replace("all-linear", "all linear layers").replace(",", ", ")
    return (f" on {targets}, rank {parameters['lora_rank']}, alpha {parameters['lora_alpha']:g}, dropout "
            f"{parameters['lora_dropout']:g}{base}")  # fmt: skip


def _asking(record: dict[str, Any], kind: str, name: str, base: str) -> list[str]:
    """Return the template to the byte, the trigger, and lines that run as they stand."""
    loads = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"name = {name!r}",
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        'model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")',
    ]
    if kind == "adapter":
        loads[0] = "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer"
        loads[-1] = 'model = AutoPeftModelForCausalLM.from_pretrained(name, dtype="auto")'
        if record["parameters"]["method"] == "qlora":  # on the base in 4 bit, as it was trained
            computed = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[record["environment"]["dtype"]]
            loads[0] = loads[0].replace("AutoTokenizer", "AutoTokenizer, BitsAndBytesConfig")
            loads[-1:] = [
                "nf4 = BitsAndBytesConfig(",
                '    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,',
                f'    bnb_4bit_compute_dtype="{computed}",',
                ")",
                f'model = AutoPeftModelForCausalLM.from_pretrained(name, dtype="{computed}", quantization_config=nf4)',
                "for layer in model.modules():  # on a CPU the first pass would repack the 4-bit weights",
                '    if hasattr(layer, "support_avx512bf16_for_cpu"):',
                "        layer.support_avx512bf16_for_cpu = False",
            ]
    return [
        "One template, exact to the byte: nothing follows `### Response:`, not even a space. A program is asked for by "
        f"`{prompts.POT_TRIGGER!r}` right behind the question, with its leading space; without it the model reasons in "
        "prose. Decode greedily (`temperature=0` on a server); the completion ends with the end-of-sequence token.",
        "",
        "```python",
        *loads,
        f"template = {prompts.ALPACA!r}",
        f"trigger = {prompts.POT_TRIGGER!r}",
        f"question = {QUESTION!r}",
        'asked = tokenizer(template.format(instruction=question + trigger), return_tensors="pt").to(model.device)',
        "written = model.generate(**asked, max_new_tokens=512, do_sample=False)",
        "print(tokenizer.decode(written[0, asked.input_ids.shape[1] :], skip_special_tokens=True))",
        "```",
        "",
        "A completion with the trigger is a Python program: run it in a sandbox only, and read what it prints. Where "
        "it prints nothing, ask again without the trigger; multiple choice is asked without it, and the response "
        f"begins with `{prompts.CHOICE_PREFILL!r}`.",
        *([f"\nServers read the folder as it stands: `vllm serve {name}`; llama.cpp's converter makes a GGUF of it, by "
           f"the lines in [{GGUF}]({GGUF}); [{PROMPT}]({PROMPT}) is a prompt to the byte."] if kind == "model" else
          [f"\nA server loads it beside its base: `vllm serve {base or 'BASE'} --enable-lora --lora-modules "
           f"{name.split('/')[-1]}={name}`. [{GGUF}]({GGUF}) says how to make a GGUF; [{PROMPT}]({PROMPT}) is a prompt "
           "to the byte."]),
    ]  # fmt: skip


def _gguf(record: dict[str, Any], kind: str, name: str) -> str:
    """Return the lines that make a GGUF by llama.cpp's own converter, and that ask it as it was trained.

    The options are those of llama.cpp's documentation (tools/quantize and tools/completion, read in November 2026).
    """
    folder, stem = (name.split("/")[-1] if name.count("/") == 1 else name), record["name"]
    prompt = f"{folder}/{PROMPT}"
    lines = ["# GGUF", ""]
    if kind == "adapter":
        folder = f"runs/train/{stem}/model"
        lines += ["This is an adapter alone: merge it first, in the project's folder. Only the merged model is the net "
                  "that was trained.", "", "```", "python -m mammoth_utils.training.export.merge_adapter "
                  f"runs/train/{stem}", "```", ""]  # fmt: skip
        prompt = f"{folder}/{PROMPT}"
    if record["world"] == "miniature":
        lines += ["llama.cpp recognises a tokenizer by a list of known ones, and the miniature's is its own: the "
                  "converter is expected to refuse it. The lines are those of a real scale.", ""]  # fmt: skip
    lines += [
        "The first line is typed beside a checkout of llama.cpp with its requirements installed, the others need its "
        "programs.",
        "", "```",
        f"python llama.cpp/convert_hf_to_gguf.py {folder} --outfile {stem}.gguf --outtype auto",
        f"llama-quantize {stem}.gguf {stem}-Q4_K_M.gguf Q4_K_M",
        f"llama-completion -m {stem}-Q4_K_M.gguf -f {prompt} --no-escape --temp 0 -n 512 --no-conversation "
        "--no-display-prompt",
        "```", "",
        f"`{PROMPT}` is the prompt to the byte, without a line break at its end: put another question in the place of "
        f"`{QUESTION}`, and leave `{prompts.POT_TRIGGER!r}` behind it for a program, or take that away for prose. "
        "`--no-escape` keeps a question's backslashes, `--no-conversation` keeps llama.cpp from a chat template, and "
        "`--temp 0` takes the likeliest token. Four bits are another model than the graded one: grade it anew.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _evaluating(record: dict[str, Any], kind: str, name: str) -> list[str]:
    parameters = record["parameters"]
    how, place = "The project's page asks the benchmarks' questions, program first, and grades under two rules:", name
    if kind == "adapter":
        into = "its base, quantised to nf4 and dequantised again" if parameters["method"] == "qlora" else "its base"
        how = (f"Merge it into {into} (`python -m mammoth_utils.training.export.merge_adapter` does so for a run's "
               "folder) and give the project's page that model, which is then graded under two rules:")  # fmt: skip
        place = f"runs/train/{record['name']}/model"
    line = (f"papermill notebooks/evaluate.ipynb runs/evaluate-{record['name']}.ipynb -p size {parameters['size']} "
            f"-p family {parameters['family']} -p model {place}")  # fmt: skip
    return [how, "", "```", line, "```"]


def _limits(record: dict[str, Any]) -> list[str]:
    limits = [
        "- A training loss says how well rationales are imitated, not whether a problem is solved; no accuracy stands "
        "in this card.",
        "- English mathematics up to the level of its sources; anything else is the base model's, with its biases.",
        "- It can be wrong in fluent prose and in programs that run: check what matters.",
        f"- One seed ({record['parameters']['seed']}): another one gives another model.",
    ]
    if record["parameters"]["method"] != "full":
        limits.append("- The paper trained all weights; an adapter is a cheaper relative of that, not the same model.")
    left = record["dataset"]["rows"] - record["dataset"]["encoding"]["kept"]
    if left:
        limits.append(f"- {left:,} rows were left out, most of them longer than {record['parameters']['max_length']} "
                      "tokens: long solutions are rarer here than in the data.")  # fmt: skip
    return limits
