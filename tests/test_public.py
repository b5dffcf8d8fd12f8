"""What `import hrnn_hpo` gives: every public name, loaded when it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import hrnn_hpo

HEAVY = ("torch", "optuna", "mlflow", "pandas", "numpy", "duckdb", "sklearn", "pydantic", "yaml", "rich", "typer")


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", hrnn_hpo.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hrnn_hpo, name) is getattr(hrnn_hpo, name)
    assert name in dir(hrnn_hpo)


def test_public_names_come_from_where_type_checkers_see_them() -> None:
    """The module says each name twice: to type checkers, and to whoever asks for it."""
    text = Path(hrnn_hpo.__file__).read_text(encoding="utf-8")
    for name, module in hrnn_hpo._MODULE_OF.items():
        assert f"from {module} import" in text
        assert any(line.startswith(f"    from {module} import") and name in line for line in text.splitlines())
    assert {*hrnn_hpo._MODULE_OF, "errors", "__version__"} == set(hrnn_hpo.__all__)
    assert (Path(hrnn_hpo.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hrnn_hpo' has no attribute 'tuna'"):
        _ = hrnn_hpo.tuna


def test_a_star_import_gives_the_public_names() -> None:
    names = run("from hrnn_hpo import *; print(sorted(name for name in globals() if not name.startswith('_')))")
    assert names.strip() == str(sorted(name for name in hrnn_hpo.__all__ if name != "__version__"))


def test_the_import_loads_nothing_heavy_and_takes_no_time() -> None:
    program = f"""
import sys, time
began = time.process_time()
import hrnn_hpo
seconds = time.process_time() - began
print([name for name in {HEAVY!r} if name in sys.modules], seconds)
"""
    tries = [run(program).rpartition(" ") for _ in range(3)]
    assert {loaded for loaded, _, _ in tries} == {"[]"}
    assert min(float(seconds) for _, _, seconds in tries) < 0.05
