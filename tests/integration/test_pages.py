"""Report, check page and service page on a desk and on a phone: all of it is seen, and by everyone."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd import report
from asd.cli import main
from asd.comparison import Compared, Comparison, write_page
from asd.comparison.embedding import Facts
from asd.comparison.scoring import Row
from tests.integration.browser import SCHEMES, WIDTHS, axe_script, chromium, cut_off, show_at, violations
from tests.quick import QUIET

RATE = 16000
MACHINE = "exhaust_fan_of_hall_3"
PAGES = [
    "report",
    "report of own recordings",
    "check",
    "check of own recordings",
    "comparison",
    "service",
    "service, waiting",
    "service, interface",
]
CHALLENGE = ("_section_00", "official", "hidden attributes", "section_")


@pytest.fixture(scope="module")
def own(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own recordings of two machines, one with a long name."""
    root = tmp_path_factory.mktemp("own") / "recordings"
    for machine, name in (("fan", MACHINE), ("bearing", "pump")):
        raw = synthetic / "dev_data/raw" / machine
        for split, condition, place in (
            ("train", "normal", "normal"), ("test", "normal", "test/normal"), ("test", "anomaly", "test/anomaly"),
        ):  # fmt: skip
            (root / name / place).mkdir(parents=True)
            for number, path in enumerate(sorted((raw / split).glob(f"*_{condition}_*"))):
                shutil.copy(path, root / name / place / f"monday {number:02}.wav")
    return root


