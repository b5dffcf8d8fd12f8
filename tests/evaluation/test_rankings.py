"""Rankings as files: what our models write, and what others' files must be to stand in the same table."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import dataset_of, eval_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.evaluation.protocols import evaluate, evaluate_ranking
from hrnn_hpo.evaluation.rankings import ranking_name, read_rankings, write_rankings

# ---- written


def test_rankings_are_a_line_of_ids_per_user(tmp_path: Path) -> None:
    dataset = dataset_of([[0, 1], [0, 2, 1, 2]], n_items=4)
    part = EvalPart(np.array([0, 1]), np.array([1, 3]), np.array([2, 6]))
    found = evaluate_ranking(dataset, part, np.array([[3, 1] + [-1] * 23, [0] + [-1] * 24]))
    path = tmp_path / "new" / "rankings.jsonl"
    write_rankings(path, dataset, part, found)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"user": "u0", "items": ["i03", "i01"], "truth": ["i01"]},
        {"user": "u1", "items": ["i00"], "truth": ["i01", "i02"]},
    ]
    assert [file.name for file in path.parent.iterdir()] == ["rankings.jsonl"]


def test_rankings_carry_the_values_of_a_value_weighted_evaluation(tmp_path: Path) -> None:
    dataset = dataset_of([[0, 1, 2, 1]], values=[[1, 2, 3, 4]])
    part = eval_part_of(dataset, 3)
    found = evaluate_ranking(dataset, part, np.array([[1]]), value_weighted=True)
    write_rankings(tmp_path / "r.jsonl", dataset, part, found)
    assert json.loads((tmp_path / "r.jsonl").read_text())["values"] == [6.0, 3.0]


def test_rankings_that_cannot_be_written_say_so_and_leave_nothing(tmp_path: Path) -> None:
    dataset = dataset_of([[0, 1]])
    part = eval_part_of(dataset)
    found = evaluate_ranking(dataset, part, np.array([[1]]))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_rankings(tmp_path / "folder", dataset, part, found)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


# ---- read

LOG = dataset_of([[0, 1], [2, 3], [4, 5, 6]], n_items=30)
PART = EvalPart(np.array([0, 1]), np.array([1, 3]), np.array([2, 4]))  # user u2 is not evaluated


def write(path: Path, *lines: Any) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def line(user: Any, *items: Any, **more: Any) -> dict[str, Any]:
    return {"user": user, "items": list(items), **more}


@pytest.mark.parametrize("name", ["sasrec.jsonl", "sasrec.jsonl.gz"])
def test_lists_stand_in_the_order_of_the_part(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, line("u1", "i03", "i00"), "", line("u0", "i05"))
    found = read_rankings(path, LOG, PART, seen="keep")
    assert found.top_items[:, :3].tolist() == [[5, -1, -1], [3, 0, -1]]
    assert ranking_name(path) == "sasrec"


def test_seen_items_leave_the_list_and_later_ones_move_up(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", line("u0", "i07", "i00", "i01"), line("u1", *(f"i{i:02d}" for i in range(30))))
    found = read_rankings(path, LOG, PART, seen="remove")
    assert found.new_items[0, :3].tolist() == [7, 1, -1]
    assert found.new_items[1].tolist() == [0, 1, *range(3, 26)]  # the 26th moves up into the 25 places
    assert found.top_items.tolist() == found.new_items.tolist()
    assert found.notes == [
        f"{path}: 1 list is shorter than 25, and the empty places count as misses.",
        f"{path}: 2 lists held items of the user's input, which were taken out.",
    ]


@pytest.mark.parametrize(("seen", "items"), [("keep", ["i02", "i01", "i00"]), ("remove", ["i02", "i01"])])
def test_a_list_of_all_that_a_small_catalogue_has_is_not_called_short(tmp_path: Path, seen: Any, items: Any) -> None:
    dataset = dataset_of([[0, 1]], n_items=3)
    part, path = eval_part_of(dataset), tmp_path / "r.jsonl"
    assert read_rankings(write(path, line("u0", *items)), dataset, part, seen=seen, apart=True).notes == []
    [note] = read_rankings(write(path, line("u0", *items[1:])), dataset, part, seen=seen).notes
    assert "1 list is shorter than 25" in note


def test_unknown_items_keep_their_places_and_other_users_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", line("u0", "new", "i01"), line("u1", "i03"), line("u2", "i00"), line("x"))
    found = read_rankings(path, LOG, PART, seen="keep")
    assert found.top_items[0, :3].tolist() == [-1, 1, -1]
    assert found.notes == [
        f"{path}: 2 users are not evaluated and were left out.",
        f"{path}: 1 place holds an item that the data does not have, which counts as a miss.",
        f"{path}: 2 lists are shorter than 25, and the empty places count as misses.",
    ]
    figures = evaluate_ranking(LOG, PART, found.top_items).per_user
    assert figures["mrr_at_25"].tolist() == [1 / 2, 1]


def test_whole_numbers_are_ids_as_everywhere(tmp_path: Path) -> None:
    numbered = Dataset(
        user_offsets=np.array([0, 2]),
        items=np.array([0, 1], dtype=np.int32),
        timestamps=np.array([0, 1]),
        user_ids=np.array(["7"]),
        item_ids=np.array(["10", "2"]),
        content_hash="0" * 64,
    )
    path = write(tmp_path / "r.jsonl", line(7, 2, 10.0))
    assert read_rankings(path, numbered, eval_part_of(numbered), seen="keep").top_items[0, :2].tolist() == [1, 0]


def test_what_we_wrote_has_the_figures_that_we_had(tmp_path: Path) -> None:
    table = np.random.default_rng(0).random((2, 30)).astype(np.float32)
    ours = evaluate(LOG, PART, lambda rows: table[rows].copy(), seen="keep")
    write_rankings(tmp_path / "ours.jsonl", LOG, PART, ours)
    read = read_rankings(tmp_path / "ours.jsonl", LOG, PART, seen="keep")
    assert read.top_items.tolist() == ours.top_items.tolist()
    assert read.notes == []


def test_what_we_wrote_has_the_figures_for_new_items_too(tmp_path: Path) -> None:
    # u0 had items 0 to 9, which the model likes best: of its 25 items 15 are new, and the truth is the 20th new one.
    log = dataset_of([[*range(10), 29], [2, 3]], n_items=40)
    part = EvalPart(np.array([0, 1]), np.array([10, 12]), np.array([11, 13]))
    table = -np.arange(40, dtype=np.float32)
    ours = evaluate(log, part, lambda rows: np.tile(table, (len(rows), 1)), seen="keep", apart=True)
    assert ours.per_user["mrr_at_25_new"][0] == 1 / 20
    write_rankings(tmp_path / "ours.jsonl", log, part, ours)
    for seen in ("keep", "remove"):
        read = read_rankings(tmp_path / "ours.jsonl", log, part, seen=seen, apart=True)
        assert read.notes == []
        shown = read.top_items if seen == "keep" else read.new_items
        again = evaluate_ranking(log, part, shown, new_items=read.new_items)
        assert again.per_user["mrr_at_25_new"].tolist() == ours.per_user["mrr_at_25_new"].tolist()


def test_lists_with_too_few_new_items_are_told_where_these_have_figures(tmp_path: Path) -> None:
    listed = [f"i{item:02d}" for item in range(25)]  # item 0 is u0's own, item 2 is u1's
    path = write(tmp_path / "r.jsonl", line("u0", *listed, "i25"), line("u1", *listed))
    assert read_rankings(path, LOG, PART, seen="keep").notes == []
    assert read_rankings(path, LOG, PART, seen="keep", apart=True).notes == [
        f"{path}: 1 list has fewer than 25 items that are new to the user, and the empty places count as misses "
        "in the figures for new items."
    ]


GOOD = (line("u0", "i01"), line("u1", "i03"))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((*GOOD, "{"), "line 3: must be a JSON object, but Expecting property name"),
        ((*GOOD, "[1]"), r'line 3: must be {"user": id, "items": \[ids, best first\]}, but got \[1\]'),
        ((*GOOD, {"user": "u2"}), "line 3: must be"),
        ((*GOOD, line("u2", True)), "line 3: an item must be a text or a whole number, but got True"),
        ((*GOOD, line(None)), "line 3: a user must be a text or a whole number, but got None"),
        ((*GOOD, line("u0", "i02")), "line 3: user u0 has a line already, line 1"),
        ((line("u0", "i01", "i02", "i01"), GOOD[1]), "line 1: item i01 must stand once in the list of user u0"),
        ((line("u0", "i01", truth=["i02"]), GOOD[1]), "line 1: the truth of user u0 must be that of this split"),
        (
            (line("u0", "i01", new_items=["i02", "i02"]), GOOD[1]),
            "line 1: item i02 must stand once in the list of user",
        ),
        ((line("u0", "i01", new_items="i02"), GOOD[1]), 'line 1: "new_items" must be a list of ids, but got .i02.'),
        ((line("u0", "i01", truth=3), GOOD[1]), 'line 1: "truth" must be a list of ids, but got 3'),
        (GOOD[:1], "every evaluated user must have a line, but 1 of 2 have none, u1"),
        ((line("a"), line("b")), "2 of 2 have none, u0, u1. No id of the file is an evaluated user's"),
        ((), "2 of 2 have none"),
    ],
)
def test_a_file_that_does_not_fit_is_told_with_its_lines(tmp_path: Path, lines: Any, problem: str) -> None:
    path = write(tmp_path / "r.jsonl", *lines)
    with pytest.raises(DataError, match=problem) as error:
        read_rankings(path, LOG, PART, seen="keep")
    assert str(path) in str(error.value)


def test_all_bad_lines_are_told_at_once_up_to_twenty(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", *["{"] * 30)
    with pytest.raises(DataError) as error:
        read_rankings(path, LOG, PART, seen="keep")
    told = str(error.value).splitlines()
    assert len(told) == 21
    assert told[-1] == "Further lines were not read."


@pytest.mark.parametrize("name", ["missing.jsonl", "plain.jsonl.gz"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain.jsonl.gz").write_text("{}")
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        read_rankings(tmp_path / name, LOG, PART, seen="keep")
