"""What is allowed and yet strange about a log, as warnings with counts; and times that are days and not seconds.

Nothing is changed here. What breaks a rule is refused earlier.
"""

import time
from typing import TYPE_CHECKING

from hrnn_hpo.data.reading.cells import one_row
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.problems import as_keywords
from hrnn_hpo.data.reading.source import FRAME
from hrnn_hpo.errors import DataError, counted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_YEAR = 31_536_000


def refuse_days(connection: "DuckDBPyConnection", options: ReadOptions, name: str) -> None:
    """Raise DataError when all times are valid YYYYMMDD days and nothing says what they are."""
    if options.timestamps is not None:
        return
    row = one_row(
        connection,
        "SELECT bool_and(seconds BETWEEN 19000101 AND 21001231 AND micros = 0 "
        "AND try_strptime(CAST(seconds AS VARCHAR), '%Y%m%d') IS NOT NULL), min(seconds), max(seconds) FROM staged",
    )
    if row[0]:
        hint = "--timestamps iso, or --timestamps seconds if they are seconds all the same"
        raise DataError(
            f"{name}: TIMESTAMP must be unix seconds, but all values are days such as {row[1]} (YYYYMMDD); give "
            f"{as_keywords(hint) if name == FRAME else hint}."
        )


def find_warnings(connection: "DuckDBPyConnection", options: ReadOptions, has_tables: bool) -> list[str]:
    """Return a sentence for each strange thing: times, ids that look alike, items that the events do not know.

    The codes of users and items must have been made. `has_tables`: there is an items or a users table.
    """
    return [
        *_of_times(connection, options),
        *_of_ids(connection),
        *(_of_tables(connection) if has_tables else []),
    ]


def _of_times(connection: "DuckDBPyConnection", options: ReadOptions) -> list[str]:
    now = int(time.time())
    row = one_row(
        connection,
        f"SELECT count(*) FILTER (WHERE seconds = 0), count(*) FILTER (WHERE seconds > {now}), max(seconds), count(*) "
        "FROM staged",
    )
    n_zero, n_future, latest, _ = (int(number or 0) for number in row)
    found = []
    if n_zero:
        found.append(f"{_events(n_zero)} at time 0, the first second of 1970: is their time missing?")
    if n_future:
        found.append(f"{_events(n_future)} in the future, up to {_day(latest)}.")
    if options.timestamps in ("milliseconds", "microseconds") and latest < _YEAR:
        found.append(f"All times lie in 1970: are they really {options.timestamps}?")
    return found


_BLANKS = r"[\s\p{Z}\x{200B}\x{FEFF}]+"  # of every alphabet, and what has no width
_TRIMMED = "lower(trim(id, E' \\t\\r\\n'))"
_BARE = f"lower(nfc_normalize(regexp_replace(id, '^{_BLANKS}|{_BLANKS}$', '', 'g')))"
# What ids have in common that people take for one: (what they differ by, which ids, what they share).
_ALIKE = (
    ("blanks or case alone", "true", f"CASE WHEN strlen(id) = length(id) THEN {_TRIMMED} ELSE {_BARE} END"),
    ("zeros at the front alone", "id < ':' AND regexp_full_match(id, '[0-9]+')", "ltrim(id[:-2], '0') || id[-1]"),
)


def _of_ids(connection: "DuckDBPyConnection") -> list[str]:
    found = []
    for noun in ("user", "item"):
        ids = f"{noun}_codes"
        for difference, which, shared in _ALIKE:
            n_alike, example = one_row(
                connection,
                "WITH alike AS (SELECT count(*) AS n, list(id ORDER BY id)[1:2] AS example "
                f"FROM {ids} WHERE {which} GROUP BY {shared} HAVING count(*) > 1) "
                "SELECT coalesce(sum(n), 0), min(example) FROM alike",
            )
            if n_alike:
                one, other = example
                shown = f"{one!r} and {other!r}"
                if difference.startswith("blanks") and one.strip().lower() != other.strip().lower():
                    difference, shown = "how accents or invisible signs are written", f"{one!a} and {other!a}"
                found.append(f"{int(n_alike):,} {noun} ids differ by {difference}, such as {shown}.")
        n_decimal, decimal = one_row(
            connection,
            f"SELECT count(*), min(id) FROM {ids} WHERE regexp_full_match(id, '[0-9]+\\.0+') "
            f"AND split_part(id, '.', 1) IN (SELECT id FROM {ids})",
        )
        if n_decimal:
            whole = decimal.partition(".")[0]
            found.append(
                f"{int(n_decimal):,} {noun} ids stand as whole numbers and as decimals, such as {whole!r} and "
                f"{decimal!r}: they count as two."
            )
    return found


def _of_tables(connection: "DuckDBPyConnection") -> list[str]:
    found = []
    for role, column in (("items", "item_id"), ("users", "user_id")):
        listed = f"SELECT count(*) FROM listed_{role}"
        n_listed, n_known = one_row(
            connection, f"SELECT ({listed}), ({listed} WHERE id IN (SELECT {column} FROM staged))"
        )
        if n_listed and not n_known:
            found.append(f"None of the {n_listed:,} rows of the {role} table has an event: do the ids agree?")
    return found


def _events(n: int) -> str:
    return counted(n, "event lies", "events lie")


def _day(seconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if seconds < 253_402_300_799 else "beyond the year 9999"
