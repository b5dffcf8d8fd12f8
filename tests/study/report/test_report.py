"""A study as one HTML file: complete, honest about the test users, offline, and safe to open."""

import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from confirmations import confirmation_of
from optuna.distributions import FloatDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.pages.svg import Axis, number_axis
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.attributes import CONFIGURATION, CONFIRMATION, FAILURE, ROLE, epoch_key
from hrnn_hpo.study.confirm.leaderboard import LEADERBOARD
from hrnn_hpo.study.confirm.test_part import OPENINGS
from hrnn_hpo.study.confirmation import Contender, Screened
from hrnn_hpo.study.record import new_record, read_record, write_record
from hrnn_hpo.study.report import rerun
from hrnn_hpo.study.report.advice import named_space
from hrnn_hpo.study.report.report import render_report, report
from hrnn_hpo.study.request.budget import BUDGET_KEY
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")
VOID = {"meta"}
HEADINGS = [
    *("Verdict", "History", "Learning curves", "Importance of hyperparameters", "Parallel coordinates", "Slices"),
    "What each hyperparameter brought, and when to stop",
    *("Advice for the next study", "Trials", "Environment", "How to repeat it"),
]


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(text: str) -> str:
    return " ".join(" ".join(Page(text).words).split())


def stored() -> Study:
    return load_study("s", open_storage())


def open_test(study: Study, tuned: float, defaults: float, winner: int, times: int = 1) -> None:
    metrics = {"tuned": {"ndcg_at_10": tuned}, "defaults": {"ndcg_at_10": defaults}, "popularity": {"ndcg_at_10": 0.1}}
    board = {"metrics": metrics, "winner": winner, "opening": times, "n_done": 5, "n_test_users": 6}
    study.set_user_attr(LEADERBOARD, board)
    study.set_user_attr(OPENINGS, [{"seen": True}] * times)


def begin(space: SearchSpace, name: str = "s", **facts: Any) -> Study:
    """Return a study with its record and without trials."""
    usual = {"data": "d", "data_hash": "h", "sampler": "tpe", "pruner": "none", "seed": 0, "split_seed": 0}
    usual |= {"protocol": "personalize", "seen": "keep", "objective": "ndcg_at_10"}
    study = create_study(name, open_storage(create=True))
    write_record(study, new_record(space, **(usual | facts)))
    return study


@pytest.fixture
def finished(space: SearchSpace) -> Study:
    """Five complete trials; trial 0 is the defaults, trial 3 the best."""
    study = begin(space)
    distributions = {name: parameter.distribution() for name, parameter in space.searched.items()}
    for size, rate, mask, value in [
        (16, 0.01, True, 0.20),
        (8, 0.001, False, 0.11),
        (64, 0.1, False, 0.15),
        (40, 0.02, True, 0.31),
        (30, 0.05, False, 0.24),
    ]:
        params = {"hidden_dimension": size, "learning_rate": rate, "recency_mask": mask}
        kept: dict[str, Any] = {epoch_key(one): {"metrics": {"ndcg_at_10": value * one / 3}} for one in (1, 2, 3)}
        if value == 0.20:
            kept[ROLE] = "defaults"
        study.add_trial(create_trial(value=value, params=params, distributions=distributions, user_attrs=kept))
    return stored()


def test_every_section_is_there(finished: Study, tmp_path: Path) -> None:
    path = report("s", tmp_path / "deep" / "report.html")
    text = path.read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", text) == HEADINGS
    assert Page(text).tags.count("svg") == 4 + 3  # history, curves, importance, parallel; a slice per hyperparameter
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_the_page_loads_nothing_and_runs_nothing(finished: Study) -> None:
    text = render_report(finished)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


def test_charts_are_well_formed_and_their_marks_lie_inside(finished: Study) -> None:
    for svg in re.findall("<svg.*?</svg>", render_report(finished), re.DOTALL):
        root = ET.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter("circle")]
        pairs = [pair for line in root.iter("polyline") for pair in line.attrib["points"].split()]
        points = [tuple(map(float, pair.split(","))) for pair in pairs]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in [*dots, *points])


def test_the_test_users_stay_closed_until_tune_opens_them(finished: Study) -> None:
    shown = words(render_report(finished))
    assert "No verdict yet: the test users are still closed." in shown
    assert "The test users have not been looked at." in shown
    assert "Leaderboard" not in shown
    assert OPENINGS not in stored().user_attrs


