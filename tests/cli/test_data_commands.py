"""The data commands: what they write where, and with which exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.data import datasets
from hrnn_hpo.data.prepared import load_prepared
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.synthetic import markov, write_csv

runner = CliRunner()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_csv(markov(n_users=30, n_items=10, n_events=5), tmp_path / "source")


def test_describe_prints_a_table(source: Path) -> None:
    result = runner.invoke(app, ["data", "describe", str(source)])
    assert result.exit_code == 0
    assert "interactions" in result.stdout
    assert "150" in result.stdout
    assert "History length at each percentile" in result.stdout


def test_describe_prints_one_json_object_and_nothing_else(source: Path, tmp_path: Path) -> None:
    plot = tmp_path / "lengths.png"
    result = runner.invoke(app, ["data", "describe", str(source), "--json", "--plot", str(plot)])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert (figures["n_interactions"], figures["n_users"]) == (150, 30)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_simulate_writes_a_log_that_is_data(tmp_path: Path) -> None:
    out = tmp_path / "log.parquet"
    options = ["--events", "3000", "--users", "50", "--items", "20", "--json"]
    result = runner.invoke(app, ["data", "simulate", "--out", str(out), *options])
    assert json.loads(result.stdout) == {"file": str(out), "n_rows": 3000}
    described = json.loads(runner.invoke(app, ["data", "describe", str(out), "--json"]).stdout)
    assert described["n_interactions"] + described["n_duplicates"] == 3000


def test_describe_writes_a_page(source: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["data", "describe", str(source), "--out", str(tmp_path / "log.html")])
    assert result.exit_code == 0
    assert "<svg" in (tmp_path / "log.html").read_text(encoding="utf-8")


def test_a_page_takes_no_logs_place(source: Path, tmp_path: Path) -> None:
    log = source / "interactions.csv"
    before = log.read_bytes()
    for name in (log, tmp_path / "page"):
        result = runner.invoke(app, ["data", "describe", str(log), "--out", str(name)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "a page is an HTML file, so its name must end in .html" in result.stderr
    assert log.read_bytes() == before


def test_places_that_cannot_be_written_are_told_before_the_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option, name in (("--out", "page.html"), ("--plot", "plot.png")):
        result = runner.invoke(app, ["data", "describe", "nothing.csv", option, str(tmp_path / "file" / name)])
        assert result.exit_code == 2
        assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["data", "describe", ""],
        ["data", "prepare", "", "--out", "prepared"],
        ["data", "schema", ""],
        ["train", "", "--out", "model"],
        ["evaluate", "model", ""],
        ["worker", "study", "--data", ""],
    ],
    ids=" ".join,
)
def test_an_empty_name_is_no_log(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path it would be the working folder, and every CSV file in it a part of the log."""
    monkeypatch.chdir(write_csv(markov(n_users=30, n_items=10, n_events=5), tmp_path / "here"))
    result = runner.invoke(app, command)
    assert result.exit_code == 2
    assert "must name a log, but got an empty text" in " ".join(result.stderr.split())
    assert sorted(file.name for file in Path.cwd().iterdir()) == ["interactions.csv", "items.csv"]


