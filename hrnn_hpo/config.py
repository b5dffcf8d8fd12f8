"""What a run is told: hyperparameters and the configuration file around them, as frozen models.

Search spaces (search/) say which values a study may try; here stand the values themselves, their meaning,
their unit and the widest range that makes sense. Unknown keys are refused with the nearest spelling.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import yaml
from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.plain_data import load_yaml
from hrnn_hpo.settings import Settings, nearest, validate

Architecture = Literal["control", "hierarchical"]
RequestTimeParts = Literal[
    "none", "gap", "session", "clock", "gap+session", "gap+clock", "session+clock", "gap+session+clock"
]
AUTO = "auto"  # of what the data decides
LEFT_TO_DATA = ("repeats", "targets_ahead", "batch_size")  # experiment.resolve_auto puts an answer in place of `auto`
LARGEST_SEED = 2**63 - 1  # what PyTorch and every database hold
MOST_THREADS = 1_024  # thousands would take minutes to start and crawl
MOST_TARGETS_AHEAD = 64.0
_LEAST_BATCH, _LARGEST_BATCH = 1, 65_536
_OR_AUTO: dict[str, TypeAdapter[Any]] = {
    "batch_size": TypeAdapter(Annotated[int, Field(ge=_LEAST_BATCH, le=_LARGEST_BATCH)]),
    "targets_ahead": TypeAdapter(Annotated[float, Field(ge=1, le=MOST_TARGETS_AHEAD)]),
}


class Hyperparameters(Settings):
    """Everything that shapes a trained model besides data, split and seed. One name for each, everywhere."""

    # The five of Amazon's recipe aws-hrnn.
    hidden_dimension: Annotated[
        int, Field(ge=2, le=4096, description="Size of the hidden state and of the item embedding.")
    ] = 128
    bptt: Annotated[
        int, Field(ge=2, le=4096, description="Steps the gradient runs back; the carried state has no such limit.")
    ] = 32
    recency_mask: Annotated[
        bool, Field(description="Weight recent training events more and score recent popularity.")
    ] = False
    min_user_history_length_percentile: Annotated[
        float, Field(ge=0, le=1, description="Users with shorter histories than this quantile do not train.")
    ] = 0.0
    max_user_history_length_percentile: Annotated[
        float, Field(ge=0, le=1, description="Users with longer histories than this quantile do not train.")
    ] = 0.99

    # The model.
    architecture: Annotated[
        Architecture,
        Field(description="control: one recurrence reads session signals; hierarchical: session and user recurrences."),
    ] = "control"
    hierarchy: Annotated[
        Literal["init", "all"],
        Field(
            description="hierarchical only: the user state starts each session (init) or enters every step too (all)."
        ),
    ] = "init"
    n_blocks: Annotated[int, Field(ge=1, le=8, description="Residual recurrent blocks, one on the other.")] = 1
    feed_forward: Annotated[
        int,
        Field(ge=0, le=8, description="Width of each block's feed-forward part in hidden dimensions; 0 leaves it out."),
    ] = 2
    time_gaps: Annotated[bool, Field(description="Feed the bucketed log time gap to the previous event.")] = True
    control_signal: Annotated[bool, Field(description="Feed the signal continue / new session / new user.")] = True
    event_inputs: Annotated[bool, Field(description="Feed event type and event value where the data has them.")] = True
    repeats: Annotated[
        Literal["auto", "mixed", "ignored"],
        Field(
            description="mixed: a learned gate between all items and the user's own, by count and time since; "
            "auto: mixed where 1 % of the events or more repeat an item of the user."
        ),
    ] = "auto"
    request_time: Annotated[
        RequestTimeParts,
        Field(
            description="What the model reads of the time of a request, where that is known: the gap since the last "
            "event, whether it opens a session, the clock (hour and weekday, UTC); none: it cannot be told a time."
        ),
    ] = "none"
    item_start: Annotated[
        Literal["random", "neighbours", "users"],
        Field(
            description="Where item embeddings start: at random, or near those of the items that stand near them in "
            "the training histories (neighbours) or that the same users have (users)."
        ),
    ] = "random"
    input_dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout on the input embedding.")] = 0.2
    hidden_dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout on each residual branch.")] = 0.2
    output_dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout on the state that scores the items.")] = 0.2

    # How the data is read.
    session_gap: Annotated[int, Field(ge=1, description="Seconds of inactivity that end a session.")] = 1800

    # Training.
    epochs: Annotated[int, Field(ge=1, le=10_000, description="The most epochs a run may take.")] = 40
    patience: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="Epochs without a better validation score before training stops; one within the noise of the "
            "validation users counts half, and below popularity training goes on while its loss falls.",
        ),
    ] = 6
    targets_ahead: Annotated[
        float | int | Literal["auto"],
        Field(
            ge=1,
            le=MOST_TARGETS_AHEAD,
            description="How many events ahead each step's target lies on average, drawn anew each epoch, the next one "
            "most often; 1: always the next. auto: 1 where the truth is one event, 1.5 where it is a set, and twice "
            "the mean basket in a log of baskets.",
        ),
    ] = "auto"
    shuffle_ties: Annotated[
        bool,
        Field(
            description="Draw the order of a user's training events that share a second anew each epoch: for logs in "
            "which it says nothing."
        ),
    ] = False
    further_heads_weight: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="Weight of an auxiliary loss beside the next event's: further heads on the same body predict "
            "one of the next 2-4 or 5-10 events, drawn anew each epoch; 0 leaves them out.",
        ),
    ] = 0.0
    batch_size: Annotated[
        int | Literal["auto"],
        Field(
            ge=_LEAST_BATCH,
            le=_LARGEST_BATCH,
            description="Users advanced side by side in one update; auto: as many as give some 200 updates an epoch, "
            "from 16 to 128.",
        ),
    ] = "auto"
    learning_rate: Annotated[float, Field(gt=0, le=1, description="Peak learning rate of AdamW.")] = 0.003
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Decoupled weight decay of AdamW on matrices.")] = (
        0.01
    )
    gradient_clip: Annotated[float, Field(gt=0, description="Largest global norm of the gradient.")] = 1.0
    recency_half_life: Annotated[
        float, Field(gt=0, description="Days in which a training event's weight halves (recency_mask).")
    ] = 30.0
    weight_averaging: Annotated[
        float,
        Field(ge=0, lt=1, description="Decay per update of the averaged weights that are evaluated; 0 turns it off."),
    ] = 0.0
    n_negatives: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="Sampled softmax negatives shared by a batch; 0 is the full softmax."),
    ] = 0
    negative_alpha: Annotated[
        float, Field(ge=0, le=1, description="Negatives are drawn from popularity ** negative_alpha; 0 is uniform.")
    ] = 0.5

    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(
            description="Of the large products in training, weights stay float32; auto: bfloat16 on GPUs made for it."
        ),
    ] = "auto"

    @field_validator(*_OR_AUTO, mode="plain")
    @classmethod
    def _number_or_auto(cls, value: Any, info: ValidationInfo) -> float | str:
        if value == AUTO:
            return AUTO
        if isinstance(value, bool):
            raise ValueError("a number must stand here")
        try:
            number: float = _OR_AUTO[str(info.field_name)].validate_python(value)
            return int(number) if float(number).is_integer() else number  # 1 stays 1 in files
        except ValidationError as error:  # one problem, where a union would tell one for each of its sides
            raise ValueError(f"{error.errors()[0]['msg']}, or auto") from None

    @model_validator(mode="after")
    def _fit_together(self) -> "Hyperparameters":
        low, high = self.min_user_history_length_percentile, self.max_user_history_length_percentile
        if low > high:
            raise ValueError(
                "`min_user_history_length_percentile <= max_user_history_length_percentile` must hold, "
                f"but got {low} and {high}."
            )
        if self.n_negatives and self.weight_averaging:
            raise ValueError(
                "`weight_averaging = 0` must hold with n_negatives > 0 (averaging touches every item each time), "
                f"but got {self.weight_averaging}."
            )
        return self


class Configuration(Settings):
    """A configuration file: what `export` writes and `train --config` repeats to the last digit on one machine."""

    hyperparameters: Hyperparameters = Hyperparameters()
    protocol: Annotated[
        Literal["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"],
        Field(description="Who trains, validates and tests."),
    ] = "personalize"
    split_seed: Annotated[int, Field(ge=0, le=LARGEST_SEED, description="Draws the validation and test users.")] = 0
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED, description="Draws weights, batches and dropout.")] = 0
    n_threads: Annotated[
        int | None, Field(ge=1, le=MOST_THREADS, description="CPU threads; another count may change the last digits.")
    ] = None
    user_fraction: Annotated[
        float | None, Field(gt=0, le=1, description="Share of the training users that train; all unless given.")
    ] = None
    n_held_back: Annotated[
        int | None,
        Field(
            ge=1, description="Validation users, drawn by split_seed, by whom nothing is chosen: a study keeps them."
        ),
    ] = None
    best_epoch: Annotated[int | None, Field(ge=1, description="Epoch with the best validation score.")] = None
    data_hash: Annotated[str | None, Field(description="Content hash of the data the figures belong to.")] = None

    def with_hyperparameters(self, changes: Mapping[str, Any], source: str) -> "Configuration":
        """Return a copy with some hyperparameters changed, checked like a file's."""
        merged = {**self.hyperparameters.model_dump(exclude_unset=True), **changes}
        return self.model_copy(update={"hyperparameters": parse_hyperparameters(merged, source)})

    def with_settings(self, changes: Mapping[str, Any], source: str) -> "Configuration":
        """Return a copy with some entries beside the hyperparameters changed, checked like a file's."""
        checked = parse_configuration(changes, source)
        return self.model_copy(update={name: getattr(checked, name) for name in changes})


