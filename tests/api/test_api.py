"""The commands as functions: what train writes and refuses, and a run that goes on later."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from folders import names
from small_runs import same_weights, small_configuration

from hrnn_hpo import api
from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.prepared import prepare
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.errors import ConfigError, DataError, ModelError, RunFailedError
from hrnn_hpo.experiment import Experiment
from hrnn_hpo.model.folder import load_model, read_record
from hrnn_hpo.training.progress import EpochReport


def test_train_writes_a_model_folder_and_nothing_beside_it(tmp_path: Path, data: Path) -> None:
    trained = api.train(data, tmp_path / "deep" / "model", configuration=small_configuration(), device="cpu")
    assert names(tmp_path / "deep") == ["model"]
    saved = load_model(trained.folder)
    assert same_weights(saved.model, trained.result.model)
    assert saved.configuration == trained.result.configuration
    assert saved.split.validation_metrics == trained.result.metrics
    assert saved.split.test_openings == 0


def test_the_folders_configuration_trains_the_same_model_again(tmp_path: Path, data: Path, model: Path) -> None:
    configuration = load_configuration(model / "config.yaml")
    again = api.train(data, tmp_path / "again", configuration=configuration, device="cpu")
    assert (again.folder / "weights.safetensors").read_bytes() == (model / "weights.safetensors").read_bytes()
    assert (again.folder / "config.yaml").read_text() == (model / "config.yaml").read_text()


def test_csv_and_prepared_data_train_the_same_model(tmp_path: Path, data: Path, model: Path) -> None:
    prepared = prepare(data, tmp_path / "prepared")
    again = api.train(prepared, tmp_path / "again", configuration=small_configuration(), device="cpu")
    assert (again.folder / "weights.safetensors").read_bytes() == (model / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("where", ["between two epochs", "inside an epoch"])
def test_an_interrupted_train_goes_on_when_it_is_started_again(
    tmp_path: Path, data: Path, model: Path, where: str
) -> None:
    out = tmp_path / "stopped"
    epochs: list[int] = []

    def epoch(report: EpochReport) -> None:
        epochs.append(report.epoch)
        if where == "between two epochs" and epochs == [1, 2]:
            raise KeyboardInterrupt

    def update(n_done: int) -> None:
        if where == "inside an epoch" and epochs == [1, 2]:
            raise KeyboardInterrupt

    arguments: dict[str, Any] = {"configuration": small_configuration(), "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        api.train(data, out, on_epoch=epoch, on_update=update, **arguments)
    assert not out.exists()
    assert len(list(tmp_path.glob(".stopped-*.checkpoint"))) == 1
    api.train(data, out, on_epoch=lambda report: epochs.append(report.epoch), **arguments)
    assert epochs == [1, 2, 3]
    assert (out / "weights.safetensors").read_bytes() == (model / "weights.safetensors").read_bytes()
    assert (out / "split.json").read_text() == (model / "split.json").read_text()
    assert names(tmp_path) == ["model", "stopped"]


def test_a_run_into_the_working_folder_goes_on_too(
    tmp_path: Path, data: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(KeyboardInterrupt):
        api.train(data, ".", configuration=small_configuration(), device="cpu", on_epoch=stop_after_the_first)
    epochs: list[int] = []
    api.train(
        data, ".", configuration=small_configuration(), device="cpu", on_epoch=lambda one: epochs.append(one.epoch)
    )
    assert epochs == [2, 3]
    assert names(tmp_path / "here") == names(model)
    assert names(tmp_path) == ["here", "model"]


def stop_after_the_first(report: EpochReport) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changes", [{"seed": 1}, {"learning_rate": 0.02}, {"epochs": 2}])
def test_a_checkpoint_of_another_configuration_is_not_gone_on_from(
    tmp_path: Path, data: Path, changes: dict[str, Any]
) -> None:
    out, epochs = tmp_path / "model", []
    with pytest.raises(KeyboardInterrupt):
        api.train(data, out, configuration=small_configuration(), device="cpu", on_epoch=stop_after_the_first)
    api.train(
        data,
        out,
        configuration=small_configuration(**changes),
        device="cpu",
        on_epoch=lambda report: epochs.append(report.epoch),
    )
    assert epochs[0] == 1


@pytest.mark.parametrize("refit", [False, True])
def test_a_training_of_fewer_epochs_does_not_go_on_from_a_longer_one(tmp_path: Path, data: Path, refit: bool) -> None:
    asked = small_configuration("personalize" if refit else "none", epochs=9)
    epochs: list[int] = []

    def stop_after_four(report: EpochReport) -> None:
        if report.epoch == 4:
            raise KeyboardInterrupt

    arguments: dict[str, Any] = {"refit": refit, "device": "cpu"}
    longer = asked.model_copy(update={"best_epoch": 5})
    with pytest.raises(KeyboardInterrupt):
        api.train(data, tmp_path / "model", configuration=longer, on_epoch=stop_after_four, **arguments)
    shorter = asked.model_copy(update={"best_epoch": 2})
    trained = api.train(
        data, tmp_path / "model", configuration=shorter, on_epoch=lambda r: epochs.append(r.epoch), **arguments
    )
    assert epochs == [1, 2]
    assert trained.result.configuration.best_epoch == 2
    assert names(tmp_path) == ["model"]


def test_a_finished_train_leaves_its_neighbours_checkpoints_alone(tmp_path: Path, data: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        api.train(
            data, tmp_path / "m-large", configuration=small_configuration(), device="cpu", on_epoch=stop_after_the_first
        )
    api.train(data, tmp_path / "m", configuration=small_configuration(), device="cpu")
    assert len(list(tmp_path.glob(".m-large-*.checkpoint"))) == 1


def test_a_finished_train_removes_what_a_killed_one_left_half_written(tmp_path: Path, data: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f".m-{'0' * api.N_DIGEST}", f".m-large-{'0' * api.N_DIGEST}"):
        (tmp_path / f"{name}.partial-{dead.pid}").touch()
    api.train(data, tmp_path / "m", configuration=small_configuration(epochs=1), device="cpu")
    assert names(tmp_path) == [f".m-large-{'0' * api.N_DIGEST}.partial-{dead.pid}", "m"]


def test_odd_names_clean_up_their_checkpoints_too(tmp_path: Path, data: Path) -> None:
    api.train(data, tmp_path / "a[1]*", configuration=small_configuration(epochs=1), device="cpu")
    assert names(tmp_path) == ["a[1]*"]


def test_a_failed_run_leaves_no_model(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hrnn_hpo.experiment.prepared.recency_weights",
        lambda dataset, train, days: np.full(dataset.n_events, np.inf, np.float32),
    )
    with pytest.raises(RunFailedError, match="must stay finite"):
        api.train(data, tmp_path / "model", configuration=small_configuration(recency_mask=True), device="cpu")
    assert names(tmp_path) == []


def test_train_replaces_an_older_model_and_nothing_else(tmp_path: Path, data: Path, model: Path) -> None:
    before = (model / "weights.safetensors").read_bytes()
    api.train(data, model, configuration=small_configuration(seed=1), device="cpu")
    assert (model / "weights.safetensors").read_bytes() != before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    started: list[Experiment] = []
    with pytest.raises(ModelError, match="holds something else"):
        api.train(data, tmp_path / "thesis", configuration=small_configuration(), device="cpu", on_start=started.append)
    assert started == []  # said before anything is computed
    assert names(tmp_path / "thesis") == ["chapter1.txt"]


def test_refit_finds_the_best_epoch_first_where_it_is_missing(tmp_path: Path, data: Path, model: Path) -> None:
    starts: list[int] = []
    trained = api.train(
        data,
        tmp_path / "refit",
        configuration=small_configuration(),
        refit=True,
        device="cpu",
        on_start=lambda experiment: starts.append(len(experiment.train.users)),
    )
    best_epoch = load_configuration(model / "config.yaml").best_epoch
    assert trained.result.configuration.best_epoch == best_epoch
    assert len(trained.result.history) == best_epoch
    assert starts == [48, 54]  # 80 % of 60 users, then the validation users too
    assert read_record(trained.folder).refit
    again = api.train(
        data,
        tmp_path / "again",
        configuration=load_configuration(model / "config.yaml"),
        refit=True,
        device="cpu",
        on_start=lambda experiment: starts.append(len(experiment.train.users)),
    )
    assert starts == [48, 54, 54]
    assert same_weights(again.result.model, trained.result.model)
    assert names(tmp_path) == ["again", "model", "refit"]


def test_protocol_none_trains_on_everything_for_the_epochs_it_is_given(
    tmp_path: Path, data: Path, dataset: Dataset
) -> None:
    configuration = small_configuration("none").model_copy(update={"best_epoch": 2})
    trained = api.train(data, tmp_path / "model", configuration=configuration, device="cpu")
    assert len(trained.result.history) == 2
    assert load_model(trained.folder).histories.n_events == dataset.n_events
    with pytest.raises(ModelError, match="no test user is left"):
        api.evaluate(trained.folder, data, device="cpu")


@pytest.mark.parametrize(("best_epoch", "epochs", "n"), [(None, 3, 3), (5, 2, 2), (2, 5, 2)])
def test_protocol_none_keeps_to_the_epochs_that_are_asked_for(
    data: Path, best_epoch: int | None, epochs: int, n: int
) -> None:
    asked = small_configuration("none").model_copy(update={"best_epoch": best_epoch})
    trained = api.train(data, configuration=asked.with_hyperparameters({"epochs": epochs}, "--set"), device="cpu")
    assert len(trained.result.history) == trained.result.configuration.best_epoch == n


def test_protocol_none_without_epochs_or_with_refit_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="say how long to train"):
        api.train(data, tmp_path / "model", configuration=Configuration(protocol="none"), device="cpu")
    with pytest.raises(ConfigError, match="trains on everything already"):
        api.train(data, tmp_path / "model", configuration=small_configuration("none"), refit=True, device="cpu")
    assert names(tmp_path) == []


def test_too_little_data_writes_nothing(tmp_path: Path) -> None:
    few = write_csv(markov(n_users=30, n_items=10, n_events=10), tmp_path / "few")
    with pytest.raises(DataError):
        api.train(few, tmp_path / "model", configuration=small_configuration(), device="cpu")
    assert names(tmp_path) == ["few"]


def test_recommend_knows_users_by_their_id(model: Path) -> None:
    known = api.recommend(model, "u07", k=5)
    stranger = api.recommend(model, "somebody else", k=5)
    assert len(known) == len(stranger) == 5
    assert known != stranger
    assert api.recommend(model, "u07", k=5, seen="keep") == known  # what the model was validated with


def test_configuration_files_written_by_hand_train_too(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"hyperparameters": {"hidden_dimension": 4, "epochs": 1}, "n_threads": 1}))
    trained = api.train(data, tmp_path / "model", configuration=load_configuration(path), device="cpu")
    assert trained.result.model.hidden_dimension == 4


# what is no value of an argument


@pytest.mark.parametrize("k", [0, 501, 2.5, 2.0, "5", True, None, float("nan")])
def test_how_many_is_a_whole_number_from_1_to_500(model: Path, k: Any) -> None:
    with pytest.raises(ConfigError, match=r"`1 <= k <= 500` must hold, but got k="):
        api.recommend(model, 1, k=k)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"seen": "nope"}, "`seen` must be auto, remove or keep, but got 'nope'"),
        ({"seen": True}, "`seen` must be auto, remove or keep, but got True"),
        ({"device": "tpu"}, "`device` must be one of auto, cpu, cuda, mps, but got 'tpu'"),
        ({"configuration": {"seed": 1}}, "`configuration` must be a Configuration, which load_configuration reads"),
        ({"configuration": "best.yaml"}, "`configuration` must be a Configuration"),
        ({"hidden_dimension": 8, "protocol": "temporal"}, "hidden_dimension, protocol: stands in a configuration"),
        ({"usr": "u"}, "usr: is no option of reading a log"),
    ],
)
def test_train_refuses_what_it_would_not_understand(data: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        api.train(data, **{"configuration": small_configuration(), "device": "cpu", **told})


def test_a_word_that_stands_for_no_rule_of_seen_items_is_refused_where_it_is_used(model: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="`seen` must be auto, remove or keep, but got 'nope'"):
        api.recommend(model, 1, seen="nope")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`seen` must be auto, remove or keep, but got 'nope'"):
        api.evaluate(model, data, seen="nope")  # type: ignore[arg-type]
    assert read_record(model).test_openings == 0


def test_a_model_in_memory_takes_no_words_on_reading_in_silence(data: Path) -> None:
    trained = api.train(data, configuration=small_configuration(), device="cpu")
    with pytest.raises(ConfigError, match="baseline: is no option of reading a log"):
        trained.evaluate(baseline=True)
    with pytest.raises(ConfigError, match="A Dataset has been read already: leave user out"):
        trained.evaluate(user="userId")
    assert trained.saved.split.test_openings == 0


@pytest.mark.parametrize("name", ["file/model", "n" * 300])
def test_a_model_that_could_not_be_written_is_not_trained(tmp_path: Path, data: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    def started(_: Experiment) -> None:
        raise AssertionError("training began")

    with pytest.raises(ModelError, match=r": the model cannot be written \("):
        api.train(data, tmp_path / name, configuration=small_configuration(), device="cpu", on_start=started)
    assert names(tmp_path) == ["file"]
