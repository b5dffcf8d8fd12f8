"""Rivals get our training events and never a test truth, and their lists get the figures that ours would get."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import dataset_of

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation import metrics
from hrnn_hpo.evaluation.protocols import evaluate
from hrnn_hpo.experiment import Experiment, prepare_experiment
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.rivals import driving, rivals_measure
from scripts.benchmarks.rivals.drivers.assignment import LIST_LENGTH, Assignment, Sequences, top_lists
from scripts.benchmarks.rivals.rivals_measure import (
    assignment_of,
    evaluate_file,
    measure_baseline,
    measure_ours,
    measure_rival,
)
from scripts.benchmarks.rivals.rivals_report import core_seconds_to, report, time_to_score

HISTORIES = [[0, 1, 2, 3], [1, 0, 2, 4], [5, 1, 0, 2]]  # leave-one-out: two train, then one validates, then one tests
DRIVER = f"""
import sys, numpy as np
sys.path.insert(0, {str(driving.DRIVERS)!r})
from assignment import Assignment, read_settings, tell, top_lists
settings = read_settings()
asked = Assignment.read(settings["assignment"])

def ranked(inputs, length=25):
    scores = np.tile(asked.popularity.astype(np.float32), (len(inputs), 1))
    return top_lists(scores, inputs, 0, remove_seen=asked.remove_seen, length=length)

