"""The table of a study's trials: a row each, failed ones too."""

import csv
import io

from optuna.study import Study

from hrnn_hpo.study.attributes import CONFIGURATION, FAILURE, ROLE, SUMMARY, epochs_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.seeds import original_number


def trials_table(study: Study) -> str:
    """Return trials.csv: a row per trial, failed ones too, with its parameters and its best epoch's metrics."""
    trials = study.get_trials(deepcopy=False)
    more = read_record(study).more_objectives
    params = sorted({name for trial in trials for name in trial.params})
    metrics = list(dict.fromkeys(name for t in trials for name in t.user_attrs.get(SUMMARY, {}).get("metrics", {})))
    fixed = ["trial", "state", "value", "role", "retry_of", "started", "seconds", "epochs", "best_epoch", "seed"]
    fixed += [f"objective_{name}" for name in more]
    rows = io.StringIO()
    writer = csv.DictWriter(rows, [*fixed, *params, *metrics, "reason"], restval="", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        summary = trial.user_attrs.get(SUMMARY, {})
        original = original_number(trial)
        writer.writerow(
            {
                "trial": trial.number,
                "state": trial.state.name,
                "value": "" if trial.values is None else repr(trial.values[0]),
                **{f"objective_{name}": repr(v) for name, v in zip(more, (trial.values or [])[1:], strict=False)},
                "role": trial.user_attrs.get(ROLE, ""),
                "retry_of": "" if original == trial.number else original,
                "started": trial.datetime_start.isoformat(timespec="seconds") if trial.datetime_start else "",
                "seconds": f"{trial.duration.total_seconds():.1f}" if trial.duration else "",
                "epochs": len(epochs_of(trial)),
                "best_epoch": summary.get("best_epoch", ""),
                "seed": trial.user_attrs.get(CONFIGURATION, {}).get("seed", ""),
                **trial.params,
                **summary.get("metrics", {}),
                "reason": trial.user_attrs.get(FAILURE, {}).get("reason", ""),
            }
        )
    return rows.getvalue()
