"""A headless browser, and what it finds wrong with a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WIDTHS = (1280, 390, 320)
SCHEMES = ("light", "dark")

# What lies beyond an edge of the page, or must be scrolled for; what is there for screen readers alone is left out.
_CUT_OFF = """
const seen = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.clipPath !== 'none' || style.opacity === '0' || style.display === 'none') return false;
  }
  return one.getClientRects().length > 0;
};
const wide = document.documentElement.clientWidth;
return [...document.body.querySelectorAll('*')].filter((one) => {
  const { left, right } = one.getBoundingClientRect();
  const scrolls = getComputedStyle(one).overflowX !== 'visible' && one.scrollWidth > one.clientWidth + 1;
  return seen(one) && (left < -0.5 || right > wide + 0.5 || scrolls);
}).map((one) => one.outerHTML.slice(0, 120));
"""


@contextmanager
def chromium(*arguments: str, logs: tuple[str, ...] = ("browser",)) -> Iterator[Any]:
    """Chromium with these arguments more; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    binary, driver = which("chromium"), which("chromedriver")
    if not (binary and driver):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", *arguments):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


def axe_script() -> str:
    """The script of the npm package axe-core: a file that AXE_CORE names, or what npm put into this folder."""
    path = Path(os.environ.get("AXE_CORE") or ROOT / "node_modules/axe-core/axe.min.js")
    if not path.is_file():
        pytest.skip("needs axe-core: `npm install --no-save axe-core`, or AXE_CORE=PATH/axe.min.js")
    return path.read_text(encoding="utf-8")


def show_at(browser: Any, width: int, scheme: str = "light") -> None:
    """Make the page so many CSS pixels wide, and light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def cut_off(browser: Any) -> list[str]:
    """The beginnings of the elements that do not fit the width of the page."""
    found: list[str] = browser.execute_script(_CUT_OFF)
    return found


def violations(browser: Any, script: str) -> list[str]:
    """What axe-core finds wrong, a line each."""
    browser.set_script_timeout(120)
    if not browser.execute_script("return Boolean(window.axe)"):
        browser.execute_script(script)
    found = browser.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}: {one['nodes'][0].get('failureSummary', '')}"
        for one in found["violations"]
    ]
