"""The row that the benchmark of validation's cost writes."""

from pathlib import Path

import pytest

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.synthetic import markov, write_csv
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.speed import validation


@pytest.mark.parametrize("name", validation.NAMES)
def test_every_data_set_has_a_configuration(name: str) -> None:
    assert load_configuration(validation.CONFIGURATIONS / f"{name}.yaml").hyperparameters.epochs > 0


def test_a_row_tells_the_share_of_validation(tmp_path: Path) -> None:
    log = write_csv(markov(n_users=60), tmp_path / "ml-100k")
    found = validation.measure(log, "leave-one-out", n_epochs=1)
    assert found["n_users"] == 60
    assert found["share"] == found["validation_seconds"] / found["epoch_seconds"] > 0


@pytest.mark.parametrize(
    ("share", "told"), [(0.2, "20.0% | at most 20%: reached"), (0.21, "21.0% | at most 20%: missed")]
)
def test_a_line_tells_whether_the_goal_is_reached(share: float, told: str) -> None:
    settings = {"data": "ml-100k", "protocol": "leave-one-out"}
    figures = {"share": share}
    row = Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)
    assert told in validation.report({"ml-100k-leave-one-out": row})
