"""Texts to plain data: no key is lost, and no number is another than the one that stands there."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.plain_data import load_json, load_yaml

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)


@given(DATA)
def test_what_was_written_is_read(data: object) -> None:
    assert load_yaml(yaml.safe_dump(data)) == data
    assert load_json(json.dumps(data)) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"a stands twice \(lines 1 and 2\); keep one"),
        ("x: {b: 1, b: 1}", "b stands twice"),
        ("a: 010", "010 is 8 in YAML: write 8, or 10 if that is meant"),
        ("a: [-0_20]", "-0_20 is -16 in YAML"),
        ("a: 1:30", "1:30 is 90 in YAML: write 90, or '1:30' if that is meant"),
        ("a: 1:30.5", "1:30.5 is 90.5 in YAML"),
        ("a: 2020-13-45", "month must be in 1..12"),
        ("a: !!timestamp x", "not what its tag"),
        ("a: !!bool x", "not what its tag"),
        ("[" * 5000, "nested too deeply"),
        ("a: !!python/name:os.system x", "could not determine a constructor"),
    ],
)
def test_yaml_that_means_something_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        load_yaml(text)


@pytest.mark.parametrize("text", ["0", "-0", "0x10", "0b11", "1_000", "1.50", "0.5", "-1e+3", "0.0"])
def test_plain_numbers_are_read(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


def test_json_that_is_nested_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        load_json("[" * 100_000)
