"""What version 0.1.0 wrote, unpacked for a test: tests/fixtures/v0_1_0 says how it was made."""

import zipfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent / "fixtures" / "v0_1_0"


def unpack(name: str, folder: Path) -> Path:
    """Unpack a fixture into a folder and return it."""
    with zipfile.ZipFile(FIXTURES / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder
