"""A study as one HTML file that opens offline: verdict, leaderboard, charts, trials, advice, how to repeat it.

Read from Optuna's storage alone: no data, no model and no MLflow is needed, and the test part stays as closed as it is.
"""

import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo import __version__
from hrnn_hpo.errors import StudyError, counted
from hrnn_hpo.files import require_html, write_text
from hrnn_hpo.pages.page import Html, chart, element, folded, page, section, table
from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import show
from hrnn_hpo.study.attributes import (
    COMMIT,
    CONFIGURATION,
    FAILURE,
    PROPOSED_BY,
    ROLE,
    SUMMARY,
    epochs_of,
    standard_error_of,
)
from hrnn_hpo.study.confirm.leaderboard import read_leaderboard
from hrnn_hpo.study.objectives import pareto_front, values_of
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.report.advice import MIN_TRIALS_FOR_ADVICE, advice_of, named_space, next_space_text
from hrnn_hpo.study.report.answers import answers_of
from hrnn_hpo.study.report.answers_section import answers_section
from hrnn_hpo.study.report.charts import (
    curves_chart,
    front_chart,
    history_chart,
    importance_chart,
    parallel_charts,
    score,
    slice_charts,
)
from hrnn_hpo.study.report.importance import MIN_TRIALS_FOR_IMPORTANCE, importances
from hrnn_hpo.study.report.rerun import OWN_SPACE, commands, rerun_notes
from hrnn_hpo.study.report.verdict_tables import confirmation_table, leaderboard_table, verdict
from hrnn_hpo.study.request.part_of_users import read_fidelity
from hrnn_hpo.study.storage.database import load_study, open_storage, storage_label
from hrnn_hpo.study.trials import best_trial, count_trials, last_attempts, winner_trial

MAX_SHOWN = 600  # trials drawn and listed, which keeps the file under 5 MB
MAX_REASON = 300  # characters of a failure's reason
_LIBRARIES = ("torch", "optuna", "mlflow", "numpy")


@dataclass(frozen=True)
class _Story:
    """What the sections of a report are told about."""

    study: Study
    record: StudyRecord
    space: SearchSpace
    trials: list[FrozenTrial]  # last attempts
    shown: list[FrozenTrial]  # the best of them, where there are too many
    best: FrozenTrial | None
    parameters: dict[str, Parameter]  # searched, and met in a trial
    storage: str  # without password
    storage_asked: str | None


def report(study: str, out: Path, *, storage: str | None = None) -> Path:
    """Write a study as one HTML file and return the file.

    Raises StudyError for a study that the storage does not hold, or where no trial has begun, ConfigError for a file
    that is not to be HTML.
    """
    require_html(out, "a report")
    database = open_storage(storage)
    label = storage_label(database)
    text = render_report(load_study(study, database), storage=label, storage_asked=label if storage else None)
    write_text(out, text)
    return out


def render_report(study: Study, *, storage: str = "", storage_asked: str | None = None) -> str:
    """Return the HTML of a study's report; `storage_asked` is the --storage that its commands name."""
    record = read_record(study)
    trials = [trial for trial in last_attempts(study) if trial.state != TrialState.WAITING]
    if not trials:
        raise StudyError(f"Study {study.study_name!r} has no trial yet: there is nothing to report.")
    space = named_space(record)
    met = {name for trial in trials for name in trial.params}
    story = _Story(
        study=study,
        record=record,
        space=space,
        trials=trials,
        shown=_shown(trials),
        best=best_trial(trials),
        parameters={name: parameter for name, parameter in space.searched.items() if name in met},
        storage=storage,
        storage_asked=storage_asked,
    )
    shares = importances(study)
    return page(
        f"Study {study.study_name}",
        [
            _header(story),
            verdict(study, record, winner_trial(study)),
            confirmation_table(study),
            leaderboard_table(read_leaderboard(study), record),
            _front(story),
            *_charts(story, shares),
            answers_section(answers_of(study, record)),
            _advice(story, shares),
            _trials(story),
            _environment(story),
            _repeat(story),
        ],
    )


