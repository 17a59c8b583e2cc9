"""The audit that the page shows: the real benchmarks, the miniature's, and a reader's own completions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils import paths, records
from mammoth_utils.audit.audit_record import COMMAND, COMMITTED, DECIDING, measure_audit, read_audit_record
from mammoth_utils.audit.grader_comparison import compare_graders
from mammoth_utils.audit.math_verify_client import open_math_verify
from mammoth_utils.audit.tables import select_benchmarks
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import NAMESAKES, STORED

if TYPE_CHECKING:
    import pandas

IN_THIS_RUN = "measured in this run"


@dataclass(frozen=True)
class AuditPage:
    """The records behind the page `audit`.

    Attributes:
        record: The audit of all real benchmarks; figures in prose come from it.
        real: The same for the chosen benchmarks.
        mini: The audit of their namesakes in the miniature, measured now.
        own: The reader's completions files under the same graders: a record with ``outputs`` alone.
        problems: The problems of the chosen benchmarks whose file is present.
        stale_reasons: Reasons why the record may be out of date; empty if it is not.
        origin: Where the real figures come from.
    """

    record: Record
    real: Record
    mini: Record
    own: Record
    data_dir: Path | None
    problems: dict[str, list[Problem]]
    stale_reasons: tuple[str, ...]
    origin: str

    def provenance(self) -> pandas.DataFrame:
        """Return a table of where the figures come from, for the real benchmarks and for the miniature."""
        import pandas

        def describe(record: Record, origin: str) -> list[str]:
            version = record["graders"]["math-verify"]["version"]
            version = version or "not installed: pip install 'math-verify<0.10' adds its columns"
            return [origin, str(record["inputs"]["versions"]["grading"]), version, f"{record['seconds']:.0f}"]

        frame = pandas.DataFrame(
            {
                "": ["figures", "version of the two rules", "Math-Verify", "seconds"],
                "real sets": describe(self.record, self.origin),
                "miniature": describe(self.mini, IN_THIS_RUN),
            }
        )
        if self.stale_reasons:
            frame.loc[len(frame)] = ["out of date", f"{'; '.join(self.stale_reasons)}. Again: {COMMAND}", ""]
        return frame


def open_audit(
    benchmarks: str = "all",
    outputs: str = STORED,
    data_dir: str = "",
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> AuditPage:
    """Return the audit that the page shows.

    The figures of the real benchmarks come from the committed record, also where the data is present, as long as the
    rules and the files are those of the record. Otherwise they are measured, and kept below ``runs/audit``.

    Args:
        benchmarks: ``"all"``, or names of real benchmarks joined by commas.
        outputs: ``"stored"``, or completions files joined by commas.
        data_dir: Folder of real data; empty takes ``MAMMOTH_DATA_DIR``, else ``data/``.
        again: Whether the real benchmarks are measured in any case.

    Raises:
        FileNotFoundError: If a named folder or file is missing, or both the data and the record are.
        ValueError: If a benchmark is unknown, or ``again`` is set without the data.
    """
    names = sets.names("real") if benchmarks == "all" else sets.resolve(benchmarks, "real")
    folder = _data_folder(data_dir)
    record, reasons, origin = _real_record(folder, again, say)
    files = [] if outputs == STORED else [Path(name) for name in outputs.split(",")]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no completions file {file}; expected JSON Lines, .jsonl or .jsonl.gz")
    present = [name for name in names if folder and (folder / "eval" / sets.info(name).file).is_file()]
    miniatures = {mini for mini, name in NAMESAKES.items() if name in names}
    with open_math_verify() as verifier:
        own = [{**compare_graders(file, verifier), "path": str(file)} for file in files]
    return AuditPage(
        record=record,
        real=select_benchmarks(record, names),
        mini=measure_audit("miniature", sorted(miniatures & set(sets.names("miniature"))) or "all", say=say),
        own={"outputs": own},
        data_dir=folder,
        problems={name: sets.load(name, data_dir=folder) for name in present},
        stale_reasons=tuple(reasons),
        origin=origin,
    )


def _data_folder(named: str) -> Path | None:
    folder = Path(named).resolve() if named else paths.data()
    if named and not (folder / "eval").is_dir():
        raise FileNotFoundError(f"{named} has no folder eval/; `make data` fetches the benchmarks into data/")
    return folder if folder is not None and (folder / "eval").is_dir() else None


def _real_record(data_dir: Path | None, again: bool, say: Callable[[str], None]) -> tuple[Record, list[str], str]:
    """Return the record of the real benchmarks, the reasons why it may be out of date, and where it comes from."""
    committed, earlier = paths.records() / COMMITTED, paths.runs() / "audit" / "real.json"
    shipped = f"records/{COMMITTED}"
    if data_dir is None and again:
        raise ValueError("the real sets cannot be measured again without their data; set data_dir")
    if data_dir is not None and not again:
        for file, origin in ((committed, shipped), (earlier, "runs/audit/real.json")):
            if file.is_file():
                record = records.read_json(file)
                if not records.stale_reasons(record, DECIDING, data_dir):
                    return record, [], origin
    if not again:
        record = read_audit_record()
        # A folder that holds some of the files only cannot give the figures of all.
        if data_dir is None or not all((data_dir / name).is_file() for name in record["inputs"]["files"]):
            return record, records.stale_reasons(record, DECIDING, data_dir), shipped
    record = measure_audit("real", data_dir=data_dir, say=say)
    records.write_items(earlier, record)
    return record, [], IN_THIS_RUN
