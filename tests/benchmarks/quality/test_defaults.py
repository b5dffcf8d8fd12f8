"""The benchmark of the defaults: its logs, a row, and its table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import small_configuration

from hrnn_hpo.data.repeats import repeat_share
from hrnn_hpo.data.synthetic import markov
from scripts.benchmarks.kit.made_up_logs import browsing
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import defaults


def test_users_are_drawn_from_their_names_in_order() -> None:
    events = pd.DataFrame({"USER_ID": ["b", "a", "c", "b", "d"], "ITEM_ID": list("vwxyz")})
    chosen = defaults.sampled_users(events, 2)
    assert sorted(set(chosen["USER_ID"])) == ["b", "d"]  # random.Random(0).sample(["a", "b", "c", "d"], 2)
    assert len(chosen) == 3


def test_a_made_up_log_has_what_it_is_asked_for() -> None:
    plain = browsing(n_users=60, n_items=300)
    assert repeat_share(plain) == 0
    assert (plain.event_values, plain.event_types, plain.session_ids) == (None, None, None)
    full = browsing(n_users=60, n_items=300, repeats=0.3, values=True, types=True, sessions=True)
    assert repeat_share(full) > 0.25
    assert full.event_type_names == ("buy", "view")
    assert full.event_values is not None
    assert np.max(full.event_values) > 20 * np.median(full.event_values)
    assert full.session_ids is not None
    assert plain.n_items == full.n_items == 300


def test_random_configurations_differ_and_come_again() -> None:
    first, second = (defaults.random_configuration(number) for number in (0, 1))
    assert first == defaults.random_configuration(0) != second


def row(kind: str, figures: dict[str, object]) -> Row:
    settings = {"log": "markov-300", "kind": kind}
    return Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)


def test_rows_become_a_line_with_both_goals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(defaults.MADE_UP, "markov-300", lambda: markov(n_users=60))
    figures = defaults.measure(
        "markov-300", tmp_path, tmp_path, small_configuration(epochs=1), tmp_path / "run.checkpoint"
    )
    assert figures["batch_size"] == 16
    knn = figures["baselines"]["item_knn"]
    assert knn["ahead"] == pytest.approx(knn["figure"] - figures["ndcg_at_10"])

    own = {
        "popularity": {"figure": 0.3, "ahead": 0.1, "error": 0.05},
        "item_knn": {"figure": 0.2, "ahead": 0, "error": 1},
    }
    rows = {"d": row("defaults", figures | {"ndcg_at_10": 0.2, "baselines": own})}
    rows |= {f"r{number}": row("random", {"ndcg_at_10": 0.2 - number / 100}) for number in range(8)}
    line = next(line for line in defaults.report(rows).splitlines() if line.startswith("| markov-300"))
    assert "| 0.2000 (0.200) | 0.2000 | 1.00 | reached | popularity 0.3000 | 0.1000 ± 0.0500 | missed |" in line
    del rows["r7"]
    assert "| 0.2000 of 7 | 1.00 |  | popularity" in defaults.report(rows)
