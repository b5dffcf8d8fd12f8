"""`hrnn-hpo evaluate`: a model's figures on the test users of its own split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_note, print_table
from hrnn_hpo.cli.rankers import show_baseline_notes, show_rankers
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from hrnn_hpo.opening import TestResult


def evaluate(
    model: options.Model,
    data: options.Data,
    protocol: Annotated[
        options.Protocols | None,
        typer.Option(
            "--protocol", help="That of the model, for a script that wants to be sure; another one is refused."
        ),
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option("--split-seed", min=0, help="That of the model; another one is refused.")
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Evaluate popularity, recent popularity, own items, item-kNN and EASE too, and TIFU-kNN and EASE with "
            "own items where repeats are frequent; validation users choose their constants.",
        ),
    ] = False,
    rankings: Annotated[
        Path | None,
        typer.Option(
            "--rankings",
            metavar="FILE.jsonl",
            help="Write a line per test user: items, new items where they count apart, and truth.",
        ),
    ] = None,
    rankings_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--rankings-from",
            metavar="FILE.jsonl",
            help='Evaluate the lists of a file too, a line {"user": id, "items": \\[best first]} for each test user, '
            "plain or .gz; may be repeated.",
        ),
    ] = None,
    value_weighted: Annotated[
        bool, typer.Option("--value-weighted", help="Also weight each hit by its EVENT_VALUE.")
    ] = False,
    request_time: Annotated[
        Literal["known", "unknown"],
        typer.Option(
            "--request-time", help="known: add a row in which the model is given the time of the first truth event."
        ),
    ] = "unknown",
    seen: Annotated[
        Literal["auto", "remove", "keep"],
        typer.Option(
            "--seen",
            help="Whether items of the input may be ranked: remove, keep, or auto, as the model was validated.",
        ),
    ] = "auto",
    again: Annotated[bool, typer.Option("--again", help="Open the test users once more; the result says so.")] = False,
    device: options.Device = "auto",
    tracking_uri: options.TrackingUri = None,
    json: options.Json = False,
) -> None:
    """Evaluate a model on its test users: every item ranked, test data opened once.

    Examples:

      hrnn-hpo evaluate models/best data/ml-100k --baselines

      hrnn-hpo evaluate models/best data/ml-100k --again --rankings rankings.jsonl --json

      hrnn-hpo evaluate models/best data/ml-100k --again --baselines --rankings-from sasrec.jsonl

      hrnn-hpo evaluate models/best data/ml-100k --again --request-time known
    """
    from hrnn_hpo import api
    from hrnn_hpo.opening import RankingsUnwrittenError
    from hrnn_hpo.serving.source import resolve_model

    unwritten = None
    try:
        result = api.evaluate(
            resolve_model(model, tracking_uri),
            data,
            protocol=protocol,
            split_seed=split_seed,
            seen=seen,
            baselines=baselines,
            rankings=rankings,
            rankings_from=rankings_from or [],
            value_weighted=value_weighted,
            request_time=request_time,
            again=again,
            device=options.checked_device(device),
        )
    except RankingsUnwrittenError as error:
        result, unwritten = error.result, error
    _show(model, result, json)
    if unwritten is not None:
        raise unwritten


def _show(model: str, result: "TestResult", json: bool) -> None:
    from hrnn_hpo.opening import MODEL, MODEL_KNOWN

    if json:
        print_json(
            {
                "model": model,
                "protocol": result.protocol,
                "seen": result.seen,
                "n_users": result.n_users,
                "n_openings": result.n_openings,
                "metrics": result.model.metrics,
                "metrics_request_time_known": None if result.known is None else result.known.metrics,
                "baselines": {name: baseline.metrics for name, baseline in result.baselines.items()},
                "baseline_constants": result.constants,
                "baselines_left_out": result.left_out,
                "rankings": {name: ranking.metrics for name, ranking in result.rankings.items()},
                "differences": result.differences,
                "notes": result.notes,
            }
        )
        return
    title = f"{counted(result.n_users, 'test user')}, protocol {result.protocol}, seen items: {result.seen}"
    known = {} if result.known is None else {MODEL_KNOWN: result.known}
    rows = {MODEL: result.model, **known, **result.baselines, **result.rankings}
    if result.differences:
        show_rankers(title, {name: row.metrics for name, row in rows.items()}, differences=result.differences)
    else:
        print_table(
            title,
            ["metric", *rows],
            [[name, *(row.metrics[name] for row in rows.values())] for name in result.model.metrics],
        )
    show_baseline_notes(result.constants, result.left_out)
    for note in result.notes:
        print_note(note)
    if result.n_openings > 1:
        console.print(f"The test users have been opened {result.n_openings} times.", style="yellow")