def test_the_verdict_sets_the_winner_beside_the_defaults(finished: Study) -> None:
    open_test(finished, 0.3, 0.25, finished.best_trial.number)
    shown = words(render_report(stored()))
    assert "Tuned is above the defaults on the test users: ndcg_at_10 0.3000 against 0.2500 (+0.0500, +20.0%)" in shown
    assert "undecided" in shown
    assert "The test users have been looked at once." in shown
    assert "tuned − defaults +0.0500" in shown
    assert "flatter" not in shown


def test_a_loss_on_the_test_users_is_said_as_plainly(finished: Study) -> None:
    open_test(finished, 0.2, 0.25, finished.best_trial.number)
    assert "Tuned is below the defaults on the test users" in words(render_report(stored()))


def test_a_second_look_and_an_overtaken_winner_are_marked(finished: Study) -> None:
    other = (finished.best_trial.number + 1) % 5
    open_test(finished, 0.3, 0.25, other, times=2)
    shown = words(render_report(stored()))
    assert "looked at 2 times: these figures flatter the winner" in shown
    assert f"Trial {finished.best_trial.number} is ahead now." in shown


def test_defaults_that_win_are_no_success_of_tuning(finished: Study) -> None:
    open_test(finished, 0.25, 0.25, 0)
    assert "Tuning found nothing better" in words(render_report(stored()))


def test_a_winner_with_the_figures_of_the_defaults_is_not_called_the_defaults(finished: Study) -> None:
    open_test(finished, 0.25, 0.25, finished.best_trial.number)
    shown = words(render_report(stored()))
    assert "Tuned is equal to the defaults on the test users" in shown
    confirm(finished, "undecided", winner=4)
    open_test(finished, 0.25, 0.25, 4)
    assert "The defaults themselves won" not in words(render_report(stored()))


def confirm(study: Study, verdict: str, winner: int, defaults: int = 0) -> None:
    compared = {"difference": 0.031, "low": 0.012, "high": 0.052, "p": 0.002, "p_holm": 0.004}
    scores = {"search_value": 0.31, "scores": [0.25, 0.27], "mean": 0.26, "best_epoch": 3}
    found = confirmation_of(
        [
            Contender(trial=winner, **scores, **(compared if winner != defaults else {})),
            Contender(trial=0 if winner else 3, **scores, **(compared if not winner else {})),
        ],
        verdict=verdict,
        winner=winner,
        defaults=defaults,
        raw_best=3,
        optimism=0.05,
        optimism_of_defaults=0.01,
        n_users=57,
    )
    study.set_user_attr(CONFIRMATION, found.content())


def test_a_confirmed_winner_is_called_better_with_gain_and_optimism(finished: Study) -> None:
    confirm(finished, "yes", winner=4)
    open_test(finished, 0.3, 0.25, 4)
    shown = words(render_report(stored()))
    assert "Better than the defaults: yes. Trial 4 gains +0.0310 ndcg_at_10 over them" in shown
    assert "95 % interval [+0.0120, +0.0520], p 0.004 after Holm (2 fresh seeds, users redrawn)" in shown
    assert "Trial 3 won the search, trial 4 the confirmation." in shown
    assert "Optimism of the search: +0.0500" in shown
    assert "57 different validation users answered" in shown
    assert "undecided" not in shown
    assert "is ahead now" not in shown  # trial 3 leads the search, and lost the confirmation
    assert "--confirm 1 --confirm-seeds 2" in shown


def test_who_was_screened_is_shown_with_what_became_of_them(finished: Study) -> None:
    confirm(finished, "yes", winner=4)
    screened = [
        Screened(3, 0.35, [0.22], 0.285, failed=False),
        Screened(4, 0.31, [0.33, 0.26], 0.3, failed=False),
        Screened(2, 0.3, [], None, failed=True),
    ]
    kept = finished.user_attrs[CONFIRMATION]
    finished.set_user_attr(CONFIRMATION, {**kept, "screened": [asdict(one) for one in screened]})
    shown = words(render_report(stored()))
    assert (
        "Screening: the best 3 of the search ran again (3 trainings on other seeds); confirmed of them: trial 4. "
        "Dropped, since a run failed: trial 2." in shown
    )
    assert "Trial 3 won the search, trial 4 the confirmation." in shown
    assert "trial 4 0.3100 0.3300 0.2600 0.3000 confirmed" in shown
    assert "trial 3 0.3500 0.2200" in shown
    assert "out after 1" in shown
    assert "--confirm-seeds 2 --screen 3" in shown


