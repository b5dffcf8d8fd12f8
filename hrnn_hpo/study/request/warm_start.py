"""What an earlier study can tell a new one: its best configurations, as far as the new space holds them.

They train again, so that every score of a study was reached on its own data, split and seeds.
"""

from optuna.storages import RDBStorage

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.search.space import SearchSpace, Value
from hrnn_hpo.search.values import same, show
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.storage.database import load_study
from hrnn_hpo.study.trials import best_trials, last_attempts

N_CONFIGURATIONS = 5
# What makes two studies' scores comparable.
COMPARED = ("data_hash", "protocol", "split_seed", "seen", "objective", "user_fraction")


def warm_start(
    earlier: str, storage: RDBStorage, record: StudyRecord, space: SearchSpace
) -> tuple[list[dict[str, Value]], list[str]]:
    """Return the searched part of an earlier study's best configurations that fit a space, and what to tell about it.

    A configuration fits where the space admits its value of everything that it searches; what the space holds constant
    is told where it differs. Raises StudyError for a study that the storage does not hold.
    """
    study = load_study(earlier, storage)
    theirs = read_record(study)
    found: list[dict[str, Value]] = []
    outside: dict[int, list[str]] = {}
    constants: set[str] = set()
    trials = best_trials(last_attempts(study))
    for trial in trials:
        if len(found) == N_CONFIGURATIONS:
            break
        values = theirs.search_space().resolve(trial.params).model_dump()
        params = space.varied({name: values[name] for name in space.searched})
        problems = space.problems(params)
        if problems:
            outside[trial.number] = problems
            continue
        if params not in found:
            found.append(params)
        here = space.resolve(params).model_dump()
        constants |= {
            f"{name} is {show(here[name])} here, {show(values[name])} there"
            for name in Hyperparameters.model_fields
            if name not in params and not same(here[name], values[name])
        }
    notes = [
        f"{len(found)} of the {len(trials)} complete trials' configurations of study {earlier!r} train again here."
    ]
    differ = [key for key in COMPARED if getattr(theirs, key) != getattr(record, key)]
    if differ:
        notes.append(f"Its scores are not comparable with this study's: other {', '.join(differ)}.")
    if constants:
        notes.append("Not taken over, as this space holds it constant: " + "; ".join(sorted(constants)) + ".")
    for number, problems in list(outside.items())[:N_CONFIGURATIONS]:
        notes.append(f"Its trial {number} does not fit this space: {'; '.join(problems)}")
    return found, notes
