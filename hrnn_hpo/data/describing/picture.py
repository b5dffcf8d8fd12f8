"""History lengths of a log as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from hrnn_hpo.data.describing.figures import Description
from hrnn_hpo.errors import DataError
from hrnn_hpo.files import unwritable
from hrnn_hpo.pictures import drawing, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(description: Description, path: Path) -> Path:
    """Draw the histogram of history lengths to a PNG (or what the ending says) without a display; return the path.

    Raises DataError when the file cannot be written or its ending names no kind of picture.
    """
    try:
        with drawing():
            return save(_figure(description), path, dpi=150)
    except OSError as error:
        raise unwritable(path, error, DataError) from error
    except ValueError as error:
        raise DataError(f"{path}: the picture cannot be written ({error}).") from error


def _figure(description: Description) -> "Figure":
    from matplotlib.ticker import ScalarFormatter

    groups = description.history_lengths
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    axes.stairs(
        [group.n_users for group in groups],
        [*(group.shortest for group in groups), groups[-1].longest + 1],
        fill=True,
        color="#9ecae1",
    )
    axes.set(xscale="log", xlabel="events of a user", ylabel="users", title=f"{description.name}: history lengths")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    for share in ("0.05", "0.5", "0.95", "0.99"):
        length = description.history_length_percentiles[share]
        axes.axvline(length, color="C1", linewidth=1)
        axes.annotate(
            f" {share}: {length:g}", (length, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top"
        )
    return figure
