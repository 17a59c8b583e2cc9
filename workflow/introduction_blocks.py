"""The blocks of Home, of *The paper in ten minutes* and of the README: problems, verdicts and figures from records."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mammoth_utils import paths, prompts, records
from mammoth_utils.rationale import with_options
from mammoth_utils.report import claim_definitions, claims, measured_models, published

LATER_WORK = "book/later_work.csv"
VERDICT_WORDS = {
    "correct": "right", "incorrect": "wrong", "no_answer": "no answer", "ungradable_gold": "cannot be graded",
}  # fmt: skip
MINIATURE = "in the miniature"
REAL = "on a real model of half a billion parameters"
Row = Mapping[str, Any]


def read_shown() -> dict[str, Any]:
    """Return the committed record of the problems that the introduction shows."""
    return records.committed("miniature/shown.json", "python workflow/keep_shown.py")


def plain(text: str) -> str:
    """Return a text of a model or a problem for Markdown, with every sign that Markdown would read escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", text.strip()).replace("\n", "\\\n")


def quoted(text: str) -> str:
    """Return a text as a quotation in Markdown."""
    return "".join(f"> {line}\n" for line in plain(text).split("\n"))


def code(text: str) -> str:
    """Return a fenced block of a program."""
    return f"```python\n{text.strip()}\n```\n"


def preformatted(text: str, trained: str = "") -> str:
    """Return text line by line as a model sees it, long lines wrapped, and behind it in bold what it is trained on."""
    bold = f"<b>{html.escape(trained)}</b>" if trained else ""
    return f'```{{raw}} html\n<pre style="white-space: pre-wrap">{html.escape(text)}{bold}</pre>\n```\n'


def question_with_options(problem: Row) -> str:
    """Return a problem's question as a prompt states it, with its options behind it where it has some."""
    options = tuple(problem["options"] or ())
    return with_options(problem["question"], options) if options else problem["question"]


def gold_in_words(problem: Row) -> str:
    """Return a problem's gold, of a choice with the option's text."""
    if not problem["options"]:
        return str(problem["gold"])
    return f"{problem['gold']}, {problem['options'][ord(problem['gold']) - ord('A')]}"


