"""The files of a log into one DuckDB table of checked events; what breaks a rule is named, or left out and counted.

The fast way is one SQL statement a file. Only where it finds something bad does records go through the file again.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.data.reading.amazon import Schema, read_schema, schema_rules
from hrnn_hpo.data.reading.cells import (
    ROW,
    Cells,
    arrow_table,
    column_names,
    column_types,
    json_cells,
    literal,
    one_row,
    run_long,
    text_cells,
    typed_cells,
)
from hrnn_hpo.data.reading.header import EmptyFileError, Layout, explain_missing, find_layout, read_names
from hrnn_hpo.data.reading.options import READ_COLUMNS, ReadOptions
from hrnn_hpo.data.reading.problems import Problem, Problems, as_keywords
from hrnn_hpo.data.reading.records import Rules, good_rows
from hrnn_hpo.data.reading.rules import MICROSECONDS, rules_of, split_sql, time_sql, whole_time_sql
from hrnn_hpo.data.reading.source import LogFile, Source, begins_blank
from hrnn_hpo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The table `staged`: one row an event, as read. Microseconds order the events of a second and are not kept.
STAGED = {
    USER_ID: ("user_id", "VARCHAR"),
    ITEM_ID: ("item_id", "VARCHAR"),
    TIMESTAMP: ("seconds", "BIGINT"),
    EVENT_TYPE: ("event_type", "VARCHAR"),
    EVENT_VALUE: ("event_value", "FLOAT"),
    SESSION_ID: ("session_id", "VARCHAR"),
}
OnStep = Callable[[str, float, float], None]  # (what happens, how much is done, of how much)


@dataclass
class Loaded:
    """What came in: which columns of ours the log has, how many rows each file had, and what deserves a word."""

    columns: set[str] = field(default_factory=set)
    n_rows: int = 0
    warnings: list[str] = field(default_factory=list)


def load_tables(
    connection: "DuckDBPyConnection",
    source: Source,
    options: ReadOptions,
    work: Path,
    problems: Problems,
    on_step: OnStep | None = None,
) -> Loaded:
    """Fill `staged`, `listed_items` and `listed_users` (what the items and users tables name).

    Raises DataError with every problem of all files that stops the reading.
    """
    loader = _Loader(connection, source, options, work, problems, on_step or (lambda *_: None))
    loader.create_tables()
    return loader.load()


class _Loader:
    def __init__(
        self,
        connection: "DuckDBPyConnection",
        source: Source,
        options: ReadOptions,
        work: Path,
        problems: Problems,
        on_step: OnStep,
    ) -> None:
        self.connection = connection
        self.source = source
        self.options = options
        self.work = work
        self.problems = problems
        self.schema: Schema | None = None if options.schema_file is None else read_schema(options.schema_file)
        self.types: dict[str, dict[str, str]] = {}
        self.on_step = on_step

    def create_tables(self) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in STAGED.values())
        self.connection.execute(f"CREATE TABLE staged ({columns}, micros INTEGER, file INTEGER, broken BOOLEAN)")
        for role in ("items", "users"):
            self.connection.execute(f"CREATE TABLE listed_{role} (id VARCHAR, file INTEGER, broken BOOLEAN)")

    def load(self) -> Loaded:
        loaded = Loaded()
        self._require_text()
        layouts = [self._layout(file) for file in self.source.files]
        self.problems.raise_if_any()
        several = len(self.source.of("interactions")) > 1
        found: Counter[str] = Counter()
        n_files = 0
        for number, (file, layout) in enumerate(zip(self.source.files, layouts, strict=True)):
            self.on_step("reading", number, len(layouts))
            if layout is None:
                continue
            n_rows = self._load_file(number, file, layout)
            if file.role == "interactions":
                n_files += 1
                here = {*layout.places, *layout.constants} & set(READ_COLUMNS)
                here -= self._never_found(number, file, layout)
                loaded.columns |= here
                found.update(here)
                loaded.n_rows += n_rows
            if n_rows == 0 and not (file.role == "interactions" and (several or self.problems.n_rejected_rows)):
                says = "is empty; at least one row must stand below the header"
                self.problems.add(Problem(file.place, says))
        self.problems.raise_if_any()
        if loaded.n_rows == 0 and self.problems.n_rejected_rows:
            kinds = "; ".join(self.problems.rejected)
            raise DataError(
                f"{self.source.name}: no row is left: all {self.problems.n_rejected_rows:,} break a rule ({kinds})."
            )
        if loaded.n_rows == 0:
            raise DataError(f"{self.source.name}: is empty; no file has a row below its header.")
        for name in READ_COLUMNS:
            if 0 < found[name] < n_files:
                loaded.warnings.append(f"{name} stands in {found[name]} of {n_files} files; it is empty in the others.")
        return loaded

    def _require_text(self) -> None:
        """Refuse options for tables of text where the log has none: they would be passed over in silence."""
        kinds = {file.role: file.kind for file in self.source.files if file.kind == "csv"}
        for name, role in (("no_header", "interactions"), ("separator", None), ("no_quotes", None)):
            if getattr(self.options, name) and not (role in kinds if role else kinds):
                raise ConfigError(
                    f"--{name.replace('_', '-')} is for CSV, but {self.source.name} has none of it; leave it out."
                )

    def _layout(self, file: LogFile) -> Layout | None:
        """Return where a file's columns stand; None for an empty part and for what cannot be read."""
        import duckdb

        extras: list[str] = []
        if self.schema is not None and file.role == "interactions":
            extras = [name for name in self.schema.types if name not in READ_COLUMNS]
        try:
            if file.kind in ("parquet", "frame"):
                if file.kind == "frame":
                    self._register(file)
                self.types[file.place] = column_types(self.connection, file)
                names = column_names(file, self.types[file.place])
            else:
                names = read_names(file, self.options)
        except duckdb.Error as error:
            self.problems.add(Problem(file.place, _unreadable(file, error)))
            return None
        except EmptyFileError as error:
            if len(self.source.of(file.role)) == 1:
                self.problems.add(Problem(file.place, error.says))
            return None
        except DataError as error:
            said = re.match(r"(?:, (line|iloc) ([0-9]+))?: (.*)\.$", str(error).removeprefix(file.place), re.DOTALL)
            assert said is not None
            word, row, says = said.groups()
            self.problems.add(Problem(file.place, says, int(row) if row else None, word or "line"))
            return None
        layout = find_layout(file, names, self.options, extras, self.problems)
        self._check_constants(file, layout)
        if self.schema is not None and file.role == "interactions":
            self.schema.check_columns(file, {*layout.places, *layout.constants}, self.problems)
        return layout

    def _never_found(self, number: int, file: LogFile, layout: Layout) -> set[str]:
        """Return the columns that no line of a JSON file has; add a problem for those that were asked for."""
        never = set()
        for name in layout.late:
            counted = f"SELECT count({STAGED[name][0]}) FROM staged WHERE file = {number}"
            if not one_row(self.connection, counted)[0]:
                never.add(name)
        asked = [name for name in layout.late if name in never and name in self.options.columns]
        if asked:
            names = layout.names[: len(layout.names) - len(layout.late)]
            explain_missing(file, names, asked, self.options, self.problems)
        return never

    def _check_constants(self, file: LogFile, layout: Layout) -> None:
        """Add a problem for each value of a folder's name that breaks a rule: no row of the file can mend it."""
        for name, value in layout.constants.items():
            for rule in rules_of(name, self.options):
                if rule.breaks(value):
                    says = f"stands in the folder's name and {rule.says}"
                    self.problems.add(Problem(file.place, says, column=name, value=value, hint=rule.hint))

    def _register(self, file: LogFile) -> None:
        wanted = {str(column) for column in self.options.columns.values()} | set(READ_COLUMNS)
        if self.schema is not None:
            wanted |= set(self.schema.types)
        self.connection.register("frame", arrow_table(file.frame, wanted, ROW))

    def _rules(self, file: LogFile, layout: Layout) -> Rules:
        names = [name for name in layout.places if name in READ_COLUMNS]
        rules = {name: list(rules_of(name, self.options)) for name in names}
        if self.schema is not None and file.role == "interactions":
            for name, rule in schema_rules(self.schema).items():
                if name in layout.places:
                    rules.setdefault(name, []).append(rule)
        return rules

    def _load_file(self, number: int, file: LogFile, layout: Layout) -> int:
        """Load one file; return its number of good rows."""
        import duckdb

        rules = self._rules(file, layout)
        known = self.problems.count
        if file.kind == "csv" and begins_blank(file):
            return self._load_again(number, file, layout, rules)  # DuckDB would take the header for a row
        try:
            if file.kind == "csv":
                cells = text_cells(file, layout, self.options, str(file.path))
            elif file.kind == "jsonl":
                cells = json_cells(file, layout)
            else:
                cells = typed_cells(file, layout, self.types[file.place], self.problems)
                if self.problems.count > known:
                    return 1
            n_rows, n_broken = self._insert(number, file, layout, cells, rules)
        except duckdb.Error as error:
            if file.kind in ("parquet", "frame"):
                self.problems.add(Problem(file.place, _unreadable(file, error)))
                return 1
            n_rows, n_broken = 1, 1
        if not n_broken and file.is_whole():
            return n_rows
        if file.kind in ("parquet", "frame"):
            self._name_rows(file, cells, rules)
            self._forget(number, file, "AND broken")
            return n_rows - n_broken if self.problems.skip else n_rows
        self._forget(number, file)
        return self._load_again(number, file, layout, rules)

    def _load_again(self, number: int, file: LogFile, layout: Layout, rules: Rules) -> int:
        """Load the good rows of a text file by way of records, which names the others."""
        import duckdb

        known = self.problems.count
        plain = self.work / "plain.csv"
        rows = good_rows(file, layout, rules, self.options, self.problems)
        with plain.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\r\n")  # so that a lone return in a cell is quoted
            writer.writerow(layout.places)
            # Stopped by the first problem: what follows is looked at, and not written.
            writer.writerows(row for row in rows if self.problems.count == known)
        if self.problems.count > known:
            return 1
        try:
            cells = text_cells(file, layout, self.options, str(plain), plain=True)
            n_rows, n_broken = self._insert(number, file, layout, cells, rules)
        except duckdb.Error as error:
            self.problems.add(Problem(file.place, f"cannot be read as CSV: {_first_line(error)}"))
            return 1
        assert not n_broken, f"{file.place}: rules in SQL and in Python differ"
        plain.unlink()
        return n_rows

    def _insert(self, number: int, file: LogFile, layout: Layout, cells: Cells, rules: Rules) -> tuple[int, int]:
        """Insert a file's rows; return how many there are, and how many are broken."""
        constants = {name: literal(value) if value else "NULL" for name, value in layout.constants.items()}
        texts = {**cells.texts, **constants}
        checks = {**rules, **{name: rules_of(name, self.options) for name in layout.constants}}
        whole_time = cells.whole_time if self.options.timestamps != "iso" else None
        broken = [cells.broken]
        for name, column_rules in checks.items():
            if name in cells.times:
                broken.append(f"coalesce({cells.times[name]} < 0, true)")
            elif name == TIMESTAMP and whole_time:
                broken.append(whole_time_sql(whole_time, self.options.timestamps))
            else:
                broken += [rule.broken_sql(texts[name]) for rule in column_rules]
        is_broken = " OR ".join(broken)
        if file.role == "interactions":
            table = "staged"
            seconds, micros = "NULL", "NULL"
            if TIMESTAMP in cells.times:
                seconds, micros = split_sql(cells.times[TIMESTAMP], MICROSECONDS["microseconds"])
            elif whole_time:
                seconds, micros = split_sql(whole_time, MICROSECONDS[self.options.timestamps or "seconds"])
            elif TIMESTAMP in texts:
                seconds, micros = time_sql(texts[TIMESTAMP], self.options.timestamps)
            values = [texts.get(name, "NULL") for name in STAGED]
            values[list(STAGED).index(TIMESTAMP)] = seconds
            at = list(STAGED).index(EVENT_VALUE)
            values[at] = f"TRY_CAST({values[at]} AS FLOAT) + 0"  # -0 is 0
            values.append(micros)
        else:
            table = f"listed_{file.role}"
            values = [texts[ITEM_ID if file.role == "items" else USER_ID]]
        selected = ", ".join([*values, str(number), is_broken])
        n_files = len(self.source.files)
        insert = f"INSERT INTO {table} SELECT {selected} FROM {cells.table}"
        run_long(
            self.connection,
            lambda: self.connection.execute(insert, list(cells.parameters)),
            lambda share: self.on_step("reading", number + share, n_files),
        )
        counts = f"SELECT count(*), count(*) FILTER (WHERE broken) FROM {table} WHERE file = {number}"
        row = one_row(self.connection, counts)
        return int(row[0]), int(row[1])

    def _forget(self, number: int, file: LogFile, which: str = "") -> None:
        table = "staged" if file.role == "interactions" else f"listed_{file.role}"
        self.connection.execute(f"DELETE FROM {table} WHERE file = {number} {which}")

    def _name_rows(self, file: LogFile, cells: Cells, rules: Rules) -> None:
        """Add a problem for each cell of a typed file that breaks a rule, in the order of rows."""
        row_number, first = ("file_row_number", 1) if file.kind == "parquet" else (ROW, 0)
        table = cells.table.replace("hive_partitioning = false", "hive_partitioning = false, file_row_number = true")
        if file.kind == "parquet" and row_number in self.types[file.place]:  # the file has a column of this name
            row_number, first = ROW, 0
            table = f"(SELECT *, row_number() OVER () AS {ROW} FROM {cells.table}) AS p"
        breaks: list[str] = []
        known: list[tuple[str, Any]] = []
        for name, column_rules in rules.items():
            for rule in column_rules:
                text = cells.texts[name]
                broken = rule.broken_sql(text)
                if name in cells.times:
                    broken = f"coalesce({cells.times[name]} < 0, true)"
                known.append((name, rule))
                breaks.append(
                    f"SELECT {row_number} + {first} AS n, {len(known) - 1} AS o, coalesce({text}, '') "
                    f"FROM {table} WHERE {broken}"
                )
                if name in cells.times:
                    break  # a type of time has one rule
        statement = f"{' UNION ALL '.join(breaks)} ORDER BY n, o"
        answer = self.connection.execute(statement, list(cells.parameters) * len(breaks))
        while rows := answer.fetchmany(10_000):
            for n, order, value in rows:
                name, rule = known[order]
                says, hint = rule.says, rule.hint
                if name in cells.times:
                    says, hint = "must be a time from 1970 on", ""
                if file.kind == "frame":
                    hint = as_keywords(hint)
                self.problems.add(
                    Problem(
                        file.place, says, n, file.row_word, name, value, hint, rule.unit and name not in cells.times
                    )
                )


def _unreadable(file: LogFile, error: Exception) -> str:
    return f"cannot be read{' as Parquet' if file.kind == 'parquet' else ''}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
