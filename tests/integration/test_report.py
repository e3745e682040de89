"""A report is one file that tells all of a run, and opens anywhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from asd import report
from asd.evaluation.calibration import read
from asd.evaluation.clip_scores import ClipScore, measure, read_scores
from asd.evaluation.tables import percent
from asd.evaluation.verdicts import together, verdicts_of
from asd.report import clips
from tests.integration.browser import chromium


class Found(HTMLParser):
    """What a page loads, links, says and holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attributes)
        self.names.add(str(given.get("id")))
        if "src" in given:
            self.loaded.append(str(given["src"]))
        if "href" in given:
            (self.links if tag == "a" else self.loaded).append(str(given["href"]))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "one.html"
    made = report.write(trained, out, report.Options(clips=2))
    assert made.notes == ()
    assert made.megabytes < 20
    return out


@pytest.fixture(scope="module")
def page(written: Path) -> Found:
    return Found(written.read_text())


def test_it_needs_nothing_but_itself(page: Found) -> None:
    assert page.loaded
    assert all(one.startswith("data:") for one in page.loaded)
    assert page.links
    assert all(one.startswith("#") and one[1:] in page.names for one in page.links)
    assert "script" not in page.tags


def test_it_tells_the_results_of_the_run(page: Found, trained: Path) -> None:
    official = json.loads((trained / "results.json").read_text())["official_score"]
    assert re.search(rf"{percent(official)}\s*official score, in percent; 95\s% interval", page.text)
    for machine, one in measure(read_scores(trained / "scores")).items():
        assert machine in page.text
        for part in one.parts.values():
            assert f"{percent(part)} (" in page.text
    known = read(trained)
    assert known is not None
    for one in known.machines.values():
        assert f"{one.threshold:.4g}" in page.text
    assert "DualBranchCNN with SubclusterAdaCos" in page.text
    assert "class_path: asd_plugins.dual_branch.DualBranchCNN" in page.text
    assert torch.__version__.partition("+")[0] in page.text


def test_verdicts_come_first_with_their_intervals(page: Found, trained: Path) -> None:
    results, known = measure(read_scores(trained / "scores")), read(trained)
    text = page.text.replace("\u00a0", " ")
    assert known is not None
    found = verdicts_of(results, known)
    assert found
    for one in found:
        for rate in (one.promised, one.false_alarms, one.misses):
            assert rate.text() in text
    for domain in ("source", "target"):
        some = [one for one in found if one.domain == domain]
        rate, promised = (together(some, part) for part in (lambda one: one.false_alarms, lambda one: one.promised))
        said = (
            rf"{100 * rate.value:.1f}\s+false alarms, {domain} domain, in percent of the normal clips; 95 % interval "
            rf"{100 * rate.interval[0]:.1f} to {100 * rate.interval[1]:.1f}, of {rate.clips:.0f} clips; "
            rf"promised: {100 * promised.value:.1f}, interval"
        )
        assert re.search(said, text), said
    places = [text.index(word) for word in ("false alarms, source domain", "misses, in percent", "official score")]
    assert places == sorted(places), "what it decides, then how it ranks"
    headings = [text.rindex(word) for word in ("false alarms a day", "AUC source", "official F1")]
    assert headings == sorted(headings)
    assert "Calling every clip anomalous gives 66.67." in text