def _header(story: _Story) -> Html:
    record, counts = story.record, count_trials(story.trials)
    states = f"{counted(counts.complete, 'trial')} complete, {counts.pruned} pruned, {counts.failed} failed"
    states += f", {counts.running} still running" if counts.running else ""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lead = f"{story.space.name} on {record.data}, protocol {record.protocol}. {states}. Written {now}."
    fidelity = read_fidelity(story.study)
    told = "" if fidelity is None or not fidelity.passed else element("p", fidelity.sentence()).text
    return Html(element("h1", f"Study {story.study.study_name}").text + element("p", lead, "lead").text + told)


def _front(story: _Story) -> Html:
    names = story.record.objectives
    front = pareto_front(story.study, names)
    if not front:
        return Html("")
    complete = story.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    points = [(f"trial {trial.number}", values_of(trial, names)) for trial in complete]
    return section(
        "Pareto front",
        "No other trial is better in every objective than one of these (red). Without --trial, `export` takes the one "
        f"that is best in {names[0]}.",
        chart(front_chart(points, [f"trial {point.trial}" for point in front], names)),
        table(["trial", *names], [[point.trial, *point.values.values()] for point in front]),
    )


def _charts(story: _Story, shares: dict[str, float]) -> list[Html]:
    objective, shown = story.record.objective, story.shown
    some = _some(story)
    missing = f"Importance needs {MIN_TRIALS_FOR_IMPORTANCE} complete trials whose scores differ."
    slices = "".join(slice_charts(shown, story.parameters, objective))
    return [
        section(
            "History",
            "Score of each trial on the validation users, with its standard error either way, and the best so far "
            f"(red). Grey trials were pruned.{some}",
            chart(history_chart(story.trials, shown, objective)),
        ),
        section(
            "Learning curves",
            f"Red: the best trial. Blue: complete. Grey: pruned or failed.{some}",
            chart(curves_chart(shown, objective)),
        ),
        section(
            "Importance of hyperparameters",
            "Share of the differences between complete trials that each hyperparameter explains (fANOVA)."
            if shares
            else missing,
            chart(importance_chart(shares)),
        ),
        _unless_empty(
            "Parallel coordinates",
            f"A line per complete trial; the better, the darker. Red: the best.{some}",
            chart("".join(parallel_charts(shown, story.parameters, objective))),
        ),
        _unless_empty(
            "Slices",
            f"Each hyperparameter against the score, over its whole range.{some}",
            Html(f'<div class="slices">{slices}</div>' if slices else ""),
        ),
    ]


def _advice(story: _Story, shares: dict[str, float]) -> Html:
    found = advice_of(story.study, story.record, shares)
    if not found:
        n_complete = count_trials(story.trials).complete
        few = f"Advice needs {MIN_TRIALS_FOR_ADVICE} complete trials; there are {n_complete}."
        none = "The best values lie inside their ranges, and no hyperparameter was without effect: nothing to change."
        return section("Advice for the next study", few if n_complete < MIN_TRIALS_FOR_ADVICE else none)
    lines = "".join(element("li", advice.text).text for advice in found)
    return section(
        "Advice for the next study",
        Html(f"<ul>{lines}</ul>"),
        "The next study's space file, if you follow all of it:",
        element("pre", next_space_text(story.space, found, OWN_SPACE)),
    )


