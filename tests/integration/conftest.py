"""A real browser for the tests of pages, and one finished study that they look at."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import HARMLESS, STUDY, WIDTHS, at_home
from real_studies import PROGRAM, write_project
from servers import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Return Debian's Chromium, or whichever is installed, without a window."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    assert program is not None, "Chromium is not installed"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(params=WIDTHS)
def page(browser: "Browser", request: pytest.FixtureRequest) -> Iterator["Page"]:
    """Return an empty page of each width; at its end, nothing may stand in the browser's console as an error."""
    errors: list[str] = []

    def note(message: Any) -> None:
        if message.type == "error" and HARMLESS not in message.text:
            errors.append(message.text)

    context = browser.new_context(viewport={"width": request.param, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(90_000)  # a busy machine is slow, not wrong
    opened.on("console", note)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a HRNN_HPO_HOME with one finished study: confirmed, tested, one of its trials pruned."""
    home = tmp_path_factory.mktemp("finished")
    write_project(home, n_users=120, epochs=5)
    command = [PROGRAM, "tune", "log", f"--study={STUDY}", "--space", "space.yaml", "--device", "cpu", "--threads", "1"]
    command += [
        "--n-trials",
        "9",
        "--sampler",
        "random",
        "--pruner",
        "median",
        "--confirm",
        "1",
        "--confirm-seeds",
        "2",
    ]
    subprocess.run([*command, "--json"], cwd=home, env=at_home(home), check=True, capture_output=True)
    return home