def test_defaults_that_win_the_confirmation_are_said_to(finished: Study) -> None:
    confirm(finished, "no", winner=0)
    open_test(finished, 0.25, 0.25, 0)
    shown = words(render_report(stored()))
    assert "Better than the defaults: no. The best challenger, trial 3, gains" in shown
    assert "The defaults themselves won." in shown


def test_intervals_stand_beside_the_objective(finished: Study) -> None:
    open_test(finished, 0.3, 0.25, finished.best_trial.number)
    board = finished.user_attrs[LEADERBOARD]
    intervals = {"tuned": {"ndcg_at_10": [0.27, 0.33]}}
    gain = {"difference": 0.05, "low": 0.01, "high": 0.09, "p": 0.02}
    finished.set_user_attr(LEADERBOARD, {**board, "intervals": intervals, "gain": gain})
    shown = words(render_report(stored()))
    assert "tuned 0.3000 [0.2700, 0.3300]" in shown
    assert "tuned − defaults +0.0500 [+0.0100, +0.0900]" in shown


def test_what_users_wrote_cannot_become_markup(space: SearchSpace) -> None:
    evil = "</title><script>alert('x')</script>&<b>"
    study = begin(space, evil, data=evil, data_hash=evil, objective=evil, sampler=evil, pruner=evil)
    failed = {FAILURE: {"reason": evil}, "git_commit": evil, "role": evil}
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=failed))
    for value in (0.1, 0.2, 0.3, 0.4):
        attrs = {epoch_key(1): {"metrics": {evil: value}}, "git_commit": evil, CONFIGURATION: {"seed": evil}}
        params, distributions = {"learning_rate": value / 10}, {"learning_rate": FloatDistribution(0.001, 0.1)}
        study.add_trial(create_trial(value=value, params=params, distributions=distributions, user_attrs=attrs))
    study.set_user_attr(
        LEADERBOARD,
        {"metrics": {"tuned": {evil: 1.0}, evil: {}}, "winner": 1, "opening": 1, "n_done": 4, "n_test_users": 3},
    )
    text = render_report(load_study(evil, open_storage()), storage=evil, storage_asked=evil)
    assert not {"script", "b"} & set(Page(text).tags)
    assert "<script" not in text


def test_failed_and_running_trials_do_not_stand_in_the_way(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    def fail_in_run_1(run: int, epoch: int) -> None:
        if run == 1:
            raise ValueError("loss is <NaN>")

    fake_experiment.before_epoch = fail_in_run_1
    tune(log, study="s", space=space, n_trials=2)
    stored().add_trial(create_trial(state=TrialState.RUNNING))
    shown = words(render_report(stored()))
    assert "2 trials complete, 0 pruned, 1 failed, 1 still running" in shown
    assert "ValueError: loss is <NaN>" in shown
    assert "Importance needs 4 complete trials" in shown
    assert "Advice needs 4 complete trials; there are 2." in shown


def test_a_study_whose_trials_all_failed_still_shows_why(space: SearchSpace) -> None:
    study = begin(space)
    with pytest.raises(StudyError, match="no trial yet"):
        render_report(stored())
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={FAILURE: {"reason": "out of memory"}}))
    shown = words(render_report(stored()))
    assert "No trial is complete yet." in shown
    assert "out of memory" in shown
    assert "hrnn-hpo train" not in shown
    assert "--n-trials" not in shown  # `tune` refuses 0


