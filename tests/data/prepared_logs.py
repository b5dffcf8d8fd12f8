"""The log that the tests of prepared data write down, and what they do with it."""

import dataclasses
from pathlib import Path

import numpy as np

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset

FULL = make_dataset(
    [[("a", 1, "view", 2.5, "x"), ("b", 2)], [("b", 1, "buy", None, "y")]], extra_items=["c"], name="full"
)


def assert_same(one: Dataset, other: Dataset) -> None:
    for field in dataclasses.fields(Dataset):
        if field.name != "name":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
