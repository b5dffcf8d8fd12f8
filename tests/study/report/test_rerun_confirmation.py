"""The command that repeats a study asks for the same confirmation, in words that `tune` takes."""

import pytest
from confirmations import confirmation_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIRMATION
from hrnn_hpo.study.confirm.settings import remember_settings
from hrnn_hpo.study.confirmation import Confirmation, Contender, Screened
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.report import rerun
from hrnn_hpo.study.request.request import StudyRequest
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def confirmed(n_challengers: int, n_screened: int) -> Confirmation:
    scores = {"search_value": 0.3, "scores": [0.3, 0.3], "mean": 0.3, "best_epoch": 3}
    return confirmation_of(
        [Contender(trial=trial, **scores) for trial in range(n_challengers + 1)],  # type: ignore[arg-type]
        screened=[Screened(trial, 0.3, [0.3], 0.3, False) for trial in range(1, n_screened + 1)],
    )


@pytest.mark.parametrize(
    ("n_challengers", "n_screened", "expected"),
    [(2, 5, {"confirm": 2, "screen": 5}), (6, 5, {"confirm": 6}), (6, 0, {"confirm": 6})],
)
@pytest.mark.parametrize("ensemble", [True, False])
def test_confirmation_screening_and_ensemble_are_asked_for_again(
    log: Dataset, space: SearchSpace, n_challengers: int, n_screened: int, expected: dict[str, int], ensemble: bool
) -> None:
    tune(log, study="s", space=space, n_trials=3)
    study = load_study("s", open_storage())
    study.set_user_attr(CONFIRMATION, confirmed(n_challengers, n_screened).content())
    remember_settings(study, None, None, ensemble)
    command = rerun.commands(study, read_record(study), last_attempts(study), space)[0].split()
    told = {
        name: int(command[command.index(f"--{name}") + 1]) for name in ("confirm", "screen") if f"--{name}" in command
    }
    assert told == expected
    assert ("--ensemble" in command) is ensemble
    assert StudyRequest(study="s-again", ensemble=ensemble, **told)


def test_where_a_search_of_that_size_would_screen_nobody_is_said(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, n_trials=3)
    study = load_study("s", open_storage())
    study.set_user_attr(CONFIRMATION, confirmed(6, 5).content())
    monkeypatch.setattr(rerun, "default_n_screened", lambda n_trials: 8)
    assert (
        "--confirm 6 --confirm-seeds 2 --screen 0"
        in rerun.commands(study, read_record(study), last_attempts(study), space)[0]
    )
