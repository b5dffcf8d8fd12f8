"""`hrnn-hpo recommend`: the best items for one user."""

from typing import Annotated

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table


def recommend(
    model: options.Model,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="USER_ID; an unknown one gets the popular items.")],
    k: Annotated[int, typer.Option("--k", min=1, max=500, help="How many items.")] = 25,
    seen: options.Seen = "auto",
    tracking_uri: options.TrackingUri = None,
    json: options.Json = False,
) -> None:
    """Recommend items to one user, best first; scores are probabilities over the whole catalogue.

    Example:

      hrnn-hpo recommend models/best --user 42 --k 10
    """
    from hrnn_hpo.model.folder import load_model
    from hrnn_hpo.serving.recommender import Recommender
    from hrnn_hpo.serving.source import resolve_model

    recommender = Recommender(load_model(resolve_model(model, tracking_uri)), None if seen == "auto" else seen)
    known = recommender.knows(user)
    items = recommender.recommend(user, k)
    if json:
        print_json(
            {"user": user, "known": known, "items": [{"item": entry.item, "score": entry.score} for entry in items]}
        )
        return
    if not known:
        console.print(f"User {user!r} has no history in this model: these are the popular items.", style="yellow")
    print_table(
        f"Items for user {user}",
        ["rank", "item", "score"],
        [[rank, entry.item, entry.score] for rank, entry in enumerate(items, start=1)],
    )
