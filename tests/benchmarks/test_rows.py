"""Benchmark rows: run once, kept as files, continued after an interruption."""

from pathlib import Path

import pytest
import rows
from small_runs import small_configuration

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.training import trainer


def test_a_finished_row_is_read_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, configuration = markov(n_users=60), small_configuration(epochs=2)
    first = rows.run_row(tmp_path, "markov-0", dataset, configuration)
    assert set(first["test"]) == {"keep", "remove"}
    assert [path.name for path in tmp_path.iterdir()] == ["markov-0.json"]
    monkeypatch.setattr(rows, "run_experiment", lambda *_, **__: pytest.fail("trained again"))
    assert rows.run_row(tmp_path, "markov-0", dataset, configuration) == first


def test_a_row_made_with_other_settings_is_refused(tmp_path: Path) -> None:
    dataset = markov(n_users=60)
    rows.run_row(tmp_path, "markov-0", dataset, small_configuration(epochs=1))
    with pytest.raises(SystemExit, match="other settings"):
        rows.run_row(tmp_path, "markov-0", dataset, small_configuration(epochs=2))


def test_an_interrupted_row_goes_on_to_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, configuration = markov(n_users=60), small_configuration(epochs=3)
    whole = rows.run_row(tmp_path, "whole", dataset, configuration)
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
            rows.run_row(tmp_path, "stopped", dataset, configuration)
    continued = rows.run_row(tmp_path, "stopped", dataset, configuration)
    assert continued["test"] == whole["test"]
    assert continued["n_epochs"] == 3


def test_unknown_rows_are_refused_by_name() -> None:
    assert rows.wanted_rows(None, ["a-0", "a-1"]) == ["a-0", "a-1"]
    with pytest.raises(SystemExit, match="b-0"):
        rows.wanted_rows("a-1,b-0", ["a-0", "a-1"])
