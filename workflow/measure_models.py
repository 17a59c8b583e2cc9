"""Trains and evaluates the models of a grid, which the claims compare, in one process that keeps its imports.

Two such processes work side by side on the same grid: each takes the next model that is free, so neither waits for the
other. A model whose record exists is read, an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import inspect
import os
import time
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from stages import ROOT

from mammoth_utils import pages, parent_watch, paths, records
from mammoth_utils.scales import scale
from mammoth_utils.vocabulary import EQUAL_STEPS, PROMPT_CHOICE, UNTUNED, RunName, evaluation_name

MODEL = ("size", "family", "mixture", "method", "seed")
CHOSEN = "chosen"  # in the place of a base's prompt: the one that does best on training questions
QUESTIONS = 100


def read_grid(file: Path) -> list[dict[str, Any]]:
    """Return the models of a grid file: arguments of ``training.describe``, and under ``evaluate`` those of scoring.

    An entry with ``seeds`` stands for one model each, whose seed goes where its name has ``{seed}``.

    Raises:
        ValueError: If the file is no list of models, or a model lacks its size or has an unknown key.
    """
    grid = yaml.safe_load(file.read_text(encoding="utf8"))
    models = grid.get("models") if isinstance(grid, dict) else grid
    if not isinstance(models, list) or not models or not all(isinstance(model, dict) for model in models):
        raise ValueError(
            f"{file}: expected a list of models such as {{size: 1m, mixture: hybrid}}, or `models:` with one"
        )
    from mammoth_utils.training import describe

    known = {*inspect.signature(describe).parameters, "evaluate", "seeds"} - {"gpus"}
    for number, model in enumerate(models, 1):
        if unknown := sorted(set(model) - known):
            raise ValueError(f"{file}, model {number}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "size" not in model:
            raise ValueError(f"{file}, model {number}: no size")
    return [single for model in models for single in _each_seed(model)]


def _each_seed(model: dict[str, Any]) -> list[dict[str, Any]]:
    if "seeds" not in model:
        return [model]
    rest = {key: value for key, value in model.items() if key != "seeds"}
    names = [{"name": model["name"].format(seed=seed)} if "name" in model else {} for seed in model["seeds"]]
    return [{**rest, "seed": seed, **name} for seed, name in zip(model["seeds"], names, strict=True)]


def run_name(model: dict[str, Any]) -> str:
    """Return the name of a model's training run, or of its untuned base; its lock and its progress line use it."""
    if model.get("mixture") == UNTUNED:
        return str(RunName(scale(model["size"], model.get("family", "auto")).family, model["size"], UNTUNED))
    return describe_training(model).name


def describe_training(model: dict[str, Any]) -> Any:
    """Return the training description of a model of the grid; without a GPU the processor trains it."""
    from mammoth_utils.training import describe, find_gpus

    gpus = find_gpus()
    values = {key: value for key, value in model.items() if key != "evaluate"}
    return describe(**{"devices": "auto" if gpus else "cpu", **values}, gpus=gpus)


def check_equal_steps(training: Any) -> None:
    """Raise if an equal-steps control takes another number of steps than the hybrid run whose record exists.

    Raises:
        ValueError: Since a change of the batches or of the data set has moved the hybrid run's steps.
    """
    if not training.name.endswith(f"-{EQUAL_STEPS}"):
        return
    hybrid = str(RunName(training.family, training.size, "hybrid", training.method, training.seed))
    record = paths.run_dir("train", hybrid) / "record.json"
    if record.is_file() and (steps := records.read_json(record)["steps"]) != training.max_steps:
        raise ValueError(
            f"{training.name} would take {training.max_steps} steps where {hybrid} took {steps}: write {steps} as "
            "`steps` into the grid"
        )


def default_run_name() -> str:
    """Return the name of the model that the pages `train` and `evaluate` make with their defaults."""
    declared = pages.declared("train")
    return run_name({name: declared[name].default for name in MODEL if name in declared})


