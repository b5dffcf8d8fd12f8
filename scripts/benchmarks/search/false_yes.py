"""How often "better than the defaults: yes" is false, and how often a true gain is seen, in simulated studies.

Run: .venv/bin/python scripts/benchmarks/search/false_yes.py [--studies 2000] [--rows 'leave-one-out-*']

Configurations are equally good, but every user has a taste of their own for each configuration (deviation .3), which
comes back in every run and in the search; each run adds noise (.2) to each user's figure. The search takes the K best
by their mean over its validation users; the confirmation runs them and the defaults 5 times, and where the verdict is
"undecided" 10 times: a second look. In rows with luck each run of a configuration has its own for all users (.05), as
training seeds have. Who validates, who is held back and who is drawn anew is the product's make_split,
on a log of 500 users with 20 events each; the verdict is the product's judge, with fewer resamples. Two protocols with
the same users share a row. Rows with a gain
give every configuration but the defaults a true gain of it. "Nothing held back" judges leave-one-out on the users that
chose the winner, as version 0.1.0 did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import PROTOCOLS, REDRAWN, EvalPart, Protocol, make_split, n_to_hold_back
from hrnn_hpo.study.confirm.screening import CONFIRMED_OF_SCREENED, RunKey, default_n_screened, screen
from hrnn_hpo.study.confirm.verdict import RunScores, default_n_confirmed, judge
from hrnn_hpo.study.confirmation import Confirmation, Look
from hrnn_hpo.study.seeds import CONFIRMATION_STREAM, SCREENING_STREAM, judging_seeds, trial_seed
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

TASTE, NOISE = 0.3, 0.2  # deviations: of a user for a configuration, of a run for a user
SCORE = 0.3  # of everyone, on average
LUCK = 0.05  # deviation of a run for all its users, in rows that have it: as much as the users' share of a mean
GAIN = 0.1
SEEDS = (5, 10)  # runs of each configuration at the first look and at the second
SEARCHES = (40, 200)
N_USERS, N_EVENTS = 500, 20
MOST = 0.06  # false "yes", over both looks
NOTHING_HELD_BACK = "leave-one-out, nothing held back"
SAME_USERS: dict[Protocol, Protocol] = {"personalize": "personalize-last", "leave-one-out": "newest-tenth"}


@dataclass(frozen=True)
class Design:
    protocol: Protocol
    hold_back: bool
    n_trials: int
    gain: float
    luck: float = 0.0
    screened: bool = False  # whether the best of the search run again, to choose who is confirmed

    @property
    def n_challengers(self) -> int:
        if self.screened:
            return CONFIRMED_OF_SCREENED
        return default_n_confirmed(self.n_trials, SEEDS[0])


def measure(design: Design, n_studies: int, n_resamples: int) -> Figures:
    log = make_log()
    require_same_users(log, design)
    found = [simulate(log, design, study, n_resamples) for study in range(n_studies)]
    first, second = (np.array([looks[i] for looks in found]) for i in (0, 1))
    return {
        "k": design.n_challengers,
        "judged_users": float(np.mean([looks[2] for looks in found])),
        "yes_first_look": float(first.mean()),
        "yes_either_look": float((first | second).mean()),
    }


def simulate(log: Dataset, design: Design, study: int, n_resamples: int) -> tuple[bool, bool, int]:
    """Return whether a simulated study's first look says "yes", whether its last one does, and how many users judge."""
    generator = np.random.default_rng([study, design.n_trials])
    split = make_split(log, design.protocol, study)
    if design.hold_back:
        split = make_split(log, design.protocol, study, n_held_back=n_to_hold_back(split))
    assert split.validation is not None
    means = SCORE + generator.normal(0, TASTE, (design.n_trials, log.n_users))  # of a configuration for a user
    means[1:] += design.gain  # trial 0 is the defaults
    searched = means[:, split.validation.users].mean(axis=1)
    searched += generator.normal(0, NOISE / np.sqrt(len(split.validation)), design.n_trials)

    def run(trial: int, users: NDArray[np.int64]) -> RunScores:
        figures = means[trial, users] + generator.normal(0, design.luck) + generator.normal(0, NOISE, len(users))
        return RunScores(float(figures.mean()), 1, users, figures)

    def screening_run(trial: int, repeat: int) -> float:
        redrawn = design.protocol in REDRAWN
        part = drawn(log, design, study, repeat, SCREENING_STREAM + 1) if redrawn else split.validation
        return run(trial, (part or split.validation).users).score

    contenders = [0, *challengers(design, searched, screening_run)]
    runs: dict[int, list[RunScores]] = {trial: [] for trial in contenders}
    looks: list[Look] = []
    said: list[Confirmation] = []
    for n_seeds in SEEDS:
        for repeat in range(len(runs[0]), n_seeds):
            part = split.held_back
            if design.protocol in REDRAWN:
                part = drawn(log, design, study, repeat, CONFIRMATION_STREAM + 1)
            users = (part or split.validation).users
            for trial in contenders:
                runs[trial].append(run(trial, users))
        values = {trial: float(searched[trial]) for trial in contenders}
        redrawn = design.protocol in REDRAWN
        told = judge(runs, 0, values, objective="", redrawn=redrawn, seed=study, looks=looks, n_resamples=n_resamples)
        looks = told.looks
        said.append(told)
        if told.verdict != "undecided":
            break
    return said[0].verdict == "yes", said[-1].verdict == "yes", said[0].n_users


