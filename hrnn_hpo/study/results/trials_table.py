"""The table of a study's trials: a row each, failed ones too."""

import csv
import io
from typing import Any

from optuna.study import Study

from hrnn_hpo.study.attributes import CONFIGURATION, FAILURE, PROPOSED_BY, ROLE, SUMMARY, epochs_of, standard_error_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.seeds import original_number

REASON = "reason"  # the last column


def trials_table(study: Study) -> str:
    """Return trials.csv: a row per trial, failed ones too, with its parameters and its best epoch's metrics."""
    columns, rows = trial_rows(study)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        started, seconds = row["started"], row["seconds"]
        row["started"] = None if started is None else started.isoformat(timespec="seconds")
        row["seconds"] = None if seconds is None else f"{seconds:.1f}"
        writer.writerow(row)
    return text.getvalue()


def trial_rows(study: Study) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the table's columns, and of each trial what it has of them; what is known of none is None or left out.

    Hyperparameters and metrics have their own names; one that a column has already begins with `params_` or `metrics_`.
    """
    trials = study.get_trials(deepcopy=False)
    more = read_record(study).more_objectives
    params = sorted({name for trial in trials for name in trial.params})
    metrics = list(dict.fromkeys(name for t in trials for name in t.user_attrs.get(SUMMARY, {}).get("metrics", {})))
    fixed = [
        "trial",
        "state",
        "value",
        "standard_error",
        "role",
        "retry_of",
        "proposed_by",
        "started",
        "seconds",
        "epochs",
        "best_epoch",
        "seed",
    ]
    fixed += [f"objective_{name}" for name in more]
    taken = {*fixed, REASON}
    column_of_param = {name: f"params_{name}" if name in taken else name for name in params}
    taken |= {*column_of_param.values()}
    column_of_metric = {name: f"metrics_{name}" if name in taken else name for name in metrics}
    rows = []
    for trial in trials:
        summary = trial.user_attrs.get(SUMMARY, {})
        original = original_number(trial)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name,
                "value": None if trial.values is None else trial.values[0],
                **{f"objective_{name}": v for name, v in zip(more, (trial.values or [])[1:], strict=False)},
                "standard_error": standard_error_of(trial) if trial.values is not None else None,
                "role": trial.user_attrs.get(ROLE),
                "retry_of": None if original == trial.number else original,
                "proposed_by": trial.user_attrs.get(PROPOSED_BY),
                "started": trial.datetime_start,
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "epochs": len(epochs_of(trial)),
                "best_epoch": summary.get("best_epoch"),
                "seed": trial.user_attrs.get(CONFIGURATION, {}).get("seed"),
                **{column_of_param[name]: value for name, value in trial.params.items()},
                **{column_of_metric[name]: value for name, value in summary.get("metrics", {}).items()},
                REASON: trial.user_attrs.get(FAILURE, {}).get("reason"),
            }
        )
    return [*fixed, *column_of_param.values(), *column_of_metric.values(), REASON], rows
