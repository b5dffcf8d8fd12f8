"""A model folder as MLflow's generic Python model: what `mlflow.pyfunc.load_model` calls. It imports no MLflow.

model = mlflow.pyfunc.load_model("models:/first/1")
model.predict(pandas.DataFrame({"userId": ["1", "2"]}), params={"k": 10})

A model that reads the time of a request is told it by a column REQUEST_TIME, in unix seconds, or in each row's context
as Amazon's runtime has it; where it is empty nobody knows the time.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hrnn_hpo.data.schema import id_text
from hrnn_hpo.errors import ConfigError, DataError, HRNNError
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.serving.times import CONTEXT, REQUEST_TIME, context_seconds, time_in_context

USER = "userId"  # as in Amazon's runtime


class PyfuncModel:
    """Recommends to the users of a table."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return for each row {"userId", "items", "scores"}, best item first: what `recommend` gives at that time.

        `model_input` is a table with a column userId, a mapping of such columns, or a sequence of such mappings or of
        user ids. When a user asks stands in a column REQUEST_TIME or in `context`, {"REQUEST_TIME": 1700000000}; empty
        is unknown. `params` may hold `k` (25). Raises DataError for what is no table, naming the row where no userId is
        given, for what is none, and for a time before the user's last event, ConfigError for a `k` that is no whole
        number from 1 to 500, for what is no time and for a model that does not read it.
        """
        rows = _rows(model_input)
        users, times = [_user(row, number) for number, row in enumerate(rows)], []
        for number, (row, user) in enumerate(zip(rows, users, strict=True)):
            try:
                times.append(_request_time(row))
                self._recommender.check_request(user, times[-1])
            except HRNNError as error:
                raise type(error)(f"Row {number}: {error}") from None
        items, scores = self._recommender.recommend_many(users, (params or {}).get("k", 25), times)
        answers = []
        for user, *best in zip(users, items, scores, strict=True):
            found = self._recommender.named(*best)
            answers.append({USER: user, "items": [one.item for one in found], "scores": [one.score for one in found]})
        return answers


def _load_pyfunc(path: str) -> PyfuncModel:
    """Return the model in a folder; the name is MLflow's."""
    return PyfuncModel(Recommender(load_model(Path(path))))


def _rows(model_input: Any) -> list[dict[str, Any]]:
    """Return the rows of what MLflow hands over. Raises DataError for what is no table."""
    from pandas import DataFrame, Series

    table = model_input
    if isinstance(table, Mapping):
        in_columns = isinstance(table.get(USER), list | tuple | np.ndarray | Series)
        try:
            table = DataFrame(dict(table)) if in_columns else [dict(table)]
        except ValueError as error:  # columns of different lengths
            raise DataError(f"The columns must make a table, but got: {error}.") from None
    if isinstance(table, DataFrame):
        rows: list[dict[str, Any]] = table.to_dict("records")
        return rows
    scalar = isinstance(table, str | bytes) or (isinstance(table, np.ndarray) and table.ndim == 0)
    if scalar or not isinstance(table, Iterable):
        raise DataError(
            f"A table with a column {USER}, or a sequence of user ids, must be given, but got {model_input!r:.80}."
        )
    return [row if isinstance(row, dict) else {USER: row} for row in table]


def _user(row: dict[str, Any], number: int) -> str:
    user = row.get(USER)
    if _is_empty(user):
        raise DataError(f"Every row must have a {USER}, but row {number} has none.")
    if isinstance(user, float | np.floating):  # "1.0" would be an unknown user, who gets what is popular
        raise DataError(
            f"{USER} must be text or a whole number, but row {number} has {user!r}. An empty cell makes a column of "
            "whole numbers one of floats: read it as text, as by `dtype=str`."
        )
    try:
        return id_text(user)
    except DataError:
        raise DataError(f"{USER} must be text or a whole number, but row {number} has {user!r:.80}.") from None


def _request_time(row: dict[str, Any]) -> int | None:
    """Return when the user of a row asks, in unix seconds; None where neither column nor context says it."""
    told, context = row.get(REQUEST_TIME), row.get(CONTEXT)
    inside = None
    if isinstance(context, dict):
        inside = time_in_context({CONTEXT: {name: value for name, value in context.items() if not _is_empty(value)}})
    elif not _is_empty(context):
        inside = time_in_context({CONTEXT: context})
    if _is_empty(told):
        return inside
    if inside is not None:
        raise DataError(f"The time must stand in the column {REQUEST_TIME} or in {CONTEXT}, but both have one.")
    try:
        return context_seconds(told)
    except ValueError as error:
        raise ConfigError(f"{REQUEST_TIME} {error}.") from None


def _is_empty(value: Any) -> bool:
    """Return whether a cell is empty, as pandas and JSON have it: None, NaN, NaT, NA, or no text."""
    from pandas import isna
    from pandas.api.types import is_scalar

    return (isinstance(value, str) and not value.strip()) or (is_scalar(value) and bool(isna(value)))
