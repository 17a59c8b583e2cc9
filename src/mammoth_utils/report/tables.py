"""The book's tables as HTML that scrolls sideways, so that a wide one never overflows a narrow page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mammoth_utils.miniature import WORLDS, variant_of
from mammoth_utils.report import claim_definitions, claims, measured_models, published
from mammoth_utils.report.claims import ClaimResult
from mammoth_utils.report.measured_models import EvaluationRecord
from mammoth_utils.vocabulary import UNTUNED

# One mark for each attribution below "the authors' own"; the note under a table spells them out.
MARKS = {
    "primary": "", "checked against v3": "a", "secondary attributed": "b", "inferred from a v3 copy": "c",
    "secondary unattributed": "d",
}  # fmt: skip
REAL_ORDER = ("hybrid", "pot", "cot", "G-cot", UNTUNED)
_KEYS = ["size", "family", "mixture", "variant", "method", "decoding"]


@dataclass(frozen=True)
class Shown:
    """A table for a page: HTML in a browser, text elsewhere."""

    frame: pd.DataFrame
    markup: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.frame.to_string(index=False, na_rep="")


def show(frame: pd.DataFrame, note: str = "", label: str = "table", long: Sequence[str] = (), digits: int = 1) -> Shown:
    """Return a frame as a table that scrolls inside its own box.

    Args:
        frame: Numbers are rounded, missing values stay empty.
        label: What a screen reader calls the box.
        long: Columns of prose, which get room to wrap.
    """
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in frame.columns)
    body = []
    for row in frame.itertuples(index=False):
        columns = zip(frame.columns, row, strict=True)
        shown = "".join(_cell(value, name in long, digits) for name, value in columns)
        body.append(f"<tr>{shown}</tr>")
    markup = (
        f'<div role="region" aria-label="{html.escape(label, quote=True)}" tabindex="0" '
        'style="overflow-x:auto;max-width:100%">'
        f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )
    if note:
        markup += f'<p style="font-size:0.85em">{html.escape(note)}</p>'
    return Shown(frame, markup)


def say(sentence: str) -> Shown:
    """Return a sentence in place of a table that has no rows yet."""
    return Shown(pd.DataFrame({"": [sentence]}), f"<p>{html.escape(sentence)}</p>")


def details(frame: pd.DataFrame, summary: str, **options: Any) -> Shown:
    """Return a table behind a line that opens it."""
    inside = show(frame, **options)
    return Shown(frame, f"<details><summary>{html.escape(summary)}</summary>{inside.markup}</details>")


def published_main(size: str | None = None, version: str = "v3") -> Shown:
    """Return Tables 3 and 4 as published; a figure that is not from the authors themselves carries a mark."""
    wide = published.main_results(size, version)
    origin = published.accuracies(version=version)
    origin = origin[origin["table"].isin(["Table 3", "Table 4"])]
    origin = origin.set_index(["model", "size", "benchmark"])["attribution"]
    rows = []
    for row in wide.to_dict("records"):
        shown = {"model": row["model"], "size": row["size"], "decoding": row["decoding"]}
        for name in published.NINE:
            shown[name] = _marked(row[name], origin.get((row["model"], row["size"], name), "primary"))
        for key, title in (("in", "in domain"), ("out", "out of domain")):
            shown[f"mean {title}"] = _marked(row[f"computed_{key}"], "primary")
            shown[f"printed {title}"] = _marked(row[f"printed_{key}"], "primary")
        rows.append(shown)
    marks = "; ".join(f"{mark}: {published.ATTRIBUTIONS[name]}" for name, mark in MARKS.items() if mark)
    note = (
        f"As published, version {version}, per cent. No mark: {published.ATTRIBUTIONS['primary']}; {marks}. An empty "
        "cell was not found in a source that could be opened. `mean` is computed from the cells, `printed` is the "
        "source's."
    )
    return show(pd.DataFrame(rows), note, f"Tables 3 and 4 of the paper, {version}, as published")


def provenance(version: str = "v3", tables: Sequence[str] = ("Table 3", "Table 4")) -> Shown:
    """Return every published figure with where it was read, behind a line that opens it."""
    long = published.accuracies(version=version)
    long = long[long["table"].isin(list(tables)) & long["percent"].notna()]
    columns = ["table", "model", "size", "training", "benchmark", "percent", "attribution", "read_in", "note"]
    columns = [name for name in columns if (long[name] != "").any()]
    frame = long[columns].rename(columns={"read_in": "read in"})
    return details(frame, f"Where each of these {len(frame)} figures was read", long=("read in", "note"))


def miniature(
    records: Iterable[EvaluationRecord | Mapping[str, Any]],
    size: str | None = None,
    mixtures: Sequence[str] | None = None,
) -> Shown:
    """Return the miniature's table: each model by benchmark, per cent, the corrected rule before the published one.

    It shows only models of ``size``, and trained on ``mixtures``, in this order, and none of a counter-world. Without
    such a record it is a sentence that names the command that measures them.
    """
    long = measured_models.accuracy_table(records)
    if len(long):
        long = long[~long["variant"].isin({*map(variant_of, WORLDS)} - {""})]
    if size is not None and len(long):
        long = long[long["size"] == size]
    if mixtures is not None and len(long):
        long = long[long["mixture"].isin(list(mixtures))]
        long = long.sort_values("mixture", key=lambda column: column.map(list(mixtures).index), kind="stable")
    if long.empty:
        what = f" of size {size}" if size else ""
        command = "make book" if size in (None, "1m") else "make book-full"
        return say(f"No record of the miniature{what} is there yet; `{command}` measures it.")
    note = (
        "Ours, the miniature, per cent: corrected rule / published rule. Averages are means over benchmarks. "
        f"n = {int(long['n'].min())} problems a benchmark; `rules differ on` counts items, all seeds together."
    )
    return show(_by_benchmark(long), note, "the miniature's accuracies")


def _by_benchmark(long: pd.DataFrame) -> pd.DataFrame:
    """Return a row a model and decoding: each benchmark and the averages under both rules, in per cent."""
    rows = []
    for key, part in long.groupby(_KEYS, sort=False):
        model = dict(zip(_KEYS, key, strict=True))
        row: dict[str, Any] = {"model": _model_name(model), "decoding": model["decoding"]}
        for score in part.itertuples():
            row[score.benchmark] = f"{100 * score.corrected:.1f} / {100 * score.published:.1f}"
        for title, own in (("in domain", part[part["in_domain"]]), ("out of domain", part[~part["in_domain"]])):
            row[title] = _both(own)
        row |= {"nine sets": _both(part), "rules differ on": int(part["differ"].sum())}
        row |= {"seeds": int(part["seeds"].min()), "measured in": "; ".join(dict.fromkeys(part["origin"]))}
        rows.append(row)
    return pd.DataFrame(rows)


def real_model(records: Iterable[EvaluationRecord | Mapping[str, Any]], mixtures: Sequence[str] | None = None) -> Shown:
    """Return the real model's table: each cell by benchmark, per cent, the corrected rule before the published one.

    It shows the cells of ``mixtures``, in this order, or all of them; without one it is a sentence that names the
    command that measures them.
    """
    long = measured_models.accuracy_table(records, world="real")
    if len(long):
        long = long[(long["size"] == claim_definitions.REAL_SIZE) & (long["family"] == claim_definitions.REAL_FAMILY)]
        long = long[long["variant"].isin(["", claim_definitions.REAL_ROWS])]
        order = list(mixtures or REAL_ORDER)
        long = long[long["mixture"].isin(order)]
        long = long.sort_values("mixture", key=lambda column: column.map(order.index), kind="stable")
    if long.empty:
        return say("No record of the real model is there yet; `make real` measures it.")
    n = int(long["n"].min())
    note = (
        "Ours, a real model of half a billion parameters, one seed, per cent: corrected rule / published rule. "
        f"Averages are means over benchmarks. n = {n} problems a benchmark: one benchmark's figure is known to about "
        f"{98 / math.sqrt(n):.0f} points, an average to about {98 / math.sqrt(9 * n):.0f}. `rules differ on` counts "
        "items."
    )
    return show(_by_benchmark(long), note, "the real model's accuracies")


def real(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> Shown:
    """Return our accuracies on the real benchmarks, one row a record and benchmark, or a sentence on how to measure."""
    long = measured_models.accuracy_table(records, world="real")
    if long.empty:
        return say(
            "Nothing was measured on the real benchmarks yet. `papermill notebooks/evaluate.ipynb runs/graded.ipynb "
            "-p completions FILE` grades stored completions; `-p size 7b` decodes a trained model."
        )
    trained = long["family"] + "-" + long["size"] + " " + long["mixture"]
    frame = pd.DataFrame({
        "run": long["variant"].where(long["variant"] != "", trained),
        "decoding": long["decoding"], "benchmark": long["benchmark"], "n": long["n"],
        "corrected, %": 100 * long["corrected"], "published rule, %": 100 * long["published"],
        "rules differ on": long["differ"], "measured in": long["origin"], "record": long["read_in"],
    })  # fmt: skip
    return show(frame, "Ours, graded here.", "ours on the real benchmarks")


def claims_table(results: Sequence[ClaimResult]) -> Shown:
    """Return the nine claims with difference, interval, verdict, and the paper's own figures."""
    frame = claims.table(results).drop(columns=["reason", "built in"])
    note = (
        "Differences in percentage points, corrected rule; the interval is clustered by problem family, and by seed "
        "where there are several. One seed gives an interval for that model only. The half-width expected was foretold "
        "on the development split. The column of this run has what its own models give, where committed ones decide."
    )
    return show(frame, note, "the nine claims", long=("statement", "the paper"))