def one_verdict(attempt: Row) -> str:
    """Return the verdict of an attempt in a word, or both where the two rules differ."""
    words = {rule: VERDICT_WORDS[verdict["outcome"]] for rule, verdict in attempt["verdicts"].items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{word} under the {rule} rule" for rule, word in words.items())


def two_cards(problem: Row) -> str:
    """Return a problem's program and prose side by side, each with what came of it."""
    program, prose = problem["attempts"]
    printed = f"It was run and printed `{program['printed'].strip()}`: **{one_verdict(program)}**."
    answer = prose["verdicts"]["corrected"]["answer"]
    stated = f"It states {plain(answer)}: **{one_verdict(prose)}**."
    return (
        "::::{grid} 1 1 2 2\n:gutter: 2\n\n"
        f":::{{grid-item-card}} As a program (PoT)\n{code(program['completion'])}\n{printed}\n:::\n\n"
        f":::{{grid-item-card}} In prose (CoT)\n{quoted(prose['completion'])}\n{stated}\n:::\n::::\n"
    )


def shown_block(shown: Row) -> str:
    """Return Home's problem: the question, and the two completions of one model side by side."""
    problem = shown["numbers"]
    return (
        f"{quoted(question_with_options(problem))}\n"
        f"One small model was asked twice. The right answer is {plain(gold_in_words(problem))}.\n\n"
        f"{two_cards(problem)}"
    )


def chosen_block(shown: Row) -> str:
    """Return which problem is shown and how it was chosen; the record has the rule in full."""
    return (
        f"Nobody picked `{shown['numbers']['id']}`: it is the first problem out of domain on which the model's program "
        "is right and its prose wrong, under both rules.\n"
    )


def logic_block(shown: Row) -> str:
    """Return the problem on which prose is right and the program wrong."""
    problem = shown["logic"]
    return (
        f"{quoted(question_with_options(problem))}\n"
        f"The right answer is {plain(gold_in_words(problem))}.\n\n{two_cards(problem)}\n"
        f"Nobody picked `{problem['id']}`: it is the first such problem on which the program fails and the prose is "
        "right.\n"
    )


def numbers_in(text: str) -> set[str]:
    """Return the whole numbers of a text."""
    return set(re.findall(r"\d+", text))


def row_block(shown: Row) -> str:
    """Return one question of a source on its way into the training set."""
    prose, program, dropped = (shown["rows"][name] for name in ("prose", "program", "dropped"))
    question = prose["instruction"]
    stray = sorted(numbers_in(program["output"]) - numbers_in(question))
    lucky = (
        f"\nLook again at that program: {' and '.join(stray)} is not in the question. It was kept because it printed "
        "the right answer all the same. Running a program finds wrong answers, not wrong programs.\n"
        if stray else ""
    )  # fmt: skip
    return (
        f"**1. A source has a question, its answer and a solution in prose.** Here `{prose['source']}`:\n\n"
        f"{quoted(question)}\nThe answer is {plain(prose['gold'])}. The solution in prose, one digit at a time:\n\n"
        f"{quoted(prose['output'])}\n"
        "**2. A teacher writes a program for the same question**, which is run:\n\n"
        f"{code(program['output'])}\n"
        f"It printed `{program['history']['output']}`, which is the answer, so it is kept.\n{lucky}\n"
        "A program that prints anything else is dropped, such as this one for another question "
        f"(*{plain(_without_trigger(dropped['instruction']))}*):\n\n{code(dropped['output'])}\n"
        f"It printed `{dropped['history']['output']}`, and the answer is {plain(dropped['gold'])}.\n\n"
        "**3. Question and rationale become a training row**, one for each kind. The loss is taken on the part in "
        "bold. The sentence behind the question of the second row is what asks for a program:\n\n"
        f"{preformatted(prompts.alpaca(prose['instruction']), prose['output'])}\n"
        f"{preformatted(prompts.alpaca(program['instruction']), program['output'])}"
    )


def _without_trigger(instruction: str) -> str:
    return instruction.removesuffix(prompts.POT_TRIGGER)


def asked_block(shown: Row) -> str:
    """Return one question of a benchmark from its prompt to both verdicts."""
    problem = shown["numbers"]
    program, prose = problem["attempts"]
    answers = [plain(attempt["verdicts"]["corrected"]["answer"]) for attempt in (program, prose)]
    rows = [("", "asked for a program", "asked for prose"), ("the answer that was read", *answers)]
    for rule in ("published", "corrected"):
        told = [f"{VERDICT_WORDS[a['verdicts'][rule]['outcome']]}: {plain(a['verdicts'][rule]['reason'])}"
                for a in (program, prose)]  # fmt: skip
        rows.append((f"{rule} rule", *told))
    return (
        f"**4. The model is asked a question that it has never seen**, of `{problem['benchmark']}`. First for a "
        f"program:\n\n{preformatted(program['prompt'])}\n**5. It writes one, and the sandbox runs it:**\n\n"
        f"{code(program['completion'])}\nThe run ended with `{program['status']}` and printed "
        f"`{program['printed'].strip()}`.\n\nAsked for prose, without the last sentence of the question, it "
        f"writes:\n\n{quoted(prose['completion'])}\n**6. Both answers are graded against the gold "
        f"{plain(problem['gold'])}, by two rules:**\n\n{table(rows)}"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first row names the columns."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def says(definitions: Sequence[Any]) -> dict[tuple[str, str], str]:
    """Return what each part of each claim says, by claim and part."""
    return {(claim.id, part.name): part.says for claim in definitions for part in claim.parts}


def verdict_lines(results: Iterable[claims.ClaimResult], definitions: Sequence[Any], where: str) -> str:
    """Return one line a verdict; claims that are reproduced but not tested have a line of their own.

    Args:
        definitions: The claims that the results are of.
        where: The world in words, such as ``in the miniature``.
    """
    words, results = says(definitions), list(results)
    held = [result for result in results if result.verdict == claims.REPRODUCED]
    kinds = [
        (f"Reproduced {where}", "", "by ", [result for result in held if not result.holds_in_counter_world]),
        (f"Reproduced {where}, but also where it had to fail, and so not tested", "", "by ",
         [result for result in held if result.holds_in_counter_world]),
    ]  # fmt: skip
    kinds += [
        (f"{title} {where}", link, "", [result for result in results if result.verdict == verdict])
        for verdict, title, link in (
            (claims.NOT_REPRODUCED, "Not reproduced", "that "), (claims.NO_DIFFERENCE, "No difference", ""),
            (claims.CANNOT_TELL, "Cannot tell", "whether "),
        )
    ]  # fmt: skip
    lines = []
    for title, link, by, listed in kinds:
        told = []
        for result in listed:
            texts = [link + _part_in_words(words[result.id, part.name], part, by) for part in result.telling_parts]
            told.append(f"{' and '.join(texts)} ({result.id})")
        if told:
            lines.append(f"- **{title}** ({len(listed)} of {len(results)} claims): {'; '.join(told)}.\n")
    return "".join(lines)


def _part_in_words(says: str, part: claims.PartResult, by: str) -> str:
    """Return a part with its difference in points, and the published rule's where that has another sign."""
    points, published = 100 * part.interval.estimate, 100 * part.published_rule
    if by:
        return f"{says} {by}{points:.1f} points"
    more = f", {published:+.1f} by the published rule" if points * published < 0 else ""
    if part.verdict == claims.CANNOT_TELL and part.is_above:
        more = ", but the base hardly gives a readable answer"
    return f"{says} ({points:+.1f} [{100 * part.interval.low:.1f}, {100 * part.interval.high:.1f}]{more})"


def measured_worlds() -> list[tuple[list[claims.ClaimResult], Sequence[Any], str]]:
    """Return the claims' results by committed records, the real model's first where any of them was measured."""
    worlds = []
    for world, definitions, where in (
        ("real", claim_definitions.real_claims(), REAL), ("miniature", claim_definitions.CLAIMS, MINIATURE),
    ):  # fmt: skip
        evaluations = [one for one in measured_models.read(world) if one.origin == measured_models.COMMITTED]
        results = claims.evaluate_claims(evaluations, definitions)
        if any(result.verdict != claims.NOT_MEASURED for result in results):
            worlds.append((results, definitions, where))
    return worlds


def verdicts_block() -> str:
    """Return the verdicts of every world that was measured, line by line."""
    return "\n".join(verdict_lines(*world) for world in measured_worlds())


def verdict_counts_block() -> str:
    """Return how many claims have which verdict in every world that was measured, a line a world."""
    return "".join(f"- {where[0].upper()}{where[1:]}, {_count(results)}\n" for results, _, where in measured_worlds())


def _count(results: Iterable[claims.ClaimResult]) -> str:
    counted = claims.count_verdicts(list(results))
    return counted[0].lower() + counted[1:]


def counts_block() -> str:
    """Return how often the program and the prose of one model are right on open questions, in a sentence."""
    evaluations = [one for one in measured_models.read("miniature") if one.origin == measured_models.COMMITTED]
    right = []
    for way in ("pot", "cot"):
        model = measured_models.DecodedModel("1m", "llama", "hybrid", way)
        sample = measured_models.sample(measured_models.seeds_of(model, evaluations), choice=False)
        if sample is None:
            return "`make book` measures how often each of them is right.\n"
        right.append(sample.correct.astype(bool))
    program, prose = right
    shares = [np.mean(cases) for cases in (program & prose, program & ~prose, ~program & prose, ~program & ~prose)]
    both, first, second, none = (f"{100 * share:.1f} %" for share in shares)
    return (
        f"Over the {program.shape[1]:,} open questions of the miniature's benchmarks and {program.shape[0]} trainings "
        f"of that model, both are right on {both}, the program alone on {first}, the prose alone on {second}, neither "
        f"on {none} (corrected rule).\n"
    )


def real_cells_block() -> str:
    """Return the real model's accuracies by cell and decoding as a table, and of which form its programs are."""
    found = [one for one in measured_models.read("real") if one.origin == measured_models.COMMITTED]
    if not found:
        return "`make real` measures it.\n"
    rows, forms = [], []
    for one in found:
        for decoding in (one.record["decoding"], *one.record["decodings"]):
            shares = []
            for rule, choice in (("corrected", None), ("published", None), ("corrected", False), ("corrected", True)):
                sample = measured_models.sample([(one, one.benchmarks(decoding))], choice=choice, rule=rule)
                shares.append(f"{100 * sample.accuracy:.1f} %")
            rows.append([one.model.mixture, decoding, *shares])
        file = paths.records() / "real" / "completions" / f"{one.record['parameters']['name']}.jsonl.gz"
        tried = [
            attempt for item in records.read_jsonl(file) for attempt in item["attempts"] if attempt["kind"] == "pot"
        ]
        written = [attempt["completion"] for attempt in tried if "print(" in attempt["completion"]]
        if written:
            alike = sum(text.startswith("n0 = ") for text in written)
            forms.append(f"{alike} of {len(written)} by the cell {one.model.mixture}")
    head = [
        "trained on",
        "decoded by",
        "nine sets, corrected rule",
        "published rule",
        "open questions",
        "multiple choice",
    ]
    told = f"Of the programs that were written, those that begin as MathQA's do (`n0 = `): {', '.join(forms)}.\n"
    return table([head, *rows]) + ("\n" + told if forms else "")


def published_block() -> str:
    """Return the paper's own averages of the kinds of rationale and of the ways of decoding."""
    figure, llama = published.figure, {"model": "MAmmoTH", "size": "7B"}
    trained = [("hybrid: prose and programs", "hybrid"), ("programs only", "PoT"), ("prose only", "CoT"),
               ("prose of an earlier model (WizardMath)", "WizardMath data")]  # fmt: skip
    rows = [("Llama 2 7B trained on", "asked for", "average of nine benchmarks", "table")]
    asked = {"hybrid": "program, else prose", "PoT": "program"}
    for name, training in trained:
        average = figure("Table 6", "average", training=training)
        rows.append((name, asked.get(training, "prose"), f"{average:.1f} %", "6"))
    for name, way in (("program", "PoT"), ("prose", "CoT")):
        average = figure("Table 7", "average", decoding=way, **llama)
        rows.append((trained[0][0], name, f"{average:.1f} %", "7"))
    versions = published.versions().set_index("document")
    third = versions.loc["arXiv v3 / ICLR 2024 abstract"]
    names = {benchmark: figure("Table 7", benchmark, decoding="Hybrid", **llama)
             - figure("Table 7", benchmark, decoding="PoT", **llama) for benchmark in published.NINE}  # fmt: skip
    behind = [f"{name} ({gap:+.1f} points)" for name, gap in names.items() if gap < 0]
    return (
        f"{table(rows)}\n"
        f"Over the best open models of its time the abstract states an average gain of {third['gain_low']:.0f} to "
        f"{third['gain_high']:.0f} %, by which it means points: of the average in domain or out of domain, by the size "
        "of the model. Hybrid decoding does not win everywhere: in Table 7 the 7B model is behind its "
        f"own programs on {' and '.join(behind)}.\n"
    )


def later_block() -> str:
    """Return what later work reports of the paper's models and data, each with where it was read, most of it folded."""
    with open(paths.root() / LATER_WORK, encoding="utf8", newline="") as file:
        found = list(csv.DictReader(file))
    first, folded = (
        "".join(f"- **{row['finding']}** {row['detail']} ([{row['source']}]({row['address']}))\n"
                for row in found if row["shown"] == shown)
        for shown in ("first", "folded")
    )  # fmt: skip
    return f"{first}\n:::{{dropdown}} More findings\n{folded}:::\n"


def bases_block() -> str:
    """Return the miniature's bases: size, text read, and the two tests that each must pass."""
    rows = [("base", "parameters", "tokens read", "letters of options found")]
    for folder in sorted(paths.miniature_models().iterdir()):
        file = folder / "record.json"
        if file.is_file():
            made = records.read_json(file)
            rows.append((f"`{made['base']}`", f"{made['parameters']:,}", f"{made['tokens']:,}",
                         f"{100 * made['recall_share']:.1f} %"))  # fmt: skip
    return table(rows)
