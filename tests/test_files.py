"""Files are written whole or not at all, and what is no plain file is never replaced by one."""

import errno
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from hrnn_hpo import files
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.files import require_writable, unwritable, whole_file, write_text


def test_a_file_keeps_its_content_where_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    write_text(file, "first")

    def write_half() -> None:
        with whole_file(file) as draft:
            assert draft.suffix == ".html"  # by which libraries choose what to write
            draft.write_text("half", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_text(encoding="utf-8") == "first"
    assert list(file.parent.iterdir()) == [file]


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    require_writable(pipe)
    write_text(pipe, "through")
    reader.join(timeout=10)
    assert read == ["through"]
    assert pipe.is_fifo()


def test_devices_are_written_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("a device would be replaced by a file"))
    for place in ("/dev/null", "/dev/stdout", "/proc/self/fd/1"):
        with whole_file(Path(place)) as draft:
            assert draft == Path(place)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text(encoding="utf-8") == "text"


def test_long_names_are_no_trouble_and_folders_are_refused(tmp_path: Path) -> None:
    write_text(tmp_path / f"{'n' * 250}.txt", "text")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_text(tmp_path, "text")


def test_a_folder_with_the_name_of_a_stream_is_a_folder(tmp_path: Path) -> None:
    """/processed is not /proc, and /dev/standing is not /dev/stdout."""
    for place in ("/processed/report.html", "/dev/standing/report.html", "/dev/fdx"):
        assert not files._is_stream(Path(place))
    for place in ("/proc/self/fd/1", "/dev/fd/3", "/dev/stderr"):
        assert files._is_stream(Path(place))


@pytest.mark.parametrize(("number", "exit_code"), [(errno.ENOSPC, 1), (errno.EPIPE, 1), (errno.EACCES, 2)])
def test_a_full_disk_is_a_run_that_failed_and_a_wrong_place_is_wrong_usage(number: int, exit_code: int) -> None:
    error = unwritable(Path("out.csv"), OSError(number, os.strerror(number)))
    assert error.exit_code == exit_code
    assert str(error) == f"out.csv: cannot be written ({os.strerror(number)})."


def test_a_full_device_is_a_run_that_failed() -> None:
    with pytest.raises(RunFailedError, match="/dev/full: cannot be written"):
        write_text(Path("/dev/full"), "text")


def _stop_here(file: Path, told: Path) -> None:
    with whole_file(file) as draft:
        draft.write_text("half", encoding="utf-8")
        told.touch()
        time.sleep(60)


def test_the_draft_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes, drafts = [], []
    for number in range(2):
        before, told = set(tmp_path.iterdir()), tmp_path / f"told{number}"
        processes.append(context.Process(target=_stop_here, args=(tmp_path / "log.csv", told), daemon=True))
        processes[-1].start()
        while not told.exists():
            assert processes[-1].is_alive()
            time.sleep(0.01)
        drafts += [entry for entry in tmp_path.iterdir() if entry not in before and entry != told]
    killed, living = processes
    killed.kill()
    killed.join()
    assert len(drafts) == 2
    write_text(tmp_path / "other.csv", "text")
    assert all(draft.exists() for draft in drafts)  # they are no drafts of that file
    write_text(tmp_path / "log.csv", "whole")
    assert [draft.exists() for draft in drafts] == [False, True]
    assert drafts[1].read_text(encoding="utf-8") == "half"
    living.kill()
    living.join()
    write_text(tmp_path / "log.csv", "whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log.csv", "other.csv", "told0", "told1"]
