"""`hrnn-hpo spaces`: lists, prints and checks; exit codes, and JSON that is JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hrnn_hpo.cli.main import app
from hrnn_hpo.search.space import list_spaces, spaces_folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["spaces", *arguments])


def test_the_bare_command_lists_every_shipped_space() -> None:
    result = run()
    assert result.exit_code == 0
    assert all(name in result.stdout for name in list_spaces())
    listed = json.loads(run("--json").stdout)["spaces"]
    assert [space["name"] for space in listed] == list_spaces()
    assert listed[0]["searched"] == ["hidden_dimension", "bptt", "recency_mask"]


def test_show_prints_ranges_choices_and_conditions_as_they_are() -> None:
    result = run("show", "hrnn")
    assert result.exit_code == 0
    for text in ("[16, 512], log", "control, hierarchical", "init, all when architecture is hierarchical"):
        assert text in result.stdout
    assert "Bound by recipe aws-hrnn" in run("show", "aws-hrnn").stdout


def test_brackets_in_a_meaning_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hrnn\nparameters: {bptt: {doc: 'steps [red] back'}}\nfix: {epochs: 3}\n")
    result = run("show", str(path))
    assert "steps [red] back" in result.stdout
    assert "fixed" in result.stdout


@pytest.mark.parametrize("name", list_spaces())
def test_show_json_is_the_whole_space(name: str) -> None:
    shown = json.loads(run("show", name, "--json").stdout)
    assert shown["parameters"]["bptt"]["kind"] == "algorithm"
    assert len(shown["fingerprint"]) == 64


def test_an_unknown_name_ends_with_2_and_the_nearest_one() -> None:
    result = run("show", "hrn")
    assert result.exit_code == 2
    assert "did you mean 'hrnn'?" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", list_spaces())
def test_check_accepts_what_is_shipped(name: str) -> None:
    result = run("check", str(spaces_folder() / f"{name}.yaml"))
    assert result.exit_code == 0
    assert result.stdout.startswith("OK: ")
    assert "hint" not in result.stdout


def test_check_prints_hints_and_still_ends_with_0(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hrnn\nparameters: {learning_rate: {log: false}}\n")
    result = run("check", str(path))
    assert result.exit_code == 0
    assert "hint: learning_rate: [0.0003, 0.03] spans 2.0 decades" in result.stdout
    assert len(json.loads(run("check", str(path), "--json").stdout)["hints"]) == 1


def test_check_ends_with_2_and_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: aws-hrnn\nfix: {bptt: 64}\ntune: {epoch: {range: [1, 2]}}\n")
    result = run("check", str(path))
    assert result.exit_code == 2
    assert f"{path}:2: fix.bptt: must lie in [2, 32], but got 64." in result.stderr
    assert f"{path}:3: tune.epoch: is not a hyperparameter" in result.stderr
    as_json = run("check", str(path), "--json")
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout)["ok"] is False
    assert len(json.loads(as_json.stdout)["problems"]) == 2


def test_reading_a_space_loads_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, hrnn_hpo.cli.spaces; from hrnn_hpo.search.hints import hints;"
        "from hrnn_hpo.search.space import load_space; hints(load_space('hrnn'));"
        "import hrnn_hpo.search.amazon.personalize, hrnn_hpo.search.advice, hrnn_hpo.search.continuation;"
        "print([name for name in ('optuna', 'torch', 'pandas', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
