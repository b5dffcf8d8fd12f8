"""A process that runs, one that has ended, and one whose parent has not noticed yet."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hrnn_hpo.processes import is_gone


def test_who_runs_is_not_gone() -> None:
    assert not is_gone(os.getpid())
    assert not is_gone(1)  # another user's, where the tests do not run as root


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nobody tells of zombies here")
def test_who_has_ended_is_gone_before_and_after_its_parent_notices() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 60
    while not is_gone(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.wait()
    assert is_gone(process.pid)


def test_a_number_that_no_process_can_have_is_of_nobody() -> None:
    assert is_gone(2**80)
