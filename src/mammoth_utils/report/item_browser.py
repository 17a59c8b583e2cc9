"""Every problem of every measured model: question, completions, what was printed, answers, verdicts and reasons.

The page ``problems`` shows them in a browser of one piece of HTML, its script and its style in ``item_browser.js`` and
``item_browser.css``. The items lie in files beside the built page, one a model and benchmark, and are loaded when they
are asked for. Each file is a script that calls a function with its content, since a page that was opened from a disk
cannot fetch JSON. ``write_items`` writes them below ``runs/book/static``, from where the built book has its static
files (``executed_pages``).
"""

from __future__ import annotations

import html
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from mammoth_utils import paths, records
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record
from mammoth_utils.report import claim_definitions, executed_pages
from mammoth_utils.report.measured_models import COMMITTED, THIS_RUN, EvaluationRecord
from mammoth_utils.report.table_markup import Markup
from mammoth_utils.report.tables import Shown, say
from mammoth_utils.vocabulary import MARKS, RULES, UNTUNED, check_known

FOLDER = "items"  # below the static files of the built book
CALL = "mammothItems"  # the function that a file of items calls
MINIATURE, REAL, STORED = "the miniature", "real models", "stored outputs on which graders differ"
NOTHING_READ = "no answer was read, so prose was asked for"
KIND_NAMES = {"pot": "program", "cot": "prose", "match": "choice of an option", "": "completion"}
RESCUED, NEEDED, BOTH_WRONG = (
    "Program right, prose wrong", "Prose right, program wrong", "Both wrong",
)  # fmt: skip
_HERE = Path(__file__).parent
Verdicts = dict[str, Record | None]  # by rule: answer, outcome and reason; None where a rule judged something else


@dataclass(frozen=True)
class Item:
    """One problem as one model answered it.

    Attributes:
        id: Such as ``mini-gsm8k/test/17``.
        benchmark: Such as ``mini-gsm8k``.
        attempts: ``kind`` and ``completion`` of each, and where it was a program ``status``, ``printed`` and ``error``;
            a completion is None where its licence does not let others show it.
        order: Places of the attempts that the model's own way of decoding took.
        counted: The verdicts of that way of decoding.
        alone: The verdicts of each attempt by itself, None where it was not judged so.
        problem: Question and gold; None where they are not shown.
        facts: What else is known, by name.
    """

    id: str
    benchmark: str
    attempts: tuple[Record, ...]
    order: tuple[int, ...]
    counted: Verdicts
    alone: tuple[Verdicts | None, ...]
    problem: Problem | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def attempt(self, kind: str) -> int | None:
        """Return the place of the attempt of a kind, one that was judged by itself before any other."""
        places = [place for place, attempt in enumerate(self.attempts) if attempt["kind"] == kind]
        return next((place for place in places if self.alone[place]), places[0] if places else None)

    def is_right(self, kind: str, rule: str) -> bool | None:
        """Return whether the program (``pot``) or the prose (``cot``) is right; None where it was not judged."""
        place = self.attempt(kind)
        verdict = (self.alone[place] or {}).get(rule) if place is not None else None
        return None if verdict is None else verdict["outcome"] == "correct"

    def case(self, rule: str) -> str:
        """Return which of program and prose is right, as one of the titles of this module, or nothing."""
        program, prose = self.is_right("pot", rule), self.is_right("cot", rule)
        titles = {(True, False): RESCUED, (False, True): NEEDED, (False, False): BOTH_WRONG, (True, True): "Both right"}
        return titles.get((program, prose), "")

    @property
    def rules_differ(self) -> bool:
        """Return whether one rule calls the answer that counts correct and the other does not."""
        return len({verdict["outcome"] == "correct" for verdict in self.counted.values() if verdict}) > 1


