"""Recommendations for a file of users, in the format of Amazon Personalize's batch inference jobs.

A line in, `{"userId": "4638"}`, is a line out. Users are encoded in blocks; what they get is what `recommend` gives.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import NEW_USER, event_features
from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.evaluation.protocols import SCORE_BLOCK_BYTES
from hrnn_hpo.model.encode import USERS_AT_ONCE, encode
from hrnn_hpo.model.folder import SavedModel
from hrnn_hpo.model.inputs import StepInputs
from hrnn_hpo.serving.recommender import MAX_RESULTS, Recommender, best_items, code_of

USER_KEY = "userId"
MAX_SHOWN = 80  # characters of a bad line in its error


@dataclass(frozen=True)
class BatchReport:
    n_lines: int  # blank ones left out
    n_errors: int


def recommend_file(
    recommender: Recommender,
    source: Path,
    target: Path,
    k: int = 25,
    on_progress: Callable[[int], None] | None = None,
) -> BatchReport:
    """Write a line of `k` recommendations to `target` for every line of `source`, in the same order.

    A line that is no `{"userId": "..."}` gets null for output and says why in `error`; blank lines are skipped.
    `target` appears whole or not at all. `on_progress` is told the bytes of `source` that each block has dealt with.
    Raises DataError when `source` cannot be read, ConfigError when `target` cannot be written or k is out of range.
    """
    _check_k(k)
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target}: the output must be another file than the input.")
    draft = target.with_name(f".{target.name}.partial-{os.getpid()}")
    n_lines = n_errors = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise ConfigError(f"{target}: the output must be a file, but is a folder.")
        with draft.open("w", encoding="utf-8") as file:
            for block, n_bytes in _blocks(source):
                answers = answer_lines(recommender, block, k)
                file.writelines(json.dumps(answer) + "\n" for answer in answers)
                n_lines += len(answers)
                n_errors += sum(answer["error"] is not None for answer in answers)
                if on_progress is not None:
                    on_progress(n_bytes)
        draft.replace(target)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}).") from error
    finally:
        with suppress(OSError):  # where the folder is none, there is no draft either
            draft.unlink()
    return BatchReport(n_lines, n_errors)


def answer_lines(recommender: Recommender, lines: Sequence[bytes], k: int) -> list[dict[str, Any]]:
    """Return {"input", "output", "error"} of each line; the good ones are encoded together."""
    answers = [_read_line(line) for line in lines]
    good = [answer for answer in answers if answer["error"] is None]
    items, scores = recommend_many(recommender, [answer["input"][USER_KEY] for answer in good], k)
    for answer, own_items, own_scores in zip(good, items, scores, strict=True):
        listed = own_items >= 0
        answer["output"] = {
            "recommendedItems": recommender.saved.histories.item_ids[own_items[listed]].tolist(),
            "scores": own_scores[listed].tolist(),
        }
    return answers


def recommend_many(
    recommender: Recommender, user_ids: Sequence[str], k: int = 25
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `k` best items of each user, best first, -1 pads, and their scores, both (R, k).

    An unknown user gets what `recommend` gives: the popular items.
    """
    _check_k(k)
    saved = recommender.saved
    log = histories_of(saved.histories, user_ids)
    # A history of n events is n + 1 steps: where user r starts, r start tokens stand before it.
    starts = log.user_offsets[:-1] + np.arange(log.n_users)
    outputs = encode(saved.model, start_and_events(log, saved), starts, log.history_lengths + 1)  # (R, H)
    items = np.full((log.n_users, k), -1, dtype=np.int32)
    scores = np.zeros((log.n_users, k), dtype=np.float32)
    block = max(1, SCORE_BLOCK_BYTES // (4 * max(log.n_items, 1)))
    for begin in range(0, log.n_users, block):
        rows = slice(begin, min(begin + block, log.n_users))
        bounds = log.user_offsets[rows.start : rows.stop + 1]
        owners, events = expand_ranges(bounds[:-1], bounds[1:])
        own = own_items_after(owners, log.items[events], log.timestamps[events])
        items[rows], scores[rows] = best_items(recommender, outputs[rows], own, (owners, log.items[events]), k)
    return items, scores


def histories_of(log: Dataset, user_ids: Sequence[str]) -> Dataset:
    """Return the histories of some users as a log in the order of `user_ids`; an unknown user's is empty."""
    codes = [code_of(log.user_ids, user_id) for user_id in user_ids]
    starts = np.array([0 if code is None else log.user_offsets[code] for code in codes], dtype=np.int64)
    stops = np.array([0 if code is None else log.user_offsets[code + 1] for code in codes], dtype=np.int64)
    _, events = expand_ranges(starts, stops)
    return replace(
        log,
        user_offsets=np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64),
        items=log.items[events],
        timestamps=log.timestamps[events],
        user_ids=np.array(user_ids, dtype=np.str_),
        session_ids=None if log.session_ids is None else log.session_ids[events],
        event_types=None if log.event_types is None else log.event_types[events],
        event_values=None if log.event_values is None else log.event_values[events],
    )


def start_and_events(log: Dataset, saved: SavedModel) -> StepInputs:
    """Return the steps of every user's history, the start token and then the events; U + N rows."""
    features = event_features(log, saved.configuration.hyperparameters.session_gap)
    begins = log.user_offsets[:-1]
    return StepInputs(
        items=np.insert(log.items, begins, log.n_items),
        gap_buckets=np.insert(features.gap_buckets, begins, 0),
        control=np.insert(features.control, begins, NEW_USER),
        event_types=None if features.event_types is None else np.insert(features.event_types, begins, 0),
        event_values=None if features.event_values is None else np.insert(features.event_values, begins, 0.0),
    )


def _check_k(k: int) -> None:
    if not 1 <= k <= MAX_RESULTS:
        raise ConfigError(f"`1 <= k <= {MAX_RESULTS}` must hold, but got {k=}.")


def _blocks(source: Path) -> Iterator[tuple[list[bytes], int]]:
    """Yield blocks of lines that are not blank, and how many bytes of the file each block took."""
    try:
        with source.open("rb") as file:
            while lines := list(islice(file, USERS_AT_ONCE)):
                yield [line for line in lines if line.strip()], sum(map(len, lines))
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror}).") from error


def _read_line(line: bytes) -> dict[str, Any]:
    """Return the answer to a line before its output is known: its input, parsed if it is JSON, and its error."""
    text = line.strip().decode("utf-8", errors="replace")
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"  # its own "line 1" would be taken for the file's
        return {"input": text, "output": None, "error": f"The line must be a JSON object, but {reason}."}
    except (ValueError, RecursionError) as error:
        return {"input": text, "output": None, "error": f"The line must be a JSON object, but {error}."}
    problem = None
    if not isinstance(value, dict):
        problem = f"The line must be a JSON object, but got {text[:MAX_SHOWN]}."
    elif USER_KEY not in value:
        problem = f'The line must have the key "{USER_KEY}", but got the keys {sorted(value)}.'
    elif not isinstance(value[USER_KEY], str) or not value[USER_KEY]:
        shown = json.dumps(value[USER_KEY])[:MAX_SHOWN]
        problem = f'"{USER_KEY}" must be a string of at least one character, but got {shown}.'
    elif len(value) > 1:
        unknown = sorted(value.keys() - {USER_KEY})
        problem = f'The line must have no other key than "{USER_KEY}", but got {unknown}.'
    return {"input": value, "output": None, "error": problem}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
