"""How much to confirm: how many trials are screened for it, how many are confirmed, on how many fresh seeds."""

from dataclasses import asdict, dataclass

from optuna.study import Study

from hrnn_hpo.study.attributes import CANDIDATE
from hrnn_hpo.study.confirm.agenda import confirmation_runs, screening_runs
from hrnn_hpo.study.confirm.screening import CONFIRMED_OF_SCREENED, LEAST_SEARCHED, default_n_screened
from hrnn_hpo.study.confirm.verdict import default_n_confirmed
from hrnn_hpo.study.record import StudyRecord

SETTINGS = "confirm"  # in a study: what was asked for, kept for the next command
DEFAULT_SEEDS = 5


@dataclass(frozen=True)
class Settings:
    """How much to confirm: `k` configurations beside the defaults, `screen` before; None for what how_many says."""

    k: int | None = None
    n_seeds: int = DEFAULT_SEEDS
    ensemble: bool = False  # whether the study leaves the mean of so many refits of the winner
    screen: int | None = None  # trials that run again before `k` of them are confirmed


def remember_settings(
    study: Study, k: int | None, n_seeds: int | None, ensemble: bool | None, screen: int | None = None
) -> Settings:
    """Return what to confirm, and remember what was asked for: None takes what an earlier command said."""
    settings = wanted_settings(study, k, n_seeds, ensemble, screen)
    study.set_user_attr(SETTINGS, asdict(settings))
    return settings


def wanted_settings(
    study: Study | None,
    k: int | None,
    n_seeds: int | None,
    ensemble: bool | None = None,
    screen: int | None = None,
) -> Settings:
    """Return what to confirm by what is asked for now and what a study was told before."""
    told = study.user_attrs.get(SETTINGS, {}) if study is not None else {}
    asked = {"k": k, "n_seeds": n_seeds, "ensemble": ensemble, "screen": screen}
    return Settings(**{**told, **{name: value for name, value in asked.items() if value is not None}})


@dataclass(frozen=True)
class Numbers:
    """How many configurations beside the defaults are confirmed, and how many are screened for it; 0 where none is."""

    confirmed: int
    screened: int


def how_many(settings: Settings, n_trials: int, record: StudyRecord, companion: Study | None = None) -> Numbers:
    """Return what is screened and confirmed after a search of so many trials.

    Unless told, a search of 20 trials or more is confirmed, whatever number of seeds was asked for, and a smaller one
    is not; nobody is screened where the study has confirmed trials without a screening before: its verdict stands.
    """
    screened, k = settings.screen, settings.k
    if screened is None:
        before = companion is not None and _confirmed_unscreened(companion)
        screened = 0 if before else default_n_screened(n_trials)
    if k is None:
        if n_trials < LEAST_SEARCHED:
            k = 0
        elif screened > 1:
            k = min(CONFIRMED_OF_SCREENED, screened - 1)
        else:
            k = max(default_n_confirmed(n_trials, settings.n_seeds), 1)
        # Scores and epochs of less data; a winner to refit; a screening that was asked for.
        if record.user_fraction is not None or settings.ensemble or settings.screen:
            k = max(k, 1)
    return Numbers(k, screened if screened > k > 0 else 0)


def _confirmed_unscreened(companion: Study) -> bool:
    confirmed = {run.user_attrs[CANDIDATE] for run in confirmation_runs(companion)}
    return len(confirmed) > 1 and not screening_runs(companion)  # more than the defaults