def _trials(story: _Story) -> Html:
    names = list(story.parameters)
    columns = [
        "trial",
        "state",
        story.record.objective,
        "standard error",
        "best epoch",
        "epochs",
        "seconds",
        *names,
        "note",
    ]
    rows = []
    for trial in story.shown:
        summary = trial.user_attrs.get(SUMMARY, {})
        seconds = round(trial.duration.total_seconds()) if trial.duration else None
        reason = str(trial.user_attrs.get(FAILURE, {}).get("reason", ""))
        error = standard_error_of(trial) if score(trial) is not None else None
        row = [trial.number, trial.state.name.lower(), score(trial), error, summary.get("best_epoch")]
        row.append(len(epochs_of(trial)))
        note = reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + "…"
        origin = trial.user_attrs.get(ROLE) or _ORIGINS.get(trial.user_attrs.get(PROPOSED_BY, ""), "")
        rows.append([*row, seconds, *map(trial.params.get, names), note or origin])
    marked = next((index for index, trial in enumerate(story.shown) if trial is story.best), None)
    return section(
        "Trials",
        f"The best trial is marked.{_some(story)} A hyperparameter without effect beside the others shows a dash.",
        folded(counted(len(rows), "trial"), table(columns, rows, marked=marked)),
    )


def _environment(story: _Story) -> Html:
    record = story.record
    commits = sorted({str(trial.user_attrs[COMMIT]) for trial in story.trials if COMMIT in trial.user_attrs})
    attributes = story.best.user_attrs if story.best is not None else {}
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    rows = [
        ["study", f"{story.study.study_name} ({record.uid}), begun {record.created}"],
        ["storage", story.storage],
        ["data", record.data],
        ["data hash", record.data_hash],
        ["space", f"{story.space.name}, fingerprint {record.space_fingerprint}"],
        ["protocol", f"{record.protocol}, seen items: {record.seen}"],
        ["objective", record.objective],
        ["seeds", f"study {record.seed}, split {record.split_seed}"],
        ["best trial's seed", str(attributes.get(CONFIGURATION, {}).get("seed", "–"))],
        ["model size", f"{n:,} parameters" if (n := attributes.get(SUMMARY, {}).get("n_parameters")) else "–"],
        ["sampler, pruner", f"{record.sampler}, {record.pruner}"],
        ["git commit of the working folder", ", ".join(commits) or "none recorded"],
        ["hrnn-hpo", f"{record.version} began the study, {__version__} wrote this report"],
        ["where the report was written", f"Python {platform.python_version()}, {libraries}, {platform.platform()}"],
    ]
    constants = "\n".join(f"{name}: {show(value)}" for name, value in story.space.constants.items())
    return section(
        "Environment", table(["", ""], rows), folded("What was not searched", element("pre", constants or "nothing"))
    )


def _repeat(story: _Story) -> Html:
    lines = commands(story.study, story.record, story.trials, story.space, storage=story.storage_asked)
    notes = [element("p", note, "note") for note in rerun_notes(story.study, story.record, story.trials, story.space)]
    content = yaml.safe_dump(story.record.space, sort_keys=False, default_flow_style=None, allow_unicode=True)
    own = "" if story.space.path is not None else f" Save it as {OWN_SPACE}."
    return section(
        "How to repeat it",
        "Search again under another name; export the best configuration; train it to the same figures.",
        element("pre", "\n".join(lines)),
        *notes,
        folded(f"The search space as the study recorded it.{own}", element("pre", content)),
    )


_ORIGINS = {"prior": "from the prior", "incumbent": "near the best so far"}  # the sampler's own say nothing


def _shown(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return all trials, or the best and the newest without a score where there are too many, in their order."""
    if len(trials) <= MAX_SHOWN:
        return trials
    ranked = sorted(trials, key=_worth, reverse=True)
    return sorted(ranked[:MAX_SHOWN], key=lambda trial: trial.number)


def _worth(trial: FrozenTrial) -> tuple[bool, float, int]:
    value = score(trial)
    return trial.state == TrialState.COMPLETE, float("-inf") if value is None else value, -trial.number


def _some(story: _Story) -> str:
    return "" if len(story.shown) == len(story.trials) else f" The best {len(story.shown)} of {len(story.trials)}."


def _unless_empty(title: str, note: str, content: Html) -> Html:
    return section(title, note, content) if content.text else Html("")


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
