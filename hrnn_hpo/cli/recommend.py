"""`hrnn-hpo recommend`: the best items for one user."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table, results

N_EXPLAINED = 20


def recommend(
    model: options.Model,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="USER_ID; an unknown one gets the popular items.")],
    k: Annotated[int, typer.Option("--k", min=1, max=500, help="How many items.")] = 25,
    seen: options.Seen = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how much each past event counts for the first item.")
    ] = False,
    item: Annotated[str | None, typer.Option("--item", metavar="ID", help="With --explain: explain this item.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="With --explain: draw it, as .png, .svg or .pdf.")
    ] = None,
    tracking_uri: options.TrackingUri = None,
    json: options.Json = False,
) -> None:
    """Recommend items to one user, best first; scores are probabilities over the whole catalogue.

    Example:

      hrnn-hpo recommend models/best --user 42 --k 10

      hrnn-hpo recommend models/best --user 42 --explain --plot influence.png
    """
    if (item is not None or plot is not None) and not explain:
        raise typer.BadParameter("go with --explain.", param_hint="--item, --plot")
    from dataclasses import asdict

    from hrnn_hpo.model.folder import load_model
    from hrnn_hpo.serving.recommender import Recommender
    from hrnn_hpo.serving.source import resolve_model

    recommender = Recommender(load_model(resolve_model(model, tracking_uri)), None if seen == "auto" else seen)
    known = recommender.knows(user)
    items = recommender.recommend(user, k)
    answer: dict[str, Any] = {"user": user, "known": known, "items": [asdict(entry) for entry in items]}
    if explain:
        from hrnn_hpo.serving import explain as explaining

        explanation = explaining.explain(recommender, user, item)
        influences = explanation.influences
        answer |= {
            "explained_item": explanation.item,
            "influences": [asdict(event) for event in influences],
            "repeat_share": explanation.repeat_share,
        }
        if plot is not None:
            explaining.plot(influences, f"What counts for item {explanation.item}, user {user}", plot)
    if json:
        print_json(answer)
        return
    if not known:
        console.print(f"User {user!r} has no history in this model: these are the popular items.", style="yellow")
    print_table(
        f"Items for user {user}",
        ["rank", "item", "score"],
        [[rank, entry.item, entry.score] for rank, entry in enumerate(items, start=1)],
    )
    if explain:
        strongest = sorted(enumerate(influences, start=1), key=lambda entry: -entry[1].share)[:N_EXPLAINED]
        print_table(
            f"What counts for item {explanation.item} (gradient x input): {len(strongest)} of {len(influences)} events",
            ["event", "session", "item", "influence", "share"],
            [
                [str(number), str(event.session), event.item, f"{event.influence:+.3g}", f"{event.share:.1%}"]
                for number, event in strongest
            ],
        )
        if explanation.repeat_share:
            n_before = sum(event.item == explanation.item for event in influences)
            events = "1 event" if n_before == 1 else f"{n_before} events"
            results.print(
                f"{explanation.repeat_share:.0%} of its probability comes from the {events} with the item itself."
            )
