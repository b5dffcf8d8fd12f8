"""What every cell of a log must fulfil, once as SQL for the fast check and once as Python for the pass over bad files.

Where cells come from and what becomes of bad ones is not decided here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    MAX_ID_LENGTH,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.data.reading.options import MAX_SECONDS, ReadOptions

MAX_TIMESTAMP = 2**63 - 1
MAX_FLOAT32 = 3.4028235e38
MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}  # in a unit
SECONDS_HINT = "--timestamps milliseconds, or microseconds, or seconds says what they are"

NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_WHOLE = r"[0-9]+(\.0*)?"  # 12.0 is what pandas writes for whole numbers in a column of floats
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_ZONE = r" ?(Z|UTC|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
_ISO = rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{8}})([T ]{_CLOCK}({_ZONE})?)?"


@dataclass(frozen=True)
class Rule:
    """What every cell of a column must fulfil. Empty cells arrive as NULL in SQL and as "" in Python.

    `unit` marks the rule whose breach says that the whole column means something else: skipping rows cannot mend it.
    """

    says: str
    sql: str  # true where `{cell}` breaks the rule, never NULL
    breaks: Callable[[str], bool]
    hint: str = ""
    unit: bool = False

    def broken_sql(self, cell: str) -> str:
        """Return SQL that is true where a cell breaks the rule."""
        return self.sql.replace("{cell}", cell)


def id_rule() -> Rule:
    return Rule(
        f"must have 1 to {MAX_ID_LENGTH} characters, none of them NUL, and not be blank",
        # CASE: what costs most is asked of suspects alone. Blank texts are smaller than '!'.
        f"CASE WHEN {{cell}} IS NULL OR {{cell}} < '!' OR strlen({{cell}}) > {MAX_ID_LENGTH} "
        "OR contains({cell}, chr(0)) "
        f"THEN ({{cell}} IS NULL OR trim({{cell}}, E' \\t\\r\\n') = '' OR length({{cell}}) > {MAX_ID_LENGTH} "
        "OR contains({cell}, chr(0))) ELSE false END",
        lambda cell: not cell.strip(" \t\r\n") or len(cell) > MAX_ID_LENGTH or "\0" in cell,
    )


def label_rule() -> Rule:
    """Return the rule of EVENT_TYPE and SESSION_ID, which may be empty."""
    return Rule(
        f"must have at most {MAX_ID_LENGTH} characters, none of them NUL",
        f"coalesce(length({{cell}}) > {MAX_ID_LENGTH} OR contains({{cell}}, chr(0)), false)",
        lambda cell: len(cell) > MAX_ID_LENGTH or "\0" in cell,
    )


def value_rule() -> Rule:
    return Rule(
        "must be a finite number or empty",
        f"({{cell}} IS NOT NULL AND (NOT regexp_full_match({{cell}}, '{NUMBER}') "
        f"OR coalesce(abs(TRY_CAST({{cell}} AS DOUBLE)) > {MAX_FLOAT32!r}, true)))",
        lambda cell: bool(cell) and (not re.fullmatch(NUMBER, cell) or not abs(float(cell)) <= MAX_FLOAT32),
    )


def time_rules(unit: str | None) -> list[Rule]:
    """Return the rules of TIMESTAMP in a unit; None: seconds, and what is too large for them is refused as another."""
    if unit == "iso":
        return [
            Rule(
                "must be a date or an ISO time from 1970 on, such as 2024-01-31T12:30:00Z",
                f"coalesce(NOT regexp_full_match({{cell}}, '{_ISO}') OR epoch_us({iso_sql('{cell}')}) < 0, true)",
                lambda cell: not re.fullmatch(_ISO, cell) or not _is_iso(cell),
            )
        ]
    rules = [
        Rule(
            f"must be a non-negative whole number of unix {unit or 'seconds'}",
            f"({{cell}} IS NULL OR NOT regexp_full_match({{cell}}, '{_WHOLE}') "
            "OR TRY_CAST(split_part({cell}, '.', 1) AS BIGINT) IS NULL)",
            lambda cell: not re.fullmatch(_WHOLE, cell) or not _fits(cell),
            hint="--timestamps iso reads dates and times" if unit is None else "",
        )
    ]
    if unit is None:
        rules.append(
            Rule(
                f"must be unix seconds up to {MAX_SECONDS:,} (the year 2100)",
                f"CASE WHEN TRY_CAST(split_part({{cell}}, '.', 1) AS BIGINT) > {MAX_SECONDS} "
                f"THEN regexp_full_match({{cell}}, '{_WHOLE}') ELSE false END",
                lambda cell: bool(re.fullmatch(_WHOLE, cell)) and _fits(cell) and _whole(cell) > MAX_SECONDS,
                hint=SECONDS_HINT,
                unit=True,
            )
        )
    return rules


def whole_time_sql(cell: str, unit: str | None) -> str:
    """Return SQL that is true where a cell of a column of whole numbers breaks a rule of TIMESTAMP."""
    return f"coalesce({cell} < 0{f' OR {cell} > {MAX_SECONDS}' if unit is None else ''}, true)"


def rules_of(column: str, options: ReadOptions) -> list[Rule]:
    """Return the rules of one of our columns; of none that is not read."""
    if column in (USER_ID, ITEM_ID):
        return [id_rule()]
    if column in (EVENT_TYPE, SESSION_ID):
        return [label_rule()]
    if column == EVENT_VALUE:
        return [value_rule()]
    return time_rules(options.timestamps) if column == TIMESTAMP else []


def time_sql(cell: str, unit: str | None) -> tuple[str, str]:
    """Return SQL for (whole seconds, microseconds beyond them) of a text cell that breaks no rule."""
    if unit == "iso":
        return split_sql(f"epoch_us({iso_sql(cell)})", 1)
    return split_sql(f"TRY_CAST(split_part({cell}, '.', 1) AS BIGINT)", MICROSECONDS[unit or "seconds"])


def split_sql(number: str, micros: int) -> tuple[str, str]:
    """Return SQL for (whole seconds, microseconds beyond them) of a number of units of so many microseconds each."""
    per_second = 1_000_000 // micros
    if per_second == 1:
        return number, "0"
    return f"({number}) // {per_second}", f"CAST((({number}) % {per_second}) * {micros} AS INTEGER)"


def iso_sql(cell: str) -> str:
    dashed = f"CASE WHEN length({cell}) = 8 OR {cell}[9] IN ('T', ' ') THEN "
    dashed += f"concat({cell}[1:4], '-', {cell}[5:6], '-', {cell}[7:]) ELSE {cell} END"
    # DuckDB takes no blank before Z or a number of hours, and UTC only behind one.
    zoned = f"regexp_replace(regexp_replace({dashed}, ' ?UTC$', 'Z'), ' ([Z+-])', '\\1')"
    return f"TRY_CAST({zoned} AS TIMESTAMPTZ)"


def _fits(cell: str) -> bool:
    return len(_digits(cell)) <= 19 and _whole(cell) <= MAX_TIMESTAMP


def _whole(cell: str) -> int:
    return int(_digits(cell))


def _digits(cell: str) -> str:
    """Return the digits of a whole number without zeros at the front: Python reads no more than 4,300."""
    return cell.partition(".")[0].lstrip("0") or "0"


def _is_iso(cell: str) -> bool:
    year, month, day = (cell[:4], cell[5:7], cell[8:10]) if cell[4] == "-" else (cell[:4], cell[4:6], cell[6:8])
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}")
    except ValueError:
        return False
    zone = re.search(r"([+-])([0-9]{2}):?([0-9]{2})?$", cell[10:] if cell[4] == "-" else cell[8:])
    clock = re.search(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?", cell)
    seconds = 0
    if clock:
        seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
    if zone:
        shift = int(zone[2]) * 3600 + int(zone[3] or 0) * 60
        seconds += -shift if zone[1] == "+" else shift
    return (moment - datetime(1970, 1, 1)).days * 86_400 + seconds >= 0
