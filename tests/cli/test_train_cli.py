"""train, evaluate, recommend on the command line: what stands on which stream, exit codes, and bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.errors import DataError, RunFailedError
from hrnn_hpo.evaluation.baselines import BASELINES

FAST = [
    *("--device", "cpu", "--threads", "1"),
    *("--set", "hidden_dimension=8", "--set", "epochs=2", "--set", "bptt=8"),
]
HEAVY = ["torch", "mlflow", "optuna", "pandas", "duckdb", "sklearn", "matplotlib", "plotly", "pyarrow"]


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(markov(n_users=60, n_items=40, n_events=20), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    assert run("train", data, "--out", folder, *FAST).exit_code == 0
    return folder


def test_a_batch_without_one_good_line_fails_and_keeps_the_reasons(tmp_path: Path, trained: Path) -> None:
    source, target = tmp_path / "users.jsonl", tmp_path / "out.jsonl"
    source.write_text('u07\n{"user": "u07"}\n')
    failed = run("batch", trained, "--input", source, "--output", target)
    assert failed.exit_code == DataError.exit_code
    assert f"none of its 2 lines could be answered; {target} says why" in failed.stderr
    assert [json.loads(line)["output"] for line in target.read_text().splitlines()] == [None, None]
    source.write_text("u07\n")
    assert "its only line could not be answered" in run("batch", trained, "--input", source, "--output", target).stderr
    source.write_text('u07\n{"userId": "u07"}\n')
    assert run("batch", trained, "--input", source, "--output", target).exit_code == 0


def test_train_evaluate_recommend_one_after_the_other(tmp_path: Path, data: Path) -> None:
    model, rankings = tmp_path / "model", tmp_path / "rankings.jsonl"
    first = run("train", data, "--out", model, *FAST)
    assert first.exit_code == 0, first.output
    assert "epoch   2" in first.stderr
    assert "targets/s" in first.stderr
    assert "Model written to" in first.stderr

    second = run("evaluate", model, data, "--baselines", "--rankings", rankings, "--device", "cpu")
    assert second.exit_code == 0, second.output
    assert "6 test users, protocol personalize, seen items: keep" in second.output
    assert "ndcg_at_10" in second.output
    assert len(rankings.read_text().splitlines()) == 6
    for row in ("model", *BASELINES):
        assert any(line.split()[1:2] == [row] for line in second.stdout.splitlines()), row
    theirs = run("evaluate", model, data, "--again", "--rankings-from", rankings, "--device", "cpu")
    assert any(line.split()[1:2] == ["rankings"] for line in theirs.stdout.splitlines())
    assert "+0.0000 [+0.0000, +0.0000]" in theirs.stdout

    third = run("recommend", model, "--user", "u07", "--k", 3)
    assert third.exit_code == 0, third.output
    assert "Items for user u07" in third.stdout
    assert third.stdout.endswith("Seen items: keep.\n")
    assert "protocol personalize, so the histories of evaluated users end where" in third.stderr

    assert "note:" not in first.stderr
    (tmp_path / "epochs.yaml").write_text("best_epoch: 1\n")
    fourth = run("train", data, "--out", model, *FAST, "--protocol", "none", "--config", tmp_path / "epochs.yaml")
    assert fourth.exit_code == 0, fourth.output
    assert f"note: {model} holds a model, which the new one will replace." in fourth.stderr
    assert f"the best_epoch of {tmp_path / 'epochs.yaml'}, 1, which was found without --set" in fourth.stderr
    assert "note:" not in run("recommend", model, "--user", "u07").stderr


def test_figures_weighted_by_value_stand_in_every_table(tmp_path: Path) -> None:
    log = markov(n_users=60, n_items=40, n_events=20)
    valued = replace(log, event_values=np.arange(log.n_events, dtype=np.float32) % 7 + 1)
    data, model, lists = write_csv(valued, tmp_path / "data"), tmp_path / "model", tmp_path / "lists.jsonl"
    assert run("train", data, "--out", model, *FAST).exit_code == 0
    weighted = ("evaluate", model, data, "--again", "--device", "cpu", "--value-weighted")
    figure = json.loads(run(*weighted, "--rankings", lists, "--json").stdout)["metrics"]["value_weighted_ndcg_at_10"]
    for beside in ([], ["--baselines"], ["--rankings-from", lists]):
        table = run(*weighted, *beside).stdout
        assert "value_weighted_ndcg_at_10" in table
        assert f"{figure:.4f}" in table
    assert any("by value" in line and "minus" in line for line in table.splitlines())


def test_an_explanation_is_a_table_a_picture_and_json(tmp_path: Path, trained: Path) -> None:
    picture = tmp_path / "why.svg"
    told = run("recommend", trained, "--user", "u07", "--k", 3, "--explain", "--plot", picture)
    assert told.exit_code == 0, told.output
    assert "strongest of 20 events, each left out by itself" in " ".join(told.stdout.split())
    assert "score without it" in told.stdout
    assert picture.read_text().lstrip().startswith("<?xml")
    answer = json.loads(run("recommend", trained, "--user", "u07", "--explain", "--item", "i03", "--json").stdout)
    explanation = answer["explanation"]
    assert (explanation["item"], explanation["n_events"]) == ("i03", 20)
    assert [event["event"] for event in explanation["influences"]] == list(range(1, 21))
    n_own = sum(event["item"] == "i03" for event in explanation["influences"])
    assert (explanation["repeat_share"] > 0) == (n_own > 0)
    # The sentence on repeats, of an item that was had and of one that was not.
    names = {event["item"] for event in explanation["influences"]}
    had, not_had = min(names), next(name for name in (f"i{place:02d}" for place in range(40)) if name not in names)
    for item, words in ((had, "of the score comes from the user's events with the item"), (not_had, "Nothing of")):
        assert words in run("recommend", trained, "--user", "u07", "--explain", "--item", item).stdout
    nobody = run("recommend", trained, "--user", "")
    assert nobody.exit_code == 2
    assert "must be a text or a whole number, but got ''" in nobody.stderr
    for option, value in (("--item", "i03"), ("--plot", str(picture))):
        refused = run("recommend", trained, "--user", "u07", option, value)
        assert refused.exit_code == 2
        assert f"{option}: goes with --explain" in refused.stderr


def test_train_prints_one_json_object_on_standard_output(tmp_path: Path, data: Path) -> None:
    result = run("train", data, "--out", tmp_path / "model", *FAST, "--protocol", "leave-one-out", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["model"] == str(tmp_path / "model")
    assert answer["seen"] == "keep"
    assert answer["configuration"]["protocol"] == "leave-one-out"
    assert answer["configuration"]["hyperparameters"]["hidden_dimension"] == 8
    assert answer["best_epoch"] in (1, 2)
    assert 0 <= answer["metrics"]["ndcg_at_10"] <= 1


def test_train_shows_the_baselines_on_the_same_users_and_warns_below_them(tmp_path: Path, data: Path) -> None:
    """In this log the last item tells the next: item_knn knows something of it, an untrained model nothing."""
    untrained = [*FAST, "--set", "learning_rate=1e-9"]
    told = run("train", data, "--out", tmp_path / "model", *untrained)
    assert told.exit_code == 0, told.output
    for row in ("model", *BASELINES):
        assert any(line.split()[1:2] == [row] for line in told.stdout.splitlines()), row
    assert "Constants of the baselines, chosen on validation users: own_items half_life" in told.stdout
    answer = run("train", data, "--out", tmp_path / "model", *untrained, "--json")
    found = json.loads(answer.stdout)
    assert list(found["baselines"]) == list(BASELINES)
    assert found["baseline_constants"]["ease"].keys() == {"regularization"}
    assert found["baselines"]["item_knn"].keys() == found["metrics"].keys()
    assert found["baselines"]["item_knn"]["ndcg_at_10"] > found["metrics"]["ndcg_at_10"]
    for stderr in (told.stderr, answer.stderr):
        assert "warning: the model's ndcg_at_10" in stderr
        assert f"item_knn ({found['baselines']['item_knn']['ndcg_at_10']:.4f})" in stderr
        assert "on the same validation users" in stderr


def test_train_without_validation_users_compares_nothing(tmp_path: Path, data: Path) -> None:
    (tmp_path / "epochs.yaml").write_text("best_epoch: 1\n")
    everything = ["--protocol", "none", "--config", tmp_path / "epochs.yaml", "--json"]
    answer = run("train", data, "--out", tmp_path / "model", *FAST, *everything)
    assert json.loads(answer.stdout)["baselines"] == {}
    assert "warning" not in answer.stderr


def test_evaluate_prints_one_json_object_and_counts(tmp_path: Path, data: Path) -> None:
    model = tmp_path / "model"
    run("train", data, "--out", model, *FAST)
    first = run("evaluate", model, data, "--baselines", "--json", "--device", "cpu")
    assert first.exit_code == 0, first.output
    answer = json.loads(first.stdout)
    assert (answer["n_openings"], answer["n_users"], answer["protocol"]) == (1, 6, "personalize")
    assert answer["seen"] == "keep"
    assert "popularity" in answer["baselines"]
    refused = run("evaluate", model, data, "--json", "--device", "cpu")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--again" in refused.stderr
    again = run("evaluate", model, data, "--again", "--json", "--device", "cpu")
    assert json.loads(again.stdout)["n_openings"] == 2
    assert json.loads(again.stdout)["metrics"] == answer["metrics"]


def test_recommend_says_when_a_user_is_unknown(trained: Path) -> None:
    known = json.loads(run("recommend", trained, "--user", "u07", "--json").stdout)
    assert known["known"] is True
    assert len(known["items"]) == 25
    stranger = run("recommend", trained, "--user", "somebody else", "--k", 5, "--json")
    assert json.loads(stranger.stdout)["known"] is False
    assert len(json.loads(stranger.stdout)["items"]) == 5
    assert "has no history in this model" in run("recommend", trained, "--user", "somebody else").stderr


def test_recommend_says_why_nothing_is_left_for_who_has_had_everything(tmp_path: Path) -> None:
    data = write_csv(markov(n_users=40, n_items=3, n_events=30), tmp_path / "data")
    assert run("train", data, "--out", tmp_path / "model", *FAST).exit_code == 0
    told = run("recommend", tmp_path / "model", "--user", "u07", "--seen", "remove")
    assert told.exit_code == 0
    assert "User 'u07' has had every item of this model, and seen items are removed: --seen keep lists" in told.stderr


def test_a_configuration_file_and_options_over_it(tmp_path: Path, data: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"hyperparameters": {"bptt": 16, "input_dropout": 0.4}, "seed": 7}))
    result = run("train", data, "--out", tmp_path / "model", "--config", config, *FAST, "--split-seed", 3, "--json")
    assert result.exit_code == 0, result.output
    configuration = json.loads(result.stdout)["configuration"]
    assert (configuration["seed"], configuration["split_seed"], configuration["n_threads"]) == (7, 3, 1)
    assert configuration["hyperparameters"]["input_dropout"] == 0.4
    assert configuration["hyperparameters"]["bptt"] == 8  # --set goes before the file


def rows(*lines: str, n_users: int = 30, n_events: int = 40) -> list[str]:
    good = [f"u{user},i{event % 15},{1_600_000_000 + event}" for user in range(n_users) for event in range(n_events)]
    return ["USER_ID,ITEM_ID,TIMESTAMP", *good, *lines]


BAD_DATA: dict[str, tuple[Callable[[], list[str]], str]] = {
    "missing column": (lambda: [line.rpartition(",")[0] for line in rows()], "TIMESTAMP"),
    "text for a time": (lambda: rows("u1,i1,yesterday"), "line 1202: TIMESTAMP"),
    "empty file": (list, "empty"),
    "header alone": (lambda: rows(n_users=0), "log.csv"),
    "fewer than 1,000 interactions": (lambda: rows(n_events=20), "1,000"),
    "fewer than 25 users": (lambda: rows(n_users=24, n_events=50), "25"),
    "users with one event each": (lambda: rows(n_users=1200, n_events=1), "25"),
}


@pytest.mark.parametrize(("make", "message"), BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data_is_one_message_and_nothing_half_written(
    tmp_path: Path, make: Callable[[], list[str]], message: str
) -> None:
    log, out = tmp_path / "log.csv", tmp_path / "model"
    log.write_text("".join(f"{line}\n" for line in make()))
    result = run("train", log, "--out", out, *FAST)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "bbptt=3"], "--set bbptt=3: 'bbptt' is not a hyperparameter, did you mean 'bptt'?"),
        (["--set", "bptt"], "--set wants NAME=VALUE, but got 'bptt'"),
        (["--set", "bptt=[3"], "is not valid YAML"),
        (["--set", "bptt=1"], "--set: bptt: Input should be greater than or equal to 2, but got 1"),
        (["--set", "learning_rate=fast"], "but got 'fast'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--protocol", "none"], "say how long to train with `--set epochs=N`"),
        (["--protocol", "personalise"], "personalise"),
        (["--device", "tpu"], "must be one of auto, cpu, cuda, mps, but got 'tpu'"),
        (["--seen", "maybe"], "maybe"),
        (["--split-seed", "-1"], "--split-seed"),
        (["--epochs", "3"], "No such option"),
    ],
)
def test_bad_options_of_train_are_refused(tmp_path: Path, data: Path, arguments: list[str], message: str) -> None:
    result = run("train", data, "--out", tmp_path / "model", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_problems_of_a_configuration_file_come_at_once(tmp_path: Path, data: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("hyperparameters: {bptt: 1, hiden_dimension: 3}\nseeds: 3\n")
    result = run("train", data, "--out", tmp_path / "model", "--config", config)
    assert result.exit_code == 2
    for message in ("hyperparameters.bptt", "did you mean 'hidden_dimension'?", "did you mean 'seed'?"):
        assert message in result.stderr
    config.write_text("hyperparameters: {bptt: [1\n")
    result = run("train", data, "--out", tmp_path / "model", "--config", config)
    assert result.exit_code == 2
    assert f"{config}: is not valid YAML" in result.stderr
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_model_is_refused_by_each_command(tmp_path: Path, data: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for arguments in (
        ["evaluate", tmp_path, data],
        ["recommend", tmp_path, "--user", "u07"],
        ["recommend", tmp_path / "nowhere", "--user", "u07"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert "is not a model folder" in result.stderr
        assert result.stdout == ""
    result = run("train", data, "--out", tmp_path, *FAST)
    assert result.exit_code == 2
    assert "holds something else" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_model_is_one_message(tmp_path: Path, data: Path) -> None:
    model = tmp_path / "model"
    assert run("train", data, "--out", model, *FAST).exit_code == 0
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    result = run("recommend", model, "--user", "u07")
    assert result.exit_code == 2
    assert "is a damaged model folder" in result.stderr


def test_evaluate_refuses_another_protocol_seed_and_data(tmp_path: Path, data: Path, trained: Path) -> None:
    other = write_csv(markov(n_users=60, n_items=40, n_events=20, seed=1), tmp_path / "other")
    for arguments, message in (
        ([data, "--protocol", "leave-one-out"], "was trained with protocol personalize"),
        ([data, "--split-seed", 5], "was trained with split_seed 0"),
        ([other], "its test users are only known for its own data"),
        ([tmp_path / "nowhere.csv"], "there is no such file or folder"),
        ([data, "--value-weighted"], "EVENT_VALUE"),
    ):
        result = run("evaluate", trained, *arguments, "--device", "cpu", "--again")
        assert result.exit_code == 2, result.output
        assert message in result.stderr


def test_a_run_that_fails_is_exit_code_1(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(*args: object, **kwargs: object) -> None:
        raise RunFailedError("The loss must stay finite, but got nan in epoch 1, update 3.")

    monkeypatch.setattr("hrnn_hpo.api.run_experiment", diverges)
    result = run("train", data, "--out", tmp_path / "model", *FAST)
    assert result.exit_code == 1
    assert "error: The loss must stay finite" in result.stderr


def test_ctrl_c_says_so_and_the_same_command_goes_on(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hrnn_hpo.training import keeping

    saved = keeping.save_checkpoint

    def save_and_stop(*args: object) -> None:
        saved(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "save_checkpoint", save_and_stop)
        result = run("train", data, "--out", tmp_path / "model", *FAST)
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    resumed = run("train", data, "--out", tmp_path / "model", *FAST)
    assert resumed.exit_code == 0, resumed.output
    assert "epoch   1" not in resumed.stderr.replace("epoch 1 ", "")
    assert "epoch   2" in resumed.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "recommend"])
def test_every_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"hrnn-hpo {command}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hrnn_hpo.cli.main import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
