"""What a rival is given and what it hands back: sequences of item codes in, a list of item ids per test user out.

The file holds no truth of the test users. A driver runs in an environment of its own, which need not know this project:
NumPy is enough here.
"""

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

LIST_LENGTH = 25
K = 10
BLOCK_ROWS = 512  # users that are ranked at a time


@dataclass(frozen=True)
class Sequences:
    """The item codes of R users, those of a user side by side in order of time."""

    items: np.ndarray  # (N,)
    offsets: np.ndarray  # (R + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    @property
    def rows(self) -> np.ndarray:
        """Return the user of each event, (N,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


@dataclass(frozen=True)
class Assignment:
    """Who trains on which events, who validates, and for whom a list is wanted."""

    train: Sequences
    validation: Sequences  # the input of the validation users
    truth: Sequences  # their truth, which may name an item twice
    test: Sequences  # the input of the test users
    item_ids: np.ndarray  # (V,) texts, by code
    user_ids: np.ndarray  # texts, of the test users
    remove_seen: bool  # whether items of a user's input stay out of the list

    def write(self, file: Path) -> None:
        """Write the assignment as a file of arrays."""
        arrays: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Sequences):
                arrays |= {f"{field.name}_items": value.items, f"{field.name}_offsets": value.offsets}
            else:
                arrays[field.name] = value
        np.savez(file, **arrays)

    @classmethod
    def read(cls, file: str | Path) -> "Assignment":
        """Return the assignment that `write` wrote."""
        with np.load(file) as arrays:
            parts = {
                name: Sequences(arrays[f"{name}_items"], arrays[f"{name}_offsets"])
                for name in ("train", "validation", "truth", "test")
            }
            return cls(**parts, **{name: arrays[name] for name in ("item_ids", "user_ids")},
                       remove_seen=bool(arrays["remove_seen"]))  # fmt: skip

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def length(self) -> int:
        """Return how long the test users' lists are: 25 items stay where somebody takes out those of the input.

        That is what figures for new items alone do.
        """
        if self.remove_seen:
            return LIST_LENGTH
        return min(self.n_items, LIST_LENGTH + max(len(np.unique(self.test[row])) for row in range(len(self.test))))

    @property
    def popularity(self) -> np.ndarray:
        """Return how many training events each item has, (V,)."""
        return np.bincount(self.train.items, minlength=self.n_items)

    def validation_ndcg(self, lists: np.ndarray) -> float:
        """Return the mean ndcg_at_10 of the validation users' lists (R, K or more) of item codes, -1 for none."""
        discounts = 1.0 / np.log2(np.arange(2, K + 2))
        values = []
        for row, listed in enumerate(lists):
            wanted = np.unique(self.truth[row])
            hits = np.isin(listed[:K], wanted)
            values.append((hits * discounts[: len(hits)]).sum() / discounts[: len(wanted)].sum())
        return float(np.mean(values))

    def write_rankings(self, file: str | Path, lists: np.ndarray) -> None:
        """Write the test users' lists (R, K) of item codes as JSON lines, the form of `evaluate --rankings-from`."""
        with Path(file).open("w", encoding="utf-8") as out:
            for user, listed in zip(self.user_ids.tolist(), lists, strict=True):
                items = self.item_ids[listed[listed >= 0]].tolist()
                out.write(json.dumps({"user": user, "items": items}, ensure_ascii=False) + "\n")


def top_lists(
    scores: np.ndarray, inputs: Sequences, start: int, *, remove_seen: bool, length: int = LIST_LENGTH
) -> np.ndarray:
    """Return the best items of some rows by their scores (b, V), (b, length) best first, -1 where there are no more.

    The rows are those of `inputs` from `start` on. Equal scores: the lower code first. An item with a score of -inf is
    never listed. The scores are overwritten.
    """
    if remove_seen:
        for row, own in enumerate(scores):
            own[inputs[start + row]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :length]
    return np.where(np.take_along_axis(scores, order, axis=1) > -np.inf, order, -1)


def read_settings() -> dict[str, Any]:
    """Return the settings that stand on standard input."""
    return json.load(sys.stdin)


def tell(kind: str, **figures: Any) -> None:
    """Tell whoever started the driver of an epoch (EPOCH) or of the end (RESULT), a line of JSON on standard output."""
    print(f"{kind} {json.dumps(figures)}", flush=True)
