"""What a study suggests for the next one: borders to move, hyperparameters to freeze, a space file to go on with."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from confirmations import confirmation_of
from optuna.study import Study

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.attributes import CONFIRMATION
from hrnn_hpo.study.confirmation import Contender
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.report.advice import advice_of, named_space, next_space_text
from hrnn_hpo.study.report.report import render_report
from hrnn_hpo.study.report.rerun import OWN_SPACE
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")
# The fake score is best at hidden_dimension 40, learning_rate 0.02; recency_mask changes nothing.
AT_THE_BORDER: dict[str, Any] = {"hidden_dimension": 30, "learning_rate": 0.02, "recency_mask": True}


def stored() -> Study:
    return load_study("s", open_storage())


@pytest.fixture
def narrow(space: SearchSpace) -> SearchSpace:
    return space.narrow({"hidden_dimension": {"range": [8, 30]}}, {}, "mine")


def test_too_few_trials_suggest_nothing(log: Dataset, narrow: SearchSpace) -> None:
    tune(log, study="s", space=narrow, n_trials=3, pruner="none", enqueue=[AT_THE_BORDER])
    assert advice_of(stored(), read_record(stored())) == []


def test_a_best_value_at_a_border_asks_for_a_wider_range(log: Dataset, narrow: SearchSpace) -> None:
    tune(log, study="s", space=narrow, n_trials=5, pruner="none", enqueue=[AT_THE_BORDER])
    [advice] = advice_of(stored(), read_record(stored()), {})
    assert advice.name == "hidden_dimension"
    assert "upper end of [8, 30]" in advice.text


def test_after_a_confirmation_its_winner_is_the_best_value(log: Dataset, narrow: SearchSpace) -> None:
    tune(log, study="s", space=narrow, n_trials=5, pruner="none", enqueue=[AT_THE_BORDER])
    figures = {"search_value": 0.3, "scores": [0.2, 0.2], "mean": 0.2, "best_epoch": 3}
    found = confirmation_of([Contender(trial=trial, **figures) for trial in (0, 1)], winner=0)
    stored().set_user_attr(CONFIRMATION, found.content())
    assert advice_of(stored(), read_record(stored()), {}) == []  # the defaults lie within


def test_a_hyperparameter_without_effect_is_to_be_fixed_at_the_best_value(log: Dataset, narrow: SearchSpace) -> None:
    tune(log, study="s", space=narrow, n_trials=5, pruner="none", enqueue=[AT_THE_BORDER])
    shares = {"hidden_dimension": 0.7, "learning_rate": 0.299, "recency_mask": 0.001}
    advice = {one.name: one for one in advice_of(stored(), read_record(stored()), shares)}
    assert advice["recency_mask"].change == {"fix": {"recency_mask": True}}


def test_the_next_space_of_an_own_file_loads_beside_the_recorded_one(
    log: Dataset, narrow: SearchSpace, tmp_path: Path
) -> None:
    tune(log, study="s", space=narrow, n_trials=5, pruner="none", enqueue=[AT_THE_BORDER])
    record = read_record(stored())
    space = named_space(record)
    (tmp_path / OWN_SPACE).write_text(yaml.safe_dump(record.space, sort_keys=False), encoding="utf-8")
    text = next_space_text(space, advice_of(stored(), record, {}), OWN_SPACE)
    (tmp_path / "next.yaml").write_text(text, encoding="utf-8")
    assert load_space(tmp_path / OWN_SPACE).fingerprint() == record.space_fingerprint
    wider = load_space(tmp_path / "next.yaml").searched["hidden_dimension"]
    assert (wider.low, wider.high > 30) == (8, True)
    assert text in render_report(stored())


def test_a_shipped_space_is_known_by_its_content_not_by_its_name(log: Dataset) -> None:
    shipped = load_space("quickstart")
    tune(log, study="s", space=shipped, n_trials=1)
    record = read_record(stored())
    assert named_space(record).path == shipped.path
    changed = shipped.narrow({}, {"hidden_dimension": 50}, "mine")
    renamed = record.model_copy(
        update={"space": {**changed.content(), "name": "quickstart"}, "space_fingerprint": changed.fingerprint()}
    )
    assert named_space(renamed).path is None
