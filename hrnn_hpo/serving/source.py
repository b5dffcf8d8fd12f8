"""Where a model comes from: a folder, or a `models:/` address in MLflow's registry."""

from pathlib import Path


def resolve_model(model: str, tracking_uri: str | None = None) -> Path:
    """Return the folder of a model named on a command line; a registered one is fetched from MLflow's artifacts."""
    if model.startswith("models:/"):
        from hrnn_hpo.tracking import download_model

        return download_model(model, tracking_uri)
    return Path(model)
