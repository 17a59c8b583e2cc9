"""The house: who may import whom, what a page looks like, and that every list of versions says the same."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from mammoth_utils import pages

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "mammoth_utils"
SHARED = {
    "vocabulary", "rationale", "prompts", "scales", "records", "paths", "pages", "hub", "licences", "parent_watch",
    "silence_libraries", "row_files", "openai_client", "command_line", "status_line", "intervals", "processors",
}  # fmt: skip
# Higher floors may import lower ones, and nothing its own floor's other rooms.
FLOORS = {
    "report": 5, "audit": 4, "evaluation": 3, "training": 3, "curation": 2, "grading": 1, "programs": 1, "miniature": 1,
    "base_models": 1,
    **dict.fromkeys(SHARED, 0),
}  # fmt: skip
# Said in the plan: the command line of grading runs stored programs; completions.py is the room behind it.
ALLOWED = {("grading/__main__.py", "programs"), ("grading/completions.py", "programs")}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CARD = (
    "torch transformers trl peft bitsandbytes datasets accelerate openai matplotlib pandas papermill jupyter_book "
    "snakemake math_verify sympy jupyterlab pooch ruff pytest nbstripout itables datasketch hypothesis ipykernel"
)


def imported(tree: ast.AST) -> list[tuple[str, bool]]:
    """Every imported module's dotted name, and whether it is imported when the file is."""
    inside = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
              for node in ast.walk(outer)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        at_once = id(node) not in inside
        if isinstance(node, ast.Import):
            found += [(alias.name, at_once) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "mammoth_utils":
            found += [(f"mammoth_utils.{alias.name}", at_once) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, at_once))
    return found


@cache
def sources() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    """A file of the library, parsed once for all tests."""
    return ast.parse(file.read_text(encoding="utf8"))


def test_imports_run_one_way():
    wrong = []
    for file in sources():
        name = file.relative_to(LIBRARY).as_posix()
        room = name.split("/")[0].removesuffix(".py")
        if room not in FLOORS:
            assert room == "__init__", f"{name}: a room that the plan does not have"
            continue
        for module, _ in imported(tree(file)):
            parts = module.split(".")
            if parts[0] != "mammoth_utils" or len(parts) < 2 or parts[1] == room or parts[1] not in FLOORS:
                continue
            if room in SHARED and parts[1] in SHARED:
                continue
            below = FLOORS[parts[1]] < FLOORS[room]
            reads_only = room != "report" or parts[1] not in ("evaluation", "training", "curation")
            if not (below and reads_only) and (name, parts[1]) not in ALLOWED:
                wrong.append(f"{name} imports {module}")
    assert not wrong, "\n".join(wrong)


sys.path.insert(0, str(ROOT / "workflow"))
try:
    import library_imports
finally:
    sys.path.pop(0)

PACKAGES = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def test_no_module_imports_itself_through_others():
    assert library_imports.circles(library_imports.module_graph()) == []


def test_no_folder_imports_itself_through_others():
    """A sub-package is one node, and so is each file that lies beside it."""
    graph = library_imports.module_graph()

    def place(module: str) -> str:
        inside = (LIBRARY.parent / module.replace(".", "/")).with_suffix(".py")
        folder = inside.parent if inside.is_file() else LIBRARY.parent / module.replace(".", "/")
        depth = len(folder.relative_to(LIBRARY).parts)
        return module if depth < 2 else ".".join(module.split(".")[:3])

    folders: dict[str, set[str]] = {}
    for module, imports in graph.items():
        folders.setdefault(place(module), set()).update(map(place, imports))
    assert library_imports.circles(folders) == []


@cache
def imports_by_file() -> dict[str, list[str]]:
    """The dotted names that each file of the library, each script and each page imports; parsed once."""
    files = [*sources(), *(file for folder in ("workflow", "speed") for file in sorted((ROOT / folder).glob("*.py")))]
    texts = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf8") for file in files}
    for page in NOTEBOOKS:
        cells = json.loads(page.read_text(encoding="utf8"))["cells"]
        texts[f"notebooks/{page.name}"] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    return {name: library_imports.imported(text) for name, text in texts.items()}


def outside(package: str) -> list[tuple[str, str]]:
    """File and dotted name of each import of a package's insides from outside of it; pages and scripts count."""
    inside, face = f"src/mammoth_utils/{package}/", f"mammoth_utils.{package}."
    return [(file, name) for file, names in imports_by_file().items() if not file.startswith(inside)
            for name in names if name.startswith(face)]  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_entered_by_its_face(package):
    face = importlib.import_module(f"mammoth_utils.{package}")
    handed_on = {f"mammoth_utils.{package}.{name}" for name in (*face.__all__, "VERSION")}
    wrong = [f"{name} imports {what}" for name, what in outside(package) if what not in handed_on]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_hands_on_what_it_names(package):
    face = importlib.import_module(f"mammoth_utils.{package}")
    for name in face.__all__:
        thing = getattr(face, name)
        inner = LIBRARY / package / f"{name}.py"
        assert not inner.exists() or getattr(thing, "__file__", "") == str(inner), (
            f"{package}.{name} is a file and something else: whichever is imported last would win"
        )


