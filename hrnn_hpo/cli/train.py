"""`hrnn-hpo train`: one configuration, trained until its validation score stops growing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json, print_note, print_warning
from hrnn_hpo.cli.rankers import show_baseline_notes, show_rankers


def train(
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", help="Model folder to write.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file, as `export` writes it.", show_default=False)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one hyperparameter; may be repeated."),
    ] = None,
    protocol: options.Protocol = None,
    split_seed: options.SplitSeed = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Draws weights, batches and dropout. Default: that of --config, else 0."),
    ] = None,
    n_threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores, at most OMP_NUM_THREADS.")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Add the validation data, for the best number of epochs.")
    ] = False,
    seen: options.Seen = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Train one configuration and write a model folder.

    Stopped halfway? The same command resumes from the last checkpoint.

    Examples:

      hrnn-hpo train data/ml-100k --out models/first

      hrnn-hpo train data/ml-100k --out models/wide --set hidden_dimension=256 --set architecture=hierarchical

      hrnn-hpo train data/ml-100k --out models/best --config best.yaml --refit
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from hrnn_hpo import api
    from hrnn_hpo.config import Configuration, load_configuration, parse_assignments
    from hrnn_hpo.evaluation.baselines import BaselineFigures
    from hrnn_hpo.experiment import compare_baselines
    from hrnn_hpo.model.folder import holds_model

    configuration = Configuration() if config is None else load_configuration(config)
    if assignments:
        configuration = configuration.with_hyperparameters(parse_assignments(assignments), "--set")
    told: dict[str, Any] = {"protocol": protocol, "split_seed": split_seed, "seed": seed, "n_threads": n_threads}
    where = options.checked_device(device)
    configuration = configuration.with_settings({name: one for name, one in told.items() if one is not None}, "train")
    if holds_model(out):
        print_note(f"{out} holds a model, which the new one will replace.")
    if assignments and configuration.best_epoch is not None and (refit or configuration.protocol == "none"):
        print_note(
            f"nobody validates, so it trains for the best_epoch of {config}, {configuration.best_epoch}, which was "
            f"found without --set {' --set '.join(assignments)}. Without it in the file, --refit finds another."
        )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("preparing", total=None, speed="")
        state = {"epoch": 0, "targets": 0}

        def start(experiment: Any) -> None:
            state["targets"] = experiment.training.n_targets
            state["epoch"] = 0
            progress.update(task, description="epoch 1", total=state["targets"])

        def update(n_done: int) -> None:
            seconds = progress.tasks[0].elapsed or 1e-9
            speed = f"{progress.tasks[0].speed or n_done / seconds:,.0f} targets/s"
            progress.update(task, completed=n_done, speed=speed)

        def epoch(report: Any) -> None:
            state["epoch"] = report.epoch
            metric = f"  ndcg_at_10 {report.metrics['ndcg_at_10']:.4f}" if report.metrics else ""
            apart = [(word, report.metrics.get(f"ndcg_at_10_{word}")) for word in ("repeats", "new")]
            if told := ", ".join(f"{word} {value:.4f}" for word, value in apart if value is not None):
                metric += f" ({told})"
            best = "  best so far" if report.is_best and report.metrics else ""
            console.print(
                f"epoch {report.epoch:3d}  loss {report.train_loss:.4f}{metric}"
                f"  {report.targets_per_second:,.0f} targets/s{best}"
            )
            progress.reset(task, description=f"epoch {report.epoch + 1}", total=state["targets"])

        trained = api.train(
            data,
            out,
            configuration=configuration,
            refit=refit,
            device=where,
            seen=seen,
            on_start=start,
            on_epoch=epoch,
            on_update=update,
        )
    result = trained.result
    validated = trained.experiment.split.validation if result.metrics else None
    beside = BaselineFigures({}, {}, {})
    if validated is not None:
        beside = compare_baselines(trained.experiment, validated, tell=print_note)
    baselines = beside.metrics
    if json:
        print_json(
            {
                "model": str(trained.folder),
                "best_epoch": result.best_epoch,
                "metrics": result.metrics,
                "baselines": baselines,
                "baseline_constants": beside.constants,
                "baselines_left_out": beside.left_out,
                "seen": trained.experiment.seen,
                "configuration": result.configuration.model_dump(),
                "n_parameters": result.n_parameters,
                "seconds": result.seconds,
            }
        )
    elif result.metrics:
        title = f"Validation users, epoch {result.best_epoch} (seen items: {trained.experiment.seen})"
        show_rankers(title, {"model": result.metrics, **baselines})
        show_baseline_notes(beside.constants, beside.left_out)
    if not json:
        console.print(
            f"Model written to {trained.folder} ({result.n_parameters:,} parameters, {result.seconds:.0f} s)."
        )
    _warn_below(result.metrics, baselines)


def _warn_below(metrics: dict[str, float], baselines: dict[str, dict[str, float]]) -> None:
    """Say which baselines are ahead of the model on its validation users."""
    objective = "ndcg_at_10"
    above = [f"{name} ({one[objective]:.4f})" for name, one in baselines.items() if one[objective] > metrics[objective]]
    if above:
        print_warning(
            f"the model's {objective}, {metrics[objective]:.4f}, is below {', '.join(above)} on the same validation "
            "users. `tune` may find a configuration that is not; until then the baseline is the better recommender."
        )
