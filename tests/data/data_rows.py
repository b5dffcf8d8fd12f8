"""How the data tests write an encoded log down again."""

from hrnn_hpo.data.schema import Dataset


def rows_of(dataset: Dataset) -> list[tuple[str, str, int]]:
    """Return (user, item, timestamp) of each row, decoded."""
    users = dataset.user_ids[dataset.event_users].tolist()
    items = dataset.item_ids[dataset.items].tolist()
    return list(zip(users, items, dataset.timestamps.tolist(), strict=True))
