"""The page of the service in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import soundfile

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = which("chromium"), which("chromedriver")
TOKEN = "open sesame"
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


@pytest.fixture(scope="module")
def address(trained: Path) -> Iterator[str]:
    """Where a service with a token listens."""
    command = [sys.executable, "-m", "asd", "serve", str(trained), "--port", "0", "--max-megabytes", "1"]
    process = subprocess.Popen(command, env={**os.environ, "ASD_TOKEN": TOKEN}, stdout=subprocess.PIPE, text=True)
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
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page as someone uses it."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def rows(self) -> list[list[str]]:
        """The history, newest first."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "#history tr")
        return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in found]

    def until(self, holds: Any) -> None:
        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: holds())

    def send(self, *paths: Path) -> None:
        expected = len(self.rows()) + len(paths)
        self.find("file").send_keys("\n".join(map(str, paths)))
        self.until(lambda: len(self.rows()) == expected)

    def pixels(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).toDataURL()", name)

    def colours(self, name: str, width: int = 0) -> int:
        """How many different colours a canvas shows, or so many of its columns at the left."""
        return self.run(
            "const c = document.getElementById(arguments[0]);"
            "const d = c.getContext('2d').getImageData(0, 0, arguments[1] || c.width, c.height).data;"
            "return new Set(new Uint32Array(d.buffer)).size",
            name,
            width,
        )

    def answer(self, path: Path) -> dict[str, Any]:
        """What the service says of a recording."""
        address = f"{self.address}/score?machine=fan&explain=true"
        request = urllib.request.Request(address, path.read_bytes(), {"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Page:
    """The page after the token is given."""
    browser.get(address)
    page = Page(browser, address)
    for token in ("wrong", TOKEN):
        page.until(lambda: page.find("token").is_displayed() and "token" in page.find("message").text)
        page.find("token").clear()
        page.find("token").send_keys(token)
        page.find("token").submit()
    page.until(lambda: len(page.find("machine").find_elements(By.TAG_NAME, "option")) == 2)
    page.until(lambda: not page.find("token").is_displayed() and page.find("message").text == "")
    Select(page.find("machine")).select_by_visible_text("fan")
    assert page.find("machine-facts").text.startswith("threshold ")
    browser.get_log("browser")  # the refusals before the token are meant
    return page


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav"))


def test_it_shows_what_the_service_says(page: Page, clips: list[Path]) -> None:
    anomalous, normal = clips[0], next(path for path in clips if "normal" in path.name)
    assert "anomaly" in anomalous.name
    for path in (normal, anomalous):
        expected = page.answer(path)
        found = expected["explanation"]
        page.send(path)
        assert page.find("verdict").get_attribute("textContent") == expected["decision"]
        row = page.rows()[0]
        assert row[1:3] == [path.name, "fan"]
        assert float(row[3]) == pytest.approx(expected["score"], rel=0.01)
        assert float(row[4]) == pytest.approx(expected["threshold"], rel=0.01)
        assert row[5] == expected["decision"]
        assert f"{expected['percentile']:.3g} % of the normal clips" in page.find("summary").text
        assert f"from {found['band_hz'][0]:.0f} to {found['band_hz'][1]:.0f} Hz" in page.find("why").text
        nearest = page.find("nearest").text
        assert all(one["name"] in nearest and one["attributes"] in nearest for one in found["nearest"])
        assert page.colours("spectrogram") > 50
        assert page.colours("spectrogram", 40) > 10, "its axis has no text"
        for canvas in ("distribution", "bands", "spans", "trend"):
            assert page.colours(canvas) > 2, f"{canvas} is blank"
            assert page.find(canvas).get_attribute("aria-label")
    page.until(lambda: 0.9 < (page.run("return document.getElementById('player').duration") or 0) < 1.1)


def test_the_explanation_can_be_taken_off(page: Page, clips: list[Path]) -> None:
    page.send(next(path for path in clips if max(page.answer(path)["explanation"]["by_band"]) > 0))
    shown = page.pixels("spectrogram")
    page.find("overlay").click()
    assert page.pixels("spectrogram") != shown
    page.find("overlay").click()
    assert page.pixels("spectrogram") == shown


def test_a_cursor_follows_the_player(page: Page, clips: list[Path]) -> None:
    page.send(clips[0])
    page.until(lambda: page.run("return document.getElementById('player').readyState") >= 1)
    before = page.pixels("cursor")
    page.run("document.getElementById('player').currentTime = 0.5")
    page.until(lambda: page.pixels("cursor") != before)
    at_half = page.pixels("cursor")
    page.find("cursor").click()  # in the middle
    page.until(lambda: page.pixels("cursor") != at_half)
    assert page.run("return document.getElementById('player').currentTime") == pytest.approx(0.47, abs=0.06)


def test_a_long_recording_is_shown_window_by_window(page: Page, clips: list[Path], tmp_path: Path) -> None:
    samples = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in clips[:4]])
    soundfile.write(tmp_path / "long.wav", samples, 16000)
    assert not page.find("windows").is_displayed()
    page.send(tmp_path / "long.wav")
    assert page.find("windows").get_attribute("aria-label").startswith("Scores of 4 windows")
    assert page.colours("windows") > 2
    assert "The most anomalous of 4 windows" in page.find("part").text
    page.driver.find_elements(By.CSS_SELECTOR, "#history tr button")[1].click()
    page.until(lambda: not page.find("windows").is_displayed())
    assert page.rows()[1][1] in page.find("summary").text, "an earlier one is shown again"


