"""The row that the benchmark of validation's cost writes."""

from pathlib import Path

import pytest
import validation

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.synthetic import markov, write_csv


@pytest.mark.parametrize("name", validation.NAMES)
def test_every_data_set_has_a_configuration(name: str) -> None:
    assert load_configuration(validation.CONFIGURATIONS / f"{name}.yaml").hyperparameters.epochs > 0


def test_a_row_tells_the_share_and_whether_the_goal_is_reached(tmp_path: Path) -> None:
    log = write_csv(markov(n_users=60), tmp_path / "ml-100k")
    name, protocol, n_users, epoch, cost, share, goal = validation.measure(log, "leave-one-out", n_epochs=1)
    assert (name, protocol, n_users) == ("ml-100k", "leave-one-out", 60)
    assert share == f"{cost / epoch:.1%}"
    assert ("reached" in goal) == (cost <= 0.2 * epoch)
