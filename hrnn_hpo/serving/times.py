"""Moments as callers write them, to unix seconds: numbers, ISO 8601, `now`.

What the time of a request means to a model is the model's business.
"""

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hrnn_hpo.errors import ConfigError, DataError

NOW = "now"
MAX_SECONDS = 10**11  # the year 5138; a time in milliseconds is above it
CONTEXT = "context"
REQUEST_TIME = "REQUEST_TIME"  # the key of a request's or a batch line's context
MAX_SHOWN = 80  # characters of a bad value in its error

_DIGITS = re.compile(r"-?[0-9]+(\.[0-9]*)?")  # parts of a second are left out, as of a number

TimeLike = int | float | str | datetime | None  # unix seconds, ISO 8601, `now`; None: nobody knows


def unix_seconds(value: Any) -> int:
    """Return a number of unix seconds, or a time in ISO 8601, UTC unless it says its zone, as whole unix seconds.

    Raises ValueError for anything else, and for numbers that are no time since 1970.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(re.sub(" ?UTC$", "Z", value))  # as `data describe` writes times
        except ValueError:
            raise ValueError(f"must be unix seconds or a time in ISO 8601, but got {value[:80]!r}") from None
    if isinstance(value, datetime) and value == value:  # pandas' NaT is a datetime, and not itself
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"must be unix seconds or a time in ISO 8601, but got {value!r:.80}")
    if not 0 <= value < MAX_SECONDS:  # neither is NaN
        raise ValueError(f"must be unix seconds from 0 to {MAX_SECONDS}, but got {value}")
    return int(value)


def context_seconds(value: Any) -> int | None:
    """Return `unix_seconds` of a context's value, which may be a number's digits: contexts hold texts. None is unknown.

    Eight digits are a day of ISO 8601 (20261126), as where a log is read: as seconds they would be one of 1970.
    """
    if value is None:  # null, as a field that is left out
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value) and not re.fullmatch("[0-9]{8}", value):
        number = float(value)
        value = int(number) if number.is_integer() else number
    return unix_seconds(value)


def time_in_context(line: Mapping[str, Any]) -> int | None:
    """Return when the user of a line asks, by its context, in unix seconds; None where it does not say, or says null.

    Raises DataError for a context that holds something else, ConfigError for what is no time.
    """
    context = line.get(CONTEXT)
    if context is None:
        return None
    if not isinstance(context, dict) or context.keys() - {REQUEST_TIME}:
        shown = json.dumps(context, default=str)[:MAX_SHOWN]
        raise DataError(f'"{CONTEXT}" must be an object with the key "{REQUEST_TIME}" alone, but got {shown}.')
    try:
        return context_seconds(context.get(REQUEST_TIME))
    except ValueError as error:
        raise ConfigError(f'"{REQUEST_TIME}" {error}.') from None


def request_seconds(at: TimeLike) -> int | None:
    """Return when a recommendation is asked for in unix seconds; None where nobody knows.

    Raises ConfigError for what is no time.
    """
    if isinstance(at, str) and at == NOW:  # an array is equal to it item by item
        return int(time.time())
    try:
        return context_seconds(at)
    except ValueError as error:
        raise ConfigError(f"The time of a request {error}; `now` is one too.") from None
