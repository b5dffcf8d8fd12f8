"""A study in three pictures: how the best score grew, what mattered, how each trial learned. PNG files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.study import Study
from optuna.trial import TrialState

from hrnn_hpo.pictures import drawing, new_figure, save
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.report.importance import importances
from hrnn_hpo.study.trials import last_attempts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_plots(folder: Path, study: Study, objective: str) -> list[Path]:
    """Write history.png, learning_curves.png and, with enough trials, importance.png; return the files."""
    trials = [trial for trial in last_attempts(study) if trial.value is not None and trial.state.is_finished()]
    if not trials:
        return []
    shares = importances(study)
    with drawing():
        figures = {"history.png": _history(trials, objective), "learning_curves.png": _curves(trials, objective)}
        if shares:
            figures["importance.png"] = _importance(shares, objective)
        return [save(figure, folder / name, dpi=110) for name, figure in figures.items()]


def _history(trials: list[Any], objective: str) -> "Figure":
    figure, axes = _figure("Best score so far", "trial", f"{objective} (validation)")
    best = -float("inf")
    line: list[tuple[int, float]] = []
    for trial in sorted(trials, key=lambda one: one.number):  # one that was taken up again ended later than its place
        if trial.state == TrialState.COMPLETE:
            best = max(best, trial.value)
            line.append((trial.number, best))
    for state, marker in ((TrialState.COMPLETE, "o"), (TrialState.PRUNED, "x")):
        chosen = [trial for trial in trials if trial.state == state]
        if chosen:
            label = state.name.lower()
            axes.plot([t.number for t in chosen], [t.value for t in chosen], marker, label=label, markersize=5)
    if line:
        axes.step(*zip(*line, strict=True), where="post", label="best")
    axes.legend()
    return figure


def _curves(trials: list[Any], objective: str) -> "Figure":
    figure, axes = _figure("Learning curves", "epoch", f"{objective} (validation)")
    best = max((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: t.value, default=None)
    for trial in trials:
        epochs = epochs_of(trial)
        winner = trial is best
        style = {"color": "tab:red", "linewidth": 2, "label": f"trial {trial.number} (best)", "zorder": 3}
        other = {"color": "tab:blue" if trial.state == TrialState.COMPLETE else "0.6", "linewidth": 0.8, "alpha": 0.7}
        values = [figures["metrics"][objective] for figures in epochs.values()]
        axes.plot(list(epochs), values, **(style if winner else other))
    if best is not None:
        axes.legend()
    return figure


def _importance(found: dict[str, float], objective: str) -> "Figure":
    figure, axes = _figure(f"What explains {objective}", "share of the variation explained", "")
    names = list(reversed(found))
    axes.barh(names, [found[name] for name in names])
    return figure


def _figure(title: str, x: str, y: str) -> tuple["Figure", Any]:
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes
