"""The planner as three choices: card, model and method, over a table that the Python planner has made.

One piece of HTML for a notebook and the built book. It loads nothing, works from a file, and computes nothing: the
script beside it looks up what stands in the table. Without JavaScript the page's own choice is shown.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mammoth_utils import scales
from mammoth_utils.records import Record
from mammoth_utils.training.hardware_tables import Hardware, advice_table, scale_table
from mammoth_utils.training.plan.gpu_fit import format_gib
from mammoth_utils.training.plan.gpu_models import GPU_MODELS

IDENTITY = "mammoth-planner"
FIGURES = ("memory of each card", "cards", "rows in one pass, at most", "tokens a second", "hours", "dollars")
MISSING = "-"  # a figure of a run that nothing carries; it is not shown, since the sentence says what to choose
SCRIPT = Path(__file__).with_suffix(".js")
_STYLE = """
.mp{margin:1em 0;max-width:100%}
.mp-choices{display:flex;flex-wrap:wrap;gap:.6em 1em;border:0;margin:0 0 .8em;padding:0;min-width:0}
.mp-choices label{display:flex;flex-direction:column;gap:.2em;min-width:0;max-width:100%;font-weight:bold}
.mp-choices select{font:inherit;font-weight:normal;color:inherit;background:transparent;border:1px solid #888;
border-radius:4px;padding:.4em .5em;min-height:2.75em;max-width:100%}
.mp-choices option{color:#000;background:#fff}
.mp-plan{border-left:.3em solid #b3541e;padding:.2em 0 .2em .9em}
.mp[data-fits=yes] .mp-plan{border-color:#2e8540}
.mp-plan p{margin:0 0 .6em}
.mp-plan dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5em,1fr));gap:.4em 1em;margin:0}
.mp-plan dl div{min-width:0}
.mp-plan dt{font-size:.85em;font-weight:normal;margin:0}.mp-plan dd{margin:0;font-weight:bold}
"""


@dataclass(frozen=True)
class PlannerChoices:
    """The widget and its table.

    Attributes:
        plans: By card, model and method: ``fits`` (``"yes"`` or ``"no"``), ``sentence``, and ``figures`` in the order
            of ``FIGURES``, all of them as they are shown.
        first: The card, model and method that are shown first.
    """

    plans: dict[str, dict[str, dict[str, Record]]]
    first: tuple[str, str, str]
    note: str

    def __repr__(self) -> str:
        plan = self.plans[self.first[0]][self.first[1]][self.first[2]]
        figures = "\n".join(f"{name:<26}{figure}" for name, figure in zip(FIGURES, plan["figures"], strict=True))
        return f"{', '.join(self.first)}: {plan['sentence']}\n{figures}"

    def _repr_html_(self) -> str:
        card, model, method = self.first
        plan = self.plans[card][model][method]
        choices = "".join(
            _choice(name, table, chosen)
            for name, table, chosen in (
                ("Card", list(self.plans), card),
                ("Model", {name: _model_label(name) for name in self.plans[card]}, model),
                ("Method", {name: _METHOD_LABELS[name] for name in self.plans[card][model]}, method),
            )
        )
        figures = "".join(
            f"<div{' hidden' if figure == MISSING else ''}>"
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(figure)}</dd></div>"
            for name, figure in zip(FIGURES, plan["figures"], strict=True)
        )
        data = json.dumps(self.plans, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        script = SCRIPT.read_text(encoding="utf8").replace("ID", json.dumps(IDENTITY), 1)
        return (
            f'<div class="mp" id="{IDENTITY}" data-fits="{plan["fits"]}"><style>{_STYLE}</style>'
            f'<div class="mp-choices" role="group" aria-label="What to plan">{choices}</div>'
            f'<div class="mp-plan" role="status"><p class="mp-sentence">{html.escape(plan["sentence"])}</p>'
            f"<dl>{figures}</dl></div><p><small>{html.escape(self.note)}</small></p>"
            "<noscript><p>The choices need JavaScript; the figures above are those of this page's run.</p></noscript>"
            f'<script type="application/json" class="mp-data">{data}</script><script>{script}</script></div>'
        )


_METHOD_LABELS = {"full": "full fine-tuning", "lora": "LoRA", "qlora": "QLoRA"}


def planner_choices(
    hardware: Hardware, size: str = "7b", family: str = "auto", method: str = "qlora"
) -> PlannerChoices:
    """Return the planner as choices over every card, real scale and method.

    Args:
        hardware: Its card is shown first, and its other settings hold for every card; a price of its own for its card
            alone.
        size, family, method: The model and method that are shown first.

    Raises:
        ValueError: If the size or the method is unknown.
    """
    first = f"{size} {scales.scale(size, family).family}"
    plans = {
        name: _plans_of_card(replace(hardware, gpu=gpu, price=hardware.price if gpu == hardware.gpu else None))
        for name, gpu in GPU_MODELS.items()
    }
    chosen = plans[hardware.gpu.name]
    if first not in chosen or method not in chosen[first]:
        known = ", ".join(f"{model} by {name}" for model, methods in chosen.items() for name in methods)
        raise ValueError(f"there is no plan of {first} by {method}; known: {known}")
    cards = "1 card" if hardware.gpus == 1 else f"{hardware.gpus} cards"
    rows = "1 row" if hardware.micro_batch == 1 else f"{hardware.micro_batch} rows"
    note = (
        f"Planned for {cards} and {rows} of {hardware.max_length:,} tokens in one pass. Where these cards do not carry "
        "the run, cards, speed, hours and dollars are those of the fewest that do. Hours and dollars are estimates for "
        "the paper's three epochs."
    )
    return PlannerChoices(plans, (hardware.gpu.name, first, method), note)


def _plans_of_card(hardware: Hardware) -> dict[str, dict[str, Record]]:
    advice = {(row["size"], row["family"], row["method"]): row["advice"] for row in advice_table(hardware)}
    plans: dict[str, dict[str, Record]] = {}
    for row in scale_table(hardware):
        of = plans.setdefault(f"{row['size']} {row['family']}", {})
        of[row["method"]] = _entry(hardware, row, advice.get((row["size"], row["family"], row["method"]), ""))
    return plans


def _entry(hardware: Hardware, row: Mapping[str, Any], advice: str) -> Record:
    """Return what is shown of a row of ``scale_table``."""
    total, held = format_gib(row["total"]), f"{hardware.gpu.gib:.1f}"
    where = f"one {hardware.gpu.name}" if hardware.gpus == 1 else f"each of {hardware.gpus} x {hardware.gpu.name}"
    advice = advice or f"it needs {total} of the {held} GiB on {where}"
    sentence = f"Fits: it takes {total} of the {held} GiB on {where}." if row["fits"] else f"Does not fit: {advice}."
    figures = [f"{total} of {held} GiB", _number(row["cards"], "none up to 64"), _number(row["largest micro_batch"])]
    figures += [_number(row["tokens a second"]), _number(row["hours"], digits=1)]
    figures.append(_number(row["dollars"], "no price" if row["cards"] else MISSING))
    return {"fits": "yes" if row["fits"] else "no", "sentence": sentence, "figures": figures}


def _number(value: float | None, missing: str = MISSING, digits: int = 0) -> str:
    return missing if value is None else f"{value:,.{digits}f}"


def _model_label(name: str) -> str:
    size, family = name.split(" ", 1)
    return f"{name} ({scales.scale(size, family).base.rpartition('/')[2]})"


def _choice(label: str, options: Mapping[str, str] | Sequence[str], chosen: str) -> str:
    labels = options if isinstance(options, Mapping) else {name: name for name in options}
    listed = "".join(
        f'<option value="{html.escape(name)}"{" selected" if name == chosen else ""}>{html.escape(shown)}</option>'
        for name, shown in labels.items()
    )
    return f"<label>{label}<select>{listed}</select></label>"