def test_several_files_are_scored_in_order(page: Page, clips: list[Path]) -> None:
    page.send(*clips[:3])
    assert [row[1] for row in page.rows()[:3]] == [path.name for path in reversed(clips[:3])]


def test_it_records(page: Page) -> None:
    before = len(page.rows())
    page.find("record").click()
    page.until(lambda: page.find("record").text == "Stop and score")
    page.until(lambda: page.run("return recording.seconds() > 1"))
    assert page.find("microphone").text.startswith("recording, ")
    page.find("record").click()
    page.until(lambda: len(page.rows()) > before)
    assert page.rows()[0][1].startswith("recorded ")
    assert page.find("record").text == "Record"
    page.until(lambda: (page.run("return document.getElementById('player').duration") or 0) > 1)


def test_errors_are_the_line_of_the_service(page: Page, tmp_path: Path) -> None:
    page.driver.get_log("browser")
    before = page.rows()
    (tmp_path / "notes.txt").write_text("no recording")
    page.find("file").send_keys(str(tmp_path / "notes.txt"))
    page.until(lambda: page.find("message").text.startswith("notes.txt: cannot be read as audio"))
    (entry,) = page.driver.get_log("browser")
    assert "422" in entry["message"], "the refusal alone"
    (tmp_path / "large.wav").write_bytes(bytes(1_100_000))
    page.find("file").send_keys(str(tmp_path / "large.wav"))
    page.until(lambda: "larger than 1 MB" in page.find("message").text)
    assert page.driver.get_log("browser") == [], "it was not even sent"
    assert page.rows() == before


def test_nothing_comes_from_elsewhere_and_nothing_fails(page: Page, clips: list[Path]) -> None:
    page.driver.get_log("browser")
    page.send(clips[0])
    assert page.driver.get_log("browser") == []
    messages = [json.loads(one["message"])["message"] for one in page.driver.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert any("/score?" in url for url in asked)
    # The icons of the browser's own player are data: URLs.
    assert {url for url in asked if not url.startswith((page.address, f"blob:{page.address}", "data:"))} == set()


def test_without_a_microphone_it_says_so(page: Page, browser: Any) -> None:
    script = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    browser.refresh()
    page.until(lambda: not page.find("record").is_enabled())
    assert "needs a microphone" in page.find("microphone").text
    page.until(lambda: len(page.find("machine").find_elements(By.TAG_NAME, "option")) == 2), "the token is kept"
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
