"""The direction of imports, read from the syntax tree: a lower module never learns a higher one's name."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import hrnn_hpo

PACKAGE = Path(hrnn_hpo.__file__).parent

# What each part of the package may import from the package, itself aside. Everything not named here is forbidden.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "stores": {"errors"},
    "cores": set(),
    "processes": set(),
    "files": {"errors"},
    "plain_data": set(),
    "pages": set(),
    "pictures": {"files"},
    "settings": {"errors"},
    "config": {"errors", "plain_data", "settings"},
    "device": {"errors", "cores"},
    "data": {"errors", "config", "settings", "files", "pages", "pictures", "plain_data"},
    "model": {"errors", "config", "data", "files"},
    "training": {"errors", "config", "data", "model", "processes"},
    "evaluation": {"errors", "config", "data", "files"},
    "search": {"errors", "config", "settings", "plain_data"},
    "tracking": {"errors", "config", "stores"},
    "experiment": {"errors", "cores", "config", "settings", "device", "data", "model", "training", "evaluation"},
    "serving": {"errors", "config", "files", "data", "model", "evaluation", "tracking", "pictures"},
    "opening": {"errors", "files", "data", "model", "evaluation", "experiment"},
    "api": {"errors", "config", "data", "model", "training", "evaluation", "experiment", "opening", "serving"},
    "studies": {"study"},
    "recommender": {"errors", "config", "settings", "data", "serving", "api"},
    "study": {
        *("errors", "config", "settings", "data", "model", "training", "evaluation"),
        *("experiment", "search", "tracking", "stores", "files", "pages", "pictures", "cores", "processes"),
    },
}
# The rooms of study/ and the files beside them, lowest first: each imports from those above it in this list alone.
STUDY = (
    *("attributes", "objectives", "resolution", "confirmation", "optuna_quiet", "record", "folders", "seeds", "trials"),
    *("storage", "propose", "request", "track", "forecast", "run", "confirm", "compare", "team"),
    *("plan", "report", "results", "result"),
    "tune",
)
ON_TOP = "cli"
MAX_FILES = 14  # in a folder, besides __init__ and cli/, whose files are one per command group
MAX_PARAMETERS = 12  # of a function that is no command
SHARED = {"__init__"}  # the version

Import = tuple[str, str]  # (file relative to the package, dotted module)


def imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(file, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports relatively"
                assert node.module is not None
                # `from hrnn_hpo import api` names a module too.
                found += [
                    (file, f"hrnn_hpo.{alias.name}" if node.module == "hrnn_hpo" else node.module)
                    for alias in node.names
                ]
    return found


IMPORTS = imports()


def part(name: str) -> str:
    """Return the top-level file or folder that a file or a dotted name inside the package belongs to."""
    return name.removeprefix("hrnn_hpo.").split(".")[0].split("/")[0]


def test_parts_import_one_way() -> None:
    wrong = []
    for file, module in IMPORTS:
        if module != "hrnn_hpo" and not module.startswith("hrnn_hpo."):
            continue
        source, target = part(file), part(module)
        known = target in ALLOWED or target == ON_TOP
        if source in SHARED | {ON_TOP} or target == source or not known:  # not known: a name, such as __version__
            continue
        if target not in ALLOWED.get(source, set()):
            wrong.append(f"{file} imports {module}")
    assert not wrong


def test_the_rooms_of_study_import_one_way() -> None:
    rooms = {
        path.stem for path in (PACKAGE / "study").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == set(STUDY)
    wrong = []
    for file, module in IMPORTS:
        if part(file) != "study" or not module.startswith("hrnn_hpo.study."):
            continue
        source, target = Path(file).with_suffix("").parts[1], module.split(".")[2]
        if source != target and STUDY.index(target) > STUDY.index(source):
            wrong.append(f"{file} imports {module}")
    assert not wrong


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {".".join(("hrnn_hpo", *Path(file).with_suffix("").parts)) for file, _ in IMPORTS}
    left: dict[str, set[str]] = {name: set() for name in files}
    for file, module in IMPORTS:
        source = ".".join(("hrnn_hpo", *Path(file).with_suffix("").parts))
        if module in files and module != source:
            left[source].add(module)
    while left:
        lowest = {name for name, imported in left.items() if not imported & left.keys()}
        assert lowest, f"a circle among {sorted(left)}"
        for name in lowest:
            del left[name]


def test_a_folder_holds_few_files() -> None:
    scripts = PACKAGE.parent / "scripts"
    counts = {
        folder.relative_to(PACKAGE.parent).as_posix(): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in (PACKAGE, *PACKAGE.rglob("*"), *scripts.rglob("*"))
        if folder.is_dir() and folder.name != ON_TOP
    }
    assert {name: n for name, n in counts.items() if n > MAX_FILES} == {}


def test_a_function_takes_few_parameters() -> None:
    """Typer's commands aside, whose parameters are the options, and the fields of models, which are no functions."""
    long = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or _is_command(path, node):
                continue
            taken = node.args
            n = len(taken.posonlyargs) + len(taken.args) + len(taken.kwonlyargs)
            if n > MAX_PARAMETERS:
                long.append(f"{path.relative_to(PACKAGE)}: {node.name} takes {n}")
    assert not long


