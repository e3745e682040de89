"""The page of the service in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from asd.deploy import Detector

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = which("chromium"), which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


@pytest.fixture(scope="module")
def address(trained: Path) -> Iterator[str]:
    """Where a service with a token listens."""
    command = [sys.executable, "-m", "asd", "serve", str(trained), "--port", "0"]
    environment = {**os.environ, "ASD_TOKEN": "open sesame"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    assert process.wait(60) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1000,1400",
        "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page as someone uses it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def rows(self) -> list[list[str]]:
        """The history, newest first."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "#history tr")
        return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in found]

    def until(self, holds: Any) -> None:
        WebDriverWait(self.driver, 60).until(lambda _: holds())

    def send(self, path: Path) -> None:
        before = len(self.rows())
        self.find("file").send_keys(str(path))
        self.until(lambda: len(self.rows()) > before)

    def pixels(self, name: str) -> list[int]:
        return self.driver.execute_script(
            "const c = document.getElementById(arguments[0]);"
            "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
            name,
        )


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Page:
    """The page after the token is given."""
    browser.get(address)
    page = Page(browser)
    page.until(lambda: page.find("token").is_displayed())
    page.find("token").send_keys("open sesame")
    page.find("token").submit()
    page.until(lambda: len(page.find("machine").find_elements(By.TAG_NAME, "option")) == 2)
    Select(page.find("machine")).select_by_visible_text("fan")
    browser.get_log("browser")  # the refusal before the token is meant
    return page


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav"))


def test_it_shows_what_the_detector_says(page: Page, trained: Path, clips: list[Path]) -> None:
    detector = Detector.load(trained)
    for path in (clips[0], clips[-1]):
        expected = detector.explain(path, machine="fan")
        page.send(path)
        assert page.find("verdict").text == detector.score(path, machine="fan").decision
        row = page.rows()[0]
        assert row[1:3] == [path.name, "fan"]
        assert float(row[3]) == pytest.approx(expected.score, rel=0.01)
        assert float(row[4]) == pytest.approx(expected.threshold, rel=0.01)
        assert f"from {expected.band[0]:.0f} to {expected.band[1]:.0f} Hz" in page.find("why").text
        assert page.find("nearest").find_elements(By.TAG_NAME, "li")[0].text.startswith(expected.nearest[0].name)
        for canvas in ("distribution", "spectrogram", "bands", "spans", "trend"):
            assert len(set(page.pixels(canvas))) > 2, f"{canvas} is blank"
    page.until(lambda: page.driver.execute_script("return document.getElementById('player').duration > 0.9"))


def test_the_explanation_can_be_taken_off(page: Page, trained: Path, clips: list[Path]) -> None:
    detector = Detector.load(trained)
    page.send(next(path for path in clips if detector.explain(path, machine="fan").contributions.max() > 0))
    shown = page.pixels("spectrogram")
    page.find("overlay").click()
    plain = page.pixels("spectrogram")
    page.find("overlay").click()
    assert plain != shown
    assert page.pixels("spectrogram") == shown


def test_it_records(page: Page) -> None:
    before = len(page.rows())
    page.find("record").click()
    page.until(lambda: page.find("record").text == "stop")
    page.until(lambda: page.driver.execute_script("return recorder.blocks.length > 12"))
    page.find("record").click()
    page.until(lambda: len(page.rows()) > before)
    assert page.rows()[0][1].startswith("recorded ")
    assert page.find("record").text == "record"


def test_errors_are_the_line_of_the_service(page: Page, tmp_path: Path) -> None:
    page.driver.get_log("browser")
    before = page.rows()
    (tmp_path / "notes.txt").write_text("no recording")
    page.find("file").send_keys(str(tmp_path / "notes.txt"))
    page.until(lambda: "cannot be read as audio" in page.find("message").text)
    assert page.find("message").text.startswith("notes.txt")
    assert page.rows() == before
    (entry,) = page.driver.get_log("browser")
    assert "422" in entry["message"], "the refusal alone"


def test_nothing_comes_from_elsewhere_and_nothing_fails(page: Page, clips: list[Path], address: str) -> None:
    page.driver.get_log("browser")
    page.send(clips[0])
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert names
    assert all(name.startswith((address, f"blob:{address}")) for name in names)
    assert page.driver.get_log("browser") == []
