"""Pictures by matplotlib, drawn without a display and written to a file; what is drawn is the caller's business.

Names of users, items and studies stand in titles and labels, so no text is read as mathematics or TeX.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hrnn_hpo.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def drawing() -> Iterator[None]:
    """Have all that is drawn and written meanwhile show its texts as they are."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box stands for it
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # beside a very long name
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", file: Path, dpi: int) -> Path:
    """Write a figure, as what the file's ending says, as PNG without one, and return the file.

    Raises OSError for a file that cannot be written and ValueError for an ending that names no kind of picture.
    """
    with whole_file(file) as draft:
        # Told the kind: where a name has no ending Matplotlib would write to another name.
        figure.savefig(draft, dpi=dpi, format=file.suffix.removeprefix(".").lower() or "png")
    return file
