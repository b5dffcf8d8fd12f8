"""The rows of the ml-1m benchmark."""

import pytest

from hrnn_hpo.config import load_configuration
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import movielens_1m


@pytest.mark.parametrize("kind", movielens_1m.KINDS)
def test_every_kind_of_row_has_a_configuration(kind: str) -> None:
    configuration = movielens_1m.configuration_of(kind, 2, movielens_1m.CONFIG, epochs=7)
    shipped = load_configuration(movielens_1m.CONFIG).hyperparameters
    assert (configuration.seed, configuration.split_seed, configuration.hyperparameters.epochs) == (2, 2, 7)
    assert configuration.hyperparameters.hidden_dimension == shipped.hidden_dimension


def row(precision: float) -> Row:
    metrics = {"ndcg_at_10": 0.2, "mrr_at_25": 0.1, "precision_at_10": precision, "hit_rate_at_10": 0.4}
    figures = {"test": {"remove": metrics, "keep": metrics}, "best_epoch": 9, "seconds": 120.0}
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_finished_seeds_are_told_beside_amazons_figure() -> None:
    text = movielens_1m.report({"tenth-0": row(0.18), "tenth-2": row(0.2)})
    assert "| tenth | newest-tenth | keep | 2 of 3 | 0.2000 ± 0.0000 |" in text
    assert "0.1900 ± 0.0100 | 0.4000 ± 0.0000 | 9, 9; 2 |" in text
    assert "0.1900 against Amazon's 0.1480, 1.28 times (goal: 1.284, missed)." in text  # 1.2838


def test_a_model_that_is_told_the_time_has_lines_of_its_own() -> None:
    told = row(0.25)
    told.figures["test, request time known"] = {
        seen: told.figures["test"][seen] | {"ndcg_at_10": 0.3} for seen in ("remove", "keep")
    }
    text = movielens_1m.report({"known-0": told, "loo-0": row(0.2)})
    assert "| known | leave-one-out | remove | 1 of 3 | 0.2000 ± – |" in text
    assert "| known, told the time | leave-one-out | remove | 1 of 3 | 0.3000 ± – |" in text
    assert "loo, told" not in text
