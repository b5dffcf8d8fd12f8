"""A model folder as MLflow's generic Python model: what `mlflow.pyfunc.load_model` calls. It imports no MLflow.

model = mlflow.pyfunc.load_model("models:/first/1")
model.predict(pandas.DataFrame({"userId": ["1", "2"]}), params={"k": 10})
"""

from pathlib import Path
from typing import Any

from hrnn_hpo.errors import DataError
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.serving.recommender import Recommender

USER = "userId"  # as in Amazon's runtime


class PyfuncModel:
    """Recommends to the users of a table."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return for each row {"userId", "items", "scores"}, best item first.

        `model_input` is a table with a column userId, or a sequence of such mappings or of user ids; `params` may
        hold `k` (25). Raises DataError where no userId is given.
        """
        users = _users(model_input)
        items, scores = self._recommender.recommend_many(users, int((params or {}).get("k", 25)))
        answers = []
        for user, *best in zip(users, items, scores, strict=True):
            found = self._recommender.named(*best)
            answers.append({USER: user, "items": [one.item for one in found], "scores": [one.score for one in found]})
        return answers


def _load_pyfunc(path: str) -> PyfuncModel:
    """Return the model in a folder; the name is MLflow's."""
    return PyfuncModel(Recommender(load_model(Path(path))))


def _users(model_input: Any) -> list[str]:
    rows = model_input.to_dict("records") if hasattr(model_input, "to_dict") else list(model_input)
    users = [row.get(USER) if isinstance(row, dict) else row for row in rows]
    if any(user is None for user in users):
        raise DataError(f"Every row must have a {USER}, but row {users.index(None)} has none.")
    return [str(user) for user in users]
