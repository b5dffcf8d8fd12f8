"""A storage that other programs share: what they made is never taken over, searched in their direction, or deleted."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.request.widening import finish_widening
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.storage.database import load_study, open_storage, study_names
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_figures")


def theirs(name: str, direction: str = "minimize") -> None:
    """Let another program make a study with one trial."""
    study = optuna.create_study(study_name=name, storage=open_storage(create=True), direction=direction)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=1.0))


@pytest.mark.parametrize("name", ["s (confirmation)", "s (widening)"])
def test_a_study_of_another_program_under_a_name_that_ours_needs_is_left_alone(
    log: Dataset, space: SearchSpace, name: str
) -> None:
    theirs(name, "maximize")
    with pytest.raises(StudyError, match=r"was not made by hrnn-hpo, and study 's' needs that name"):
        tune(log, study="s", space=space, n_trials=2, confirm=1, confirm_seeds=2)
    finish_widening("s", open_storage())
    assert study_names(open_storage()) == [name]
    assert len(load_study(name, open_storage()).trials) == 1


def test_a_confirmation_of_another_program_does_not_go_with_the_study_that_is_deleted(
    log: Dataset, space: SearchSpace
) -> None:
    tune(log, study="s", space=space, n_trials=1)
    theirs("s (confirmation)")
    delete_study("s")
    assert study_names(open_storage()) == ["s (confirmation)"]


def test_an_empty_study_that_minimizes_is_not_taken_over_to_search_for_the_worst(
    log: Dataset, space: SearchSpace
) -> None:
    optuna.create_study(study_name="s", storage=open_storage(create=True))
    with pytest.raises(StudyError, match="to minimize and not to maximize"):
        tune(log, study="s", space=space, n_trials=2)


def test_a_study_that_holds_attributes_of_another_program_is_not_taken_over(log: Dataset, space: SearchSpace) -> None:
    optuna.create_study(study_name="s", storage=open_storage(create=True), direction="maximize").set_user_attr("a", 1)
    with pytest.raises(StudyError, match="was not made by hrnn-hpo"):
        tune(log, study="s", space=space, n_trials=2)


@pytest.mark.parametrize("name", ["s", "s (confirmation)"])
def test_a_process_that_died_right_after_it_created_a_study_holds_up_nobody(
    log: Dataset, space: SearchSpace, name: str
) -> None:
    optuna.create_study(study_name=name, storage=open_storage(create=True), direction="maximize")
    result = tune(log, study="s", space=space, n_trials=2, confirm=1, confirm_seeds=2)
    assert result.confirmation is not None
