"""Whatever a file holds, it is a space that works or is refused with its reasons; nothing else comes out."""

import contextlib
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.entries import PARAMETER_KEYS
from hrnn_hpo.search.hints import hints
from hrnn_hpo.search.reader import TOP_KEYS
from hrnn_hpo.search.space import load_space, space_from_content

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
words = st.sampled_from([*PARAMETER_KEYS, *TOP_KEYS, "bptt", "learning_rate", "architecture", "control"])
anything = st.recursive(
    plain | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=8
)
entries = st.dictionaries(st.sampled_from(PARAMETER_KEYS), anything | st.sampled_from(["integer", "algorithm"]))
sections = st.dictionaries(
    st.sampled_from(["bptt", "learning_rate", "architecture", "epochs", "x"]), entries | anything
)


@given(content=st.dictionaries(st.sampled_from(TOP_KEYS), sections | anything), parent=st.sampled_from(["hrnn", None]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_file_says_it_is_a_space_or_refused_with_reasons(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], parent: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_text(yaml.safe_dump(content | ({"extends": parent} if parent else {})), encoding="utf-8")
    refused = None
    try:
        space = load_space(path)
    except SpaceError as error:
        refused = str(error)
    if refused is not None:
        assert all(line.startswith(str(path)) for line in refused.splitlines())
        return
    assert space.problems(space.defaults()) == []
    assert space.resolve({}) == space.resolve(space.defaults())
    assert space_from_content(space.content(), "kept").fingerprint() == space.fingerprint()
    assert space.cardinality() != 0
    assert isinstance(hints(space), list)


@given(
    text=st.text(max_size=60) | st.sampled_from(["[" * 3000, "a: !!int x", "? [a]\n: b", "a: !!set {b}", "a: &a [*a]"])
)
@settings(max_examples=60, deadline=None)
def test_text_that_is_no_space_is_refused_in_lines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SpaceError):
        load_space(path)
