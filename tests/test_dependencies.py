"""What pyproject.toml declares is imported, and what is imported is declared."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import hrnn_hpo

PACKAGE = Path(hrnn_hpo.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Asked for as a program, or found by name by another library.
NOT_IMPORTED = {"pip", "cmaes", "optuna-dashboard", "psycopg"}


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


DECLARED = names_of(PROJECT["dependencies"])
EXTRAS = {
    name for extra, needed in PROJECT["optional-dependencies"].items() if extra != "dev" for name in names_of(needed)
}


def imported() -> dict[str, set[str]]:
    """Return the distributions that the package imports, with the files that do."""
    of_module = importlib.metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                modules = [node.module]
            for module in {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"hrnn_hpo"}:
                names = {name.lower() for name in of_module.get(module, [module])}
                for name in names & DECLARED or names:  # several can hold parts of one module, as mlflow's do
                    found.setdefault(name, set()).add(path.relative_to(PACKAGE).as_posix())
    return found


def test_what_is_imported_is_declared() -> None:
    assert {name: files for name, files in imported().items() if name not in DECLARED | EXTRAS} == {}


def test_what_is_declared_is_imported() -> None:
    assert (DECLARED | EXTRAS) - NOT_IMPORTED - imported().keys() == set()


def test_everything_has_a_version_that_is_known_to_work() -> None:
    constraints = (PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert DECLARED - {"pip"} - names_of(constraints) == set()
