"""Every broken log: no traceback, nothing half-written, no wrong count, a message with rule, place and what to do."""

import csv
import json
import logging
import random
from pathlib import Path

import pytest
from broken_log import GOOD, Broken, H
from broken_logs import BROKEN

from hrnn_hpo.data.ingest import read_report
from hrnn_hpo.data.prepared import load_prepared, load_report, prepare
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.errors import DataError


def written(broken: Broken, folder: Path) -> Path:
    for name, content in broken.files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "in").mkdir(exist_ok=True)
    return folder / "in" / broken.source


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len({broken.name for broken in BROKEN}) == len(BROKEN) >= 70
    for broken in BROKEN:
        assert bool(broken.says) != (broken.n_events is not None), broken.name


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.name for broken in BROKEN])
def test_a_broken_log_is_refused_or_read_with_the_right_count(
    broken: Broken, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = written(broken, tmp_path)
    out = tmp_path / "out"
    caplog.set_level(logging.WARNING)
    if broken.says:
        with pytest.raises(DataError) as caught:
            prepare(source, out, **broken.options)
        for part in broken.says:
            assert part in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
    else:
        dataset = load_prepared(prepare(source, out, **broken.options))
        assert (dataset.n_events, dataset.n_duplicates) == (broken.n_events, broken.n_duplicates)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == len(broken.warns)
        for warning, part in zip(
            sorted(said, key=lambda text: [p in text for p in broken.warns], reverse=True), broken.warns, strict=True
        ):
            assert part in warning
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("broken", [b for b in BROKEN if b.skipped], ids=[b.name for b in BROKEN if b.skipped])
def test_bad_rows_are_skipped_and_all_others_read(broken: Broken, tmp_path: Path) -> None:
    source = written(broken, tmp_path)
    out = prepare(source, tmp_path / "out", on_bad_rows="skip", **broken.options)
    with (out / "rejects.csv").open(encoding="utf-8", newline="") as file:
        rejects = list(csv.DictReader(file))
    assert {int(row["ROW"]) for row in rejects} == set(broken.skipped)
    assert {row["FILE"] for row in rejects} == {str(source)}
    _, report = load_report(out)
    dataset = load_prepared(out)
    n_lines = broken.files["log.csv"].count(b"\n") + (not broken.files["log.csv"].endswith(b"\n")) - 1
    assert report.n_rejected == len(broken.skipped)
    assert report.n_rows == n_lines
    assert dataset.n_events + dataset.n_duplicates == n_lines - len(broken.skipped)
    assert sum(report.rejected.values()) == len(rejects)


# 500 generated logs: good rows with planted damage, so that what is right is known.

N_GENERATED = 500
N_AT_ONCE = 25
TORN = [  # cells of a good row -> a line that must be refused
    lambda row: f",{row[1]},{row[2]},{row[3]}",
    lambda row: f"{row[0]},   ,{row[2]},{row[3]}",
    lambda row: f"{row[0]},{'x' * 300},{row[2]},",
    lambda row: f"{row[0]},{row[1]},,{row[3]}",
    lambda row: f"{row[0]},{row[1]},{row[2]}.5,{row[3]}",
    lambda row: f"{row[0]},{row[1]},-{row[2]},{row[3]}",
    lambda row: f"{row[0]},{row[1]},12 May,{row[3]}",
    lambda row: f"{row[0]},{row[1]},{row[2]},heavy",
    lambda row: f"{row[0]},{row[1]},{row[2]}",
    lambda row: f"{row[0]},{row[1]},{row[2]},1,7",
    lambda row: f'{row[0]},"{row[1]},{row[2]},1',
    lambda row: f'{row[0]},"{row[1]}" x,{row[2]},1',
    lambda row: f"{row[0]},caf\udce9,{row[2]},1",
    lambda row: f"{row[0]}\0,{row[1]},{row[2]},1",
    lambda row: row[0],
]
SPELT = [  # cells of a good row -> the same row in another way
    lambda row: ",".join(row),
    lambda row: f'"{row[0]}",{row[1]},"{row[2]}",{row[3]}',
    lambda row: f"{row[0]},{row[1]},{row[2]}.0,{row[3]}",
    lambda row: f"{row[0]},{row[1]},00{row[2]},{row[3]}",
    lambda row: f"{row[0]},{row[1]},{row[2]},{row[3]}.0",
    lambda row: f"{row[0]},{row[1]},{row[2]},{row[3]},",
]


def generated(seed: int) -> tuple[bytes, set[int], list[tuple[str, ...]]]:
    """Return (a file, the lines that are bad, the good rows)."""
    draw = random.Random(seed)
    end = draw.choice(["\n", "\n", "\r\n"])
    lines, bad, good = ["USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE"], set(), []
    for _ in range(draw.randint(3, 25)):
        row = (
            f"u{draw.randint(0, 4)}",
            draw.choice(["a", "b", "ü", "c d"]),
            str(draw.randint(1, 9)),
            str(draw.randint(1, 3)),
        )
        if draw.random() < 0.25:
            bad.add(len(lines) + 1)
            lines.append(draw.choice(TORN)(row))
        else:
            good.append(row)
            lines.append(draw.choice(SPELT)(row))
        if draw.random() < 0.1:
            lines.append("")
    text = end.join(lines) + draw.choice(["", end, end * 2])
    if not good:
        return generated(seed + N_GENERATED)
    return text.encode("utf-8", "surrogateescape"), bad, good


@pytest.mark.parametrize("first", range(0, N_GENERATED, N_AT_ONCE))
def test_generated_damage_is_found_line_by_line(first: int, tmp_path: Path) -> None:
    logs = {tmp_path / f"{seed:03d}.csv": generated(seed) for seed in range(first, first + N_AT_ONCE)}
    for path, (content, _, _) in logs.items():
        path.write_bytes(content)
    out = prepare(list(logs), tmp_path / "out", on_bad_rows="skip")
    with (out / "rejects.csv").open(encoding="utf-8", newline="") as file:
        found = {(row["FILE"], int(row["ROW"])) for row in csv.DictReader(file)}
    assert found == {(str(path), line) for path, (_, bad, _) in logs.items() for line in bad}
    dataset, (_, report) = load_prepared(out), load_report(out)
    good = [row for _, _, rows in logs.values() for row in rows]
    assert dataset.n_events == len(set(good))
    assert dataset.n_duplicates == len(good) - len(set(good))
    assert report.n_rejected == len(found)
    assert report.n_rows == len(good) + len(found)
    users = dataset.user_ids[dataset.event_users].tolist()
    items = dataset.item_ids[dataset.items].tolist()
    assert dataset.event_values is not None
    values = dataset.event_values.astype(int).astype(str).tolist()
    assert set(zip(users, items, dataset.timestamps.astype(str).tolist(), values, strict=True)) == set(good)


@pytest.mark.parametrize("seed", range(12))
def test_what_stops_the_reading_names_the_same_lines(seed: int, tmp_path: Path) -> None:
    content, bad, _ = generated(seed)
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    if not bad:
        assert read_report(path, read_options())[0].n_events
        return
    with pytest.raises(DataError) as caught:
        prepare(path, tmp_path / "out")
    lines = [int(text.removeprefix(f"{path}, line ").partition(":")[0]) for text in str(caught.value).splitlines()]
    assert set(lines) == bad
    assert not (tmp_path / "out").exists()


def test_rejects_come_with_the_data_and_their_counts_with_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(H + ",a,x\n" + GOOD)
    out = prepare(path, tmp_path / "out", on_bad_rows="skip")
    meta = json.loads((out / "meta.json").read_text())
    assert meta["options"] == {"on_bad_rows": "skip"}
    assert meta["report"]["n_rejected"] == 1  # one row, two cells
    assert sorted(meta["report"]["rejected"].values()) == [1, 1]
    copy = prepare(out, tmp_path / "copy")
    part = prepare(out, tmp_path / "part", min_user_events=1)
    for folder in (copy, part):
        assert (folder / "rejects.csv").read_bytes() == (out / "rejects.csv").read_bytes()
    assert f"1 bad row left out, see {part / 'rejects.csv'} (once: " in load_report(part)[1].lines(part)[0]
    # The same log again, whole: no rejects of earlier days stay.
    path.write_text(H + GOOD)
    assert not (prepare(path, out, on_bad_rows="skip") / "rejects.csv").exists()


def test_a_log_without_a_good_row_is_refused_even_so(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(H + ",a,1\n")
    with pytest.raises(DataError, match="no row is left: all 1 break a rule"):
        prepare(path, tmp_path / "out", on_bad_rows="skip")
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_a_bad_row_changes_no_label_of_the_others(tmp_path: Path) -> None:
    good = '{"USER_ID": "u", "ITEM_ID": -0, "TIMESTAMP": 1, "EVENT_TYPE": 1e22, "SESSION_ID": 1e-7}\n'
    found = []
    for name, content in (("whole.jsonl", good), ("broken.jsonl", good + "{\n")):
        (tmp_path / name).write_text(content)
        dataset, report = read_report(tmp_path / name, read_options(on_bad_rows="skip"))
        found.append((dataset.item_ids.tolist(), dataset.event_type_names, dataset.content_hash, report.n_rejected))
    assert found[0][:2] == (["0"], ("1e22",))
    assert found[1] == (*found[0][:3], 1)
