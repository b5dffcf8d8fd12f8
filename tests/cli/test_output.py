"""What is printed is shown as it is: no text is markup, an emoji or a command to the terminal."""

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import NAMES, names
from hypothesis import given
from typer.testing import CliRunner

from hrnn_hpo.cli import output, recommend, verdicts
from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.output import PlainConsole, print_error, print_note, print_table, print_warning, visible
from hrnn_hpo.cli.progress import StudyProgress, share_bar


@given(names())
def test_a_console_shows_every_text_as_it_is(name: str) -> None:
    shown = io.StringIO()
    PlainConsole(file=shown, width=2_000).print(f"Study {name}.", soft_wrap=True)
    assert shown.getvalue().expandtabs() == f"Study {visible(name)}.\n".expandtabs()


@given(names())
def test_nothing_that_is_shown_commands_the_terminal(name: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", visible(name))


def test_control_characters_are_shown_by_their_codes() -> None:
    assert visible("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert visible("\u202eleft") == "\\u202eleft"
    assert visible("два\n\tslova") == "два\n\tslova"


@pytest.mark.parametrize("name", NAMES)
def test_messages_and_tables_show_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = PlainConsole(file=shown, width=2_000)
    for module in (output, verdicts, recommend):
        for place in ("console", "results"):
            if hasattr(module, place):
                monkeypatch.setattr(module, place, console)
    for message in (print_error, print_warning, print_note):
        message(f"about {name}")
    print_table(f"Table {name}", [name, "number"], [[name, 0.5]])
    lines = [line for line in visible(name).expandtabs().splitlines() if line.strip()]
    for line in lines:
        assert shown.getvalue().expandtabs().count(line.strip()) >= 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_standard_streams_does_its_work(closed: str, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    command = [sys.executable, "-m", "hrnn_hpo.cli.main", "data", "simulate", "--out", str(log), "--events", "100"]
    ended = subprocess.run(["sh", "-c", f"exec {shlex.join(command)} {closed}"], capture_output=True, timeout=60)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)
    assert len(log.read_text(encoding="utf-8").splitlines()) == 101


@pytest.mark.parametrize("name", NAMES)
def test_progress_shows_names(name: str) -> None:
    with StudyProgress(1) as progress, share_bar() as bar:
        bar.add_task(name)
        for column in (*progress._bar.columns, *bar.columns):
            task = bar.tasks[0]
            task.fields.update({"best": name, "now": name, "left": name})
            column(task)  # a name with brackets raised here


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("-")])
def test_a_wrong_command_and_a_wrong_value_are_told_as_they_are(name: str) -> None:
    for arguments in ([name], ["train", "log", "--out", "m", "--device", name], ["status", name, "--no-such", name]):
        answer = CliRunner().invoke(app, arguments)
        assert answer.exit_code == 2, answer.output
        assert answer.exception is None or isinstance(answer.exception, SystemExit)
