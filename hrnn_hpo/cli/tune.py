"""`hrnn-hpo tune` searches a space; `hrnn-hpo worker` helps a running study from another process or machine."""

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_table, print_warning, results
from hrnn_hpo.cli.verdicts import show_confirmation, show_leaderboard
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from hrnn_hpo.study.forecast.forecast import Forecast
    from hrnn_hpo.study.result import StudyResult


def tune(
    data: options.Data,
    study: Annotated[str, options.of_study("study")],
    space: Annotated[str | None, options.of_study("space", metavar="NAME|FILE")] = None,
    n_trials: Annotated[int | None, options.of_study("n_trials", min=1)] = None,
    timeout: Annotated[str | None, options.of_study("timeout", metavar="30m")] = None,
    patience_trials: Annotated[int | None, options.of_study("patience_trials", min=1)] = None,
    target: Annotated[float | None, options.of_study("target")] = None,
    n_workers: Annotated[int | None, options.of_study("n_workers", min=1)] = None,
    n_threads: Annotated[int | None, options.of_study("n_threads", min=1)] = None,
    deterministic: Annotated[bool, options.of_study("deterministic")] = False,
    user_fraction: Annotated[float | None, options.of_study("user_fraction", metavar="SHARE")] = None,
    launcher: Annotated[Literal["local", "ray"], options.of_study("launcher")] = "local",
    ray_address: Annotated[str | None, options.of_study("ray_address", metavar="HOST:PORT")] = None,
    gpus_per_trial: Annotated[float | None, options.of_study("gpus_per_trial", min=0.0)] = None,
    protocol: Annotated[options.Protocols | None, options.of_study("protocol")] = None,
    split_seed: Annotated[int | None, options.of_study("split_seed", min=0)] = None,
    objective: Annotated[list[str] | None, options.of_study("objective", metavar="METRIC")] = None,
    seed: Annotated[int | None, options.of_study("seed", min=0)] = None,
    sampler: Annotated[str | None, options.of_study("sampler", metavar="tpe|random|gp|qmc|cma-es|grid")] = None,
    pruner: Annotated[
        str | None,
        options.of_study("pruner", metavar="median|paired|wilcoxon|hyperband|successive-halving|patient|epochs:K|none"),
    ] = None,
    priors: Annotated[bool | None, options.of_study("priors", off=True)] = None,
    keep: Annotated[int | None, options.of_study("keep", min=1, metavar="N")] = None,
    enqueue: Annotated[list[Path] | None, options.of_study("enqueue", metavar="FILE")] = None,
    warm_start: Annotated[str | None, options.of_study("warm_start", metavar="STUDY")] = None,
    solution_config: Annotated[Path | None, options.of_study("solution_config", metavar="FILE")] = None,
    confirm: Annotated[int | None, options.of_study("confirm", min=0, metavar="K")] = None,
    screen: Annotated[int | None, options.of_study("screen", min=0, metavar="F")] = None,
    confirm_seeds: Annotated[int | None, options.of_study("confirm_seeds", min=2)] = None,
    ensemble: Annotated[bool | None, options.of_study("ensemble")] = None,
    device: Annotated[str, options.of_study("device", metavar="auto|cpu|cuda|mps")] = "auto",
    out: Annotated[Path | None, options.of_study("out", metavar="DIR")] = None,
    storage: Annotated[str | None, options.of_study("storage", metavar="URL")] = None,
    tracking_uri: Annotated[str | None, options.of_study("tracking_uri", metavar="URI")] = None,
    seen: Annotated[Literal["auto", "remove", "keep"] | None, options.of_study("seen")] = None,
    again: Annotated[bool, options.of_study("again")] = False,
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
    or undecided. From 20 trials on, the best are screened before, on seeds of their own (--screen). The winner is then
    trained on training and validation data, and the test users are opened once.

    Examples:

      hrnn-hpo tune data/ml-100k --space quickstart --study first --n-trials 12 --workers 2 --out results/first

      hrnn-hpo tune data/ml-100k --space hrnn --study long --timeout 8h --patience-trials 30 --plan

      hrnn-hpo tune data/ml-100k --space my-space.yaml --study mine --timeout 2h --sampler gp --pruner hyperband

      hrnn-hpo tune data/ml-100k --space hrnn --study sure --n-trials 40 --confirm 3 --confirm-seeds 5

      hrnn-hpo tune data/ml-1m --space hrnn --study wide --storage postgresql://user@host/optuna --launcher ray
    """
    from hrnn_hpo.cli.progress import StudyProgress
    from hrnn_hpo.study.plan import plan as plan_study
    from hrnn_hpo.study.request.request import study_request
    from hrnn_hpo.study.tune import tune as run_study

    request = study_request(
        study=study,
        space=space,
        n_trials=n_trials,
        timeout=options.parse_duration(timeout),
        patience_trials=patience_trials,
        target=target,
        n_workers=n_workers,
        n_threads=n_threads,
        deterministic=deterministic,
        user_fraction=user_fraction,
        launcher=launcher,
        ray_address=ray_address,
        gpus_per_trial=gpus_per_trial,
        protocol=protocol,
        split_seed=split_seed,
        objective=objective,
        seed=seed,
        sampler=sampler,
        pruner=pruner,
        keep=keep,
        priors=priors,
        enqueue=enqueue,
        warm_start=warm_start,
        solution_config=solution_config,
        confirm=confirm,
        screen=screen,
        confirm_seeds=confirm_seeds,
        ensemble=ensemble,
        device=options.checked_device(device),
        out=out,
        storage=storage,
        tracking_uri=tracking_uri,
        seen=seen,
        again=again,
    )
    if plan:
        _show_plan(plan_study(data, request), json)
        return
    # What libraries print, Ray of a lost node for example, must not stand between --json and its reader.
    with StudyProgress(n_workers or 1) as progress, redirect_stdout(sys.stderr):
        result = run_study(data, request, observer=progress)
    if json:
        print_json(_content(result))
    else:
        _show(result)
    if result.interrupted:
        raise typer.Exit(130)


def worker(
    study: options.Study,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="DATA",
            help="The study's data, on this machine.",
            parser=options.log_path,
            show_default=False,
        ),
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
    from hrnn_hpo.study.team.worker import work

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
    from hrnn_hpo.stores import without_password
    from hrnn_hpo.study.confirm.leaderboard import leaderboard_content

    board = result.leaderboard
    return {
        "study": result.study,
        "storage": result.storage,
        "tracking_uri": without_password(result.tracking_uri),
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
        "answers": result.answers.content() if result.answers else None,
        "outdated": result.outdated,
        "out": result.out,
        "written": list(result.written.names),
        "model_of": result.written.model_of,
    }


def _show(result: "StudyResult") -> None:
    trials, record = result.trials, result.record
    results.print(
        f"Study {result.study}: {counted(trials.complete, 'trial')} complete, {trials.pruned} pruned, "
        f"{trials.failed} failed ({result.stopped}).",
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
    if result.answers is not None and result.best_trial is not None and not result.interrupted:
        results.print(result.answers.effects.brief(), soft_wrap=True)
        if result.answers.told:
            results.print(result.answers.outlook.sentence(), soft_wrap=True)
    board = result.leaderboard
    if board is not None:
        show_leaderboard(board, record)
        if board.reopened:
            print_warning(
                f"the test users have been looked at {board.opening} times: these figures flatter the winner."
            )
        if result.outdated is not None:
            print_warning(f"{result.outdated} --again opens them once more, and says so.")
    if result.out is not None:
        _show_written(result.out, result)
    if result.interrupted:
        results.print("The same command continues the study.")
    results.print(f"Every run: {ui_line(result.tracking_uri)}", soft_wrap=True)


def _show_written(out: Path, result: "StudyResult") -> None:
    if not result.written.names:
        results.print(f"Nothing is written to {out}: no trial is complete yet.", soft_wrap=True)
        return
    results.print(f"Written to {out}: {', '.join(result.written.names)}.", soft_wrap=True)
    if result.written.model_of is None:
        print_warning(f"this machine has no model of trial {result.best_trial}: {out / 'model'} is not written.")
    elif result.written.model_of == "test figures":
        print_warning(f"{out / 'model'} is the model of the test figures, best.yaml what the winner is trained by.")


def ui_line(tracking_uri: str) -> str:
    """Return the line that opens MLflow's UI on a store."""
    from hrnn_hpo.stores import tracking_address, without_password

    shown = shlex.quote(without_password(tracking_uri))
    return "hrnn-hpo ui" if tracking_uri == tracking_address() else f"hrnn-hpo ui --tracking-uri {shown}"