def test_no_folder_is_crowded_and_no_two_names_of_a_package_are_alike():
    for folder in {file.parent for file in sources()}:
        assert len(list(folder.glob("*.py"))) <= 20, f"{folder.relative_to(ROOT)} has more files than a reader can scan"
    for package in PACKAGES:
        files = [file for file in (LIBRARY / package).rglob("*.py") if not file.stem.startswith("__")]
        stems = sorted(file.stem for file in files)
        assert len(stems) == len(set(stems)), f"{package}: two files of one name"
        alike = [(a, b) for a in stems for b in stems if a < b and (b.startswith(a) and len(b) - len(a) <= 2)]
        alike += [(a, b) for a in stems for b in stems
                  if a < b and len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1]  # fmt: skip
        assert not alike, f"{package}: names that differ by a letter or two: {alike}"


def test_shared_nouns_import_nothing_heavy():
    heavy = {"torch", "transformers", "pandas", "numpy", "datasets", "matplotlib", "sympy"}
    for noun in SHARED:
        names = imported(tree(LIBRARY / f"{noun}.py"))
        assert not heavy & {module.split(".")[0] for module, at_once in names if at_once}, noun


def test_only_training_loads_torch():
    """In one process: every name that the other packages hand on, then the package `training` itself."""
    light = [package for package in PACKAGES if package != "training"]
    code = f"""
import importlib, sys
for name in ("pages", *{light!r}, "training"):
    module = importlib.import_module(f"mammoth_utils.{{name}}")
    for face in getattr(module, "__all__", ()) if name != "training" else ():
        getattr(module, face)
    if "torch" in sys.modules:
        sys.exit(f"mammoth_utils.{{name}} loads torch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_no_script_hides_a_module_from_what_it_imports():
    """A script's folder is first on its path: a file ``html.py`` there is what the library's ``import html`` gets."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    scripts = [file for folder in ("workflow", "speed", "tests", "book") for file in (ROOT / folder).glob("*.py")]
    assert len(scripts) > 20
    hiding = [str(file.relative_to(ROOT)) for file in scripts if file.stem in taken]
    assert not hiding, f"{hiding}: give each a name that no module of Python or of the environment has"


def test_no_room_is_called_utils_or_helpers():
    assert not [file for file in sources() if file.stem in ("utils", "helpers", "misc", "common")]


def test_every_package_that_the_library_imports_is_declared():
    declared = {name.replace("-", "_") for name in map(_name, _requirements({"all"}))}
    provides = importlib.metadata.packages_distributions()
    missing = set()
    for file in sources():
        for module, _ in imported(tree(file)):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top == "mammoth_utils" or top.startswith("_"):
                continue
            if not {name.lower().replace("-", "_") for name in provides.get(top, [top])} & declared:
                missing.add(f"{file.relative_to(ROOT)}: {top}")
    # What those declared bring along and is theirs to version.
    carried = ("sphinx", "docutils", "myst_nb", "IPython", "jinja2", "scipy", "huggingface_hub", "requests", "httpx2")
    carried += ("httpx",)
    assert not sorted(one for one in missing if one.rsplit(": ")[1] not in carried)


def test_pages_lie_in_git_without_outputs():
    assert NOTEBOOKS, "no page at all"
    for file in NOTEBOOKS:
        for cell in json.loads(file.read_text(encoding="utf8"))["cells"]:
            assert not cell.get("outputs"), f"{file.name} has outputs: run `make fix`"
            assert not cell.get("execution_count"), f"{file.name} has execution counts: run `make fix`"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_page_declares_plain_parameters_with_help_and_resolves_them_first(file):
    declared = pages.declared(file.stem)
    assert declared
    assert not [name for name, parameter in declared.items() if not parameter.help], "a parameter without help"
    code = [cell for cell in json.loads(file.read_text(encoding="utf8"))["cells"] if cell["cell_type"] == "code"]
    assert "remove-cell" in code[0]["metadata"]["tags"]  # finds the library, and is not shown in the book
    assert "parameters" in code[1]["metadata"].get("tags", [])
    assert f'pages.resolve("{file.stem}", globals()' in "".join(code[2]["source"])
    assert pages.resolve(file.stem, {name: one.default for name, one in declared.items()}).as_dict()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_papermill_reads_the_same_parameters_as_we_do(file):
    papermill = pytest.importorskip("papermill")
    theirs = papermill.inspect_notebook(str(file))
    ours = pages.declared(file.stem)
    assert list(theirs) == list(ours)
    assert {name: one["inferred_type_name"] for name, one in theirs.items()} == {
        n: p.type.__name__ for n, p in ours.items()
    }


