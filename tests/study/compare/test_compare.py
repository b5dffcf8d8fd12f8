"""`compare` on planted studies: what is better, what stays undecided, what is refused."""

import json
from typing import Any

import numpy as np
import optuna
import pytest
from hostile import NAMES
from planted_studies import begin, confirmed, open_test, searched
from shop import GOOD
from typer.testing import CliRunner, Result

import hrnn_hpo
from hrnn_hpo.cli.main import app
from hrnn_hpo.cli.output import visible
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIRMATION
from hrnn_hpo.study.compare.compare import compare
from hrnn_hpo.study.folders import files_keys_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.storage.user_figures import UserFigures, drop_figures
from hrnn_hpo.study.tune import tune


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_better_of_two_winners_is_named_with_its_gain(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01])
    confirmed(space, "b", [0.0, 0.05], draw=1)
    found = compare("a", "b")
    [pair] = found.pairs
    assert (pair.ahead, pair.behind, pair.finding, pair.evidence) == ("b", "a", "better", "confirmation")
    assert pair.low is not None
    assert pair.high is not None
    assert pair.low < 0.04 < pair.high
    assert [one.study for one in found.ranking] == ["b", "a"]
    b = found.ranking[0]
    assert b.low is not None
    assert b.high is not None
    assert b.low < b.mean < b.high
    assert (b.trial, b.n_runs, b.n_contenders) == (1, 5, 2)
    assert pair.difference == pytest.approx(b.mean - found.ranking[1].mean)  # the same runs: the means' own difference
    [told] = found.sentences()
    assert told.startswith("b is better than a: ndcg_at_10 +0.0")
    assert told.endswith(f"(paired, {b.n_users} users, 5 runs)")
    assert hrnn_hpo.compare("b", "a").pairs == found.pairs


def test_equals_are_undecided_while_their_runs_leave_room(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.02], noise=0.5)
    confirmed(space, "b", [0.0, 0.02], noise=0.5, draw=1)
    [pair] = compare("a", "b").pairs
    assert pair.finding == "undecided"
    assert pair.sentence("ndcg_at_10").startswith(f"undecided: {pair.ahead} is ahead of {pair.behind} by ndcg_at_10 +")


def test_equals_are_alike_where_the_runs_leave_no_room_for_one_percent(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.02], noise=0.005)
    confirmed(space, "b", [0.0, 0.02], noise=0.005, draw=1)
    [pair] = compare("a", "b").pairs
    assert pair.finding == "alike"
    assert "are alike, less than 1% apart" in pair.sentence("ndcg_at_10")


def test_studies_of_other_seeds_share_no_runs_and_are_compared_all_the_same(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01], seed=1)
    confirmed(space, "b", [0.0, 0.20], seed=2)
    [pair] = compare("a", "b").pairs
    assert (pair.finding, pair.ahead) == ("better", "b")
    assert "paired by user" in pair.how  # 5 draws of 100 of 400 users: most of them are on both sides
    confirmed(space, "c", [0.0, 0.20], seed=3, n_drawn=30)
    assert "unpaired" in next(one.how for one in compare("a", "c").pairs)


def test_more_contenders_and_more_studies_must_be_surer(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01], noise=0.3)
    confirmed(space, "b", [0.0, 0.05], noise=0.3, draw=1)
    confirmed(space, "c", [0.0, 0.05, -0.3, -0.3, -0.3, -0.3], noise=0.3, draw=1)
    two, many = compare("a", "b").pairs[0], compare("a", "c").pairs[0]
    three = next(one for one in compare("a", "b", "c").pairs if {one.ahead, one.behind} == {"a", "b"})
    assert None not in (two.p, many.p, three.p)
    assert two.p < many.p  # type: ignore[operator]
    assert two.p < three.p  # type: ignore[operator]
    assert many.high - many.low > two.high - two.low  # type: ignore[operator]
    assert three.high - three.low > two.high - two.low  # type: ignore[operator]


