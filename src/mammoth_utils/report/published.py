"""The paper's published figures as data frames, each with its version, its attribution and where it was read.

Each figure was read in the authors' model cards and repository, in a card checked against the v3 PDF, or in papers that
reprint it. An empty cell stands in none of the sources that :func:`sources` lists: nothing was filled in from memory,
and figures of which a second search was not sure are left out. Accuracies here are per cent, one decimal, as printed.
"""

from __future__ import annotations

import csv
import html
import re
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from mammoth_utils import vocabulary
from mammoth_utils.report.table_markup import Markup
from mammoth_utils.scales import released
from mammoth_utils.vocabulary import check_known

IN_DOMAIN = ("GSM8K", "MATH", "AQuA-RAT", "NumGLUE")
OUT_OF_DOMAIN = ("SVAMP", "Mathematics", "SimulEq", "SAT-Math", "MMLU-Math")
NINE = IN_DOMAIN + OUT_OF_DOMAIN
AVERAGE = "average"
VERSIONS = ("v3", "v1", "pre-v3", "github-2023-12")
ATTRIBUTIONS = {
    "primary": "the authors' own table, model card or repository",
    "checked against v3": "a reading that was checked against the v3 PDF states it",
    "secondary attributed": "another paper or thread prints it and names MAmmoTH",
    "inferred from a v3 copy": "a later paper whose MAmmoTH rows equal v3 in every cell prints it",
    "secondary unattributed": "another paper prints it for the same model and set, without saying where from; "
    "whether MAmmoTH prints the same is not confirmed",
    "not found": "the row exists, its figures were not found",
}
# Printed averages that their own cells do not give, and by how much; every other one agrees within rounding.
KNOWN_DIFFERENCES = {
    ("Table 4", "v1", "MAmmoTH-Coder", "7B"): 0.18,
    ("Table 4", "v1", "MAmmoTH-Coder", "13B"): -0.08,
    ("Table 3", "v1", "MAmmoTH-Coder", "34B"): -0.08,
}
_SIZES = ("", "6.7B", "7B", "13B", "30B", "34B", "70B", "540B")
_GROUPS = ("closed", "7B", "13B", "30-34B", "65-70B")


def sources() -> pd.DataFrame:
    """Return where figures were read: ``name`` as the other tables use it, and ``where`` that is."""
    return pd.DataFrame(_rows("sources"))


@cache
def _links() -> dict[str, str]:
    """Return the address of each source that has one, from the text that says where it is."""
    links = {}
    for row in _rows("sources"):
        if found := re.match(r"arXiv (\d{4}\.\d{5})", row["where"]):
            links[row["name"]] = f"https://arxiv.org/abs/{found[1]}"
        elif found := re.match(r"[\w-]+(?:\.[\w-]+)+(?:/[\w./-]+)?", row["where"]):
            links[row["name"]] = f"https://{found[0]}"
    return links


def linked(read_in: str) -> Markup:
    """Return names of sources, as ``read_in`` holds them, as HTML with a link where a source has an address."""
    shown = []
    for name in read_in.split("; "):
        address = _links().get(re.sub(r" \(issues? [\d, ]+\)$", "", name))
        issue = re.search(r"\(issue (\d+)\)$", name)
        if address and issue:
            address = f"{address}/{issue[1]}"
        text = html.escape(name)
        shown.append(f'<a href="{html.escape(address, quote=True)}">{text}</a>' if address else text)
    return Markup("; ".join(shown))


def table1() -> pd.DataFrame:
    """Return Table 1: the thirteen sources of MathInstruct, one more of the release, and the printed total.

    ``printed_rows`` are the paper's, ``released_rows`` the release's where known exactly, with bounds beside them.
    """
    frame = pd.DataFrame(_rows("table1"))
    for column in ("printed_rows", "released_rows", "released_at_least", "released_at_most"):
        frame[column] = pd.to_numeric(frame[column]).astype("Int64")
    return frame


def table2() -> pd.DataFrame:
    """Return Table 2: the nine benchmarks, their problems as printed and the rows of the released files."""
    frame = pd.DataFrame(_rows("table2"))
    frame[["problems", "released_rows"]] = frame[["problems", "released_rows"]].apply(pd.to_numeric)
    frame["in_domain"] = frame["in_domain"] == "yes"
    return frame


def versions() -> pd.DataFrame:
    """Return the paper's versions and what their abstracts claim; v2's abstract was not found."""
    frame = pd.DataFrame(_rows("versions"))
    for column in ("best_7b_on_math", "34b_on_math", "over_wizardmath_7b_on_math", "gain_low", "gain_high"):
        frame[column] = pd.to_numeric(frame[column])
    return frame


