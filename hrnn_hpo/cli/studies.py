"""Commands about studies that exist: `status`, `export`, `sync`, and the group `studies` that lists and tidies them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table, print_warning, results
from hrnn_hpo.errors import counted

app = typer.Typer(
    help="List, stop and delete studies, clean up after them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def studies(context: typer.Context) -> None:
    """List, stop and delete studies, clean up after them."""
    if context.invoked_subcommand is None:
        list_()


def status(study: options.Study, storage: options.Storage = None, json: options.Json = False) -> None:
    """Show where a study stands: trials by state, the best one, speed and time left.

    Example:

      hrnn-hpo status first
    """
    from hrnn_hpo.study.results.status import status as read_status

    found = read_status(study, storage=storage)
    if json:
        print_json(found.content())
        return
    trials = found.trials
    done = counted(trials.done, "trial")
    if found.n_trials and found.n_trials >= trials.done:
        done = f"{trials.done:,} of {counted(found.n_trials, 'trial')}"
    results.print(f"Study {found.study}: {found.space} on {found.data}, {found.protocol}", soft_wrap=True)
    results.print(
        f"{done} done ({trials.complete} complete, {trials.pruned} pruned), "
        f"{trials.running} running, {trials.waiting} waiting, {trials.failed} failed"
    )
    if found.lost:
        whose = ", ".join(map(str, found.lost))
        results.print(f"The worker of trial {whose} is gone: `tune` or `worker` resumes from its last checkpoint.")
    if found.best_trial is not None:
        error = "" if found.best_standard_error is None else f" ± {found.best_standard_error:.4f}"
        best = f"trial {found.best_trial}, {found.objective} {found.best_value:.4f}{error} (validation users)"
        results.print(f"Best of the search: {best}")
    if found.trials_per_hour is not None:
        left = f", about {found.seconds_left / 60:.0f} min left" if found.seconds_left is not None else ""
        results.print(f"{found.trials_per_hour:,.1f} trials an hour{left}")
    if found.outlook is not None and found.outlook.worth is not None:
        results.print(found.outlook.sentence(), soft_wrap=True)
    if found.confirmation is not None:
        results.print(confirmation_line(found.confirmation), soft_wrap=True)
    times = {0: "not been looked at", 1: "been looked at once"}
    looked = times.get(found.test_openings, f"been looked at {found.test_openings} times")
    results.print(f"The test users have {looked}.")


def confirmation_line(found: dict[str, Any]) -> str:
    """Return how far a confirmation is, of what `status --json` has of it, or its verdict."""
    now = f"; now {', '.join(found['running'])}" if found["running"] else ""
    now += f"; the worker of {', '.join(found['lost'])} is gone" if found.get("lost") else ""
    confirming = f"{found['n_runs_done']} of {counted(found['n_runs'], 'run')} done{now}"
    if found["n_screening_runs_done"] < found["n_screening_runs"]:  # the defaults are confirmed meanwhile
        screening = f"{found['n_screening_runs_done']} of {counted(found['n_screening_runs'], 'run')} done"
        return f"Screening: {screening}. Confirming: {confirming}"
    if found["n_runs_done"] < found["n_runs"]:
        return f"Confirming: {confirming}"
    if found["verdict"] is None:
        return f"Confirmed by {counted(found['n_runs'], 'run')}, but without a verdict yet"
    optimism = "" if found["optimism"] is None else f"; optimism of the search {found['optimism']:+.4f}"
    verdict = f"Better than the defaults: {found['verdict']}"
    look = "" if found["look"] == 1 else f", look {found['look']} at level {found['alpha']:.4g}"
    doubt = "" if found["doubt"] is None else f". It cannot be yes: {found['doubt']}"
    return (
        f"{verdict} (winner: trial {found['winner']}, {counted(found['n_seeds'], 'fresh seed')}{look}{optimism}){doubt}"
    )


def export(
    study: options.Study,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.", show_default=False)],
    format: Annotated[
        Literal["yaml", "json", "personalize"] | None,
        typer.Option("--format", help="Default: by the file's ending. personalize: Amazon's solutionConfig."),
    ] = None,
    trial: Annotated[int | None, typer.Option("--trial", help="Another trial than the winner.")] = None,
    storage: options.Storage = None,
) -> None:
    """Write the winner's configuration; `train --config` repeats its trial's validation metrics to the last digit.

    The winner is the confirmed one, where `tune` has confirmed. Its best_epoch is then the median over fresh seeds,
    which `train --refit` and `train --protocol none` train for.

    Example:

      hrnn-hpo export first --out best.yaml
    """
    from hrnn_hpo.study.results.export import export as write
    from hrnn_hpo.study.results.export import left_behind

    console.print(f"Written to {write(study, out, format, trial=trial, storage=storage)}.", soft_wrap=True)
    if format == "personalize":
        lost = left_behind(study, trial=trial, storage=storage)
        if lost:
            values = ", ".join(f"{name}={value}" for name, value in lost.items())
            print_warning(f"a solutionConfig has no place for {values}: the service trains without them.")


def sync(
    study: options.Study,
    storage: options.Storage = None,
    tracking_uri: options.TrackingUri = None,
    json: options.Json = False,
) -> None:
    """Rebuild the MLflow side of a study from Optuna's storage: runs, parameters, metrics, tags, plots.

    Example:

      hrnn-hpo sync first --tracking-uri http://localhost:5000
    """
    from hrnn_hpo.study.results.sync import sync as rebuild

    n_runs = rebuild(study, storage=storage, tracking_uri=tracking_uri)
    if json:
        print_json({"study": study, "runs": n_runs})
    else:
        console.print(f"{counted(n_runs, 'run is', 'runs are')} up to date.")


@app.command("list")
def list_(storage: options.Storage = None, json: options.Json = False) -> None:
    """List the studies of a storage.

    Example:

      hrnn-hpo studies list --json
    """
    from hrnn_hpo.study.results.status import list_studies

    found = list_studies(storage=storage)
    if json:
        print_json({"studies": [entry.content() for entry in found]})
        return
    rows: list[list[Any]] = [
        [
            entry.study,
            entry.space,
            entry.data,
            entry.trials.done,
            entry.trials.running,
            entry.best_value,
            entry.objective,
            (entry.confirmation or {}).get("verdict"),
        ]
        for entry in found
    ]
    print_table("Studies", ["study", "space", "data", "done", "running", "best", "objective", "better"], rows)


@app.command()
def stop(study: options.Study, storage: options.Storage = None) -> None:
    """Ask all workers of a study to stop after their epoch; `tune` continues it later.

    Example:

      hrnn-hpo studies stop first
    """
    from hrnn_hpo.study.results.manage import stop_study

    running = stop_study(study, storage=storage)
    console.print(f"Study {study} is asked to stop; {counted(running, 'trial ends', 'trials end')} after the epoch.")


@app.command()
def delete(study: options.Study, storage: options.Storage = None, tracking_uri: options.TrackingUri = None) -> None:
    """Delete a study with its trials, checkpoints and models; its MLflow runs move to MLflow's bin.

    Example:

      hrnn-hpo studies delete first
    """
    from hrnn_hpo.study.results.manage import delete_study

    delete_study(study, storage=storage, tracking_uri=tracking_uri)
    console.print(f"Study {study} is deleted.")


@app.command()
def gc(storage: options.Storage = None) -> None:
    """Queue the trials of dead workers again and delete files that nothing needs any more.

    Example:

      hrnn-hpo studies gc
    """
    from hrnn_hpo.study.results.manage import clean_up

    console.print(f"Cleaned up {counted(len(clean_up(storage=storage)), 'study', 'studies')}.")
