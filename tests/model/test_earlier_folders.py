"""Model folders that version 0.1.0 wrote answer as they did."""

import json
from pathlib import Path

import pytest
from earlier_stores import unpack

from hrnn_hpo.api import evaluate, recommend
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.metrics import APART_METRICS
from hrnn_hpo.model.folder import load_model


def test_a_model_folder_recommends_what_it_did(tmp_path: Path) -> None:
    folder = unpack("model", tmp_path)
    told = json.loads((folder / "recommended.json").read_text(encoding="utf-8"))
    found = recommend(folder / "model", told["user"], k=3)
    assert [one.item for one in found] == [one["item"] for one in told["items"]]
    assert [one.score for one in found] == pytest.approx([one["score"] for one in told["items"]], rel=1e-4)

    assert load_model(folder / "model").configuration.hyperparameters.request_time == "none"
    with pytest.raises(ConfigError, match="does not read the time of a request"):
        recommend(folder / "model", told["user"], at="now")


def test_a_studys_model_is_evaluated_as_it_was(tmp_path: Path) -> None:
    folder = unpack("study", tmp_path)
    told = json.loads((folder / "evaluated.json").read_text(encoding="utf-8"))
    model = next((folder / "mlruns" / "artifacts" / "models").glob("*/artifacts/data/model"))
    found = evaluate(model, folder / "log", again=True)
    assert (found.n_users, found.seen, found.n_openings) == (told["n_users"], told["seen"], told["n_openings"])
    metrics = found.model.metrics
    assert {name: metrics[name] for name in told["metrics"]} == pytest.approx(told["metrics"], rel=1e-4)
    assert metrics.keys() - told["metrics"].keys() == set(APART_METRICS)  # which came later
    assert load_model(model).split.test_openings == told["n_openings"]
