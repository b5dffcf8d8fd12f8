"""How far a preparation is: a bar with rows and rows a second on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hrnn_hpo.cli.output import console

_LINE_SECONDS = 15.0  # between lines where there is no terminal


@contextmanager
def steps_shown() -> Iterator[Callable[[str, float, float], None]]:
    """Give a function of (what happens, how much is done, of how much) that shows it on standard error."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("preparing", total=None, speed="")

        def show(step: str, done: float, total: float) -> None:
            if step != progress.tasks[0].description:
                progress.reset(task, description=step, total=total, speed="")
            speed = progress.tasks[0].speed
            shown = f"{done:,.0f} rows, {speed:,.0f} rows/s" if speed and total > 1000 else ""
            progress.update(task, completed=done, total=total, speed=shown)

        yield show


def _lines() -> Callable[[str, float, float], None]:
    """Return a function that writes a line now and then; a short log gets none."""
    last = time.monotonic()

    def show(step: str, done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_SECONDS:
            last = now
            console.print(f"{step}: {done / max(total, 1):.0%}", markup=False)

    return show
