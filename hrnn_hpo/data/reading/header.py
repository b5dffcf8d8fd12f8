"""Which column of a file is which of ours, and what to say when one is missing: the mapping that the header shows.

Reading the cells below is load's and records' work.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    REQUIRED_COLUMNS,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.data.reading.options import KEYWORDS, READ_COLUMNS, ReadOptions
from hrnn_hpo.data.reading.problems import Problem, Problems, shorten
from hrnn_hpo.data.reading.source import UNREADABLE, LogFile, first_lines
from hrnn_hpo.errors import DataError
from hrnn_hpo.plain_data import load_json

_N_JSON = 1000  # lines whose keys are looked at
_REQUIRED = {"interactions": REQUIRED_COLUMNS, "items": (ITEM_ID,), "users": (USER_ID,)}
# What others call our columns, without case, blanks and marks.
_SYNONYMS = {
    USER_ID: "user userid uid users visitorid visitor customerid customer clientid memberid accountid reviewerid "
    "householdid personid profileid viewerid userhash shopperid",
    ITEM_ID: "item itemid iid items movieid productid product asin parentasin articleid article trackid songid "
    "artistid bookid businessid contentid newsid sku storyid videoid gameid isbn poiid venueid",
    TIMESTAMP: "timestamp time ts date datetime eventtime unixreviewtime reviewtime createdat created ratedat "
    "eventtimestamp eventdate transactiondate purchasedate tdat invoicedate",
    EVENT_TYPE: "event eventtype behavior behaviortype behaviour action actiontype interactiontype",
    EVENT_VALUE: "rating ratings stars score overall eventvalue playcount",
    SESSION_ID: "session sessionid usersession basketid orderid visitid invoiceno",
}


class EmptyFileError(DataError):
    """A text file has not a single line."""

    def __init__(self, file: LogFile, says: str) -> None:
        super().__init__(f"{file.place}: {says}.")
        self.says = says


@dataclass(frozen=True)
class Layout:
    """Where our columns stand in one file."""

    names: tuple[str, ...]  # all columns of the file; "1", "2", … without a header
    places: dict[str, int] = field(default_factory=dict)  # ours, and those that a schema asks for -> place in names
    constants: dict[str, str] = field(default_factory=dict)  # ours -> the value that the folder's name gives, "" empty
    late: tuple[str, ...] = ()  # ours that the first lines of JSON have not: further down they may stand


def read_names(file: LogFile, options: ReadOptions) -> list[str]:
    """Return the column names of a text file; places as text where there is no header.

    Raises DataError when the file is empty or its first line cannot be read.
    """
    if file.kind == "jsonl":
        return _json_names(file)
    separator = options.separator or ","
    row = _first_record(file, separator, quotes_count(options))
    if row is None:
        raise EmptyFileError(file, "is empty; a header line and rows must stand there")
    if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
        raise DataError(f"{file.place}, line 1: must be UTF-8 text, but holds other bytes.")
    if options.no_header and file.role == "interactions":
        return [str(place + 1) for place in range(len(row))]
    return row


def quotes_count(options: ReadOptions) -> bool:
    """Return whether a double quote opens a quoted cell."""
    return not options.no_quotes and len(options.separator or ",") == 1


def find_layout(
    file: LogFile, names: Sequence[str], options: ReadOptions, extras: Sequence[str], problems: Problems
) -> Layout:
    """Return where our columns stand in a file, and `extras` with them; add a problem for each that is missing."""
    before = problems.count
    read = READ_COLUMNS if file.role == "interactions" else _REQUIRED[file.role]
    asked = {*read, *extras, *map(str, options.columns.values())}
    for name in dict.fromkeys(name for name in names if name in asked and list(names).count(name) > 1):
        says = f"column names must be unique, but {name!r} stands {list(names).count(name)} times"
        problems.add(Problem(file.place, says))
    if file.kind == "csv" and len(names) == 1 and not (options.no_header and file.role == "interactions"):
        separators = [mark for mark in (";", "\t", "|", "::", ",") if mark in names[0]]
        if separators:
            option = "tab" if separators[0] == "\t" else f"'{separators[0]}'"
            wanted = options.separator or ","
            says = f"cells must be separated by {wanted!r}, but the header has {separators[0]!r}: {shorten(names[0])}"
            problems.add(Problem(file.place, says, hint=f"give --separator {option}"))
            return Layout(tuple(names))
    constants = dict(file.constants)
    shown = names
    places: dict[str, int] = {}
    fixed: dict[str, str] = {}
    missing: list[str] = []
    late: list[str] = []
    for ours in read:
        theirs = options.columns.get(ours)
        place = _place(names, theirs, file) if theirs is not None else None
        if place is None and (theirs is None or file.role != "interactions"):
            place = names.index(ours) if ours in names else None
        if place is not None:
            places[ours] = place
        elif str(theirs or ours) in constants:
            fixed[ours] = constants[str(theirs or ours)]
        elif file.kind == "jsonl" and ours not in _REQUIRED[file.role]:
            names = [*names, str(theirs or ours)]
            places[ours] = len(names) - 1
            late.append(ours)
        elif theirs is not None or ours in _REQUIRED[file.role]:
            missing.append(ours)
    for name in extras:
        if name not in places and name in names:
            places[name] = list(names).index(name)
    if missing and problems.count == before:
        explain_missing(file, shown, missing, options, problems)
    for place in dict.fromkeys(places[ours] for ours in read if ours in places):
        same = [ours for ours in read if places.get(ours) == place]
        if len(same) > 1:
            says = f"one column of the log is one of ours, but {names[place]!r} is {' and '.join(same)}"
            problems.add(Problem(file.place, says))
    return Layout(tuple(names), places, fixed, tuple(late))


def suggest_columns(names: Sequence[str]) -> dict[str, str]:
    """Return {ours: theirs} for the columns whose names say what they are."""
    found: dict[str, str] = {}
    for ours, words in _SYNONYMS.items():
        known = words.split()
        fits = [name for name in names if _plain(name) in known]
        if ours in names:
            found[ours] = ours
        elif fits:
            found[ours] = min(fits, key=lambda name: known.index(_plain(name)))
    return found


def explain_missing(
    file: LogFile, names: Sequence[str], missing: list[str], options: ReadOptions, problems: Problems
) -> None:
    """Add a problem for columns of ours that a file has not, with the mapping that its names suggest."""
    shown = ", ".join(names) if names else "none"
    what = f"column {missing[0]} is" if len(missing) == 1 else f"columns {_listed(missing)} are"
    asked = [f"{ours}={options.columns[ours]}" for ours in missing if ours in options.columns]
    if asked:
        says = f"{what} missing: {', '.join(asked)} was asked for, but the columns are {shown}"
        problems.add(Problem(file.place, says))
        return
    if file.kind == "csv" and not options.no_header and _looks_like_a_row(names):
        says = f"{what} missing, and the first line is a row rather than a header: {shown}"
        hint = "give --no-header --columns USER_ID=1,ITEM_ID=2,TIMESTAMP=3 with the numbers of your columns"
        problems.add(Problem(file.place, says, hint=hint))
        return
    suggested = suggest_columns(names)
    pairs = {ours: suggested.get(ours, "…") for ours in (*missing, *suggested) if suggested.get(ours) != ours}
    pairs = {ours: pairs[ours] for ours in READ_COLUMNS if ours in pairs}
    if file.kind == "frame":
        word = {ours: keyword for keyword, ours in KEYWORDS.items()}
        mapping = ", ".join(f"{word[ours]}={theirs!r}" for ours, theirs in pairs.items())
    else:
        mapping = f"--columns {_quoted(','.join(f'{ours}={theirs}' for ours, theirs in pairs.items()))}"
    hint = f"its names suggest {mapping}" if any(ours in suggested for ours in missing) else f"give {mapping}"
    problems.add(Problem(file.place, f"{what} missing (columns: {shown})", hint=hint))


def _place(names: Sequence[str], theirs: str | int, file: LogFile) -> int | None:
    if str(theirs) in names and (isinstance(theirs, str) or file.kind == "frame"):
        return list(names).index(str(theirs))  # of a DataFrame: a label may be a number
    number = theirs if isinstance(theirs, int) else int(theirs) if theirs.isdecimal() else 0
    if file.kind == "jsonl" or file.role != "interactions":  # columns are counted in the log: a table has others
        return None
    return number - 1 if 1 <= number <= len(names) else None


def _first_record(file: LogFile, separator: str, quotes: bool) -> list[str] | None:
    lines = first_lines(file, 1000)
    try:
        if len(separator) > 1:
            texts = (line.rstrip("\r\n") for line in lines)
            return next((text.split(separator) for text in texts if text), None)
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=quotes,
        )
        return next((row for row in reader if row), None)
    except csv.Error as error:
        raise DataError(f"{file.place}, line 1: must be valid CSV, but {error}.") from None
    except UNREADABLE as error:
        raise DataError(f"{file.place}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def _json_names(file: LogFile) -> list[str]:
    names: dict[str, None] = {}
    empty = True
    try:
        for line in first_lines(file, _N_JSON):
            if not line.strip():
                continue
            empty = False
            try:
                record = load_json(line)
            except ValueError:
                continue  # the pass over the rows names it
            if isinstance(record, dict):
                names |= dict.fromkeys(str(name) for name in record)
    except UNREADABLE as error:
        raise DataError(f"{file.place}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if empty:
        raise EmptyFileError(file, "is empty; one JSON object a line must stand there")
    if not names:
        raise DataError(
            f"{file.place}, line 1: must hold one JSON object a line, but there is none; jq -c . writes objects so."
        )
    return list(names)


def _looks_like_a_row(names: Sequence[str]) -> bool:
    numbers = sum(bool(re.fullmatch(r"[0-9]+(\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}.*", name)) for name in names)
    return numbers >= 1 and numbers >= len(names) / 3


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _quoted(text: str) -> str:
    import shlex

    return text if "…" in text else shlex.quote(text)