def test_a_thousand_long_trials_stay_under_5_mb() -> None:
    wide = load_space("hrnn")
    frozen = begin(wide)
    distributions = {name: parameter.distribution() for name, parameter in wide.searched.items()}
    params = {name: parameter.default for name, parameter in wide.searched.items()}
    epochs = {epoch_key(epoch): {"metrics": {"ndcg_at_10": 0.1 + epoch * 1e-5}} for epoch in range(1, 301)}
    trials = [
        create_trial(value=0.1 + i * 1e-7, params=params, distributions=distributions, user_attrs=epochs)
        for i in range(1000)
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    frozen.get_trials = lambda deepcopy=True, states=None: trials  # type: ignore[method-assign]
    text = render_report(frozen)
    assert len(text.encode()) < 5_000_000
    assert "The best 600 of 1000." in text


def test_the_commands_repeat_the_study(finished: Study) -> None:
    record, trials = read_record(finished), last_attempts(finished)
    tuned, *others = rerun.commands(finished, record, trials, named_space(record))
    assert tuned == (
        "hrnn-hpo tune d --space space.yaml --study s-again --n-trials 5 --protocol personalize --split-seed 0 "
        "--objective ndcg_at_10 --seed 0 --sampler tpe --pruner none --seen keep"
    )
    assert others == [
        "hrnn-hpo export s --out best.yaml",
        "hrnn-hpo train d --config best.yaml --seen keep --out models/s",
    ]


def test_a_shipped_space_is_named_and_odd_words_are_quoted(finished: Study) -> None:
    record, trials = read_record(finished).model_copy(update={"data": "my data"}), last_attempts(finished)
    lines = rerun.commands(finished, record, trials, load_space("aws-hrnn"), storage="sqlite:///x.db")
    assert lines[0].startswith("hrnn-hpo tune 'my data' --space aws-hrnn --study s-again")
    assert lines[1] == "hrnn-hpo export s --out best.yaml --storage sqlite:///x.db"


def test_what_makes_a_repeat_differ_is_said(finished: Study) -> None:
    record = read_record(finished).model_copy(update={"sampler": "MySampler"})
    finished.set_user_attr(BUDGET_KEY, {"sampler": "MySampler", "pruner": "median"})
    notes = " ".join(rerun.rerun_notes(stored(), record, last_attempts(finished), named_space(record)))
    assert "The sampler was code of its own, MySampler" in notes
    assert "The study began with the pruner none and went on with median." in notes


def test_every_option_of_the_commands_exists(finished: Study, space: SearchSpace) -> None:
    for line in rerun.commands(finished, read_record(finished), last_attempts(finished), space, storage="s"):
        _, command, *rest = line.split()
        usage = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
        assert all(word in usage for word in rest if word.startswith("--"))


def test_enqueued_configurations_are_exported_and_given_again(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3, enqueue=[{"hidden_dimension": 40, "learning_rate": 0.02}])
    lines = rerun.commands(stored(), read_record(stored()), last_attempts(stored()), space)
    assert lines[0] == "hrnn-hpo export s --trial 1 --out trial-1.yaml"
    assert "--enqueue trial-1.yaml" in lines[1]


def test_the_command_writes_the_file(finished: Study, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "s", "--out", str(tmp_path / "s.html")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "s.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    unknown = CliRunner().invoke(app, ["report", "z", "--out", str(tmp_path / "z.html")])
    assert unknown.exit_code == StudyError.exit_code
    assert not (tmp_path / "z.html").exists()


def test_unknown_studies_and_bad_places_are_refused(finished: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no study 'sss'"):
        report("sss", tmp_path / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        report("s", tmp_path / "file" / "report.html")
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        report("s", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def test_axes_place_values_on_their_own_scale() -> None:
    log_axis = Axis("learning_rate", 0.001, 0.1, log=True)
    assert log_axis.place(0.01) == pytest.approx(0.5)
    assert [text for _, text in log_axis.ticks()] == ["0.001", "0.01", "0.1"]
    assert Axis("n", 0, 10).place(2.5) == 0.25
    assert [text for _, text in Axis("n", 0, 10).ticks()] == ["0", "2", "4", "6", "8", "10"]
    assert [text for _, text in number_axis("trial", [0, 2], whole=True).ticks()] == ["0", "1", "2"]
    assert [text for _, text in Axis("gap", 300, 90_000, log=True).ticks()] == ["500", "2000", "10000", "50000"]
    choices = Axis("mask", choices=(False, True, 1))
    assert choices.place(True) == 0.5
    assert choices.place("other") is None
    assert number_axis("constant", [3.0, 3.0]).place(3.0) == pytest.approx(0.5)
    assert number_axis("empty", [float("nan")]).place(float("nan")) is None
