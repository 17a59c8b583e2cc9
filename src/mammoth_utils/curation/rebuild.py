"""MathInstruct from the primary sources: what can be had is read, the rest says what to download."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.curation.sources import SOURCES, Loaded
from mammoth_utils.prompts import ANSWER_TRIGGER, CHOICE_PREFILL
from mammoth_utils.rationale import Problem, Rationale

# GSM8K marks each sum as <<48/2=24>>24 for a calculator; MathInstruct has the sums without the marks.
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_OPTION = re.compile(r"^\(?([A-E])\)\s*", re.MULTILINE)


def gsm8k_text(answer: str) -> tuple[str, str]:
    """Rationale and gold of a GSM8K answer: no calculator marks, ``#### x`` as ``The answer is x``.

    Thousands separators leave the gold alone, as MathInstruct's rows have them.

    Raises:
        ValueError: If the answer has no ``####``.
    """
    prose, mark, gold = answer.rpartition("####")
    if not mark:
        raise ValueError(f"expected '#### <answer>' in a GSM8K answer, got {answer[-60:]!r}")
    gold = gold.strip().replace(",", "")
    return f"{_CALCULATOR.sub('', prose).rstrip()}\n{ANSWER_TRIGGER}{gold}", gold


def last_boxed(solution: str) -> str | None:
    """The content of the last ``\\boxed`` of a MATH solution, braces matched; None if there is none."""
    start = solution.rfind("\\boxed")
    if start < 0:
        return None
    rest = solution[start + len("\\boxed") :]
    if not rest.startswith("{"):
        return rest.split("$")[0].strip() or None  # a few solutions write \boxed 5
    depth = 0
    for index, sign in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[1:index]
    return None


def _gsm8k(path: Path, name: str) -> Loaded:
    loaded = Loaded(SOURCES[name], name)
    for number, row in enumerate(records.read_jsonl(path)):
        text, gold = gsm8k_text(row["answer"])
        problem = Problem(f"gsm8k/train/{number}", row["question"], gold, set=name, field="Pre-Algebra")
        loaded.problems.append(problem)
        loaded.rationales.append(Rationale(problem, "cot", text, name, "human"))
    return loaded


def _math(path: Path, name: str) -> Loaded:
    loaded = Loaded(SOURCES[name], name, notes="7,257 of 7,500 training problems have a solution in this copy")
    for row in records.read_jsonl(path):
        gold = last_boxed(row["solution"]) or ""
        problem = Problem(f"math/train/{row['file']}", row["problem"], gold, set=name, field=row["type"],
                          family=row["type"])  # fmt: skip
        loaded.problems.append(problem)
        text = f"{row['solution']}\n{ANSWER_TRIGGER}{gold}" if gold else row["solution"]
        loaded.rationales.append(Rationale(problem, "cot", text, name, "human"))
    return loaded


def _aqua(path: Path, name: str) -> Loaded:
    """AQuA-RAT as FLAN keeps it: tab-separated, a line break written as backslash and n."""
    loaded = Loaded(SOURCES[name], name, notes="FLAN's 2,728 of AQuA-RAT's 97,467 training rows")
    with gzip.open(path, "rt", encoding="utf8", newline="\n") as file:
        for number, line in enumerate(file):
            cells = line.rstrip("\n").split("\t")
            if len(cells) != 3:
                raise ValueError(f"{path}, line {number + 1}: expected 3 tab-separated cells, got {len(cells)}")
            asked, letter, prose = (cell.replace("\\n", "\n") for cell in cells)
            question, _, listed = asked.partition("\nOptions:\n")
            options = tuple(text.strip() for text in _OPTION.split(listed)[2::2])
            problem = Problem(f"aqua/train-flan/{number}", question, letter.strip("()"), options, name)
            text = f"{CHOICE_PREFILL}{prose}\n{ANSWER_TRIGGER}{problem.gold}."
            loaded.problems.append(problem)
            loaded.rationales.append(Rationale(problem, "cot", text, name, "human"))
    return loaded


def _mathqa(path: Path, name: str) -> Loaded:
    loaded = Loaded(SOURCES[name], name, notes="the train split of one of MathQA's six categories (gain)")
    for number, row in enumerate(records.read_jsonl(path)):
        if row["split"] != "train":
            continue
        problem = Problem(f"mathqa/gain/{number}", row["Input"], str(row["Output Answer"][0]), set=name, family="gain")
        loaded.rationales.append(Rationale(problem, "pot", row["Output Program"][0], name, "human"))
    return loaded


def _numglue(path: Path, name: str) -> Loaded:
    loaded = Loaded(SOURCES[name], name, notes="4,370 of 13,000 rows, without gold answers: executed, not compared")
    for number, row in enumerate(records.read_jsonl(path)):
        problem = Problem(f"numglue/train/{number}", row["question"].strip(), "", set=name)
        # Two programs in three have Windows line ends; a model would learn to write them.
        text = row["program"].replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        history = {"line_ends": "crlf"} if "\r" in row["program"] else {}
        loaded.rationales.append(Rationale(problem, "pot", text, name, "human", history))
    return loaded


# name: (file below the data folder, reader); teacher-written sources take the problems of their CoT twin
_READERS: dict[str, tuple[str, Callable[[Path, str], Loaded]]] = {
    "GSM8K (CoT)": ("train/gsm8k_train.jsonl.gz", _gsm8k),
    "MATH (CoT)": ("train/math_train.jsonl.gz", _math),
    "AQuA-RAT (CoT)": ("train/aqua_train_flan.tsv.gz", _aqua),
    "MathQA (PoT)": ("train/lila_mathqa_gain.jsonl.gz", _mathqa),
    "NumGLUE (PoT)": ("train/numglue_pot_from_htl.jsonl.gz", _numglue),
    "GSM8K (PoT)": ("train/gsm8k_train.jsonl.gz", _gsm8k),
    "MATH (PoT)": ("train/math_train.jsonl.gz", _math),
    "AQuA-RAT (PoT)": ("train/aqua_train_flan.tsv.gz", _aqua),
}
_FETCH = "run `make data`, or name a folder that holds it in MAMMOTH_DATA_DIR"
_ELSEWHERE = {
    "train/math_train.jsonl.gz": "JSON Lines of problem, level, type, solution, file from MATH's 7,500 training "
    "files (the original hub entry was taken down in January 2025; no second home with a stable hash is known)",
}
_NOT_REBUILT = {
    "GSM8K-RFT (CoT)": "its rows are sampled from fine-tuned Llama models (github.com/OFA-Sys/gsm8k-ScRel); "
    "take them from the release: dataset=release",
    "TheoremQA (CoT)": "the paper's 600 training rationales are in the release only: dataset=release",
    "Camel-Math (CoT)": "50,000 GPT-4 rationales (huggingface.co/datasets/camel-ai/math, CC-BY-NC-4.0) without a "
    "verified copy; take the paper's from the release: dataset=release",
    "College-Math (CoT)": "the paper's own Self-Instruct set is in the release only: dataset=release",
    "TheoremQA (PoT)": "TheoremQA publishes its 800 problems as one set, which is also an evaluation set; the "
    "paper's training problems are in the release only: dataset=release",
}


def load(name: str, teacher: bool = True) -> Loaded:
    """One source from its primary files; ``missing`` says what to do where that cannot be.

    Args:
        name: The paper's name.
        teacher: Whether a teacher can be asked; without one, teacher-written sources are missing.
    """
    source = SOURCES[name]
    if name in _NOT_REBUILT:
        return Loaded(source, name, missing=_NOT_REBUILT[name])
    file, reader = _READERS[name]
    folder = paths.data()
    path = (folder or paths.root() / "data") / file
    if not path.is_file():
        return Loaded(source, name, missing=f"no {file} in the data folder: {_ELSEWHERE.get(file, _FETCH)}")
    if source.asks_teacher and not teacher:
        return Loaded(source, name, missing="its programs are written by a teacher: give teacher=<base URL of an "
                      "OpenAI-compatible endpoint> and teacher_model")  # fmt: skip
    loaded = reader(path, name)
    if source.asks_teacher:
        loaded.rationales = []
        # A program can only be kept by its output, so a problem without a gold is not worth a request.
        loaded.problems = [problem for problem in loaded.problems if problem.gold]
    else:
        loaded.problems = []
    return loaded
