"""Samplers and pruners: names, seeds, and the right number of Hyperband brackets."""

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hrnn_hpo.config import LARGEST_SEED
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.propose.pruners import BY_USER, PRUNERS, Hyperband, count_brackets, make_pruner
from hrnn_hpo.study.propose.samplers import SAMPLERS, SeededSampler, make_sampler
from hrnn_hpo.study.seeds import ordinal, trial_seed
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial

FROZEN = {
    **dict.fromkeys(("value", "datetime_start", "datetime_complete")),
    **{name: {} for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values")},
    "state": TrialState.RUNNING,
    "trial_id": 0,
}


def quadratic(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    n = trial.suggest_int("n", 1, 9)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return -((x - 0.3) ** 2) - (n - 4) ** 2 - (kind == "a")


def run(storage: optuna.storages.BaseStorage, sampler: str, n_trials: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, direction="maximize", sampler=make_sampler(sampler, 7)
    )
    study.optimize(quadratic, n_trials=n_trials)
    return study


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cma-es", "gp"])
def test_a_resumed_study_proposes_what_an_undisturbed_one_does(sampler: str) -> None:
    n_trials = 14
    whole = run(optuna.storages.InMemoryStorage(), sampler, n_trials)
    storage = optuna.storages.InMemoryStorage()
    for part in (3, 9, 2):
        resumed = run(storage, sampler, part)
    assert [trial.params for trial in resumed.trials] == [trial.params for trial in whole.trials]
    assert len({str(trial.params) for trial in whole.trials}) == n_trials


def test_a_plain_seeded_sampler_repeats_itself_after_a_restart() -> None:
    storage = optuna.storages.InMemoryStorage()
    for _ in range(2):
        study = optuna.create_study(
            storage=storage, study_name="s", load_if_exists=True, sampler=optuna.samplers.RandomSampler(seed=7)
        )
        study.optimize(quadratic, n_trials=1)
    assert study.trials[0].params == study.trials[1].params  # the reason for SeededSampler


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cma-es", "gp"])
def test_the_largest_seed_of_a_study_is_one_for_every_sampler(sampler: str) -> None:
    study = optuna.create_study(sampler=make_sampler(sampler, LARGEST_SEED))
    study.optimize(quadratic, n_trials=2)
    assert len({str(trial.params) for trial in study.trials}) == 2


def test_other_study_seeds_propose_other_trials() -> None:
    studies = []
    for seed in (1, 2):
        study = optuna.create_study(sampler=make_sampler("random", seed))
        study.optimize(quadratic, n_trials=3)
        studies.append([trial.params for trial in study.trials])
    assert studies[0] != studies[1]


def test_a_retry_has_its_originals_ordinal_and_is_not_counted() -> None:
    study = optuna.create_study()
    for _ in range(3):
        study.ask()
    study.tell(1, state=TrialState.FAIL)
    retry_stale_trial(study, study.trials[1])  # becomes number 3
    study.ask()
    study.ask()
    assert [ordinal(study, trial) for trial in study.trials] == [0, 1, 2, 1, 3]


def test_qmc_points_fill_the_space_evenly() -> None:
    study = optuna.create_study(sampler=make_sampler("qmc", 3))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=17)
    points = sorted(trial.params["x"] for trial in study.trials[1:])  # the first is drawn before the space is known
    assert [int(point * 16) for point in points] == list(range(16))


def test_grid_tries_every_configuration_once_and_ends() -> None:
    study = optuna.create_study(sampler=make_sampler("grid", 3))
    study.optimize(lambda trial: trial.suggest_int("n", 1, 3) + trial.suggest_categorical("b", [0, 1]), n_trials=50)
    assert len(study.trials) == len({str(trial.params) for trial in study.trials}) == 6


def test_grid_over_a_continuum_is_refused(space: SearchSpace) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate"):
        make_sampler("grid", 0, space)


@pytest.mark.parametrize(
    ("max_epochs", "eta", "n"), [(1, 3, 1), (2, 3, 1), (3, 3, 2), (80, 3, 4), (81, 3, 5), (243, 3, 6), (1000, 10, 4)]
)
def test_brackets_are_counted_in_whole_numbers(max_epochs: int, eta: int, n: int) -> None:
    assert count_brackets(max_epochs, eta) == n


@pytest.mark.parametrize("max_epochs", [9, 27, 80])
def test_trials_lie_in_the_brackets_that_optuna_would_give_them(max_epochs: int) -> None:
    theirs = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max_epochs, reduction_factor=3)
    study = optuna.create_study(pruner=theirs, study_name="s")
    ours = Hyperband(max_epochs)
    found = set()
    for _ in range(60):
        trial = study.ask()
        trial.report(1.0, 0)
        trial.should_prune()  # this is when Optuna counts its brackets
        bracket = ours.bracket(study, trial.number)
        assert bracket == theirs._get_bracket_id(study, optuna.trial.FrozenTrial(**FROZEN | {"number": trial.number}))
        found.add(bracket)
    assert found == set(range(ours.n_brackets))


