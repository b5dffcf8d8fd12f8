"""What the benchmark of growth trains on, and what it concludes."""

import numpy as np
import pytest

from scripts.benchmarks.speed import scale


def curve(speeds: dict[int, float]) -> list[dict[str, float]]:
    return [{"items": items, "speed": speed} for items, speed in speeds.items()]


@pytest.mark.parametrize(
    ("full", "answer"),
    [
        ({100: 8.0, 400: 2.0}, "at about 200 items"),  # 4 / 8 there, 4 / 2 here: equal half way on a logarithmic axis
        ({100: 3.0, 400: 2.0}, "below 100 items"),
        ({100: 8.0, 400: 5.0}, "above 400 items"),
    ],
)
def test_the_crossing_lies_between_measured_sizes(full: dict[int, float], answer: str) -> None:
    assert scale.overtaken_at(curve(full), curve({100: 4.0, 400: 4.0})) == answer


def test_the_made_up_log_follows_its_power_law() -> None:
    log = scale.made_up_log(n_users=100, length=200, n_items=50)
    assert log.history_lengths.tolist() == [200] * 100
    shares = np.sort(np.bincount(log.items, minlength=50))[::-1] / log.n_events
    assert shares[0] / shares[1] == pytest.approx(2, rel=0.15)  # 1 / 1 against 1 / 2


def test_a_point_reports_speed_and_memory() -> None:
    point = {**scale.POINT, "items": 100, "hidden": 8, "users": 50, "length": 20, "epochs": 2}
    found = scale.run_point(point)
    assert found["speed"] > 0
    assert found["peak"] > found["model"] > 0
