"""Moments as callers write them, to unix seconds: numbers, ISO 8601, `now`.

What the time of a request means to a model is the model's business.
"""

import time
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

from hrnn_hpo.errors import ConfigError

NOW = "now"
MAX_SECONDS = 10**11  # the year 5138; a time in milliseconds is above it
REQUEST_TIME = "REQUEST_TIME"  # the key of a request's or a batch line's context

TimeLike = int | float | str | datetime | None  # unix seconds, ISO 8601, `now`; None: nobody knows


def unix_seconds(value: Any) -> int:
    """Return a number of unix seconds, or a time in ISO 8601, UTC unless it says its zone, as whole unix seconds.

    Raises ValueError for anything else, and for numbers that are no time since 1970.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"must be unix seconds or a time in ISO 8601, but got {value[:80]!r}") from None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"must be unix seconds or a time in ISO 8601, but got {value!r:.80}")
    if not isfinite(value):
        raise ValueError("must be unix seconds or a time in ISO 8601")
    if not 0 <= value < MAX_SECONDS:
        raise ValueError(f"must be unix seconds from 0 to {MAX_SECONDS}, but got {value}")
    return int(value)


def context_seconds(value: Any) -> int:
    """Return `unix_seconds` of a context's value, which may be a number's digits: contexts hold texts."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    return unix_seconds(int(value[:20]) if digits else value)


def request_seconds(at: TimeLike) -> int | None:
    """Return when a recommendation is asked for in unix seconds; None where nobody knows.

    Raises ConfigError for what is no time.
    """
    if at is None:
        return None
    if at == NOW:
        return int(time.time())
    try:
        return context_seconds(at)
    except ValueError as error:
        raise ConfigError(f"The time of a request {error}; `now` is one too.") from None
