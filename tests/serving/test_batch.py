"""Batch recommendations: Amazon's lines in and out, bad lines kept apart, and the same lists as one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from small_runs import model_for, run_small, small_configuration
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import EPOCH, MINUTE, make_dataset, markov
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.experiment import save_experiment
from hrnn_hpo.model.folder import SavedModel, SplitRecord
from hrnn_hpo.serving import batch
from hrnn_hpo.serving import recommender as recommending
from hrnn_hpo.serving.batch import answer_lines, recommend_file
from hrnn_hpo.serving.recommender import Recommender, code_of


def rich_log(n_users: int = 40) -> Dataset:
    """Histories of 1 to 30 events with sessions, types and values, some of them empty."""
    generator = np.random.default_rng(3)
    return make_dataset(
        [
            [
                (
                    f"i{generator.integers(30):02d}",
                    EPOCH + MINUTE * step + 7000 * (step // 5),
                    generator.choice(["view", "buy", None]),
                    float(step) if step % 3 else None,
                    f"s{step // 4}" if user % 2 else None,
                )
                for step in range(generator.integers(1, 31))
            ]
            for user in range(n_users)
        ],
        extra_items=[f"i{item:02d}" for item in range(30)],
    )


def recommender_for(dataset: Dataset, seen: Any = "keep", **changes: Any) -> Recommender:
    record = SplitRecord("personalize", 0, dataset.content_hash, "keep")
    saved = SavedModel(Path("m"), model_for(dataset, **changes), small_configuration(**changes), record, dataset)
    return Recommender(saved, seen)


@pytest.mark.parametrize("architecture", ["control", "hierarchical"])
@pytest.mark.parametrize("seen", ["keep", "remove"])
def test_every_user_of_a_block_gets_what_recommend_gives(architecture: str, seen: str) -> None:
    recommender = recommender_for(rich_log(), seen, architecture=architecture, n_blocks=2)
    users = ["u07", "a stranger", "u00", *(f"u{user:02d}" for user in range(40)), "u07", "u07\0", "u", "", "zz"]
    items, scores = recommender.recommend_many(users, k=12)
    for user, own_items, own_scores in zip(users, items, scores, strict=True):
        expected = recommender.recommend(user, 12)
        listed = own_items >= 0
        names = recommender.saved.histories.item_ids[own_items[listed]].tolist()
        assert names == [entry.item for entry in expected]
        assert own_scores[listed] == pytest.approx([entry.score for entry in expected], abs=1e-6)


def test_the_size_of_a_block_of_scores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = recommender_for(rich_log(), "remove")
    users = [f"u{user:02d}" for user in range(40)]
    items, _ = recommender.recommend_many(users, k=40)
    monkeypatch.setattr(recommending, "SCORE_BLOCK_BYTES", 4 * 30 * 7)  # seven users at a time
    assert np.array_equal(recommender.recommend_many(users, k=40)[0], items)
    assert (items[:, 30:] == -1).all()  # the catalogue has no more


def test_a_good_line_is_answered_in_amazons_format() -> None:
    (answer,) = answer_lines(recommender_for(rich_log()), [b'{"userId": "u07"}\n'], k=3)
    assert list(answer) == ["input", "output", "error"]
    assert answer["input"] == {"userId": "u07"}
    assert answer["error"] is None
    assert len(answer["output"]["recommendedItems"]) == len(answer["output"]["scores"]) == 3


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"userId": ', "The line must be a JSON object, but Expecting value at character 12."),
        (b'["u07"]', 'The line must be a JSON object, but got ["u07"].'),
        (b'{"userid": "u07"}', """The line must have the key "userId", but got the keys ['userid']."""),
        (b'{"userId": 7}', '"userId" must be a string of at least one character, but got 7.'),
        (b'{"userId": ""}', '"userId" must be a string of at least one character, but got "".'),
        (b'{"userId": null}', '"userId" must be a string of at least one character, but got null.'),
        (b'{"userId": "u", "k": NaN}', "NaN is no JSON number"),
        (b'{"userId": "u", "filterValues": {}}', "but got ['filterValues']"),
        (b'{"userId": "\xff"}', "The line must be a JSON object, but 'utf-8' codec can't decode"),
        (b"[" * 100_000, "The line must be a JSON object"),
    ],
)
def test_a_bad_line_says_why_and_the_others_are_answered(line: bytes, error: str) -> None:
    before, bad, after = answer_lines(
        recommender_for(rich_log()), [b'{"userId": "u07"}', line, b'{"userId": "\\ud800"}'], k=3
    )
    assert error in bad["error"]
    assert bad["output"] is None
    assert before["error"] is after["error"] is None


def test_lines_keep_their_order_over_blocks_and_blank_ones_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "USERS_AT_ONCE", 4)
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    text = "".join(f'{{"userId": "u{user:02d}"}}\n\n' for user in range(11)) + "nonsense"
    source.write_text(text)
    told: list[int] = []
    report = recommend_file(recommender_for(rich_log()), source, target, 2, told.append)
    answers = [json.loads(line) for line in target.read_text().splitlines()]
    assert [answer["input"] for answer in answers] == [{"userId": f"u{user:02d}"} for user in range(11)] + ["nonsense"]
    assert (report.n_lines, report.n_errors) == (12, 1)
    assert sum(told) == len(text)
    assert list(target.parent.iterdir()) == [target]


def test_an_empty_file_gives_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    assert recommend_file(recommender_for(rich_log()), tmp_path / "in", tmp_path / "out").n_lines == 0
    assert (tmp_path / "out").read_text() == ""


def test_a_run_that_breaks_leaves_the_old_output_alone(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"userId": "u07"}\n')
    (tmp_path / "out").write_text("old")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_file(recommender_for(rich_log()), tmp_path / "in", tmp_path / "out", 5, stop)
    assert (tmp_path / "out").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    recommender = recommender_for(rich_log())
    source = tmp_path / "in"
    source.write_text('{"userId": "u07"}\n')
    with pytest.raises(DataError, match="missing: cannot be read"):
        recommend_file(recommender, tmp_path / "missing", tmp_path / "out")
    with pytest.raises(ConfigError, match="another file than the input"):
        recommend_file(recommender, source, source)
    with pytest.raises(ConfigError, match="must be a file, but is a folder"):
        recommend_file(recommender, source, tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        recommend_file(recommender, source, source / "out")
    with pytest.raises(ConfigError, match="`1 <= k <= 500` must hold, but got k=501"):
        recommend_file(recommender, source, tmp_path / "out", 501)
    assert not (tmp_path / "out").exists()


def test_a_name_is_found_at_its_place_alone() -> None:
    ids = np.array(["a", "b", "bb"])
    assert [code_of(ids, name) for name in ("a", "b", "bb")] == [0, 1, 2]
    assert [code_of(ids, name) for name in ("", "aa", "bbb", "b\0", "c")] == [None] * 5
    assert code_of(np.array([], dtype=np.str_), "a") is None


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_gives_what_recommend_gives(tmp_path: Path) -> None:
    experiment, result = run_small(markov(n_users=60, n_items=40, n_events=20), epochs=1)
    model, source, target = tmp_path / "model", tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    save_experiment(model, experiment, result)
    source.write_text('{"userId": "u07"}\nnonsense\n{"userId": "u08"}\n')
    answer = run("batch", model, "--input", source, "--output", target, "--k", 4, "--seen", "remove")
    assert answer.exit_code == 0, answer.output
    assert "Wrote 3 lines" in answer.stderr
    assert "1 of them with an error (seen items: remove)" in answer.stderr
    assert answer.stdout == ""
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    single = json.loads(run("recommend", model, "--user", "u08", "--k", 4, "--seen", "remove", "--json").stdout)
    assert lines[2]["output"]["recommendedItems"] == [entry["item"] for entry in single["items"]]
    assert len(json.loads(_default_line(model, source, target))["output"]["scores"]) == 25

    missing = run("batch", model, "--input", tmp_path / "none", "--output", target)
    assert missing.exit_code == 2
    assert "the input must be a file of JSON lines" in missing.stderr


def _default_line(model: Path, source: Path, target: Path) -> str:
    assert run("batch", model, "--input", source, "--output", target).exit_code == 0
    return target.read_text().splitlines()[0]
