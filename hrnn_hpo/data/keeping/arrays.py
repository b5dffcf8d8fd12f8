"""Where the arrays of a log go while it is read: into `.npy` files of a folder, or into memory.

Arrays arrive in pieces, and how many there will be is known at the end only.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128  # NumPy pads the header of every array of one dimension to this size


class ArrayStore:
    """Collects named arrays piece by piece: in `folder`, mapped once they are whole, or in memory without one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._pieces: dict[str, list[NDArray[Any]]] = {}
        self._files: dict[str, IO[bytes]] = {}

    def append(self, name: str, piece: NDArray[Any]) -> None:
        """Add a piece to an array; all pieces of one array have one dtype."""
        if name not in self._dtypes:
            self._dtypes[name] = piece.dtype
            if self.folder is None:
                self._pieces[name] = []
            else:
                self._files[name] = (self.folder / f"{name}.npy").open("wb")
                self._files[name].write(bytes(_HEADER))
        if self.folder is None:
            self._pieces[name].append(piece)
        else:
            self._files[name].write(np.ascontiguousarray(piece).view(np.uint8).data if piece.size else b"")

    def finish(self, name: str) -> NDArray[Any]:
        """Return the whole array; it must have had a piece, which may be empty."""
        dtype = self._dtypes.pop(name)
        if self.folder is None:
            pieces = self._pieces.pop(name)
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        file = self._files.pop(name)
        length = (file.tell() - _HEADER) // dtype.itemsize
        file.seek(0)
        content = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, content)
        assert file.tell() == _HEADER
        file.flush()
        os.fsync(file.fileno())
        file.close()
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    def put(self, name: str, pieces: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """Return the array of some pieces, at least one."""
        for piece in pieces:
            self.append(name, piece)
        return self.finish(name)

    def close(self) -> None:
        """Close what is open, when a reading breaks off."""
        for file in self._files.values():
            file.close()
        self._files.clear()
