"""Pictures: names in them are texts."""

from pathlib import Path

import pytest
from hostile import NAMES

from hrnn_hpo.pictures import drawing, new_figure, save


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_title_a_label_and_a_tick_is_no_formula(name: str, tmp_path: Path) -> None:
    with drawing():
        figure = new_figure(2, 2)
        axes = figure.add_subplot()
        axes.barh([name], [1.0], label="bar")
        axes.set(title=name, xlabel=name, ylabel=name)
        axes.legend()
        assert save(figure, tmp_path / "deep" / "names.png", dpi=20).stat().st_size > 0
    assert axes.title.get_text() == name
    assert not axes.title.get_parse_math()


def test_drawing_leaves_the_callers_settings_as_they_were() -> None:
    import matplotlib as mpl

    before = mpl.rcParams["text.parse_math"]
    with drawing():
        assert mpl.rcParams["text.parse_math"] is False
    assert mpl.rcParams["text.parse_math"] == before