def test_prepare_writes_a_folder_that_is_data_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(app, ["data", "prepare", str(source), "--out", str(out), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["content_hash"] == load_prepared(out).content_hash
    described = runner.invoke(app, ["data", "describe", str(out), "--json"])
    assert json.loads(described.stdout)["content_hash"] == load_prepared(out).content_hash


def test_a_folder_with_an_impossible_name_is_wrong_usage(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / ("n" * 300), tmp_path / "file" / "prepared"):
        result = runner.invoke(app, ["data", "prepare", str(source), "--out", str(out)])
        assert result.exit_code == 2
        assert f"error: {out}: cannot be written (" in result.stderr


def test_fetch_prints_the_terms_and_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "fetch", lambda name, to, overwrite: to)
    result = runner.invoke(app, ["data", "fetch", "ml-100k", "--to", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "out")
    assert "no redistribution" in result.stderr
    result = runner.invoke(app, ["data", "fetch", "ml-100k", "--to", str(tmp_path / "out"), "--json"])
    assert json.loads(result.stdout)["folder"] == str(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "ml-2m"], "did you mean 'ml-1m'?"),
        (["describe", "nowhere.csv"], "nowhere.csv: there is no such file or folder."),
        (["prepare", "nowhere.csv", "--out", "x"], "nowhere.csv: there is no such file or folder."),
    ],
)
def test_what_a_user_caused_is_one_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["data", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_bad_rows_are_listed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,x\n,a,1\n")
    result = runner.invoke(app, ["data", "describe", str(path)])
    assert result.exit_code == 2
    assert f"{path}, line 2: TIMESTAMP" in result.stderr
    assert f"{path}, line 3: USER_ID" in result.stderr


@pytest.mark.parametrize("command", ["fetch", "describe", "prepare", "schema", "simulate"])
def test_every_help_has_an_example(command: str) -> None:
    result = runner.invoke(app, ["data", command, "--help"])
    assert result.exit_code == 0
    assert re.search(rf"Examples?:\s+hrnn-hpo data {command}", result.stdout)


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    rows = [f"{user},{user % 3},4.0,{1700000000 + user}" for user in range(9)]
    path.write_text("\n".join(["userId,movieId,rating,timestamp", *rows, "7,,1.0,1700000000", ""]))
    return path


RATINGS = "USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=timestamp,EVENT_VALUE=rating"


def test_a_log_with_other_names_and_a_bad_row_is_prepared_by_options_alone(ratings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = runner.invoke(app, ["data", "prepare", str(ratings), "--out", str(out)])
    assert first.exit_code == 2
    assert f"its names suggest --columns {RATINGS}." in first.stderr
    options = ["--columns", RATINGS, "--out", str(out)]
    second = runner.invoke(app, ["data", "prepare", str(ratings), *options])
    assert second.exit_code == 2
    assert f"{ratings}, line 11: ITEM_ID must have" in second.stderr
    assert not out.exists()
    third = runner.invoke(app, ["data", "prepare", str(ratings), *options, "--on-bad-rows", "skip"])
    assert third.exit_code == 0
    assert third.stdout.strip() == str(out)
    assert f"1 bad row left out, see {out / 'rejects.csv'} (" in third.stderr
    assert f"9 interactions, 9 users, 3 items in {out}" in third.stderr
    assert f"Next: hrnn-hpo data describe {out}" in third.stderr
    assert f"of disk beside {out};" in third.stderr
    # The raw file is no log of ours still, but where it was prepared is known.
    fourth = runner.invoke(app, ["train", str(ratings), "--out", str(tmp_path / "model")])
    assert fourth.exit_code == 2
    told = f"It was prepared with --columns {RATINGS} --on-bad-rows skip: give {out} in its place."
    assert told in fourth.stderr


def test_filters_are_counted_and_recorded(ratings: Path, tmp_path: Path) -> None:
    arguments = ["data", "prepare", str(ratings), "--out", str(tmp_path / "out"), "--columns", RATINGS, "--json"]
    arguments += ["--on-bad-rows", "skip", "--until", "2023-11-14T22:13:26Z", "--min-item-events", "2"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["filtered"] == {"until_time": 3, "min_item_events": 0}
    assert told["n_interactions"] == 6  # users 0 to 5
    assert told["options"]["until_time"] == 1700000006
    described = runner.invoke(app, ["data", "describe", str(tmp_path / "out"), "--json"])
    assert json.loads(described.stdout)["content_hash"] == told["content_hash"]


def test_many_files_and_patterns_are_one_log(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in (1, 2):
        (parts / f"part-{number}.csv").write_text(f"USER_ID,ITEM_ID,TIMESTAMP\nu,a,{number}\n")
    several = [str(parts / f"part-{number}.csv") for number in (1, 2)]
    hashes = set()
    for number, data in enumerate([several, [str(parts / "part-*.csv")], [str(parts)]]):
        out = ["--out", str(tmp_path / f"out-{number}")]
        result = runner.invoke(app, ["data", "prepare", *data, *out, "--json"])
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["n_interactions"] == 2
        hashes.add(json.loads(result.stdout)["content_hash"])
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--columns", "USER=a"],
            "columns: must name USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE, EVENT_VALUE, SESSION_ID",
        ),
        (["--no-header"], "no_header needs columns with numbers"),
        (["--separator", "::::::"], "separator: must be one to four characters"),
        (["--from", "soon"], "from_time: must be a date such as 2024-01-31"),
        (["--from", "2024-01-01", "--until", "2023-01-01"], "from must lie before until"),
        (["--sample-users", "2"], "sample_users: Input should be less than or equal to 1"),
        (["--memory-limit", "1KB"], "memory_limit: must be at least 256MB"),
        (["--schema", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--event-types", "buy"], "event_types needs EVENT_TYPE, but the log has none"),
    ],
)
def test_options_that_break_a_rule_end_with_exit_code_2(source: Path, options: list[str], message: str) -> None:
    result = runner.invoke(app, ["data", "describe", str(source), *options])
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_help_texts_are_those_of_the_options() -> None:
    names = {"from_time": "--from", "until_time": "--until", "schema_file": "--schema"}
    help_of = {
        param.opts[0]: param.help
        for param in typer.main.get_command(app).commands["data"].commands["prepare"].params  # type: ignore[attr-defined]
        if param.opts[0].startswith("--")
    }
    for name, field in ReadOptions.model_fields.items():
        assert help_of[names.get(name, "--" + name.replace("_", "-"))] == field.description


def test_a_suggested_schema_fits_its_file(ratings: Path, tmp_path: Path) -> None:
    ratings.write_text("\n".join(ratings.read_text().splitlines()[:-1]) + "\n")
    result = runner.invoke(app, ["data", "schema", str(ratings), "--columns", RATINGS.rpartition(",")[0]])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema["fields"] == [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "rating", "type": "double"},
    ]
    (tmp_path / "schema.json").write_text(result.stdout)
    options = ["--columns", RATINGS, "--schema", str(tmp_path / "schema.json"), "--out", str(tmp_path / "out")]
    assert runner.invoke(app, ["data", "prepare", str(ratings), *options]).exit_code == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; import hrnn_hpo.cli.data; heavy = {'duckdb', 'matplotlib', 'pandas', 'pooch', 'torch'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
