"""Markdown of MLflow's descriptions: names are text in it."""

import html
import re

from hostile import names
from hypothesis import given

from hrnn_hpo.study.track.markdown import escaped, table


@given(names())
def test_a_name_is_shown_as_it_is_on_one_line(name: str) -> None:
    shown = escaped(name)
    assert html.unescape(shown) == " ".join(name.split())
    assert not re.search(r"[\\`*_{}\[\]()+!|<>~$=:@^\"'\n]", shown)
    assert not re.search(r"&(?!#\d+;)|(?<!&)#", shown)


def test_a_table_has_numbers_on_the_right() -> None:
    assert table(["", "ndcg"], [["tuned", 0.25], ["a|b", None]]) == (
        "|  | ndcg |\n| --- | ---: |\n| tuned | 0.2500 |\n| a&#124;b | – |"
    )
