"""A recording that was made otherwise than the normal sound is said to be, wherever recordings are judged."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from asd.data.audio.usual_recording import UsualRecording
from asd.errors import UserError
from asd.inference import Detector, enroll
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import running

RATE = 16000
TOLD = "recorded otherwise: 4 kHz of bandwidth where 8 kHz was learned (sampled at 8 kHz, not 16)"


@pytest.fixture
def clip(synthetic: Path) -> Path:
    return min((synthetic / "dev_data/raw/fan/test").iterdir())


@pytest.fixture
def narrow(clip: Path, tmp_path: Path) -> Path:
    """The same clip from a recorder of half the rate."""
    path = tmp_path / "live/narrow.wav"
    path.parent.mkdir()
    samples, rate = soundfile.read(clip, dtype="float32")
    soundfile.write(path, soxr.resample(samples, rate, 8000), 8000)
    return path


def options(trained: Path, *more: str) -> list[object]:
    return ["--checkpoint", trained, "--machine", "fan", *more]


def changed(trained: Path, out: Path, recorded: bytes | None) -> Path:
    """The checkpoint with another account of its recordings, or as before there was one."""
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    keys = [key for key in content["state_dict"] if key.endswith(".recorded")]
    assert len(keys) == 2, "one for each machine"
    for key in keys:
        if recorded is None:
            del content["state_dict"][key]
        else:
            content["state_dict"][key] = torch.tensor(list(recorded), dtype=torch.uint8)
    torch.save(content, out)
    return out


def test_the_checkpoint_keeps_how_each_machine_was_recorded(trained: Path) -> None:
    detector = Detector.load(trained)
    for number in range(2):
        text = bytes(detector.model.sections.normal_clips(number).recorded.tolist())
        usual = UsualRecording.from_json(text)
        assert (usual.recordings, usual.sample_rate, usual.channels, usual.codecs) == (15, (RATE, RATE), (1,), ("wav",))
        assert usual.bandwidth == (RATE / 2, RATE / 2)
        assert -60 < usual.floor[0] < usual.level[1] < 0


def test_score_says_it_in_each_form(trained: Path, here: Any, clip: Path, narrow: Path) -> None:
    done = here("score", clip, narrow, *options(trained), expect=code_of(trained, clip, narrow))
    assert done.stderr == f"asd: warning: {narrow}: {TOLD}\n"
    rows = list(csv.DictReader(io.StringIO(out_of(here, trained, "--csv", clip, narrow))))
    assert [row["remarks"] for row in rows] == ["", TOLD]
    lines = out_of(here, trained, "--json", clip, narrow).splitlines()
    assert [json.loads(line)["remarks"] for line in lines] == [[], [TOLD]]


def code_of(trained: Path, *paths: Path) -> int:
    detector = Detector.load(trained)
    return int(any(detector.score(path, machine="fan").anomalous for path in paths))


def out_of(here: Any, trained: Path, form: str, *paths: Path) -> str:
    done = here("score", *paths, *options(trained, form), expect=code_of(trained, *paths))
    assert done.stderr == "", "remarks are in the lines"
    return str(done.stdout)


def test_by_choice_it_is_refused_or_not_said(trained: Path, here: Any, clip: Path, narrow: Path) -> None:
    done = here("score", narrow, clip, *options(trained, "--csv", "--recorded-otherwise", "refuse"), expect=2)
    assert done.stderr == (
        f"asd: error: {narrow}: {TOLD}; record it as the normal sound was, or let it be scored with a remark "
        "(--recorded-otherwise remark)\n"
    )
    assert len(done.stdout.splitlines()) == 2, "the others are scored"
    ignored = Detector.load(trained, recorded_otherwise="ignore")
    assert ignored.score(narrow, machine="fan").remarks == ()
    with pytest.raises(UserError, match="recorded_otherwise is 'no'; choose one of remark, refuse, ignore"):
        Detector.load(trained, recorded_otherwise="no")  # type: ignore[arg-type]


def test_samples_are_judged_by_what_they_hold(trained: Path, narrow: Path, clip: Path) -> None:
    detector = Detector.load(trained)
    samples, rate = soundfile.read(narrow, dtype="float32")
    assert detector.score(samples, rate, "fan").remarks == (TOLD,)
    samples, rate = soundfile.read(clip, dtype="float32")
    assert detector.score(samples, rate, "fan").remarks == ()
    (told,) = detector.score(samples / 1000, rate, "fan").remarks
    assert told.startswith("recorded otherwise: a level of -8")


def test_watch_says_it_of_each_file(trained: Path, here: Any, narrow: Path, clip: Path) -> None:
    (narrow.parent / "same.wav").write_bytes(clip.read_bytes())
    code = code_of(trained, narrow, clip)
    done = here("watch", narrow.parent, *options(trained, "--once"), expect=code)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["file"], one["remark"]) for one in messages if one["type"] == "remark"] == [("narrow.wav", TOLD)]
    assert f"fan narrow.wav: {TOLD}" in done.stderr
    done = here(
        "watch", narrow.parent, *options(trained, "--once", "--quiet", "--recorded-otherwise", "refuse"),
        expect=code_of(trained, clip),
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["file"] for one in messages if one["type"] == "file"] == ["same.wav"]
    (unusable,) = [one for one in messages if one["type"] == "unusable"]
    assert unusable["file"] == "narrow.wav"
    assert TOLD in unusable["reason"]


def test_watch_says_it_of_a_stream_once(trained: Path, here: Any, narrow: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(narrow, dtype="float32")
    path = tmp_path / "day.wav"
    soundfile.write(path, np.tile(samples, 5), rate)
    arguments = ["watch", path, *options(trained, "--speed", "0", "--event", "4/4", "--quiet")]
    done = here(*arguments, "--scores", expect=code_of_stream(trained, path))
    types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert types[0] == "remark"
    assert types.count("remark") == 1
    assert types.count("score") == 9
    done = here(*arguments, "--scores", "--recorded-otherwise", "refuse", expect=2)
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["unusable", "summary"]
    assert f"asd: error: {path}: {TOLD}" in done.stderr


def code_of_stream(trained: Path, path: Path) -> int:
    detector = Detector.load(trained, hop=0.5)
    scores = [one.score for one in detector.score(path, machine="fan").windows]
    smoothed = [sorted(scores[max(0, at - 2) : at + 1])[len(scores[max(0, at - 2) : at + 1]) // 2] for at in range(9)]
    above = [one > detector.model.sections.limits(detector.section_index("fan")).alarm for one in smoothed]
    return int(any(all(above[at : at + 4]) for at in range(len(above) - 3)))


def test_serve_says_it_and_refuses_it(trained: Path, narrow: Path, clip: Path) -> None:
    for choice in ("remark", "refuse"):
        service = Service(lambda choice=choice: Detector.load(trained, recorded_otherwise=choice), Limits())
        with running(service) as client:
            status, found, _ = client.ask("/score?machine=fan&name=a.wav", narrow.read_bytes())
            if choice == "remark":
                assert (status, found["remarks"]) == (200, [TOLD])
            else:
                assert status == 422
                assert found["error"].startswith(f"a.wav: {TOLD}; ")
            status, found, _ = client.ask("/score?machine=fan&name=b.wav", clip.read_bytes())
            assert (status, found["remarks"]) == (200, [])


def test_an_enrolled_machine_has_recordings_of_its_own(trained: Path, narrow: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "pump").mkdir()
    samples, rate = soundfile.read(narrow, dtype="float32")
    for number in range(3):
        soundfile.write(tmp_path / f"pump/{number}.flac", np.roll(samples, 100 * number), rate)
    grown = Detector.load(enroll(trained, "pump", tmp_path / "pump", tmp_path / "grown.ckpt").path)
    assert grown.score(narrow, machine="pump").remarks == ()
    assert grown.score(narrow, machine="fan").remarks == (TOLD,)
    assert grown.score(clip, machine="pump").remarks == (
        "recorded otherwise: 8 kHz of bandwidth where 4 kHz was learned",
    )


def test_checkpoints_from_before_remark_nothing_and_broken_ones_are_refused(
    trained: Path, here: Any, narrow: Path, tmp_path: Path
) -> None:
    older = Detector.load(changed(trained, tmp_path / "older.ckpt", None))
    assert older.score(narrow, machine="fan").remarks == ()
    broken = changed(trained, tmp_path / "broken.ckpt", b'{"level": "loud"}')
    done = here("score", narrow, *options(broken), expect=2)
    assert done.stderr == (
        "asd: error: what the checkpoint says of how its recordings were made is broken; give one that `asd fit` "
        "wrote\n"
    )