def challengers(design: Design, searched: NDArray[np.float64], run: Callable[[int, int], float]) -> Sequence[int]:
    """Return who is confirmed by the search's scores, and by screening runs where there are any."""
    k = design.n_challengers
    n_candidates = default_n_screened(design.n_trials) if design.screened else k
    candidates = [int(trial) for trial in np.argsort(-searched[1:])[:n_candidates] + 1]
    scores = {trial: float(searched[trial]) for trial in candidates}
    results: dict[RunKey, float | None] = {}
    found = screen(candidates, k, results, scores)
    while found.chosen is None:
        results |= {key: run(*key) for key in found.runs}
        found = screen(candidates, k, results, scores)
    return found.chosen


def drawn(log: Dataset, design: Design, study: int, repeat: int, stream: int) -> EvalPart | None:
    """Return the validation users that a study draws for a run of a confirmation or screening."""
    train_seed = trial_seed(study, repeat, stream=stream)
    judges = [] if stream == CONFIRMATION_STREAM + 1 else judging_seeds(study)
    return make_split(log, design.protocol, study, train_seed=train_seed, apart_from=judges).validation


def require_same_users(log: Dataset, design: Design) -> None:
    """Make sure that the protocol whose row this is too has the very same users."""
    protocols = [design.protocol, SAME_USERS.get(design.protocol, design.protocol)]
    for options in ({"train_seed": 1}, {"n_held_back": 100} if design.protocol not in REDRAWN else {}):
        one, other = (make_split(log, protocol, 3, **options) for protocol in protocols)
        for ours, theirs in ((one.validation, other.validation), (one.held_back, other.held_back)):
            assert ours is None or theirs is None or np.array_equal(ours.users, theirs.users)


