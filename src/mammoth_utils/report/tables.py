"""The book's tables: published figures, ours, and the claims, each as HTML with a caption."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammoth_utils.miniature import WORLDS, variant_of
from mammoth_utils.report import claim_cards, claim_definitions, claims, measured_models, published
from mammoth_utils.report.claims import ClaimResult
from mammoth_utils.report.measured_models import THIS_RUN, DecodedModel, EvaluationRecord
from mammoth_utils.report.table_markup import Markup, escape, folded_html, prose, table_html
from mammoth_utils.vocabulary import EQUAL_STEPS, UNTUNED

# One mark for each attribution below "the authors' own"; the note under a table spells them out.
MARKS = {
    "primary": "", "checked against v3": "a", "secondary attributed": "b", "inferred from a v3 copy": "c",
    "secondary unattributed": "d",
}  # fmt: skip
REAL_ORDER = ("hybrid", "pot", "cot", "G-cot", UNTUNED)
_KEYS = ["size", "family", "mixture", "variant", "method", "decoding"]
_BOTH = "published / corrected rule, one figure where they agree"
FOUND = "as found in the authors' model cards and READMEs and in other papers"


@dataclass(frozen=True)
class Shown:
    """A table for a page: HTML in a browser, text elsewhere."""

    frame: pd.DataFrame
    markup: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.frame.to_string(index=False, na_rep="")


def show(
    frame: pd.DataFrame,
    note: str = "",
    label: str = "",
    long: Sequence[str] = (),
    digits: int = 1,
    shown_as: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Shown:
    """Return a frame as a table of the book, without its index.

    Args:
        frame: Numbers are rounded, missing values stay empty; the first column names the rows.
        label: The caption, which is also what a screen reader calls the table.
        long: Columns of prose, which get room to wrap.
        shown_as: How a column's values are written, such as :func:`published.linked` for names of sources.
    """
    shown_as = shown_as or {}
    rows = [
        [escape(shown_as[name](value)) if name in shown_as else _cell(value, digits)
         for name, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False)
    ]  # fmt: skip
    columns = [_head(name) for name in frame.columns]
    caption = prose(label[:1].upper() + label[1:])
    return Shown(frame, table_html(columns, rows, caption, prose(note), [_head(name) for name in long]))


def say(sentence: str) -> Shown:
    """Return a sentence in place of a table that has no rows yet; what stands between backticks is code."""
    return Shown(pd.DataFrame({"": [sentence]}), f"<p>{prose(sentence)}</p>")


def details(frame: pd.DataFrame, summary: str, **options: Any) -> Shown:
    """Return a table behind a line that opens it."""
    return fold(show(frame, **options), summary)


def fold(table: Shown, summary: str) -> Shown:
    """Return a table that was made already behind a line that opens it."""
    return Shown(table.frame, folded_html(summary, table.markup))


def _with_gaps(complete: Shown, gaps: pd.DataFrame, cells: Sequence[str], what: str, **options: Any) -> Shown:
    """Return a published table: its complete rows, then, folded, those with gaps and what was looked at for them."""
    if gaps.empty:
        return complete
    count = len(gaps) * len(cells)
    empty = int(gaps[list(cells)].map(lambda value: _missing(value) or value == "").to_numpy().sum())
    note = Markup(
        f"{empty} of the {count} cells of these rows stand in no source that was looked at. Looked at: "
        f"{'; '.join(published.linked(name) for name in published.sources()['name'])}. Nothing was filled in from "
        "memory."
    )
    rows = "row" if len(gaps) == 1 else "rows"
    folded = details(
        gaps, f"{len(gaps)} more {rows} of {what}, with gaps, and what was looked at", note=note, **options
    )
    frame = pd.concat([complete.frame, gaps], ignore_index=True)
    return Shown(frame, (complete.markup if len(complete.frame) else "") + folded.markup)


def published_main(size: str | None = None, version: str = "v3") -> Shown:
    """Return Tables 3 and 4 as found; a figure that is not from the authors themselves carries a mark."""
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
        f"Version {version}, per cent. No mark: {published.ATTRIBUTIONS['primary']}; {marks}. `mean` is computed from "
        "the cells, `printed` is the source's."
    )
    frame = pd.DataFrame(rows)
    complete = (frame[list(published.NINE)] != "").all(axis=1)
    what = f"Tables 3 and 4 of the paper, {version}"
    marks = dict.fromkeys(published.NINE, _raised)
    label = f"{what}, {FOUND}: rows with all nine figures"
    first = show(_without_empty(frame[complete]), note, label, shown_as=marks)
    label = f"{what}: rows with gaps"
    gaps = _without_empty(frame[~complete], keep=published.NINE)
    return _with_gaps(first, gaps, published.NINE, what, label=label, shown_as=marks)


def published_training(frame: pd.DataFrame, what: str) -> Shown:
    """Return Table 5 or 6 as found, from :func:`published.subsets` or :func:`published.sources_ablation`.

    Args:
        what: The caption, such as ``Table 5 of the paper, v3``.
    """
    frame = frame.drop(columns=["version"])
    complete = frame[list(published.NINE)].notna().all(axis=1)
    options: dict[str, Any] = {"long": ("note",)}
    note = "Per cent. `printed` is the source's average, `computed` the mean of the cells."
    first = show(_without_empty(frame[complete]), note, f"{what}, {FOUND}: rows with all nine figures", **options)
    label = f"{what}: rows with gaps"
    gaps = _without_empty(frame[~complete], keep=published.NINE)
    return _with_gaps(first, gaps, published.NINE, what, label=label, **options)


def _without_empty(frame: pd.DataFrame, keep: Sequence[str] = ()) -> pd.DataFrame:
    """Return a frame without the columns that hold nothing, other than those to keep."""
    filled = [
        name for name in frame.columns
        if name in keep or any(not _missing(value) and value != "" for value in frame[name])
    ]  # fmt: skip
    return frame[filled].reset_index(drop=True)


def provenance(version: str = "v3", tables: Sequence[str] = ("Table 3", "Table 4")) -> Shown:
    """Return every published figure with where it was read, behind a line that opens it."""
    long = published.accuracies(version=version)
    long = long[long["table"].isin(list(tables)) & long["percent"].notna()]
    columns = ["table", "model", "size", "training", "benchmark", "percent", "attribution", "read_in", "note"]
    columns = [name for name in columns if (long[name] != "").any()]
    frame = long[columns].rename(columns={"read_in": "read in"})
    shown_as = {"read in": published.linked}
    summary = f"Where each of these {len(frame)} figures was read"
    return details(frame, summary, label=summary, long=("read in", "note"), shown_as=shown_as)


def miniature(
    records: Iterable[EvaluationRecord | Mapping[str, Any]],
    size: str | None = None,
    models: Sequence[DecodedModel] = (),
) -> Shown:
    """Return the miniature's table: each model by benchmark under both rules, per cent, the best average first.

    None of a counter-world is shown. Without a record it is a sentence that names the command that measures them.

    Args:
        size: Only models of this size.
        models: Only these, in this order, at that size.
    """
    evaluations = measured_models.as_evaluations(records)
    others = {*map(variant_of, WORLDS)} - {""}
    groups = {
        key: part for key, part in _by_model(measured_models.accuracy_table(evaluations)).items()
        if key.variant not in others and size in (None, key.size)
    }  # fmt: skip
    if models:
        named = [replace(model, size=size or model.size, method=model.training[-1]) for model in models]
        groups = {key: groups[key] for key in named if key in groups}
    if not groups:
        what = f" of size {size}" if size else ""
        command = "make book" if size in (None, "1m") else "make book-full"
        return say(f"No record of the miniature{what} is there yet; `{command}` measures it.")
    if not models:
        groups = dict(sorted(groups.items(), key=lambda item: -item[1]["corrected"].mean()))
    frame, note = _by_benchmark(groups, evaluations, "miniature")
    return show(frame, note, f"the miniature's accuracies, per cent: {_BOTH}")


def _by_model(long: pd.DataFrame) -> dict[DecodedModel, pd.DataFrame]:
    """Return the rows of :func:`measured_models.accuracy_table` by model."""
    groups = long.groupby(_KEYS, sort=False) if len(long) else ()
    return {DecodedModel(**dict(zip(_KEYS, key, strict=True))): part for key, part in groups}


def _by_benchmark(
    groups: Mapping[DecodedModel, pd.DataFrame], evaluations: Sequence[EvaluationRecord], world: str
) -> tuple[pd.DataFrame, str]:
    """Return a row a model with each benchmark and the averages under both rules, and a note on how to read them."""
    here = [evaluation for evaluation in evaluations if evaluation.origin == THIS_RUN]
    own = _by_model(measured_models.accuracy_table(here, world))
    rows = []
    for model, part in groups.items():
        origins = list(dict.fromkeys(part["origin"]))
        row: dict[str, Any] = {"model": _model_name(model), "decoding": model.decoding}
        row |= {score.benchmark: _both(score.published, score.corrected) for score in part.itertuples()}
        for title, chosen in (
            ("in domain", part[part["in_domain"]]), ("out of domain", part[~part["in_domain"]]), ("nine sets", part),
        ):  # fmt: skip
            row[title] = _both(chosen["published"].mean(), chosen["corrected"].mean()) if len(chosen) else ""
        beside = own[model]["corrected"].mean() if THIS_RUN not in origins and model in own else None
        row["this run"] = f"{100 * beside:.1f}" if beside not in (None, part["corrected"].mean()) else ""
        row["rules differ on"] = int(part["differ"].sum())
        row["seeds"] = "" if model.mixture == UNTUNED else int(part["seeds"].min())
        rows.append(row | {"measured in": "; ".join(origins)})
    frame = _without_empty(pd.DataFrame(rows))
    note = [f"n = {int(min(part['n'].min() for part in groups.values()))} problems a benchmark."]
    note.append("Averages are means over benchmarks; `rules differ on` counts items, all seeds together.")
    # What is the same for every row is said once.
    for name, told in (("seeds", "Seeds of each trained model: {}."), ("measured in", "Measured in: {}.")):
        values = {row[name] for row in rows} - {""}
        if name in frame and len(values) == 1:
            frame, note = frame.drop(columns=name), [*note, told.format(*values)]
    if any(model.variant == EQUAL_STEPS for model in groups):
        note.append("`equal steps`: trained for as many steps as the hybrid, so that its own rows are read more often.")
    if "this run" in frame:
        note.append("`this run`: the nine sets by this run's own trainings, corrected rule.")
    guessed = {name: share for name in frame.columns if (share := measured_models.guessing(name))}
    if guessed:
        row = dict.fromkeys(frame.columns, "") | {"model": "guessing an option"}
        row |= {name: f"{100 * share:.1f}" for name, share in guessed.items()}
        frame = pd.DataFrame([*frame.to_dict("records"), row])
    return frame, " ".join(note)


def real_model(
    records: Iterable[EvaluationRecord | Mapping[str, Any]], mixtures: Sequence[str] = REAL_ORDER
) -> Shown | None:
    """Return the real model's table: each measured cell by benchmark under both rules, per cent; None without a cell.

    Args:
        mixtures: Only cells of these, in this order.
    """
    evaluations = measured_models.as_evaluations(records)
    groups = {
        key: part for key, part in _by_model(measured_models.accuracy_table(evaluations, world="real")).items()
        if (key.size, key.family) == (claim_definitions.REAL_SIZE, claim_definitions.REAL_FAMILY)
        and key.variant in ("", claim_definitions.REAL_ROWS) and key.mixture in mixtures
    }  # fmt: skip
    if not groups:
        return None
    groups = dict(sorted(groups.items(), key=lambda item: mixtures.index(item[0].mixture)))
    n = int(min(part["n"].min() for part in groups.values()))
    frame, note = _by_benchmark(groups, evaluations, "real")
    note = (
        "An open model of half a billion parameters, fine-tuned on 400 real rows by each of the paper's ways, and as "
        "it came. Its base is another one than the paper's and may have seen the benchmarks: compare by sign and size. "
        f"One benchmark's figure is known to about {98 / math.sqrt(n):.0f} points, an average to about "
        f"{98 / math.sqrt(9 * n):.0f}. {note}"
    )
    return show(frame, note, f"the real model's accuracies, per cent: {_BOTH}")


def real_model_state(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> str:
    """Return how much of the real model is measured, to follow "a real model"."""
    evaluations = measured_models.as_evaluations(records)
    models = claim_definitions.models_of(part for claim in claim_definitions.real_claims() for part in claim.parts)
    cells = {model.mixture for model in models}
    found = {model.mixture for model in models if measured_models.seeds_of(model, evaluations)}
    if not found:
        return "is not measured yet; its page has the plan"
    return "is measured too" if found == cells else f"is measured in {len(found)} of its {len(cells)} cells so far"


def real(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> Shown | None:
    """Return our accuracies on the real benchmarks, one row a record and benchmark, folded; None without a record."""
    long = measured_models.accuracy_table(records, world="real")
    if long.empty:
        return None
    models = [DecodedModel(**row) for row in long[_KEYS].to_dict("records")]
    frame = pd.DataFrame({
        "run": [_model_name(model) if model.size else model.variant for model in models],
        "decoding": long["decoding"], "benchmark": long["benchmark"], "n": long["n"],
        "published rule, %": 100 * long["published"], "corrected, %": 100 * long["corrected"],
        "rules differ on": long["differ"], "measured in": long["origin"], "record": long["read_in"].map(_record_names),
    })  # fmt: skip
    summary = "Every record on the real benchmarks"
    return details(frame, summary, note="Ours, graded here.", label=summary)


def cards(results: Sequence[ClaimResult], real: Sequence[ClaimResult] = ()) -> Shown:
    """Return the claims as cards, the real model's verdicts beside the miniature's, above their table, which is folded.

    See :mod:`claim_cards`.
    """
    table = claims_table(results)
    return Shown(table.frame, claim_cards.cards(results, real) + table.markup)


def claims_table(results: Sequence[ClaimResult]) -> Shown:
    """Return the claims with difference, interval, verdict, and the paper's own figures, folded."""
    frame = claims.table(results).drop(columns=["reason", "built in"])
    note = (
        "Differences in percentage points, corrected rule; the interval is clustered by problem family, and by seed "
        "where there are several. One seed gives an interval for that model only. The half-width expected was foretold "
        "on the development split. `this run` is what its own models give at one seed, where committed ones decide."
    )
    frame = _without_empty(frame)
    summary = f"The {len(frame)} claims as a table"
    return details(frame, summary, note=note, label=summary, long=("statement", "the paper"))


