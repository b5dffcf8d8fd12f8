"""Configurations: checked as a whole, with the key, the rule, what came and the nearest spelling."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hrnn_hpo.config import (
    Configuration,
    Hyperparameters,
    dump_configuration,
    load_configuration,
    parse_assignments,
    parse_hyperparameters,
    read_yaml_mapping,
)
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.settings import nearest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def test_defaults_are_a_configuration() -> None:
    assert Configuration().hyperparameters == Hyperparameters()
    assert Configuration().protocol == "personalize"


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Hyperparameters().bptt = 3  # type: ignore[misc]


@given(
    hidden_dimension=st.integers(2, 4096),
    learning_rate=st.floats(1e-12, 1.0),
    dropout=st.floats(0, 0.99),
    recency_mask=st.booleans(),
    seed=st.integers(0, 2**40),
    best_epoch=st.none() | st.integers(1, 100),
)
def test_a_written_configuration_is_read_back_to_the_last_digit(
    tmp_path_factory: pytest.TempPathFactory,
    hidden_dimension: int,
    learning_rate: float,
    dropout: float,
    recency_mask: bool,
    seed: int,
    best_epoch: int | None,
) -> None:
    configuration = Configuration(
        hyperparameters=Hyperparameters(
            hidden_dimension=hidden_dimension,
            learning_rate=learning_rate,
            input_dropout=dropout,
            recency_mask=recency_mask,
        ),
        seed=seed,
        best_epoch=best_epoch,
    )
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(dump_configuration(configuration)))
    assert load_configuration(path) == configuration


@pytest.mark.parametrize(("name", "beyond"), [("batch_size", 65_537), ("targets_ahead", 65)])
def test_a_number_may_be_left_to_the_data(name: str, beyond: int, file: Path) -> None:
    assert getattr(Hyperparameters(), name) == "auto"
    assert getattr(parse_hyperparameters({name: 7}, "x"), name) == 7
    file.write_text(f"hyperparameters: {{{name}: auto}}")
    assert getattr(load_configuration(file).hyperparameters, name) == "auto"
    rules = {0: "greater than or equal to 1", beyond: f"less than or equal to {beyond - 1}", "all": "number|integer"}
    for value, rule in rules.items():
        with pytest.raises(ConfigError, match=rf"^x: {name}: .*({rule}).*, or auto, but got {value!r}\.$"):
            parse_hyperparameters({name: value}, "x")


def test_json_is_yaml_too(file: Path) -> None:
    file.write_text('{"hyperparameters": {"bptt": 16}, "seed": 3}')
    configuration = load_configuration(file)
    assert (configuration.hyperparameters.bptt, configuration.seed) == (16, 3)


def test_empty_entries_are_not_written() -> None:
    assert "best_epoch" not in dump_configuration(Configuration())


def test_every_problem_is_reported_in_one_message(file: Path) -> None:
    file.write_text("hyperparameters: {bptt: 1, hiden_dimension: 3, learning_rate: fast}\nprotocol: personalise\n")
    with pytest.raises(ConfigError) as caught:
        load_configuration(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"{file}: ") for line in lines)
    message = str(caught.value)
    assert "hyperparameters.bptt" in message
    assert "but got 1" in message
    assert "unknown key 'hyperparameters.hiden_dimension', did you mean 'hidden_dimension'?" in message
    assert "but got 'fast'" in message
    assert "but got 'personalise'" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "is not valid YAML"),
        ("- 1\n- 2\n", "a mapping must stand at the top level, but got list"),
        ("", "a mapping must stand at the top level, but got NoneType"),
        ("hyperparameters: 3", "hyperparameters"),
        ("seeds: 3", "unknown key 'seeds', did you mean 'seed'?"),
        ("split_seed: -1", "but got -1"),
        ("hyperparameters: {input_dropout: 1.0}", "but got 1.0"),
        ("hyperparameters: {learning_rate: .nan}", "but got nan"),
        ("hyperparameters: {architecture: transformer}", "'control' or 'hierarchical'"),
        (
            "hyperparameters: {min_user_history_length_percentile: 0.9, max_user_history_length_percentile: 0.1}",
            "min_user_history_length_percentile <= max_user_history_length_percentile",
        ),
        ("hyperparameters: {n_negatives: 10, weight_averaging: 0.9}", "weight_averaging = 0"),
        ("hyperparameters: {n_negatives: 1000001}", "n_negatives: Input should be less than or equal to 1000000"),
    ],
)
def test_what_breaks_a_rule_is_named(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_configuration(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_configuration(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml_mapping(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        load_configuration(tmp_path / "binary.yaml")


def test_assignments_are_read_as_yaml() -> None:
    assert parse_assignments(["bptt=16", "recency_mask=true", "learning_rate=0.002", "architecture=hierarchical"]) == {
        "bptt": 16,
        "recency_mask": True,
        "learning_rate": 0.002,
        "architecture": "hierarchical",
    }


def test_a_word_is_no_boolean() -> None:
    assert parse_assignments(["repeats=on", "precision=no"]) == {"repeats": "on", "precision": "no"}
    with pytest.raises(ConfigError, match=r"--set: repeats: .*'auto', 'mixed' or 'ignored', but got 'on'"):
        Configuration().with_hyperparameters(parse_assignments(["repeats=on"]), "--set")


def test_a_number_in_scientific_notation_is_one() -> None:
    """YAML 1.1 takes 1e-3, without a dot, for text."""
    assert parse_hyperparameters(parse_assignments(["learning_rate=1e-3"]), "--set").learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bptt", "--set wants NAME=VALUE, but got 'bptt'"),
        ("=3", "--set wants NAME=VALUE, but got '=3'"),
        ("bbptt=3", "'bbptt' is not a hyperparameter, did you mean 'bptt'?"),
        ("hiden=3", "'hiden' is not a hyperparameter, did you mean 'hidden_dimension'?"),
        ("bptt=[3", "--set bptt=[3: is not valid YAML"),
        ("bptt={", "--set bptt={: is not valid YAML"),
    ],
)
def test_a_bad_assignment_says_what_came(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignments([text])
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["bptt=", "bptt=many", "bptt=[3]", "bptt=2.5", "bptt=true", "recency_mask=perhaps"])
def test_an_assigned_value_is_checked_like_a_files(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set: (bptt|recency_mask): .*but got"):
        Configuration().with_hyperparameters(parse_assignments([text]), "--set")


def test_changed_hyperparameters_leave_the_rest(file: Path) -> None:
    file.write_text("hyperparameters: {bptt: 16, hidden_dimension: 64}\nseed: 5\n")
    before = load_configuration(file)
    after = before.with_hyperparameters({"bptt": 8}, "--set")
    assert (after.hyperparameters.bptt, after.hyperparameters.hidden_dimension, after.seed) == (8, 64, 5)
    assert before.hyperparameters.bptt == 16
    with pytest.raises(ConfigError, match="weight_averaging = 0"):
        after.with_hyperparameters({"n_negatives": 5, "weight_averaging": 0.5}, "--set")


def test_every_hyperparameter_says_what_it_means() -> None:
    for name, field in Hyperparameters.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_nearest_offers_a_close_spelling_or_nothing() -> None:
    assert nearest("hiden_dimension", ["hidden_dimension", "bptt"]) == ", did you mean 'hidden_dimension'?"
    assert nearest("xyz", ["hidden_dimension", "bptt"]) == ""


NUMBERS = sorted(
    name for name, value in Hyperparameters() if isinstance(value, int | float) and not isinstance(value, bool)
)


@pytest.mark.parametrize("name", [*NUMBERS, "batch_size"])
def test_no_number_is_a_yes_or_no(name: str) -> None:
    with pytest.raises(ConfigError, match=f"here: {name}: a number must stand here, but got True"):
        parse_hyperparameters({name: True}, "here")


@pytest.mark.parametrize("name", ["seed", "split_seed", "n_threads", "user_fraction", "n_held_back", "best_epoch"])
def test_no_number_of_a_configuration_is_a_yes_or_no(file: Path, name: str) -> None:
    file.write_text(f"{name}: yes\n")
    with pytest.raises(ConfigError, match=f"run.yaml: {name}: a number must stand here, but got True"):
        load_configuration(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", r"run.yaml: is not valid YAML: seed stands twice \(lines 1 and 2\); keep one"),
        ("hyperparameters: {epochs: 2, epochs: 3}\n", "epochs stands twice"),
        ('{"seed": 1, "seed": 2}', "seed stands twice"),
        ("seed: 010\n", "010 is 8 in YAML: write 8, or 10 if that is meant"),
        ("seed: 1:30\n", "1:30 is 90 in YAML"),
        ("seed: " + "[" * 5000, "nested too deeply"),
        (f"seed: {2**63}\n", "seed: Input should be less than or equal to 9223372036854775807"),
        (f"split_seed: {2**64}\n", "split_seed: Input should be less than or equal to 9223372036854775807"),
        ("n_threads: 3000\n", "n_threads: Input should be less than or equal to 1024"),
    ],
)
def test_a_file_that_says_two_things_or_another_than_it_shows_is_refused(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_configuration(file)


def test_a_byte_order_mark_is_no_part_of_the_first_key(file: Path) -> None:
    file.write_text("\ufeffseed: 3\n", encoding="utf-8")
    assert load_configuration(file).seed == 3


def test_assignments_are_the_numbers_that_they_show() -> None:
    for text, message in (("epochs=010", "010 is 8"), ("session_gap=1:30", "1:30 is 90")):
        with pytest.raises(ConfigError, match=message):
            parse_assignments([text])


def test_settings_of_a_command_are_checked_like_a_files() -> None:
    assert Configuration(seed=3).with_settings({"split_seed": 4}, "train").seed == 3
    with pytest.raises(ConfigError, match="train: seed: Input should be less than or equal to"):
        Configuration().with_settings({"seed": 2**64}, "train")


def test_settings_made_in_a_program_are_refused_as_those_of_a_file() -> None:
    with pytest.raises(ConfigError) as refused:
        Configuration(seed=-1, protocol="all", hyperparameters={"epochs": 0})  # type: ignore[arg-type]
    lines = sorted(str(refused.value).splitlines())
    assert [line.partition(", but got")[0].split(":")[:2] for line in lines] == [
        ["Configuration", " hyperparameters.epochs"],
        ["Configuration", " protocol"],
        ["Configuration", " seed"],
    ]
    with pytest.raises(ConfigError, match=r"^Hyperparameters: unknown key 'epoch', did you mean 'epochs'"):
        Hyperparameters(epoch=3)  # type: ignore[call-arg]
