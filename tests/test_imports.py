"""The direction of imports, read from the syntax tree: a lower module never learns a higher one's name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import hrnn_hpo

PACKAGE = Path(hrnn_hpo.__file__).parent

# What each part of the package may import from the package, itself aside. Everything not named here is forbidden.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "stores": set(),
    "config": {"errors"},
    "data": {"errors", "config"},
    "model": {"errors", "config", "data"},
    "training": {"errors", "config", "data", "model"},
    "evaluation": {"errors", "config", "data"},
    "search": {"errors", "config"},
    "tracking": {"errors", "config", "stores"},
    "experiment": {"errors", "config", "data", "model", "training", "evaluation"},
    "serving": {"errors", "config", "data", "model", "evaluation", "tracking"},
    "api": {"errors", "config", "data", "model", "training", "evaluation", "experiment", "serving"},
    "study": {
        *("errors", "config", "data", "model", "training", "evaluation"),
        *("experiment", "search", "tracking", "stores"),
    },
}
ON_TOP = "cli"
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
        ("mlflow", {"tracking.py"}),
        ("optuna", {"search", "study"}),
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
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name} at its top"
                if name.startswith("hrnn_hpo."):
                    assert part(name) in light, f"{path.name} imports {name} at its top"
