"""The command `hrnn-hpo`: which command lives in which file, and how errors leave the program.

Command files import torch, mlflow, optuna and pandas inside their functions, so that `--help` stays instant.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hrnn_hpo import __version__
from hrnn_hpo.cli import batch, compare, data, evaluate, recommend, report, serve, spaces, studies, train, tune, ui
from hrnn_hpo.cli.output import print_error, show_what_encodings_lack
from hrnn_hpo.errors import HRNNError, RunFailedError

INTERRUPTED = 130  # 128 + SIGINT, what a shell reports


class _CleanErrors(TyperGroup):
    """Print what a user caused as one message; anything else is our bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HRNNError as error:
            print_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except OSError as error:  # a full disk, a folder that nobody may write: no bug, and not to be mended here
            if isinstance(error, BrokenPipeError) or error.strerror is None:
                raise
            where = f"{error.filename}: " if error.filename is not None else ""
            print_error(f"{where}{error.strerror or error}.")
            raise typer.Exit(RunFailedError.exit_code) from None
        except MemoryError as error:  # as a full disk
            print_error(f"this machine has not enough memory ({str(error).rstrip('.') or 'nothing more is known'}).")
            raise typer.Exit(RunFailedError.exit_code) from None
        except KeyboardInterrupt:
            print_error("interrupted.")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="hrnn-hpo",
    cls=_CleanErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hrnn-hpo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Tune, train and serve session-aware recurrent recommenders (HRNN)."""


app.add_typer(data.app, name="data")
app.add_typer(spaces.app, name="spaces")
app.add_typer(studies.app, name="studies")
_commands: list[Callable[..., None]] = [
    train.train,
    tune.tune,
    tune.worker,
    studies.status,
    studies.sync,
    studies.export,
    compare.compare,
    evaluate.evaluate,
    report.report,
    recommend.recommend,
    batch.batch,
    serve.serve,
    ui.ui,
]
for _command in _commands:
    app.command()(_command)


def _in_paragraphs(text: str) -> str:
    """Return a docstring with one line a paragraph: Typer keeps its line ends, and a narrow terminal breaks each."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


for _group in (app, data.app, spaces.app, studies.app):
    for _info in _group.registered_commands:
        _info.help = _in_paragraphs(str(getattr(_info.callback, "__doc__", None)))


def main() -> None:
    """Run the command line; the entry point of the `hrnn-hpo` script."""
    show_what_encodings_lack()
    for word in sys.argv[1:]:
        if any("\ud800" <= character <= "\udfff" for character in word):  # bytes that Python could not decode
            print_error(f"{word}: must be UTF-8 text, as every argument.")
            raise SystemExit(HRNNError.exit_code)
    app()


if __name__ == "__main__":
    main()
