"""Recommendations for a file of users, in the format of Amazon Personalize's batch inference jobs.

A line in, `{"userId": "4638"}`, is a line out. It may say when the user asks, `"context": {"REQUEST_TIME":
"1700000000"}`. Users are encoded in blocks; what they get is what `recommend` gives.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from hrnn_hpo.errors import ConfigError, DataError, HRNNError
from hrnn_hpo.files import unwritable, whole_file
from hrnn_hpo.model.encode import USERS_AT_ONCE
from hrnn_hpo.serving.recommender import Recommender, check_k
from hrnn_hpo.serving.times import CONTEXT, MAX_SHOWN, time_in_context

USER_KEY = "userId"


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

    A line that is no `{"userId": "..."}`, or whose time breaks a rule, gets null for output and says why in `error`;
    blank lines are skipped. `target` appears whole or not at all. `on_progress` is told the bytes of `source` that each
    block has dealt with.
    Raises DataError when `source` cannot be read, ConfigError when `target` cannot be written or k is out of range.
    """
    check_k(k)
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target}: the output must be another file than the input.")
    n_lines = n_errors = 0
    try:
        if target.is_dir():
            raise ConfigError(f"{target}: the output must be a file, but is a folder.")
        with whole_file(target) as draft, draft.open("w", encoding="utf-8") as file:
            for block, n_bytes in _blocks(source):
                answers = answer_lines(recommender, block, k)
                file.writelines(json.dumps(answer) + "\n" for answer in answers)
                n_lines += len(answers)
                n_errors += sum(answer["error"] is not None for answer in answers)
                if on_progress is not None:
                    on_progress(n_bytes)
    except OSError as error:
        raise unwritable(target, error) from error
    return BatchReport(n_lines, n_errors)


def answer_lines(recommender: Recommender, lines: Sequence[bytes], k: int) -> list[dict[str, Any]]:
    """Return {"input", "output", "error"} of each line; the good ones are encoded together."""
    answers = [_read_line(line) for line in lines]
    good, times = [], []
    for answer in answers:
        if answer["error"] is None:
            try:
                at = time_in_context(answer["input"])
                recommender.check_request(answer["input"][USER_KEY], at)
            except HRNNError as error:
                answer["error"] = str(error)
            else:
                good.append(answer)
                times.append(at)
    items, scores = recommender.recommend_many([answer["input"][USER_KEY] for answer in good], k, times)
    for answer, own_items, own_scores in zip(good, items, scores, strict=True):
        listed = own_items >= 0
        answer["output"] = {
            "recommendedItems": recommender.saved.histories.item_ids[own_items[listed]].tolist(),
            "scores": own_scores[listed].tolist(),
        }
    return answers


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
    elif unknown := sorted(value.keys() - {USER_KEY, CONTEXT}):
        problem = f'The line must have no other key than "{USER_KEY}" and "{CONTEXT}", but got {unknown}.'
    return {"input": value, "output": None, "error": problem}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
