"""`hrnn-hpo spaces`: list, print and check search spaces. What a space is, and its rules, is search/'s subject."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hrnn_hpo.cli.options import Json
from hrnn_hpo.cli.output import PlainConsole, print_error, print_json
from hrnn_hpo.errors import SpaceError, counted

if TYPE_CHECKING:
    from hrnn_hpo.search.space import SearchSpace

app = typer.Typer(help="Search spaces: without a command, list the shipped ones.")

SpaceName = Annotated[str, typer.Argument(metavar="NAME", help="Shipped space or YAML file.", show_default=False)]
SpaceFile = Annotated[str, typer.Argument(metavar="FILE", help="YAML file of a search space.", show_default=False)]


@app.callback(invoke_without_command=True)
def spaces(context: typer.Context, json: Json = False) -> None:
    """List the shipped search spaces."""
    if context.invoked_subcommand is not None:
        return
    from hrnn_hpo.search.space import list_spaces, load_space

    found = [load_space(name) for name in list_spaces()]
    if json:
        print_json({"spaces": [_overview(space) for space in found]})
        return
    table = _table("Search spaces", ["name", "searched", "what it is for"])
    for space in found:
        table.add_row(space.name, str(len(space.searched)), space.summary)
    _out(table)
    _say("`hrnn-hpo spaces show NAME` prints one; `--space NAME` or `--space FILE` hands one to `hrnn-hpo tune`.")


@app.command()
def show(name: SpaceName, json: Json = False) -> None:
    """Print a space: what each hyperparameter means, its range and its default.

    Example:

      hrnn-hpo spaces show hrnn
    """
    from hrnn_hpo.search.space import load_space

    space = load_space(name)
    if json:
        content = {**_overview(space), **space.content(), "recipe": _recipe(space), "fingerprint": space.fingerprint()}
        print_json(content)
        return
    _out(_searched_table(space))
    if space.constants:
        _out(_constants_table(space))
    if space.recipe is not None:
        _say(f"Bound by recipe {space.recipe.name} ({space.recipe.recipe_arn}).")


@app.command()
def check(file: SpaceFile, json: Json = False) -> None:
    """Check a space file: every problem with file, line and rule (exit code 2), or a summary with hints.

    Example:

      hrnn-hpo spaces check my-space.yaml
    """
    from hrnn_hpo.search.hints import hints
    from hrnn_hpo.search.space import load_space

    try:
        space = load_space(Path(file) if Path(file).is_file() else file)
    except SpaceError as error:
        if json:
            print_json({"ok": False, "problems": str(error).splitlines()})
        else:
            print_error(str(error))
        raise typer.Exit(error.exit_code) from None
    if json:
        print_json({"ok": True, **_overview(space), "hints": hints(space)})
        return
    n_configurations = space.cardinality()
    size = "a continuum of configurations"
    if n_configurations is not None:
        size = counted(n_configurations, "configuration")
    _say(f"OK: {file} searches {counted(len(space.searched), 'hyperparameter')}, {size}.")
    for hint in hints(space):
        _say(f"hint: {hint}")


def _overview(space: "SearchSpace") -> dict[str, Any]:
    return {
        "name": space.name,
        "path": space.path,
        "summary": space.summary,
        "searched": list(space.searched),
        "n_configurations": space.cardinality(),
    }


def _recipe(space: "SearchSpace") -> dict[str, str] | None:
    recipe = space.recipe
    if recipe is None:
        return None
    return {key: str(value) for key, value in vars(recipe).items() if key != "parameters"}


def _searched_table(space: "SearchSpace") -> Table:
    from hrnn_hpo.search.values import show as spelled

    priors = space.priors()
    columns = ["hyperparameter", "kind", "type", "values", "default", *(["prior"] if priors else []), "meaning"]
    table = _table(f"{space.name}: searched", columns)
    for name, parameter in space.searched.items():
        conditions = [
            f"{other} is {' or '.join(spelled(choice) for choice in choices)}"
            for other, choices in parameter.when.items()
        ]
        values = parameter.describe() + (f" when {' and '.join(conditions)}" if conditions else "")
        prior = [priors.get(name, "")] if priors else []
        table.add_row(name, parameter.kind, parameter.type, values, spelled(parameter.default), *prior, parameter.doc)
    return table


def _constants_table(space: "SearchSpace") -> Table:
    from hrnn_hpo.config import Hyperparameters
    from hrnn_hpo.search.values import show as spelled

    table = _table(f"{space.name}: constant", ["hyperparameter", "value", "why", "meaning"])
    for name, value in space.constants.items():
        parameter = space.parameters.get(name)
        meaning = parameter.doc if parameter else Hyperparameters.model_fields[name].description or ""
        tunable = parameter is not None and parameter.tunable
        why = "fixed" if name in space.fixed else "condition never holds" if tunable else "not tunable"
        table.add_row(name, spelled(value), why, meaning)
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("hyperparameter", "name"))
    return table


def _out(table: Table) -> None:
    """Write a table to standard output; where that is no terminal, wide enough for a line per row."""
    console = PlainConsole()
    if not console.is_terminal:
        console = PlainConsole(width=240)
    console.print(table)


def _say(text: str) -> None:
    typer.echo(text)