def make_log() -> Dataset:
    """Return a log of users whose events are spread evenly over the same year."""
    times = np.random.default_rng(0).integers(0, 365 * 86_400, (N_USERS, N_EVENTS))
    return Dataset(
        user_offsets=np.arange(N_USERS + 1) * N_EVENTS,
        items=np.zeros(N_USERS * N_EVENTS, dtype=np.int32),
        timestamps=np.sort(times, axis=1).ravel(),
        user_ids=np.array([f"{user:04d}" for user in range(N_USERS)]),
        item_ids=np.array(["0"]),
        content_hash="",
    )


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        if row.settings["gain"]:
            continue
        same = ("users", "trials", "luck", "screened")
        gains = [
            other
            for other in rows.values()
            if other.settings["gain"] and all(other.settings.get(key) == row.settings.get(key) for key in same)
        ]
        told, power = row.figures, gains[0].figures if gains else {}
        shares = [
            told["yes_first_look"],
            told["yes_either_look"],
            power.get("yes_first_look"),
            power.get("yes_either_look"),
        ]
        cells = ["–" if share is None else f"{share:.3f}" for share in shares]
        name = row.settings["users"]
        name = f"{name}, {SAME_USERS[name]}" if name in SAME_USERS else name
        name += ", screened" if row.settings.get("screened") else ""
        luck = row.settings["luck"] or "none"
        lines.append([name, row.settings["trials"], luck, told["k"], f"{told['judged_users']:.0f}", *cells])
    kept = [row for row in rows.values() if not row.settings["gain"] and row.settings["users"] != NOTHING_HELD_BACK]
    worst = max((row.figures["yes_either_look"] for row in kept), default=0.0)
    columns = ["protocol", "trials", "luck of a run", "K", "users judged", "false yes", "with a second look"]
    studies = {
        gain: {row.settings["studies"] for row in rows.values() if bool(row.settings["gain"]) == gain}
        for gain in (False, True)
    }
    counts = [" or ".join(f"{n:,}" for n in sorted(studies[gain])) for gain in (False, True)]
    told_of = "the winner's users did not choose it"
    return (
        f"{table([*columns, f'yes for a gain of {GAIN}', 'with a second look'], lines)}\n\n"
        f"{counts[0]} simulated studies of equal configurations a row, {counts[1] or 'none'} with the gain. A second "
        f'look adds {SEEDS[1] - SEEDS[0]} runs of each configuration after "undecided". Target: at most {MOST} false '
        f'"yes" over both looks, {"kept" if worst <= MOST else "missed"} (worst {worst:.3f}) wherever {told_of}.'
    )


def main() -> None:
    parser = script_parser(__doc__, "false_yes")
    parser.add_argument(
        "--studies", type=int, default=2000, help="simulated studies of each row of equal configurations"
    )
    parser.add_argument("--gains", type=int, default=300, help="simulated studies of each row with a gain")
    parser.add_argument("--resamples", type=int, default=1000, help="of test and intervals; the product takes 10,000")
    options = parser.parse_args()
    shared = {"none", *SAME_USERS.values()}
    held = {protocol: (protocol, True) for protocol in PROTOCOLS if protocol not in shared}
    cells = {}
    rows_of = {**held, NOTHING_HELD_BACK: ("leave-one-out", False)}
    kinds = [
        ("", 0.0, 0.0, options.studies),
        ("-luck", 0.0, LUCK, options.studies),
        ("-gain", GAIN, 0.0, options.gains),
    ]
    for kind, gain, luck, n_studies in kinds:
        for name, (protocol, hold_back) in (held if luck else rows_of).items():
            for n_trials in SEARCHES:
                settings = {"users": name, "trials": n_trials, "gain": gain, "luck": luck, "studies": n_studies}
                cells[f"{name.replace(', nothing held back', '-all')}-{n_trials}{kind}"] = Cell(
                    {**settings, "resamples": options.resamples},
                    partial(measure, Design(protocol, hold_back, n_trials, gain, luck), n_studies, options.resamples),
                )
    for kind, gain, luck, n_studies in kinds:
        for n_trials in SEARCHES:  # screening's draws share users with the confirmation's where users are redrawn
            settings = {"users": "personalize", "trials": n_trials, "gain": gain, "luck": luck, "studies": n_studies}
            design = Design("personalize", True, n_trials, gain, luck, screened=True)
            cells[f"personalize-{n_trials}{kind}-screened"] = Cell(
                {**settings, "screened": True, "resamples": options.resamples},
                partial(measure, design, n_studies, options.resamples),
            )
    results = Results("false_yes", options)
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