def documented() -> list[tuple[str, str]]:
    """Every papermill line of the documentation, with the file that has it."""
    found = []
    for file in (ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))):
        for block in re.findall(r"```[^\n]*\n(.*?)```", file.read_text(encoding="utf8"), re.DOTALL):
            found += [(file.name, line.strip()) for line in block.splitlines() if "papermill " in line]
    return found


def test_documented_commands_name_real_pages_and_parameters(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_ROOT", str(ROOT))
    monkeypatch.chdir(tmp_path)  # where the reader's own file is, which a line before makes
    (tmp_path / "mine.csv").write_text("question,answer\nx,y\n")
    lines = documented()
    assert len(lines) >= 4
    for where, line in lines:
        words = shlex.split(line.split("&& ")[-1])
        page = next(word for word in words if word.endswith(".ipynb"))
        out = words[words.index(page) + 1]
        assert out.endswith(".ipynb"), f"{where}: `{line}` lacks the output path, and fails at a terminal"
        given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word in ("-p", "-r")}
        pages.resolve(Path(page).stem, given)


def test_documented_commands_name_modules_that_exist():
    modules, named = library_imports.modules(), set()
    for file in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "book").glob("*.md"))):
        for module in re.findall(r"python -m (mammoth_utils[\w.]*)", file.read_text(encoding="utf8")):
            named.add(module)
            assert module in modules, f"{file.name}: there is no {module}"
    runnable = [
        module for module in named if f"{module}.__main__" in modules or "__main__" in modules[module].read_text()
    ]
    assert sorted(named) == sorted(runnable), "a command without a main"
    assert len(named) >= 8


# The sum of the others; what no page and no test of `make test` needs: a browser's driver, the peers of speed runs and
# the trackers of a curve.
OUTSIDE = {"all", "browser", "speed", "track"}


def _requirements(outside: set[str] = OUTSIDE) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in outside}
    return sorted({*project["dependencies"], *(line for lines in extras.values() for line in lines)})


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower()


@pytest.mark.parametrize("file", ["environment.yml", "environment-gpu.yml"])
def test_conda_and_pip_name_the_same_versions(file):
    listed = yaml.safe_load((ROOT / file).read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    assert "pip" in listed
    assert any(str(entry).startswith("python=") for entry in listed)
    assert sorted(line for line in pip if line != "-e .") == _requirements()
    assert "-e ." in pip


def test_the_extra_all_holds_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"\[(.*)\]", extras["all"][0])[1].split(",")
    assert set(named) == set(extras) - OUTSIDE


def test_the_running_environment_fits_the_declared_versions():
    from packaging.requirements import Requirement

    for line in _requirements():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = importlib.metadata.version(requirement.name).partition("+")[0]
        assert requirement.specifier.contains(version), f"{line}: {version} is installed"


def test_no_file_names_a_path_of_one_machine():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    wrong = []
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.suffix in (".py", ".md", ".yml", ".yaml", ".toml", ".ipynb", ".json", ".cfg", "") and file.is_file():
            text = file.read_text(encoding="utf8", errors="ignore")
            wrong += [
                f"{name}: {hit}" for hit in re.findall(r"(?<![\w./])/(?:work|root|home/\w+|Users/\w+)/[\w.]+", text)
            ]
    assert not wrong, "\n".join(wrong[:20])


def test_every_page_of_the_contents_has_a_source():
    sys.path.insert(0, str(ROOT / "workflow"))
    try:
        import check_book
    finally:
        sys.path.pop(0)
    for page in check_book.contents():
        assert any((ROOT / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")), f"{page} has no source"


def test_links_follow_from_one_address_and_are_absent_without_it():
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import project_address
    finally:
        sys.path.pop(0)
    assert project_address.theme_options("") == {}
    options = project_address.theme_options("https://github.com/Someone/a-book")
    assert options["repository_url"] == "https://github.com/Someone/a-book"
    assert "binderhub_url" in options["launch_buttons"]
    assert project_address.pages_address("https://github.com/Someone/a-book") == "https://someone.github.io/a-book/"
    assert "launch_buttons" not in project_address.theme_options("https://git.example.org/x/y")
    with pytest.raises(ValueError, match="https://HOST/OWNER/NAME"):
        project_address.theme_options("github.com/x/y")


@pytest.mark.long
def test_every_package_of_the_card_can_be_imported(tmp_path):
    """`make setup` installs the lines that the conda files repeat; in a fresh clone this is a fresh environment."""
    modules = [*CARD.split(), "mammoth_utils.training.description"]
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
