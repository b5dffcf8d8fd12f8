"""Work as it runs, on standard error: of a study a line per finished trial and below it a bar with the time left."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from hrnn_hpo.cli.output import console
from hrnn_hpo.errors import counted
from hrnn_hpo.study.request.request import MOST_SECONDS


def share_bar() -> Progress:
    """Return a bar that shows which share of a work is done and the time left, where standard error is a terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class StudyProgress:
    """An observer of `tune`; use it as a context."""

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}{task.fields[now]}{task.fields[left]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("trials", total=None, best="", now="", left="")
        self._seconds: list[float] = []
        self._best: tuple[float, int] | None = None
        self._done = 0
        self._total: int | None = None
        self._deadline: float | None = None
        self._objective = ""
        self._expected: float | None = None  # seconds a trial

    def __enter__(self) -> "StudyProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, forecast: Any) -> None:
        self._expected = forecast.seconds_per_trial
        for line in plan_lines(forecast):
            console.print(line, soft_wrap=True)

    def compared(self, number: int, total: int, part: float | None, whole: float | None) -> None:
        part_text, whole_text = ("failed" if score is None else f"{score:.4f}" for score in (part, whole))
        console.print(f"compared {number} of {total}: {part_text} on the part of the users, {whole_text} on all")

    def study_started(self, objective: str, n_trials: int | None, timeout: float | None, done: int) -> None:
        if self._objective:  # the search was the first to start
            console.print(f"Confirming the winner: {n_trials} trainings on fresh seeds, {done} of them done.")
        self._objective, self._total, self._done = objective, n_trials, done
        self._seconds, self._best = [], None  # a confirmation's runs follow the search
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._bar.update(self._task, total=n_trials, completed=done)

    def trial_started(self, number: int, values: Mapping[str, Any]) -> None:
        self._bar.update(self._task, now=f"  trial {number}")

    def epoch_ended(self, number: int, report: Any) -> None:
        value = report.metrics.get(self._objective, float("nan"))
        self._bar.update(self._task, now=f"  trial {number} epoch {report.epoch}: {value:.4f}", left=self._time_left())

    def trial_ended(self, trial: Any) -> None:
        state = trial.state.name.lower()
        if state in ("complete", "pruned"):
            # A pruned trial that is taken up again counts once, and may have been counted already.
            self._done = self._done + 1 if self._total is None else min(self._done + 1, self._total)
            self._seconds.append(trial.duration.total_seconds() if trial.duration else 0.0)
        if state == "complete" and (self._best is None or trial.value > self._best[0]):
            self._best = (trial.value, trial.number)
        best = f"  best {self._best[0]:.4f} (trial {self._best[1]})" if self._best else ""
        self._bar.update(self._task, completed=self._done, best=best, now="", left=self._time_left())
        console.print(self._line(trial, state), soft_wrap=True)

    def trial_stopped(self, trial: Any) -> None:
        n_epochs = sum(name.startswith("epoch_") for name in trial.user_attrs)
        self._bar.update(self._task, now="", left=self._time_left())
        console.print(f"{_head(trial)} stopped after epoch {n_epochs}; it goes on from there.", markup=False)

    def _line(self, trial: Any, state: str) -> str:
        attributes = trial.user_attrs
        value = "" if trial.value is None else f"  {self._objective} {trial.value:.4f}"
        epochs = sum(name.startswith("epoch_") for name in attributes)
        seconds = f"  {trial.duration.total_seconds():.0f} s" if trial.duration else ""
        head = _head(trial)
        if state == "fail":
            reason = attributes.get("failure", {}).get("reason", "its workers died three times at the same epoch")
            return f"{head} failed: {reason}"
        params = "  ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
        return f"{head} {state}{value}  {epochs} epochs{seconds}  {params}"

    def _time_left(self) -> str:
        estimates = []
        if self._total is not None and (self._seconds or self._expected is not None):
            # The plan counts like three trials, until more have shown what they take.
            durations = [*self._seconds, *([] if self._expected is None else [self._expected] * 3)]
            mean = sum(durations) / len(durations)
            estimates.append(mean * max(self._total - self._done, 0) / self._n_workers)
        if self._deadline is not None:
            estimates.append(max(self._deadline - time.monotonic(), 0.0))
        return f"  about {_duration(min(estimates))} left" if estimates else ""


def plan_lines(forecast: Any) -> list[str]:
    """Return a forecast in a few lines."""
    f = forecast
    pruned = "early stopping" if f.pruner == "none" else f"early stopping and the pruner {f.pruner}"
    lines = [
        f"Plan: an epoch takes about {f.seconds_per_epoch:.3g} s; a trial {_duration(f.seconds_per_trial)}: "
        f"{f.epochs_per_trial:.0f} of at most {counted(f.max_epochs, 'epoch')} on average, with {pruned}.",
    ]
    if f.keep:
        lines.append(f"  Each trial has {counted(f.rungs[0][0], 'epoch')}; at the end the best {f.keep} of them go on.")
    elif f.rungs:
        brackets = "; ".join(", ".join(map(str, rungs)) or "never" for rungs in f.rungs)
        lines.append(f"  {counted(len(f.rungs), 'bracket')}, trials compared after epoch {brackets}.")
    if f.n_trials is None or f.seconds is None:
        lines.append("  How many trials there will be depends on their values.")
    else:
        at_once = f", {f.n_workers} at once" if f.n_workers > 1 else ""
        lines.append(
            f"  {counted(f.n_trials, 'trial')} to come{at_once}: about {_duration(f.seconds)}{_until(f.seconds)}."
        )
    if f.confirm_runs:
        screened = f"{f.screening_runs} trainings screen the best trials and " if f.screening_runs else ""
        more = f"about {_duration(f.confirm_seconds)} more"
        lines.append(f"  Then {screened}{f.confirm_runs} trainings confirm the winner: {more}.")
    if f.refits:
        lines.append(f"  At the end {f.refits} refits: about {_duration(f.refit_seconds)} more, one after the other.")
    if f.resolution is not None:
        when = "" if f.challengers else "If one challenger were confirmed: "
        lines.append(f"  {when}{f.resolution.sentence()}")
    if f.measure["measured_share"] < 1:
        lines.append(f"  Measured on {f.measure['measured_share']:.0%} of an epoch; validation comes on top.")
    return lines


def _until(seconds: float) -> str:
    """Return when so many seconds are over: by its day within six days, by its date within ten years, else nothing."""
    if seconds > MOST_SECONDS:
        return ""
    end = datetime.now() + timedelta(seconds=seconds)
    return f", until {end:%a %H:%M}" if seconds < 6 * 86_400 else f", until {end:%Y-%m-%d %H:%M}"


def _head(trial: Any) -> str:
    attributes = trial.user_attrs
    if "candidate" in attributes:
        verb = "screening" if attributes["role"] == "screening" else "confirming"
        return f"{verb} trial {attributes['candidate']}, run {attributes['repeat'] + 1}"
    role = f" ({attributes['role']})" if "role" in attributes else ""
    return f"trial {trial.number:3d}{role}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{rest} s"
