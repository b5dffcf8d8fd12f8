"""What more trials are worth where a space has few configurations left, or none."""

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from hrnn_hpo.search.space import SearchSpace, distributions, space_from_content
from hrnn_hpo.study.record import new_record, read_record, write_record
from hrnn_hpo.study.report.answers import answers_of
from hrnn_hpo.study.report.report import render_report
from hrnn_hpo.study.storage.database import create_study, open_storage


def finite(n_values: int) -> SearchSpace:
    width = {"kind": "algorithm", "type": "integer", "range": [32, 31 + n_values], "default": 32}
    return space_from_content({"parameters": {"hidden_dimension": width}}, "finite")


def tried(space: SearchSpace, n_trials: int) -> optuna.Study:
    """Return a study of the first configurations of a finite space, over and over where there are no more."""
    study = create_study("s", open_storage(create=True))
    usual = {"data": "d", "data_hash": "h", "sampler": "grid", "pruner": "none", "seed": 0, "split_seed": 0}
    usual |= {"protocol": "personalize", "seen": "keep", "objective": "ndcg_at_10"}
    write_record(study, new_record(space, **usual))
    generator, configurations = np.random.default_rng(0), list(space.configurations())
    for number in range(n_trials):
        params = configurations[number % len(configurations)]
        found = {name: one for name, one in distributions(space).items() if name in params}
        study.add_trial(
            create_trial(value=0.3 + 0.01 * generator.standard_normal(), params=params, distributions=found)
        )
    return study


@pytest.mark.parametrize("n_values", [12, 6])  # 6: too few for figures
def test_an_exhausted_space_has_no_more_trials_that_could_be_worth_anything(n_values: int) -> None:
    found = answers_of(study := tried(finite(n_values), n_values), read_record(study))
    assert found.told == (n_values == 12)
    assert found.outlook.sentence() == "No more trials are left: every configuration of the space has been tried."


@pytest.mark.parametrize(
    ("n_left", "begins"), [(3, "3 more trials are left in the space, and worth"), (1, "1 more trial is left")]
)
def test_only_the_trials_that_are_left_are_spoken_of(n_left: int, begins: str) -> None:
    found = answers_of(study := tried(finite(12 + n_left), 12), read_record(study)).outlook
    assert found.sentence().startswith(begins)
    assert found.n_more == n_left
    assert found.worth is not None
    assert found.worth >= 0.0


def test_more_than_twenty_that_are_left_are_spoken_of_as_twenty() -> None:
    found = answers_of(study := tried(finite(33), 12), read_record(study)).outlook
    assert found.sentence().startswith("20 more trials are worth less than")


def test_a_study_of_the_defaults_alone_has_a_report_without_figures() -> None:
    study = tried(finite(5).narrow({}, {"hidden_dimension": 32}, "test"), 12)
    assert not answers_of(study, read_record(study)).told
    assert "cannot be told" in render_report(study)
