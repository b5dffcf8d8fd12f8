"""The picture of a finished study that the README shows: the head of its report, seen by a real browser.

Run: .venv/bin/python scripts/picture.py first docs/images/study.png [--storage URL]

Needs a Chromium (Debian's package `chromium` will do) and Playwright, which the extra `dev` brings.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from hrnn_hpo.study.report.report import report

WIDTH = 1300  # pixels
LAST = "History"  # the section that the picture ends with
N_COLORS = 128  # enough for text and charts, and a quarter of the bytes


def draw(study: str, file: Path, *, storage: str | None = None) -> Path:
    """Write the head of a study's report, from its title to its history, as a PNG file and return the file.

    Raises StudyError for a study that the storage does not hold, SystemExit where there is no Chromium.
    """
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    program = next(found, None)
    if program is None:
        raise SystemExit("scripts/picture.py needs a Chromium: `apt-get install chromium` brings one.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = report(study, Path(folder) / "study.html", storage=storage)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        end = page.locator("section", has=page.get_by_role("heading", name=LAST, exact=True)).bounding_box()
        assert end is not None
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + end["height"] + 16}
        shot = page.screenshot(full_page=True, clip=clip)
        browser.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(N_COLORS).save(file, optimize=True)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("file", type=Path, help="PNG file to write")
    parser.add_argument("--storage", help="Optuna's database; the embedded one if unset")
    arguments = parser.parse_args()
    print(draw(arguments.study, arguments.file, storage=arguments.storage))


if __name__ == "__main__":
    main()