def read_items(evaluation: EvaluationRecord, quote: Callable[[str], Any] | None = None) -> Iterator[Item]:
    """Yield the items of an evaluation; none where its completions were not kept.

    Args:
        quote: Of a real benchmark's name, what may be shown of it, as ``evaluation.benchmarks.quote`` says; None shows
            no real question.
    """
    file = completions_file(evaluation)
    main, real, quotations = evaluation.record["decoding"], evaluation.world == "real", {}
    for row in records.read_jsonl(file) if file else ():
        benchmark = row.get("benchmark") or row["id"].split("/")[0]
        problem = None
        if real and quote is not None:
            if benchmark not in quotations:
                quotations[benchmark] = quote(benchmark)
            problem = quotations[benchmark].problems.get(row["id"])
        elif not real:
            options = tuple(row["options"]) if row["options"] else None
            about = {"field": row.get("field") or "", "family": row.get("family") or ""}
            problem = Problem(row["id"], row["question"], row["gold"], options, benchmark, **about)
        attempts = tuple(_attempt(attempt) for attempt in row["attempts"])
        counted = {rule: row["decodings"][main][rule] for rule in RULES}
        alone = _judged_alone(row, main)
        yield Item(row["id"], benchmark, attempts, tuple(row["decodings"][main]["order"]), counted, alone, problem)


def completions_file(evaluation: EvaluationRecord) -> Path | None:
    """Return the file with the completions of an evaluation, or None where they were not kept."""
    place = Path(evaluation.path)
    if evaluation.origin == THIS_RUN:
        file = paths.run_dir("evaluate", place.parent.name) / "attempts.jsonl"
    else:
        file = paths.records() / "real" / "completions" / f"{place.stem}.jsonl.gz"
    return file if evaluation.path and file.is_file() else None


def _attempt(attempt: Record) -> Record:
    ran = attempt.get("execution") or attempt
    kept = {key: ran[key] for key in ("status", "printed", "error") if ran.get(key)}
    return {"kind": attempt["kind"], "completion": attempt["completion"], **kept}


def _judged_alone(row: Record, main: str) -> tuple[Verdicts | None, ...]:
    """Return the verdicts of each attempt by itself.

    A way of decoding that made one attempt judged that one. Where hybrid decoding went on to prose, the program gave
    nothing under the published rule, and the prose is what that rule judged. The corrected rule judged the first
    attempt in which it read an answer, which only a row that keeps the attempts' answers can tell.
    """
    alone: list[Verdicts | None] = [None] * len(row["attempts"])
    for decoding in row["decodings"].values():
        if len(decoding["order"]) == 1:
            alone[decoding["order"][0]] = {rule: decoding[rule] for rule in RULES}
    way = row["decodings"][main]
    if main != "hybrid" or len(way["order"]) != 2:
        return tuple(alone)
    program, prose = way["order"]
    nothing = {"answer": None, "outcome": "no_answer", "reason": NOTHING_READ}
    made: dict[int, Verdicts] = {program: {"published": nothing}, prose: {"published": way["published"]}}
    answers = row["attempts"][program].get("answers")
    if answers is not None:
        counts = program if answers["corrected"] else prose
        made[program]["corrected"] = way["corrected"] if counts == program else nothing
        made[prose]["corrected"] = way["corrected"] if counts == prose else None
    for place, verdicts in made.items():
        alone[place] = alone[place] or {rule: verdicts.get(rule) for rule in RULES}
    return tuple(alone)


