"""Rankings as files, a JSON line per user: those of our own models written, those of anybody read and compared.

A line is {"user": id, "items": [ids, best first]}, and may have "new_items", the list without the user's own items:
25 items that include some of the user's own do not show which 25 others are best. Ranking and figures are protocols'
work.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset, id_text
from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.errors import DataError, counted
from hrnn_hpo.evaluation.metrics import LIST_LENGTH, VALUE_WEIGHTED_METRICS
from hrnn_hpo.evaluation.protocols import Evaluation, Seen, make_truth
from hrnn_hpo.files import unwritable, whole_file

MAX_PROBLEMS = 20  # that one error tells
UNKNOWN = -2  # an item that the data does not have


@dataclass
class Rankings:
    """The lists of a file for the users of a part, and what should be known of them."""

    top_items: NDArray[np.int32]  # (R, 25) best first; -1: nothing, or an item that the data does not have
    new_items: NDArray[np.int32]  # (R, 25) without the users' own items
    notes: list[str] = field(default_factory=list)


def write_rankings(
    path: Path, dataset: Dataset, part: EvalPart, evaluation: Evaluation, with_request_time: bool = False
) -> None:
    """Write a JSON line per user: {"user": id, "items": [ids, best first], "truth": [distinct ids]}.

    "new_items" is the list without the user's own items, where the evaluation has one beside the other.
    `with_request_time` adds "request_time", that of the first truth event, which the evaluated model was told.
    After a value-weighted evaluation each line also has "values", the EVENT_VALUE summed for each item of the truth.
    The file appears whole or not at all. Raises ConfigError when it cannot be written.
    """
    truth = make_truth(dataset, part, value_weighted=VALUE_WEIGHTED_METRICS[0] in evaluation.metrics)
    try:
        with whole_file(path) as draft, draft.open("w", encoding="utf-8") as file:
            for row, user in enumerate(evaluation.users):
                own = slice(int(truth.offsets[row]), int(truth.offsets[row + 1]))
                line = {
                    "user": str(dataset.user_ids[user]),
                    "items": _ids(dataset, evaluation.top_items[row]),
                    "truth": dataset.item_ids[truth.items[own]].tolist(),
                }
                if evaluation.new_items is not None:
                    line["new_items"] = _ids(dataset, evaluation.new_items[row])
                if with_request_time:
                    line["request_time"] = int(dataset.timestamps[part.truth_starts[row]])
                if truth.values is not None:
                    line["values"] = truth.values[own].tolist()
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise unwritable(path, error) from error


def _ids(dataset: Dataset, items: NDArray[np.int32]) -> list[str]:
    found: list[str] = dataset.item_ids[items[items >= 0]].tolist()
    return found


def ranking_name(path: Path) -> str:
    """Return the name of a file's row in a table: the file's own without .jsonl or .jsonl.gz."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def read_rankings(path: Path, dataset: Dataset, part: EvalPart, *, seen: Seen, apart: bool = False) -> Rankings:
    """Return the lists that a file of JSON lines, plain or packed with gzip, has for every user of a part.

    Ids are texts, or whole numbers that stand for their digits. With `seen="remove"` items of the user's input are
    taken out and later ones move up; where a line has "new_items", these are taken. An item that the data does not
    have keeps its place and counts as a miss. Users of the file who are not evaluated are left out, and whose lists
    are too short for 25 places have misses at the end; the notes count all of them. `apart` says that figures for new
    items are wanted: then lists with too few of these are counted, too. A line with a "truth", as `write_rankings`
    makes it, must have the part's.

    Raises DataError with file and line for what is no such line, for a user with two lines, an item that stands twice
    in a list and another truth, and where an evaluated user has no line.
    """
    rows = {str(dataset.user_ids[user]): row for row, user in enumerate(part.users)}
    codes = {str(item): code for code, item in enumerate(dataset.item_ids)}
    truth = make_truth(dataset, part)
    nothing = np.full((len(part), LIST_LENGTH), -1, dtype=np.int32)
    found = Rankings(nothing, nothing.copy())
    lines_of: dict[str, int] = {}
    problems: list[str] = []
    n_other = n_unknown = n_short = n_few_new = n_seen = 0
    for number, line in _lines(path):
        try:
            user, items, new_items, told_truth = _parse(line)
            if user in lines_of:
                raise DataError(f"user {user} has a line already, line {lines_of[user]}")
            lines_of[user] = number
            for ids in (items, new_items or []):
                if len(set(ids)) < len(ids):
                    twice = next(item for place, item in enumerate(ids) if item in ids[:place])
                    raise DataError(f"item {twice} must stand once in the list of user {user}, but stands there again")
            if user not in rows:
                n_other += 1
                continue
            row = rows[user]
            wanted = set(dataset.item_ids[truth.items[truth.offsets[row] : truth.offsets[row + 1]]].tolist())
            if told_truth is not None and set(told_truth) != wanted:
                raise DataError(
                    f"the truth of user {user} must be that of this split, {len(wanted)} items, but other items stand "
                    "there: the file was made for another split or other data"
                )
        except DataError as error:
            problems.append(f"{path}, line {number}: {error}.")
            if len(problems) == MAX_PROBLEMS:
                problems.append("Further lines were not read.")
                break
            continue
        listed = [codes.get(item, UNKNOWN) for item in items]
        begin, end = int(dataset.user_offsets[part.users[row]]), int(part.truth_starts[row])
        own = set(np.asarray(dataset.items[begin:end]).tolist())
        ranked = listed if new_items is None else [codes.get(item, UNKNOWN) for item in new_items]
        new = [code for code in ranked if code not in own]
        n_seen += len(new) < len(ranked)
        shown = (listed if seen == "keep" else new)[:LIST_LENGTH]
        n_unknown += shown.count(UNKNOWN)
        n_new = min(LIST_LENGTH, dataset.n_items - len(own))
        n_short += len(shown) < (min(LIST_LENGTH, dataset.n_items) if seen == "keep" else n_new)
        n_few_new += len(new) < n_new
        found.top_items[row, : len(shown)] = shown
        found.new_items[row, : len(new)] = new[:LIST_LENGTH]
    if problems:
        raise DataError("\n".join(problems))
    missing = [user for user in rows if user not in lines_of]
    if missing:
        hint = " No id of the file is an evaluated user's." if len(missing) == len(rows) and lines_of else ""
        raise DataError(
            f"{path}: every evaluated user must have a line, but {len(missing)} of {len(rows)} have none, "
            f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}.{hint}"
        )
    for lists in (found.top_items, found.new_items):
        lists[lists == UNKNOWN] = -1
    few = f"fewer than {LIST_LENGTH} items that are new to the user, and the empty places count as misses in the"
    unknown = (
        "place holds an item that the data does not have, which counts as a miss",
        "places hold items that the data does not have, which count as misses",
    )
    notes = {
        f"{counted(n_other, 'user is not evaluated and was', 'users are not evaluated and were')} left out": n_other,
        counted(n_unknown, *unknown): n_unknown,
        f"{counted(n_short, 'list is', 'lists are')} shorter than {LIST_LENGTH}, and the empty places count as "
        "misses": n_short,
        f"{counted(n_few_new, 'list has', 'lists have')} {few} figures for new items": n_few_new
        if apart and seen == "keep"
        else 0,
        f"{counted(n_seen, 'list')} held items of the user's input, which were taken out": n_seen
        if seen == "remove"
        else 0,
    }
    found.notes = [f"{path}: {text}." for text, n in notes.items() if n]
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}).") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _parse(line: bytes) -> tuple[str, list[str], list[str] | None, list[str] | None]:
    """Return user, items and, where the line has them, new items and truth.

    Raises DataError, without a full stop, for other lines.
    """
    try:
        content = json.loads(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"must be a JSON object, but {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"must be a JSON object, but {error}") from None
    if not isinstance(content, dict) or "user" not in content or not isinstance(content.get("items"), list):
        raise DataError(
            'must be {"user": id, "items": [ids, best first]}'
            + f", but got {line[:80].decode(errors='replace').strip()}"
        )
    told = {key: content.get(key) for key in ("new_items", "truth")}
    for key, items in told.items():
        if items is not None and not isinstance(items, list):
            raise DataError(f'"{key}" must be a list of ids, but got {items!r}')
    new_items, truth = (None if items is None else [_id(item, "item") for item in items] for items in told.values())
    return _id(content["user"], "user"), [_id(item, "item") for item in content["items"]], new_items, truth


def _id(value: Any, what: str) -> str:
    try:
        return id_text(value)
    except DataError:
        raise DataError(
            f"a {what} must be a text or a whole number, but got {value!r}".replace("a item", "an item")
        ) from None