@pytest.mark.parametrize(("max_epochs", "n"), [(243, 6), (81, 5)])
def test_hyperband_has_a_bracket_for_every_power(max_epochs: int, n: int) -> None:
    ours = Hyperband(max_epochs)
    study = optuna.create_study(study_name="s")
    assert {ours.bracket(study, place) for place in range(2000)} == set(range(n))


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name not in BY_USER])  # they compare users
def test_every_pruner_but_none_cuts_hopeless_trials(pruner: str) -> None:
    study = optuna.create_study(direction="maximize", study_name="s", pruner=make_pruner(pruner, 9))
    states = []
    for number in range(12):
        trial = study.ask()
        pruned = False
        for epoch in range(9):
            trial.report(-float(number) - epoch, epoch)  # each trial is worse than all before it
            if trial.should_prune():
                pruned = True
                break
        study.tell(trial, None if pruned else -float(number), TrialState.PRUNED if pruned else TrialState.COMPLETE)
        states.append(pruned)
    assert any(states) == (pruner != "none")
    assert not states[0]


def test_hyperbands_sampler_sees_the_trials_of_all_brackets() -> None:
    seen: list[int] = []

    class Spy(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            seen.append(len(study.get_trials(deepcopy=False)))

    study = optuna.create_study(study_name="s", sampler=SeededSampler(lambda seed: Spy(seed), 0), pruner=Hyperband(27))
    study.optimize(lambda trial: 0.0, n_trials=4)
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("make", [lambda: make_sampler("tpee", 0), lambda: make_pruner("medain", 4)])
def test_an_unknown_name_is_refused_with_the_nearest_one(make: object) -> None:
    with pytest.raises(ConfigError, match=r"did you mean '(tpe|median)'"):
        make()  # type: ignore[operator]


def test_names_are_what_the_command_line_offers() -> None:
    assert SAMPLERS == ("tpe", "random", "gp", "qmc", "cma-es", "grid")
    assert all(make_sampler(name, 0) for name in SAMPLERS)


def test_trial_seeds_differ_by_study_trial_and_stream() -> None:
    seeds = {trial_seed(study, number, stream) for study in range(3) for number in range(3) for stream in range(2)}
    assert len(seeds) == 18


def test_tpe_draws_conditional_parameters_together_with_those_they_depend_on() -> None:
    space = load_space("hrnn")
    study = optuna.create_study(direction="maximize", sampler=make_sampler("random", 0))
    study.optimize(lambda trial: float(space.resolve(space.suggest(trial)).hidden_dimension), n_trials=12)
    halves = ["recency_half_life" in trial.params for trial in study.trials]
    assert any(halves)
    assert not all(halves)
    sampler = make_sampler("tpe", 0, space)
    trial = study._storage.get_trial(study.ask()._trial_id)
    sampler.before_trial(study, trial)
    assert "recency_half_life" in sampler.infer_relative_search_space(study, trial)


def test_what_is_outside_of_a_qmc_sequence_is_drawn_anew_for_each_trial_and_the_same_after_a_restart() -> None:
    def draw(trial: optuna.Trial) -> float:
        if trial.number > 0:  # the first trial lacks it, so the sequence does too
            trial.suggest_float("late", 0, 1)
        return trial.suggest_float("x", 0, 1)

    def drawn(*parts: int) -> list[Any]:
        study = optuna.create_study()
        for n_trials in parts:
            study.sampler = make_sampler("qmc", 3)
            study.optimize(draw, n_trials=n_trials)
        return [trial.params for trial in study.trials]

    assert drawn(3, 3, 3) == drawn(9)
    assert len({params["late"] for params in drawn(*[1] * 9)[1:]}) == 8