def claim_reasons(results: Sequence[ClaimResult]) -> Shown:
    """Return each claim's formula, verdict and reason, what the construction settles, and its counter-world."""
    frame = claims.table(results)[["claim", "verdict", "reason", "built in"]]
    frame = frame.rename(columns={"built in": "what the world builds in"})
    frame.insert(1, "formula", [result.formula for result in results])
    frame["in a counter-world"] = [result.counter for result in results]
    long = ("formula", "reason", "what the world builds in", "in a counter-world")
    return show(frame, "", "reasons for the verdicts", long)


def claim_parts(results: Sequence[ClaimResult]) -> Shown:
    """Return every part and every reported step, with the accuracies that it compares and where they were measured."""
    rows = []
    for result in results:
        origin = {label: f"{where}: {', '.join(filter(None, files))}" for label, where, files in result.models}
        for kind, parts in (
            ("decides", result.parts), ("reported", result.steps), ("counter-world", result.counter_parts),
        ):  # fmt: skip
            for part in parts:
                compared = "; ".join(f"{label}: {100 * value:.1f} %" for label, value in part.accuracies)
                read = "; ".join(dict.fromkeys(origin[label] for label, _ in part.accuracies if label in origin))
                rows.append({
                    "claim": result.id, "part": part.name, "role": kind, "difference": part.difference,
                    "published rule": f"{part.published_rule * (1 if part.log_odds else 100):+.2f}",
                    "accuracies": compared,
                    "n": part.interval.items, "families": part.interval.families, "seeds": part.interval.seeds,
                    "measured in": read,
                })  # fmt: skip
    summary = f"All {len(rows)} differences, with the accuracies behind them"
    return details(pd.DataFrame(rows), summary, long=("part", "accuracies", "measured in"))


def _model_name(model: Mapping[str, Any]) -> str:
    trained = "untuned base" if model["mixture"] == UNTUNED else model["mixture"]
    method = "" if model["method"] in ("", "full") else f" ({model['method']})"
    variant = f", {model['variant'].replace('-', ' ')}" if model["variant"] else ""
    return f"{model['family']}-{model['size']} {trained}{method}{variant}".strip("- ")


def _both(part: pd.DataFrame) -> str:
    return f"{100 * part['corrected'].mean():.1f} / {100 * part['published'].mean():.1f}" if len(part) else ""


def _marked(value: Any, attribution: str) -> str:
    return "" if _missing(value) else f"{value:.1f}{MARKS.get(attribution, '')}"


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _cell(value: Any, long: bool, digits: int) -> str:
    number = isinstance(value, float)
    text = "" if _missing(value) else f"{value:.{digits}f}" if number else str(value)
    room = ' style="min-width:16em;white-space:normal;text-align:left"' if long else ' style="white-space:nowrap"'
    return f"<td{room}>{html.escape(text)}</td>"
