"""A client that is killed: asks for every problem of a file and ends with 0 once all are answered."""

from __future__ import annotations

import sys
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.curation.teacher import rate_limits
from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.cost_ledger import Budget
from mammoth_utils.curation.teacher.prompt_files import load_prompt
from mammoth_utils.curation.teacher.synthesis import ask
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.rationale import Problem


def main(base_url: str, model: str, problems: str, store: str, concurrency: str) -> int:
    """The process's exit code: 0 if every problem has an answer."""
    rate_limits.FIRST_WAIT_S = 0.05  # the proxy recovers at once, so the test need not wait as one does for an endpoint
    asked = [Problem(**{**row, "options": tuple(row["options"]) if row["options"] else None})
             for row in records.read_jsonl(Path(problems))]  # fmt: skip
    teacher = Teacher(base_url, model, concurrency=int(concurrency))
    with Store(Path(store)) as opened:
        answers = ask(asked, teacher, opened, Budget(0), load_prompt("pot"))
    return 0 if all(answer.text for answer in answers) else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
