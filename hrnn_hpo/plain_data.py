"""YAML and JSON texts to plain data, as people mean them: a number is the one that its reader sees.

PyYAML follows YAML 1.1, where 010 is 8 and 1:30 is 90, and keeps the last of two equal keys in silence. What a file
must hold is its reader's to say.
"""

import json
from typing import Any

import yaml


class PlainLoader(yaml.SafeLoader):
    """Loads plain data alone; refuses keys that stand twice and numbers that are others than they look like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node. Raises yaml.YAMLError where a key stands twice."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in lines and key != "<<":
                raise yaml.MarkedYAMLError(
                    problem=f"{key} stands twice (lines {lines[key]} and {line}); keep one",
                    problem_mark=key_node.start_mark,
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


def load_yaml(text: str | bytes) -> Any:
    """Return the plain data in a YAML text. Raises yaml.YAMLError, with the line, for anything else."""
    try:
        return yaml.load(text, PlainLoader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a date such as 2020-13-45
        raise yaml.YAMLError(str(error)) from None
    except (AttributeError, LookupError, TypeError):  # what PyYAML itself raises for `!!timestamp x` and `!!bool x`
        raise yaml.YAMLError("a value is not what its tag (!!) says") from None


def load_json(text: str | bytes, **hooks: Any) -> Any:
    """Return the data in a JSON text; `hooks` are json.loads's own. Raises ValueError for anything else."""
    try:
        return json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _number(loader: PlainLoader, node: yaml.ScalarNode) -> int | float:
    whole = node.tag.endswith(":int")
    value: int | float = loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)
    digits = node.value.lstrip("+-").replace("_", "")
    is_octal = whole and len(digits) > 1 and digits.isdecimal() and digits[0] == "0"
    if is_octal or ":" in digits:
        plain = digits.lstrip("0") if is_octal else f"'{node.value}'"
        raise yaml.MarkedYAMLError(
            problem=f"{node.value} is {value} in YAML: write {value}, or {plain or 0} if that is meant",
            problem_mark=node.start_mark,
        )
    return value


PlainLoader.add_constructor("tag:yaml.org,2002:int", _number)
PlainLoader.add_constructor("tag:yaml.org,2002:float", _number)
