"""A small study with a screening, for tests of it."""

from typing import Any

from optuna.study import Study

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirmation import Confirmation
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

# A study with rounds: 6 trials, of which 4 are screened; arithmetic in place of training.


def searched(log: Dataset, space: SearchSpace | None, **options: Any) -> StudyResult:
    first: dict[str, Any] = {"pruner": "none", "sampler": "random", "seed": 3} if space is not None else {}
    return tune(log, study="four", space=space, n_trials=6, **(first | options))


def companion() -> Study:
    found = companion_of(load_study("four", open_storage()), open_storage())
    assert found is not None
    return found


def verdict_of(result: StudyResult) -> Confirmation:
    assert result.confirmation is not None
    return result.confirmation
