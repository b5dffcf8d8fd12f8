"""What the hierarchy benchmark concludes from its rows."""

import hierarchy
import pytest


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
