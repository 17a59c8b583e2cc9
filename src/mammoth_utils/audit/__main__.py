"""``python -m mammoth_utils.audit``: audit the real benchmarks and write the record."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.audit.audit_record import COMMITTED, measure_audit
from mammoth_utils.audit.disputed_outputs import COMPLETIONS, keep_completions
from mammoth_utils.audit.math_verify_client import installed_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the real sets, write the record, and beside it the completions on which graders differ."""
    parser = argparse.ArgumentParser(prog="python -m mammoth_utils.audit", description=__doc__.partition(": ")[2])
    parser.add_argument("--data", type=Path, help="folder of real data; MAMMOTH_DATA_DIR, else data/, if left out")
    parser.add_argument("--out", type=Path, required=True, help=f"the record, such as records/{COMMITTED}")
    options = parser.parse_args(arguments)
    data_dir = (options.data or paths.data() or Path("data")).resolve()
    if not (data_dir / "eval").is_dir():
        parser.error(f"{data_dir} has no eval/; `make data` fetches it, or name a folder with --data")
    if installed_version() is None:
        parser.error("the record holds verdicts of math-verify, which is not installed: pip install 'math-verify<0.10'")
    record = measure_audit("real", data_dir=data_dir, say=lambda line: print(line, flush=True))
    file = records.write_items(options.out, record)
    print(f"wrote {options.out}, {file.stat().st_size / 1000:.0f} kB, in {record['seconds']:.0f} s")
    kept = keep_completions(record, data_dir, file.with_name(Path(COMPLETIONS).name))
    print(f"wrote {kept}, {kept.stat().st_size / 1000:.0f} kB: the completions on which graders differ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