@dataclass(frozen=True)
class ItemFiles:
    """The written items and what is in them.

    Attributes:
        folder: Where the files are.
        index: What the browser has to know before it loads one: models, benchmarks, the version of the files.
        counts: A row a model and benchmark: items, and how often program and prose are right under the corrected rule.
    """

    folder: Path
    index: Record
    counts: pd.DataFrame

    @property
    def items(self) -> int:
        """The number of items of all models."""
        return int(self.counts["problems"].sum()) if len(self.counts) else 0

    def groups(self) -> pd.DataFrame:
        """Return a row a group of models: how many there are, and their items."""
        if not len(self.counts):
            return self.counts
        by_group = self.counts.groupby("shown as", sort=False)
        return by_group.agg(models=("model", "nunique"), problems=("problems", "sum")).reset_index(names="what")

    def models(self) -> pd.DataFrame:
        """Return a row a model with its items, and of models that were asked for both kinds how these compare."""
        if not len(self.counts):
            return self.counts
        asked = self.counts.groupby(["shown as", "model"], sort=False).sum(numeric_only=True).reset_index()
        both = asked["program and prose"] == asked["problems"]
        for title in (RESCUED, NEEDED, BOTH_WRONG):
            asked[title] = asked[title].where(both).astype("Int64")
        return asked.drop(columns=["program and prose"])

    def by_benchmark(self) -> pd.DataFrame:
        """Return a row a benchmark of the models that were asked for a program and for prose on every problem."""
        if not len(self.counts):
            return self.counts
        both = self.counts[self.counts["program and prose"] == self.counts["problems"]]
        return both.drop(columns=["shown as", "name", "program and prose"])

    def benchmarks(self) -> pd.DataFrame:
        """Return a row a real benchmark: whether its questions are shown, under which licence, and where they are."""
        return pd.DataFrame(
            {"benchmark": name, "questions": about["withheld"] or _shown_in_part(about), "licence": about["licences"],
             "home": about["home"]}
            for name, about in self.index["benchmarks"].items() if about["real"]
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return browser_html(self.index)

    def __repr__(self) -> str:
        return f"{self.items} items of {len(self.index['models'])} models in {paths.relative_to_root(self.folder)}"


def write_items(
    measured: Iterable[EvaluationRecord],
    quote: Callable[[str], Any] | None = None,
    disputed: Sequence[Any] = (),
    only: Sequence[str] = (),
    folder: Path | None = None,
) -> ItemFiles:
    """Write every item of every evaluation whose completions were kept, and of the audit's disputed outputs.

    Only complete evaluations of the test split are taken, of each name this run's before the committed one. One of them
    is in memory at a time. Earlier files in the folder are removed.

    Args:
        quote: As :func:`read_items` takes it.
        disputed: As ``audit.read_disputed_outputs`` returns them.
        only: Names of evaluations or of stored outputs; empty for all.
        folder: Where the files go; None takes the folder of the built book's static files.

    Raises:
        ValueError: If a name is unknown.
    """
    chosen: dict[str, EvaluationRecord] = {}
    for evaluation in measured:
        place = Path(evaluation.path)
        name = place.parent.name if evaluation.origin == THIS_RUN else place.stem
        if evaluation.is_complete and completions_file(evaluation) is not None:
            chosen.setdefault(name, evaluation)
    by_file: dict[str, list[Item]] = {}
    for output in disputed:
        by_file.setdefault(output.outputs, []).append(_disputed_item(output))
    for name in only:
        check_known("model", name, [*chosen, *by_file])
    folder = folder or executed_pages.static_folder() / FOLDER
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shelf = _Shelf(fresh, quote)
    for name, evaluation in sorted(chosen.items(), key=lambda entry: _rank(entry[1])):
        group = MINIATURE if evaluation.world == "miniature" else REAL
        if not only or name in only:
            shelf.add(name, _label(evaluation), group, read_items(evaluation, quote), evaluation.world == "real")
    for name, items in by_file.items():
        if not only or name in only:
            shelf.add(name, name.replace("_", " "), STORED, items, True)
    index = shelf.finish()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)
    return ItemFiles(folder, index, pd.DataFrame(shelf.counts))


def _rank(evaluation: EvaluationRecord) -> tuple:
    """Order models: hybrid training first, the miniature's smallest size first, untuned bases last."""
    model, order = evaluation.model, ("hybrid", "pot", "cot")
    place = order.index(model.mixture) if model.mixture in order else len(order)
    worlds = ("miniature", "real")
    world = worlds.index(evaluation.world) if evaluation.world in worlds else len(worlds)
    trained = model.family != "llama", model.mixture == UNTUNED, bool(model.variant), place
    return (world, *trained, model.mixture, model.variant, evaluation.seed)