def claim_reasons(results: Sequence[ClaimResult]) -> Shown:
    """Return each claim's formula, verdict and reason, what its world builds in, and its counter-world, folded."""
    frame = claims.table(results)[["claim", "verdict", "reason", "built in"]]
    frame = frame.rename(columns={"built in": "what the world builds in"})
    frame.insert(1, "formula", [result.formula for result in results])
    frame["in a counter-world"] = [result.counter for result in results]
    long = ("formula", "reason", "what the world builds in", "in a counter-world")
    summary = "Formulas, reasons, and what the world builds in, as a table"
    return details(frame, summary, label=summary, long=long)


def _record_names(files: str | Iterable[str]) -> str:
    """Return the names of evaluations from their records' files, committed or of this run."""
    places = map(Path, filter(None, files.split("; ") if isinstance(files, str) else files))
    return ", ".join(place.parent.name if place.name == "record.json" else place.stem for place in places)


def claim_parts(results: Sequence[ClaimResult]) -> Shown:
    """Return every part and every reported step, with the accuracies that it compares and where they were measured."""
    rows = []
    for result in results:
        origin = {label: f"{where}: {_record_names(files)}" for label, where, files in result.models}
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
    if not rows:
        return say("None of these differences is measured here.")
    summary = f"All {len(rows)} differences, with the accuracies behind them"
    note = "The column `measured in` names records below `records/` or, of this run, `runs/evaluate/`."
    long = ("part", "accuracies", "measured in")
    return details(pd.DataFrame(rows), summary, note=note, label=summary, long=long)


