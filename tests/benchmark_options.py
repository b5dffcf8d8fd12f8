"""The options that every benchmark has, with folders of a test's own."""

import argparse
from pathlib import Path

from scripts.benchmarks.kit.rows import script_parser


def options_in(folder: Path, *arguments: str) -> argparse.Namespace:
    """Return parsed options whose rows and checkpoints lie in `folder`."""
    folders = ["--results", str(folder / "results"), "--work", str(folder / "work")]
    return script_parser("", "test").parse_args([*folders, *arguments])
