"""The charts of a report: how the best score grew, how trials learned, what mattered and where the good values lie.

Each takes finished trials and returns inline SVG, an empty text where there is nothing to see.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.pages.svg import PAGE, Axis, Plot, in_rows, label, number_axis, picture, polyline, text_width
from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.values import show
from hrnn_hpo.study.attributes import epochs_of, standard_error_of
from hrnn_hpo.study.trials import best_trial

MAX_CURVE_POINTS = 100
MAX_AXES = 6  # of hyperparameters in one picture of parallel coordinates
N_SHADES = 5  # of a trial's rank in parallel coordinates


def history_chart(trials: Sequence[FrozenTrial], shown: Sequence[FrozenTrial], objective: str) -> str:
    """Return each trial's score and the best so far, over all trials; dots with standard errors for those shown."""
    # By number: one that was taken up again stands in its first place among the trials, and ended later.
    scored = sorted((trial for trial in trials if score(trial) is not None), key=lambda trial: trial.number)
    if not scored:
        return ""
    numbers = [trial.number for trial in scored]
    plot = Plot(
        "Score of each trial and best so far",
        number_axis("trial", numbers, margin=0.02, whole=True),
        number_axis(f"{objective} (validation)", [end for trial in scored for end in _range(trial)]),
    )
    for trial in shown:
        if score(trial) is not None and standard_error_of(trial) is not None:
            plot.range(trial.number, *_range(trial), "error")
    steps: list[tuple[float, float]] = []
    for trial in scored:
        value = score(trial)
        if trial.state == TrialState.COMPLETE and value is not None and (not steps or value > steps[-1][1]):
            steps += [(trial.number, steps[-1][1])] if steps else []
            steps.append((trial.number, value))
    if steps:
        steps.append((numbers[-1], steps[-1][1]))
    plot.line(steps, "best", "best so far")
    for trial in shown:
        plot.dot(trial.number, score(trial), _style(trial), describe(trial))
    return plot.svg()


def curves_chart(trials: Sequence[FrozenTrial], objective: str) -> str:
    """Return the validation score of each trial by epoch, the best trial in front."""
    curves = {trial.number: _curve(trial, objective) for trial in trials}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    best = best_trial(list(trials))
    plot = Plot(
        "Learning curves",
        number_axis("epoch", [epoch for epoch, _ in points], margin=0.02, whole=True),
        number_axis(f"{objective} (validation)", [value for _, value in points]),
    )
    for trial in sorted(trials, key=lambda one: (one is best, one.state == TrialState.COMPLETE)):
        curve = curves[trial.number]
        style = "curve best" if trial is best else f"curve {_style(trial)}"
        plot.line(curve, style, describe(trial))
        if len(curve) == 1:
            plot.dot(*curve[0], "winner" if trial is best else _style(trial), describe(trial), radius=2.5)
    return plot.svg()


def importance_chart(importances: Mapping[str, float]) -> str:
    """Return a bar per hyperparameter: the share of the score's variation that it explains."""
    if not importances:
        return ""
    row, width = 24, PAGE
    left = min(max(map(text_width, importances)) + 12, width / 2)
    largest = max(importances.values()) or 1.0
    parts = []
    for index, (name, share) in enumerate(importances.items()):
        y = index * row + 4
        length = max(share / largest * (width - left - 60), 1.0)
        parts.append(label(left - 8, y + 13, name, "end", "name"))
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{length:.1f}" height="{row - 8}" rx="2"/>')
        parts.append(label(left + length + 6, y + 13, f"{share:.1%}", "start"))
    return picture("Importance of hyperparameters", width, len(importances) * row + 8, parts)


def front_chart(points: Sequence[tuple[str, dict[str, float]]], front: Sequence[str], objectives: Sequence[str]) -> str:
    """Return trials by their first two objectives; those of the front (by name) are joined, best first."""
    if len(objectives) < 2 or not points:
        return ""
    y, x = objectives[:2]
    plot = Plot(
        f"{y} against {x}",
        number_axis(x, [values[x] for _, values in points]),
        number_axis(f"{y} (validation)", [values[y] for _, values in points]),
    )
    if len(objectives) == 2:  # of more than two, the front is no line in this plane
        plot.line([(values[x], values[y]) for name, values in _ordered(points, front)], "best", "Pareto front")
    for name, values in points:
        plot.dot(values[x], values[y], "winner" if name in front else "complete", name)
    return plot.svg()


def _ordered(
    points: Sequence[tuple[str, dict[str, float]]], names: Sequence[str]
) -> list[tuple[str, dict[str, float]]]:
    found = dict(points)
    return [(name, found[name]) for name in names]