def test_the_best_of_many_equal_contenders_is_rarely_called_better(space: SearchSpace) -> None:
    wrong = 0
    for draw in range(25):
        confirmed(space, f"a{draw}", [0.0, 0.0], noise=0.3, draw=2 * draw, n_drawn=60)
        confirmed(space, f"b{draw}", [0.0] * 6, noise=0.3, draw=2 * draw + 1, n_drawn=60)
        wrong += compare(f"a{draw}", f"b{draw}").pairs[0].finding == "better"
    assert wrong <= 2  # 5 % of 25 is 1


def test_a_search_alone_decides_nothing_and_says_so(space: SearchSpace) -> None:
    searched(space, "a", [0.2, 0.3])
    searched(space, "b", [0.2, 0.9])
    confirmed(space, "c", [0.0, 0.02])
    found = compare("a", "b", "c")
    assert [one.study for one in found.ranking] == ["c", "b", "a"]  # a score that flatters is behind one that does not
    assert {pair.finding for pair in found.pairs} == {"undecided"}
    assert {pair.evidence for pair in found.pairs} == {"search"}
    both = next(pair for pair in found.pairs if {pair.ahead, pair.behind} == {"a", "b"})
    assert (both.ahead, both.difference, both.p) == ("b", pytest.approx(0.6), None)
    assert "a search flatters its winner; `tune --confirm K` of both studies tells" in both.sentence("ndcg_at_10")
    mixed = next(pair for pair in found.pairs if {pair.ahead, pair.behind} == {"b", "c"})
    assert "`tune --confirm K` of study b tells" in mixed.sentence("ndcg_at_10")  # c is confirmed
    answer = run("compare", "a", "b", "c")
    assert answer.exit_code == 0
    assert "b, a: searched and not confirmed" in answer.stderr


def test_equal_scores_put_nobody_ahead(space: SearchSpace) -> None:
    searched(space, "a", [0.2, 0.3])
    searched(space, "b", [0.3])
    [told] = compare("a", "b").sentences()
    assert told.startswith("undecided: a and b are level in ndcg_at_10 in the search, and a search flatters its winner")


def test_searches_on_other_shares_of_the_users_say_so(space: SearchSpace) -> None:
    searched(space, "a", [0.2, 0.3], user_fraction=0.3)
    searched(space, "b", [0.4])
    [told] = compare("a", "b").sentences()
    assert (
        "b is ahead of a by ndcg_at_10 +0.1000 in the search, where one trained on all training users and the " in told
    )
    assert "other on 30% of them, and a search flatters" in told


def test_users_that_chose_a_winner_call_nothing_better(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01])
    study = confirmed(space, "b", [0.0, 0.2], draw=1)
    study.set_user_attr(CONFIRMATION, study.user_attrs[CONFIRMATION] | {"doubt": "they chose"})
    [pair] = compare("a", "b").pairs
    assert (pair.finding, pair.doubt) == ("undecided", "they chose")
    assert pair.sentence("ndcg_at_10").endswith("Neither can be called better: they chose")


def test_a_metric_without_users_is_compared_by_its_runs(space: SearchSpace) -> None:
    facts: dict[str, Any] = {"objective": "coverage", "per_user": False, "n_seeds": 8}
    confirmed(space, "a", [0.0, 0.01], noise=0.01, **facts)
    confirmed(space, "b", [0.0, 0.2], noise=0.01, draw=1, **facts)
    [pair] = compare("a", "b").pairs
    assert (pair.ahead, pair.how, pair.finding) == ("b", "paired, 8 runs", "better")


def test_a_confirmation_whose_runs_are_gone_is_compared_by_its_scores(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01], n_seeds=8)
    confirmed(space, "b", [0.0, 0.2], n_seeds=8, draw=1)
    optuna.delete_study(study_name="b (confirmation)", storage=open_storage())
    found = compare("a", "b")
    assert "8 runs" in found.pairs[0].how
    assert found.ranking[0].n_users == 0


