"""What disk a preparation wants, told beforehand, and what the folder has."""

import shutil
from pathlib import Path

from hrnn_hpo.data.reading.source import LogFile, Source

# Bytes of disk at the most while a log is prepared, per byte of its files: the staged table, what sorting spills, and
# the arrays. Estimates: only Parquet's was looked at, on 30 million simulated events
# (scripts/benchmarks/speed/prepare.py).
_PER_BYTE = {"csv": 2.0, "jsonl": 1.2, "parquet": 6.0, "frame": 0.0}
_PACKED = 5.0


def disk_needed(source: Source) -> int:
    """Return the bytes that preparing a log takes on disk at the most, the finished folder included."""
    return sum(_of_file(file) for file in source.files)


def disk_free(folder: Path) -> int:
    """Return the free bytes where a folder is, or will be."""
    there = folder.absolute()
    while True:
        try:
            return shutil.disk_usage(there).free
        except OSError:  # not there yet, or a name that none can have: who writes there will tell
            if there == there.parent:
                raise
            there = there.parent


def size_text(n_bytes: float) -> str:
    """Return 1,234,567 bytes as "1.2 MB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" or n_bytes >= 100 else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _of_file(file: LogFile) -> int:
    size = file.path.stat().st_size if file.path is not None else 0
    return int(size * _PER_BYTE[file.kind] * (_PACKED if file.packing else 1.0))
