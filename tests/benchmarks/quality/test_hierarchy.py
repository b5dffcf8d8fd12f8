"""What the hierarchy benchmark concludes from its rows."""

import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.quality import hierarchy


@pytest.mark.parametrize(
    ("small", "large", "claim"),
    [
        ([0.10, 0.11, 0.12], [0.01, 0.02, 0.03], "confirmed"),
        ([0.01, 0.02, 0.03], [0.10, 0.11, 0.12], "refuted"),
        ([0.01, 0.02, 0.03], [0.02, 0.03, 0.04], "undecided"),  # .01 apart, standard error .0082
    ],
)
def test_the_verdict_wants_two_standard_errors(small: list[float], large: list[float], claim: str) -> None:
    assert f"small H: {claim} " in hierarchy.verdict({50: small, 200: large})


def test_models_differ_in_what_they_know_of_sessions_alone() -> None:
    plain, control = (
        hierarchy.configuration_of(model, 50, 0, 8).hyperparameters.model_dump() for model in ("plain", "control")
    )
    assert {name for name in plain if plain[name] != control[name]} == {"control_signal", "time_gaps"}


def test_own_products_are_all_that_a_model_gains_by_its_ending() -> None:
    plain, own = (
        hierarchy.configuration_of(model, 50, 0, 8).hyperparameters.model_dump() for model in ("plain", "plain+own")
    )
    assert {name for name in plain if plain[name] != own[name]} == {"repeats"}


def row(ndcg: float) -> Row:
    metrics = {"keep": {"ndcg_at_10": ndcg, "precision_at_10": 0.1, "hit_rate_at_10": 0.1}}
    figures = {"test": metrics, hierarchy.LAST: metrics, "best_epoch": 4, "seconds": 90.0}
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_gains_are_paired_by_seed() -> None:
    # By seed, control is .01, .02 and .03 better at H = 50, and always .01 at H = 200.
    rows = {}
    for seed, level in enumerate((0.1, 0.3, 0.2)):
        for hidden, gain in ((50, 0.01 * (seed + 1)), (200, 0.01)):
            rows[f"plain-{hidden}-{seed}"] = row(level)
            rows[f"control-{hidden}-{seed}"] = row(level + gain)
    text = hierarchy.report(rows)
    assert "| 50 | control | 3 | 0.2200 ± 0.0608 |" in text
    assert (
        "- next purchases, ndcg_at_10, control: H = 50 0.0200 ± 0.0058, H = 200 0.0100 ± 0.0000; pays more at small H: "
        "undecided (difference +0.0100 ± 0.0058)."
    ) in text
    assert "next purchases, ndcg_at_10, control" not in hierarchy.report(
        {k: r for k, r in rows.items() if k != "plain-50-1"}
    )
