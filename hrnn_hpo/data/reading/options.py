"""How to read a log: which column is what, in which unit times stand, what to leave out, what to do with bad rows.

The field descriptions are the help texts. Reading by them is the other files' work; here they are only checked.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_serializer, model_validator

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.settings import Settings, nearest

READ_COLUMNS = (USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE, EVENT_VALUE, SESSION_ID)
KEYWORDS = {
    "user": USER_ID,
    "item": ITEM_ID,
    "time": TIMESTAMP,
    "event_type": EVENT_TYPE,
    "event_value": EVENT_VALUE,
    "session": SESSION_ID,
}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"K": 10**3, "M": 10**6, "G": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_SMALLEST_MEMORY = 256 * 10**6  # DuckDB cannot sort in less
_LARGEST_MEMORY = 10**15  # more than any machine has, and less than DuckDB can count
MAX_SECONDS = 4_102_444_800  # the year 2100: what is larger counts something shorter than seconds


def _columns(value: Any) -> Any:
    if isinstance(value, str):
        parts = re.split(r",\s*(?=[A-Z_]+=)", value)
        pairs = [part.partition("=") for part in parts]
        if not all(mark for _, mark, _ in pairs):
            raise ValueError("must look like USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=ts")
        names = [name.strip() for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError("must name each of our columns once")
        value = {name.strip(): column for name, _, column in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("must map our column names to those of the log")
    for name, column in value.items():
        if name not in READ_COLUMNS:
            meant = nearest(str(name).upper(), [*READ_COLUMNS, *(word.upper() for word in KEYWORDS)])
            for keyword, ours in KEYWORDS.items():
                meant = meant.replace(repr(keyword.upper()), repr(ours))
            raise ValueError(f"must name {', '.join(READ_COLUMNS)} alone{meant}")
        if isinstance(column, bool) or not isinstance(column, str | int) or column == "":
            raise ValueError(f"must give {name} the name of a column, or its number counted from 1")
    return dict(value)


def _separator(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    mark = _SEPARATORS.get(value.lower(), value)
    if not 1 <= len(mark.encode()) <= 4 or set(mark) & set('"\r\n\0'):
        raise ValueError("must be one to four characters, neither a quote nor a line end; `tab` stands for a tab")
    return mark


def _moment(value: Any) -> Any:
    """Return unix seconds for a number, a date, a time or their text; without zone it is UTC."""
    if hasattr(value, "item") and not isinstance(value, date):
        value = value.item()  # NumPy's numbers and times; those to the nanosecond give a number of them
    if isinstance(value, str):
        text = re.sub(" ?UTC$", "Z", value.strip())  # as `data describe` writes times
        if re.fullmatch(r"[0-9]{9,}", text) or re.fullmatch("[0-9]{1,3}", text):
            value = int(text)
        else:
            try:
                value = datetime.fromisoformat(text)
            except ValueError:
                raise ValueError("must be a date such as 2024-01-31, an ISO time, or unix seconds") from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if value != int(value):
            raise ValueError("must be a whole second")
        return int(value)
    if isinstance(value, int | float) and abs(value) > MAX_SECONDS:
        raise ValueError(f"must be unix seconds up to {MAX_SECONDS:,} (the year 2100), or a date such as 2024-01-31")
    return value


def _names(value: Any) -> Any:
    """Return names in the order given, once each; a text has commas between them, where `\\,` is a comma."""
    if isinstance(value, str):
        value = [part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", value)]
    if isinstance(value, list | tuple | set | frozenset):
        names = tuple(dict.fromkeys(sorted(value) if isinstance(value, set | frozenset) else value))
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("must name at least one event type, and no empty one")
        return names
    return value


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", value.strip())
        if not match or match[2].upper() not in _UNITS:
            raise ValueError("must be a size such as 4GB or 512MB")
        value = int(float(match[1]) * _UNITS[match[2].upper()])
    if isinstance(value, int) and value < _SMALLEST_MEMORY:
        raise ValueError("must be at least 256MB")
    if isinstance(value, int) and value > _LARGEST_MEMORY:
        raise ValueError("must be at most 1000TB")
    return value


class ReadOptions(Settings):
    """How to read a log. Two logs read with equal options from equal content are the same data."""

    # Where things stand.
    columns: Annotated[
        dict[str, str | int],
        BeforeValidator(_columns),
        Field(
            description="Which column of the log is ours: USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=ts, also "
            "EVENT_TYPE, EVENT_VALUE and SESSION_ID. Without a header: their numbers, counted from 1."
        ),
    ] = {}  # noqa: RUF012 - Pydantic copies it
    no_header: Annotated[bool, Field(description="The first line is a row already; --columns gives numbers.")] = False
    separator: Annotated[
        str | None,
        BeforeValidator(_separator),
        Field(description="What stands between cells, `tab` for a tab. Default: a comma."),
    ] = None
    no_quotes: Annotated[
        bool, Field(description='A double quote is a character like others (tab-separated files with 12" in a title).')
    ] = False
    timestamps: Annotated[
        Literal["seconds", "milliseconds", "microseconds", "iso"] | None,
        Field(
            description="What TIMESTAMP holds; iso: dates and times as text, UTC where no zone stands. Default: "
            "seconds, and what looks like anything else is refused."
        ),
    ] = None

    # What is bad.
    on_bad_rows: Annotated[
        Literal["stop", "skip"],
        Field(description="stop: name the bad rows and end; skip: leave them out, write them to rejects.csv."),
    ] = "stop"
    schema_file: Annotated[
        Path | None,
        Field(description="Amazon's (Avro) schema that the interactions must fit.", alias="schema"),
    ] = None

    # What to leave out, in this order.
    event_types: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(_names),
        Field(description="Keep events of these types, with commas between them."),
    ] = None
    min_event_value: Annotated[
        float | None,
        Field(allow_inf_nan=False, description="Keep events whose EVENT_VALUE is at least this."),
    ] = None
    from_time: Annotated[
        int | None,
        BeforeValidator(_moment),
        Field(description="Keep events from this time on: a date, an ISO time (UTC unless said) or unix seconds."),
    ] = None
    until_time: Annotated[
        int | None, BeforeValidator(_moment), Field(description="Keep events before this time, itself left out.")
    ] = None
    sample_users: Annotated[
        float | None,
        Field(gt=0, le=1, description="Keep this part of the users, drawn by their ids: the same ones each time."),
    ] = None
    min_user_events: Annotated[
        int | None,
        Field(
            ge=1,
            description="Keep users with at least so many events; repeated with --min-item-events until both hold.",
        ),
    ] = None
    min_item_events: Annotated[
        int | None,
        Field(ge=1, description="Keep items with at least so many events; rarer ones leave the catalogue."),
    ] = None

    # How to work.
    memory_limit: Annotated[
        int | None,
        BeforeValidator(_bytes),
        Field(description="Memory that reading may take, such as 4GB. Default: half of what there is."),
    ] = None

    @model_validator(mode="after")
    def _fit_together(self) -> "ReadOptions":
        if self.no_header and not self.columns:
            raise ValueError("no_header needs columns with numbers: USER_ID=1,ITEM_ID=2,TIMESTAMP=3")
        if self.no_header:
            words = [f"{name}={column}" for name, column in self.columns.items() if not _is_number(column)]
            if words:
                raise ValueError(f"without a header columns are numbers, counted from 1, but got {', '.join(words)}")
        twice = [name for name in self.columns.values() if list(self.columns.values()).count(name) > 1]
        if twice:
            raise ValueError(f"one column of the log is one of ours, but {twice[0]} stands twice")
        if self.from_time is not None and self.until_time is not None and self.from_time >= self.until_time:
            raise ValueError(f"from must lie before until, but got {self.from_time} and {self.until_time}")
        return self

    @field_serializer("schema_file")
    def _show_path(self, value: Path | None) -> str | None:
        return None if value is None else str(value)

    @classmethod
    def refusal(cls, error: ValidationError, source: str = "") -> ConfigError:
        """Return our error for Pydantic's, with every field that breaks a rule."""
        return ConfigError("\n".join(_problem(dict(problem)) for problem in error.errors()))

    @property
    def filters(self) -> dict[str, Any]:
        """Return the filters that are asked for, by name."""
        return {name: getattr(self, name) for name in FILTERS if getattr(self, name) is not None}

    def told(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain values: what is recorded with the data."""
        told = self.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return {name: value for name, value in told.items() if value is not None}

    def digest(self) -> str:
        """Return a hash of everything that changes what is read; "" for the defaults."""
        told = {name: value for name, value in self.told().items() if name != "memory_limit"}
        if self.schema_file is not None:
            told["schema"] = hashlib.sha256(_read_bytes(self.schema_file)).hexdigest()
        return json.dumps(told, sort_keys=True) if told else ""

    def command_line(self) -> str:
        """Return the options as they are typed."""
        words = []
        for name, value in self.told().items():
            option = option_name(name)
            if name == "columns":
                value = ",".join(f"{ours}={theirs}" for ours, theirs in value.items())
            elif name == "event_types":
                value = ",".join(kind.replace(",", "\\,") for kind in value)
            elif name == "separator" and value == "\t":
                value = "tab"
            words.append(option if value is True else f"{option} {_in_shell(str(value))}")
        return " ".join(words)

    def with_solution_filters(
        self, event_type: str | None = None, event_value_threshold: float | str | None = None
    ) -> "ReadOptions":
        """Return the options with the filters of a CreateSolution request: its eventType and eventValueThreshold.

        Like in the service only events of that type count, and only values at or above the threshold.
        """
        told = {"event_types": (event_type,)} if event_type else {}
        if event_value_threshold not in (None, ""):
            told["min_event_value"] = event_value_threshold  # type: ignore[assignment]
        return read_options(self, **told)


FILTERS = (
    "event_types",
    "min_event_value",
    "from_time",
    "until_time",
    "sample_users",
    "min_user_events",
    "min_item_events",
)


def option_name(field: str) -> str:
    """Return what a field of ReadOptions is called on the command line."""
    names = {"from_time": "--from", "until_time": "--until", "schema_file": "--schema"}
    return names.get(field, "--" + field.replace("_", "-"))


def read_options(options: ReadOptions | None = None, **fields: Any) -> ReadOptions:
    """Return the options with fields changed: ReadOptions' own, or column names as `user="userId"`, `time="ts"`.

    `user`, `item`, `time`, `event_type`, `event_value` and `session` join `columns`. None leaves a field as it is.
    Raises ConfigError with every field that breaks a rule.
    """
    told = {name: value for name, value in fields.items() if value is not None}
    if not told:
        return options or ReadOptions()
    base: dict[str, Any] = {} if options is None else options.model_dump(by_alias=True, exclude_defaults=True)
    named = {KEYWORDS[name]: told.pop(name) for name in list(told) if name in KEYWORDS}
    try:
        if named:
            told["columns"] = {**_columns(told.get("columns", base.get("columns", {}))), **named}
        return ReadOptions.model_validate({**base, **told})
    except ValidationError as error:
        raise ReadOptions.refusal(error) from None
    except ValueError as error:
        raise ConfigError(_but_got(f"columns: {error}", told.get("columns"))) from None


def _problem(error: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        known = [*ReadOptions.model_fields, *KEYWORDS]
        return f"{name}: is no option of reading a log{nearest(name, known) or '; known are ' + ', '.join(known) + '.'}"
    text = error["msg"].removeprefix("Value error, ")
    return _but_got(f"{name}: {text}", error["input"]) if name else f"{text}."


def _but_got(text: str, came: Any) -> str:
    """Return a rule with what came; the spelling that a rule proposes stays at the end."""
    text, mark, hint = text.partition(", did you mean")
    return f"{text}, but got {came!r}{mark}{hint or '.'}"


def _is_number(column: str | int) -> bool:
    return isinstance(column, int) or column.isdecimal()


def _in_shell(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _read_bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
