"""Benchmark rows as data: measured once, kept as JSON, shared between processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmark_options import options_in
from filelock import FileLock

from scripts.benchmarks.kit.rows import (
    LONGEST_SECONDS,
    RESULTS,
    ROOT,
    Cell,
    Results,
    Row,
    command_of,
    dump_rows,
    read_rows,
    write_row,
)


def row(**figures: Any) -> Row:
    return Row(
        date="2026-11-24", processor="Xeon", threads=1, versions={}, command="x.py", settings={}, figures=figures
    )


def never() -> dict[str, Any]:
    pytest.fail("measured again")


def test_a_finished_row_is_not_measured_again(tmp_path: Path) -> None:
    found = Results("speed", options_in(tmp_path))
    found.run({"a": Cell({"hidden": (64, 128)}, lambda: {"speed": 3.5}, threads=2)})
    found.run({"a": Cell({"hidden": (64, 128)}, never), "b": Cell({}, lambda: {"speed": 4})})
    rows = found.rows()
    assert list(rows) == ["a", "b"]
    assert (rows["a"].figures, rows["a"].settings, rows["a"].threads) == ({"speed": 3.5}, {"hidden": [64, 128]}, 2)
    assert {"python", "torch", "hrnn-hpo"} <= rows["a"].versions.keys()
    assert len(rows["a"].date) == len("2026-11-24")
    assert rows["a"].processor


def test_a_hyperparameter_that_came_later_is_no_other_setting_at_its_default(tmp_path: Path) -> None:
    found, before = Results("speed", options_in(tmp_path)), {"hyperparameters": {"bptt": 64}}
    found.run({"a": Cell(before, lambda: {"speed": 3})})
    found.run({"a": Cell({"hyperparameters": {"bptt": 64, "request_time": "none"}}, never)})
    with pytest.raises(SystemExit, match="request_time was None, is 'gap'"):
        found.run({"a": Cell({"hyperparameters": {"bptt": 64, "request_time": "gap"}}, never)})
    with pytest.raises(SystemExit, match=r"hyperparameters\.bptt was 64, is 32"):
        found.run({"a": Cell({"hyperparameters": {"bptt": 32}}, never)})


def test_rows_of_single_truths_keep_the_one_event_ahead_that_auto_is_for_them(tmp_path: Path) -> None:
    def settings(ahead: object, protocol: str) -> dict[str, object]:
        return {"protocol": protocol, "hyperparameters": {"targets_ahead": ahead}}

    found = Results("speed", options_in(tmp_path))
    for name, protocol in (("last", "leave-one-out"), ("sets", "newest-tenth")):
        found.run({name: Cell(settings(1, protocol), lambda: {"speed": 3})})
    found.run({"last": Cell(settings("auto", "leave-one-out"), never)})
    with pytest.raises(SystemExit, match="targets_ahead was 1, is 'auto'"):
        found.run({"sets": Cell(settings("auto", "newest-tenth"), never)})
    with pytest.raises(SystemExit, match=r"targets_ahead was 1, is 2\.0"):
        found.run({"last": Cell(settings(2.0, "leave-one-out"), never)})


def test_again_measures_a_finished_row_anew(tmp_path: Path) -> None:
    Results("speed", options_in(tmp_path)).run({"a": Cell({"n": 1}, lambda: {"speed": 3})})
    Results("speed", options_in(tmp_path, "--again")).run({"a": Cell({"n": 2}, lambda: {"speed": 4})})
    assert read_rows(tmp_path / "results" / "speed.json")["a"].figures == {"speed": 4}


def test_a_row_made_with_other_settings_is_refused_by_what_differs(tmp_path: Path) -> None:
    found = Results("speed", options_in(tmp_path))
    found.run({"a": Cell({"epochs": 8, "n": 1}, dict)})
    with pytest.raises(SystemExit, match=r"row a was made with other settings \(epochs was 8, is 9\)"):
        found.run({"a": Cell({"epochs": 9, "n": 1}, never)})


def test_rows_are_chosen_by_name_or_pattern(tmp_path: Path) -> None:
    assert Results("x", options_in(tmp_path)).chosen(["a-0", "a-1"]) == ["a-0", "a-1"]
    assert Results("x", options_in(tmp_path, "--rows", "b-0,a-*")).chosen(["a-0", "a-1", "b-0", "b-1"]) == [
        "a-0",
        "a-1",
        "b-0",
    ]
    with pytest.raises(SystemExit, match="c-0: must be among a-0, b-0"):
        Results("x", options_in(tmp_path, "--rows", "a-0,c-0")).chosen(["a-0", "b-0"])


def test_a_row_that_another_process_measures_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Results("speed", options_in(tmp_path))
    found.work.mkdir()
    with FileLock(found.work / "a.lock"):
        found.run({"a": Cell({}, never), "b": Cell({}, dict)})
    assert list(found.rows()) == ["b"]
    assert "a: another process is at it" in capsys.readouterr().out


def test_processes_that_write_different_rows_lose_none(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from scripts.benchmarks.kit.rows import Row, write_row\n"
        "for n in range(25):\n"
        "    row = Row(date='', processor='', threads=1, versions={}, command='', settings={}, figures={'n': n})\n"
        "    write_row(Path(sys.argv[2]), f'{sys.argv[3]}-{n}', row)\n"
    )
    file = tmp_path / "speed.json"
    running = [subprocess.Popen([sys.executable, "-c", program, str(ROOT), str(file), who]) for who in ("a", "b", "c")]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(read_rows(file)) == sorted(f"{who}-{n}" for who in "abc" for n in range(25))
    assert not list(tmp_path.glob("*.partial"))


def test_a_row_that_cannot_be_written_leaves_the_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    write_row(file, "a", row(speed=1))
    before = file.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_row(file, "b", row(speed=float("inf")))
    assert file.read_text(encoding="utf-8") == before


def test_leftovers_go_with_the_row_and_stay_when_it_fails(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.checkpoint"
    checkpoint.touch()
    found = Results("speed", options_in(tmp_path))

    def fail() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found.run({"a": Cell({}, fail, leftovers=[checkpoint])})
    assert checkpoint.exists()
    assert found.rows() == {}
    found.run({"a": Cell({}, dict, leftovers=[checkpoint])})
    assert not checkpoint.exists()


def test_a_row_longer_than_the_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.benchmarks.kit.rows.LONGEST_SECONDS", -60)
    Results("speed", options_in(tmp_path)).run({"a": Cell({}, dict)})
    assert "a: longer than" in capsys.readouterr().err


def test_rows_have_a_line_for_each_field_and_read_back(tmp_path: Path) -> None:
    rows = {"α": row(speed=1.5, by_seed=[1, 2])}
    text = dump_rows(rows)
    assert '  "figures": {"speed": 1.5, "by_seed": [1, 2]}\n' in text
    assert "accelerator" not in text
    (tmp_path / "speed.json").write_text(text, encoding="utf-8")
    assert read_rows(tmp_path / "speed.json") == rows


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"figures": {}}}'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "speed.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"speed\.json: not a file of benchmark rows"):
        read_rows(file)


def test_no_published_row_took_longer_than_the_limit() -> None:
    for file in RESULTS.glob("*.json"):
        for name, found in read_rows(file).items():
            assert (found.seconds or 0) <= LONGEST_SECONDS, f"{file.name}: {name}"


def test_the_command_leaves_out_which_rows_and_where(tmp_path: Path) -> None:
    arguments = ["/home/me/scripts/benchmarks/speed/x.py", str(tmp_path / "ml-100k"), "--rows", "*H=64", "--again"]
    arguments += [
        "--results=/tmp",
        "--work",
        "/elsewhere/work",
        "--epochs",
        "3",
        "--config=/home/me/a.yaml",
        "--name",
        "two words",
    ]
    told = "scripts/benchmarks/speed/x.py ml-100k --epochs 3 --config=a.yaml --name 'two words'"
    assert command_of(arguments) == told


def test_the_command_keeps_no_password() -> None:
    storage = "postgresql+psycopg://me:secret@host:5432/optuna"
    arguments = ["/home/me/scripts/benchmarks/robustness/chaos.py", "--storage", storage]
    assert (
        command_of(arguments)
        == "scripts/benchmarks/robustness/chaos.py --storage postgresql+psycopg://host:5432/optuna"
    )
