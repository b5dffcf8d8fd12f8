"""What users set, as frozen models: unknown names are refused with the nearest spelling, and all problems at once.

Which settings there are, their meaning and range stand where they are used: hyperparameters in config.py, how a log is
read in data/reading/options.py, what is asked of a study in study/request/request.py.
"""

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from hrnn_hpo.errors import ConfigError

if TYPE_CHECKING:  # Pydantic has no public name for it
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

M = TypeVar("M", bound="Settings")


class _Refusing(ModelMetaclass):
    """Lets `Configuration(seed=-1)`, written in a program, raise what a file with the same value raises."""

    def __call__(cls, *arguments: Any, **values: Any) -> Any:
        try:
            return super().__call__(*arguments, **values)
        except ValidationError as error:
            assert issubclass(cls, Settings)
            raise cls.refusal(error) from None


class Settings(BaseModel, metaclass=_Refusing):
    """What users set: frozen, without unknown names, and no yes or no where a number is asked for.

    Made from values that break a rule, it raises ConfigError with every problem in one message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def refusal(cls, error: ValidationError, source: str = "") -> ConfigError:
        """Return our error for Pydantic's; `source` says where the values came from."""
        return ConfigError("\n".join(f"{source or cls.__name__}: {_explain(each, cls)}" for each in error.errors()))

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_boolean(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads `on`, `yes` and `true` as True, which Pydantic takes for 1.
        numbers, kinds = (int, float), _kinds(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and bool not in kinds and any(kind in kinds for kind in numbers):
            raise ValueError("a number must stand here")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """Return the types that a field's annotation is a union of."""
    sides = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return {kind for side in sides for kind in _kinds(side)} if sides else {annotation}


def validate(model: type[M], values: Mapping[str, Any], source: str) -> M:
    """Return a checked model; missing entries take their defaults.

    Raises ConfigError with every problem in one message; `source` says where the values came from.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise model.refusal(error, source) from None


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return ", did you mean 'x'?" for the closest known spelling or beginning of one, or nothing."""
    begins = {name[: len(word) + 1]: name for name in reversed(list(known))}
    close = difflib.get_close_matches(word, list(known), n=1)
    close = close or [begins[begin] for begin in difflib.get_close_matches(word, begins, n=1, cutoff=0.8)]
    return f", did you mean {close[0]!r}?" if close else ""


def _explain(problem: Any, model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _owner(problem["loc"], model).model_fields
        return f"unknown key {path!r}{nearest(str(problem['loc'][-1]), known) or '.'}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message}, but got {problem['input']!r}." if path else message


def _owner(place: tuple[Any, ...], model: type[BaseModel]) -> type[BaseModel]:
    """Return the model that a key stands in: this one, or that of a field of its own."""
    for name in place[:-1]:
        field = model.model_fields.get(str(name))
        if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return model
