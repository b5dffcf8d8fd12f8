"""Nothing was chosen by the users who judge: they are held back from the search, or "yes" is not said. Real models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shop import GOOD

from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import compare_baselines, evaluate_model, prepare_experiment, run_experiment
from hrnn_hpo.experiment import test_part as part_for_tests
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CANDIDATE, CONFIGURATION, FIGURES
from hrnn_hpo.study.confirm.agenda import confirmation_runs, screening_runs
from hrnn_hpo.study.confirm.figures import from_text
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirmation import EARLIER_VERSION, Confirmation
from hrnn_hpo.study.report.report import report
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.export import export, render
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import read_confirmation
from hrnn_hpo.study.tune import tune


@pytest.fixture(scope="module")
def town() -> Dataset:
    """Two hundred and twenty users: enough validation users for some to be held back."""
    return markov(n_users=220, n_items=20, n_events=8)


def confirmed(data: Dataset, space: SearchSpace | None, **options: Any) -> StudyResult:
    usual: dict[str, Any] = {"n_trials": 2, "enqueue": [GOOD], "confirm": 1, "confirm_seeds": 2}
    usual |= {"protocol": "leave-one-out"} if space is not None else {}
    return tune(data, study="s", space=space, **(usual | {"device": "cpu", "n_threads": 1} | options))


def found() -> Confirmation:
    confirmation = read_confirmation(load_study("s", open_storage()))
    assert confirmation is not None
    return confirmation


def test_held_back_users_judge_the_confirmation_and_choose_nothing(
    town: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    result = confirmed(town, shop_space)
    assert result.record.n_held_back == 100
    study = load_study("s", open_storage())
    split = make_split(town, "leave-one-out", 0, n_held_back=100)
    assert split.held_back is not None
    assert split.validation is not None
    # The search validates on the others, and the exported file repeats its figures to the last digit.
    configuration = load_configuration(export("s", tmp_path / "best.yaml"))
    assert configuration.n_held_back == 100
    experiment = prepare_experiment(town, configuration, result.record.seen)
    assert experiment.split.validation is not None
    assert experiment.split.validation.users.tolist() == split.validation.users.tolist()
    assert run_experiment(experiment, device="cpu").metrics["ndcg_at_10"] == result.best_value
    # A confirmation's run stops by the search's users and is judged on the held-back ones.
    companion = companion_of(study, open_storage())
    assert companion is not None
    run = next(run for run in confirmation_runs(companion) if run.user_attrs[CANDIDATE] == 1)
    experiment = prepare_experiment(town, Configuration.model_validate(run.user_attrs[CONFIGURATION]), "keep")
    trained = run_experiment(experiment, device="cpu")
    judged = evaluate_model(trained.model, experiment, split.held_back).per_user["ndcg_at_10"]
    assert from_text(run.user_attrs[FIGURES]["users"], np.int64).tolist() == split.held_back.users.tolist()
    assert from_text(run.user_attrs[FIGURES]["figures"], np.float64).tolist() == judged.tolist()
    assert run.value == judged.mean() != trained.metrics["ndcg_at_10"]
    assert (found().verdict, found().doubt, found().n_users) == ("yes", None, 100)


def test_screening_never_sees_the_users_who_judge(
    town: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: dict[str, Any] = {"hidden_dimension": 16, "learning_rate": 0.003}
    confirmed(town, shop_space, n_trials=3, enqueue=[GOOD, other], screen=2)
    companion = companion_of(load_study("s", open_storage()), open_storage())
    assert companion is not None
    runs = screening_runs(companion)
    assert len(runs) == 2
    for run in runs:
        experiment = prepare_experiment(town, Configuration.model_validate(run.user_attrs[CONFIGURATION]), "keep")
        assert (
            run.value == run_experiment(experiment, device="cpu").metrics["ndcg_at_10"]
        )  # of those left to the search
        assert FIGURES not in run.user_attrs
    assert found().verdict == "yes"


def test_the_refit_and_the_baselines_learn_from_all_validation_users(
    town: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    result = confirmed(town, shop_space)
    board = result.leaderboard
    assert board is not None
    assert board.refit
    held = Configuration(protocol="leave-one-out", n_held_back=100)
    whole = prepare_experiment(town, held, result.record.seen, refit=True)
    searched = prepare_experiment(town, held, result.record.seen)
    rows = {
        name: compare_baselines(experiment, part_for_tests(experiment))
        for name, experiment in (("whole", whole), ("searched", searched))
    }
    assert board.constants == rows["whole"].constants == rows["searched"].constants  # validation users chose them
    for name, metrics in rows["whole"].metrics.items():
        assert board.metrics[name] == metrics, name
    differ = [name for name, metrics in rows["searched"].metrics.items() if board.metrics[name] != metrics]
    assert {"popularity", "item_knn"} <= set(differ)  # what a baseline that was not refitted would show


def test_the_refit_trains_on_the_events_of_held_back_users(town: Dataset) -> None:
    plain = Configuration(protocol="leave-one-out")
    held = plain.model_copy(update={"n_held_back": 100})
    ours, theirs = (prepare_experiment(town, one, refit=True).split.train for one in (held, plain))
    assert ours.users.tolist() == theirs.users.tolist()
    assert ours.stops.tolist() == theirs.stops.tolist()


def test_too_few_users_to_hold_back_leave_the_verdict_open_everywhere(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = confirmed(shop, shop_space, confirm_seeds=4)
    assert "will not be able to call the winner better" in caplog.text
    assert result.record.n_held_back == 0
    assert found().verdict == "undecided"
    assert found().contender(1).low > 0  # type: ignore[operator]  # the runs alone would say yes
    doubt = found().doubt
    assert doubt is not None
    assert "fewer than 200 validation users" in doubt
    assert f"It cannot be yes: {doubt}." in render(load_study("s", open_storage()))
    assert status("s").confirmation["doubt"] == doubt  # type: ignore[index]
    [parent] = tracker.by_role("study")
    assert (parent["tags"]["verdict"], parent["tags"]["verdict_doubt"]) == ("undecided", doubt)
    page = report("s", tmp_path / "report.html").read_text("utf-8")
    assert "It cannot be yes" in page


def test_a_study_of_an_earlier_version_goes_on_as_it_began_without_a_yes(
    town: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hrnn_hpo.study.request.check.n_to_hold_back", lambda split: None)  # what a record of 0.1.0 says
        confirmed(town, shop_space, confirm=0, n_trials=1, enqueue=())
    confirmed(town, None, enqueue=[GOOD])
    assert load_study("s", open_storage()).trials[1].user_attrs[CONFIGURATION].get("n_held_back") is None
    assert (found().verdict, found().doubt, found().n_users) == ("undecided", EARLIER_VERSION, 220)


def test_more_seeds_are_a_second_look_and_the_same_command_is_none(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    confirmed(shop, shop_space, protocol="personalize")
    for n_seeds, look, alpha in ((None, 1, 0.05), (3, 2, 0.025), (3, 2, 0.025)):
        confirmed(shop, None, enqueue=(), confirm_seeds=n_seeds, confirm=None)
        assert (found().look, found().alpha) == (look, alpha)
    assert [one.n_seeds for one in found().looks] == [2, 3]
    assert found().interval == "97.5 % interval"
    [parent] = tracker.by_role("study")
    assert parent["tags"]["verdict_look"] == "2"
    assert replace(found(), time=0.0).content()["looks"][1]["alpha"] == 0.025
