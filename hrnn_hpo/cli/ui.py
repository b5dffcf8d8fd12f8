"""`hrnn-hpo ui`: MLflow's own user interface on the embedded store."""

from typing import Annotated

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console


def ui(
    tracking_uri: options.TrackingUri = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's user interface on the runs of all studies; it needs half a minute to start. Ctrl-C ends it.

    Example:

      hrnn-hpo ui --port 5001
    """
    from hrnn_hpo.tracking import serve_ui

    def ready(url: str) -> None:
        console.print(f"MLflow is ready at {url} (Ctrl-C ends it).", soft_wrap=True)

    console.print("MLflow's user interface is starting, which takes half a minute …")
    serve_ui(tracking_uri, host, port, ready)
