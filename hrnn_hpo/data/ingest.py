"""A log read into memory, and the smallest one that training takes.

The reading itself is reading/'s work; prepared keeps the result on disk.
"""

import tempfile
from pathlib import Path
from typing import Any

from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.reading.options import ReadOptions, read_options
from hrnn_hpo.data.reading.read import Report, read_source
from hrnn_hpo.data.reading.source import SourceLike, find_source
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import DataError, counted

MIN_INTERACTIONS = 1_000  # the service's own minimum
MIN_USERS = 25


def read_interactions(source: SourceLike, options: ReadOptions | None = None, **fields: Any) -> Dataset:
    """Return the encoded log of files or a DataFrame: sorted by (user, time, original order), exact duplicates once.

    Vocabularies are in ascending order of code points; items that only the items table names are part of theirs.
    An optional column without a single value counts as absent. `fields` are those of ReadOptions, or names of columns
    such as `user="userId"`.

    Raises DataError with every problem of all files, the first twenty of each kind with their line (row in Parquet).
    """
    return read_report(source, read_options(options, **fields))[0]


def read_report(source: SourceLike, options: ReadOptions) -> tuple[Dataset, Report]:
    """Return the encoded log in memory, and what reading it counted."""
    with tempfile.TemporaryDirectory(prefix="hrnn-hpo-") as work:
        encoded, report = read_source(find_source(source), options, ArrayStore(), Path(work))
    return encoded.dataset, report


def check_minimum(dataset: Dataset) -> None:
    """Raise DataError when the log is too small to learn from: the minimum that Amazon Personalize asks for."""
    n_returning = int((dataset.history_lengths >= 2).sum())
    if dataset.n_events < MIN_INTERACTIONS or n_returning < MIN_USERS:
        raise DataError(
            f"{dataset.name or 'The data'}: at least {MIN_INTERACTIONS:,} interactions and {MIN_USERS} users with two "
            f"or more must be there, but got {counted(dataset.n_events, 'interaction')} and "
            f"{counted(n_returning, 'such user')}."
        )
