"""What all tests share: the project's folder, its real data where it is, and a run folder of a test's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_base

if TYPE_CHECKING:
    from mammoth_utils.curation.teacher.answer_store import Store

ROOT = Path(__file__).resolve().parent.parent
# Tests and speed runs share the synthetic release.
sys.path.append(str(ROOT / "speed"))
# One thread a process, as in the workflow; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MAMMOTH_ROOT"] = str(ROOT)
# For the processes that tests start, where the library is not installed in place.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--write-golden`` keeps what the code decides now; see ``golden.py``."""
    parser.addoption("--write-golden", action="store_true", help="write tests/golden anew, after a VERSION was raised")


def pytest_configure(config: pytest.Config) -> None:
    """The markers, for a run that does not read pyproject.toml."""
    for marker in (
        "long: minutes or many processes", "alone: uses every core", "gpu: needs an NVIDIA card",
        "network: fetches from outside", "browser: reads the built book in Chromium",
    ):  # fmt: skip
        config.addinivalue_line("markers", marker)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def write_golden(request: pytest.FixtureRequest) -> bool:
    """Whether decisions are kept instead of compared."""
    return request.config.getoption("--write-golden")


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that takes the place of ``runs/``."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of a teacher waits as long as one does for a real endpoint."""
    from mammoth_utils.curation.teacher import batches, rate_limits

    monkeypatch.setattr(rate_limits, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(batches, "POLL_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store of a teacher's answers."""
    from mammoth_utils.curation.teacher.answer_store import Store

    with Store(tmp_path / "answers.sqlite") as opened:
        yield opened


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with runs of its own, where the workers of a training run find the tests' own modules."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A tiny base model, one for all tests of a file; a file's ``BASE_WIDTH`` is its width."""
    more = {"width": width} if (width := getattr(request.module, "BASE_WIDTH", 0)) else {}
    return tiny_base.base(tmp_path_factory.mktemp("base") / "tiny", **more)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; the test skips where ``MAMMOTH_DATA_DIR`` names none."""
    named = os.environ.get("MAMMOTH_DATA_DIR")
    if not named or not Path(named).is_dir():
        pytest.skip("reads real data: MAMMOTH_DATA_DIR names no folder")
    return Path(named)
