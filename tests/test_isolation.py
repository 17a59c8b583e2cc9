"""Isolation: what is claimed is what was tried, and what cannot hold is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from mammoth_utils.programs import IsolationError, Sandbox, isolation, run_program, worker_handle
from mammoth_utils.programs._worker import cleanup, confinement

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def a_machine_without(monkeypatch):
    """A machine on which some levels cannot be had."""

    def without(*levels: str) -> None:
        real = isolation.try_level

        def try_level(level: str):
            return (None, f"no {level} here") if level in levels else real(level)

        monkeypatch.setattr(isolation, "try_level", try_level)

    return without


def test_full_refuses_to_run_where_it_cannot_hold(a_machine_without):
    a_machine_without("namespaces", "landlock")
    with pytest.raises(IsolationError, match=r"no namespaces here; landlock: no landlock here.*isolation='auto'"):
        run_program("print(1)", isolation="full")


def test_auto_takes_the_best_that_is_left_and_says_so_aloud(a_machine_without):
    a_machine_without("namespaces", "landlock")
    with pytest.warns(UserWarning, match="PROCESS LIMITS ONLY"):
        execution = run_program("print(1)", isolation="auto")
    assert (execution.printed, execution.isolation) == ("1\n", "process")


@pytest.mark.skipif(isolation.try_level("landlock")[0] is None, reason=isolation.try_level("landlock")[1])
def test_landlock_stands_in_where_namespaces_are_refused(a_machine_without):
    a_machine_without("namespaces")
    assert isolation.resolve_level("full") == "landlock"
    report = isolation.describe("full")
    assert report.full
    assert {"property": "layer: namespaces", "holds": "no", "how": "no namespaces here"} in report.rows


def test_an_unknown_isolation_names_the_choices():
    with pytest.raises(ValueError, match="unknown isolation 'fulll'; known: auto, full, namespaces, landlock, process"):
        Sandbox(isolation="fulll")


@pytest.mark.parametrize("level", isolation.LEVELS)
def test_the_table_says_what_holds_at_each_level(level):
    if isolation.try_level(level)[0] is None:
        pytest.skip(isolation.try_level(level)[1])
    report = isolation.describe(level)
    holds = {row["property"]: row["holds"] for row in report.rows}
    assert (report.level, report.full) == (level, level in isolation.FULL_LEVELS)
    for claim in ("reading files", "writing files", "network", "other processes", "new processes"):
        assert holds[claim] == ("yes" if report.full else "no"), claim
    assert report.summary in str(report)
    assert repr(report) == str(report), "a plain prompt shows the table"
    assert "<table>" in report._repr_html_()


def test_other_systems_import_the_sandbox_and_are_told_what_is_missing(monkeypatch):
    monkeypatch.setattr(isolation.sys, "platform", "darwin")
    report = isolation.describe("process")
    holds = {row["property"]: row["holds"] for row in report.rows}
    assert "PROCESS LIMITS ONLY" in report.summary
    assert (holds["memory"], holds["nothing outlives its program"]) == ("no", "partly")


def test_readable_places_hold_python_and_no_folder_twice():
    places = confinement.readable_places([sysconfig.get_path("purelib")])
    assert any(os.__file__.startswith(f"{place}/") for place in places)
    assert "/" not in places
    assert str(Path.home()) not in places
    assert str(ROOT) not in places


def test_a_folder_is_emptied_however_deep_and_whatever_its_rights(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(700):  # deeper than a path may be long
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (folder / "link").symlink_to(tmp_path)
    (folder / "locked").mkdir()
    (folder / "locked" / "file").write_text("x")
    (folder / "locked").chmod(0)
    kept = tmp_path / "kept"
    kept.write_text("x")
    assert cleanup.empty_folder(str(folder))
    assert os.listdir(folder) == []
    assert kept.exists()


def test_a_system_that_is_no_unix_is_told_so():
    script = "import os; os.name = 'nt'; import mammoth_utils.programs"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: mammoth_utils.programs runs programs on Linux, macOS and other Unix systems" in done.stderr


def test_the_package_loads_without_torch():
    script = "import sys, mammoth_utils.programs; print('torch' in sys.modules, 'pandas' in sys.modules)"
    # conftest puts the library on the path, beside what an interpreter without this environment was given.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("level", isolation.LEVELS)
def test_packages_below_tmp_are_not_hidden_by_the_scratch_folder(level, monkeypatch):
    """A project checked out below /tmp has its environment there, and with it sympy."""
    if isolation.try_level(level)[0] is None:
        pytest.skip(isolation.try_level(level)[1])
    with tempfile.TemporaryDirectory(prefix="mammoth-packages-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        Path(folder, "lonely.py").write_text("FOUND = 7\n")
        known = worker_handle.package_folders()
        monkeypatch.setattr(worker_handle, "package_folders", lambda: [*known, folder])
        found = run_program("import lonely\nopen('note', 'w').write('x')\nprint(lonely.FOUND)", isolation=level)
        assert (found.status, found.printed) == ("ok", "7\n"), found.error
        refused = run_program(f"open({folder + '/left'!r}, 'w')", isolation=level)
        assert level == "process" or refused.status == "error"


@pytest.mark.long
def test_everything_holds_for_an_ordinary_user_too():
    """The tests of programs once more, as a user without rights, by an interpreter that such a user may run."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("these tests already run as an ordinary user")
    as_nobody = {"user": confinement.NOBODY, "group": confinement.NOBODY, "extra_groups": [], "cwd": "/"}
    packages = sysconfig.get_path("purelib")
    environment = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{packages}", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin:/bin")):
        try:
            command = [interpreter or "", "-c", "import pytest, mammoth_utils.programs"]
            if subprocess.run(command, env=environment, capture_output=True, **as_nobody).returncode == 0:
                break
        except OSError:
            continue
    else:
        pytest.skip(f"no {version} with these packages can be run by an ordinary user of this machine")
    done = subprocess.run(
        [
            interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", "--rootdir", str(ROOT),
            "-n", "2", "--basetemp", f"/tmp/mammoth-nobody-{os.getpid()}",
            *(str(ROOT / "tests" / f"test_{name}.py") for name in ("programs", "isolation", "sharing", "adversaries")),
        ],
        env=environment, capture_output=True, text=True, **as_nobody,
    )  # fmt: skip
    shutil.rmtree(f"/tmp/mammoth-nobody-{os.getpid()}", ignore_errors=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
