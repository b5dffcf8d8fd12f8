"""The options of reading: what is said on the command line reaches ReadOptions, the number 0 too."""

import pytest
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.reading import options_of
from hrnn_hpo.errors import ConfigError

LOG = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu,a,1,-1\nu,b,2,0\nu,c,3,\nv,b,4,1\n"


def test_what_is_not_said_says_nothing() -> None:
    assert options_of(columns=None, no_header=False, on_bad_rows="stop", sample_users=None).told() == {}


@pytest.mark.parametrize("name", ["sample_users", "min_user_events", "min_item_events"])
def test_zero_is_said_and_refused_where_it_makes_no_sense(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: Input should be greater than"):
        options_of(**{name: 0})


def test_zero_as_the_least_value_leaves_smaller_and_missing_ones_out(tmp_path) -> None:  # type: ignore[no-untyped-def]
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    arguments = ["data", "prepare", str(log), "--out", str(tmp_path / "out"), "--min-event-value", "0"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0
    assert "2 events left out by min_event_value" in answer.stderr
    assert "2 interactions, 2 users, 1 item in " in answer.stderr