def _is_command(path: Path, node: ast.FunctionDef) -> bool:
    """Return whether a function is a command: in cli/, public, with its options as annotations."""
    return path.parent.name == ON_TOP and not node.name.startswith("_") and "Annotated" in ast.unparse(node.args)


def test_every_part_of_the_package_has_a_rule() -> None:
    parts = {
        path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir() if path.suffix in (".py", "")
    }
    packages = {
        name for name in parts if (PACKAGE / name / "__init__.py").exists() or (PACKAGE / f"{name}.py").exists()
    }
    assert packages - SHARED == {*ALLOWED, ON_TOP}


def test_the_rules_have_no_circle() -> None:
    left = {name: set(allowed) for name, allowed in ALLOWED.items()}
    while left:
        lowest = {name for name, allowed in left.items() if not allowed & left.keys()}
        assert lowest, f"a circle among {sorted(left)}"
        for name in lowest:
            del left[name]


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("mlflow", {"tracking"}),
        ("optuna", {"search", "study", "studies.py"}),
        ("duckdb", {"data"}),
        ("typer", {"cli"}),
        ("fastapi", {"serving"}),
        ("uvicorn", {"serving", "cli"}),
        ("ray", {"study"}),
    ],
)
def test_a_library_stays_in_its_place(library: str, places: set[str]) -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for file, module in IMPORTS:
        users[module.split(".")[0]].add(file)
    assert users[library], f"nothing imports {library}"
    for file in users[library]:
        assert file.split("/")[0] in places, f"{file} imports {library}"


def test_serving_knows_evaluations_protocols_alone() -> None:
    found = {module for file, module in IMPORTS if part(file) == "serving" and part(module) == "evaluation"}
    assert found <= {"hrnn_hpo.evaluation.protocols"}


HEAVY = {"torch", "mlflow", "optuna", "pandas", "duckdb", "sklearn", "scipy", "matplotlib", "plotly", "pyarrow", "ray"}


def test_command_files_import_nothing_heavy_at_their_top() -> None:
    """So that `hrnn-hpo --help` is instant."""
    light = {"errors", "stores", "cli"}
    also_light = {"hrnn_hpo.study.request.request", "hrnn_hpo.data.reading.options"}  # whose fields have the help texts
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name} at its top"
                if name.startswith("hrnn_hpo.") and name not in also_light:
                    assert part(name) in light, f"{path.name} imports {name} at its top"


def test_the_request_of_a_study_imports_nothing_heavy() -> None:
    code = "import sys, hrnn_hpo.study.request.request; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
    assert "numpy" not in loaded