def _label(evaluation: EvaluationRecord) -> str:
    """Return a model's name for a menu: its way of decoding stands only where it is another than training suggests."""
    model, committed = evaluation.model, evaluation.origin == COMMITTED
    usual = model.mixture if model.mixture in ("pot", "cot") else "hybrid"
    name = model.label.removesuffix(f", {model.decoding} decoding") if model.decoding == usual else model.label
    seed = "" if model.mixture in (UNTUNED, "") else f", seed {evaluation.seed}"
    return f"{name}{seed}{', committed' if committed and evaluation.world != 'real' else ''}"


def _disputed_item(output: Any) -> Item:
    """Return a disputed output as an item: one attempt that both rules judged."""
    identity = f"{output.outputs}/{output.row}"
    problem = None
    if output.question is not None:
        problem = Problem(identity, output.question, output.gold, output.options, output.benchmark)
    facts = {**({} if problem else {"gold": output.gold}), **output.facts}
    if output.home:
        facts["from"] = output.home
    attempt = {"kind": output.kind, "completion": output.completion}
    verdicts: Verdicts = dict(output.verdicts)
    return Item(identity, output.benchmark, (attempt,), (0,), verdicts, (verdicts,), problem, facts)


class _Shelf:
    """Files of items as they are written, and the index over them."""

    def __init__(self, folder: Path, quote: Callable[[str], Any] | None) -> None:
        self.folder, self.quote = folder, quote
        self.models: list[Record] = []
        self.benchmarks: dict[str, Record] = {}
        self.counts: list[Record] = []
        self._questions: dict[str, dict[str, list]] = {}  # by benchmark and number, as a file of questions has them
        self._digests: list[str] = []

    def add(self, name: str, label: str, group: str, items: Iterable[Item], real: bool) -> None:
        """Write the items of a model, a file a benchmark."""
        by_benchmark: dict[str, list[Item]] = {}
        for item in items:
            by_benchmark.setdefault(item.benchmark, []).append(item)
        for benchmark, listed in by_benchmark.items():
            if benchmark not in self.benchmarks:
                self.benchmarks[benchmark] = self._about(benchmark, real)
            prefix = listed[0].id.rpartition("/")[0]
            self._write(f"{name}.{benchmark}", {"prefix": prefix, "items": [self._packed(item) for item in listed]})
            cases = Counter(item.case("corrected") for item in listed)
            asked = sum(count for title, count in cases.items() if title)
            self.counts.append({
                "shown as": group, "model": label, "name": name, "benchmark": benchmark, "problems": len(listed),
                "program and prose": asked, **{title: cases[title] for title in (RESCUED, NEEDED, BOTH_WRONG)},
                "Rules differ": sum(item.rules_differ for item in listed),
            })  # fmt: skip
        sizes = {benchmark: len(listed) for benchmark, listed in by_benchmark.items()}
        self.models.append({"name": name, "label": label, "group": group, "sets": sizes})

    def _about(self, benchmark: str, real: bool) -> Record:
        """Return what the index says of a benchmark: where its questions are, and why they are not shown."""
        if not real or self.quote is None:
            withheld = "not asked for" if real else ""
            return {"real": real, "home": "", "licences": "", "withheld": withheld, "in_part": ""}
        said = self.quote(benchmark)
        licences = ", ".join(said.licences)
        about = {"real": True, "home": said.home, "licences": licences}
        return {**about, "withheld": said.withheld, "in_part": said.withheld_in_part}

    def _packed(self, item: Item) -> list[Any]:
        """Return an item as a file has it: number, attempts, verdicts, order, which verdict counts, which of each."""
        verdicts: list[Any] = []

        def place(judged: Verdicts | None) -> int:
            if judged is None:
                return -1
            packed = [
                [verdict["answer"], MARKS[verdict["outcome"]], verdict["reason"]] if verdict else 0
                for verdict in map(judged.get, RULES)
            ]
            if packed not in verdicts:
                verdicts.append(packed)
            return verdicts.index(packed)

        attempts = []
        for attempt in item.attempts:
            ran = [attempt.get(key, "") for key in ("status", "printed", "error")]
            while ran and not ran[-1]:
                ran.pop()
            attempts.append([attempt["kind"], attempt["completion"], *ran])
        counted = place(item.counted)
        packed = [item.id.rpartition("/")[2], attempts, verdicts, list(item.order), counted, [*map(place, item.alone)]]
        extra: Record = {"facts": list(item.facts.items())} if item.facts else {}
        if item.problem is not None:
            question = _question(item.problem)
            # Models share the questions of a benchmark; another version of one, or of other numbering, comes along.
            shared = item.id.split("/")[0] == item.benchmark
            if not shared or self._questions.setdefault(item.benchmark, {}).setdefault(item.id, question) != question:
                extra["question"] = question
        return [*packed, extra] if extra else packed

    def _write(self, name: str, content: Any) -> None:
        # In ASCII, since a browser takes the encoding of a script that comes from a disk from nowhere.
        text = f"{CALL}({json.dumps(name)},{json.dumps(content, separators=(',', ':'))});\n"
        (self.folder / f"{name}.js").write_text(text, encoding="ascii")
        self._digests.append(records.fingerprint(text))

    def finish(self) -> Record:
        """Write the questions of each benchmark, and return the index."""
        for benchmark, questions in self._questions.items():
            self._write(f"questions.{benchmark}", questions)
        return {
            "version": records.fingerprint(self._digests), "rules": list(RULES), "call": CALL, "kinds": KIND_NAMES,
            "stored": STORED,
            "marks": {mark: outcome for outcome, mark in MARKS.items()}, "models": self.models,
            "benchmarks": self.benchmarks, "questions": list(self._questions),
        }  # fmt: skip


