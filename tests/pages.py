"""What the tests of pages share: the study that they show, the widths, and what a page that fits its width keeps to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

STUDY = "o'brien's [cart] $x$ <b>"
WIDTHS = (1300, 800)
# A browser's note that an element changed its size while it was being watched; nothing is wrong on the page.
HARMLESS = "ResizeObserver loop"


def at_home(home: Path) -> dict[str, str]:
    """Return the environment of a program that works in a home of its own."""
    others = ("MLFLOW_TRACKING_URI", "HRNN_HPO_STORAGE")
    rest = {key: value for key, value in os.environ.items() if key not in others}
    return {**rest, "HRNN_HPO_HOME": str(home), "HRNN_HPO_CACHE": str(home / "cache")}


# In the browser: the boxes of visible texts. Rectangles of letters, so a name in two lines has two of them.
_TEXTS = """() => {
  const found = [];
  for (const element of document.querySelectorAll('svg')) {
    const labels = [...element.querySelectorAll('text')].map(text => {
      const box = text.getBoundingClientRect();
      return [text.textContent, box.left, box.top, box.right, box.bottom];
    });
    const frame = element.getBoundingClientRect();
    found.push({labels, frame: [frame.left, frame.top, frame.right, frame.bottom],
                width: element.parentElement.clientWidth, alone: !element.closest('.slices')});
  }
  return found;
}"""
_BROKEN = """() => {
  const broken = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest('svg, pre, .note')) continue;
    for (const word of node.textContent.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""


def check_fits(page: "Page") -> None:
    """Check that nothing is cut, broken or over another, and that charts are as wide as the page."""
    assert page.viewport_size is not None
    for folded in page.query_selector_all("details > summary"):
        folded.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    cut = "[...document.querySelectorAll('.wide, pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(cut) == 0
    assert page.evaluate(_BROKEN) == []
    charts = page.evaluate(_TEXTS)
    assert len(charts) >= 4
    for chart in charts:
        left, top, right, bottom = chart["frame"]
        if chart["alone"]:
            assert right - left >= 0.98 * chart["width"]
        for i, (text, x0, y0, x1, y1) in enumerate(chart["labels"]):
            assert left - 1 <= x0, text
            assert x1 <= right + 1, text
            assert top - 2 <= y0, text
            assert y1 <= bottom + 2, text
            for other, u0, v0, u1, v1 in chart["labels"][i + 1 :]:
                apart = x1 <= u0 + 1 or u1 <= x0 + 1 or y1 <= v0 + 3 or v1 <= y0 + 3
                assert apart, (text, other)