def test_the_model_card_has_what_the_page_has(trained: Path, here, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert here("report", "run", "--card").stdout.strip() == "run/model_card.md"
    card = (run / "model_card.md").read_text()
    official = json.loads((run / "results.json").read_text())["official_score"]
    assert re.search(rf"\*\*{percent(official)}\*\* official score, in percent; 95 % interval", card)
    known = read(run)
    assert known is not None
    for one in verdicts_of(measure(read_scores(run / "scores")), known):
        for rate in (one.promised, one.false_alarms, one.misses):
            assert rate.text() in card
    assert "weights that it began with: none: random" in card
    seconds = json.loads((run / "environment.json").read_text())["trained_seconds"]
    assert f"training: {seconds:,.0f} s on " in card
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("weights", "told"), [("mn04_as", "mn04_as (MIT)"), ("own.pt", "own.pt (licence of its own, not known here)")]
)
def test_the_model_card_tells_weights_and_what_is_missing(weights: str, told: str, here, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/last.ckpt").write_bytes(b"")
    encoder = {"class_path": "LoRA", "init_args": {"encoder": {"init_args": {"weights": weights}}}}
    (run / "config.yaml").write_text(json.dumps({"model": {"encoder": encoder}}))
    here("report", "run", "--card", "--out", "card.md")
    card = (tmp_path / "card.md").read_text()
    assert f"weights that it began with: {told}\n" in card
    assert "training: not known" in card
    assert "score: not measured: no test clip has a known label" in card
    assert "was never tested" in card


def test_a_model_card_needs_a_run_and_a_place(trained: Path, here, tmp_path: Path) -> None:
    assert "no folder nowhere" in here("report", "nowhere", "--card", expect=2).stderr
    (tmp_path / "file").write_text("")
    refused = here("report", trained, "--card", "--out", tmp_path / "file/card.md", expect=2).stderr
    assert "cannot write" in refused and len(refused.splitlines()) == 1


def test_the_worst_clips_can_be_heard(page: Found, trained: Path) -> None:
    rows = read_scores(trained / "scores")
    for machine in ("fan", "bearing"):
        own = sorted((row for row in rows if row.machine == machine), key=lambda row: row.score)
        worst = [row.name for row in own if row.condition == "anomaly"][:2]
        worst += [row.name for row in reversed(own) if row.condition == "normal"][:2]
        assert all(name in page.text for name in worst)
    assert page.tags.count("audio") == 8
    assert sum(one.startswith("data:audio/ogg") for one in page.loaded) == 8
    assert "Nearest normal clip: section_00" in page.text


def test_without_the_data_the_rest_is_told(trained: Path, here, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    done = here("report", "run", "--data", tmp_path / "gone", "--clips", 1)
    assert "Say where the data lies with --data" in done.stderr
    found = Found((tmp_path / "run/report.html").read_text())
    assert "audio" not in found.tags
    assert "Clips come without sound" in found.text
    assert "Normal clips that scored highest" in found.text
    assert "audio" not in Found(_written(here, tmp_path, "--no-audio")).tags


def _written(here, folder: Path, *options: object) -> str:
    here("report", "run", *options)
    return (folder / "run/report.html").read_text()


def test_what_is_missing_is_left_out_and_said(trained: Path, here, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    for name in ("pictures", "checkpoints"):
        shutil.rmtree(tmp_path / "run" / name)
    for name in ("config.yaml", "metrics.csv", "environment.json", "calibration.json"):
        (tmp_path / "run" / name).unlink()
    found = Found(_written(here, tmp_path))
    for said in ("keeps no checkpoint", "keeps no embeddings", "keeps no metrics.csv", "is not kept"):
        assert said in found.text
    assert "official score" in found.text


def test_a_run_that_was_never_tested(trained: Path, here, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/scores")
    done = here("report", "run")
    assert "was never tested: run `asd test --ckpt_path" in done.stderr
    assert "Training loss" in (tmp_path / "run/report.html").read_text()


def test_unlabelled_clips_are_listed_and_nothing_is_measured(trained: Path, here, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    for path in (tmp_path / "run/scores").glob("*.csv"):
        lines = path.read_text().splitlines()
        plain = [f"section_00_{number:04d}.wav,{line.split(',')[1]}" for number, line in enumerate(lines)]
        path.write_text("\n".join(plain) + "\n")
    found = Found(_written(here, tmp_path))
    assert "nothing is measured" in found.text
    assert "Clips that scored highest" in found.text


def test_names_are_escaped(trained: Path, here, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    for path in (tmp_path / "run/scores").glob("*fan*.csv"):
        name = "section_00_source_test_normal_0009_<script>alert(1)<b>.wav"
        path.write_text(path.read_text() + (f"{name},9\n" if "anomaly_score" in path.name else f"{name},1\n"))
    text = _written(here, tmp_path, "--no-audio")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_full_page_leaves_out_sound(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report.write(trained, tmp_path / "whole.html", report.Options(clips=1))
    monkeypatch.setattr("asd.report.assemble.LARGEST", int(1e6 * whole.megabytes) - 100_000)
    small = report.write(trained, tmp_path / "small.html", report.Options(clips=1))
    assert 1e6 * small.megabytes <= 1e6 * whole.megabytes - 100_000
    text = (tmp_path / "small.html").read_text()
    assert 0 < text.count("<audio") < 4
    assert text.count('class="clip"') == 4, "every clip is named"
    assert "come without sound" in text


def test_the_worst_of_all_machines_come_first() -> None:
    rows = [
        ClipScore(f"{machine}{number}.wav", machine, "00", float(number), 1, "source", condition)
        for machine in ("a", "b")
        for number, condition in enumerate(["anomaly", "anomaly", "normal", "normal"])
    ]
    found = clips.choose(rows, None, 1)
    assert [(one.kind, one.row.name) for one in found] == [
        ("miss", "a0.wav"), ("false alarm", "a3.wav"), ("miss", "b0.wav"), ("false alarm", "b3.wav"),
    ]  # fmt: skip
    assert [one.rank for one in clips.choose(rows, None, 2)] == [0] * 4 + [1] * 4


def test_what_a_report_refuses(trained: Path, here, tmp_path: Path) -> None:
    assert "no folder none" in here("report", "none", expect=2).stderr
    (tmp_path / "empty").mkdir()
    assert "neither scores nor a checkpoint" in here("report", "empty", expect=2).stderr
    assert "give 0 or more" in here("report", trained, "--clips", -1, expect=2).stderr
    shutil.copytree(trained, tmp_path / "run")
    for name, content in (
        ("metrics.csv", "epoch,step,train/loss\n0,1,high\n"), ("environment.json", "{"), ("calibration.json", "{"),
        ("config.yaml", "a: [1"),
    ):  # fmt: skip
        kept = (tmp_path / "run" / name).read_text()
        (tmp_path / "run" / name).write_text(content)
        assert name in here("report", "run", "--no-audio", expect=2).stderr
        (tmp_path / "run" / name).write_text(kept)
    (tmp_path / "file").touch()
    assert "cannot write" in here("report", "run", "--no-audio", "--out", "file/one.html", expect=2).stderr
    assert not list((tmp_path / "run").glob(".*.part"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def test_a_browser_shows_and_plays_all_of_it(browser: Any, written: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(written.as_uri())
    browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    for kind, ready in (("img", "one.naturalWidth > 0"), ("audio", "one.duration > 0.9")):
        every = f"const all = [...document.querySelectorAll('{kind}')];"
        every += f"return all.length > 4 && all.every((one) => {ready})"
        WebDriverWait(browser, 60).until(lambda _, script=every: browser.execute_script(script))
    assert browser.get_log("browser") == []
