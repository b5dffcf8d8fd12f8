"""The comparison with other libraries: one yardstick for all, the same as the product's own."""

import numpy as np
from strategies import dataset_of

from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation.protocols import evaluate
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.rivals.drivers.common import Log
from scripts.benchmarks.rivals.libraries import OURS, figures_of, line, report, seconds_to, speed


def epochs(*seconds_and_scores: tuple[float, float]) -> list[dict[str, float]]:
    total, told = 0.0, []
    for seconds, score in seconds_and_scores:
        total += seconds
        told.append(
            {
                "seconds": seconds,
                "total_seconds": total,
                "targets_per_second": 100 / seconds,
                "ndcg_at_10": score,
                "peak_mib": 10.0 * len(told),
            }
        )
    return told


def row(trainer: str, told: list[dict[str, float]]) -> Row:
    settings = {"threads": 2, "hidden": 64, "trainer": trainer}
    figures = figures_of(told)
    return Row(date="", processor="", threads=2, versions={}, command="", settings=settings, figures=figures)


def test_every_library_is_scored_as_the_product_scores_itself() -> None:
    generator = np.random.default_rng(0)
    dataset = dataset_of([generator.integers(0, 40, size=12).tolist() for _ in range(30)], n_items=40)
    scores = generator.normal(size=(30, 40)).astype(np.float32)
    log = Log(dataset.items, dataset.user_offsets, dataset.n_items)
    part = make_split(dataset, "leave-one-out", 0).validation
    assert part is not None
    ours = evaluate(dataset, part, lambda users: scores[part.users[users]], seen="remove")
    assert any(log.history(user)[-2] in log.history(user)[:-2] for user in range(30))
    assert 0 < ours.metrics["ndcg_at_10"] < 1
    assert np.isclose(log.ndcg_at_10(scores), ours.metrics["ndcg_at_10"])


def test_equal_scores_count_against_the_ranker() -> None:
    log = Log(np.array([0, 1, 2]), np.array([0, 3]), 20)
    assert log.ndcg_at_10(np.zeros((1, 20), dtype=np.float32)) == 0.0
    ahead = np.zeros((1, 20), dtype=np.float32)
    ahead[0, 1] = 1.0
    assert log.ndcg_at_10(ahead) == 1.0


def test_the_time_to_a_score_is_that_of_the_epoch_that_reaches_it() -> None:
    ours, theirs = epochs((1.0, 0.05), (2.0, 0.1), (2.0, 0.2)), epochs((50.0, 0.02), (25.0, 0.1), (20.0, 0.09))
    assert seconds_to(ours, 0.1) == 3.0
    assert seconds_to(ours, 0.3) is None
    assert speed(theirs) == 4.5  # the first epoch does not count
    first, other = row(OURS, ours), row("RecBole", theirs)
    found = line(other, first)
    assert found == [2, 64, "RecBole", "4", "11.1", "20", "0.1000 (3 epochs)", "75.0 / 3.0 s, 25 times"]
    assert line(first, first)[-1] == ""
    assert line(row("RecBole", epochs((5.0, 0.02), (5.0, 0.9))), first)[-1] == "10.0 s / never"
    text = report({"ours": first, "theirs": other})
    assert text.endswith("- H = 64, 2 threads: 11 times RecBole's targets a second (goal: 30, missed).")
    assert report({"theirs": other}).splitlines()[2].startswith("| 2 | 64 | RecBole | 4 |  | 20 |")
