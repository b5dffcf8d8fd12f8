"""History lengths of a log as a picture."""

from pathlib import Path

from hrnn_hpo.data.describing.figures import Description
from hrnn_hpo.errors import DataError


def plot(description: Description, path: Path) -> Path:
    """Draw the histogram of history lengths to a PNG (or what the ending says) without a display; return the path.

    Raises DataError when the file cannot be written or its ending names no kind of picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import ScalarFormatter

    groups = description.history_lengths
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.stairs(
        [group.n_users for group in groups],
        [*(group.shortest for group in groups), groups[-1].longest + 1],
        fill=True,
        color="#9ecae1",
    )
    axes.set(
        xscale="log", xlabel="events of a user", ylabel="users", title=f"{plain(description.name)}: history lengths"
    )
    axes.xaxis.set_major_formatter(ScalarFormatter())
    for share in ("0.05", "0.5", "0.95", "0.99"):
        length = description.history_length_percentiles[share]
        axes.axvline(length, color="C1", linewidth=1)
        axes.annotate(
            f" {share}: {length:g}", (length, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the picture cannot be written ({error}).") from error
    finally:
        plt.close(figure)
    return path


def plain(text: str) -> str:
    """Return a text that Matplotlib draws as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")
