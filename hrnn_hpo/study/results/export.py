"""A study's winner as a file: a configuration that `train` repeats to the last digit, or Amazon's solutionConfig."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.config import dump_configuration
from hrnn_hpo.errors import ConfigError, StudyError, counted
from hrnn_hpo.files import write_text
from hrnn_hpo.search.amazon.personalize import left_out, solution_config_from
from hrnn_hpo.study.confirm.refit import confirmed_configuration
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts, read_confirmation, winner_trial

Format = Literal["yaml", "json", "personalize"]
ENDINGS: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def export(
    study: str, out: Path, format: Format | None = None, *, trial: int | None = None, storage: str | None = None
) -> Path:
    """Write the configuration of a study's winner (or of the trial asked for) and return the file.

    A trial that went on under another number goes by either, since MLflow names it by its first one.

    The winner is the confirmed one, the best of the search where nothing was confirmed. Its best_epoch is then the
    median of the confirmation's runs, for `train --refit` and `--protocol none`; with validation users `train` finds
    the trial's own again, and so repeats the trial's figures.

    The format follows the file's ending unless told, and never contradicts it. Raises ConfigError for an ending that
    says no format or another one, StudyError while no trial is complete.
    """
    chosen = format or ENDINGS.get(out.suffix)
    if chosen is None:
        raise ConfigError(f"{out}: must end in {', '.join(ENDINGS)}, or --format must say what to write.")
    if chosen not in get_args(Format):
        raise ConfigError(f"--format must be one of {', '.join(get_args(Format))}, but got {chosen!r}.")
    if ENDINGS.get(out.suffix, written := "yaml" if chosen == "yaml" else "json") != written:
        raise ConfigError(f"{out}: --format {chosen} writes {written.upper()}, but the name ends in {out.suffix}.")
    found = load_study(study, open_storage(storage))
    text = render(found, chosen, trial)
    write_text(out, text)
    return out


def render(study: Study, format: Format = "yaml", trial: int | None = None) -> str:
    """Return the text of the file that `export` writes."""
    chosen = _chosen(study, trial)
    configuration = confirmed_configuration(study, chosen)
    if format == "personalize":
        space = read_record(study).search_space()
        content: dict[str, Any] = solution_config_from(space, configuration.hyperparameters)
        return json.dumps(content, indent=2) + "\n"
    content = dump_configuration(configuration)
    if format == "json":
        return json.dumps(content, indent=2) + "\n"
    return _header(study, chosen) + yaml.safe_dump(content, sort_keys=False)


def left_behind(study: str, *, trial: int | None = None, storage: str | None = None) -> dict[str, Any]:
    """Return the winner's (or a trial's) hyperparameters that the format `personalize` has no place for."""
    found = load_study(study, open_storage(storage))
    return dict(left_out(confirmed_configuration(found, _chosen(found, trial)).hyperparameters))


def _chosen(study: Study, number: int | None) -> FrozenTrial:
    if number is None:
        winner = winner_trial(study)
        if winner is None:
            raise StudyError(f"Study {study.study_name!r} has no complete trial yet: there is nothing to export.")
        return winner
    complete = [one for one in last_attempts(study) if one.state.name == "COMPLETE"]
    numbered = {original_number(one): one for one in complete} | {one.number: one for one in complete}
    if number not in numbered:
        raise StudyError(f"Trial {number} of study {study.study_name!r} is not complete, or does not exist.")
    return numbered[number]


def _header(study: Study, trial: FrozenTrial) -> str:
    """Return the comment at the head of a configuration file: which trial, and what is known of it."""
    objective = read_record(study).objective
    value = f"{objective} {trial.value!r} on the validation users"
    fraction = read_record(study).user_fraction
    part = "" if fraction is None else f", trained on {fraction:.0%} of the training users"
    lines = [f"Trial {trial.number} of study {study.study_name}: {value}{part}."]
    confirmation = read_confirmation(study)
    for contender in confirmation.contenders if confirmation is not None else ():
        if confirmation is not None and contender.trial == trial.number:
            seeds = counted(confirmation.n_seeds, "fresh seed")
            lines.append(f"Confirmed on {seeds}: {objective} {contender.mean!r}; best_epoch is their median.")
    if confirmation is not None and trial.number == confirmation.winner:
        doubt = "" if confirmation.doubt is None else f" It cannot be yes: {confirmation.doubt}."
        lines.append(f"Better than the defaults: {confirmation.verdict}.{doubt}")
    return "".join(f"# {line}\n" for line in lines)
