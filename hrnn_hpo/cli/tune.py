"""`hrnn-hpo tune` searches a space; `hrnn-hpo worker` helps a running study from another process or machine."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table, print_warning, results
from hrnn_hpo.cli.verdicts import show_confirmation, show_leaderboard

if TYPE_CHECKING:
    from hrnn_hpo.study.forecast import Forecast
    from hrnn_hpo.study.runner import StudyResult


def tune(
    data: options.Data,
    study: Annotated[str, typer.Option("--study", help="Name; an existing study goes on.", show_default=False)],
    space: Annotated[
        str | None, typer.Option("--space", metavar="NAME|FILE", help="What to search.", show_default=False)
    ] = None,
    n_trials: Annotated[
        int | None,
        typer.Option("--n-trials", min=1, help="Complete and pruned trials in total. Default: 40.", show_default=False),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="30m", help="Time this command may search: 90s, 30m, 2h, 1h30m."),
    ] = None,
    patience_trials: Annotated[
        int | None,
        typer.Option(
            "--patience-trials",
            min=1,
            help="Stop after so many trials in a row without a better value. Without --n-trials the only limit.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", help="Stop when a trial's objective reaches this value.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes side by side. Default: 1.", show_default=False)
    ] = None,
    n_threads: options.Threads = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="The same trials and figures for any number of workers: batches of 4, one thread a trial, proposals "
            "and pruning by earlier batches alone. Waits for each batch's slowest trial.",
        ),
    ] = False,
    user_fraction: Annotated[
        float | None,
        typer.Option(
            "--user-fraction",
            metavar="SHARE",
            help="Search on this share of the training users, 0.3 for example. First 8 configurations train on the "
            "part and on all users, and must rank alike; the confirmation trains on all.",
            show_default=False,
        ),
    ] = None,
    launcher: Annotated[
        Literal["local", "ray"],
        typer.Option("--launcher", help="Where workers run: processes of this machine, or tasks of a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="Ray's head node. Default: the cluster that Ray finds; without any, one on this machine.",
            show_default=False,
        ),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-trial",
            min=0.0,
            help="What a trial asks of Ray beside --threads CPUs; 0.5 shares a GPU. Default: 1 where there are any.",
            show_default=False,
        ),
    ] = None,
    protocol: options.Protocol = None,
    split_seed: options.SplitSeed = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="Metric to maximize. Default: ndcg_at_10. Repeated, several objectives trade off: other metrics, or "
            "n_parameters and seconds (of training), which are minimized. Such a study has no pruner.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Draws what the sampler proposes.")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            metavar="tpe|random|gp|qmc|cma-es|grid",
            help="How to propose trials. Default: tpe.",
            show_default=False,
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            "--pruner",
            metavar="median|hyperband|successive-halving|patient|none",
            help="When to cut a trial short. Default: median.",
            show_default=False,
        ),
    ] = None,
    enqueue: Annotated[
        list[Path] | None,
        typer.Option("--enqueue", metavar="FILE", help="Configuration to try early; may be repeated."),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="STUDY",
            help="Earlier study whose 5 best configurations that fit this space are tried early.",
            show_default=False,
        ),
    ] = None,
    solution_config: Annotated[
        Path | None,
        typer.Option("--solution-config", metavar="FILE", help="Amazon Personalize's solutionConfig (JSON) to obey."),
    ] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            "--confirm",
            min=0,
            metavar="K",
            help="Train the K best and the defaults again before one is called better; 0: do not. Default: as many as "
            "half the trials pay for, at most 5: none below 20 trials, 3 of 40 (with --user-fraction at least 1).",
            show_default=False,
        ),
    ] = None,
    confirm_seeds: Annotated[
        int | None,
        typer.Option(
            "--confirm-seeds",
            min=2,
            help="Fresh seeds, each with training and validation users drawn anew. Default: 5.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for best.yaml, the model, trials.csv, leaderboard.json."),
    ] = None,
    storage: options.Storage = None,
    tracking_uri: options.TrackingUri = None,
    seen: options.StudySeen = None,
    again: Annotated[
        bool, typer.Option("--again", help="Open the test users once more, which is counted and shown.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what the study would take: measures an epoch, writes nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Search a space, then compare the winner with the defaults and the baselines on the test users.

    Trial 0 is the defaults. The same command again continues: --n-trials counts the whole study. Ctrl-C stops after
    the running epoch and keeps everything; the interrupted trial goes on from there. The search ends with the first of
    --n-trials, --timeout, --patience-trials and --target, and says which.

    The best of many scores flatters: --confirm trains the best configurations and the defaults again, on the same fresh
    seeds and users, and picks the winner by those runs. The answer is whether it is better than the defaults: yes, no,
    or undecided. The winner is then trained on training and validation data, and the test users are opened once.

    Examples:

      hrnn-hpo tune data/ml-100k --space quickstart --study first --n-trials 12 --workers 2 --out results/first

      hrnn-hpo tune data/ml-100k --space hrnn --study long --timeout 8h --patience-trials 30 --plan

      hrnn-hpo tune data/ml-100k --space my-space.yaml --study mine --timeout 2h --sampler gp --pruner hyperband

      hrnn-hpo tune data/ml-100k --space hrnn --study sure --n-trials 40 --confirm 3 --confirm-seeds 5

      hrnn-hpo tune data/ml-1m --space hrnn --study wide --storage postgresql://user@host/optuna --launcher ray
    """
    from hrnn_hpo.cli.progress import StudyProgress
    from hrnn_hpo.study.limits import Limits
    from hrnn_hpo.study.planning import plan as plan_study
    from hrnn_hpo.study.runner import tune as run_study

    request: dict[str, Any] = {
        "n_trials": n_trials,
        "timeout": options.parse_duration(timeout),
        "n_workers": workers,
        "n_threads": n_threads,
        "protocol": protocol,
        "split_seed": split_seed,
        "objective": objective,
        "seed": seed,
        "sampler": sampler,
        "pruner": pruner,
        "enqueue": enqueue or (),
        "solution_config": solution_config,
        "device": options.checked_device(device),
        "storage": storage,
        "seen": seen,
        "user_fraction": user_fraction,
    }
    if plan:
        _show_plan(
            plan_study(
                data,
                study,
                space,
                confirm=confirm,
                confirm_seeds=confirm_seeds,
                warm=warm_start,
                deterministic=deterministic,
                limits=Limits(patience_trials, target),
                **request,
            ),
            json,
        )
        return
    if launcher == "local" and (ray_address is not None or gpus_per_trial is not None):
        raise typer.BadParameter("is for --launcher ray.", param_hint="--ray-address, --gpus-per-trial")
    # What libraries print, Ray of a lost node for example, must not stand between --json and its reader.
    with StudyProgress(workers or 1) as progress, redirect_stdout(sys.stderr):
        result = run_study(
            data,
            study,
            space,
            patience_trials=patience_trials,
            target=target,
            confirm=confirm,
            confirm_seeds=confirm_seeds,
            deterministic=deterministic,
            launcher=launcher,
            ray_address=ray_address,
            gpus_per_trial=gpus_per_trial,
            out=out,
            tracking_uri=tracking_uri,
            again=again,
            observer=progress,
            **request,
        )
    if json:
        print_json(_content(result))
    else:
        _show(result)
    if result.interrupted:
        raise typer.Exit(130)