def parse_hyperparameters(values: Mapping[str, Any], source: str) -> Hyperparameters:
    """Return checked hyperparameters; missing ones take their defaults.

    Raises ConfigError with every problem in one message; `source` says where the values came from.
    """
    return validate(Hyperparameters, values, source)


def parse_configuration(values: Mapping[str, Any], source: str) -> Configuration:
    """Return a checked configuration; missing entries take their defaults.

    Raises ConfigError with every problem in one message; `source` says where the values came from.
    """
    return validate(Configuration, values, source)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Return {name: value} of `--set NAME=VALUE` options, values read as YAML.

    Raises ConfigError for text without `=`, for names that are no hyperparameter and for values that are not YAML.
    """
    changes: dict[str, Any] = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set wants NAME=VALUE, but got {text!r}.")
        if name not in Hyperparameters.model_fields:
            raise ConfigError(
                f"--set {text}: {name!r} is not a hyperparameter{nearest(name, Hyperparameters.model_fields) or '.'}"
            )
        if get_origin(Hyperparameters.model_fields[name].annotation) is Literal:
            changes[name] = value  # a word: YAML would take `on` and `no` for booleans
            continue
        try:
            changes[name] = load_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: is not valid YAML: {error}") from error
    return changes


def load_configuration(path: Path) -> Configuration:
    """Return the configuration in a YAML or JSON file (JSON is a subset of YAML).

    Raises ConfigError for a missing or broken file and for every key or value that breaks a rule.
    """
    return parse_configuration(read_yaml_mapping(path), str(path))


def dump_configuration(configuration: Configuration) -> dict[str, Any]:
    """Return the file's content as plain values, empty entries left out."""
    return configuration.model_dump(exclude_none=True)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises ConfigError when the file is missing, is not YAML, or holds something else than a mapping.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping must stand at the top level, but got {type(content).__name__}.")
    return content
