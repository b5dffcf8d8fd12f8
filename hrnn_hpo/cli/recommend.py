"""`hrnn-hpo recommend`: the best items for one user."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table, results
from hrnn_hpo.errors import counted

N_EXPLAINED = 20
LARGEST_FACTOR = 1000.0  # of a change that is told in percent


def recommend(
    model: options.Model,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="USER_ID; an unknown one gets the popular items.")],
    k: Annotated[int, typer.Option("--k", min=1, max=500, help="How many items.")] = 25,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME|now",
            help="When the user asks, in unix seconds or ISO 8601, for a model that reads request_time. "
            "Default: unknown.",
            show_default=False,
        ),
    ] = None,
    seen: options.SeenOfModel = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each past event does to the first item's score.")
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

      hrnn-hpo recommend models/best --user 42 --at 2026-11-26T18:30
    """
    if item is not None and not explain:
        raise typer.BadParameter("goes with --explain.", param_hint="--item")
    if plot is not None and not explain:
        raise typer.BadParameter("goes with --explain.", param_hint="--plot")
    from dataclasses import asdict

    from hrnn_hpo.cli.models import open_recommender
    from hrnn_hpo.cli.progress import share_bar
    from hrnn_hpo.data.schema import id_text
    from hrnn_hpo.serving.times import request_seconds

    user = id_text(user)  # as Python, batch and server do: nobody is called ""
    time = request_seconds(at)
    recommender = open_recommender(model, tracking_uri, seen)
    known = recommender.knows(user)
    items = recommender.recommend(user, k, time)
    answer: dict[str, Any] = {
        "user": user,
        "known": known,
        "request_time": time,
        "seen": recommender.seen,
        "items": [asdict(entry) for entry in items],
    }
    explanation = None
    if explain:
        from hrnn_hpo.serving import explain as explaining

        with share_bar() as bar:
            task = bar.add_task("events left out", total=None)
            explanation = explaining.explain(
                recommender, user, item, lambda done, total: bar.update(task, completed=done, total=total), time
            )
        answer["explanation"] = asdict(explanation)
        if plot is not None:
            explaining.plot(explanation, f"What counts for item {explanation.item}, user {user}", plot)
    if json:
        print_json(answer)
        return
    if not items:
        console.print(
            f"User {user!r} has had every item of this model, and seen items are removed: --seen keep lists them.",
            style="yellow",
        )
    if not known:
        console.print(f"User {user!r} has no history in this model: these are the popular items.", style="yellow")
    print_table(
        f"Items for user {user}",
        ["rank", "item", "score"],
        [[rank, entry.item, entry.score] for rank, entry in enumerate(items, start=1)],
    )
    results.print(f"Seen items: {recommender.seen}.")
    if explanation is not None:
        _print_explanation(explanation)


def _print_explanation(explanation: Any) -> None:
    """Print the events that count most, strongest first, and what repeats have to do with it."""
    from hrnn_hpo.data.repeats import OWN_EVENTS

    strongest = sorted(explanation.influences, key=lambda event: -abs(event.influence))[:N_EXPLAINED]
    n_measured = len(explanation.influences)
    among = "" if n_measured == explanation.n_events else f"the newest {n_measured:,} of "
    print_table(
        f"What counts for item {explanation.item}, score {explanation.probability:.4f}: the {len(strongest)} strongest "
        f"of {among}{counted(explanation.n_events, 'event')}, each left out by itself",
        ["event", "session", "item", "score without it", "change"],
        [
            [
                str(event.event),
                str(event.session),
                event.item,
                event.probability_without,
                _change(event.influence),
            ]
            for event in strongest
        ],
    )
    if explanation.repeat_share:
        results.print(f"{explanation.repeat_share:.0%} of the score comes from the user's events with the item itself.")
    elif explanation.repeat_share is not None:
        results.print(
            f"Nothing of the score comes from repeats: the item is in none of the last {OWN_EVENTS:,} events."
        )


def _change(influence: float) -> str:
    """Return what leaving an event out does to a score, by logarithms: scores may round to 0."""
    if -influence > math.log(LARGEST_FACTOR):
        return f"10^{-influence / math.log(10):.0f} times"
    return f"{math.expm1(-influence):+.1%}"