def parallel_charts(trials: Sequence[FrozenTrial], parameters: Mapping[str, Parameter], objective: str) -> list[str]:
    """Return a line per complete trial across one axis per hyperparameter and the score; the best trials are darkest.

    Many hyperparameters make several charts, each of which ends with the score. A line leaves out the axes of what its
    trial did not vary.
    """
    names = list(parameters)
    n_charts = math.ceil(len(names) / MAX_AXES)
    charts = []
    for part in range(n_charts):
        some = names[part * len(names) // n_charts : (part + 1) * len(names) // n_charts]
        charts.append(_parallel_chart(trials, {name: parameters[name] for name in some}, objective))
    return [chart for chart in charts if chart]


def _parallel_chart(trials: Sequence[FrozenTrial], parameters: Mapping[str, Parameter], objective: str) -> str:
    complete = sorted((t for t in trials if t.state == TrialState.COMPLETE and score(t) is not None), key=_rank)
    axes = [parameter_axis(parameter, complete) for parameter in parameters.values()]
    if len(complete) < 2 or not axes:
        return ""
    axes.append(number_axis(objective, [score(trial) or 0.0 for trial in complete], margin=0.0))
    left, width = 64, PAGE
    gap = (width - 2 * left) / (len(axes) - 1)
    names = in_rows([(left + gap * i, axis.label) for i, axis in enumerate(axes)], width)
    top = 24 + 14 * max(row for _, row in names)
    height = 320 + top
    bottom = height - 14
    best = best_trial(complete)
    parts = []
    for index, trial in enumerate(complete):
        places = [axis.place(trial.params.get(axis.label)) for axis in axes[:-1]] + [axes[-1].place(score(trial))]
        points = [
            (left + gap * i, bottom - place * (bottom - top)) for i, place in enumerate(places) if place is not None
        ]
        style = "curve best" if trial is best else f"curve shade{index * N_SHADES // len(complete)}"
        parts.append(polyline(points, style, describe(trial)))
    for i, axis in enumerate(axes):
        x = left + gap * i
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        middle, row = names[i]
        parts.append(label(middle, 12 + 14 * row, axis.label, "middle", "name"))
        parts += [label(x + 5, bottom - place * (bottom - top) + 4, text, "start") for place, text in axis.ticks(4)]
    return picture("Parallel coordinates", width, height, parts)


def slice_charts(trials: Sequence[FrozenTrial], parameters: Mapping[str, Parameter], objective: str) -> list[str]:
    """Return a chart per hyperparameter: its value in each trial against the trial's score."""
    scored = [trial for trial in trials if score(trial) is not None]
    best = best_trial(scored)
    found = []
    for name, parameter in parameters.items():
        chosen = [trial for trial in scored if name in trial.params]
        if not chosen:
            continue
        y = number_axis(objective, [score(trial) or 0.0 for trial in chosen])
        plot = Plot(f"{objective} by {name}", parameter_axis(parameter, chosen), y, width=380, height=250)
        for trial in sorted(chosen, key=lambda one: one is best):
            style = "winner" if trial is best else _style(trial)
            plot.dot(trial.params[name], score(trial), style, describe(trial))
        found.append(plot.svg())
    return found


def parameter_axis(parameter: Parameter, trials: Sequence[FrozenTrial]) -> Axis:
    """Return an axis for a hyperparameter that shows its whole range, and values from before it was changed."""
    seen = [trial.params[parameter.name] for trial in trials if parameter.name in trial.params]
    if parameter.type == "categorical":
        others = [value for value in dict.fromkeys(seen) if value not in parameter.choices]
        return Axis(parameter.name, choices=(*parameter.choices, *others), show=show)
    values = [parameter.low, parameter.high, *(value for value in seen if isinstance(value, int | float))]
    return number_axis(parameter.name, values, log=parameter.log, margin=0.02, whole=parameter.type == "integer")


def score(trial: FrozenTrial) -> float | None:
    """Return a finished trial's score, None where it has no finite one."""
    value = trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    return value if value is not None and math.isfinite(value) else None


def describe(trial: FrozenTrial) -> str:
    """Return a trial in a few words: `trial 3: 0.1234 (pruned)`."""
    value = score(trial)
    state = "" if trial.state == TrialState.COMPLETE else f" ({trial.state.name.lower()})"
    return f"trial {trial.number}: {'no score' if value is None else show(round(value, 4))}{state}"


def _curve(trial: FrozenTrial, objective: str) -> list[tuple[int, float]]:
    found = [(epoch, figures.get("metrics", {}).get(objective)) for epoch, figures in epochs_of(trial).items()]
    known = [(epoch, value) for epoch, value in found if value is not None and math.isfinite(value)]
    return known[:: max(1, math.ceil(len(known) / MAX_CURVE_POINTS))]


def _style(trial: FrozenTrial) -> str:
    return {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}.get(trial.state, "other")


def _range(trial: FrozenTrial) -> tuple[float, float]:
    """Return a trial's score less and plus its standard error."""
    value, error = score(trial) or 0.0, standard_error_of(trial) or 0.0
    return value - error, value + error


def _rank(trial: FrozenTrial) -> Any:
    return score(trial), -trial.number