def accuracies(table: str | None = None, version: str | None = None) -> pd.DataFrame:
    """Return one row a published figure, with its table, version, model, training, benchmark and attribution.

    A row without a benchmark stands for a line of the table of which no figure was found.

    Raises:
        ValueError: If the table or the version is unknown, naming the choices.
    """
    frame = pd.DataFrame(_rows("accuracies"))
    frame["percent"] = pd.to_numeric(frame["percent"])
    for column, value in (("table", table), ("version", version)):
        if value is not None:
            known = sorted(frame[column].unique())
            check_known(column, value, known)
            frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def main_results(size: str | None = None, version: str = "v3") -> pd.DataFrame:
    """Return Tables 3 and 4: one row a model, the nine benchmarks and both averages, as printed and as computed.

    ``computed_in`` and ``computed_out`` are the means of the cells where the row is complete; ``printed_in`` and
    ``printed_out`` stand where a source prints them. ``provenance`` counts the figures by attribution;
    :func:`accuracies` has it for each figure.

    Args:
        size: Only this size, such as ``"7b"``; closed models have none.
        version: ``"v3"`` (ICLR 2024), ``"v1"`` (September 2023), or one of the two others in :data:`VERSIONS`.

    Raises:
        ValueError: If no row has that size or version, naming the choices.
    """
    check_known("version", version, VERSIONS)
    long = pd.concat([accuracies("Table 3"), accuracies("Table 4")])
    long = long[long["version"] == version]
    if size is not None:
        known = sorted({s.lower() for s in long["size"] if s}, key=lambda s: float(s[:-1]))
        if size.lower() not in known:
            raise ValueError(f"{version} prints no model of size {size!r}; known: {', '.join(known)}")
        long = long[long["size"].str.lower() == size.lower()]
    rows = []
    for (group, model, base, model_size), lines in _by_row(long, ["group", "model", "size"]):
        row: dict[str, Any] = {"version": version, "group": group, "model": model, "base": base, "size": model_size}
        row["decoding"] = next(filter(None, lines["decoding"]), "")
        row |= {name: _figure(lines, name) for name in NINE}
        for label, table, names in (("in", "Table 3", IN_DOMAIN), ("out", "Table 4", OUT_OF_DOMAIN)):
            row[f"printed_{label}"] = _figure(lines[lines["table"] == table], AVERAGE)
            row[f"computed_{label}"] = _mean(row, names)
        counts = lines["attribution"].value_counts()
        row["provenance"] = "; ".join(f"{counts[name]} {name}" for name in ATTRIBUTIONS if name in counts)
        rows.append(row)
    return pd.DataFrame(rows)


def subsets() -> pd.DataFrame:
    """Return Table 5: Llama-2 7B trained on a growing mixture; most of its cells were not found and are empty."""
    return _by_training("Table 5", "v3")


def sources_ablation(version: str = "v3") -> pd.DataFrame:
    """Return Table 6 / Figure 2: Llama-2 7B trained on CoT only, PoT only and both; v1 has the averages only."""
    return _by_training("Table 6", version)


def decodings() -> pd.DataFrame:
    """Return Table 7: each of the six models decoded by CoT, PoT and hybrid; complete, 18 rows."""
    rows = []
    for (model, base, size, decoding), lines in _by_row(accuracies("Table 7"), ["model", "size", "decoding"]):
        row: dict[str, Any] = {"version": "v3", "model": model, "base": base, "size": size, "decoding": decoding}
        row |= {name: _figure(lines, name) for name in NINE}
        rows.append(row | {"printed": _figure(lines, AVERAGE), "computed": _mean(row, NINE)})
    return pd.DataFrame(rows)


def beside(table: pd.DataFrame, model: str, decoding: str = "hybrid") -> pd.DataFrame:
    """Return the paper's figures for one of the authors' released checkpoints beside those of an evaluation.

    Args:
        table: One row a real benchmark with its ``benchmark``, ``n`` and accuracies, as ``evaluation.tables.table``
            returns it; other rows are left out.
        model: The model's name on the hub, or a short name of ``scales.RELEASED``; any other gives an empty table.
        decoding: How it was decoded; ``paper`` stands beside the paper's hybrid decoding.

    Columns: ``benchmark``, ``n``, ``paper``, then ``published`` and ``corrected`` as ours, all per cent, and
    ``difference``, ours under the published rule minus the paper's.
    """
    columns = ["benchmark", "n", "paper", "published", "corrected", "difference"]
    known = released(model)
    if known is None:
        return pd.DataFrame(columns=columns)
    way = {"cot": "CoT", "pot": "PoT"}.get(decoding, "Hybrid")
    if known.version == "v3":  # Table 7 is complete, and its hybrid rows are Tables 3 and 4
        rows = decodings()
        rows = rows[rows["decoding"] == way]
    else:
        rows = main_results(known.size, known.version)
    row = rows[(rows["model"] == known.model) & (rows["size"].str.lower() == known.size)].iloc[0]
    ours = table.set_index("benchmark")
    lines = []
    for name, paper_name in zip(vocabulary.NINE, NINE, strict=True):
        if name not in ours.index:
            continue
        cell = ours.loc[name]
        percent = {rule: 100 * cell[rule] for rule in vocabulary.RULES}
        lines.append([name, cell["n"], row[paper_name], *percent.values(), percent["published"] - row[paper_name]])
    return pd.DataFrame(lines, columns=columns)


