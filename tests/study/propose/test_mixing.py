"""Priors in a search: shares that follow what trials bring, remembered sources, and the same proposals after a stop."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from study_fakes import FakeTracker

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.studies import trials_dataframe
from hrnn_hpo.study.attributes import PROPOSED_BY
from hrnn_hpo.study.propose.mixing import FIRST_SHARES, shares
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

SPACE = """# A space for tests.
parameters:
  hidden_dimension: {kind: algorithm, type: integer, range: [8, 512], log: true, default: 256, prior: {center: CENTER}}
  learning_rate:
    kind: training
    type: continuous
    range: [0.0001, 0.1]
    log: true
    default: 0.0001
    prior: {center: RATE, width: 0.1}
  output_dropout: {kind: algorithm, type: continuous, range: [0.0, 0.6], default: 0.6, prior: {center: DROPOUT}}
fix: {epochs: 4, bptt: 16}
"""
GOOD = {"CENTER": "40", "RATE": "0.01", "DROPOUT": "0.2"}
BAD = {"CENTER": "500", "RATE": "0.0001", "DROPOUT": "0.6"}


def space(tmp_path: Path, prior: dict[str, str]) -> SearchSpace:
    text = SPACE
    for name, value in prior.items():
        text = text.replace(name, value)
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    return load_space(tmp_path / "space.yaml")


def done(value: float, source: str | None = None, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(state=state, value=value, user_attrs={} if source is None else {PROPOSED_BY: source})


def test_a_source_loses_half_its_share_by_a_trial_below_the_median() -> None:
    assert shares([]) == {"prior": 0.5, "incumbent": 0.0}  # nothing to search around yet
    trials = [done(0.5), done(0.4, "prior")]
    assert shares(trials)["prior"] == 0.25
    trials += [done(0.1, "prior", TrialState.PRUNED)]
    assert shares(trials)["prior"] == 0.125
    trials += [done(0.9, "prior"), done(0.8, "sampler")]
    assert shares(trials)["prior"] == pytest.approx(0.125 * math.sqrt(2))
    assert shares(trials)["incumbent"] == FIRST_SHARES["incumbent"]
    trials += [done(0.9, "prior")] * 9
    assert shares(trials)["prior"] == FIRST_SHARES["prior"]  # and never more
    trials += [done(0.0, "incumbent")]
    assert shares(trials)["incumbent"] == FIRST_SHARES["incumbent"] / 2


def score(values: dict[str, Any]) -> float:
    """Return the score of a configuration: best at what GOOD says."""
    apart = (math.log(values["hidden_dimension"] / 40) / 2) ** 2 + math.log10(values["learning_rate"] / 0.01) ** 2
    return -apart - ((values["output_dropout"] - 0.2) / 0.3) ** 2


def trials_to(target: float, made: SearchSpace, seed: int, *, priors: bool, sampler: str = "tpe") -> int:
    """Return how many trials a search takes until one scores `target`, 60 for never."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, seed, made, priors=priors))
    for n in range(1, 60):
        trial = study.ask()
        value = score(made.suggest(trial))
        study.tell(trial, value)
        if value >= target:
            return n
    return 60


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_good_prior_halves_the_trials_and_a_bad_one_costs_few(tmp_path: Path, sampler: str) -> None:
    good, bad = space(tmp_path, GOOD), space(tmp_path, BAD)
    taken: dict[str, list[int]] = {"without": [], "good": [], "bad": []}
    for seed in range(6):
        taken["without"].append(trials_to(-0.25, good, seed, priors=False, sampler=sampler))
        taken["good"].append(trials_to(-0.25, good, seed, priors=True, sampler=sampler))
        taken["bad"].append(trials_to(-0.25, bad, seed, priors=True, sampler=sampler))
    assert np.mean(taken["good"]) <= np.mean(taken["without"]) / 2
    assert np.mean(taken["bad"]) <= np.mean(taken["without"]) + 10