@pytest.fixture(scope="module")
def run(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on them, of the configuration for a plant."""
    folder = tmp_path_factory.mktemp("run")
    arguments = [
        "fit", "--config", "my_machine", "--data.root", own, "--data.seconds=1", "--model.encoder.seconds=1",
        "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", *QUIET,
        "--trainer.precision=32",
    ]  # fmt: skip
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(list(map(str, arguments))) == 0
    return folder / said.getvalue().strip().splitlines()[-1]


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "asd", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    assert process.wait(60) == 0


@pytest.fixture(scope="module")
def reports(trained: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {"report": trained, "report of own recordings": run}
    return {
        name: report.write(one, folder / f"{name}.html", report.Options(clips=1)).path for name, one in made.items()
    }


@pytest.fixture(scope="module")
def checks(synthetic: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a data set with a file to mend, and of own recordings."""
    folder = tmp_path_factory.mktemp("checks")
    bad = folder / "a data set/dev_data/raw/fan"
    shutil.copytree(synthetic / "dev_data/raw/fan", bad)
    soundfile.write(next((bad / "train").glob("*.wav")), np.zeros(RATE), RATE)
    found = {"check": folder / "a data set", "check of own recordings": own}
    for name, root in found.items():
        with contextlib.redirect_stdout(io.StringIO()):
            main(["data", "check", str(root), "--html", str(folder / f"{name}.html")])
    return {name: folder / f"{name}.html" for name in found}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of encoders with many arguments, on a GPU, one of which failed."""
    name = "MobileNet:weights=mn04_as_mAP_432.pt,width=0.4,blocks=11,rows=kept"
    weights = "BEATs:weights=BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt,layers=12,gradient_checkpointing=true"
    back_ends = ["KMeansScorer", "NeighboursScorer", "LocalDensity(NeighboursScorer, mode=varmin, k=4)"]
    found = []
    for one, random in ((name, []), (weights, []), ("DualBranchCNN:seconds=10,width=16", ["DualBranchCNN"])):
        facts = Facts(["tokens", "bands@-12"], ["bands@-13"], random, 90_000_000, 9900, 123.4, 2**31, 2**32, "a GPU", 2)
        rows = [
            Row(what, back_end, 0.61, ["60.00"] * 3, {"shuffled": 0.9})
            for what in facts.vectors
            for back_end in back_ends
        ]
        found.append(Compared(one, facts, rows))
    found.append(Compared("AST:weights=gone.pt", failed="encoder AST: weights gone.pt: no such file"))
    facts_of_it = [("encoder 1", f"{name}, in runs/compare/MobileNet-0123456789ab"), ("precision", "32-true")]
    place = tmp_path_factory.mktemp("comparison") / "comparison.html"
    return {"comparison": write_page(place, Comparison(found, back_ends), "comparing four encoders", facts_of_it)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, browser: Any, own: Path) -> Any:
    """The browser with a page, as people come to see it."""
    name = request.param
    if not name.startswith("service"):
        files = request.getfixturevalue({"report": "reports", "check": "checks"}.get(name.split()[0], name))
        browser.get(files[name].as_uri())
        browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
        browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        return browser
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(request.getfixturevalue("service"))
    wait = WebDriverWait(browser, 60)
    if name.endswith("interface"):
        browser.find_element("link text", "The interface, for programs").click()
        wait.until(lambda _: "/v1/score" in browser.find_element("tag name", "body").text)
        return browser
    wait.until(lambda _: browser.execute_script("return typeof known == 'undefined' ? 0 : known.machines.length") == 2)
    paths = sorted((own / MACHINE / "test/anomaly").iterdir())[:2]
    browser.find_element("id", "file").send_keys("\n".join(map(str, paths)))
    wait.until(lambda _: browser.execute_script("return past.length") == 2)
    if name.endswith("waiting"):
        browser.execute_script("outdate(true)")
    return browser


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off(page: Any, width: int) -> None:
    show_at(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert cut_off(page) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_barrier_is_found(page: Any, width: int, scheme: str) -> None:
    script = axe_script()
    show_at(page, width, scheme)
    assert violations(page, script) == []


def test_every_cell_of_a_card_says_what_it_is(page: Any) -> None:
    show_at(page, 390)
    cells = page.execute_script(
        "return [...document.querySelectorAll('td')].map((one) =>"
        " [one.textContent, getComputedStyle(one, '::before').content])"
    )
    assert cells
    assert all(label not in ("none", '""', "normal") for text, label in cells if text)


def test_a_plant_reads_no_word_of_the_challenge(
    browser: Any, reports: dict[str, Path], checks: dict[str, Path], service: str, own: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    for path in (reports["report of own recordings"], checks["check of own recordings"]):
        browser.get(path.as_uri())
        text = browser.execute_script("return document.body.innerText + document.title")
        assert MACHINE in text
        assert "monday" in text or "check" in path.name
        assert [word for word in CHALLENGE if word in text.lower()] == []
    browser.get(service)
    wait = WebDriverWait(browser, 60)
    wait.until(lambda _: browser.execute_script("return typeof known == 'undefined' ? 0 : known.machines.length") == 2)
    browser.find_element("id", "file").send_keys(str(min((own / MACHINE / "test/anomaly").iterdir())))
    wait.until(lambda _: browser.execute_script("return past.length") == 1)
    labels = "[...document.querySelectorAll('[aria-label]')].map((one) => one.ariaLabel).join()"
    text = browser.execute_script(f"return document.body.innerText + {labels}")
    assert MACHINE in text
    assert [word for word in CHALLENGE if word in text.lower()] == []
    browser.get(reports["report"].as_uri())
    text = browser.execute_script("return document.body.innerText")
    assert "official score" in text, "in the challenge its words stay"
    assert "Calling every clip anomalous gives" in text


def test_what_looks_at_the_pages_has_eyes(browser: Any) -> None:
    """A page with faults of each kind is not passed."""
    show_at(browser, 320)
    browser.get("data:text/html,<p style='width:400px;color:%23ccc'>wide and pale</p><img src='data:,'>")
    assert [one[:2] for one in cut_off(browser)] == ["<p"]
    found = {one.partition(":")[0] for one in violations(browser, axe_script())}
    assert {"color-contrast", "image-alt", "html-has-lang"} <= found


def test_the_console_calls_machines_as_people_do(
    run: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(min((own / MACHINE / "test/normal").iterdir()))
    score = ["score", clip, "--checkpoint", str(run)]
    assert main([*score, "--machine", MACHINE]) in (0, 1)
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:2] == [clip, MACHINE]
    assert main([*score, "--machine", MACHINE, "--json"]) in (0, 1)
    assert f'"machine": "{MACHINE}_section_00"' in capsys.readouterr().out, "programs read the full name"
    assert main(score) == 2
    assert f"name the machine, one of {MACHINE}, pump" in capsys.readouterr().err
    out = str(tmp_path / "new.ckpt")
    assert main(["enroll", str(run), str(own / "pump/normal"), "--machine", "press", "--out", out]) == 0
    assert capsys.readouterr().out.startswith("press: ")
