"""When a run is over: patience, what few users cannot tell apart, and a model that has not passed popularity yet."""

import numpy as np
import pytest

from hrnn_hpo.training.progress import EpochReport, TrainingState
from hrnn_hpo.training.stopping import is_over, loss_falls, wait_of

BEST = np.array([0.5, 0.25, 0.75, 0.25])


def history(*losses: float) -> list[EpochReport]:
    return [EpochReport(epoch, loss, {}, 1.0, 1.0, 1.0, False) for epoch, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize(
    ("drops", "wait"),
    [
        ([0.1, -0.1, 0.1, -0.1], 0.5),  # 0 on average
        ([0.25, 0.0, 0.0, 0.0], 1.0),  # 1/16 on average, and so is the standard error: no less
        ([0.25, 0.0, -0.01, 0.0], 0.5),  # .06 on average, standard error .063
        ([0.1, 0.1, 0.1, 0.1], 1.0),  # everybody is worse off
        ([0.0, 0.0, 0.0, 0.0], 1.0),  # nothing has moved: there is no noise to allow for
    ],
)
def test_an_epoch_that_may_be_as_good_as_the_best_counts_half(drops: list[float], wait: float) -> None:
    assert wait_of(BEST - drops, BEST) == wait


def test_many_users_tell_apart_what_few_cannot() -> None:
    drops = np.array([0.3, -0.2, 0.1, -0.1])  # .025 on average
    assert wait_of(BEST - drops, BEST) == 0.5
    assert wait_of(np.tile(BEST - drops, 400), np.tile(BEST, 400)) == 1.0


@pytest.mark.parametrize(("found", "best"), [(None, None), (None, BEST), (BEST, None), (BEST[:1], BEST[:1])])
def test_without_several_users_an_epoch_counts_as_one(found: np.ndarray | None, best: np.ndarray | None) -> None:
    assert wait_of(found, best) == 1.0


def test_patience_ends_a_run_that_has_passed_the_floor() -> None:
    state = TrainingState(best_value=0.3, epochs_without_gain=2.5, history=history(5.0, 4.0, 3.0))
    assert not is_over(state, patience=3, floor=0.2)
    state.epochs_without_gain = 3.0
    assert is_over(state, patience=3, floor=0.2)


def test_below_the_floor_a_run_goes_on_while_its_loss_falls() -> None:
    state = TrainingState(best_value=0.2, epochs_without_gain=9.0, history=history(5.0, 4.0, 3.0))
    assert not is_over(state, patience=3, floor=0.2)  # as good as popularity is not past it
    state.history += history(3.1, 3.2)
    assert not is_over(state, patience=3, floor=0.2)
    state.history += history(3.05)  # the lowest loss is three epochs old
    assert is_over(state, patience=3, floor=0.2)


def test_the_loss_falls_while_one_of_the_last_three_is_the_lowest() -> None:
    assert loss_falls(history(5.0))
    assert loss_falls(history(5.0, 3.0, 3.5, 4.0))
    assert not loss_falls(history(5.0, 3.0, 3.5, 4.0, 3.1))
