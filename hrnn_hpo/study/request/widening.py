"""A study that goes on in a wider space: its trials written anew with the new ranges, under the old name and numbers.

Optuna keeps a trial's distributions for good, so the study is built again beside the old one and takes its name. A
process that dies on the way leaves both, and `finish_widening` brings it to an end.
"""

import shlex
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hrnn_hpo.errors import StudyError, counted
from hrnn_hpo.search.continuation import Continuation, carry_over, carry_params, continuation
from hrnn_hpo.search.space import SearchSpace, Value, distributions
from hrnn_hpo.study.attributes import WIDENS
from hrnn_hpo.study.folders import WIDENING
from hrnn_hpo.study.objectives import directions
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.record import KEY, StudyRecord, read_record, write_record
from hrnn_hpo.study.storage.database import create_study, has_study, load_study
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.storage.names import is_ours, require_names_beside
from hrnn_hpo.study.trials import count_trials

# What a sampler remembers in trials about the old ranges.
SAMPLER_STATE = ("cma:", "sepcma:", "cmawm:")


def widened(record: StudyRecord, space: SearchSpace) -> Continuation | None:
    """Return how a space widens a study's; None where it is the same, takes configurations away or has other defaults.

    The defaults are the study's yardstick: with others, its trial 0 would be none.
    """
    recorded = record.search_space()
    found = continuation(recorded, space)
    widens = found.changes and found.widening and recorded.resolve({}) == space.resolve({})
    return found if widens else None


def widening_notes(record: StudyRecord, found: Continuation) -> list[str]:
    """Return what to tell about a study that goes on in a wider space: the changes, and what cannot come along."""
    notes = ["The study goes on in a wider space, its trials with it:\n" + "\n".join(f"  {c}" for c in found.changes)]
    if record.sampler in ("qmc", "cma-es"):
        notes.append(f"The state of the sampler {record.sampler} cannot be carried over: it begins anew.")
    return notes


def widen(name: str, storage: RDBStorage, record: StudyRecord) -> None:
    """Give a study the wider space of `record`; every trial keeps its number, values and attributes.

    Raises StudyError while trials are running; meanwhile nobody starts one, which would go with the old study.
    """
    with holding(name, storage, "start"):
        _widen(name, storage, record)


def _widen(name: str, storage: RDBStorage, record: StudyRecord) -> None:
    old = load_study(name, storage)
    trials = old.get_trials(deepcopy=False)
    running = count_trials(trials).running
    if running:
        raise StudyError(
            f"Study {name!r} has {counted(running, 'running trial')}: its space can be widened when none runs "
            f"(`hrnn-hpo studies stop {shlex.quote(name)}`)."
        )
    before, after = read_record(old).search_space(), record.search_space()
    moved = [_moved(trial, before, after) for trial in trials]
    beside = _beside(name)
    require_names_beside(name, storage)
    if has_study(beside, storage) and is_ours(load_study(beside, storage)):
        _delete(beside, storage)
    with optuna_quiet():
        new = create_study(beside, storage, directions=directions(record.objectives))
        new.set_user_attr(WIDENS, name)  # first: by it a process that finds a part of the copy knows whose it is
        for key, value in old.user_attrs.items():
            if key != KEY:
                new.set_user_attr(key, value)
        new.add_trials(moved)
        write_record(new, record)  # last: from here on it is complete
    _delete(name, storage)
    _take_name(name, storage)


def finish_widening(name: str, storage: RDBStorage) -> None:
    """Bring a widening to its end that was cut off; nothing happens without one."""
    beside = _beside(name)
    if not has_study(beside, storage):
        return
    with holding(name, storage, "begin"):  # whoever widens it now holds this lock
        if has_study(beside, storage):
            _finish(name, beside, storage)


def _finish(name: str, beside: str, storage: RDBStorage) -> None:
    new = load_study(beside, storage)
    if not is_ours(new):  # another program's, or nothing yet
        return
    if KEY not in new.user_attrs:  # cut off before the old study was touched
        _delete(beside, storage)
        return
    if has_study(name, storage):
        there = load_study(name, storage)
        has_record = KEY in there.user_attrs  # as the old study has; a copy gets it last, before its trials
        same = has_record and read_record(there).space_fingerprint == read_record(new).space_fingerprint
        if has_record and (not same or len(there.trials) >= len(new.trials)):  # the old study, or a whole copy
            _delete(beside, storage)
            return
        _delete(name, storage)
    _take_name(name, storage)


def _moved(trial: FrozenTrial, before: SearchSpace, after: SearchSpace) -> FrozenTrial:
    kept = {key: value for key, value in trial.system_attrs.items() if not key.startswith(SAMPLER_STATE)}
    trial.system_attrs = kept
    if trial.state == TrialState.WAITING:
        return _queued(trial, before, after)
    found = carry_over([trial], before, after)
    if not found:
        raise _no_configuration(trial)
    return found[0]


def _queued(trial: FrozenTrial, before: SearchSpace, after: SearchSpace) -> FrozenTrial:
    """Return a waiting trial with the values that it was given; what is still to be drawn stays so.

    One that goes on has its values as parameters, beside its epochs; one that was enqueued, or whose worker died while
    it drew, has at most those that it must draw.
    """
    attributes, params = dict(trial.system_attrs), _carried(trial, trial.params, before, after)
    if "fixed_params" in attributes:
        attributes["fixed_params"] = _carried(trial, attributes["fixed_params"], before, after)
    found = distributions(after)
    return create_trial(
        state=TrialState.WAITING,
        params=params,
        distributions={name: found[name] for name in params},
        user_attrs=trial.user_attrs,
        system_attrs=attributes,
        intermediate_values=trial.intermediate_values,
    )


def _carried(trial: FrozenTrial, given: Mapping[str, Any], before: SearchSpace, after: SearchSpace) -> dict[str, Value]:
    """Return the given values as the new space records them; none for none, and none that were still to be drawn."""
    if not given:
        return {}
    carried, to_draw = carry_params(given, before, after), before.varied(given).keys() - given.keys()
    if carried is None:
        raise _no_configuration(trial)
    return {name: value for name, value in carried.items() if name not in to_draw}


def _no_configuration(trial: FrozenTrial) -> StudyError:
    return StudyError(f"Trial {trial.number} is no configuration of the new space: give it another --study name.")


def _take_name(name: str, storage: RDBStorage) -> None:
    with optuna_quiet():
        optuna.copy_study(from_study_name=_beside(name), from_storage=storage, to_storage=storage, to_study_name=name)
    _delete(_beside(name), storage)


def _delete(name: str, storage: RDBStorage) -> None:
    optuna.delete_study(study_name=name, storage=storage)


def _beside(name: str) -> str:
    return name + WIDENING
