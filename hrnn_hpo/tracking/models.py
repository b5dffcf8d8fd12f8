"""Models in MLflow: a study's winner as a logged and registered model, and the way back to its folder."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hrnn_hpo import __version__
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.stores import sqlite_file, tracking_address, without_password
from hrnn_hpo.tracking.search import matching, query
from hrnn_hpo.tracking.store import default_store, first_line, quiet, rebase_artifacts

N_NAMED = 10  # registered models that a refusal names
PYFUNC_LOADER = "hrnn_hpo.serving.pyfunc_model"


def register(
    client: Any, experiment: str, uri: str, runs: Sequence[str], name: str, folder: Path, tags: Mapping[str, str]
) -> None:
    """Register a model folder as the next version of `name`, and as the output of runs, whose first one made it.

    A version that carries these tags stays as it is. Where the name's versions are another study's, of the same name in
    another storage or at another time, digits of this one's uid are added to it.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    run_id = runs[0]
    name = _own_name(client, name, tags.get("study_uid"))
    known = matching(client.search_model_versions(query(tags)), tags)
    if any(version.name == name for version in known):
        return
    signature = ModelSignature(params=ParamSchema([ParamSpec("k", "long", 25)]))  # without, MLflow drops `params`
    with default_store(uri):
        model = client.create_logged_model(
            experiment, name=re.sub(r"[^\w -]", "_", name), source_run_id=run_id, tags=dict(tags)
        )
        with tempfile.TemporaryDirectory() as parent:
            packed = Path(parent) / "packed"
            mlflow.pyfunc.save_model(
                path=packed,
                loader_module=PYFUNC_LOADER,
                data_path=str(folder),
                mlflow_model=Model(run_id=run_id, model_id=model.model_id),
                signature=signature,
                pip_requirements=[f"hrnn-hpo=={__version__}"],
            )
            client.log_model_artifacts(model.model_id, str(packed))
        client.finalize_logged_model(model.model_id, "READY")
        for run in runs:
            client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
        source = f"models:/{model.model_id}"
        version = client.create_model_version(
            name, source=source, run_id=run_id, model_id=model.model_id, tags=dict(tags)
        )
        # MLflow's tables find the registered model of a logged one by this tag.
        link = json.dumps([{"name": name, "version": version.version}])
        client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": link})


def _own_name(client: Any, name: str, uid: str | None) -> str:
    """Return the name of a registered model that holds the versions of one study alone, made where it is missing."""
    from mlflow.exceptions import MlflowException

    for candidate in (name, f"{name}-{(uid or '')[:8]}"):
        try:
            there = client.get_registered_model(candidate)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(candidate, tags=None if uid is None else {"study_uid": uid})
            return candidate
        versions = there.latest_versions or []  # what version 0.1.0 registered carries the uid there alone
        owners = {there.tags.get("study_uid"), *(version.tags.get("study_uid") for version in versions)} - {None}
        if uid is None or not owners or uid in owners:
            return candidate
    return f"{name}-{uid}"


def download_model(address: str, uri: str | None = None) -> Path:
    """Return the model folder of a registered model, `models:/name/version` or `models:/name@alias`.

    Raises ConfigError when the registry does not hold it.
    """
    import mlflow

    store = tracking_address(uri)
    file = sqlite_file(store)
    if file is not None and not file.exists():
        raise ConfigError(
            f"{address}: there is no MLflow store at {file}; `hrnn-hpo tune` makes one, --tracking-uri names another."
        )
    try:
        if file is not None:
            rebase_artifacts(file)
        with quiet(), default_store(store):
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
        packed = folder / "MLmodel"
        if not packed.is_file():
            return folder
        content = yaml.safe_load(packed.read_text(encoding="utf-8"))
        return folder / str(content["flavors"]["python_function"]["data"])
    except Exception as error:
        raise ConfigError(
            f"{address}: cannot be fetched from {without_password(store)} ({first_line(error).rstrip('.')}). An "
            f"address is models:/NAME/VERSION or models:/NAME@ALIAS{_registered(store)}."
        ) from error


def _registered(store: str) -> str:
    """Return in words which models a store has, as far as it can be asked."""
    from mlflow import MlflowClient

    try:
        with quiet():
            found = MlflowClient(store, store).search_registered_models(max_results=N_NAMED + 1)
    except Exception:
        return ""
    names = [one.name for one in found[:N_NAMED]]
    more = ", …" if len(found) > N_NAMED else ""
    return f"; registered there: {', '.join(names)}{more}" if names else "; no model is registered there"
