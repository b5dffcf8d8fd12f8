"""The request of a study: its rules, its words, and that the command line offers exactly its fields."""

from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from hrnn_hpo.cli.main import app
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.study.request.request import StudyRequest, objects_of, option_name, study_request


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_trials": 0}, "`--n-trials > 0` must hold, but got 0."),
        ({"timeout": -1.0}, "`--timeout > 0` must hold, but got -1.0."),
        ({"n_workers": 0}, "`--workers > 0` must hold, but got 0."),
        ({"patience_trials": 0}, "`--patience-trials > 0` must hold, but got 0."),
        ({"confirm": -1}, "`--confirm >= 0` must hold, but got -1."),
        ({"confirm_seeds": 1}, "`--confirm-seeds >= 2` must hold (one run says nothing about chance), but got 1."),
        ({"confirm_seeds": 1001}, "`--confirm-seeds <= 1000` must hold, but got 1001."),
        ({"n_trials": 10**20}, f"`--n-trials <= 1000000` must hold, but got {10**20}."),
        ({"timeout": "99999999999h"}, f"`--timeout <= 316224000` must hold, but got {99999999999 * 3600.0}."),
        (
            {"screen": 1},
            "--screen chooses the trials to confirm among more: 0 or at least 2 must stand there, not 1.",
        ),
        ({"user_fraction": 1.0}, "`0 < --user-fraction < 1` must hold, but got 1.0."),
        ({"device": "gpu"}, "--device must be 'auto', 'cpu', 'cuda' or 'mps', but got 'gpu'."),
        ({"protocol": "none"}, "A study needs validation users, but protocol `none` trains on everyone."),
        ({"ray_address": "head:6379"}, "--ray-address and --gpus-per-trial are for --launcher ray."),
        ({"n_trails": 5}, "`tune` knows no 'n_trails', did you mean 'n_trials'?"),
        ({"study": ""}, "--study: a name has 1 to 400 printable characters, but got ''."),
    ],
)
def test_a_broken_rule_is_told_in_the_words_of_the_command_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        study_request(**{"study": "s", **fields})
    assert str(error.value) == message


def test_all_broken_rules_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        study_request(n_trials=0, confirm=-1)
    assert str(error.value).splitlines() == [
        "--study must be given: the study's name.",
        "`--n-trials > 0` must hold, but got 0.",
        "`--confirm >= 0` must hold, but got -1.",
    ]


def test_a_request_is_frozen_and_changed_by_a_copy_that_is_checked() -> None:
    first = study_request(study="s", n_trials=3)
    with pytest.raises(ValidationError):
        first.n_trials = 4  # type: ignore[misc]
    assert study_request(first, n_trials=4) == study_request(study="s", n_trials=4)
    with pytest.raises(ConfigError, match="n-trials"):
        study_request(first, n_trials=0)
    with pytest.raises(ConfigError, match="StudyRequest"):
        study_request("s")  # type: ignore[arg-type]


def test_one_objective_or_file_is_as_good_as_a_list_of_one() -> None:
    request = study_request(study="s", objective="mrr_at_25", enqueue=Path("best.yaml"))
    assert request.objective == ("mrr_at_25",)
    assert request.enqueue == (Path("best.yaml"),)
    assert study_request(study="s", enqueue={"epochs": 3}).enqueue == ({"epochs": 3},)
    assert study_request(study="s", objective=None).objective == ()


def test_a_time_is_said_as_on_the_command_line() -> None:
    assert study_request(study="s", timeout="1h30m").timeout == 5400
    assert study_request(study="s", timeout=90).timeout == 90


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("timeout", "1d", "--timeout: must look like 90s, 30m, 2h or 1h30m, but got '1d'"),
        ("timeout", float("inf"), "--timeout: Input should be a finite number, but got inf"),
        ("target", float("nan"), "--target: Input should be a finite number, but got nan"),
        ("n_trials", True, "--n-trials: a number must stand here, but got True"),
        ("seed", 2**63, "`--seed <= 9223372036854775807` must hold, but got 9223372036854775808"),
        ("space", 5, "--space: a shipped space's name, a file or a SearchSpace must stand here, but got 5"),
        ("space", {"tune": {}}, "--space: a shipped space's name, a file or a SearchSpace must stand here"),
        ("sampler", 5, "--sampler: a name or an Optuna sampler must stand here, but got 5"),
        ("pruner", 7, "--pruner: a name or an Optuna pruner must stand here, but got 7"),
    ],
)
def test_what_no_study_could_follow_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study_request(study="s", **{field: value})


def test_what_only_one_process_can_have_is_named() -> None:
    request = study_request(study="s", sampler=lambda seed: None, pruner="none")
    assert objects_of(request, callbacks=[print], extra_metrics=None) == ["sampler", "callbacks"]


def test_the_command_line_offers_the_fields_of_the_request_and_their_descriptions() -> None:
    command = typer.main.get_command(app).commands["tune"]  # type: ignore[attr-defined]
    offered = {option.opts[0]: option.help for option in command.params if option.opts[0].startswith("--")}
    own = {"--plan", "--json"}  # what the command does with the answer
    assert {name: offered[name] for name in offered if name not in own} == {
        option_name(name): field.description for name, field in StudyRequest.model_fields.items()
    }


def test_a_request_made_in_a_program_is_refused_in_the_same_words() -> None:
    with pytest.raises(ConfigError) as refused:
        StudyRequest(n_trials=0, confirm=-1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError) as by_fields:
        study_request(n_trials=0, confirm=-1)
    assert str(refused.value) == str(by_fields.value)
