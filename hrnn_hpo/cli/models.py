"""What the commands that answer with a model share: opening it, and saying what its histories lack."""

from typing import TYPE_CHECKING, Literal

from hrnn_hpo.cli.output import print_note

if TYPE_CHECKING:
    from hrnn_hpo.serving.recommender import Recommender


def open_recommender(model: str, tracking_uri: str | None, seen: Literal["auto", "remove", "keep"]) -> "Recommender":
    """Return the recommender of a model folder or of a registered model."""
    from hrnn_hpo.model.folder import load_model
    from hrnn_hpo.serving.recommender import Recommender
    from hrnn_hpo.serving.source import resolve_model

    saved = load_model(resolve_model(model, tracking_uri))
    if saved.split.protocol != "none":
        print_note(
            f"trained under the protocol {saved.split.protocol}, so the histories of evaluated users end where their "
            "held-back events begin. For deployment, train with --protocol none."
        )
    return Recommender(saved, None if seen == "auto" else seen)