def _model_name(model: DecodedModel) -> str:
    trained = "untuned base" if model.mixture == UNTUNED else model.mixture
    method = "" if model.method in ("", "full") else f" ({model.method})"
    variant = f", {model.variant.replace('-', ' ')}" if model.variant else ""
    return f"{model.family}-{model.size} {trained}{method}{variant}".strip("- ")


def _both(published_rule: float, corrected: float) -> str:
    """Return a share under both rules in per cent, once where they agree."""
    return " / ".join(dict.fromkeys(f"{100 * share:.1f}" for share in (published_rule, corrected)))


def _marked(value: Any, attribution: str) -> str:
    return "" if _missing(value) else f"{value:.1f}{MARKS.get(attribution, '')}"


def _raised(figure: str) -> Markup:
    """Return a figure with its mark raised."""
    value = figure.rstrip("abcd")
    return Markup(f"{value}<sup>{figure[len(value) :]}</sup>" if value != figure else value)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _head(name: Any) -> str:
    return html.escape(str(name).replace("_", " "))


def _cell(value: Any, digits: int) -> str:
    if not isinstance(value, float) or _missing(value):
        return escape(in_words(value))
    figure = f"{value:.{digits}f}"
    return escape(figure.lstrip("-") if float(figure) == 0 else figure)


def in_words(value: Any) -> Any:
    """Return a value in words: nothing for None, yes or no, a list with commas, a mapping as names with values."""
    if _missing(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {in_words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(in_words(one)) for one in value)
    return value
