"""The page of the service in a real browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from asd.scoring.limits import Limits
from tests.integration.browser import chromium

TOKEN = "open sesame"


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
    arguments = ("window-size=1000,1400", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    with chromium(*arguments, logs=("browser", "performance")) as started:
        yield started


class Page:
    """The page as someone uses it."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def slide(self, step: int) -> None:
        """Choose a step of the sensitivity."""
        script = "const one = document.getElementById('sensitivity');"
        self.run(f"{script} one.value = arguments[0]; one.dispatchEvent(new Event('input'))", step)

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
        return self.ask("score?machine=fan&explain=true", path.read_bytes())

    def ask(self, route: str, content: bytes | None = None) -> dict[str, Any]:
        """What the service answers."""
        request = urllib.request.Request(f"{self.address}/{route}", content, {"Authorization": f"Bearer {TOKEN}"})
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


def test_every_sensitivity_has_its_price_and_decides(page: Page, clips: list[Path]) -> None:
    path = max(clips, key=lambda path: page.answer(path)["score"])
    page.send(path)
    expected = page.answer(path)
    fan = next(one for one in page.ask("machines")["machines"] if one["title"] == "fan")
    steps = fan["sensitivity"]
    trained = next(number for number, one in enumerate(steps) if one["trained"])
    assert page.find("price").text.startswith("As trained: ")
    assert not page.find("trained").is_enabled()
    pictures = []
    for number, one in enumerate(steps):
        page.slide(number)
        limits = Limits(one["threshold"], one["abstain_above"])
        assert page.find("verdict").get_attribute("textContent") == limits.decide(expected["score"])
        assert f"threshold {one['threshold']:.3g}"[:14] in page.find("summary").text
        said = page.find("price").text
        told = [float(word.replace(",", "")) for word in re.findall(r"[\d,.]+(?= false)|(?<=between )[\d,.]+", said)]
        assert told == pytest.approx([one["false_alarms_a_day"], one["at_least"]], rel=0.01, abs=0.5)
        assert page.find("sensitivity").get_attribute("aria-valuetext") == said
        pictures.append(page.pixels("distribution"))
    assert len(set(pictures)) == len(steps), "the line of the threshold moves"
    assert page.find("price").text.startswith("On this page alone: ")
    page.find("trained").click()
    assert page.find("sensitivity").get_attribute("value") == str(trained)
    assert page.find("verdict").get_attribute("textContent") == expected["decision"]
    page.slide(len(steps) - 1)
    Select(page.find("machine")).select_by_visible_text("bearing")
    assert page.find("price").text.startswith("As trained: "), "each machine has its own"
    Select(page.find("machine")).select_by_visible_text("fan")
    assert page.find("price").text.startswith("On this page alone: ")
    page.find("trained").click()


def test_an_earlier_verdict_is_greyed_while_the_next_is_made(page: Page, clips: list[Path], tmp_path: Path) -> None:
    def state() -> list[Any]:
        return list(
            page.run(
                "const r = document.getElementById('result');"
                "return [getComputedStyle(r).filter, r.ariaBusy, document.getElementById('earlier').checkVisibility(),"
                " document.getElementById('verdict').textContent, past.length]"
            )
        )

    page.send(clips[0])
    before = state()
    assert before[:3] == ["none", "false", False]
    # Told before the answer of the service can be.
    page.run(
        "window.states = [];"
        "new MutationObserver(() => window.states.push("
        " [by('result').ariaBusy, by('earlier').checkVisibility(), past.length]"
        ")).observe(by('result'), { attributes: true })"
    )
    page.send(clips[1])
    assert ["true", True, before[4]] in page.run("return window.states")
    assert state()[:3] == ["none", "false", False]
    (tmp_path / "notes.txt").write_text("no recording")
    page.find("file").send_keys(str(tmp_path / "notes.txt"))
    page.until(lambda: "notes.txt" in page.find("message").text)
    filtered, busy, noted, verdict, _ = state()
    assert (filtered, busy, noted) == ("grayscale(1)", "false", True), "nobody takes it for what was sent last"
    assert verdict
    page.driver.find_elements(By.CSS_SELECTOR, "#history tr button")[0].click()
    assert state()[:3] == ["none", "false", False]
    page.driver.get_log("browser")  # the refusal is meant


def test_the_usual_spectrum_is_drawn_beside_the_explained_one(page: Page, clips: list[Path]) -> None:
    page.send(clips[0])
    found = page.answer(clips[0])["explanation"]
    assert len(found["usual_db"]) == len(found["spectrum_db"]) == len(found["level_edges_hz"]) - 1
    excess = np.subtract(found["spectrum_db"], found["usual_db"])
    label = page.find("spectrum").get_attribute("aria-label")
    middle = np.add(found["level_edges_hz"][:-1], found["level_edges_hz"][1:]) / 2
    assert f"most above the usual at {middle[excess.argmax()]:.0f} Hz, by {excess.max():.3g}"[:-2] in label
    both = page.pixels("spectrum")
    page.run("shown.explanation.usual_db = []; redraw()")
    assert page.pixels("spectrum") != both
    page.run("show(last)")
    assert not page.find("usual-key").is_displayed(), "what is not drawn is not explained"
    boxes = [page.find(name).rect for name in ("spectrogram", "spectrum")]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=1)
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


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
