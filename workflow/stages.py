"""The stages of ``make book``: which files decide each result, read from the code, and how long each takes."""

from __future__ import annotations

from pathlib import Path

import library_imports
from library_imports import LIBRARY, ROOT

REAL_GRID = ROOT / "workflow" / "grids" / "real.yaml"
# Minutes on two cores, for messages alone.
MINUTES = {
    "curate": 0.5, "train": 1.5, "evaluate": 1.0, "problems": 0.5, "audit": 0.3, "hardware": 0.3, "main_results": 0.3,
    "ablations": 0.3, "solve": 0.3, "models_0": 8.0, "models_1": 10.0, "html": 0.5,
}  # fmt: skip


def page_files(page: str) -> list[str]:
    """Return the files of the library that a page's result follows from: of the packages that its notebook imports."""
    return library_files(library_imports.imported_by_page(ROOT / "notebooks" / f"{page}.ipynb"))


def script_files(*scripts: str) -> list[str]:
    """Return the files of the library that the result of scripts of the workflow follows from."""
    texts = [(ROOT / "workflow" / script).read_text(encoding="utf8") for script in scripts]
    return library_files(set().union(*map(library_imports.imported_by_text, texts)))


def library_files(packages: set[str]) -> list[str]:
    """Return the source and data files of packages and of all that these import, relative to the project, sorted."""
    files: list[Path] = []
    for package in library_imports.with_imports(packages):
        module = LIBRARY / f"{package}.py"
        files += [module] if module.is_file() else (LIBRARY / package).rglob("*")
    suffixes = (".py", ".md", ".csv", ".yaml", ".json", ".js", ".css")
    return sorted(file.relative_to(ROOT).as_posix() for file in files if file.suffix in suffixes)


def base_models() -> list[str]:
    """Return the files of the shipped base models, relative to the project."""
    folder = ROOT / "models" / "miniature"
    return sorted(file.relative_to(ROOT).as_posix() for file in folder.rglob("*") if file.is_file())
