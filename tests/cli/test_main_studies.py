"""The commands about studies on a real, small one: what they print, and where."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.studies import confirmation_line
from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.evaluation.baselines import BASELINES

SPACE = """extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {range: [8, 32], default: 8}
  epochs: {kind: training, type: integer, range: [1, 50], default: 2, tunable: false, doc: Most epochs.}
  batch_size: {kind: training, type: integer, range: [1, 64], default: 16, tunable: false, doc: Users.}
fix: {bptt: 16}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    return write_csv(markov(n_users=80, n_items=20, n_events=15), tmp_path / "log")


def test_a_study_from_tune_to_export(data: Path, tmp_path: Path) -> None:
    tune = ("tune", data, "--study", "first", "--space", "space.yaml", "--out", "results", "--threads", 1)
    answer = run(*tune, "--n-trials", 2, "--json")
    assert answer.exit_code == 0, answer.stderr
    content = json.loads(answer.stdout)
    assert content["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    board = content["leaderboard"]
    assert set(board["metrics"]) == {"tuned", "defaults", *BASELINES}
    assert (board["opening"], board["reopened"]) == (1, False)
    assert content["seen"] in ("remove", "keep")
    assert "trial   0 (defaults) complete" in answer.stderr
    assert {path.name for path in Path("results").iterdir()} == {"best.yaml", "model", "trials.csv", "leaderboard.json"}

    # The exported file repeats the trial's figures to the last digit.
    assert run("export", "first", "--out", "again.yaml").exit_code == 0
    assert yaml.safe_load(Path("again.yaml").read_text()) == yaml.safe_load(Path("results/best.yaml").read_text())
    trained = run("train", data, "--out", "model", "--config", "again.yaml", "--device", "cpu", "--json")
    assert json.loads(trained.stdout)["metrics"]["ndcg_at_10"] == content["best"]["value"]
    assert run("export", "first", "--out", "again.json").exit_code == 0
    assert json.loads(Path("again.json").read_text()) == yaml.safe_load(Path("again.yaml").read_text())

    # The study has opened this model's test users; `evaluate` gives the leaderboard's figures, and asks for --again.
    assert run("evaluate", "results/model", data, "--json").exit_code == 2
    evaluated = json.loads(run("evaluate", "results/model", data, "--again", "--json").stdout)
    assert evaluated["metrics"] == board["metrics"]["tuned"]

    status = json.loads(run("status", "first", "--json").stdout)
    assert (status["trials"]["complete"], status["test_openings"], status["best_trial"]) == (
        2,
        1,
        content["best"]["trial"],
    )
    assert "2 of 2 trials done" in run("status", "first").stdout
    assert "first" in run("studies").stdout
    assert [entry["study"] for entry in json.loads(run("studies", "list", "--json").stdout)["studies"]] == ["first"]

    # More trials: the test users stay closed unless asked for, and a second look is marked.
    more = json.loads(run(*tune, "--n-trials", 3, "--json").stdout)
    assert more["leaderboard"] == board
    if more["best"]["trial"] != board["winner"]:
        again = json.loads(run(*tune, "--n-trials", 3, "--again", "--json").stdout)
        assert (again["leaderboard"]["opening"], again["leaderboard"]["reopened"]) == (2, True)
    assert run(*tune, "--n-trials", 2).exit_code == 0
    assert "\n3 trials done (" in run("status", "first").stdout  # and not 3 of 2
    table = run(*tune, "--n-trials", 3)
    assert "tuned" in table.stdout
    assert "hrnn-hpo ui" in table.stdout

    assert run("studies", "gc").exit_code == 0
    assert run("studies", "stop", "first").exit_code == 0
    assert run("studies", "delete", "first").exit_code == 0
    assert run("status", "first").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nothing"],
        ["export", "nothing", "--out", "x.yaml"],
        ["sync", "nothing"],
        ["studies", "delete", "nothing"],
        ["studies", "stop", "nothing"],
        ["worker", "nothing", "--data", "log"],
    ],
)
def test_an_unknown_study_is_2_and_writes_nothing(data: Path, mlruns: Path, arguments: list[str]) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert answer.stderr.startswith("error: There is no study")
    assert not (mlruns / "optuna.db").exists()
    assert not Path("x.yaml").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--space", "no-such-space"], "no-such-space"),
        (["--space", "missing.yaml"], "missing.yaml"),
        (["--timeout", "soon"], "30m"),
        (["--n-trials", "0"], "n-trials"),
        (["--sampler", "tpee"], "did you mean 'tpe'"),
        (["--protocol", "leave-one"], "leave-one-out"),
        (["--enqueue", "missing.yaml"], "missing.yaml"),
        (["--device", "tpu"], "cpu"),
        (["--out", "log/interactions.csv"], "a folder must stand here"),
    ],
)
def test_bad_input_is_2_and_begins_no_study(data: Path, change: list[str], words: str) -> None:
    answer = run("tune", data, "--study", "s", "--space", "space.yaml", "--n-trials", 1, *change)
    assert answer.exit_code == 2, answer.stdout
    assert words in answer.stderr
    assert run("status", "s").exit_code == 2


def test_status_counts_screening_and_confirmation_side_by_side() -> None:
    found = {"n_screening_runs_done": 3, "n_screening_runs": 5, "n_runs_done": 4, "n_runs": 10, "running": ["a", "b"]}
    told = "Screening: 3 of 5 runs done. Confirming: 4 of 10 runs done; now a, b"
    assert confirmation_line(found) == told
    assert confirmation_line({**found, "n_screening_runs_done": 5, "running": []}) == "Confirming: 4 of 10 runs done"
