"""The prompt and way of decoding of a base model, chosen on training questions and never on a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import paths, prompts, records
from mammoth_utils.evaluation.description import describe_evaluation
from mammoth_utils.evaluation.engines.requests import Decoder
from mammoth_utils.evaluation.pipeline import evaluate
from mammoth_utils.records import Record

CANDIDATES = (prompts.MAMMOTH, "chat_cot+chat_pot")
DECODINGS = ("hybrid", "pot", "cot")
FILE = "training-questions.jsonl"


def write_questions(rows: Iterable[Record], file: Path) -> int:
    """Write rows of a data set that have a gold answer as a benchmark of one's own, and return how many there are.

    Args:
        rows: As ``curation.read_mixture`` gives them.
    """
    kept = []
    for row in rows:
        if row.get("gold") is not None:
            question = (
                row["instruction"].partition("\nAnswer Choices:")[0] if row.get("options") else row["instruction"]
            )
            options = {"options": row["options"]} if row.get("options") else {}
            kept.append({"id": row["history"]["problem"], "question": question, "gold": row["gold"], **options})
    records.write_jsonl(file, kept)
    return len(kept)


def choose_prompt(
    model: str,
    name: str,
    questions: Path,
    candidates: Sequence[str] = CANDIDATES,
    say: Callable[[str], None] = print,
    decoder: Decoder | None = None,
    **settings: Any,
) -> Record:
    """Return which prompt and decoding answer most training questions correctly, with every candidate's share.

    Completions are kept as those of any evaluation, so that a choice which was stopped goes on.

    Args:
        model: As ``describe_evaluation`` takes it.
        name: Begins the names of the evaluations.
        questions: A file that ``write_questions`` wrote.
        candidates: As the parameter ``prompt`` of the page takes them.
        decoder: In place of the model's own, as ``evaluate`` takes it.
        settings: Further arguments of ``describe_evaluation``, such as ``max_new_tokens``.

    Returns:
        ``prompt``, ``decoding``, ``questions``, ``weights`` (the model's hash) and ``candidates``: a row for each
        prompt and decoding with its share correct under the corrected rule. The first of equal ones is chosen.
    """
    rows, asked, weights = [], 0, ""
    for prompt in candidates:
        description = describe_evaluation(
            model=model, benchmarks=str(questions), prompt=prompt, decoding="hybrid", also=",".join(DECODINGS),
            name=f"{name}-training-questions-{prompt}", **settings,
        )  # fmt: skip
        record = evaluate(description, decoder, say=say)
        weights = record["inputs"]["weights"]
        for decoding, scores in (("hybrid", record["benchmarks"]), *record["decodings"].items()):
            (score,) = scores.values()
            asked = score["n"]
            rows.append({"prompt": prompt, "decoding": decoding, "correct": score["corrected"]["correct"] / asked})
    best = max(rows, key=lambda row: row["correct"])
    return {
        "schema": records.SCHEMA, "page": "prompts", "prompt": best["prompt"], "decoding": best["decoding"],
        "questions": asked, "weights": weights, "sha256": records.sha256(questions), "candidates": rows,
    }  # fmt: skip


def questions_file() -> Path:
    """Return where the training questions of a choice are written."""
    return paths.runs() / "evaluate" / FILE
