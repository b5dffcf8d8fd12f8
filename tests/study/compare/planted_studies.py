"""Studies with planted confirmations: what a study and its companion carry in the storage, without any training."""

from typing import Any

import numpy as np
from optuna.distributions import IntDistribution
from optuna.study import Study
from optuna.trial import create_trial

from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import (
    CANDIDATE,
    CONFIRMATION,
    CONFIRMS,
    CONFIRMS_UID,
    FIGURES,
    ROLE,
    RUN_INDEX,
    SUMMARY,
    TRAIN_SEED,
)
from hrnn_hpo.study.confirm.figures import as_text
from hrnn_hpo.study.confirm.leaderboard import LEADERBOARD
from hrnn_hpo.study.confirm.runs import companion_name
from hrnn_hpo.study.confirm.test_part import TEST_FIGURES
from hrnn_hpo.study.confirm.verdict import RunScores, judge
from hrnn_hpo.study.record import new_record, write_record
from hrnn_hpo.study.seeds import split_seed_of_run
from hrnn_hpo.study.storage.database import create_study, open_storage

N_USERS, N_DRAWN = 400, 100
SIZES = IntDistribution(8, 64)


def begin(space: SearchSpace, name: str, **facts: Any) -> Study:
    """Return a study with its record and without trials."""
    usual = {"data": "d", "data_hash": "h", "sampler": "tpe", "pruner": "none", "seed": 0, "split_seed": 0}
    usual |= {"protocol": "personalize", "seen": "keep", "objective": "ndcg_at_10"}
    study = create_study(name, open_storage(create=True))
    write_record(study, new_record(space, **(usual | facts)))
    return study


def searched(space: SearchSpace, name: str, values: list[float], **facts: Any) -> Study:
    """Return a study whose complete trials have these scores, the first being the defaults."""
    study = begin(space, name, **facts)
    for number, value in enumerate(values):
        attributes = {ROLE: "defaults"} if number == 0 else {}
        params = {"hidden_dimension": 16 + number}
        study.add_trial(
            create_trial(value=value, params=params, distributions={"hidden_dimension": SIZES}, user_attrs=attributes)
        )
    return study


def confirmed(
    space: SearchSpace,
    name: str,
    gains: list[float],
    *,
    n_seeds: int = 5,
    noise: float = 0.1,
    n_drawn: int = N_DRAWN,
    per_user: bool = True,
    draw: int = 0,
    **facts: Any,
) -> Study:
    """Return a study whose trials (the defaults first) were confirmed; each has its gain over a user's taste.

    Run r draws its users by its split's seed, so studies of one seed share them. `draw` makes other noise.
    """
    study = searched(space, name, [0.3 + gain for gain in gains], **facts)
    seed = facts.get("seed", 0)
    tastes = np.random.default_rng(1).normal(0.3, 0.2, N_USERS)
    generator = np.random.default_rng([seed, draw])
    companion = create_study(companion_name(name), open_storage())
    companion.set_user_attr(CONFIRMS, name)
    companion.set_user_attr(CONFIRMS_UID, study.user_attrs["record"]["uid"])
    runs: dict[int, list[RunScores]] = {trial: [] for trial in range(len(gains))}
    for repeat in range(n_seeds):
        split = split_seed_of_run(seed, repeat)
        users = np.sort(np.random.default_rng(split).permutation(N_USERS)[:n_drawn])
        for trial, gain in enumerate(gains):
            figures = tastes[users] + gain + generator.normal(0, noise, n_drawn)
            score = float(figures.mean())
            mine = (users, figures) if per_user else (np.empty(0, dtype=np.int64), np.empty(0))
            runs[trial].append(RunScores(score, 3, *mine))
            packed = {"users": as_text(mine[0].astype(np.int64)), "figures": as_text(mine[1])}
            attributes = {CANDIDATE: trial, RUN_INDEX: repeat, TRAIN_SEED: split, FIGURES: packed}
            attributes[SUMMARY] = {"best_epoch": 3}
            companion.add_trial(create_trial(value=score, user_attrs=attributes))
    values: dict[int, float | None] = {trial: 0.3 + gain for trial, gain in enumerate(gains)}
    found = judge(runs, 0, values, objective="ndcg_at_10", redrawn=True)
    study.set_user_attr(CONFIRMATION, found.content())
    return study


def open_test(study: Study, figures: list[float], *, keep: bool = True) -> None:
    """Give a study test figures of its winner, a user each; without `keep` as version 0.1.0 did."""
    values = np.array(figures)
    metrics = {"tuned": {"ndcg_at_10": float(values.mean())}}
    packed = {"users": as_text(np.arange(len(values))), "figures": as_text(values)}
    board = {"metrics": metrics, "winner": 1, "opening": 1, "n_done": 5, "n_test_users": len(values)}
    study.set_user_attr(LEADERBOARD, board | ({TEST_FIGURES: packed} if keep else {}))
