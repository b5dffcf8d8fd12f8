"""The commands as functions: what train writes, what evaluate opens and refuses, and a run that goes on later."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_runs import same_weights, small_configuration

from hrnn_hpo import api, opening
from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.prepared import prepare
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, make_split
from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.errors import ConfigError, DataError, ModelError, RunFailedError
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.experiment import Experiment
from hrnn_hpo.model.folder import load_model, read_record
from hrnn_hpo.training.progress import EpochReport


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return markov(n_users=60, n_items=40, n_events=20)


@pytest.fixture(scope="module")
def data(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(dataset, tmp_path_factory.mktemp("data"))


@pytest.fixture
def model(tmp_path: Path, data: Path) -> Path:
    return api.train(data, tmp_path / "model", configuration=small_configuration(), device="cpu").folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# train


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


def test_a_finished_train_leaves_its_neighbours_checkpoints_alone(tmp_path: Path, data: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        api.train(
            data, tmp_path / "m-large", configuration=small_configuration(), device="cpu", on_epoch=stop_after_the_first
        )
    api.train(data, tmp_path / "m", configuration=small_configuration(), device="cpu")
    assert len(list(tmp_path.glob(".m-large-*.checkpoint"))) == 1


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


# evaluate


def test_evaluate_ranks_for_the_test_users_and_counts_the_opening(model: Path, data: Path, dataset: Dataset) -> None:
    result = api.evaluate(model, data, device="cpu")
    split = make_split(dataset, "personalize", 0)
    assert split.test is not None
    assert result.n_users == len(split.test) == 6
    assert result.model.users.tolist() == split.test.users.tolist()
    assert set(METRICS) <= set(result.model.metrics)
    assert result.baselines == {}
    assert result.n_openings == 1
    assert read_record(model).test_openings == 1


def test_a_second_opening_is_refused_unless_asked_for_and_counted(model: Path, data: Path) -> None:
    first = api.evaluate(model, data, device="cpu")
    with pytest.raises(ModelError, match=r"opened 1 time\(s\) before.*--again"):
        api.evaluate(model, data, device="cpu")
    assert read_record(model).test_openings == 1
    again = api.evaluate(model, data, again=True, device="cpu")
    assert again.n_openings == 2
    assert again.model.metrics == first.model.metrics


def test_an_opening_counts_even_when_what_follows_fails(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise RunFailedError("out of memory")

    monkeypatch.setattr(opening, "evaluate_model", fails)
    with pytest.raises(RunFailedError):
        api.evaluate(model, data, device="cpu")
    assert read_record(model).test_openings == 1


def test_protocol_and_seed_only_confirm(model: Path, data: Path) -> None:
    with pytest.raises(ModelError, match="trained with protocol personalize; evaluating with leave-one-out"):
        api.evaluate(model, data, protocol="leave-one-out", device="cpu")
    with pytest.raises(ModelError, match="trained with split_seed 0; evaluating with 1"):
        api.evaluate(model, data, split_seed=1, device="cpu")
    assert read_record(model).test_openings == 0
    assert api.evaluate(model, data, protocol="personalize", split_seed=0, device="cpu").n_openings == 1


def test_other_data_is_refused(tmp_path: Path, model: Path) -> None:
    other = write_csv(markov(n_users=60, n_items=40, n_events=20, seed=1), tmp_path / "other")
    with pytest.raises(ModelError, match="its test users are only known for its own data"):
        api.evaluate(model, other, device="cpu")
    assert read_record(model).test_openings == 0


def test_a_truth_event_that_was_a_training_target_is_refused(
    model: Path, data: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = api.prepare_experiment

    def on_everything(*args: Any, **kwargs: Any) -> Experiment:
        everybody = TrainPart(np.arange(dataset.n_users), np.asarray(dataset.user_offsets[1:]))
        found = prepared(*args, **kwargs)
        return replace(found, training=replace(found.training, train=everybody))

    monkeypatch.setattr(opening, "prepare_experiment", on_everything)
    with pytest.raises(ModelError, match="6 test users' truth events were training targets"):
        api.evaluate(model, data, device="cpu")
    assert read_record(model).test_openings == 0


def test_a_refitted_model_is_evaluated_on_the_same_users(tmp_path: Path, data: Path, model: Path) -> None:
    refit = api.train(
        data, tmp_path / "refit", configuration=load_configuration(model / "config.yaml"), refit=True, device="cpu"
    )
    users = [api.evaluate(folder, data, device="cpu").model.users.tolist() for folder in (model, refit.folder)]
    assert users[0] == users[1]


def test_rankings_recompute_every_hit(tmp_path: Path, model: Path, data: Path) -> None:
    file = tmp_path / "rankings.jsonl"
    result = api.evaluate(model, data, rankings=file, device="cpu")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == result.n_users
    assert all(len(line["items"]) == 25 for line in lines)
    hits = [bool(set(line["items"][:10]) & set(line["truth"])) for line in lines]
    assert result.model.metrics["hit_rate_at_10"] == pytest.approx(np.mean(hits))


def test_baselines_stand_beside_the_model(model: Path, data: Path) -> None:
    result = api.evaluate(model, data, baselines=True, device="cpu")
    assert set(result.baselines) == set(BASELINES)
    for evaluation in result.baselines.values():
        assert evaluation.users.tolist() == result.model.users.tolist()


def test_others_rankings_stand_beside_the_model_with_paired_differences(
    tmp_path: Path, model: Path, data: Path
) -> None:
    file = tmp_path / "ours.jsonl"
    ours = api.evaluate(model, data, rankings=file, device="cpu")
    theirs = tmp_path / "theirs.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    theirs.write_text("".join(json.dumps({"user": one["user"], "items": one["truth"]}) + "\n" for one in lines))
    result = api.evaluate(model, data, rankings_from=[file, theirs], again=True, device="cpu")
    assert list(result.rankings) == ["ours", "theirs"]
    assert {name: result.rankings["ours"].metrics[name] for name in METRICS} == {
        name: ours.model.metrics[name] for name in METRICS
    }
    assert result.rankings["theirs"].metrics["ndcg_at_10"] == 1
    # A written list ends after 25 places, so that fewer new items are left in it than the model would rank.
    assert result.rankings["theirs"].metrics.keys() == result.model.metrics.keys()
    assert result.differences["ours"] == {"difference": 0, "low": 0, "high": 0, "p": 1}
    behind = result.differences["theirs"]
    assert behind["difference"] == pytest.approx(ours.model.metrics["ndcg_at_10"] - 1)
    assert 0 < behind["p"] <= 2 / 2**6
    assert "lists are shorter than 25" in " ".join(result.notes)


def test_rankings_that_do_not_fit_leave_the_test_users_closed(tmp_path: Path, model: Path, data: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1: must be a JSON object"):
        api.evaluate(model, data, rankings_from=tmp_path / "bad.jsonl", device="cpu")
    (tmp_path / "ease.jsonl").write_text("")
    with pytest.raises(ConfigError, match="'ease' is another row's"):
        api.evaluate(model, data, rankings_from=tmp_path / "ease.jsonl", device="cpu")
    assert read_record(model).test_openings == 0


def test_repeats_and_new_items_have_figures_in_every_epoch_and_on_the_test_users(data: Path) -> None:
    trained = api.train(data, configuration=small_configuration(), device="cpu")
    wanted = {"ndcg_at_10_repeats", "ndcg_at_10_new"}
    assert all(wanted <= report.metrics.keys() for report in trained.result.history)
    result = trained.evaluate(baselines=True)
    assert all(wanted <= row.metrics.keys() for row in (result.model, *result.baselines.values()))


def test_seen_is_the_models_own_unless_told(model: Path, data: Path) -> None:
    own = api.evaluate(model, data, device="cpu")
    assert own.seen == read_record(model).seen == "keep"
    assert api.evaluate(model, data, seen="remove", again=True, device="cpu").seen == "remove"


def test_a_custom_metric_goes_through_train_and_evaluate(tmp_path: Path, data: Path) -> None:
    extra = {"share_of_hits": lambda top_items, truth: truth.hits(top_items).mean(axis=1)}
    trained = api.train(
        data,
        tmp_path / "model",
        configuration=small_configuration(),
        device="cpu",
        objective="share_of_hits",
        extra_metrics=extra,
    )
    assert "share_of_hits" in trained.result.metrics
    assert "share_of_hits" in api.evaluate(trained.folder, data, extra_metrics=extra, device="cpu").model.metrics


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, data: Path) -> None:
    for command in (lambda: api.evaluate(tmp_path, data), lambda: api.recommend(tmp_path, "u00")):
        with pytest.raises(ModelError, match="is not a model folder"):
            command()


# recommend


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


@pytest.mark.parametrize("name", [".", "file/rankings.jsonl", "n" * 300])
def test_rankings_that_cannot_be_written_leave_the_test_users_closed(
    tmp_path: Path, data: Path, model: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written \(|it is a folder"):
        api.evaluate(model, data, rankings=str(tmp_path / name), device="cpu")
    assert read_record(model).test_openings == 0
    assert api.evaluate(model, data, rankings=str(tmp_path / "rankings.jsonl"), device="cpu").n_openings == 1
    assert len((tmp_path / "rankings.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("name", ["file/model", "n" * 300])
def test_a_model_that_could_not_be_written_is_not_trained(tmp_path: Path, data: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    def started(_: Experiment) -> None:
        raise AssertionError("training began")

    with pytest.raises(ModelError, match=r": the model cannot be written \("):
        api.train(data, tmp_path / name, configuration=small_configuration(), device="cpu", on_start=started)
    assert names(tmp_path) == ["file"]
