"""How far a study may go, as it stands in the study itself: every worker reads it there."""

from dataclasses import asdict, dataclass

from optuna.study import Study

BUDGET_KEY = "budget"


@dataclass(frozen=True)
class Budget:
    """The limits of the newest command, and how its trials are proposed and ended."""

    n_trials: int | None  # complete and pruned trials in total
    sampler: str
    pruner: str
    deadline: float | None = None  # seconds since 1970
    patience_trials: int | None = None  # trials in a row, complete or pruned, without a better value
    target: float | None = None  # the value to reach
    keep: int | None = None  # trials that the pruner `epochs:K` finishes


def write_budget(study: Study, budget: Budget) -> None:
    """Write a budget into a study."""
    study.set_user_attr(BUDGET_KEY, asdict(budget))


def read_budget(study: Study) -> Budget | None:
    """Return the newest budget of a study, None where none was written yet."""
    content = study.user_attrs.get(BUDGET_KEY)
    known = Budget.__dataclass_fields__
    return Budget(**{name: value for name, value in content.items() if name in known}) if content else None
