"""Rows that train a configuration: tested once, resumed after an interruption."""

from pathlib import Path
from typing import Any

import pytest
from benchmark_options import options_in
from small_runs import small_configuration

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.training import trainer
from scripts.benchmarks.kit.rows import Results
from scripts.benchmarks.kit.trainings import training_cell


def train(results: Results, name: str, configuration: Any, **more: Any) -> dict[str, Any]:
    dataset = markov(n_users=60)
    results.run({name: training_cell(results.work, name, dataset, configuration, settings={"variant": "x"}, **more)})
    return results.rows()[name].figures


def test_a_row_tells_epochs_validation_and_test(tmp_path: Path) -> None:
    results = Results("markov", options_in(tmp_path))
    figures = train(results, "markov-0", small_configuration(epochs=2), also="personalize-last")
    assert figures["n_epochs"] == 2
    assert set(figures["test"]) == set(figures["test personalize-last"]) == {"keep", "remove"}
    assert 0 <= figures["validation"]["ndcg_at_10"] <= 1
    settings = results.rows()["markov-0"].settings
    assert (settings["variant"], settings["protocol"], settings["hyperparameters"]["epochs"]) == ("x", "personalize", 2)
    assert not list(results.work.glob("*.checkpoint"))


def test_a_row_made_with_another_configuration_is_refused(tmp_path: Path) -> None:
    results = Results("markov", options_in(tmp_path))
    train(results, "markov-0", small_configuration(epochs=1))
    with pytest.raises(SystemExit, match=r"other settings \(hyperparameters.epochs was 1, is 2\)"):
        train(results, "markov-0", small_configuration(epochs=2))


def test_an_interrupted_row_goes_on_to_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, configuration = Results("markov", options_in(tmp_path)), small_configuration(epochs=3)
    whole = train(results, "whole", configuration)
    train_epoch, n_calls = trainer._train_epoch, 0

    def stop_at_the_third(*arguments: object) -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt
        return train_epoch(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_train_epoch", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            train(results, "stopped", configuration)
    assert "stopped" not in results.rows()
    continued = train(results, "stopped", configuration)
    assert continued["test"] == whole["test"]
    assert continued["n_epochs"] == 3
