"""The data commands: what they write where, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.data import datasets
from hrnn_hpo.data.prepared import load_prepared
from hrnn_hpo.data.synthetic import markov, write_csv

runner = CliRunner()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_csv(markov(n_users=30, n_items=10, n_events=5), tmp_path / "source")


def test_describe_prints_a_table(source: Path) -> None:
    result = runner.invoke(app, ["data", "describe", str(source)])
    assert result.exit_code == 0
    assert "interactions" in result.stdout
    assert "150" in result.stdout
    assert "History length at each percentile" in result.stdout


def test_describe_prints_one_json_object_and_nothing_else(source: Path, tmp_path: Path) -> None:
    plot = tmp_path / "lengths.png"
    result = runner.invoke(app, ["data", "describe", str(source), "--json", "--plot", str(plot)])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert (figures["n_interactions"], figures["n_users"]) == (150, 30)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_prepare_writes_a_folder_that_is_data_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(app, ["data", "prepare", str(source), "--out", str(out), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["content_hash"] == load_prepared(out).content_hash
    described = runner.invoke(app, ["data", "describe", str(out), "--json"])
    assert json.loads(described.stdout)["content_hash"] == load_prepared(out).content_hash


def test_fetch_prints_the_terms_and_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "fetch", lambda name, to: to)
    result = runner.invoke(app, ["data", "fetch", "ml-100k", "--to", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "out")
    assert "no redistribution" in result.stderr
    result = runner.invoke(app, ["data", "fetch", "ml-100k", "--to", str(tmp_path / "out"), "--json"])
    assert json.loads(result.stdout)["folder"] == str(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "ml-2m"], "did you mean 'ml-1m'?"),
        (["describe", "nowhere.csv"], "nowhere.csv: there is no such file or folder."),
        (["prepare", "nowhere.csv", "--out", "x"], "nowhere.csv: there is no such file or folder."),
    ],
)
def test_what_a_user_caused_is_one_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["data", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_bad_rows_are_listed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,x\n,a,1\n")
    result = runner.invoke(app, ["data", "describe", str(path)])
    assert result.exit_code == 2
    assert f"{path}, line 2: TIMESTAMP" in result.stderr
    assert f"{path}, line 3: USER_ID" in result.stderr


@pytest.mark.parametrize("command", ["fetch", "describe", "prepare"])
def test_every_help_has_an_example(command: str) -> None:
    result = runner.invoke(app, ["data", command, "--help"])
    assert result.exit_code == 0
    assert f"Example: hrnn-hpo data {command}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; import hrnn_hpo.cli.data; heavy = {'duckdb', 'matplotlib', 'pandas', 'pooch', 'torch'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
