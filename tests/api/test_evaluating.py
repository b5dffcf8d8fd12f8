"""`evaluate`: whom it ranks for, when it opens the test users and counts it, what it refuses, what stands beside it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import small_configuration
from typer.testing import CliRunner

from hrnn_hpo import api, opening
from hrnn_hpo.cli.main import app
from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, make_split
from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.errors import ConfigError, DataError, ModelError, RunFailedError
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.experiment import Experiment
from hrnn_hpo.model.folder import read_record


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


def test_rankings_that_are_read_are_not_written_over(tmp_path: Path, model: Path, data: Path) -> None:
    theirs = tmp_path / "theirs.jsonl"
    api.evaluate(model, data, rankings=theirs, device="cpu")
    before = theirs.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(theirs)
    for target in (theirs, link):
        with pytest.raises(ConfigError, match="must go to another file than those that are read"):
            api.evaluate(model, data, rankings=target, rankings_from=theirs, again=True, device="cpu")
    assert theirs.read_bytes() == before
    assert read_record(model).test_openings == 1


def test_rankings_that_do_not_fit_leave_the_test_users_closed(tmp_path: Path, model: Path, data: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1: must be a JSON object"):
        api.evaluate(model, data, rankings_from=tmp_path / "bad.jsonl", device="cpu")
    (tmp_path / "ease.jsonl").write_text("")
    for name in ("ease", "model", "model, request time known"):
        with pytest.raises(ConfigError, match=f"'{name}' is another row's"):
            api.evaluate(model, data, rankings_from=tmp_path / f"{name}.jsonl", device="cpu")
    assert read_record(model).test_openings == 0


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"value_weighted": True}, DataError, "need a positive EVENT_VALUE"),
        (
            {"extra_metrics": {"ndcg_at_10": lambda lists, truth: np.ones(len(lists))}},
            ConfigError,
            "must be a new name",
        ),
    ],
)
def test_metrics_that_the_test_users_cannot_have_leave_them_closed(
    model: Path, data: Path, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        api.evaluate(model, data, device="cpu", **asked)
    assert read_record(model).test_openings == 0


def test_repeats_and_new_items_have_figures_in_every_epoch_and_on_the_test_users(data: Path) -> None:
    trained = api.train(data, configuration=small_configuration(), device="cpu")
    wanted = {"ndcg_at_10_repeats", "ndcg_at_10_new"}
    assert all(wanted <= report.metrics.keys() for report in trained.result.history)
    result = trained.evaluate(baselines=True)
    assert all(wanted <= row.metrics.keys() for row in (result.model, *result.baselines.values()))


def test_rankings_that_were_written_read_back_to_the_same_figures(tmp_path: Path, data: Path, model: Path) -> None:
    first = api.evaluate(model, data, rankings=tmp_path / "first.jsonl", device="cpu")
    again = api.evaluate(model, data, again=True, rankings_from=tmp_path / "first.jsonl", device="cpu")
    assert first.model.metrics["ndcg_at_10_new"] > 0
    assert again.rankings["first"].metrics == first.model.metrics
    assert again.notes == []


def test_seen_is_the_models_own_unless_told(model: Path, data: Path) -> None:
    own = api.evaluate(model, data, device="cpu")
    assert own.seen == read_record(model).seen == "keep"
    assert api.evaluate(model, data, seen="remove", again=True, device="cpu").seen == "remove"


def test_auto_is_what_the_model_was_validated_with_as_where_it_recommends() -> None:
    dataset = markov(n_users=60)  # full of repeats: of the log `auto` would make keep
    model = api.train(dataset, configuration=small_configuration(), seen="remove", device="cpu")
    assert api.evaluate(model, seen="auto").seen == api.recommender_of(model, "auto").seen == "remove"


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


def test_rankings_take_no_logs_place(tmp_path: Path, data: Path, model: Path) -> None:
    log = data / "interactions.csv"
    before = log.read_bytes()
    for source in (data, log, str(data), [log]):
        with pytest.raises(ConfigError, match="the rankings must go to another file than the log"):
            api.evaluate(model, source, rankings=log, device="cpu")
    assert log.read_bytes() == before
    assert read_record(model).test_openings == 0


def test_a_disk_that_is_full_in_the_end_loses_no_figure(
    tmp_path: Path, data: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python the error has them; the command prints them, and then the error."""

    def full(*_: object, **__: object) -> None:
        raise ConfigError("r.jsonl: cannot be written (No space left on device).")

    monkeypatch.setattr(opening, "write_rankings", full)
    with pytest.raises(opening.RankingsUnwrittenError, match="No space left") as raised:
        api.evaluate(model, data, baselines=True, rankings=tmp_path / "r.jsonl", device="cpu")
    metrics = raised.value.result.model.metrics
    assert raised.value.result.baselines
    for as_json in ([], ["--json"]):
        command = ["evaluate", str(model), str(data), "--again", "--rankings", str(tmp_path / "r.jsonl"), *as_json]
        found = CliRunner().invoke(app, [*command, "--device", "cpu"])
        assert (found.exit_code, "No space left" in found.stderr) == (1, True)
        assert (json.loads(found.stdout)["metrics"] == metrics) if as_json else ("ndcg_at_10" in found.stdout)
    assert read_record(model).test_openings == 3
