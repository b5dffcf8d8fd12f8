"""The folder of `tune --out`: of one study alone, and what it holds is what is said of it."""

from pathlib import Path
from typing import Any

from shop import GOOD

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.folder import Written
from hrnn_hpo.study.tune import tune


def searched(shop: Dataset, space: SearchSpace, study: str = "s", **options: Any) -> StudyResult:
    return tune(shop, study=study, space=space, n_trials=2, enqueue=[GOOD], device="cpu", n_threads=1, **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_of_an_earlier_study_do_not_stay_beside_anothers(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = searched(shop, shop_space, confirm=1, confirm_seeds=2, out=out)
    assert first.written == Written(
        ("best.yaml", "model/", "trials.csv", "leaderboard.json", "confirmation.json"), "winner"
    )
    second = searched(shop, shop_space, "other", confirm=0, out=out)
    assert second.written.names == ("best.yaml", "model/", "trials.csv", "leaderboard.json")
    assert names(out) == {"best.yaml", "model", "trials.csv", "leaderboard.json"}


def test_a_confirmation_after_the_opening_leaves_the_model_of_the_test_figures_and_says_so(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    early = searched(shop, shop_space, confirm=0)
    assert early.outdated is None
    assert early.written == Written()
    late = searched(shop, shop_space, confirm=1, confirm_seeds=2, out=tmp_path / "late")
    assert late.leaderboard == early.leaderboard
    assert late.outdated is not None
    assert "as the search had trained it" in late.outdated
    assert late.written.model_of == "test figures"
    saved = load_model(tmp_path / "late" / "model")
    assert early.configuration is not None
    assert not saved.split.refit
    assert saved.configuration == early.configuration
    wanted = searched(shop, shop_space, ensemble=True, again=True, out=tmp_path / "again")
    assert (wanted.outdated, wanted.written.model_of) == (None, "winner")
    assert load_configuration(tmp_path / "again" / "best.yaml") == wanted.configuration


def test_an_ensemble_that_was_asked_for_too_late_is_told(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    searched(shop, shop_space, confirm=1, confirm_seeds=2)
    late = searched(shop, shop_space, ensemble=True)
    assert late.outdated is not None
    assert "the study had no ensemble; one of 2 refits was asked for since" in late.outdated


def test_a_folder_gets_no_other_model_where_this_machine_has_none(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path, home: Path
) -> None:
    searched(shop, shop_space, confirm=0)
    for folder in home.rglob("model"):
        folder.rename(folder.with_name("elsewhere"))
    result = searched(shop, shop_space, confirm=0, out=tmp_path / "out")
    assert result.written == Written(("best.yaml", "trials.csv", "leaderboard.json"), None)
    assert names(tmp_path / "out") == {"best.yaml", "trials.csv", "leaderboard.json"}
