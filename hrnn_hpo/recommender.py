"""HRNNRecommender: the model as scikit-learn's users expect it, with `fit`, `recommend`, `score` and parameters.

It adds nothing to `train`, `evaluate` and `recommend` but their dress: tables in, tables out.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hrnn_hpo.api import TrainedModel, evaluate, recommender_of, train
from hrnn_hpo.config import Configuration, Hyperparameters, parse_configuration
from hrnn_hpo.data.schema import Dataset, id_text
from hrnn_hpo.errors import DataError
from hrnn_hpo.serving.times import TimeLike, request_seconds
from hrnn_hpo.settings import nearest

# Which columns hold what, as in `train`; None leaves a column out unless it has our own name.
_COLUMNS = {
    "user": "USER_ID",
    "item": "ITEM_ID",
    "time": "TIMESTAMP",
    "event_type": None,
    "event_value": None,
    "session": None,
}
_RUN = {"protocol": "personalize", "split_seed": 0, "seed": 0, "n_threads": None}
_WHERE = {"device": "auto", "seen": "auto"}
_DEFAULTS: dict[str, Any] = {**_COLUMNS, **_RUN, **_WHERE, **Hyperparameters().model_dump()}


class HRNNRecommender(BaseEstimator):  # type: ignore[misc]
    """A recommender that learns from a table of events, one row each.

    Every hyperparameter of `Hyperparameters` is a keyword with its default, and so are the columns (`user`, `item`,
    `time`, `event_type`, `event_value`, `session`), `protocol`, `split_seed`, `seed`, `n_threads`, `device` and `seen`.
    As everywhere in scikit-learn they are kept as given, and checked by `fit`. Protocol `none` has nobody to stop by:
    it trains for `epochs` epochs. Give it as many as a fit with another protocol found best (`best_epoch_`).

    After `fit`: `model_`, a TrainedModel; `metrics_`, its validation metrics; `best_epoch_`; `n_items_`, `n_users_`.

    >>> recommender = HRNNRecommender(user="userId", item="movieId", time="timestamp", hidden_dimension=64)
    >>> recommender.get_params()["hidden_dimension"]
    64
    """

    def __init__(self, **parameters: Any) -> None:
        unknown = [name for name in parameters if name not in _DEFAULTS]
        if unknown:
            hint = nearest(unknown[0], _DEFAULTS) or "."
            raise TypeError(f"{type(self).__name__} has no parameter {unknown[0]!r}{hint}")
        for name, default in _DEFAULTS.items():
            setattr(self, name, parameters.get(name, default))

    def fit(self, X: Any, y: object = None) -> "HRNNRecommender":
        """Train on a DataFrame, a file or folder of events, or a Dataset; return self.

        Validation and test users are held back as `protocol` says. `y` is not used. Raises DataError and ConfigError
        for events and parameters that break a rule.
        """
        given = self.get_params(deep=False)
        values = {
            **{name: given[name] for name in _RUN},
            "hyperparameters": {name: given[name] for name in Hyperparameters.model_fields},
        }
        configuration: Configuration = parse_configuration(values, type(self).__name__)
        self.model_: TrainedModel = train(
            X, configuration=configuration, device=given["device"], seen=given["seen"], **self._reading(X)
        )
        dataset = self.model_.experiment.dataset
        self.metrics_ = self.model_.metrics
        self.best_epoch_ = self.model_.result.best_epoch
        self.n_users_, self.n_items_ = dataset.n_users, dataset.n_items
        self._user_dtype, self._item_dtype = (
            _whole_numbers(X, given[name], _COLUMNS[name]) for name in ("user", "item")
        )
        return self

    def recommend(self, users: Any = None, k: int = 10, at: TimeLike = None) -> pd.DataFrame:
        """Return the `k` best items of each user: a table of user, item, score and rank, best first.

        `users` is one user or several, all of the log unless given; one that the log does not have gets the popular
        items. `at` is when they ask, as in `hrnn_hpo.recommend`, for a model that reads `request_time`. Where X had
        whole numbers for items, or for users, the table has them too; users that are given stay as they are. Raises
        NotFittedError before `fit`, DataError for what is no user and for a time before a user's last event,
        ConfigError for what is no time or is not read.
        """
        check_is_fitted(self, "model_")
        recommender = recommender_of(self.model_)
        names = recommender.saved.histories
        everybody = pd.Series(names.user_ids.astype(object), dtype=object).astype(self._user_dtype)
        asked = list(everybody if users is None else _each(users))
        time = request_seconds(at)
        items, scores = recommender.recommend_many([id_text(user) for user in asked], k, [time] * len(asked))
        found = items >= 0  # (R, k); -1 pads
        rows, places = np.nonzero(found)
        chosen = pd.Series(names.item_ids[items[found]].astype(object), dtype=object)
        return pd.DataFrame(
            {
                "user": pd.Series([asked[row] for row in rows]),
                "item": chosen.astype(self._item_dtype),
                "score": scores[found],
                "rank": places + 1,
            }
        )

    def score(self, X: Any, y: object = None) -> float:
        """Return ndcg_at_10 on the held-out truth of X, the log that `fit` had: of its test users' newest events.

        Each call opens the test users; `model_.saved.split.test_openings` counts. Raises NotFittedError before `fit`,
        ModelError for another log.
        """
        check_is_fitted(self, "model_")
        result = evaluate(self.model_, X, again=True, device=self.get_params()["device"], **self._reading(X))
        return result.model.metrics["ndcg_at_10"]

    def _reading(self, X: Any) -> dict[str, Any]:
        """Return what says how to read X: the columns, where they are not what a log of ours has."""
        if isinstance(X, Dataset):
            return {}
        given = self.get_params(deep=False)
        return {name: given[name] for name, default in _COLUMNS.items() if given[name] not in (None, default)}


def _each(users: Any) -> Iterable[Any]:
    """Return users one by one, a single one as itself."""
    if isinstance(users, pd.DataFrame):
        raise DataError("`users` must be one user or several, such as a column, but got a DataFrame.")
    return [users] if isinstance(users, str) or np.ndim(users) == 0 else users


def _whole_numbers(X: Any, column: Any, usual: Any) -> Any:
    """Return the type of a table's column of whole numbers, those of its categories included; else `str`.

    The column is the one with our own name, `usual`, unless it is given.
    """
    if not isinstance(X, pd.DataFrame):
        return str
    labels = [str(label) for label in X.columns]
    name = str(usual if column is None else column)
    dtype = X.iloc[:, labels.index(name) if name in labels else int(name) - 1].dtype  # a number counts from 1
    dtype = getattr(dtype, "categories", pd.Index([], dtype=object)).dtype if dtype.name == "category" else dtype
    return getattr(dtype, "numpy_dtype", dtype) if pd.api.types.is_integer_dtype(dtype) else str


_SIGNATURE = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
_SIGNATURE += [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in _DEFAULTS.items()
]
# scikit-learn reads an estimator's parameters, and notebooks their completions, from the signature.
setattr(HRNNRecommender.__init__, "__signature__", inspect.Signature(_SIGNATURE))  # noqa: B010 (mypy knows no such attribute)
