"""The content hash of a dataset: equal for equal data, wherever it lies and however it was stored."""

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset

_CHUNK = 100_000


def with_content_hash(dataset: Dataset) -> Dataset:
    """Return the dataset with `content_hash` computed from every other field that is compared."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(Dataset):
        if field.name == "content_hash" or not field.compare:
            continue
        value = getattr(dataset, field.name)
        digest.update(f"\n{field.name}:".encode())
        if value is None:
            digest.update(b"none")
        elif isinstance(value, tuple):
            _update_text(digest, np.array(value, dtype=np.str_))
        elif value.dtype.kind == "U":
            _update_text(digest, value)
        else:
            array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return dataclasses.replace(dataset, content_hash=digest.hexdigest())


def _update_text(digest: "hashlib._Hash", texts: NDArray[np.str_]) -> None:
    digest.update(f"text({len(texts)})".encode())
    for start in range(0, len(texts), _CHUNK):  # ids of millions of users are never all Python objects at once
        for text in texts[start : start + _CHUNK].tolist():
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "little") + encoded)