def _shown_in_part(about: Mapping[str, Any]) -> str:
    return f"shown, but not those of {about['in_part']}" if about["in_part"] else "shown"


def _question(problem: Problem) -> list[Any]:
    packed = [problem.question, problem.gold, list(problem.options or ()), problem.field, problem.family]
    while packed and not packed[-1]:
        packed.pop()
    return packed


def browser_html(index: Mapping[str, Any]) -> str:
    """Return the browser over the files of an index as one piece of HTML that loads nothing before it is used."""
    addresses = {
        "book": f"../_static/{FOLDER}/",
        # JupyterLab serves the files below its own folder there; `make lab` starts it in the project's.
        "lab": f"files/runs/book/static/{FOLDER}/",
    }
    # No `</script>` can stand in the data, and MathJax leaves what it holds alone: answers are shown as they were read.
    data = json.dumps({**index, **addresses}, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="item-browser tex2jax_ignore mathjax_ignore" id="item-browser"><style>{_style()}</style>'
        f"<noscript>This browser of {len(index['models'])} models needs JavaScript.</noscript>"
        f'<script type="application/json" class="ib-index">{data}</script>'
        f"<script>{(_HERE / 'item_browser.js').read_text(encoding='utf8')}</script></div>"
    )


def problem_link(text: str, **shown: str) -> Markup:
    """Return a text as a link to a view of the page ``problems`` in the built book.

    Args:
        shown: What its permalinks name: ``model``, ``set``, ``item``, ``show``, ``rule``, ``sort`` or ``find``.
    """
    return Markup(f'<a href="problems.html#{html.escape(urlencode(shown))}">{html.escape(text)}</a>')


def _style() -> str:
    return (_HERE / "item_browser.css").read_text(encoding="utf8")


