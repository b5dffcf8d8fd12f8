"""Tuned, session-aware recurrent recommendations: the open successor to Amazon Personalize's HRNN recipe.

The public names. Each is loaded when it is first asked for, so that `import hrnn_hpo` takes a few milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hrnn_hpo.cores import prepare_openmp

if TYPE_CHECKING:
    from hrnn_hpo import errors
    from hrnn_hpo.api import TestResult, TrainedModel, evaluate, recommend, train
    from hrnn_hpo.config import Configuration, Hyperparameters, load_configuration
    from hrnn_hpo.data.prepared import load_dataset
    from hrnn_hpo.data.schema import Dataset
    from hrnn_hpo.recommender import HRNNRecommender
    from hrnn_hpo.search.space import SearchSpace, load_space
    from hrnn_hpo.studies import load_study, trials_dataframe
    from hrnn_hpo.study.compare.compare import Comparison, compare
    from hrnn_hpo.study.request.request import StudyRequest
    from hrnn_hpo.study.result import StudyResult
    from hrnn_hpo.study.tune import tune

__version__ = "0.2.0"
__all__ = [
    "Comparison",
    "Configuration",
    "Dataset",
    "HRNNRecommender",
    "Hyperparameters",
    "SearchSpace",
    "StudyRequest",
    "StudyResult",
    "TestResult",
    "TrainedModel",
    "__version__",
    "compare",
    "errors",
    "evaluate",
    "load_configuration",
    "load_dataset",
    "load_space",
    "load_study",
    "recommend",
    "train",
    "trials_dataframe",
    "tune",
]

_PLACES = {
    "api": ("TestResult", "TrainedModel", "evaluate", "recommend", "train"),
    "config": ("Configuration", "Hyperparameters", "load_configuration"),
    "data.prepared": ("load_dataset",),
    "data.schema": ("Dataset",),
    "recommender": ("HRNNRecommender",),
    "search.space": ("SearchSpace", "load_space"),
    "studies": ("load_study", "trials_dataframe"),
    "study.compare.compare": ("Comparison", "compare"),
    "study.request.request": ("StudyRequest",),
    "study.result": ("StudyResult",),
    "study.tune": ("tune",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _PLACES.items() for name in names}

prepare_openmp()  # before anything can load PyTorch


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
