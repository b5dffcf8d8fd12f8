"""What is looked up in MLflow by tags: the filter it is asked with, and the check of what it answers.

MLflow's filter language has no escape for quotes, so a value goes into a filter only where it holds plain characters;
the others are compared here. Every look-up of this package goes through these two functions.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[\w.:-]+", re.ASCII)


def query(tags: Mapping[str, str]) -> str:
    """Return a filter that what carries these tags passes; others may pass it too."""
    plain = {key: value for key, value in tags.items() if _PLAIN.fullmatch(key) and _PLAIN.fullmatch(value)}
    return " and ".join(f"tags.`{key}` = '{value}'" for key, value in plain.items())


def matching(found: Any, tags: Mapping[str, str]) -> Iterator[Any]:
    """Yield what carries all these tags, of entities that have `.tags` or, as runs do, `.data.tags`."""
    for entity in found:
        carried = entity.data.tags if hasattr(entity, "data") else entity.tags
        if tags.items() <= carried.items():
            yield entity
