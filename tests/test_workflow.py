"""The workflow: what failed or was killed never passes for finished."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import site
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import processes
import pytest
import yaml

from mammoth_utils.curation.teacher.answer_store import Store
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.report import is_finished
from mammoth_utils.vocabulary import RunName

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

import check_book  # noqa: E402  (the workflow is scripts beside each other, no package)
import check_record  # noqa: E402
import stages  # noqa: E402


def notebook(*sources: str) -> nbformat.NotebookNode:
    """A notebook of code cells, the first of them its parameters."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def executed(error: bool = False, count: int | None = 1) -> dict:
    """One code cell as an executed notebook has it."""
    outputs = [{"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}] if error else []
    return {"cells": [{"cell_type": "code", "source": ["x"], "execution_count": count, "outputs": outputs}]}


def run(*command: str, **more) -> subprocess.CompletedProcess:
    """A command in the project's folder, without a terminal's input."""
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **{"cwd": ROOT, **more})


def test_a_page_that_fails_leaves_its_notebook_aside_and_no_output(tmp_path):
    nbformat.write(
        notebook("size: str = '1m'  # scale", "print('so far')", "raise ValueError('no rows left')"),
        tmp_path / "page.ipynb",
    )
    out = tmp_path / "runs" / "page.ipynb"
    done = run(sys.executable, "workflow/run_page.py", str(tmp_path / "page.ipynb"), str(out))
    assert done.returncode != 0
    assert "no rows left" in done.stderr
    assert not out.exists()
    kept = json.loads((out.parent / "page.failed.ipynb").read_text())
    assert "so far" in json.dumps(kept)
    assert "no rows left" in json.dumps(kept)


def test_a_page_that_finishes_takes_the_failed_one_away(tmp_path):
    nbformat.write(notebook("n: int = 1  # number", "print(int(n) + 1)"), tmp_path / "page.ipynb")
    out = tmp_path / "page-run.ipynb"
    (tmp_path / "page-run.failed.ipynb").write_text("{}")
    done = run(sys.executable, "workflow/run_page.py", str(tmp_path / "page.ipynb"), str(out), "-p", "n", "41")
    assert done.returncode == 0, done.stderr
    assert is_finished(json.loads(out.read_text()))
    assert not (tmp_path / "page-run.failed.ipynb").exists()


def test_a_page_whose_kernel_is_killed_is_not_finished(tmp_path):
    nbformat.write(
        notebook("n: int = 1  # number", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        tmp_path / "page.ipynb",
    )
    done = run(sys.executable, "workflow/run_page.py", str(tmp_path / "page.ipynb"), str(tmp_path / "out.ipynb"))
    assert done.returncode != 0
    assert not (tmp_path / "out.ipynb").exists()


def kernel_that_dies(folder: Path, times: int) -> dict[str, str]:
    """An environment whose kernel ``python3`` dies the first so many times, before it answers."""
    spec = folder / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    died = folder / "died"
    script = (
        f'echo >> "{died}"; [ $(wc -l < "{died}") -le {times} ] && exit 1; exec {sys.executable} -m ipykernel -f "$0"'
    )
    argv = ["/bin/sh", "-c", script, "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    return {**os.environ, "JUPYTER_PATH": str(folder / "jupyter"), "JUPYTER_PREFER_ENV_PATH": "0"}


def test_a_page_whose_kernel_does_not_start_is_started_again_and_says_so(tmp_path):
    nbformat.write(notebook("n: int = 1  # number", "print(int(n) + 1)"), tmp_path / "page.ipynb")
    out = tmp_path / "out.ipynb"
    command = (sys.executable, "workflow/run_page.py", str(tmp_path / "page.ipynb"), str(out))
    done = run(*command, env=kernel_that_dies(tmp_path / "once", 1))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("started again (2 of 3)") == 1
    assert is_finished(json.loads(out.read_text()))
    out.unlink()
    done = run(*command, env=kernel_that_dies(tmp_path / "always", 9))
    assert done.returncode != 0
    assert "started again (3 of 3)" in done.stdout
    assert "Kernel died" in done.stderr
    assert not out.exists()


def test_the_workflow_plans_every_page_of_a_fresh_clone(tmp_path):
    environment = {**os.environ, "MAMMOTH_RUNS_DIR": str(tmp_path / "runs")}
    command = ["-m", "snakemake", "html", "--snakefile", "workflow/Snakefile", "--dry-run", "--cores", "2", "--nolock"]
    done = run(sys.executable, *command, "--quiet", "rules", env=environment)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    pages = ("curate", "train", "evaluate", "solve", "problems", "audit", "hardware", "main_results", "ablations")
    for rule in (*pages, "models_0", "models_1", "html"):
        assert re.search(rf"^{rule}\s+1$", said, re.MULTILINE), f"{rule} is not planned:\n{said}"


def test_each_stage_follows_from_the_packages_that_its_code_imports():
    def packages(files):
        return {Path(file).relative_to("src/mammoth_utils").parts[0].removesuffix(".py") for file in files}

    models = packages(stages.script_files("measure_models.py"))
    assert {"training", "evaluation", "curation", "grading", "programs", "miniature", "base_models"} <= models
    assert not {"report", "audit"} & models, "a figure retrains nothing"
    assert {"evaluation", "grading", "report"} <= packages(stages.page_files("evaluate"))
    reading = packages(stages.page_files("main_results"))
    assert "report" in reading
    assert not {"training", "evaluation", "curation"} & reading, "a page that reads records depends on nothing that ran"
    assert "src/mammoth_utils/report/published_tables/accuracies.csv" in stages.page_files("main_results")
    assert "src/mammoth_utils/report/executed_pages.py" in stages.script_files("build_html.py", "check_book.py")


@pytest.mark.parametrize("grid", sorted((ROOT / "workflow" / "grids").glob("*.yaml")), ids=lambda file: file.name)
def test_every_model_of_a_grid_resolves_to_a_run_of_its_own(grid):
    import measure_models

    names = [measure_models.run_name(model) for model in measure_models.read_grid(grid)]
    assert len(names) == len(set(names))


def test_a_grid_with_a_mistyped_key_is_refused(tmp_path):
    import measure_models

    (tmp_path / "grid.yaml").write_text("- {size: 1m, mixtrue: pot}\n")
    with pytest.raises(ValueError, match="unknown key 'mixtrue'"):
        measure_models.read_grid(tmp_path / "grid.yaml")
    (tmp_path / "grid.yaml").write_text("size: 1m\n")
    with pytest.raises(ValueError, match="expected a list of models"):
        measure_models.read_grid(tmp_path / "grid.yaml")


def test_a_control_of_other_steps_than_the_hybrid_run_is_refused(runs_dir):
    import measure_models

    named = {"size": "1m", "mixture": "pot", "method": "full", "seed": 0, "name": "llama-1m-pot-full-s0-equal-steps"}
    control = measure_models.describe_training({**named, "max_steps": 9})
    measure_models.check_equal_steps(control)  # nothing to compare with yet
    hybrid = runs_dir / "train" / "llama-1m-hybrid-full-s0"
    hybrid.mkdir(parents=True)
    (hybrid / "record.json").write_text(json.dumps({"steps": 9}))
    measure_models.check_equal_steps(control)
    (hybrid / "record.json").write_text(json.dumps({"steps": 8}))
    with pytest.raises(ValueError, match="would take 9 steps where llama-1m-hybrid-full-s0 took 8: write 8"):
        measure_models.check_equal_steps(control)


def test_the_check_finds_a_page_that_is_missing_unfinished_or_leads_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(check_book, "contents", lambda: ["book/index", "notebooks/train", "notebooks/gone"])
    html, runs = tmp_path / "html", tmp_path / "runs"
    for folder in (html / "book", html / "notebooks", runs / "book"):
        folder.mkdir(parents=True)
    (html / "book" / "index.html").write_text('<script src="https://cdn.example.org/x.js"></script><img src="no.png">')
    (html / "notebooks" / "train.html").write_text("<p>nothing shown</p>")
    (runs / "book" / "train.ipynb").write_text(json.dumps(executed(error=True)))
    found = "\n".join(check_book.faults(html, runs))
    for words in ("loads https://cdn.example.org/x.js from outside", "no.png, which is not there", "did not finish",
                  "notebooks/gone: not in the built book"):  # fmt: skip
        assert words in found


def test_the_check_passes_a_whole_page(tmp_path, monkeypatch):
    monkeypatch.setattr(check_book, "contents", lambda: ["notebooks/train"])
    html, runs = tmp_path / "html", tmp_path / "runs"
    (html / "notebooks").mkdir(parents=True)
    (runs / "book").mkdir(parents=True)
    (html / "notebooks" / "train.html").write_text('<div class="cell_output docutils container">2</div>')
    whole = executed()
    whole["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "2"}]
    (runs / "book" / "train.ipynb").write_text(json.dumps(whole))
    assert check_book.faults(html, runs) == []


@pytest.mark.parametrize("script", sorted(file.name for file in (ROOT / "workflow").glob("*.py")))
def test_a_script_loads_as_it_is_started(script):
    """In a process of its own: what an earlier import of the tests has loaded hides a clash of names."""
    load = f"import sys, runpy; sys.path[0] = 'workflow'; runpy.run_path('workflow/{script}', run_name='loaded')"
    ran = run(sys.executable, "-c", load)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_two_records_are_compared_item_by_item():
    def record(published):
        return {"benchmarks": {"mini-gsm8k": {"items": {"ids": ["a", "b"], "published": published, "corrected": "11"}}}}

    lines = check_record.compare(record("10"), record("11"))
    assert "1 of 2 verdicts differ" in lines[0]
    assert "0 of 2 verdicts differ" in lines[1]
    other = record("10")
    other["benchmarks"]["mini-gsm8k"]["items"]["ids"] = ["a", "c"]
    with pytest.raises(ValueError, match="other problems"):
        check_record.compare(record("10"), other)


def test_check_record_makes_every_committed_record_as_it_was_made(runs_dir, monkeypatch):
    """Training and decoding are stood in for; each plan leads to the evaluation that the record is of."""
    import measure_models

    def finetune(training, rows):
        (training.folder / "model").mkdir(parents=True, exist_ok=True)
        (training.folder / "model" / "model.safetensors").touch()
        for name in ("run.json", "record.json"):
            text = json.dumps({**training.as_dict(), "steps": steps})
            (training.folder / name).write_text(text, encoding="utf8")

    made, steps = [], yaml.safe_load((ROOT / "workflow" / "grids" / "full.yaml").read_text(encoding="utf8"))["steps"]
    monkeypatch.setattr("mammoth_utils.training.finetune", finetune)
    monkeypatch.setattr("mammoth_utils.curation.ensure_dataset", lambda name: name)
    monkeypatch.setattr("mammoth_utils.curation.read_mixture", lambda *arguments: [])
    monkeypatch.setattr("mammoth_utils.evaluation.evaluate", made.append)
    commands = 0
    for file in sorted((ROOT / "records").rglob("*.json")):
        record = json.loads(file.read_text(encoding="utf8"))
        plan = check_record.find_plan(record)
        if isinstance(plan, str):
            commands += 1
            assert re.search(r"`(python|make) \S+.*`", plan), (file.name, plan)
            continue
        names = measure_models.train_and_evaluate(plan)
        assert names["evaluate"] == record["parameters"]["name"], file.name
        described = json.loads(json.dumps(made.pop().as_dict()))
        own = (
            "model",
            "adapter",
            *(("base",) if record["world"] == "real" else ()),
        )  # a place, or BASE=... of a reader
        kept = {key: value for key, value in record["parameters"].items() if key not in own}
        assert {key: described[key] for key in kept} == kept
    real = ROOT / "records" / "real"
    others = ["miniature/development.json", "miniature/shown.json", "miniature/optimizers.json"]
    expected = [*real.glob("*.json"), *real.glob("training/*.json"), *(ROOT / "records" / name for name in others)]
    assert commands == sum(file.is_file() for file in expected)


def test_a_record_of_a_run_that_no_grid_knows_is_refused_before_anything_is_trained():
    record = {
        "page": "evaluate",
        "world": "miniature",
        "decoding": "hybrid",
        "model": {"size": "", "model": "runs/train/mine/model"},
        "parameters": {"decoding": "hybrid", "split": "test", "limit": 0, "also": [], "benchmarks": ["mini-svamp"]},
    }
    assert "mine is in none of" in check_record.find_plan(record)


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({"SIZE": "3m", "LEARNING_RATE": "1e-4", "seed": "3"}, {"size": "3m", "learning_rate": "1e-4", "seed": "3"}),
        ({"BASE": "/a folder/qwen, two"}, {"base": "/a folder/qwen, two"}),
        ({"EPOCHS": "2", "epochs": "2"}, {"epochs": "2"}),
        ({"EPOCHS": "2", "epochs": "3"}, "given twice"),
        ({"RECRD": "x"}, "unknown parameter 'recrd'"),
        ({"LERNING_RATE": "1"}, "did you mean 'learning_rate'"),
    ],
)  # fmt: skip
def test_make_train_passes_every_parameter_and_refuses_the_rest(variables, asked, tmp_path):
    """Through make itself, with a Python that prints what workflow/train.py would read."""
    code = """if True:
        import os, sys
        sys.path.insert(0, "workflow")
        import train
        given = train.read_parameters(os.environ["GIVEN"], os.environ)
        train.pages.resolve("train", given)
        print(given)
    """
    rules = tmp_path / "rules.mk"
    rules.write_text('include Makefile\nsetup: ;\nVENV_PYTHON := $(WITH) -c "$$CODE"\n', encoding="utf8")
    environment = {**os.environ, "CODE": code, "WITH": shlex.quote(sys.executable)}
    given = [f"{name}={value}" for name, value in variables.items()]
    ran = run("make", "-s", "-f", str(rules), "train", *given, env=environment)
    if isinstance(asked, str):
        assert ran.returncode != 0
        assert asked in ran.stderr
    else:
        assert ast.literal_eval(ran.stdout) == asked, ran.stderr


def test_a_variable_that_no_target_reads_is_refused_by_name():
    for target in ("check-record", "book"):
        ran = run("make", "-n", target, "RECRD=records/x.json")
        assert ran.returncode != 0
        assert "unknown variable RECRD; known: CORES" in ran.stderr


@pytest.mark.parametrize("script", ["book.py", "train.py", "try.py"])
def test_a_place_that_cannot_be_written_is_one_line_that_names_the_variable(script, tmp_path):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    place = {"MAMMOTH_RUNS_DIR": str(tmp_path / "file" / "runs"), "GIVEN": ""}
    ran = run(sys.executable, f"workflow/{script}", env={**os.environ, **place})
    assert ran.returncode != 0
    assert "nothing can be written in" in ran.stderr
    assert "MAMMOTH_RUNS_DIR" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr


def test_documented_commands_start_without_a_warning():
    """Python warns of "unpredictable behaviour" where a package has imported the module that is to be run."""
    texts = [ROOT / "README.md", *(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    texts += [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").glob("*.py")]
    found = re.findall(r"-m (mammoth_utils(?:\.[a-z_]+)+)", "\n".join(file.read_text("utf8") for file in texts))
    modules = sorted(
        {name if not (ROOT / "src" / name.replace(".", "/")).is_dir() else f"{name}.__main__" for name in found}
    )
    assert len(modules) > 10
    code = f"""if True:
        import importlib, importlib.util, sys
        names = {modules}
        for name in names:
            importlib.import_module(name.rpartition(".")[0])
        print([name for name in names if name in sys.modules or importlib.util.find_spec(name) is None])
    """
    ran = run(sys.executable, "-c", code)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_a_job_ends_with_the_make_book_that_started_it(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    code = "import time; from mammoth_utils import parent_watch as p; p.end_with_parent(p.BOOK); time.sleep(600)"
    job = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "MAMMOTH_BOOK_PID": str(owner.pid)}
    )
    owner.kill()
    owner.wait()
    assert job.wait(timeout=60) == -signal.SIGKILL


def test_a_second_set_up_in_a_finished_environment_does_nothing(tmp_path):
    import make_environment

    assert make_environment.key() == make_environment.key()
    if make_environment.finished() != make_environment.key():
        pytest.skip("this environment was not made by workflow/make_environment.py")
    done = run("sh", "workflow/setup.sh")
    assert done.returncode == 0
    assert done.stdout == ""


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """The set-up script in a project folder of its own, with an environment of somebody else beside it."""
    import make_environment

    place = tmp_path / "project" / ".venv"
    place.parent.mkdir()
    for name, path in {"VENV": place, "STAMP": place / "set-up.json", "LOG": place / "set-up.log"}.items():
        monkeypatch.setattr(make_environment, name, path)
    other = tmp_path / "other"
    (other / "lib").mkdir(parents=True)
    (other / "lib" / "precious.py").write_text("answer = 42\n")
    (other / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9\n")
    return make_environment


@pytest.mark.parametrize("what", ["link", "dead link", "uv", "by hand", "conda", "folder", "file"])
def test_set_up_changes_nothing_in_what_it_did_not_make(what, set_up, tmp_path):
    place, other = set_up.VENV, tmp_path / "other"
    if what in ("link", "dead link"):
        place.symlink_to(other if what == "link" else tmp_path / "gone")
    elif what == "file":
        place.write_text("not a folder")
    else:
        other.rename(place)
        settings = {"uv": "home = /usr/bin\nuv = 0.9\n", "by hand": "home = /usr/bin\n"}
        if what in settings:
            (place / "pyvenv.cfg").write_text(settings[what])
        else:
            (place / "pyvenv.cfg").unlink()
            if what == "conda":
                (place / "conda-meta").mkdir()
    before = sorted((str(f), f.is_file() and f.read_bytes()) for f in tmp_path.rglob("*"))
    for action in (set_up.main, set_up.make_venv):
        with pytest.raises(SystemExit, match=r"which set-up did not make; nothing was changed in it"):
            action()
    assert sorted((str(f), f.is_file() and f.read_bytes()) for f in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("marker", ["set-up.json", "set-up.log", None])
def test_set_up_clears_its_own_unfinished_environment_and_fills_an_empty_folder(marker, set_up, monkeypatch, tmp_path):
    set_up.VENV.mkdir()
    if marker:
        (set_up.VENV / marker).write_text("{}")
        (set_up.VENV / "half").write_text("")
        (set_up.VENV / "lib").symlink_to(tmp_path / "other")  # a link inside is removed, and not what it leads to
    commands = []
    monkeypatch.setattr(
        set_up.subprocess, "run", lambda line, **_: commands.append(line) or subprocess.CompletedProcess(line, 0)
    )
    set_up.make_venv()
    assert [file.name for file in set_up.VENV.iterdir()] == ["set-up.json"]
    assert "--clear" not in commands[0]
    assert (tmp_path / "other" / "lib" / "precious.py").is_file()
    assert not set_up.describe_foreign()


def test_a_python_that_is_too_old_is_refused_with_what_to_install(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("python3.13", "python3.12", "python3.11"):
        (tmp_path / name).symlink_to(old)
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    done = run(str(tmp_path / "sh"), "workflow/setup.sh", env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "python3-venv" in done.stderr


# --- minutes ---------------------------------------------------------------------------------------------------------


def papermill(*arguments: str, **more) -> subprocess.CompletedProcess:
    """Papermill with this environment's kernel."""
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", **more.pop("env", {})}
    return run(sys.executable, "-m", "papermill", *arguments, env=environment, **more)


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory) -> Path:
    """A folder of runs for the pages of this file: the miniature's data set is made there once."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.mark.long
def test_a_page_runs_inside_its_folder_behind_a_pipe(tmp_path, shared_runs):
    command = f"{shlex.quote(sys.executable)} -m papermill train.ipynb -p size 1m -p max_steps 3"
    environment = {**os.environ, "MAMMOTH_RUNS_DIR": str(shared_runs)}
    line = ("bash", "-o", "pipefail", "-c", f"{command} | cat > {tmp_path}/out.ipynb")
    done = run(*line, cwd=ROOT / "notebooks", env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert is_finished(json.loads((tmp_path / "out.ipynb").read_text()))
    assert list((shared_runs / "train").glob("*/record.json"))


@pytest.mark.long
def test_the_readmes_papermill_lines_run(tmp_path, shared_runs):
    text = (ROOT / "README.md").read_text(encoding="utf8")
    lines = [
        line for line in text.splitlines() if "papermill " in line and "-p size" in line and not line.startswith("`")
    ]
    small = [line for line in lines if "-p size 1m" in line]
    assert len(small) >= 2
    environment = {"MAMMOTH_RUNS_DIR": str(shared_runs), "HF_HUB_OFFLINE": "1"}
    for line in small:
        words = shlex.split(line)
        # As the reader types it, but with few steps and problems: that a full run trains is the book's own test.
        words[2] = str(tmp_path / Path(words[2]).name)
        trained = str(RunName("llama", "1m", "hybrid", words[words.index("method") + 1]))
        fewer = ["limit", "4"] if "evaluate" in words[1] else ["max_steps", "8", "-p", "name", trained]
        done = papermill(*words[1:], "-p", *fewer, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
    for line in (line for line in lines if "-p size 13b" in line and not line.startswith("cd ")):
        words = shlex.split(line)
        done = papermill(words[1], str(tmp_path / "large.ipynb"), *words[3:], env=environment)
        assert done.returncode != 0, "no machine of these tests has a 13b base"
        assert re.search(r"weights|GPU|huggingface|hub", done.stderr), done.stderr[-2000:]


def copy_of_the_project(place: Path) -> Path:
    """Copy the files that git knows to a folder, with an environment in it that finds this one's packages."""
    for name in run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    run(sys.executable, "-m", "venv", "--without-pip", str(place / ".venv"))
    (packages,) = (place / ".venv").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()), encoding="utf8")
    return place


def records_of(runs: Path) -> dict[str, dict]:
    """Every record below a folder of runs without what a clock or a commit puts there."""

    def bare(value):
        if isinstance(value, dict):
            return {
                key: bare(one)
                for key, one in value.items()
                if not re.search("second|stages|time|commit|environment|speed|memory", key)
            }
        return [bare(one) for one in value] if isinstance(value, list) else value

    found = sorted(runs.glob("*/*/record.json"))
    return {str(file.relative_to(runs)): bare(json.loads(file.read_text())) for file in found}


def requests_noted(runs: Path) -> int:
    """How many requests to the teacher a folder of runs has on disk, read while another process writes there."""
    file = runs / "teacher" / "answers.sqlite"
    if not file.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'intents'").fetchone():
            return 0  # the file is there a moment before its tables are
        return database.execute("SELECT COUNT(*) FROM intents").fetchone()[0]


def asking(runs: Path) -> Callable[[], bool]:
    """Whether a hundred requests were noted since now: the teacher is in the middle of being asked."""
    before = requests_noted(runs)
    return lambda: requests_noted(runs) >= before + 100


def training(runs: Path) -> Callable[[], bool]:
    """Whether the small model is begun."""
    return (runs / "train" / "tiny-pot" / "run.json").is_file


def take_lost(record: dict) -> dict[str, int]:
    """Take the requests that were lost out of a curation's ledger; by place in it, and nothing else is taken."""
    ledger = record["ledger"]
    places = {"total": ledger["total"], **ledger["models"], **ledger["sources"]}
    return {place: entry.pop("lost") for place, entry in places.items()}


# When a run is killed, and whether every process below it dies in the same instant, as at a power cut, or has to notice
# by itself that its owner is gone. A hundred of 1,330 requests a time: whatever the machine, asking is not over.
KILLS = [(asking, "all"), (asking, "all"), (asking, "owner"), (training, "owner")]


@pytest.mark.long
def test_a_killed_workflow_goes_on_and_ends_with_the_same_records_also_at_a_path_with_a_space(tmp_path):
    (tmp_path / "grid.yaml").write_text(
        "- {size: 1m, mixture: pot, max_steps: 12, name: tiny-pot, evaluate: {limit: 3}}\n"
        "- {size: 1m, mixture: none, evaluate: {limit: 3}}\n"
    )
    book = [sys.executable, "workflow/book.py", "models_1", "--cores", "1"]

    def environment(folder: Path) -> dict[str, str]:
        return {**os.environ, "MAMMOTH_RUNS_DIR": str(folder), "MAMMOTH_GRID": str(tmp_path / "grid.yaml")}

    undisturbed, killed = tmp_path / "undisturbed's runs é" / "runs", tmp_path / "killed" / "runs"
    place = copy_of_the_project(tmp_path / "my proj é")
    elsewhere = {**environment(undisturbed), "MAMMOTH_ROOT": str(place), "PYTHONPATH": str(place / "src")}
    done = run(str(place / ".venv" / "bin" / "python"), *book[1:], env=elsewhere, cwd=place)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    for moment, who in KILLS:
        come = moment(killed)
        process = subprocess.Popen(book, cwd=ROOT, env=environment(killed), start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        while not come() and process.poll() is None:
            time.sleep(0.02)
        for pid in [process.pid, *(processes.below(process.pid) if who == "all" else ())]:
            with contextlib.suppress(ProcessLookupError):  # it ended between the list and the signal
                os.kill(pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before it could be killed while {moment.__name__}"
        assert not [
            file for file in (killed / "book").glob("[a-z]*.ipynb") if not is_finished(json.loads(file.read_text()))
        ]
    done = run(*book, env=environment(killed))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    found, expected = records_of(killed), records_of(undisturbed)
    # A request under way at a kill is sent again, and the ledger says so, since an endpoint may charge for both. That
    # count is the one thing that a kill may change, and it has a bound of its own.
    lost, none = (take_lost(records["curate/miniature/record.json"]) for records in (found, expected))
    assert found == expected
    assert set(none.values()) == {0}
    assert set(lost) == set(none)
    with Store(killed / "teacher" / "answers.sqlite") as store:
        assert lost["total"] == len(store.lost()), "the ledger lists what the log lists"
    assert lost["total"] == sum(
        lost[source] for source in expected["curate/miniature/record.json"]["ledger"]["sources"]
    )
    times = sum(moment is asking for moment, _ in KILLS)
    assert 1 <= lost["total"] <= Teacher.concurrency * times, "at most what was under way at each kill"
    assert any(name.startswith("evaluate/") for name in found)
