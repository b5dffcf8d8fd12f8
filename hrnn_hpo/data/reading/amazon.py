"""Amazon's schemas of interactions (flat Avro records in JSON): a file checked against one, and one that fits a file.

Only what a schema says beyond our own rules is checked here: its columns, their types, and which may be empty.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrnn_hpo.data import EVENT_TYPE, EVENT_VALUE, IMPRESSION, REQUIRED_COLUMNS, TIMESTAMP
from hrnn_hpo.data.reading.problems import Problem, Problems
from hrnn_hpo.data.reading.rules import NUMBER, Rule
from hrnn_hpo.data.reading.source import LogFile
from hrnn_hpo.errors import DataError
from hrnn_hpo.plain_data import load_json
from hrnn_hpo.settings import nearest

NAMESPACE = "com.amazonaws.personalize.schema"
TYPES = ("float", "double", "int", "long", "string", "boolean", "null")
MAX_METADATA = 5
RESERVED = (*REQUIRED_COLUMNS, EVENT_TYPE, EVENT_VALUE, IMPRESSION, "RECOMMENDATION_ID")


@dataclass(frozen=True)
class Schema:
    """The columns that a schema asks for, and the Avro types that each may have."""

    path: Path
    types: dict[str, tuple[str, ...]]

    def check_columns(self, file: LogFile, found: Collection[str], problems: Problems) -> None:
        """Add a problem for each column of the schema that a file has not."""
        for name in self.types:
            if name not in found and name not in REQUIRED_COLUMNS:  # those are asked for anyway
                problems.add(Problem(file.place, f"column {name} is missing, which {self.path} asks for"))


def read_schema(path: Path) -> Schema:
    """Return a schema; raises DataError with everything that is wrong with it."""
    try:
        content = load_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DataError(f"{path}: must be valid JSON, but {error}.") from error
    found: list[str] = []
    fields = content.get("fields") if isinstance(content, dict) else None
    if not isinstance(fields, list) or not isinstance(content, dict) or content.get("type") != "record":
        raise DataError(f"{path}: must be an Avro schema: an object of type 'record' with a list `fields`.")
    types: dict[str, tuple[str, ...]] = {}
    for at, entry in enumerate(fields):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            found.append(f"{path}: fields[{at}]: an object with a `name` must stand here.")
            continue
        kinds = entry.get("type")
        listed = tuple(kinds) if isinstance(kinds, list) else (kinds,)
        unknown = [kind for kind in listed if kind not in TYPES]
        if unknown or not listed:
            hint = nearest(str(unknown[0]), list(TYPES)) if unknown else ""
            found.append(f"{path}: {name}: its type must be of {', '.join(TYPES)}, but got {kinds!r}{hint or '.'}")
        if name in types:
            found.append(f"{path}: {name}: stands twice; keep one.")
        types[name] = tuple(str(kind) for kind in listed)
    for name in REQUIRED_COLUMNS:
        if name not in types:
            found.append(f"{path}: {name} must be a field of a schema of interactions.")
        elif types[name] != (("long",) if name == TIMESTAMP else ("string",)):
            kind = "long" if name == TIMESTAMP else "string"
            found.append(f"{path}: {name}: its type must be {kind!r}, but got {', '.join(types[name])}.")
    if found:
        raise DataError("\n".join(found))
    return Schema(path, types)


def schema_rules(schema: Schema) -> dict[str, Rule]:
    """Return the rule of each column of a schema, those of our required columns aside."""
    return {name: _rule(types) for name, types in schema.types.items() if name not in REQUIRED_COLUMNS}


def suggest_schema(columns: dict[str, tuple[str, bool, bool]]) -> dict[str, Any]:
    """Return a schema for {column: (Avro type, has empty cells, is categorical)}, in the order given."""
    fields: list[dict[str, Any]] = []
    for name, (kind, has_empty, categorical) in columns.items():
        entry: dict[str, Any] = {"name": name, "type": [kind, "null"] if has_empty else kind}
        if categorical:
            entry["categorical"] = True
        fields.append(entry)
    return {"type": "record", "name": "Interactions", "namespace": NAMESPACE, "fields": fields, "version": "1.0"}


def _rule(types: tuple[str, ...]) -> Rule:
    patterns = []
    if {"float", "double"} & set(types):
        patterns.append(NUMBER)
    if {"int", "long"} & set(types):
        patterns.append(r"[+-]?[0-9]+(\.0*)?")
    if "boolean" in types:
        patterns.append("(?i:true|false)")
    if "string" in types:
        patterns.append(r"(?s:.+)")
    pattern = "|".join(f"({one})" for one in patterns) or "(?!)"
    may_be_empty = "null" in types
    matches = f"regexp_full_match({{cell}}, '{pattern}')" if patterns else "false"
    empty = "{cell} IS NOT NULL AND " if may_be_empty else "{cell} IS NULL OR "
    escaped = f"({empty}NOT {matches})"
    return Rule(
        f"must be of type {' or '.join(types)} as the schema says",
        escaped,
        lambda cell: (not may_be_empty) if not cell else not re.fullmatch(pattern, cell),
    )
