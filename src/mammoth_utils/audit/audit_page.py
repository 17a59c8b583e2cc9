"""What the page `audit` opens: the real sets' audit from the record or measured, the miniature's, and the questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.audit import audit_record
from mammoth_utils.audit.grader_comparison import compared
from mammoth_utils.audit.math_verify_client import installed
from mammoth_utils.audit.tables import chosen
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import MINI

if TYPE_CHECKING:
    import pandas

STORED = "stored"


@dataclass(frozen=True)
class Audited:
    """An opened audit.

    Attributes:
        record: The real sets' audit, whole; figures in prose come from it.
        real: The same for the benchmarks that were asked for.
        mini: The audit of their namesakes in the miniature, measured now.
        own: Files of the reader's under the same graders, in a record's form; no file where none was given.
        data: The folder of real data; None without.
        problems: The real sets' problems, for those whose file is there.
        why_stale: Why the record may be out of date; empty if it is not.
        origin: Where the real figures come from.
    """

    record: dict[str, Any]
    real: dict[str, Any]
    mini: dict[str, Any]
    own: dict[str, Any]
    data: Path | None
    problems: dict[str, list[Problem]]
    why_stale: tuple[str, ...]
    origin: str

    def provenance(self) -> pandas.DataFrame:
        """Where the figures come from, for the real sets and for the miniature."""
        import pandas

        def about(record: dict[str, Any], figures: str) -> list[str]:
            verify = record["graders"]["math-verify"]
            version = verify["version"] or "not installed: pip install 'math-verify<0.10' adds its columns"
            return [figures, str(record["inputs"]["versions"]["grading"]), version, f"{record['seconds']:.0f}"]

        frame = pandas.DataFrame(
            {
                "": ["figures", "version of the two rules", "Math-Verify", "seconds"],
                "real sets": about(self.record, self.origin),
                "miniature": about(self.mini, "measured in this run"),
            }
        )
        if self.why_stale:
            frame.loc[len(frame)] = ["out of date", f"{'; '.join(self.why_stale)}. Again: {audit_record.COMMAND}", ""]
        return frame


def opened(
    benchmarks: str = "all",
    outputs: str = STORED,
    data_dir: str = "",
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Audited:
    """The audit that a page shows.

    Without data the real sets' figures are the committed record's. With data they are too, as long as the rules and
    the files are the same, since measuring would give nothing else; otherwise they are measured, and kept below
    ``runs/audit``.

    Args:
        benchmarks: ``"all"``, or names of real sets with commas between them.
        outputs: ``"stored"``, or files of completions with commas between them.
        data_dir: Folder of real data; empty takes ``MAMMOTH_DATA_DIR``, else ``data/``.
        again: Whether the real sets are measured in any case.
        say: Called with a line of progress.

    Raises:
        FileNotFoundError: If a folder or file that is named is not there, or there is neither data nor a record.
        ValueError: If a benchmark is unknown, or the real sets are to be measured again without their data.
    """
    names = sets.names("real") if benchmarks == "all" else sets.resolve(benchmarks, "real")
    data = _data(data_dir)
    record, why, origin = _real(data, again, say)
    files = [] if outputs == STORED else [Path(one) for one in outputs.split(",")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"there is no completions file {missing[0]}; expected JSON Lines, .jsonl or .jsonl.gz")
    problems = {name: sets.load(name, data_dir=data) for name in names if data and _there(name, data)}
    minis = [mini for name in names if (mini := f"{MINI}{name.removesuffix('_math')}") in sets.names("miniature")]
    return Audited(
        record=record,
        real=chosen(record, names),
        mini=audit_record.measure("miniature", minis or "all", say=say),
        own=_own(files),
        data=data,
        problems=problems,
        why_stale=tuple(why),
        origin=origin,
    )


def _data(named: str) -> Path | None:
    folder = Path(named).resolve() if named else paths.data()
    if named and not (folder / "eval").is_dir():
        raise FileNotFoundError(f"{named} has no folder eval/; `make data` fetches the sets into data/")
    return folder if folder is not None and (folder / "eval").is_dir() else None


def _there(name: str, data: Path) -> bool:
    return (data / "eval" / sets.info(name).file).is_file()


def _real(data: Path | None, again: bool, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str], str]:
    """The real sets' record, why it may be out of date, and where it comes from."""
    shipped = f"records/{audit_record.COMMITTED.as_posix()}"
    if data is None:
        if again:
            raise ValueError("the real sets cannot be measured again without their data; set data_dir")
        record = records.committed(audit_record.COMMITTED, audit_record.COMMAND)
        return record, records.stale_reasons(record, audit_record.DECIDING), shipped
    kept = paths.runs() / "audit" / "real.json"
    for file, origin in (
        () if again else ((paths.records() / audit_record.COMMITTED, shipped), (kept, "runs/audit/real.json"))
    ):
        if file.is_file() and not records.stale_reasons(record := records.read_json(file), audit_record.DECIDING, data):
            return record, [], origin
    everything = (paths.records() / audit_record.COMMITTED).is_file() and all(
        (data / name).is_file()
        for name in records.committed(audit_record.COMMITTED, audit_record.COMMAND)["inputs"]["files"]
    )
    if not (everything or again):
        # A folder that holds part of the files cannot give the figures of all.
        record = records.committed(audit_record.COMMITTED, audit_record.COMMAND)
        return record, records.stale_reasons(record, audit_record.DECIDING, data), shipped
    record = audit_record.measure("real", data_dir=data, say=say)
    records.write_items(kept, record)
    return record, [], "measured in this run"


def _own(files: list[Path]) -> dict[str, Any]:
    found = []
    if files:
        with audit_record.verifier() as verify:
            found = [{**compared(file, verify), "path": str(file)} for file in files]
    return {"outputs": found, "math-verify": installed()}
