"""How much to confirm: how many configurations, on how many fresh seeds."""

from dataclasses import asdict, dataclass

from optuna.study import Study

from hrnn_hpo.study.confirm.verdict import default_n_confirmed
from hrnn_hpo.study.record import StudyRecord

SETTINGS = "confirm"  # in a study: what was asked for, kept for the next command
DEFAULT_SEEDS = 5


@dataclass(frozen=True)
class Settings:
    """How much to confirm: `k` configurations beside the defaults, None for verdict.default_n_confirmed."""

    k: int | None = None
    n_seeds: int = DEFAULT_SEEDS
    ensemble: bool = False  # whether the study leaves the mean of so many refits of the winner


def remember_settings(study: Study, k: int | None, n_seeds: int | None, ensemble: bool | None) -> Settings:
    """Return what to confirm, and remember what was asked for: None takes what an earlier command said."""
    settings = wanted_settings(study, k, n_seeds, ensemble)
    study.set_user_attr(SETTINGS, asdict(settings))
    return settings


def wanted_settings(study: Study | None, k: int | None, n_seeds: int | None, ensemble: bool | None = None) -> Settings:
    """Return what to confirm by what is asked for now and what a study was told before."""
    told = study.user_attrs.get(SETTINGS, {}) if study is not None else {}
    asked = {"k": k, "n_seeds": n_seeds, "ensemble": ensemble}
    return Settings(**{**told, **{name: value for name, value in asked.items() if value is not None}})


def n_confirmed(settings: Settings, n_trials: int, record: StudyRecord) -> int:
    """Return how many configurations beside the defaults are confirmed after a search of so many trials."""
    if settings.k is not None:
        return settings.k
    k = default_n_confirmed(n_trials, settings.n_seeds)
    if record.user_fraction is not None or settings.ensemble:  # scores and epochs of less data; a winner to refit
        return max(k, 1)
    return k
