"""How far a preparation is: a bar on a terminal, a line now and then elsewhere, and the disk told beforehand."""

from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrnn_hpo.cli import preparing
from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.output import PlainConsole
from hrnn_hpo.cli.preparing import steps_shown
from hrnn_hpo.data import prepared
from hrnn_hpo.data.synthetic import markov, write_csv

runner = CliRunner()


class Clock:
    """A time that stands until it is moved."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(preparing, "time", made)
    return made


def written_to(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> StringIO:
    """Return what is shown from now on, on a terminal of 100 columns or in a file."""
    text = StringIO()
    console = PlainConsole(file=text, force_terminal=terminal, width=100, _environ={"TERM": "xterm"})
    monkeypatch.setattr(preparing, "console", console)
    monkeypatch.setattr(preparing.sys.stderr, "isatty", lambda: terminal)
    return text


def test_without_a_terminal_a_line_is_written_every_fifteen_seconds(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written_to(monkeypatch, terminal=False)
    with steps_shown() as show:
        for now, step, done in [(1.0, "reading", 10), (14.9, "reading", 20), (15.0, "reading", 30)]:
            clock.now = now
            show(step, done, 100)
        for now, done in [(20.0, 1), (29.9, 2), (30.1, 3)]:
            clock.now = now
            show("sorting", done, 4)
        clock.now = 99.0
        show("[bold]/s/b]", 0, 0)  # no total yet, and a text that is no markup
    assert text.getvalue().splitlines() == ["reading: 30%", "sorting: 75%", "[bold]/s/b]: 0%"]


def test_a_short_log_writes_no_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written_to(monkeypatch, terminal=False)
    with steps_shown() as show:
        show("reading", 1, 1)
    assert text.getvalue() == ""


def test_a_terminal_shows_what_happens_how_much_of_it_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written_to(monkeypatch, terminal=True)
    with steps_shown() as show:
        show("reading", 0.5, 1)
        for n_rows in range(0, 200_001, 20_000):
            show("sorting", n_rows, 400_000)
    last = text.getvalue()[text.getvalue().rindex("sorting") :]
    assert "200,000 rows, " in last
    assert " rows/s" in last
    assert last.count("0:00:0") == 2  # the time that passed, and what is left


def test_files_are_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written_to(monkeypatch, terminal=True)
    with steps_shown() as show:
        for share in (0.1, 0.5, 0.9):
            show("reading", share, 2)
    assert "reading" in text.getvalue()
    assert "rows" not in text.getvalue()


def test_the_speed_of_a_step_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written_to(monkeypatch, terminal=True)
    with steps_shown() as show:
        for n_rows in (0, 200_000, 400_000):
            show("sorting", n_rows, 400_000)
        show("writing", 0, 2_000)
    last = text.getvalue()[text.getvalue().rindex("writing") :]
    assert "rows/s" not in last


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))
    return write_csv(markov(n_users=30, n_items=10, n_events=5), tmp_path / "source")


def test_prepare_tells_the_disk_first_and_then_every_step(
    source: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_LINE_SECONDS", 0.0)
    result = runner.invoke(app, ["data", "prepare", str(source), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[0].startswith("Preparing takes up to ")
    assert f"of disk beside {tmp_path / 'out'}" in lines[0]
    steps = [line for line in lines[1:] if line.endswith("%")]
    assert steps[0].startswith("reading: ")
    names = list(dict.fromkeys(line.rsplit(":", 1)[0] for line in steps))
    assert names == ["reading", "numbering users and items", "sorting", "writing"]
    for name in names:
        shares = [int(line.rsplit(" ", 1)[1][:-1]) for line in steps if line.startswith(f"{name}:")]
        assert shares == sorted(shares), name
    assert steps[-1] == "writing: 100%"
    assert result.stdout.strip() == str(tmp_path / "out")


def test_a_disk_that_may_be_too_small_is_said_beforehand(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "disk_free", lambda folder: 1_500)
    result = runner.invoke(app, ["data", "prepare", str(source), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "1.5 KB are free: that may not be enough." in result.stderr.splitlines()[0]


def test_what_is_prepared_already_takes_no_disk_worth_a_word(source: Path, tmp_path: Path) -> None:
    prepared.prepare(source, tmp_path / "out")
    result = runner.invoke(app, ["data", "prepare", str(tmp_path / "out"), "--out", str(tmp_path / "copy")])
    assert result.exit_code == 0
    assert "of disk" not in result.stderr
