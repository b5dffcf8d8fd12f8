"""Folders are whole or absent, whenever a preparation is killed, and what it left is gone after the next one."""

import multiprocessing
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hrnn_hpo.data.keeping.litter import clean_up, temporary_sibling
from hrnn_hpo.data.prepared import load_prepared, prepare
from hrnn_hpo.data.simulate import simulate


def test_a_folder_in_the_making_is_gone_afterwards_whatever_happens(tmp_path: Path) -> None:
    with temporary_sibling(tmp_path / "out") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".out.")


def test_a_folder_that_an_interruption_stops_is_gone(tmp_path: Path) -> None:
    def break_off(folder: Path) -> None:
        (folder / "file").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), temporary_sibling(tmp_path / "out") as folder:
        break_off(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_left_goes_and_what_the_living_make_stays(tmp_path: Path) -> None:
    dead, alive, other, own = (tmp_path / f".{name}.{'0' * 11}{n}" for n, name in enumerate(("out", "out", "x", "out")))
    for folder in (dead, alive, other):
        (folder / "work").mkdir(parents=True)
    own.with_name(own.name + "ff").mkdir()  # no name of ours
    made, told = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(f"{alive}.lock"):
            made.set()
            told.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    made.wait(10)
    assert clean_up(tmp_path, "out") == 1
    assert not dead.exists()
    assert alive.exists()
    told.set()
    holder.join()
    assert clean_up(tmp_path) == 2  # of any name
    assert [entry.name for entry in tmp_path.iterdir()] == [own.name + "ff"]


def test_a_preparation_cleans_up_beside_its_own_folder_alone(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,1\n")
    mine, others = tmp_path / f".out.{'a' * 12}", tmp_path / f".another.{'a' * 12}"
    mine.mkdir()
    others.mkdir()
    prepare(log, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [others.name, "log.csv", "out"]


N_KILLS = 20


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_whole_folder_or_none(tmp_path: Path) -> None:
    log = simulate(tmp_path / "log.parquet", n_events=300_000, n_users=10_000, n_items=2_000)
    expected = load_prepared(prepare(log, tmp_path / "reference")).content_hash
    out = tmp_path / "shop" / "out"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hrnn_hpo.data.prepared", "duckdb"])  # each process begins at once

    def start() -> multiprocessing.process.BaseProcess:
        process = context.Process(target=prepare, args=(log, out))
        process.start()
        return process

    def ends_well() -> bool:
        process = start()
        process.join(300)
        return process.exitcode == 0

    assert ends_well()  # and the server of processes runs
    shutil.rmtree(out)
    began = time.monotonic()
    assert ends_well()
    seconds = time.monotonic() - began
    draw = random.Random(0)
    n_killed = 0
    for number in range(N_KILLS):
        if draw.random() < 0.8:
            shutil.rmtree(out, ignore_errors=True)  # to be built again
        process = start()
        process.join(seconds * (number + 0.5) / N_KILLS)
        if process.exitcode is None:
            process.kill()
            process.join()
            n_killed += process.exitcode == -signal.SIGKILL
        if out.exists():
            assert load_prepared(out).content_hash == expected
    assert n_killed
    assert ends_well()
    assert load_prepared(out).content_hash == expected
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]
