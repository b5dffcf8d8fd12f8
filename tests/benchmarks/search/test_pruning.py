"""The report of the pruning benchmark, of the rows that are finished."""

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search import pruning
from scripts.benchmarks.search.curves import EPOCHS, Curve


def row(settings: dict[str, object], **figures: object) -> Row:
    return Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)


def test_a_median_of_never_is_told_as_inf() -> None:
    asked = {"sampler": "tpe", "pruner": "median", "seeds": 3}
    text = pruning.report({"tpe-median": row(asked, median_share=None, n_reached=1, epochs_per_trial=7.25)})
    assert "over 3 study seeds" in text
    assert text.endswith("| tpe | median | inf | 1 of 3 | 7.25 |")


def test_a_thawing_replay_is_told_as_such_and_runs_more_epochs_of_the_same_trials() -> None:
    asked = {"sampler": "tpe", "pruner": "median", "seeds": 3, "thaw": True}
    text = pruning.report({"tpe-median-thaw": row(asked, median_share=0.25, n_reached=3, epochs_per_trial=7.25)})
    assert text.endswith("| tpe | median, thaw | 0.25 | 3 of 3 | 7.25 |")
    values = [{"hidden_dimension": h, "output_dropout": 0.3, "learning_rate": 0.004} for h in (16, 24, 36, 64)]
    ends = [(0.3, 0.31), (0.1, 0.6), (0.2, 0.25), (0.32, 0.33)]  # the best one begins lowest
    curves = [
        Curve(one, [low + (high - low) * epoch / EPOCHS for epoch in range(EPOCHS)])
        for one, (low, high) in zip(values, ends, strict=True)
    ]
    plain = pruning.replay(curves, "random", "median", 1)
    thawed = pruning.replay(curves, "random", "median", 1, thaw=True)
    assert thawed["epochs_per_trial"] > plain["epochs_per_trial"]


def test_curves_and_real_studies_are_told_without_a_replay() -> None:
    curves = row({}, least=0.1, median=0.2, most=0.3, rank_correlations={"1": 0.5, "3": 0.7})
    real = row(
        {"seed": 0, "pruner": "median"}, random_best=0.13, random_epochs=720, best=0.12, n_trials=100, epochs=900
    )
    text = pruning.report({"curves": curves, "real-median-0": real})
    assert "from 0.100 to 0.300 (median 0.200)" in text
    assert "by epoch: 0.50 after 1, 0.70 after 3." in text
    assert text.endswith("did not reach it: 0.1200 after 100 trials and 900 epochs.")


def test_the_curves_are_described_by_their_best_scores() -> None:
    rising = [Curve({}, [0.01 * k * epoch for epoch in range(1, EPOCHS + 1)]) for k in (1, 2, 3)]
    told = pruning.describe(rising)
    assert (round(told["least"], 2), round(told["median"], 2), round(told["most"], 2)) == (0.18, 0.36, 0.54)
    assert set(told["rank_correlations"].values()) == {1.0}
