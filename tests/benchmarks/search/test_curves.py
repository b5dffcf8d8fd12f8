"""Recording learning curves: every user of every draw, and nothing twice."""

from pathlib import Path

import numpy as np
import pytest

from hrnn_hpo.data.synthetic import markov, write_csv
from scripts.benchmarks.search import curves
from scripts.benchmarks.search.curves import Log, record, recorded_users


def test_a_recording_keeps_every_draw_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(markov(n_users=60, n_items=20, n_events=20), tmp_path / "tiny")
    monkeypatch.setitem(curves.LOGS, "tiny", Log("tiny", "personalize", 2, n_draws=2))
    [first] = record("tiny", tmp_path, tmp_path, most=1)
    trained = curves._train
    seen: list[int] = []

    def watched(*asked: object) -> curves.Users:
        seen.append(asked[4])  # type: ignore[arg-type]
        return trained(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(curves, "_train", watched)
    found = record("tiny", tmp_path, tmp_path)
    assert found[0] == first
    assert seen == [1, 1]  # two draws of the second configuration alone
    draws = recorded_users(tmp_path, "tiny", 2)
    assert [users.shape for users in draws] == [(2, curves.EPOCHS, 6)] * 2
    assert not np.array_equal(*draws)
    for number, curve in enumerate(found):
        means = np.mean([users[number].mean(axis=1) for users in draws], axis=0)
        np.testing.assert_allclose(curve.scores, means, atol=1e-3)  # figures of users are kept in half precision
