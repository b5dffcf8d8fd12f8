"""`hrnn-hpo ui`: MLflow's own user interface on the embedded store."""

from typing import Annotated

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console


def ui(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Study whose run to show; all of them if unset.", show_default=False),
    ] = None,
    tracking_uri: options.TrackingUri = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser when it is ready.")] = False,
) -> None:
    """Serve MLflow's user interface on the runs of all studies; it needs half a minute to start. Ctrl-C ends it.

    Prints the address of the study's page, or of the table of all runs.

    Examples:

      hrnn-hpo ui --port 5001

      hrnn-hpo ui first --open
    """
    from hrnn_hpo.tracking.ui import serve_ui

    def ready(url: str) -> None:
        console.print(f"MLflow is ready at {url} (Ctrl-C ends it).", soft_wrap=True)
        if open_:
            import webbrowser

            if not webbrowser.open(url):
                console.print("No browser could be opened here: open the address yourself.")

    console.print("MLflow is starting, which takes half a minute …")
    serve_ui(tracking_uri, host, port, ready, study=study)
