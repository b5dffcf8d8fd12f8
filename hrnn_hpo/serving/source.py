"""Where a model comes from: a folder, or a `models:/` address in MLflow's registry."""

from pathlib import Path

import torch

from hrnn_hpo.model.folder import SavedModel, load_model


def resolve_model(model: str, tracking_uri: str | None = None) -> Path:
    """Return the folder of a model named on a command line; a registered one is fetched from MLflow's artifacts."""
    if model.startswith("models:/"):
        from hrnn_hpo.tracking import download_model

        return download_model(model, tracking_uri)
    return Path(model)


def open_model(model: SavedModel | str | Path, device: torch.device | None = None) -> SavedModel:
    """Return the model in a folder or at a `models:/` address; one that is loaded already stays as it is."""
    return model if isinstance(model, SavedModel) else load_model(resolve_model(str(model)), device)