def open_side_by_side(
    measured: Iterable[EvaluationRecord],
    world: str = "miniature",
    quote: Callable[[str], Any] | None = None,
    rule: str = "corrected",
) -> Shown:
    """Return three problems of one model with its program and its prose side by side.

    One is right by its program alone, one by its prose alone, one by neither. Of each kind it is the problem with the
    shortest question among the benchmarks whose licence lets others show it. Where no question is here, it is the one
    with the shortest completions, shown with its id and home.

    Args:
        measured: Evaluation records; the hybrid model that was asked for both kinds is shown, of the lowest seed.
        world: ``"miniature"`` or ``"real"``.
        quote: As :func:`read_items` takes it.
        rule: By which right and wrong are told.
    """
    chosen = [
        evaluation for evaluation in measured
        if evaluation.world == world and evaluation.is_complete and evaluation.model.mixture == "hybrid"
        and evaluation.model.variant in ("", claim_definitions.REAL_ROWS)
        and {"cot", "pot"} <= set(evaluation.record.get("decodings", ())) and completions_file(evaluation)
    ]  # fmt: skip
    if not chosen:
        command = "make book" if world == "miniature" else "make real"
        return say(f"No model of this kind was asked for programs and prose yet; the command {command} asks one.")
    evaluation = min(chosen, key=_rank)
    items = list(read_items(evaluation, quote))
    shown = {title: _shortest([item for item in items if item.case(rule) == title])
             for title in (RESCUED, NEEDED, BOTH_WRONG)}  # fmt: skip
    count = Counter(item.case(rule) for item in items)
    quoted = any(item is not None and item.problem for item in shown.values())
    by = "the shortest question" if quoted else "the shortest completions, since no question is on this machine"
    note = (
        f"{_label(evaluation)}; {rule} rule; of each kind the problem with {by}, among benchmarks whose licence lets "
        "others show it."
    )
    parts = [_side_by_side(title, item, count[title], len(items), rule, quote) for title, item in shown.items()]
    markup = (
        f'<div class="item-browser ib-three tex2jax_ignore mathjax_ignore"><style>{_style()}</style>{"".join(parts)}'
        f'<p class="ib-note">{html.escape(note)}</p></div>'
    )
    frame = pd.DataFrame(
        {"kind": title, "id": item.id, "question": item.problem.question if item.problem else ""}
        for title, item in shown.items() if item is not None
    )  # fmt: skip
    return Shown(frame, markup)


def _shortest(items: Sequence[Item]) -> Item | None:
    """Return the item with the shortest question, or of the shortest completions where no question is known."""
    asked = [item for item in items if item.problem is not None]
    if asked:
        return min(asked, key=lambda item: len(item.problem.instruction))
    return min(items, key=lambda item: sum(len(one["completion"] or "") for one in item.attempts), default=None)


def _side_by_side(
    title: str, item: Item | None, count: int, total: int, rule: str, quote: Callable[[str], Any] | None
) -> str:
    """Return one problem: its question, then program and prose with what was printed and the verdict."""
    head = f"<h3>{html.escape(title)} <small>({count:,} of {total:,})</small></h3>"
    if item is None:
        return f"<section>{head}<p>There is no such problem.</p></section>"
    if item.problem:
        asked = f"<p>{html.escape(item.problem.instruction)}</p>"
        gold = f" The reference answer is <strong>{html.escape(item.problem.gold)}</strong>."
    else:
        home = quote(item.benchmark).home if quote is not None else ""
        asked, gold = f"<p>The question is not shown here. {html.escape(home)}</p>", ""
    columns = []
    for kind in ("pot", "cot"):
        attempt, verdicts = item.attempts[item.attempt(kind)], item.alone[item.attempt(kind)] or {}
        verdict = verdicts.get(rule) or {"answer": None, "outcome": "no_answer", "reason": ""}
        right = verdict["outcome"] == "correct"
        word = "right" if right else "no answer" if verdict["outcome"] == "no_answer" else "wrong"
        ran = ""
        if attempt.get("status"):
            printed = attempt.get("printed") or attempt.get("error") or "nothing"
            ran = f'<p class="ib-ran">It printed</p><pre tabindex="0">{html.escape(printed.strip())}</pre>'
        columns.append(
            f'<div><h4>{KIND_NAMES[kind].capitalize()} <span class="ib-chip ib-{"right" if right else "wrong"}">{word}'
            f'</span></h4><pre tabindex="0">{html.escape(attempt["completion"])}</pre>{ran}'
            f'<p class="ib-reason">{html.escape(verdict["reason"])}</p></div>'
        )
    where = f'<p class="ib-where"><code>{html.escape(item.id)}</code>{gold}</p>'
    return f'<section>{head}{asked}{where}<div class="ib-pair">{"".join(columns)}</div></section>'
