"""Configurations that a user asks a study to try early, and which of their values are the study's own to say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrnn_hpo.config import load_configuration, read_yaml_mapping
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.amazon.solution_file import is_solution_config
from hrnn_hpo.search.space import SearchSpace, Value, check_assignment
from hrnn_hpo.search.values import same, show

BUDGET = ("epochs", "patience")  # how long a study lets any trial train: its space's to say, where that is constant


def enqueued(
    entries: Sequence[Path | Mapping[str, Any]], space: SearchSpace
) -> tuple[list[dict[str, Value]], list[str]]:
    """Return the searched part of each configuration, and what to tell about them.

    An entry is a configuration file, as `export` writes it, or hyperparameters alone, in a file or a mapping. The
    epochs and patience of a space that does not search them hold for enqueued trials too. Raises SpaceError for a
    configuration that the space does not hold, ConfigError for a file that is none.
    """
    found, notes = [], []
    for entry in entries:
        source = str(entry) if isinstance(entry, Path) else "configuration to enqueue"
        values = _read(entry) if isinstance(entry, Path) else dict(entry)
        ours = space.resolve({}).model_dump()
        others = [
            name
            for name in BUDGET
            if name in values and name not in space.searched and not same(values[name], ours[name])
        ]
        for name in others:
            notes.append(f"{source}: {name} is {show(ours[name])} in this study, not {show(values.pop(name))}.")
        check_assignment(space, values, source)
        found.append(space.varied(values))
    return found, notes


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml_mapping(path)
    if is_solution_config(content):
        raise ConfigError(f"{path}: is a solutionConfig of Amazon Personalize, which --solution-config reads.")
    if "hyperparameters" in content:
        return load_configuration(path).hyperparameters.model_dump(exclude_unset=True)
    return content
