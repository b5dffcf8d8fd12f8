"""The program as a whole: help without heavy imports, errors without tracebacks, JSON alone on standard output."""

import errno
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from hrnn_hpo import __version__
from hrnn_hpo.cli import options
from hrnn_hpo.cli.main import _CleanErrors, app, main
from hrnn_hpo.cli.output import print_json
from hrnn_hpo.errors import ConfigError, RunFailedError

HEAVY = ("torch", "mlflow", "optuna", "pandas", "duckdb", "sklearn", "matplotlib", "plotly", "pyarrow", "scipy")


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from hrnn_hpo.cli.main import app
try:
    app(["--help"])
except SystemExit as end:
    assert end.code == 0
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "tune" in answer.stdout


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by its words: `studies stop`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_shows_an_example(name: str) -> None:
    answer = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=300)
    assert answer.exit_code == 0
    assert any(line.strip().startswith(f"hrnn-hpo {name}") for line in answer.stdout.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_shown_as_it_was_written(name: str) -> None:
    """Words in brackets are markup to Typer, which shows nothing of them; a line end inside a paragraph stays one."""
    command = COMMANDS[name]
    texts = [command.help, *(parameter.help for parameter in command.params if getattr(parameter, "help", None))]
    for text in texts:
        assert Text.from_markup(text).plain == text.replace("\\[", "[")
        assert "\n" not in text.replace("\n\n", "")


def test_version() -> None:
    answer = CliRunner().invoke(app, ["--version"])
    assert answer.stdout == f"hrnn-hpo {__version__}\n"


def failing(error: BaseException) -> typer.Typer:
    """Return a program whose one command raises."""
    program = typer.Typer(cls=_CleanErrors, pretty_exceptions_enable=False)

    @program.callback()
    def root() -> None: ...

    @program.command()
    def fail() -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("[bad] value"), 2), (RunFailedError("[bad] value"), 1)], ids=["config", "run"]
)
def test_a_users_error_is_a_message_and_an_exit_code(error: Exception, code: int) -> None:
    answer = CliRunner().invoke(failing(error), ["fail"])
    assert answer.exit_code == code
    assert answer.stderr == "error: [bad] value\n"
    assert answer.stdout == ""


def test_a_disk_that_refuses_is_a_message_with_its_place() -> None:
    answer = CliRunner().invoke(failing(OSError(errno.ENOSPC, "No space left on device", "/full/file")), ["fail"])
    assert answer.exit_code == 1
    assert answer.stderr == "error: /full/file: No space left on device.\n"


def test_too_little_memory_is_a_run_that_failed() -> None:
    answer = CliRunner().invoke(failing(MemoryError("Unable to allocate 7 TiB")), ["fail"])
    assert answer.exit_code == 1
    assert answer.stderr == "error: this machine has not enough memory (Unable to allocate 7 TiB).\n"


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError("no number")])
def test_a_reader_that_has_gone_and_an_error_without_a_reason_are_not_ours_to_tell(error: OSError) -> None:
    assert "error:" not in CliRunner().invoke(failing(error), ["fail"]).stderr


def test_arguments_that_are_no_text_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hrnn-hpo", "status", "u\udcff"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == "error: u\\udcff: must be UTF-8 text, as every argument.\n"


def test_ctrl_c_is_a_message_and_130() -> None:
    answer = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert answer.exit_code == 130
    assert answer.stderr == "error: interrupted.\n"


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(failing(ZeroDivisionError()), ["fail"], catch_exceptions=False)


def test_wrong_usage_is_2() -> None:
    assert CliRunner().invoke(app, ["tune"]).exit_code == 2
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2


def test_json_knows_numpy_and_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": {"e": (1, None)}, "f": float("inf")})
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1], "c": None, "d": {"e": [1, None]}, "f": None}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661)]
)
def test_durations(text: str, seconds: float) -> None:
    assert options.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "half an hour", "30 m", "-5m", "1.5h", "m30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30m"):
        options.parse_duration(text)


NARROW = {
    "a table's units": (["data", "describe", "log.csv"], 0),
    "a program's object": (["data", "describe", "log.csv", "--json"], 0),
    "a name in an error": (["data", "describe", "grüße.csv"], 2),
    "help": (["tune", "--help"], 0),
}


@pytest.mark.parametrize("case", NARROW)
def test_a_console_that_lacks_a_character_shows_its_code(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"u{user},{'ä' if event else 'b'},{user * 100 + event},größer" for user in range(3) for event in range(2)]
    Path("log.csv").write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE", *rows]) + "\n", encoding="utf-8")
    command, code = NARROW[case]
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["hrnn-hpo", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    written = {}
    for name, stream in streams.items():
        stream.flush()
        written[name] = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    if command == ["data", "describe", "log.csv"]:
        assert "gr\\xf6\\xdfer 6" in written["stdout"]
        assert "##########" in written["stdout"]  # the bars of the histogram
    if "--json" in command:
        assert json.loads(written["stdout"])["event_types"] == {"größer": 6}
    if code:
        assert "gr\\xfc\\xdfe.csv" in written["stderr"]
