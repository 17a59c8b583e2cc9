"""``python -m mammoth_utils.grading FILE``: a completions file graded, one JSON object printed."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

from mammoth_utils.grading.benchmarks import RULES
from mammoth_utils.grading.completions import CompletionsError, Summary, grade_file


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m mammoth_utils.grading",
        description="Grade a completions file (JSON Lines, .gz or not) and print one JSON object with the counts.",
    )
    made.add_argument("file", help="rows with benchmark (or dataset), completion (or response), gold; also id, kind, "
                      "question, options")  # fmt: skip
    made.add_argument("--rule", choices=RULES, default="corrected", help="how answers are read and judged")
    made.add_argument("--verdicts", metavar="OUT.jsonl", help="write every row with its verdict, .gz or not")
    made.add_argument("--timeout-s", type=float, default=5.0, help="seconds a program may take")
    made.add_argument("--isolation", choices=("auto", "full"), default="auto", help="how programs are kept apart")
    made.add_argument("--workers", type=int, default=None, help="programs at a time")
    made.add_argument("--limit", type=int, default=0, help="grade the first rows only; 0 grades all")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Grade, print, and give the exit status: 0, or 2 where the file is not as it should be."""
    asked = parser().parse_args(arguments)
    if asked.timeout_s <= 0:
        parser().error(f"--timeout-s takes seconds above 0, got {asked.timeout_s}")
    summary, temporary, out = Summary((asked.rule,)), None, None
    try:
        graded = grade_file(
            asked.file, asked.rule, asked.timeout_s, isolation=asked.isolation, workers=asked.workers, limit=asked.limit
        )
        if asked.verdicts:
            target = Path(asked.verdicts)
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            os.close(handle)
            opener = gzip.open if target.suffix == ".gz" else open
            out = opener(temporary, "wt", encoding="utf8")
        for one in graded:
            summary.add(one)
            if out:
                out.write(json.dumps(one.as_dict(asked.rule), ensure_ascii=False) + "\n")
        if out:
            out.close()
            os.chmod(temporary, 0o644)
            os.replace(temporary, asked.verdicts)
            temporary = None
    except (CompletionsError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        if out and not out.closed:
            out.close()
        if temporary:
            Path(temporary).unlink(missing_ok=True)
    print(json.dumps(summary.as_dict(asked.rule)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
