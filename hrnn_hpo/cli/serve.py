"""`hrnn-hpo serve`: recommendations and events over HTTP."""

from typing import Annotated, Literal

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console


def serve(
    model: options.Model,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8080,
    seen: options.SeenOfModel = "auto",
    request_time: Annotated[
        Literal["now", "unknown"],
        typer.Option(
            "--request-time",
            help="When requests are made that do not say it by context.REQUEST_TIME, for a model that reads it.",
        ),
    ] = "unknown",
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Answer POST /recommendations and POST /events as Amazon Personalize does, and GET /health. Ctrl-C ends it.

    Events change their user's recommendations at once; they are kept in memory and are gone when the server ends.

    Example:

      hrnn-hpo serve models/best --port 8080

      curl -H 'content-type: application/json' -d '{"userId": "42"}' http://127.0.0.1:8080/recommendations
    """
    import time

    from hrnn_hpo.cli.models import open_recommender
    from hrnn_hpo.serving import server

    recommender = open_recommender(model, tracking_uri, seen)

    def ready(url: str) -> None:
        console.print(f"Serving {model} at {url} (seen items: {recommender.seen}; Ctrl-C ends it).", soft_wrap=True)

    try:
        server.serve(recommender, host, port, ready, time.time if request_time == "now" else None)
    except KeyboardInterrupt:  # the way to end it, not an error
        console.print("Stopped.")