def test_the_test_users_are_shown_where_all_have_opened_them(space: SearchSpace) -> None:
    one, other = confirmed(space, "a", [0.0, 0.05]), confirmed(space, "b", [0.0, 0.01], draw=1)
    open_test(one, [0.1, 0.2, 0.3, 0.4])
    assert compare("a", "b").test == []
    open_test(other, [0.2, 0.4, 0.4, 0.6])
    found = compare("a", "b")
    [pair] = found.test
    assert (pair.ahead, pair.difference, pair.p) == ("b", pytest.approx(0.15), pytest.approx(2 / 2**4))
    assert found.pairs[0].ahead == "a"  # the test users changed nothing
    open_test(load_study("b", open_storage()), [0.2, 0.4, 0.4, 0.6], keep=True)
    assert "Test users, which all had opened" in run("compare", "a", "b").stdout


def test_test_figures_of_an_earlier_version_have_no_pairs(space: SearchSpace) -> None:
    for name in ("a", "b"):
        open_test(confirmed(space, name, [0.0, 0.05]), [0.1, 0.2], keep=False)
    [pair] = compare("a", "b").test
    assert (pair.difference, pair.low, pair.p) == (0.0, None, None)


# ---- what cannot be compared


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"data_hash": "other"}, "data_hash: h in 'a', other in 'b'"),
        ({"protocol": "leave-one-out"}, "protocol: personalize in 'a', leave-one-out in 'b'"),
        ({"split_seed": 3}, "split_seed: 0 in 'a', 3 in 'b'"),
        ({"objective": "mrr_at_25"}, "objective: ndcg_at_10 in 'a', mrr_at_25 in 'b'"),
        ({"seen": "remove"}, "seen: keep in 'a', remove in 'b'"),
        ({"n_held_back": 100}, "n_held_back: 0 in 'a', 100 in 'b'"),
    ],
)
def test_studies_that_rank_other_things_are_refused_with_the_difference(
    space: SearchSpace, facts: dict[str, Any], words: str
) -> None:
    searched(space, "a", [0.2])
    searched(space, "b", [0.2], **facts)
    with pytest.raises(StudyError, match="same data, split and objective") as error:
        compare("a", "b")
    assert words in str(error.value)
    answer = run("compare", "a", "b")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("error: Studies can be compared")


def test_what_names_no_two_studies_is_refused(space: SearchSpace) -> None:
    searched(space, "first", [0.2])
    begin(space, "empty")
    for names, words in (
        (["first"], "Two or more studies must be named, but got 1"),
        (["first", "first"], "must be different ones, but got 'first' more than once"),
        (["first", "frist"], "There is no study 'frist' in .*did you mean 'first'"),
        (["first", "empty"], "'empty' has no complete trial yet"),
    ):
        with pytest.raises((ConfigError, StudyError), match=words):
            compare(*names)
        answer = run("compare", *names)
        assert (answer.exit_code, answer.stdout) == (2, "")


def test_studies_of_other_software_are_refused(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.05])
    create_study("theirs", open_storage()).set_user_attr("owner", "another program")
    with pytest.raises(StudyError, match="was not made by hrnn-hpo"):
        compare("a", "theirs")
    with pytest.raises(StudyError, match="holds the confirmation's runs of study 'a': name that one"):
        compare("a", "a (confirmation)")


# ---- the command


def test_json_is_one_object_and_the_screen_has_the_sentence(space: SearchSpace) -> None:
    confirmed(space, "a", [0.0, 0.01])
    confirmed(space, "b", [0.0, 0.05], draw=1)
    content = json.loads(run("compare", "a", "b", "--json").stdout)
    assert content == json.loads(json.dumps(compare("a", "b").content()))
    shown = run("compare", "a", "b", "--tracking-uri", "http://somewhere:5000").stdout
    assert content["sentences"][0] in shown
    assert "Every run: hrnn-hpo ui --tracking-uri http://somewhere:5000" in shown


