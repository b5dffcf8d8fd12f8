"""One entry under `parameters` or `tune`: from what a file says to a Parameter, or to the rules that it breaks.

Which entries a file may hold at all, and how they relate to a parent's, is reader.py's subject.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.search.document import Document, Key
from hrnn_hpo.search.parameter import (
    KINDS,
    TYPES,
    Kind,
    Parameter,
    Type,
)
from hrnn_hpo.search.prior import read_prior
from hrnn_hpo.search.recipes import NEVER_TUNED
from hrnn_hpo.search.values import (
    Value,
    field_problem,
    field_type,
    same,
    show,
    show_range,
    type_problem,
)
from hrnn_hpo.settings import nearest

PARAMETER_KEYS = ["kind", "type", "range", "choices", "log", "step", "default", "tunable", "when", "doc", "prior"]
TUNE_KEYS = ["range", "choices", "log", "step", "default", "prior"]
_SYNONYMS = {"int": "integer", "float": "continuous", "double": "continuous", "number": "continuous"}
_SYNONYMS |= {"bool": "categorical", "boolean": "categorical", "string": "categorical", "choice": "categorical"}
_FITTING = {bool: ["categorical"], str: ["categorical"]}
_FITTING |= {int: ["integer", "categorical"], float: ["continuous", "categorical"]}
_ONCE_WHOLE = ("targets_ahead",)  # whole numbers in the spaces that studies of version 0.1.0 recorded


class Entry:
    """What stands under one name; `base` is the parameter that it changes, if there is one."""

    def __init__(self, document: Document, key: Key, spec: Any, base: Parameter | None) -> None:
        self.document = document
        self.key = key
        self.name = key[-1]
        self.narrows = key[0] == "tune"
        self.spec: dict[str, Any] = spec if isinstance(spec, dict) else {}
        self.is_mapping = isinstance(spec, dict)
        self.base = base
        self.field = Hyperparameters.model_fields[self.name]
        self.notes: list[str] = []

    def read(self) -> Parameter | None:
        """Return the parameter, what the entry leaves out being the base's; None when a problem was added."""
        n_before = len(self.document.problems)
        if not self.is_mapping:
            example = "{range: [2, 32]}" if self.narrows else "{kind: algorithm, type: integer, range: [2, 32]}"
            self.document.problem(self.key, f"a mapping such as {example} must stand here.")
            return None
        self._check_keys()
        type_ = self._type()
        if type_ is None:
            return None
        if self.base is not None and self.base.type != type_:
            self.base = None  # another type begins anew
        base = self.base
        parameter = Parameter(
            name=self.name,
            kind=self._kind(),
            type=type_,
            default=base.default if base else cast(Value, self.field.default),
            log=self._flag("log", base.log if base else False),
            tunable=self._flag("tunable", base.tunable if base else True),
            when=self._when(),
            doc=self._doc(),
        )
        if parameter.tunable and self.name in NEVER_TUNED:
            self.problem("tunable", "must be false: who is left out of training is chosen, never tuned.")
        if type_ == "categorical":
            parameter = replace(parameter, log=False, choices=self._choices())
        else:
            parameter = self._numbers(parameter)
        if len(self.document.problems) > n_before:
            return None
        return self._with_default(self._with_prior(parameter))

    def problem(self, entry: str, text: str) -> None:
        """Add a problem of one of the entry's keys."""
        self.document.problem((*self.key, entry), text)

    def _check_keys(self) -> None:
        known = TUNE_KEYS if self.narrows else PARAMETER_KEYS
        for entry in self.spec:
            if entry in known:
                continue
            if entry in PARAMETER_KEYS:
                self.problem(entry, f"cannot change under `tune`, which only narrows ({', '.join(known)}).")
            else:
                self.problem(entry, f"is no key of a parameter{nearest(entry, known) or '.'}")

    def _type(self) -> Type | None:
        said = self.spec.get("type", self.base.type if self.base else None)
        if self.narrows and self.base:
            said = self.base.type
        fitting = _FITTING[field_type(self.name)] + ["integer"] * (self.name in _ONCE_WHOLE)
        if said is None:
            self.document.problem(self.key, f"lacks its type ({' or '.join(fitting)}).")
        elif said not in TYPES:
            meant = _SYNONYMS.get(str(said))
            hint = f", did you mean {meant!r}?" if meant else nearest(str(said), list(TYPES)) or "."
            self.problem("type", f"must be one of {', '.join(TYPES)}, but got {show(said)}{hint}")
        elif said not in fitting:
            self.problem("type", f"must be {' or '.join(fitting)} for {self.name}, but got {said}.")
        else:
            return cast(Type, said)
        return None

    def _kind(self) -> Kind:
        said = self.spec.get("kind", self.base.kind if self.base else None)
        if said in KINDS:
            return cast(Kind, said)
        if said is None:
            self.document.problem(self.key, f"lacks its kind ({', '.join(KINDS)}).")
        else:
            hint = nearest(str(said), list(KINDS)) or "."
            self.problem("kind", f"must be one of {', '.join(KINDS)}, but got {show(said)}{hint}")
        return "training"

    def _flag(self, entry: str, inherited: bool) -> bool:
        said = self.spec.get(entry, inherited)
        wrong = type_problem(bool, said)
        if wrong:
            self.problem(entry, wrong)
            return inherited
        return bool(said)

    def _doc(self) -> str:
        said = self.spec.get("doc", self.base.doc if self.base else self.field.description)
        if not isinstance(said, str):
            self.problem("doc", f"a line of text must stand here, but got {show(said)}.")
            return ""
        return said

    def _when(self) -> Mapping[str, tuple[Value, ...]]:
        if "when" not in self.spec:
            return self.base.when if self.base else {}
        said = self.spec["when"]
        if said is None:
            return {}
        if not isinstance(said, dict) or not said:
            text = f"a mapping such as {{architecture: hierarchical}} must stand here, but got {show(said)}."
            self.problem("when", text)
            return {}
        return {other: tuple(values) if isinstance(values, list) else (values,) for other, values in said.items()}

    def _choices(self) -> tuple[Value, ...]:
        for entry in ("range", "log", "step"):
            if self.spec.get(entry):
                self.problem(entry, "belongs to numbers; a categorical parameter has `choices`.")
        if "choices" not in self.spec:
            if self.base is not None:
                return self.base.choices
            if field_type(self.name) is bool:
                return (True, False)
            self.document.problem(self.key, "lacks its choices, such as `choices: [a, b]`.")
            return ()
        said = self.spec["choices"]
        if not isinstance(said, list) or not said:
            self.problem("choices", f"a list of one or more values must stand here, but got {show(said)}.")
            return ()
        choices: list[Value] = []
        for choice in said:
            # "64" in quotes and 1e-4, which YAML reads as text, would be other values than they look.
            wrong = field_problem(self.name, choice)
            if wrong:
                self.problem("choices", wrong)
            elif any(same(choice, other) for other in choices):
                self.problem("choices", f"{show(choice)} stands twice.")
            else:
                choices.append(float(choice) if field_type(self.name) is float else choice)
        return tuple(choices)

    def _numbers(self, parameter: Parameter) -> Parameter:
        if "choices" in self.spec:
            text = f"belongs to type categorical; {parameter.type} has `range: [lowest, highest]`."
            self.problem("choices", text)
        ends = self._range(parameter.type)
        step = self._step(parameter)
        if parameter.log and ends is not None and ends[0] <= 0:
            entry = "log" if "log" in self.spec else "range"
            self.problem(entry, f"a log scale needs `lowest > 0`, but got {show_range(ends)}.")
        return replace(parameter, range=ends, step=step)

    def _range(self, type_: Type) -> tuple[float, float] | None:
        if "range" not in self.spec:
            if self.base is None:
                self.document.problem(self.key, "lacks its range, such as `range: [2, 32]`.")
                return None
            return self.base.range
        said = self.spec["range"]
        if not isinstance(said, list) or len(said) != 2:
            self.problem("range", f"two numbers, [lowest, highest], must stand here, but got {show(said)}.")
            return None
        wrong = {text: None for text in (field_problem(self.name, end) for end in said) if text}
        for text in wrong:
            self.problem("range", text)
        if wrong:
            return None
        low, high = (int(end) if type_ == "integer" else float(end) for end in said)
        if low > high:
            self.problem("range", f"`lowest <= highest` must hold, but got {show_range((low, high))}.")
            return None
        return low, high

    def _step(self, parameter: Parameter) -> float | None:
        step = self.spec.get("step", self.base.step if self.base else None)
        if step is None:
            return None
        wrong = type_problem(int if parameter.type == "integer" else float, step)
        if wrong or step <= 0:
            self.problem("step", wrong or f"`step > 0` must hold, but got {show(step)}.")
            return None
        if parameter.type == "integer" and step == 1:
            return None  # every whole number
        if parameter.log:
            text = (
                f"a log scale has no steps, but got log: true and step: {show(step)}; "
                "leave one out (`log: false` turns an inherited one off)."
            )
            self.problem("step" if "step" in self.spec else "log", text)
        return int(step) if parameter.type == "integer" else float(step)

    def _with_prior(self, parameter: Parameter) -> Parameter:
        """Return the parameter with its prior. An inherited one holds for the values that it was made for alone."""
        if "prior" not in self.spec:
            base = self.base
            unchanged = base is not None and (base.range, base.choices, base.log) == (
                parameter.range,
                parameter.choices,
                parameter.log,
            )
            return replace(parameter, prior=base.prior) if base is not None and unchanged else parameter
        prior, wrong = read_prior(parameter, self.spec["prior"])
        for text in wrong:
            self.problem("prior", text)
        return replace(parameter, prior=prior)

    def _with_default(self, parameter: Parameter) -> Parameter | None:
        default = self.spec.get("default", parameter.default)
        wrong = parameter.problem(default)
        if wrong is None:
            return replace(parameter, default=parameter.normalise(default))
        if "default" in self.spec:
            self.problem("default", wrong)
            return None
        if not self.narrows:
            text = f"its default {wrong.rstrip('.')}, which holds unless `default` says another."
            if default == AUTO:
                text = "lacks its default, such as `default: 32`."
            self.document.problem(self.key, text)
            return None
        closest = parameter.closest(default)
        self.notes.append(
            f"{parameter.name}: its default {show(default)} lies outside the narrowed {parameter.describe()}; "
            f"trial 0 takes {show(closest)} (a `default` beside it says another)."
        )
        return replace(parameter, default=closest)
