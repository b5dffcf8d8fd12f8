"""The time of a request in `recommend`, `evaluate` and `serve`: one that is known, and one that is wrong."""

import json
import math
import time
from pathlib import Path

import pytest
from click.testing import Result
from small_runs import run_small
from typer.testing import CliRunner

from hrnn_hpo.api import evaluate
from hrnn_hpo.cli.main import app
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.experiment import save_experiment

ALL = "gap+session+clock"
architectures = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hrnn_hpo.data.synthetic import write_csv

    return write_csv(markov(n_users=60, n_items=40, n_events=20), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for request_time in ("none", ALL):
        experiment, result = run_small(
            markov(n_users=60, n_items=40, n_events=20), request_time=request_time, learning_rate=0.05
        )
        made[request_time] = tmp_path_factory.mktemp("models") / "model"
        save_experiment(made[request_time], experiment, result)
    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_recommend_takes_a_time_and_explains_by_it(models: dict[str, Path]) -> None:
    answers = {}
    for at in (None, "2030-01-01T12:00", "1893499200", "now"):
        given = [] if at is None else ["--at", at]
        found = run("recommend", models[ALL], "--user", "u07", "--json", "--explain", *given)
        assert found.exit_code == 0, found.output
        answers[at] = json.loads(found.stdout)
    assert answers[None]["request_time"] is None
    assert answers["1893499200"] == answers["2030-01-01T12:00"]
    assert answers["1893499200"]["request_time"] == 1_893_499_200
    assert answers["now"]["request_time"] == pytest.approx(time.time(), abs=60)
    assert {answer["seen"] for answer in answers.values()} == {"keep"}
    for answer in answers.values():
        assert answer["explanation"]["item"] == answer["items"][0]["item"]
        assert answer["explanation"]["probability"] == pytest.approx(answer["items"][0]["score"], rel=1e-4)
    assert answers[None]["items"] != answers["1893499200"]["items"]


@pytest.mark.parametrize(
    ("model", "at", "message"),
    [
        (ALL, "noon", "The time of a request must be unix seconds or a time in ISO 8601, but got 'noon'; `now` is one"),
        (ALL, "7", "must not be before the user's last event, but got 7"),
        ("none", "now", "The model does not read the time of a request: train one"),
        (ALL, "-1", "The time of a request must be unix seconds from 0 to 100000000000, but got -1"),
    ],
)
def test_recommend_refuses_a_wrong_time(models: dict[str, Path], model: str, at: str, message: str) -> None:
    answer = run("recommend", models[model], "--user", "u07", "--at", at)
    assert answer.exit_code == 2
    assert message in " ".join(answer.stderr.split())


def test_evaluate_shows_both_rows_and_the_rankings_are_of_the_known_one(
    models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "rankings.jsonl"
    told = ["--request-time", "known", "--rankings", lines]
    found = run("evaluate", models[ALL], data, "--again", "--json", *told)
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    known, unknown = answer["metrics_request_time_known"], answer["metrics"]
    assert known.keys() == unknown.keys()
    assert known != unknown
    plain = run("evaluate", models[ALL], data, "--again", "--json")
    assert json.loads(plain.stdout)["metrics"] == unknown
    assert json.loads(plain.stdout)["metrics_request_time_known"] is None

    ndcg = 0.0
    rankings = [json.loads(line) for line in lines.read_text().splitlines()]
    for line in rankings:
        gains = [item in line["truth"] for item in line["items"][:10]]
        best = sum(1 / math.log2(2 + place) for place in range(min(10, len(line["truth"]))))
        ndcg += sum(gain / math.log2(2 + place) for place, gain in enumerate(gains)) / best
        asked = run("recommend", models[ALL], "--user", line["user"], "--at", line["request_time"], "--json")
        assert [entry["item"] for entry in json.loads(asked.stdout)["items"]] == line["items"]
    assert known["ndcg_at_10"] == pytest.approx(ndcg / len(rankings))

    table = run("evaluate", models[ALL], data, "--again", "--request-time", "known")
    assert "request time known" in " ".join(table.stdout.split())


def test_a_misspelled_request_time_opens_no_test_users(models: dict[str, Path], data: Path) -> None:
    before = json.loads((models[ALL] / "split.json").read_text())["test_openings"]
    with pytest.raises(ConfigError, match="must be known or unknown, but got 'knwon'"):
        evaluate(models[ALL], data, again=True, request_time="knwon")
    assert json.loads((models[ALL] / "split.json").read_text())["test_openings"] == before


def test_evaluate_refuses_known_times_before_the_test_users_are_opened(models: dict[str, Path], data: Path) -> None:
    before = json.loads((models["none"] / "split.json").read_text())["test_openings"]
    answer = run("evaluate", models["none"], data, "--request-time", "known")
    assert answer.exit_code == 2
    assert "does not read the time of a request" in " ".join(answer.stderr.split())
    assert json.loads((models["none"] / "split.json").read_text())["test_openings"] == before


def test_serve_refuses_a_clock_that_nobody_reads(models: dict[str, Path]) -> None:
    answer = run("serve", models["none"], "--port", 0, "--request-time", "now")
    assert answer.exit_code == 2
    assert "does not read the time of a request" in " ".join(answer.stderr.split())