def test_a_trial_that_ends_while_another_is_proposed_changes_nothing_in_between(tmp_path: Path) -> None:
    """Optuna asks a sampler for the names first and for the values then: both come from one source."""
    made = space(tmp_path, GOOD)
    sampler = make_sampler("tpe", 0, made)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([done(0.5), done(0.6), done(0.7)])
    together = type(sampler).infer_relative_search_space
    ended: list[int] = []

    def infer_while_others_end(self: Any, *args: Any) -> Any:
        found = together(self, *args)
        study.add_trials([done(0.1, "prior")] * 4)  # in another worker, all at the prior's cost
        ended.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(sampler), "infer_relative_search_space", infer_while_others_end)
        for n in range(8):
            with pytest.MonkeyPatch.context() as fresh:
                fresh.setattr("hrnn_hpo.study.propose.mixing.FIRST_SHARES", {"prior": 0.9**n, "incumbent": 0.0})
                trial = study.ask()
            made.suggest(trial)  # Optuna refuses values of names that were not asked for
            study.tell(trial, 0.5)
    assert set(ended) == {0, len(made.searched)}  # the sampler, which names nothing, and the prior


@pytest.mark.usefixtures("tracker", "fake_experiment")
@pytest.mark.parametrize(
    ("sampler", "deterministic"), [("tpe", False), ("tpe", True), ("random", False), ("gp", False), ("qmc", False)]
)
def test_of_several_objectives_the_first_one_moves_the_shares(
    log: Dataset, tmp_path: Path, sampler: str, deterministic: bool
) -> None:
    common: dict[str, Any] = {"space": space(tmp_path, GOOD), "seed": 3, "n_trials": 14, "sampler": sampler}
    result = tune(log, study="s", objective=["ndcg_at_10", "seconds"], deterministic=deterministic, **common)
    assert (result.trials.complete, result.trials.failed) == (14, 0)
    found = {trial.user_attrs.get(PROPOSED_BY) for trial in last_attempts(load_study("s", open_storage()))}
    assert found >= {None, "prior", "incumbent", "sampler"}


@pytest.mark.usefixtures("tracker", "fake_experiment")
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_study_stopped_between_trials_proposes_the_same(log: Dataset, tmp_path: Path, deterministic: bool) -> None:
    made = space(tmp_path, GOOD)
    common: dict[str, Any] = {"space": made, "confirm": 0, "seed": 3, "deterministic": deterministic}
    tune(log, study="whole", n_trials=14, **common)
    for n_trials in (3, 9, 14):
        tune(log, study="parts", n_trials=n_trials, **common)
    whole, parts = (
        [(t.params, t.user_attrs.get(PROPOSED_BY), t.value) for t in last_attempts(load_study(name, open_storage()))]
        for name in ("whole", "parts")
    )
    assert parts == whole
    assert {source for _, source, _ in whole} >= {None, "prior", "sampler"}  # the defaults are nobody's
    assert list(trials_dataframe("whole")["proposed_by"])[1:] == [source for _, source, _ in whole[1:]]


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_priors_can_be_left_out_and_that_stays(log: Dataset, tmp_path: Path) -> None:
    made = space(tmp_path, GOOD)
    tune(log, study="s", space=made, n_trials=4, confirm=0, priors=False)
    tune(log, study="s", space=made, n_trials=8, confirm=0)
    assert not any(PROPOSED_BY in trial.user_attrs for trial in load_study("s", open_storage()).trials)
    with pytest.raises(StudyError, match="priors: False -> True"):
        tune(log, study="s", n_trials=9, priors=True)


def test_a_study_goes_on_with_the_priors_that_it_began_with(
    log: Dataset, tmp_path: Path, fake_experiment: Any, tracker: FakeTracker, caplog: pytest.LogCaptureFixture
) -> None:
    tune(log, study="s", space=space(tmp_path, GOOD), n_trials=2, confirm=0)
    tune(log, study="s", space=space(tmp_path, BAD), n_trials=3, confirm=0)
    assert "goes on with the priors that it began with" in caplog.text
