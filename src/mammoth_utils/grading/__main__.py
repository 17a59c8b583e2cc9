"""``python -m mammoth_utils.grading FILE``: a completions file graded, one JSON object printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.grading.completions import CompletionsError, Graded, Summary, describe_doubled, grade_file
from mammoth_utils.vocabulary import RULES

REPORTED = 20  # bad rows that are named one by one


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    command = argparse.ArgumentParser(
        prog="python -m mammoth_utils.grading",
        description="Grade a completions file (JSON Lines, .gz or not) and print one JSON object with the counts.",
    )
    command.add_argument(
        "file",
        help="rows with benchmark (or dataset), completion (or response), gold; also id, kind, question, options",
    )
    command.add_argument("--rule", choices=RULES, default="corrected", help="how answers are read and judged")
    command.add_argument("--verdicts", metavar="OUT.jsonl", help="write every row with its verdict, .gz or not")
    command.add_argument("--timeout-s", type=float, default=5.0, help="seconds a program may take")
    command.add_argument("--isolation", choices=("auto", "full"), default="auto", help="how programs are kept apart")
    command.add_argument("--workers", type=int, default=None, help="programs at a time")
    command.add_argument("--limit", type=int, default=0, help="grade the first rows only; 0 grades all")
    return command


def main(arguments: list[str] | None = None) -> int:
    """Grade, print, and return the exit status: 0; 1 where some rows could not be graded; 2 where none could."""
    options = vars(parser().parse_args(arguments))
    file, rule, verdicts = (options.pop(name) for name in ("file", "rule", "verdicts"))
    if options["timeout_s"] <= 0:
        parser().error(f"--timeout-s takes seconds above 0, got {options['timeout_s']}")
    if options["workers"] is not None and options["workers"] < 1:
        parser().error(f"--workers takes a number from 1, got {options['workers']}")
    if options["limit"] < 0:
        parser().error(f"--limit takes a number from 0, got {options['limit']}")
    if verdicts and Path(verdicts).is_dir():
        parser().error(f"--verdicts takes the name of a file to write, and {verdicts} is a folder")
    if verdicts and Path(verdicts).resolve() == Path(file).resolve():
        parser().error(f"--verdicts would write over the completions themselves, {file}")
    summary = Summary((rule,))

    def report(error: CompletionsError) -> None:
        summary.add_bad(error)
        if summary.bad <= REPORTED:
            print(error, file=sys.stderr)

    def counted(rows: Iterator[Graded]) -> Iterator[records.Record]:
        for row in rows:
            summary.add(row)
            yield row.as_dict(rule)

    try:
        rows = counted(grade_file(file, rule, **options, on_bad_row=report))
        if verdicts:
            records.write_jsonl(Path(verdicts), rows)
        else:
            for _ in rows:
                pass
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    if summary.doubled:
        print(describe_doubled(summary.doubled, Path(file).name), file=sys.stderr)
    if summary.bad:
        print(f"{summary.bad:,} rows of {Path(file).name} could not be graded and count nowhere", file=sys.stderr)
    if summary.unrun:
        print(
            f"{summary.unrun:,} rows hold Python in a fence that was read as text; rows whose `kind` is `pot` are run",
            file=sys.stderr,
        )
    counts = summary.as_dict(rule)
    print(json.dumps(counts))
    return 0 if not summary.bad else 1 if counts["rows"] else 2


if __name__ == "__main__":
    sys.exit(main())