def averages() -> pd.DataFrame:
    """Return every printed average whose cells are all known, beside the mean of the printed cells.

    ``rounding`` says whether that mean, rounded to one decimal, is the printed figure (half-way cases either way);
    ``known`` marks the three v1 averages for which it is not. Rounding of the cells could explain two of these (0.05
    each), but not Coder-7B's 50.2.
    """
    rows = []
    groups = (("Table 3", IN_DOMAIN), ("Table 4", OUT_OF_DOMAIN), *((f"Table {n}", NINE) for n in (5, 6, 7)))
    for table, names in groups:
        keys = ["version", "model", "size", "training", "decoding"]
        for key, lines in accuracies(table).groupby(keys, sort=False):
            row = {name: _figure(lines, name) for name in names}
            printed, computed = _figure(lines, AVERAGE), _mean(row, names)
            if printed is None or computed is None:
                continue
            where = dict(zip(keys, key, strict=True))
            known = KNOWN_DIFFERENCES.get((table, where["version"], where["model"], where["size"]))
            gap = round(printed - computed, 2)
            rows.append({"table": table, **where, "printed": printed, "computed": computed, "gap": gap}
                        | {"rounding": abs(gap) <= 0.055, "known": known is not None})  # fmt: skip
    return pd.DataFrame(rows)


def figure(table: str, benchmark: str, version: str = "v3", **where: str) -> float:
    """Return one published figure in per cent, such as ``figure("Table 6", "average", training="PoT")``.

    Raises:
        LookupError: If none or several match, naming the request.
    """
    lines = accuracies(table, version)
    for column, value in {"benchmark": benchmark, **where}.items():
        lines = lines[lines[column] == value]
    if len(lines) != 1:
        raise LookupError(f"{len(lines)} published figures match {table}, {benchmark}, {version}, {where}; expected 1")
    return float(lines["percent"].iloc[0])


def _by_training(table: str, version: str) -> pd.DataFrame:
    rows = []
    for training, lines in accuracies(table, version).groupby("training", sort=False):
        row: dict[str, Any] = {"version": version, "training": training}
        row |= {name: _figure(lines, name) for name in NINE}
        row |= {"printed": _figure(lines, AVERAGE), "computed": _mean(row, NINE)}
        rows.append(row | {"note": "; ".join(dict.fromkeys(filter(None, lines["note"])))})
    return pd.DataFrame(rows)


def _by_row(long: pd.DataFrame, keys: list[str]):
    """Yield groups in the paper's order: by class of size, Llama before Code Llama, decodings as printed."""
    order = long.assign(
        _group=[_GROUPS.index(group) for group in long["group"]],
        _size=[_SIZES.index(size) for size in long["size"]],
        _ours=long["model"].str.startswith("MAmmoTH"),
    ).sort_values(["_group", "_ours"], kind="stable")
    named = ["group", "model", "base", "size"] if "group" in keys else ["model", "base", "size", "decoding"]
    for _, lines in order.groupby(keys, sort=False):
        base = next(filter(None, lines["base"]), "")
        yield tuple(base if name == "base" else lines[name].iloc[0] for name in named), lines


def _figure(lines: pd.DataFrame, benchmark: str) -> float | None:
    values = lines.loc[lines["benchmark"] == benchmark, "percent"]
    return float(values.iloc[0]) if len(values) else None


def _mean(row: dict[str, Any], names: tuple[str, ...]) -> float | None:
    values = [row[name] for name in names]
    return None if None in values else round(sum(values) / len(values), 2)


@cache
def _rows(name: str) -> list[dict[str, str]]:
    text = (resources.files("mammoth_utils.report") / "published_tables" / f"{name}.csv").read_text(encoding="utf8")
    return list(csv.DictReader(text.splitlines()))
