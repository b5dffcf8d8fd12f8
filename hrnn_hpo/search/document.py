"""A YAML file with the line of every key, and the list of problems that its readers add to.

PyYAML keeps the last of two equal keys in silence; here that is a problem, like everything else that is no plain data.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hrnn_hpo.plain_data import PlainLoader

Key = tuple[str, ...]
_MAX_DEPTH = 12  # the format needs five; an alias that contains itself has no end
_MAX_VALUES = 100_000  # a space has hundreds; aliases of aliases may stand for billions


@dataclass
class Problems:
    """What is wrong, one line each; readers of a file and of those it extends share one list."""

    lines: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)


@dataclass
class Document:
    """The mapping in a file, with `lines` saying where each key stands (1 = first)."""

    source: str
    content: dict[str, Any]
    problems: Problems
    lines: dict[Key, int] = field(default_factory=dict)
    n_values: int = 0  # read so far, aliases written out

    def problem(self, key: Key, text: str) -> None:
        """Add a problem of one key: `file:line: key: text`."""
        self.problems.lines.append(f"{self.source}{self._line(key)}: {'.'.join(key)}{': ' if key else ''}{text}")

    def _line(self, key: Key) -> str:
        for end in range(len(key), 0, -1):
            if key[:end] in self.lines:
                return f":{self.lines[key[:end]]}"
        return ""


def read_document(path: Path, problems: Problems) -> Document | None:
    """Return the mapping in a YAML file, or None when there is none to read; the reason is added to the problems."""
    source = str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        problems.lines.append(f"{source}: cannot be read ({error.strerror}).")
        return None
    document = Document(source, {}, problems)
    loader: PlainLoader | None = None
    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            problems.lines.append(f"{source}: a mapping must stand at the top level, such as `extends: hrnn`.")
            return None
        document.content = _plain(node, (), document, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2020-13-45
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        problems.lines.append(f"{source}{where}: is not valid YAML: {' '.join(str(reason).split())}.")
        return None
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _plain(node: yaml.Node, key: Key, document: Document, loader: PlainLoader) -> Any:
    if len(key) > _MAX_DEPTH:
        raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=node.start_mark)
    document.n_values += 1
    if document.n_values > _MAX_VALUES:
        raise yaml.MarkedYAMLError(problem="more values than a space has", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*key, str(index)), document, loader) for index, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be a name", problem_mark=key_node.start_mark)
        name = str(key_node.value)  # as written: `on` stays `on`
        here = (*key, name)
        if name == "<<":
            raise yaml.MarkedYAMLError(
                problem="merge keys (<<) are not part of the format, use `extends`", problem_mark=key_node.start_mark
            )
        if name in mapping:
            document.problem(here, f"stands twice (lines {document.lines[here]} and {line}); keep one.")
            continue
        document.lines[here] = line
        mapping[name] = _plain(value_node, here, document, loader)
    return mapping