def worker(
    study: options.Study,
    data: Annotated[
        Path, typer.Option("--data", metavar="DATA", help="The study's data, on this machine.", show_default=False)
    ],
    device: options.Device = "auto",
    n_threads: options.Threads = None,
    storage: options.Storage = None,
    tracking_uri: options.TrackingUri = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Join a study that `tune` began, from another process or machine, until its budget is used up.

    Example:

      hrnn-hpo worker first --data data/ml-100k --storage postgresql://user@host/optuna
    """
    from hrnn_hpo.study.worker import work

    reason = work(
        data,
        study,
        device=options.checked_device(device),
        n_threads=n_threads,
        storage=storage,
        tracking_uri=tracking_uri,
        parent=parent,
    )
    console.print(f"Worker ended: {reason}.")


def _show_plan(forecast: "Forecast", json: bool) -> None:
    from hrnn_hpo.cli.progress import plan_lines

    if json:
        print_json(forecast.content())
        return
    for line in plan_lines(forecast):
        results.print(line, soft_wrap=True)


def _content(result: "StudyResult") -> dict[str, Any]:
    from hrnn_hpo.study.results import leaderboard_content

    board = result.leaderboard
    return {
        "study": result.study,
        "storage": result.storage,
        "tracking_uri": result.tracking_uri,
        "stopped": result.stopped,
        "interrupted": result.interrupted,
        "objective": result.record.objective,
        "protocol": result.record.protocol,
        "split_seed": result.record.split_seed,
        "seen": result.record.seen,
        "data_hash": result.record.data_hash,
        "trials": vars(result.trials),
        "best": {
            "trial": result.best_trial,
            "value": result.best_value,
            "configuration": result.configuration.model_dump() if result.configuration else None,
        },
        "pareto_front": [vars(point) for point in result.front],
        "confirmation": result.confirmation.content() if result.confirmation else None,
        "leaderboard": leaderboard_content(board) if board else None,
        "out": result.out,
    }


def _show(result: "StudyResult") -> None:
    trials, record = result.trials, result.record
    results.print(
        f"Study {result.study}: {trials.complete} trials complete, {trials.pruned} pruned, {trials.failed} failed "
        f"({result.stopped}).",
        soft_wrap=True,
    )
    if result.best_trial is not None:
        word = "Best" if result.confirmation is None else "Winner"
        results.print(
            f"{word}: trial {result.best_trial}, {record.objective} {result.best_value:.4f} (validation users)."
        )
    if result.front:
        print_table(
            "Pareto front: no other trial is better in every objective (`export --trial N` takes one)",
            ["trial", *record.objectives],
            [[point.trial, *point.values.values()] for point in result.front],
        )
    if result.confirmation is not None:
        show_confirmation(result.confirmation)
    elif result.best_trial is not None and not result.interrupted:
        results.print("Better than the defaults: not confirmed; --confirm K trains the best K and them again.")
    board = result.leaderboard
    if board is not None:
        show_leaderboard(board, record)
        if board.reopened:
            print_warning(
                f"the test users have been looked at {board.opening} times: these figures flatter the winner."
            )
        if board.winner != result.best_trial:
            print_warning(
                f"these are the figures of trial {board.winner}, best after {board.n_done} trials, when the test users "
                f"were opened. Trial {result.best_trial} is ahead now; --again opens them once more, and says so."
            )
    if result.out is not None:
        last = ", leaderboard.json" if board is not None else ""
        results.print(f"Written to {result.out}: best.yaml, model/, trials.csv{last}.", soft_wrap=True)
    if result.interrupted:
        results.print("The same command continues the study.")
    results.print(f"Every run: {ui_line(result.tracking_uri)}", soft_wrap=True)


def ui_line(tracking_uri: str) -> str:
    """Return the line that opens MLflow's UI on a store."""
    from hrnn_hpo.stores import tracking_address

    return "hrnn-hpo ui" if tracking_uri == tracking_address() else f"hrnn-hpo ui --tracking-uri {tracking_uri}"
