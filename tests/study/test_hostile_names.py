"""A study may have any name: every command that reads, prints, draws or writes it takes it as it is."""

from pathlib import Path
from typing import Any

import optuna
from hostile import NAMES
from study_fakes import FakeTracker
from typer.testing import CliRunner, Result

from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.output import visible
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.storage.database import open_storage
from hrnn_hpo.study.track.study_runs import registered_name
from hrnn_hpo.study.tune import tune


def run(*arguments: object) -> Result:
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exit_code == 0, (arguments, answer.output, answer.exception)
    return answer


def one_line(text: str) -> str:
    return " ".join(visible(text).split())


def test_every_command_about_a_study_takes_every_name(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any, tmp_path: Path
) -> None:
    tune(log, study="plain", space=space, n_trials=2)
    database = open_storage()
    for name in NAMES:
        optuna.copy_study(from_study_name="plain", from_storage=database, to_storage=database, to_study_name=name)
        assert one_line(name) in one_line(run("status", "--", name).stdout)
        assert run("status", "--json", "--", name).exit_code == 0
        tracker.runs.clear()
        run("sync", "--", name)
        [parent] = tracker.by_role("study")
        assert parent["name"] == parent["tags"]["study"] == name
        report = tmp_path / "report.html"
        run("report", "--out", report, "--", name)
        assert "<script" not in report.read_text()
        run("export", "--out", tmp_path / "best.yaml", "--", name)
        run("studies", "stop", "--", name)
    listed = " ".join(run("studies", "list").stdout.split())
    for name in NAMES:
        if len(name) < 40:
            assert all(word in listed for word in visible(name).split()), name
    for name in NAMES:
        run("studies", "delete", "--", name)
    assert optuna.get_all_study_names(database) == ["plain"]


def test_studies_that_differ_never_share_a_registered_model() -> None:
    studies = [*NAMES, "a_b", "a b", "o_brien", "_"]
    found = {registered_name(name, f"{place:08x}ffff") for place, name in enumerate(studies)}
    assert len(found) == len(studies)
    assert registered_name("first-1.a b", "0" * 32) == "first-1.a b"
    assert not any(set(name) & set("/:@?#%'\"`\\\n") for name in found)
