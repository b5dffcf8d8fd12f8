"""Quoted cells mean the same to the pass that names bad rows as to DuckDB, which reads the other logs."""

import csv
import io
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.data.prepared import load_prepared, prepare
from hrnn_hpo.data.reading.records import _Lines, _Unpadded

inner = st.lists(st.sampled_from(["a", "b", '""', ",", ";", "\t", " ", "\n"]), max_size=4).map("".join)
quoted = st.tuples(st.sampled_from(["", " "]), inner, st.sampled_from(["", " ", "   "])).map(
    lambda parts: f'{parts[0]}"{parts[1]}"{parts[2]}'
)
cells = quoted | st.sampled_from(["x", " x", "x ", " ", "  y"])
rows = st.lists(st.tuples(cells, cells), min_size=1, max_size=4)


@given(st.sampled_from([",", ";", "\t", "|"]), rows)
def test_blanks_around_quotes_are_passed_over_as_duckdb_does(
    tmp_path_factory: pytest.TempPathFactory, separator: str, rows: list[tuple[str, str]]
) -> None:
    text = "".join(f"{separator.join(row)}\n" for row in rows)
    file = tmp_path_factory.mktemp("quoted") / "rows.csv"
    file.write_text(text, encoding="utf-8", newline="")
    theirs = duckdb.execute(
        "SELECT coalesce(a, ''), coalesce(b, '') FROM read_csv(?, delim = ?, quote = '\"', escape = '\"', "
        "header = false, auto_detect = false, columns = {'a': 'VARCHAR', 'b': 'VARCHAR'})",
        [str(file), separator],
    ).fetchall()
    lines = _Lines(io.StringIO(text, newline=""))
    found = []
    reader = csv.reader(_Unpadded(lines, separator), delimiter=separator, strict=True)
    while lines.begin() and (row := next(reader, None)) is not None:
        found.append(tuple(row))
    assert found == theirs


def test_a_bad_row_changes_nothing_of_the_others(tmp_path: Path) -> None:
    good = [f' "u{n % 30}",  i{n}  ,{n}' if n % 2 else f'"u{n % 30}" ,"i{n}"  ,{n}' for n in range(1, 1201)]
    found = {}
    for name, bad in (("whole", []), ("broken", ["u1,i1,soon"])):
        log = tmp_path / f"{name}.csv"
        log.write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP", *good, *bad]) + "\n", encoding="utf-8")
        found[name] = load_prepared(prepare(log, tmp_path / name, on_bad_rows="skip"))
    assert found["whole"].n_events == 1200
    assert found["broken"].user_ids.tolist() == found["whole"].user_ids.tolist()
    assert found["broken"].item_ids.tolist() == found["whole"].item_ids.tolist()
    assert found["broken"].n_events == 1200
