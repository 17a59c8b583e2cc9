"""Rows that lm-evaluation-harness logs with ``--log_samples``, as rows of a completions file.

The harness writes one file a task, ``samples_TASK_TIME.jsonl``. A row is one document under one filter: ``doc`` is the
data set's row, ``target`` its answer as the task states it, ``arguments`` holds each prompt with the settings of its
generation, ``resps`` for each prompt the texts that were generated, and ``filter`` names what read an answer from them.
The form is that of EleutherAI/lm-evaluation-harness, ``lm_eval/evaluator.py`` and ``loggers/evaluation_tracker.py``.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from mammoth_utils.grading._formulas.notation import unwrapped
from mammoth_utils.grading.benchmarks import bare_options, gold_letter
from mammoth_utils.records import Record

KEYS = ("doc", "resps", "arguments")
QUESTIONS = ("question", "problem", "query", "Problem", "input")
_FILE = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.-]+)?\.jsonl(?:\.gz)?")
_SUBJECTS = "elementary_mathematics|high_school_mathematics|college_mathematics|abstract_algebra|formal_logic"
_MMLU_FORMS = "flan|n_shot|cot|zeroshot|fewshot|llama|generative"
# Tasks that ask a benchmark's problems, all or some. GSM8K-Platinum, MMLU-Pro and translations are other problems.
_TASKS = {
    "gsm8k": re.compile(r"gsm8k(?!_platinum).*"),
    "math": re.compile(r"(?:hendrycks|minerva|leaderboard|agieval)_math.*"),
    "aqua": re.compile(r"agieval_aqua_rat.*"),
    "sat": re.compile(r"agieval_sat_math.*"),
    "mmlu_math": re.compile(rf"mmlu(?:_(?:{_MMLU_FORMS}))*_(?:{_SUBJECTS})(?:_generative)?"),
}


def is_sample(row: Record) -> bool:
    """Return whether a row is one that the harness logged."""
    return all(key in row for key in KEYS) and "completion" not in row and "response" not in row


class LmEvalSamples:
    """Turns the rows of one file into rows of a completions file; keeps a number of each, by which it knows repeats.

    Args:
        name: The file's name, which alone says the task.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        match = _FILE.fullmatch(name)
        self.task = match["task"] if match else ""
        self.benchmark = next((known for known, tasks in _TASKS.items() if tasks.fullmatch(self.task)), self.task)
        self._filters: dict[int, str] = {}
        self._warned: set[str] = set()

    def convert(self, sample: Record) -> Record | None:
        """Return a row with its benchmark, id, kind, question, completion, gold and options.

        The kind is ``cot``: the harness's own tasks ask for prose. None stands for a document that was there already
        under another filter. Of several generations the first counts; a warning says either once.

        Raises:
            ValueError: If the row holds no text, or no gold that is one of its options, or the file's name no task.
        """
        if not self.task:
            raise ValueError(
                "a row that lm-evaluation-harness logged, in a file whose name does not say the task; expected a name "
                f"such as samples_gsm8k_cot.jsonl or samples_minerva_math.jsonl, got {self.name}"
            )
        doc = sample["doc"]
        if not isinstance(doc, dict):
            raise ValueError(f"expected the data set's row, an object, as doc, got {type(doc).__name__}")
        completion = self._completion(sample)
        if self._is_repeat(sample, completion):
            return None
        question = next((doc[key] for key in QUESTIONS if isinstance(doc.get(key), str)), "")
        if isinstance(doc.get("body"), str):  # ASDiv keeps what is told apart from what is asked
            question = f"{doc['body']} {question}"
        subject = str(doc.get("type") or doc.get("subject") or "").lower().replace("_", " ")
        options = doc.get("choices") or doc.get("options")
        if isinstance(options, dict) and "text" in options:
            options = options["text"]
        # Files of several tasks may have been joined, each of which counts its documents from 0.
        parts = (self.task, subject.replace(" ", "_"), str(sample.get("doc_id", "")))
        return {
            "benchmark": self.benchmark,
            "id": "/".join(filter(None, parts)),
            "kind": "cot",
            "question": question.strip(),
            "completion": completion,
            "gold": _gold(doc, sample.get("target", doc.get("answer")), options, self.benchmark),
            **({"options": options} if options else {}),
            "field": subject,
            "family": f"{subject}, {doc['level'].lower()}" if "level" in doc else subject,
        }

    def _completion(self, sample: Record) -> str:
        """Return the first text that was generated."""
        texts = _values(sample["resps"])
        texts = _values(texts[0]) if texts else []
        if not texts:
            raise ValueError(f"no completion: expected [[text]] as resps, got {sample['resps']!r:.80}")
        calls = _values(sample["arguments"])
        settings = _values(calls[0])[1:] if calls else []
        generated = any(isinstance(value, dict) for value in settings) or not _is_number(texts[0])
        if not isinstance(texts[0], str) or not generated:
            raise ValueError(
                f"the task {self.task} compares log-likelihoods of given texts, and its resps are numbers; only tasks "
                "that generate text (output_type generate_until) have completions to grade"
            )
        if len(texts) > 1:
            self._warn(f"{self.name} holds {len(texts)} generations of a document; the first is graded")
        return texts[0]

    def _is_repeat(self, sample: Record, completion: str) -> bool:
        """Return whether the document's completion was there already under another filter."""
        known = sample.get("doc_hash") or repr(sample["doc"])
        key, filtered = hash((str(sample.get("doc_id")), known, completion)), str(sample.get("filter", ""))
        first = self._filters.setdefault(key, filtered)
        if first == filtered:
            return False
        self._warn(f"{self.name} holds each document under several filters, such as {first!r}; it is graded once")
        return True

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, UserWarning, stacklevel=2)


def _gold(doc: Record, target: Any, options: Any, benchmark: str) -> Any:
    """Return a gold: an option's letter, MATH's last box, else the target, of GSM8K what follows ``####``."""
    if options:
        texts = bare_options(options)
        for value in (doc.get("gold"), doc.get("answer"), target):
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            if isinstance(value, str) and value.isdigit() and value not in texts:
                value = int(value)  # an index, which the harness writes as text
            if (letter := gold_letter(value, texts)) is not None:
                return letter
        raise ValueError(f"the target {target!r:.80} is none of the {len(texts)} options")
    if benchmark == "math" and isinstance(solution := doc.get("solution"), str):
        # Some tasks normalise the target, so that a unit is lost; the solution is the data set's own.
        box = unwrapped(solution, solution.rfind("\\boxed") + len("\\boxed")) if "\\boxed" in solution else None
        return solution[slice(*box)].strip() if box else target
    if isinstance(target, str) and (benchmark == "gsm8k" or "####" in target):
        return target.rpartition("####")[2].replace(",", "").strip()
    return target


def _values(value: Any) -> list[Any]:
    """Return the values of a list, or of an object such as ``{"gen_args_0": ...}``; nothing of anything else."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