def test_every_name_is_shown_as_it_is(space: SearchSpace) -> None:
    confirmed(space, "plain", [0.0, 0.01])
    for name in NAMES:
        confirmed(space, name, [0.0, 0.05], draw=1)
        answer = run("compare", "--", "plain", name)
        assert answer.exit_code == 0, (name, answer.output)
        shown = " ".join(answer.stdout.split())
        assert " ".join(visible(name).split()) in shown
        assert "\x1b" not in answer.stdout


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_real_studies_without_a_confirmation_are_compared(log: Dataset, space: SearchSpace) -> None:
    first = tune(log, study="a", space=space, n_trials=2, confirm=0)
    second = tune(log, study="b", space=space, n_trials=3, confirm=0, seed=4)
    [pair] = compare("a", "b").pairs
    assert first.best_value is not None
    assert second.best_value is not None
    assert pair.difference == pytest.approx(abs(first.best_value - second.best_value))
    assert np.isfinite(pair.difference)


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_searches_are_set_against_each_other_on_their_common_users(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="a", space=space, n_trials=2, confirm=0)
    tune(log, study="b", space=space, n_trials=3, confirm=0, seed=4)
    storage = open_storage()
    users = np.arange(20)
    for name, figures in (("a", 0.30 + 0.01 * users), ("b", 0.35 + 0.01 * users + 0.04 * (-1) ** users)):
        study = load_study(name, storage)
        number = study.best_trial.number  # nothing was retried: it is its place
        kept = UserFigures(storage, read_record(study).uid, name, 4)
        kept.write(number, 4, np.where(users == 19, np.nan, figures))
    [pair] = compare("a", "b").pairs
    found = pair.in_search
    assert found is not None
    # Ten users gain .09 and nine .01: the users' differences vary about their mean (10 * .09 + 9 * .01) / 19.
    assert (found.ahead, found.n_users, found.n_trials) == ("b", 19, (3, 2))
    assert found.difference == pytest.approx((10 * 0.09 + 9 * 0.01) / 19, abs=1e-3)
    error = 0.04 / np.sqrt(19)
    assert (found.low, found.high) == (
        pytest.approx(found.difference - 1.96 * error, abs=2e-3),
        pytest.approx(found.difference + 1.96 * error, abs=2e-3),
    )
    assert found.p < 0.001  # and yet nothing is decided
    assert (pair.evidence, pair.finding) == ("search", "undecided")
    told = pair.sentence("ndcg_at_10")
    assert "tells. On the 19 users of both searches the best trial of b is ahead by ndcg_at_10 +0.05" in told
    assert "these users chose both trials, the best of 3 and of 2: that flatters either" in told
    assert compare("b", "a").pairs[0].in_search == found
    for name in ("a", "b"):
        drop_figures(storage, files_keys_of(load_study(name, storage))[0])
    [pair] = compare("a", "b").pairs
    assert pair.in_search is None
    assert pair.sentence("ndcg_at_10").endswith("of both studies tells.")


def test_searches_of_an_earlier_version_have_no_figures_by_user(space: SearchSpace) -> None:
    searched(space, "a", [0.2])
    searched(space, "b", [0.3])
    assert compare("a", "b").pairs[0].in_search is None


@pytest.mark.usefixtures("tracker")
def test_real_confirmed_studies_share_their_runs_and_their_test_users(shop: Dataset, shop_space: SearchSpace) -> None:
    def confirmed_study(name: str, configuration: dict[str, Any]) -> dict[str, float]:
        usual: dict[str, Any] = {"n_trials": 2, "confirm": 1, "confirm_seeds": 2, "device": "cpu", "n_threads": 1}
        result = tune(shop, study=name, space=shop_space, enqueue=[configuration], **usual)
        assert result.leaderboard is not None
        return result.leaderboard.metrics["tuned"]

    good, fair = confirmed_study("a", GOOD), confirmed_study("b", {"hidden_dimension": 16, "learning_rate": 0.003})
    found = compare("a", "b")
    [pair], [tested] = found.pairs, found.test
    assert (pair.ahead, pair.evidence) == ("a", "confirmation")
    assert pair.how.startswith("paired, ")
    assert pair.how.endswith(" users, 2 runs")
    assert pair.difference == pytest.approx(found.ranking[0].mean - found.ranking[1].mean)
    assert (tested.ahead, tested.p is not None) == ("a", True)
    assert pair.in_search is not None
    assert pair.in_search.n_users == 8
    scores = [entry.best_value for entry in found.ranking]
    assert pair.in_search.difference == abs(scores[0] - scores[1])  # to the last digit, as the table has it
    assert ("chose both trials" in found.sentences()[0]) == (pair.finding == "undecided")
    assert tested.difference == pytest.approx(good["ndcg_at_10"] - fair["ndcg_at_10"])
