"""Each rule of a cell is written twice, in SQL and in Python: both must find the same cells bad."""

from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from hrnn_hpo.data.reading.records import number_text
from hrnn_hpo.data.reading.rules import Rule, id_rule, label_rule, time_rules, time_sql, value_rule

ZONES = ("", "Z", " Z", "UTC", " UTC", "+00", "-00:00", " +0530", "+15:59", "-15:59", "+16:00", "-12", "+1", " z")
CHARACTERS = "0123456789-:+.TZUCeE,_ \u00e9\0\n\u2003\U0001f642"


def answers(statement: str, cells: list[str | None]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement over cells; DuckDB's own connection closes itself, whoever still knows it."""
    duckdb.execute("SET TimeZone = 'UTC'")
    return duckdb.execute(statement, [cells]).fetchall()


@st.composite
def iso_times(draw: DrawFn) -> str:
    year = draw(st.sampled_from([0, 1969, 1970, 2024, 2100, 9999]))
    month, day = draw(st.integers(0, 13)), draw(st.integers(0, 32))
    dash, between = draw(st.sampled_from(["-", ""])), draw(st.sampled_from(["T", " "]))
    text = f"{year:04d}{dash}{month:02d}{dash}{day:02d}"
    if draw(st.booleans()):
        return text
    text += f"{between}{draw(st.integers(0, 24)):02d}:{draw(st.integers(0, 60)):02d}"
    if draw(st.booleans()):
        text += f":{draw(st.integers(0, 60)):02d}" + draw(st.sampled_from(["", ".5", ".123456789", ".1234567890", "."]))
    return text + draw(st.sampled_from(ZONES))


@st.composite
def nearly(draw: DrawFn, good: st.SearchStrategy[str]) -> str:
    text = draw(good)
    if text and draw(st.booleans()):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["", *CHARACTERS])) + text[place + draw(st.integers(0, 1)) :]
    return text


NUMBERS = st.sampled_from(
    [
        *("0", "1.5", "-3", "+2.", ".5", "1e5", "4.e-3", "1e-400", "1e400", "nan", "inf", "0012"),
        *("3.4028235e38", "3.4028236e38", "-3.5e38", f"{2**63 - 1}", f"{2**63}", "4102444800", "4102444801.00"),
    ]
)
CELLS = st.one_of(
    nearly(iso_times()), nearly(NUMBERS), st.text(CHARACTERS, max_size=4), st.text("a", min_size=255, max_size=258)
)
RULES = {
    "id": id_rule(),
    "label": label_rule(),
    "value": value_rule(),
    **{
        f"time in {unit}, {n}": rule
        for unit in (None, "iso", "milliseconds")
        for n, rule in enumerate(time_rules(unit))
    },
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(cells=st.lists(CELLS, min_size=1, max_size=20))
@example(cells=["2024-01-31 12:30:00 +02", "2024-01-31T12:30UTC"])
@example(cells=["0" * 5000 + "7", "0" * 5000 + "9" * 11])
def test_sql_and_python_find_the_same_cells_bad(rule: Rule, cells: list[str]) -> None:
    statement = f"SELECT {rule.broken_sql('cell')} FROM (SELECT unnest(?::VARCHAR[]) AS cell)"
    found = answers(statement, [cell or None for cell in cells])
    assert [row[0] for row in found] == [rule.breaks(cell) for cell in cells]


JSON_NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(1e-8, 1e-3).map(repr),
    st.floats(1e14, 1e23).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["-0", "-0.0", "0e5", "1E+2", "1.50", "1e400", "-1e400", "1e-400", "100000000000000000000.0"]),
)


@given(tokens=st.lists(JSON_NUMBERS, min_size=1, max_size=20))
@example(tokens=["-0", "1e22", "1e16", "1e-7", "1e-5", "1e400"])
def test_json_numbers_have_one_spelling(tokens: list[str]) -> None:
    found = answers("SELECT json_extract_string(unnest(?::VARCHAR[]), '/a')", [f'{{"a":{token}}}' for token in tokens])
    assert [row[0] for row in found] == [number_text(token) for token in tokens]


@given(times=st.lists(iso_times().filter(lambda cell: not time_rules("iso")[0].breaks(cell)), min_size=1, max_size=20))
def test_iso_times_are_the_moments_that_python_reads(times: list[str]) -> None:
    seconds, micros = time_sql("cell", "iso")
    statement = f"SELECT {seconds}, {micros} FROM (SELECT unnest(?::VARCHAR[]) AS cell)"
    for text, (second, micro) in zip(times, answers(statement, [*times]), strict=True):
        date, clock = (text[:10], text[11:]) if text[4] == "-" else (text[:8], text[9:])
        clock = clock.replace("UTC", "Z").replace(" ", "")
        moment = datetime.fromisoformat(f"{date}T{clock}" if clock else date)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        assert (since.days * 86_400 + since.seconds, since.microseconds) == (second, micro)


@given(values=st.lists(nearly(NUMBERS).filter(lambda cell: bool(cell) and not value_rule().breaks(cell)), min_size=1))
def test_values_are_the_float32_that_python_reads(values: list[str]) -> None:
    found = answers("SELECT TRY_CAST(unnest(?::VARCHAR[]) AS FLOAT)", [*values])
    assert [np.float32(row[0]) for row in found] == [np.float32(float(value)) for value in values]
