"""The users' figures of each epoch: kept in the study's database, found by place, gone with the study."""

import numpy as np
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import text
from study_fakes import user_scores

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace, space_from_content
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.results.manage import clean_up, delete_study
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.storage.user_figures import (
    MOST_BYTES,
    UserFigures,
    create_table,
    drop_figures,
    studies_with_figures,
)
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.tune import tune


@pytest.fixture
def storage() -> RDBStorage:
    made = open_storage(create=True)
    create_table(made)
    create_table(made)  # a second time changes nothing
    return made


def test_figures_are_read_as_they_were_written_to_three_digits(storage: RDBStorage) -> None:
    figures = UserFigures(storage, "uid", "s", max_epochs=20)
    written = np.linspace(0.0, 1.0, 94)
    figures.write(3, 1, np.zeros(94))
    figures.write(3, 1, written)  # an epoch that is trained again
    read = figures.read(3, 1)
    assert read is not None
    np.testing.assert_allclose(read, written, atol=5e-4)
    assert figures.read(3, 2) is None
    assert figures.read(2, 1) is None
    assert UserFigures(storage, "uid", "other", 20).read(3, 1) is None


def test_a_trial_keeps_at_most_two_megabytes(storage: RDBStorage) -> None:
    n_users, epochs = 70_000, 50
    figures = UserFigures(storage, "uid", "s", epochs)
    figures.write(0, 1, np.arange(n_users) % 2 + 0.5)
    read = figures.read(0, 1)
    assert read is not None
    assert len(read) * 2 * epochs <= MOST_BYTES < 2 * len(read) * 2 * epochs
    assert read[0] == 0.5


def test_figures_of_a_metric_of_ones_own_may_be_large_or_missing(storage: RDBStorage) -> None:
    figures = UserFigures(storage, "uid", "s", 4)
    figures.write(0, 1, np.array([1e6, -1e6, np.nan, 0.5]))
    np.testing.assert_allclose(figures.read(0, 1), [1e6, -1e6, np.nan, 0.5], rtol=1e-3)
    assert figures.standard_error(0, 1, 4) == pytest.approx(np.std([1e6, -1e6, 0.5], ddof=1) / 2, rel=1e-3)


def test_figures_of_a_metric_of_ones_own_may_be_tiny(storage: RDBStorage) -> None:
    figures = UserFigures(storage, "uid", "s", 4)
    figures.write(0, 1, np.array([1e-9, 3e-9, 0.0]))
    np.testing.assert_allclose(figures.read(0, 1), [1e-9, 3e-9, 0.0], rtol=1e-3)
    figures.write(0, 2, np.zeros(3))
    figures.write(0, 3, np.full(3, np.nan))
    np.testing.assert_array_equal(figures.read(0, 2), np.zeros(3))
    assert figures.standard_error(0, 3, 3) is None


def test_figures_of_a_study_are_dropped_alone(storage: RDBStorage) -> None:
    for name in ("a", "b"):
        UserFigures(storage, "uid", name, 4).write(0, 1, np.ones(3))
    keys = studies_with_figures(storage)
    assert len(keys) == 2
    drop_figures(storage, keys[0])
    assert studies_with_figures(storage) == keys[1:]


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_worker_joins_a_study_that_an_earlier_version_began(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=2, confirm=0)
    storage = open_storage()
    with storage.engine.begin() as connection:
        connection.execute(text("DROP TABLE hrnn_hpo_user_figures"))
    found = load_study("s", storage)
    write_budget(found, Budget(4, "random", "median"))
    work(log, "s")
    assert [trial.state.name for trial in found.trials] == ["COMPLETE"] * 4
    assert UserFigures(storage, read_record(found).uid, "s", 4).read(3, 4) is not None


def test_a_storage_of_an_earlier_version_has_none() -> None:
    storage = open_storage(create=True)
    assert studies_with_figures(storage) == []
    drop_figures(storage, "key")


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_study_keeps_every_epochs_figures_until_it_is_deleted(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3, confirm=0)
    storage = open_storage()
    found = load_study("s", storage)
    figures = UserFigures(storage, read_record(found).uid, "s", 4)
    for trial in found.trials:
        for epoch, told in epochs_of(trial).items():
            np.testing.assert_allclose(
                figures.read(trial.number, epoch), user_scores(told["metrics"]["ndcg_at_10"]), atol=1e-3
            )
    clean_up()
    assert len(studies_with_figures(storage)) == 1
    delete_study("s")
    assert studies_with_figures(storage) == []


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_figures_stay_with_a_study_whose_space_is_widened(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=2, confirm=0)
    content = space.content()
    content["parameters"]["hidden_dimension"]["range"] = [8, 512]
    before = studies_with_figures(open_storage())
    tune(log, study="s", space=space_from_content(content, "wider"), n_trials=3, confirm=0)
    clean_up()
    assert studies_with_figures(open_storage()) == before
    record = read_record(load_study("s", open_storage()))
    assert UserFigures(open_storage(), record.uid, "s", 4).read(1, 1) is not None


def test_figures_without_a_study_are_cleaned_up(storage: RDBStorage) -> None:
    UserFigures(storage, "uid", "gone", 4).write(0, 1, np.ones(3))
    clean_up()
    assert studies_with_figures(storage) == []