asked.write_rankings(settings["rankings"], ranked(asked.test, asked.length))
ndcg = asked.validation_ndcg(ranked(asked.validation))
tell("EPOCH", epoch=1, core_seconds=1.0, total_core_seconds=1.0, ndcg_at_10=ndcg)
tell("RESULT", core_seconds=2.0, best_epoch=1)
"""


def random_experiment(seen: Any = "remove", protocol: str = "leave-one-out", **fields: Any) -> Experiment:
    generator = np.random.default_rng(0)
    dataset = dataset_of([generator.integers(0, 60, size=30).tolist() for _ in range(200)], n_items=60)
    return prepare_experiment(dataset, Configuration(**{"protocol": protocol, "n_threads": 1, **fields}), seen)


def asked_of(experiment: Experiment) -> Assignment:
    validation = experiment.split.validation
    assert validation is not None
    return assignment_of(
        experiment.dataset, experiment.split.train, validation, rivals_measure.test_part(experiment), experiment.seen
    )


def tiny_assignment() -> Assignment:
    dataset = dataset_of(HISTORIES, n_items=6)
    split = make_split(dataset, "leave-one-out", 0)
    assert split.validation is not None
    assert split.test is not None
    return assignment_of(dataset, split.train, split.validation, split.test, "remove")


def lists_of(sequences: Sequences) -> list[list[int]]:
    return [sequences[row].tolist() for row in range(len(sequences))]


def test_a_rival_gets_training_events_and_inputs_and_no_test_truth(tmp_path: Path) -> None:
    tiny_assignment().write(tmp_path / "asked.npz")
    found = Assignment.read(tmp_path / "asked.npz")
    assert lists_of(found.train) == [[0, 1], [1, 0], [5, 1]]
    assert lists_of(found.validation) == [[0, 1], [1, 0], [5, 1]]
    assert lists_of(found.truth) == [[2], [2], [0]]
    assert lists_of(found.test) == [[0, 1, 2], [1, 0, 2], [5, 1, 0]]
    assert found.popularity.tolist() == [2, 3, 0, 0, 0, 1]
    assert (found.n_items, len(found.user_ids), found.remove_seen) == (6, 3, True)


def test_users_who_do_not_train_are_ranked_by_their_input() -> None:
    experiment = random_experiment(protocol="personalize")
    asked = asked_of(experiment)
    part = rivals_measure.test_part(experiment)
    assert len(asked.train) == 160
    assert not np.isin(part.users, experiment.split.train.users).any()
    assert lists_of(asked.test) == [
        experiment.dataset.items[experiment.dataset.user_offsets[user] : start].tolist()
        for user, start in zip(part.users, part.truth_starts, strict=True)
    ]


def test_lists_leave_out_seen_items_only_where_asked_and_order_ties_by_code() -> None:
    inputs = Sequences(np.array([3, 1, 0]), np.array([0, 1, 3]))
    scores = np.array([[1, 2, 2, 5, -np.inf], [1, 2, 2, 5, -np.inf]], dtype=np.float32)
    kept = top_lists(scores.copy(), inputs, 0, remove_seen=False)
    assert kept.tolist() == [[3, 1, 2, 0, -1]] * 2
    removed = top_lists(scores.copy(), inputs, 0, remove_seen=True)
    assert removed.tolist() == [[1, 2, 0, -1, -1], [3, 2, -1, -1, -1]]
    assert top_lists(scores[:1].copy(), inputs, 1, remove_seen=True).tolist() == removed[1:].tolist()


def test_validation_has_the_figure_of_a_few_hits() -> None:
    asked = tiny_assignment()
    lists = np.array([[3, 2, 4], [4, 3, 5], [0, 2, 3]])  # second place, a miss, first place
    assert np.isclose(asked.validation_ndcg(lists), (1 / np.log2(3) + 0 + 1) / 3)


@pytest.mark.parametrize("seen", ["remove", "keep"])
@pytest.mark.parametrize("protocol", ["leave-one-out", "newest-tenth", "personalize"])
def test_validation_is_scored_as_the_product_scores_it(seen: str, protocol: str) -> None:
    experiment = random_experiment(seen, protocol)
    asked = asked_of(experiment)
    part = experiment.split.validation
    assert part is not None
    scores = np.random.default_rng(1).normal(size=(len(part), 60)).astype(np.float32)
    ours = evaluate(experiment.dataset, part, lambda rows: scores[rows].copy(), seen=experiment.seen)
    lists = top_lists(scores.copy(), asked.validation, 0, remove_seen=seen == "remove")
    assert np.array_equal(lists, ours.top_items)
    assert 0 < ours.metrics["ndcg_at_10"] < 1
    assert np.isclose(asked.validation_ndcg(lists), ours.metrics["ndcg_at_10"])
    assert metrics.LIST_LENGTH == LIST_LENGTH


@pytest.mark.parametrize("seen", ["remove", "keep"])
def test_a_driver_that_ranks_by_popularity_has_the_baselines_figures(
    seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "DRIVERS", tmp_path)
    (tmp_path / "fake.py").write_text(DRIVER, encoding="utf-8")
    experiment = random_experiment(seen)
    found = measure_rival("fake", experiment, tmp_path, lambda: Path(sys.executable), "fake.py", {})
    baseline = measure_baseline("popularity", experiment)
    assert 0 < found["test"]["ndcg_at_10"] < 1
    assert found["test"] == baseline["test"]
    assert [epoch["ndcg_at_10"] for epoch in found["epochs"]] == pytest.approx([baseline["validation_ndcg_at_10"]])
    assert (found["core_seconds"], found["best_epoch"]) == (2.0, 1)
    line = json.loads((tmp_path / "fake.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(line) == {"user", "items"}
    assert not (tmp_path / "fake.npz").exists()


def test_a_driver_that_fails_ends_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "DRIVERS", tmp_path)
    (tmp_path / "fake.py").write_text("import sys; sys.stdin.read(); sys.exit(3)", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"fake\.py ended with exit code 3"):
        measure_rival("fake", random_experiment(), tmp_path, lambda: Path(sys.executable), "fake.py", {})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda own, new: [*own[:1], *new[:24]], "items of the user's input"),
        (lambda own, new: ["nowhere", *new[:24]], "an item that the data does not have"),
        (lambda own, new: new[:7], "shorter than 25"),
    ],
)
def test_lists_that_ours_would_not_make_are_refused(change: Any, told: str, tmp_path: Path) -> None:
    experiment = random_experiment()
    asked, file = asked_of(experiment), tmp_path / "lists.jsonl"
    ids = set(asked.item_ids.tolist())
    own = [sorted(asked.item_ids[np.unique(asked.test[row])].tolist()) for row in range(len(asked.test))]
    new = [sorted(ids - set(seen)) for seen in own]

    def write(first: list[str]) -> None:
        lists = [first, *(items[:25] for items in new[1:])]
        lines = [{"user": user, "items": items} for user, items in zip(asked.user_ids.tolist(), lists, strict=True)]
        file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    write(new[0][:25])
    assert evaluate_file(experiment, file).metrics["ndcg_at_10"] > 0
    write(change(own[0], new[0]))
    with pytest.raises(SystemExit, match=told):
        evaluate_file(experiment, file)


def test_our_own_rows_tell_the_core_seconds_of_every_epoch() -> None:
    hyperparameters = parse_hyperparameters({"hidden_dimension": 8, "epochs": 3, "patience": 3}, "test")
    found = measure_ours("ours", random_experiment(hyperparameters=hyperparameters))
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2, 3]
    spent = [epoch["core_seconds"] for epoch in found["epochs"]]
    assert min(spent) > 0
    assert found["epochs"][-1]["total_core_seconds"] == pytest.approx(sum(spent))
    assert sum(spent) < found["core_seconds"]
    assert max(epoch["ndcg_at_10"] for epoch in found["epochs"]) == found["validation_ndcg_at_10"]


def row(system: str, seed: int, ndcg: float, epochs: list[tuple[float, float]], **more: Any) -> Row:
    total, told = 0.0, []
    for number, (seconds, score) in enumerate(epochs, start=1):
        total += seconds
        told.append({"epoch": number, "core_seconds": seconds, "total_core_seconds": total, "ndcg_at_10": score})
    figures = {
        "test": {"ndcg_at_10": ndcg, "hit_rate_at_10": 0.4},
        "epochs": told,
        "n_ranked_items": 1_234,
        "core_seconds": 90.0,
        **({"best_epoch": 2, "n_epochs": len(told), "n_parameters": 5_000} if told else {}),
        **more,
    }
    settings = {"log": "ml-100k-loo", "protocol": "leave-one-out", "ties": "file", "system": system, "seed": seed,
                "users": 1.0, "seen": "remove", "n_items": 1_300, "knows_request_time": False,
                "trains_on_last_but_one": False}  # fmt: skip
    return Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)


SASREC = row("sasrec", 0, 0.10, [(100.0, 0.05), (100.0, 0.11), (100.0, 0.1)], stopped_by="budget")


def test_the_table_has_a_line_for_each_system_best_first() -> None:
    rows = [row("ease", 0, 0.07, []), SASREC, row("sasrec", 1, 0.12, [(90.0, 0.05), (90.0, 0.11)])]
    text = report({str(number): one for number, one in enumerate(rows)})
    assert "**ml-100k-loo**, leave-one-out, seen items remove, 1,300 items" in text
    sasrec, ease = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert sasrec == (
        "| SASRec (RecTools) | 0.1100 ± 0.0100 | 0.4000 ± 0.0000 | 0, 1 | file | no | no | 1,234 | 5,000 "
        "| 2 of 3, budget; 2 of 2 | 1.5 |"
    )
    assert ease == "| ease | 0.0700 | 0.4000 | 0 | file | no | no | 1,234 |  |  | 1.5 |"
    assert "Constants" not in text


def test_systems_are_compared_on_the_same_test_users() -> None:
    rows = [row("ease", seed, 0.1 + seed / 100, []) for seed in (0, 1)] + [row("als", 1, 0.2, [])]
    for one in rows:
        one.settings["protocol"] = "personalize"
    lines = [line.split(" | ") for line in report(dict(zip("abc", rows, strict=True))).splitlines() if "0.4" in line]
    assert [(system, ndcg, seeds) for system, ndcg, _, seeds, *_ in lines] == [
        ("| ease", "0.1050 ± 0.0050", "0, 1"),
        ("| ALS (implicit)", "0.2000", "1"),
        ("| ease", "0.1100", "1"),
    ]


def test_below_the_table_stand_budgets_constants_and_versions() -> None:
    rivals = row("sasrec", 0, 0.1, [(1.0, 0.1), (1.0, 0.2)], versions={"rectools": "0.19.0", "torch": "2.13.0"})
    rivals.settings.update(budget_core_seconds=720, hyperparameters={"batch_size": 32})
    text = report({"a": rivals, "b": row("ease", 0, 0.07, [], constants={"regularization": 30.0})})
    assert text.splitlines()[-1] == (
        "SASRec's budget: 12 core-minutes in batches of 32 users. Constants of the baselines, chosen on validation "
        "users: ease regularization 30. Rivals' versions: rectools 0.19.0, torch 2.13.0."
    )


def test_the_time_to_a_score_is_that_of_the_epoch_that_reaches_it() -> None:
    ours = row("hrnn-best", 0, 0.2, [(4.0, 0.05), (4.0, 0.11), (4.0, 0.2)])
    assert core_seconds_to(ours.figures["epochs"], 0.11) == 8.0
    assert core_seconds_to(ours.figures["epochs"], 0.3) is None
    [text] = time_to_score({"sasrec": [SASREC], "hrnn-best": [ours]})
    assert text.endswith(
        "- seed 0, SASRec (RecTools): best validation ndcg_at_10 0.1100 after 200 core-seconds; "
        "hrnn-hpo, best/ configuration 8.0, 25.0 times fewer (goal reached)."
    )
    slow = row("hrnn-best", 0, 0.2, [(40.0, 0.05), (40.0, 0.10)])
    [text] = time_to_score({"sasrec": [SASREC], "hrnn-best": [slow]})
    assert text.endswith("hrnn-hpo, best/ configuration never reaches it (best 0.1000, goal missed).")
    assert time_to_score({"sasrec": [SASREC], "hrnn-best": [row("hrnn-best", 1, 0.2, [(4.0, 0.2)])]}) == []