def train_and_evaluate(model: dict[str, Any]) -> dict[str, str]:
    """Train and evaluate one model, or read its records where they exist; return the names of its runs by stage."""
    from mammoth_utils.evaluation import describe_evaluation, evaluate

    extra = model.get("evaluate", {})
    if model.get("mixture") == UNTUNED:
        if not scale(model["size"], model.get("family", "auto")).miniature:
            return {"evaluate": evaluate_real_base(model)}
        base = {"size": model["size"], "family": model.get("family", "auto"), "mixture": UNTUNED}
        evaluation = describe_evaluation(**base, **extra)
        evaluate(evaluation)
        return {"evaluate": evaluation.name}
    from mammoth_utils.curation import ensure_dataset, read_mixture
    from mammoth_utils.training import finetune

    training = describe_training(model)
    check_equal_steps(training)
    folder = ensure_dataset(training.dataset)
    finetune(training, read_mixture(folder, training.mixture, training.seed, training.max_rows))
    plain = describe_training({key: model[key] for key in MODEL if key in model})
    if training.name == plain.name:
        # Described as the page describes it, so that both are one record.
        evaluation = describe_evaluation(**{key: getattr(training, key) for key in MODEL}, **extra)
    else:
        of = {"size": training.size, "family": training.family, "model": str(training.folder)}
        evaluation = describe_evaluation(**of, **extra)
    evaluate(evaluation)
    return {"train": training.name, "evaluate": evaluation.name}


def evaluate_real_base(model: dict[str, Any]) -> str:
    """Evaluate a real base as it came, by the prompt that does best on training questions; return the run's name."""
    from mammoth_utils.curation import ensure_dataset, read_mixture
    from mammoth_utils.evaluation import describe_evaluation, evaluate, prompt_choice

    extra, base = dict(model["evaluate"]), model.get("base") or scale(model["size"], model["family"]).base
    if extra.get("prompt") == CHOSEN:
        questions = prompt_choice.questions_file()
        rows = read_mixture(ensure_dataset("rebuild"), "cot", model.get("seed", 0), QUESTIONS)
        prompt_choice.write_questions(rows, questions)
        how = {key: extra[key] for key in ("max_new_tokens", "engine") if key in extra}
        choice = prompt_choice.choose_prompt(base, run_name(model), questions, **how)
        records.write_json(paths.run_dir("evaluate", PROMPT_CHOICE), choice)
        best = f"{choice['prompt']}, {choice['decoding']} decoding"
        print(f"[models] {run_name(model)}: {best}, on {choice['questions']} training questions", flush=True)
        extra["prompt"] = choice["prompt"]
    name = evaluation_name(run_name(model), "hybrid", "test", (), extra.get("limit", 0))
    evaluation = describe_evaluation(model=base, name=name, **extra)
    evaluate(evaluation)
    return evaluation.name


def main() -> None:
    """Work through the grid and write this group's summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("out", type=Path, help="the summary, written when nothing of the grid is left for this group")
    parser.add_argument("--base", default="", help="a file, folder or hub name in the place of every cell's base")
    parser.add_argument("--leave-page", action="store_true", help="leave the model of the page `train` to that page")
    options = parser.parse_args()
    parent_watch.end_with_parent(parent_watch.BOOK)
    os.chdir(ROOT)
    models = [{**model, "base": options.base} if options.base else model for model in read_grid(options.grid)]
    skipped = default_run_name() if options.leave_page else None
    locks = paths.runs() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    measured = []
    for number, model in enumerate(models, 1):
        name = run_name(model)
        if name == skipped:
            continue
        try:
            with FileLock(locks / f"{name}.lock", timeout=0):
                begin = time.monotonic()
                names = train_and_evaluate(model)
        except Timeout:
            continue  # the other group has it; if that one fails, its rule fails and is run again
        seconds = time.monotonic() - begin
        measured.append({"model": model, **names})
        print(f"[models] {number} of {len(models)}: {name}, {seconds:.0f} s", flush=True)
    records.write_json(options.out, {"schema": records.SCHEMA, "grid": options.grid.name, "measured": measured})


if __name__ == "__main__":
    main()
