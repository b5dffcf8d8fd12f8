"""Studies for a notebook: Optuna's own object, and the trials as a table."""

import io

import optuna
import pandas as pd

from hrnn_hpo.study.results import trials_table
from hrnn_hpo.study.storage import load_study as load_from
from hrnn_hpo.study.storage import open_storage


def load_study(name: str, storage: str | None = None) -> optuna.Study:
    """Return Optuna's own Study of a name: its trials, importances and plots work as in any Optuna study.

    `storage` is the database's address, the embedded one unless given or named by HRNN_HPO_STORAGE. Raises StudyError
    for a study that is not there, with the nearest name.
    """
    return load_from(name, open_storage(storage))


def trials_dataframe(name: str, storage: str | None = None) -> pd.DataFrame:
    """Return a row for each trial of a study, failed ones too: state, value, times, hyperparameters and metrics.

    It is the table of trials.csv. What a trial does not have is NaN. Raises what `load_study` raises.
    """
    text = trials_table(load_study(name, storage))
    table: pd.DataFrame = pd.read_csv(
        io.StringIO(text), parse_dates=["started"], keep_default_na=False, na_values=[""], float_precision="round_trip"
    )
    return table
