"""Studies for a notebook: Optuna's own object, and the trials as a table."""

import optuna
import pandas as pd

from hrnn_hpo.study.results.trials_table import trial_rows
from hrnn_hpo.study.storage import database


def load_study(name: str, storage: str | None = None) -> optuna.Study:
    """Return Optuna's own Study of a name: its trials, importances and plots work as in any Optuna study.

    `storage` is the database's address, the embedded one unless given or named by HRNN_HPO_STORAGE. Raises StudyError
    for a study that is not there, with the nearest name.
    """
    return database.load_study(name, database.open_storage(storage))


def trials_dataframe(name: str, storage: str | None = None) -> pd.DataFrame:
    """Return a row for each trial of a study, failed ones too: state, value, times, hyperparameters and metrics.

    It is the table of trials.csv; what a trial does not have is missing. Raises what `load_study` raises.
    """
    columns, rows = trial_rows(load_study(name, storage))
    table = pd.DataFrame(rows, columns=columns)
    whole = ["retry_of", "best_epoch", "seed"]
    return table.astype(dict.fromkeys(whole, "Int64") | {"value": float, "seconds": float})
