"""What a changed search space means for a study: the difference in words, and which old trials stay valid.

Optuna keeps trials of a widened space, but badly: a storage refuses other choices or another scale under one name, and
the multivariate samplers drop every parameter whose recorded distribution varies. So old trials are not continued in
place: carry_over rewrites them with the new space's distributions, for a new study to start from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.search.parameter import Parameter, narrowing_problem
from hrnn_hpo.search.space import SearchSpace, distributions
from hrnn_hpo.search.values import Value, same, show

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Continuation:
    """How a space has changed: `changes` in words, and `lost`, the changes that old trials may not survive."""

    changes: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def unchanged(self) -> bool:
        """Whether a study goes on as if nothing had happened."""
        return not self.changes

    @property
    def widening(self) -> bool:
        """Whether every configuration of the old space is one of the new space too."""
        return not self.lost


def difference(old: SearchSpace, new: SearchSpace) -> list[str]:
    """Return what changed from one space to another, a line per hyperparameter; empty for the same search."""
    return list(continuation(old, new).changes)


def continuation(old: SearchSpace, new: SearchSpace) -> Continuation:
    """Return how a space has changed and what of the old one is no longer possible."""
    changes, lost = [], []
    for name in Hyperparameters.model_fields:
        if name not in old.defaults() and name not in new.defaults():
            continue
        before, after = _role(old, name), _role(new, name)
        if before != after:
            changes.append(f"{name}: {before} -> {after}")
            reason = _loss(old, new, name)
            if reason:
                lost.append(f"{name}: {reason}")
    return Continuation(tuple(changes), tuple(lost))


def carry_over(trials: Iterable["FrozenTrial"], old: SearchSpace, new: SearchSpace) -> list["FrozenTrial"]:
    """Return the finished trials that are configurations of the new space, with its distributions.

    For `new_study.add_trial`: values, epochs' reports, attributes and times stay, numbers are the new study's to give.
    """
    from optuna.trial import create_trial

    found = distributions(new)
    carried = []
    for trial in trials:
        params = carry_params(trial.params, old, new)
        if not trial.state.is_finished() or params is None:
            continue
        moved = create_trial(
            state=trial.state,
            values=trial.values,
            params=params,
            distributions={name: found[name] for name in params},
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
        moved.datetime_start, moved.datetime_complete = trial.datetime_start, trial.datetime_complete
        carried.append(moved)
    return carried


def carry_params(params: Mapping[str, Any], old: SearchSpace, new: SearchSpace) -> dict[str, Value] | None:
    """Return what a trial of the new space records of an old trial's configuration; None where it is none of its."""
    values = _everything(old, params)
    carried = new.varied(values)
    # The new space must both admit the values and, from its own parameters alone, run exactly the same thing.
    return None if new.problems(carried) or _everything(new, carried) != values else carried


def _role(space: SearchSpace, name: str) -> str:
    """Return what a space does with a hyperparameter, in words."""
    if name not in space.searched:
        return f"constant {show(_constant(space, name))}"
    parameter = space.searched[name]
    values = parameter.describe()
    if parameter.type == "categorical":
        values = "one of " + ", ".join(sorted(show(choice) for choice in parameter.choices))
    conditions = [
        f"{other} is {' or '.join(sorted(show(choice) for choice in choices))}"
        for other, choices in sorted(parameter.when.items())
    ]
    condition = f" when {' and '.join(conditions)}" if conditions else ""
    return f"searched in {values} (default {show(parameter.default)}){condition}"


def _loss(old: SearchSpace, new: SearchSpace, name: str) -> str | None:
    """Return why old trials may have run with a value that the new space gives to none, or None."""
    if name not in new.searched:
        ran = old.searched[name].describe() if name in old.searched else show(_constant(old, name))
        return f"old trials ran with {ran}, new ones with {show(_constant(new, name))}."
    after = new.searched[name]
    if name not in old.searched:
        constant = _constant(old, name)
        wrong = after.problem(constant)
        if wrong and constant == AUTO:
            return "old trials left it to the data (auto)."
        if wrong:
            return f"the value of the old trials {wrong}"
        stays = not after.when or same(constant, after.default)
    else:
        before = old.searched[name]
        outside = narrowing_problem(before, after)
        if outside:
            return f"the new space has only {outside}."
        stays = not after.when or (same(before.default, after.default) and _conditions(before) == _conditions(after))
    return None if stays else "where it is inactive now, old trials may have run with another value."


def _conditions(parameter: Parameter) -> dict[str, set[tuple[type, Value]]]:
    return {other: {(type(choice), choice) for choice in choices} for other, choices in parameter.when.items()}


def _constant(space: SearchSpace, name: str) -> Value:
    value: Value = space.constants.get(name, Hyperparameters.model_fields[name].default)
    return value


def _everything(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Value]:
    """Return the value of every hyperparameter in a trial, those that its space does not name included."""
    return {**Hyperparameters().model_dump(), **space.complete(values)}
