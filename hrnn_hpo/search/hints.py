"""What a search space allows and its author may not mean: entries that are never searched, ends and scales of ranges.

What it forbids is reader.py's.
"""

import math
import random

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value, show

_N_DRAWS = 64  # of configurations that are checked for rules between hyperparameters
_WIDE = 100.0  # two decades: from here on, a linear scale hardly ever tries the lower one


def hints(space: SearchSpace) -> list[str]:
    """Return what is allowed but may not be meant, a line each."""
    found = list(space.notes)
    for name, parameter in space.parameters.items():
        if name in space.fixed or not parameter.tunable:
            continue
        if name not in space.searched:
            if not any(other in space.fixed for other in parameter.when):  # fixed: meant that way
                found.append(f"{name}: its condition never holds in this space, so it stays at its default.")
        elif parameter.n_values() == 1:
            found.append(f"{name}: has one value; `fix: {{{name}: {show(parameter.default)}}}` says so.")
        elif parameter.range is not None:
            found += _of_range(parameter)
    if not space.searched:
        found.append("nothing is left to tune: every trial would be the defaults.")
    return found + _clashes(space)


def _of_range(parameter: Parameter) -> list[str]:
    assert parameter.range is not None
    found = []
    low, high = parameter.range
    if parameter.high < high:
        found.append(f"{parameter.name}: the steps of {parameter.describe()} end at {show(parameter.high)}.")
    if not parameter.log and parameter.step is None and low > 0 and high / low >= _WIDE:
        found.append(
            f"{parameter.name}: {parameter.describe()} spans {math.log10(high / low):.1f} decades; "
            "`log: true` would try each of them alike."
        )
    return found


def _clashes(space: SearchSpace) -> list[str]:
    """Return the rules between hyperparameters that some configurations of the space break, a line each.

    Rules are of few values each, so that draws from the ends of all ranges and from the choices find them.
    """
    generator = random.Random(0)

    def end(parameter: Parameter) -> Value:
        return generator.choice(parameter.choices or (parameter.low, parameter.high))

    found: dict[str, None] = {}
    for _ in range(_N_DRAWS):
        try:
            space.resolve(space.draw(end))
        except ConfigError as error:
            rule = str(error).partition(", but got")[0].removeprefix(f"space {space.name}: ")
            found[f"{rule}; a trial that breaks this fails. Fix one of the two, or give it a condition."] = None
    return list(found)
