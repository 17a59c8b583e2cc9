"""Every problem can be opened: what is written for the page, what is withheld, and what a browser makes of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from mammoth_utils import audit, licences, paths, records
from mammoth_utils.audit.disputed_outputs import COMPLETIONS
from mammoth_utils.evaluation import benchmarks
from mammoth_utils.rationale import Problem
from mammoth_utils.report import executed_pages, item_browser
from mammoth_utils.report.measured_models import COMMITTED, MINI_BENCHMARKS, THIS_RUN, EvaluationRecord
from mammoth_utils.vocabulary import RULES

ROOT = Path(__file__).resolve().parent.parent
NAME, REAL_NAME = "llama-1m-hybrid-full-s0-hybrid", "qwen-coder-instruct-0.5b-hybrid-lora-s0-rows400-hybrid-n50"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def judged(answer: str | None, outcome: str, reason: str = "a reason") -> dict:
    return {"answer": answer, "outcome": outcome, "reason": reason}


def way(order: list[int], published: dict, corrected: dict | None = None) -> dict:
    return {"order": order, "kind": "p", "published": published, "corrected": corrected or published}


RIGHT, WRONG, SILENT = judged("1", "correct"), judged("2", "incorrect"), judged(None, "no_answer")


def attempt(kind: str, completion: str, answer: str | None, printed: str = "") -> dict:
    execution = {"status": "ok", "printed": printed, "output": printed, "error": None} if kind == "pot" else None
    answers = dict.fromkeys(RULES, answer)
    return {"kind": kind, "prompt": "asked", "completion": completion, "execution": execution, "answers": answers}


def both(program: dict, prose: dict) -> dict:
    """The ways of decoding of a model that was asked for both kinds."""
    return {"hybrid": way([0], program), "pot": way([0], program), "cot": way([1], prose)}


def row(identity: str, question: str, decodings: dict, attempts: list[dict] | None = None) -> dict:
    made = attempts or [attempt("pot", f"print('{identity}')", "1", "1\n"), attempt("cot", "The answer is 2.", "2")]
    benchmark = identity.split("/")[0]
    about = {"gold": "1", "options": None, "set": f"{benchmark}/test", "field": "arithmetic", "family": "gain"}
    return {"benchmark": benchmark, "id": identity, "question": question, **about, "attempts": made,
            "decodings": decodings}  # fmt: skip


ROWS = [
    row("mini-gsm8k/test/0", "A long question, whose program is right?", both(RIGHT, WRONG)),
    row("mini-gsm8k/test/1", "A short one?", both(RIGHT, WRONG)),
    row("mini-gsm8k/test/2", "Prose alone </script><b>?", both(WRONG, RIGHT)),
    row("mini-math/test/0", "Neither?", both(WRONG, SILENT)),
    row("mini-math/test/1", "The rules differ?", {**both(RIGHT, RIGHT), "hybrid": way([0], WRONG, RIGHT)}),
]


def evaluation(name: str, world: str, origin: str, **fields) -> EvaluationRecord:
    size, family, mixture, method = ("1m", "llama", "hybrid", "full") if world == "miniature" else (
        "0.5b", "qwen-coder-instruct", "hybrid", "lora")  # fmt: skip
    model = {"name": name, "size": size, "family": family, "mixture": mixture, "method": method, "seed": 0}
    record = {"page": "evaluate", "world": world, "decoding": "hybrid", "split": "test", "model": model,
              "decodings": {"cot": {}, "pot": {}}, "benchmarks": dict.fromkeys(MINI_BENCHMARKS, {"n": 1}),
              "parameters": {"limit": 50 if world == "real" else 0}, **fields}  # fmt: skip
    path = f"runs/evaluate/{name}/record.json" if origin == THIS_RUN else f"records/real/models/{name}.json"
    return EvaluationRecord(record, origin, path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Folders of runs and of records with the completions of one miniature and one real model."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    records.write_jsonl(tmp_path / "runs" / "evaluate" / NAME / "attempts.jsonl", ROWS)
    kept = [
        {"id": f"{name}/{number}", "decodings": both(*verdicts),
         "attempts": [{"kind": "pot", "completion": f"program {number}", "status": "ok", "printed": "1"},
                      {"kind": "cot", "completion": f"prose {number}"}]}
        for name, number, verdicts in (("gsm8k", 3, (RIGHT, WRONG)), ("gsm8k", 5, (RIGHT, WRONG)),
                                       ("simuleq", 0, (WRONG, RIGHT)), ("simuleq", 9, (WRONG, SILENT)))
    ]  # fmt: skip
    records.write_jsonl(tmp_path / "records" / "real" / "completions" / f"{REAL_NAME}.jsonl.gz", kept)
    return tmp_path


MINI, REAL = evaluation(NAME, "miniature", THIS_RUN), evaluation(REAL_NAME, "real", COMMITTED)


def quote(name: str) -> benchmarks.Quotation:
    """What may be shown: two questions of GSM8K, none of SimulEq."""
    home = f"https://example.org/{name}"
    if name == "simuleq":
        return benchmarks.Quotation({}, ("not stated",), home, "licence: not stated")
    problems = [Problem("gsm8k/3", "A longer question?", "1"), Problem("gsm8k/5", "Short?", "1")]
    return benchmarks.Quotation({problem.id: problem for problem in problems}, ("MIT",), home)


def content(file) -> tuple[str, object]:
    """The name and the data with which a file of items calls the page."""
    called = re.fullmatch(r'mammothItems\("([^"]+)",(.*)\);\n', file.read_text(encoding="ascii"), re.DOTALL)
    return called[1], json.loads(called[2])


def test_a_program_and_its_prose_are_told_apart(project):
    items = list(item_browser.read_items(MINI))
    assert [item.case("corrected") for item in items[:4]] == [
        item_browser.RESCUED, item_browser.RESCUED, item_browser.NEEDED, item_browser.BOTH_WRONG,
    ]  # fmt: skip
    assert [item.rules_differ for item in items] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("read", "prose_corrected", "because"),
    [
        (None, RIGHT, "the corrected rule read nothing from the program either, so it judged the prose"),
        ("7", None, "the corrected rule read the program, so nobody judged the prose by it"),
    ],
)
def test_a_fallback_says_what_each_rule_judged(project, read, prose_corrected, because):
    made = [attempt("pot", "x = 7", None), attempt("cot", "The answer is 1.", "1")]
    made[0]["answers"] = {"published": None, "corrected": read}
    counted = RIGHT if read is None else WRONG
    file = project / "runs" / "evaluate" / NAME / "attempts.jsonl"
    records.write_jsonl(file, [row("mini-math/test/0", "?", {"hybrid": way([0, 1], RIGHT, counted)}, made)])
    program, prose = next(item_browser.read_items(MINI)).alone
    assert program["published"]["outcome"] == "no_answer"
    assert prose["published"] == RIGHT
    assert prose["corrected"] == prose_corrected, because


def test_items_are_files_that_call_the_page_one_a_model_and_benchmark(project):
    written = item_browser.write_items([MINI, REAL], quote)
    assert written.folder == project / "runs" / "book" / "static" / "items"
    assert sorted(file.stem for file in written.folder.iterdir()) == [
        f"{NAME}.mini-gsm8k", f"{NAME}.mini-math", "questions.gsm8k", "questions.mini-gsm8k", "questions.mini-math",
        f"{REAL_NAME}.gsm8k", f"{REAL_NAME}.simuleq",
    ]  # fmt: skip
    for file in written.folder.iterdir():
        assert content(file)[0] == file.stem
    assert written.items == len(ROWS) + 4
    _, questions = content(written.folder / "questions.gsm8k.js")
    assert questions == {"gsm8k/3": ["A longer question?", "1"], "gsm8k/5": ["Short?", "1"]}
    _, simuleq = content(written.folder / f"{REAL_NAME}.simuleq.js")
    assert [item[1][0][1] for item in simuleq["items"]] == ["program 0", "program 9"], "the completions are shown"
    assert written.index["benchmarks"]["simuleq"] == {
        "real": True, "home": "https://example.org/simuleq", "licences": "not stated",
        "withheld": "licence: not stated", "in_part": "",
    }  # fmt: skip
    assert written.by_benchmark().set_index("benchmark").loc["mini-gsm8k", item_browser.RESCUED] == 2


def test_a_chosen_model_alone_is_written_and_an_unknown_one_refused(project):
    assert [model["name"] for model in item_browser.write_items([MINI, REAL], quote, only=[NAME]).index["models"]] == [
        NAME
    ]
    with pytest.raises(ValueError, match="unknown model 'llama'; known: "):
        item_browser.write_items([MINI], quote, only=["llama"])


def test_the_page_stays_small_however_many_items_there_are(project):
    rows = [row(f"mini-gsm8k/test/{number}", "long " * 200, both(RIGHT, WRONG)) for number in range(500)]
    records.write_jsonl(project / "runs" / "evaluate" / NAME / "attempts.jsonl", rows)
    written = item_browser.write_items([MINI], quote)
    assert sum(file.stat().st_size for file in written.folder.iterdir()) > 500_000
    assert len(written._repr_html_()) < 60_000


def test_three_problems_are_the_shortest_questions_of_each_case(project):
    shown = item_browser.open_side_by_side([MINI])
    assert dict(zip(shown.frame["kind"], shown.frame["id"], strict=True)) == {
        item_browser.RESCUED: "mini-gsm8k/test/1", item_browser.NEEDED: "mini-gsm8k/test/2",
        item_browser.BOTH_WRONG: "mini-math/test/0",
    }  # fmt: skip
    assert "Prose alone &lt;/script&gt;&lt;b&gt;?" in shown.markup, "a question is text and no markup"
    assert "the shortest question" in shown.markup


def test_a_question_that_may_not_be_shown_is_not_among_the_three_where_another_may(project):
    shown = item_browser.open_side_by_side([REAL], "real", quote)
    ids = dict(zip(shown.frame["kind"], shown.frame["id"], strict=True))
    assert ids[item_browser.RESCUED] == "gsm8k/5"
    assert "The question is not shown here. https://example.org/simuleq" in shown.markup
    without = item_browser.open_side_by_side([REAL], "real")
    assert "since no question is on this machine" in without.markup
    assert "Short?" not in without.markup


def test_without_completions_the_command_that_makes_them_is_named(project):
    assert "make real" in item_browser.open_side_by_side([MINI], "real").markup
    away = evaluation("llama-1m-hybrid-full-s1-hybrid", "miniature", THIS_RUN)
    assert "make book" in item_browser.open_side_by_side([away]).markup
    assert item_browser.write_items([away], quote).items == 0


def test_what_a_licence_allows():
    assert licences.may_be_quoted(["MIT", "ODC-By-1.0"])
    assert not licences.may_be_quoted(["MIT", "not stated"])
    assert not licences.may_be_quoted([]), "of a file that nobody listed nothing is known"
    withheld = benchmarks.quote("simuleq")
    assert (withheld.problems, withheld.withheld) == ({}, "licence: not stated")
    assert withheld.home.startswith("https://")


def test_the_text_of_what_is_contested_is_not_shown_though_its_home_gives_it_under_a_licence(tmp_path):
    assert licences.of_file("eval/math.jsonl") == ("MIT",), "what its repository says"
    assert not licences.may_be_shown("eval/math.jsonl", "algebra")
    withheld = benchmarks.quote("math")
    assert (withheld.problems, withheld.withheld) == ({}, "licence: MIT, contested by Art of Problem Solving")
    rows = [{"subject": subject, "question": f"{subject}?", "choices": [1, 2, 3, 4], "answer": 0}
            for subject in ("high_school_mathematics", "formal_logic")]  # fmt: skip
    records.write_jsonl(tmp_path / "eval" / "mmlu_mathematics.jsonl", rows)
    in_part = benchmarks.quote("mmlu_math", tmp_path)
    assert list(in_part.problems) == ["mmlu_math/1"], "high school mathematics repeats MATH"
    assert in_part.withheld_in_part.startswith("high school mathematics, licence: MIT, contested by")
    assert not licences.may_be_shown("eval/mmlu_mathematics.jsonl"), "of an unknown field nothing is shown"
    assert licences.may_be_shown("eval/gsm8k.jsonl")
    assert all(contest.claim and contest.read_in and contest.files for contest in licences.CONTESTS.values())


def test_a_link_to_a_view_is_a_permalink_of_the_browser():
    link = item_browser.problem_link("an <id>", model="stored_gsm8k", item="stored_gsm8k/4")
    assert link == '<a href="problems.html#model=stored_gsm8k&amp;item=stored_gsm8k%2F4">an &lt;id&gt;</a>'


def test_questions_that_are_not_here_are_said_to_be_away(tmp_path):
    away = benchmarks.quote("gsm8k", tmp_path)
    assert away.problems == {}
    assert "not on the machine" in away.withheld


def test_every_disputed_output_of_the_audit_is_there_with_what_its_licence_allows():
    record = audit.read_audit_record()
    disputed = audit.read_disputed_outputs(record)
    assert len(disputed) == sum(len(file["differing"]) for file in record["outputs"])
    for output in disputed:
        quoted = licences.may_be_quoted(licences.of_file(f"outputs/{output.outputs}.jsonl.gz"))
        assert (output.completion is not None) == quoted, output.outputs
        assert output.kind in ("pot", "cot")
        assert output.home
        assert output.question is None, "no question is in the project"
        assert set(output.verdicts) == set(RULES)
    assert sum("judged by reading the problem" in output.facts for output in disputed) > 100
    kept = list(records.read_jsonl(paths.records() / COMPLETIONS))
    assert {tuple(row) for row in kept} == {("outputs", "row", "kind", "completion", "origin")}


def test_disputed_outputs_keep_their_own_questions_out_of_a_benchmarks(project):
    verdicts = {"published": WRONG, "corrected": RIGHT}
    output = audit.DisputedOutput("stored_gsm8k", 3, "gsm8k", "1", verdicts, "pot", "ans = 1", "Theirs?", None,
                                  {"Math-Verify, on our answer": "right"}, "somebody/outputs")  # fmt: skip
    hidden = audit.DisputedOutput("stored_gsm8k", 4, "gsm8k", "1", verdicts)
    written = item_browser.write_items([REAL], quote, [output, hidden])
    assert "Theirs?" not in (written.folder / "questions.gsm8k.js").read_text()
    _, stored = content(written.folder / "stored_gsm8k.gsm8k.js")
    shown, withheld = stored["items"]
    assert shown[6]["question"] == ["Theirs?", "1"]
    assert ["from", "somebody/outputs"] in shown[6]["facts"]
    assert withheld[1] == [["", None]]
    assert ["gold", "1"] in withheld[6]["facts"]


def test_what_a_page_wrote_joins_the_books_static_files(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    config = SimpleNamespace(html_static_path=["book/_static"])
    executed_pages.add_static_files(None, config)
    assert config.html_static_path == ["book/_static"]
    folder = tmp_path / "book" / "static"
    folder.mkdir(parents=True)
    executed_pages.add_static_files(None, config)
    assert config.html_static_path == ["book/_static", str(folder)]


def test_a_built_page_whose_items_are_missing_is_a_fault(project, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "workflow"))
    import check_book

    written = item_browser.write_items([MINI], quote)
    page = project / "site" / "notebooks" / "problems.html"
    page.parent.mkdir(parents=True)
    shutil.copytree(written.folder, project / "site" / "_static" / "items")
    text = written._repr_html_()
    assert list(check_book._items(text, page)) == []
    (project / "site" / "_static" / "items" / "questions.mini-math.js").unlink()
    assert list(check_book._items(text, page)) == [
        "1 of 4 files of problems are not there, such as questions.mini-math.js"
    ]


DRIVER = """
<script>
addEventListener("unhandledrejection", (event) => { document.body.dataset.failed = String(event.reason.stack); });
addEventListener("load", async () => {
  const seen = {}, say = (name, value) => { seen[name] = value; document.body.dataset.last = name; };
  const pause = () => new Promise((go) => setTimeout(go, 20));
  const wait = async (until) => { for (let i = 0; i < 200 && !until(); i++) await pause(); };
  const all = (what) => [...document.querySelectorAll(what)];
  const ids = () => all(".ib-id").map((one) => one.textContent);
  const status = () => document.querySelector(".ib-status").textContent;
  const choose = async (name, value, until) => {
    const control = document.getElementById("ib-" + name);
    control.value = value;
    control.dispatchEvent(new Event(name === "find" ? "input" : "change"));
    await wait(until || (() => true));
  };
  const saved = [];
  window.Blob = function (parts) { saved.push(parts.join("")); };
  URL.createObjectURL = () => "data:,";
  await wait(() => ids().length);
  say("opened", all('.ib-row[aria-expanded="true"] .ib-id').map((one) => one.textContent));
  say("panel", all(".ib-panel:not([hidden])").map((one) => one.textContent).join(""));
  say("focused", document.activeElement.className);
  say("labels", all("#item-browser select, #item-browser input").every((one) => one.labels.length === 1));
  await choose("show", "program");
  say("rescued", ids());
  await choose("sort", "short");
  say("shortest", ids());
  all(".ib-buttons button").filter((one) => one.textContent === "CSV").forEach((one) => one.click());
  all(".ib-buttons button").filter((one) => one.textContent === "JSON").forEach((one) => one.click());
  say("csv", saved[0]);
  say("json", JSON.parse(saved[1]).map((one) => one.id));
  await choose("show", "");
  await choose("find", "PROSE <\\/script>");
  say("found", ids());
  say("markup", all(".ib-question b").length);
  await choose("find", "");
  await choose("show", "differ");
  say("differ", ids());
  await choose("show", "prose");
  await choose("model", "REAL", () => status().includes("of 4"));
  say("real", ids());
  say("address", decodeURIComponent(location.hash));
  await choose("set", "simuleq", () => status().includes("of 2"));
  all(".ib-row")[0].click();
  say("withheld", all(".ib-panel:not([hidden])").map((one) => one.textContent).join(""));
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_filters_sorts_searches_saves_and_follows_a_link_from_a_disk(project):
    written = item_browser.write_items([MINI, REAL], quote)
    site = project / "site"
    shutil.copytree(written.folder, site / "_static" / "items")
    (site / "notebooks").mkdir()
    page = site / "notebooks" / "problems.html"
    driver = DRIVER.replace("REAL", REAL_NAME)
    page.write_text(f"<!doctype html><meta charset=utf8><body>{written._repr_html_()}{driver}</body>")
    link = f"{page.as_uri()}#model={NAME}&set=mini-gsm8k&item=mini-gsm8k%2Ftest%2F2"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={project / 'profile'}",
               "--virtual-time-budget=20000", "--dump-dom", link]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, re.findall(r'data-(?:failed|last)="([^"]*)"', done.stdout) or done.stderr[-2000:]
    seen = json.loads(html.unescape(found[1]))
    assert seen["opened"] == ["mini-gsm8k/test/2"]
    assert seen["focused"] == "ib-row"
    assert seen["labels"] is True
    for part in (
        "Prose alone </script><b>?",
        "Reference answer: 1",
        "The answer is 2.",
        "It ran and printed",
        "a reason",
    ):
        assert part in seen["panel"]
    assert seen["rescued"] == ["mini-gsm8k/test/0", "mini-gsm8k/test/1"]
    assert seen["shortest"] == ["mini-gsm8k/test/1", "mini-gsm8k/test/0"]
    assert seen["json"] == seen["shortest"]
    assert seen["csv"].count("\r\n") == 3
    assert "\"print('mini-gsm8k/test/1')\"" in seen["csv"]
    assert seen["found"] == ["mini-gsm8k/test/2"]
    assert seen["markup"] == 0, "what a model or a question holds is text"
    assert seen["differ"] == []
    assert seen["real"] == ["simuleq/0"]
    assert f"model={REAL_NAME}&show=prose" in seen["address"]
    assert "licence: not stated" in seen["withheld"]
    assert "https://example.org/simuleq" in seen["withheld"]
