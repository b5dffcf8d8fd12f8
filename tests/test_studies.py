"""A study as notebooks have it, on one that version 0.1.0 left."""

from pathlib import Path

import optuna
import pandas as pd
import pytest
from earlier_stores import unpack

from hrnn_hpo import load_study, trials_dataframe
from hrnn_hpo.errors import StudyError


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path))
    monkeypatch.delenv("HRNN_HPO_STORAGE", raising=False)
    return unpack("study", tmp_path)


@pytest.mark.usefixtures("shop")
def test_load_study_gives_optunas_own() -> None:
    study = load_study("shop")
    assert isinstance(study, optuna.Study)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert study.best_trial.number == 2


def test_a_storage_may_be_named(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_HOME", "/nowhere")
    assert load_study("shop", f"sqlite:///{shop}/mlruns/optuna.db").best_trial.number == 2


@pytest.mark.usefixtures("shop")
def test_a_study_that_is_not_there_is_refused_with_its_neighbour() -> None:
    with pytest.raises(StudyError, match="did you mean 'shop'"):
        trials_dataframe("shopp")


@pytest.mark.usefixtures("shop")
def test_trials_are_rows_with_types() -> None:
    table = trials_dataframe("shop")
    study = load_study("shop")
    assert table["trial"].tolist() == [0, 1, 2]
    assert table["value"].tolist() == [trial.value for trial in study.trials]  # to the last digit
    assert table["state"].tolist() == ["COMPLETE"] * 3
    assert table["role"].fillna("").tolist() == [trial.user_attrs.get("role", "") for trial in study.trials]
    assert pd.api.types.is_datetime64_any_dtype(table["started"])
    assert pd.api.types.is_float_dtype(table["learning_rate"])
    assert table["recency_mask"].dtype == bool
    assert table["retry_of"].isna().all()
    assert table["ndcg_at_10"].tolist() == pytest.approx(table["value"].tolist())
