"""The page of `data describe --out` in a real browser at two widths: a large log, a tiny one, and names of any kind."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hostile import NAMES
from pages import at_home, check_fits
from real_studies import PROGRAM
from servers import chromium, skip_without

from hrnn_hpo.data.describing.figures import describe
from hrnn_hpo.data.describing.page import write_page
from hrnn_hpo.data.simulate import simulate
from hrnn_hpo.data.synthetic import make_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, skip_without(chromium(), "Chromium")]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page that the command writes of a log of 20,000 events."""
    home = tmp_path_factory.mktemp("described")
    simulate(home / "log.parquet", n_events=20_000, n_users=1_500, n_items=700)
    command = [PROGRAM, "data", "describe", "log.parquet", "--out", "log.html"]
    subprocess.run(command, cwd=home, env=at_home(home), check=True, capture_output=True)
    return home / "log.html"


def test_the_page_of_a_log_fits_and_shows_every_part(described: Path, page: "Page") -> None:
    page.goto(described.as_uri())
    check_fits(page)
    titles = page.locator("h2").all_inner_texts()
    assert titles[:2] == ["Figures", "History lengths"]
    assert len(titles) >= 7
    assert page.locator("svg").count() >= 5
    for chart in page.locator("svg").all():
        assert chart.locator("rect.bar, circle").count() >= 5


def test_the_page_of_a_log_with_odd_and_long_names_fits(page: "Page", tmp_path: Path) -> None:
    names = [*NAMES, "a-very-long-item-identifier-" + "0123456789abcdef" * 4]
    histories = [
        [(names[(user + step) % len(names)], 7_000 * step * (user + 1), f"type of {names[step % 3]}", 1e6 + step)]
        * (1 if user % 2 else 2)
        for user in range(40)
        for step in range(3)
    ]
    log = make_dataset(histories, name="my-company_clickstream-of-september-2026")
    page.goto(write_page(describe(log), tmp_path / "odd.html", ["2 events lie at time 0."]).as_uri())
    check_fits(page)


def test_the_page_of_three_events_fits(page: "Page", tmp_path: Path) -> None:
    log = make_dataset([[("a", 0), ("b", 60)], [("a", 30)]])
    page.goto(write_page(describe(log), tmp_path / "tiny.html").as_uri())
    check_fits(page)
