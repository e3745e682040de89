"""What recordings of a machine have in common, what is said of one that differs, and what is kept of it as text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.data.audio.recorded import Recorded
from asd.data.audio.usual_recording import MOST, UsualRecording, remark, shared_band, usual_recording
from asd.data.clip import Sound
from asd.errors import UserError

WIDE = Recorded(44100, 22050.0, 1, "wav", False, -30.0, -40.0)
NARROW = replace(WIDE, sample_rate=16000, bandwidth=8000.0)


def usual(*recordings: Recorded) -> UsualRecording:
    found = UsualRecording.of(recordings)
    assert found is not None
    return found


LEARNED = usual(WIDE, replace(WIDE, level=-20.0, floor=-35.0))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (NARROW, "8 kHz of bandwidth where 22 kHz was learned (sampled at 16 kHz, not 44.1)"),
        (replace(WIDE, bandwidth=7750.0), "7.8 kHz of bandwidth where 22 kHz was learned"),
        (replace(WIDE, codec="mp3", lossy=True), "mp3, a lossy codec, where wav was learned"),
        (replace(WIDE, channels=2), "2 channels where 1 was learned"),
        (replace(WIDE, level=-50.0), "a level of -50 dBFS where -30 to -20 was learned"),
        (replace(WIDE, level=-5.0), "a level of -5 dBFS where -30 to -20 was learned"),
        (replace(WIDE, floor=-70.0), "a noise floor of -70 dBFS where -40 to -35 was learned"),
        (replace(WIDE, level=-60.0, floor=-80.0), "a level of -60 dBFS where -30 to -20 was learned"),
    ],
)
def test_a_difference_is_said_in_a_line(other: Recorded, told: str) -> None:
    assert LEARNED.otherwise(other, 16000) == [told]
    assert remark([told, "more"]) == f"recorded otherwise: {told}; more"
    assert remark([]) == ""


@pytest.mark.parametrize(
    "other",
    [
        WIDE,
        replace(WIDE, level=-41.0, floor=-51.0),
        replace(WIDE, codec="flac"),
        replace(WIDE, sample_rate=48000, bandwidth=24000.0),
        replace(WIDE, bandwidth=11025.0),  # all that 16 kHz have room for
        replace(WIDE, codec="", channels=2),  # of a stream nobody knows
    ],
)
def test_what_makes_no_difference_to_the_detector_is_not_said(other: Recorded) -> None:
    assert LEARNED.otherwise(other, 16000) == []


def test_what_is_above_a_limit_of_the_band_makes_no_difference() -> None:
    assert LEARNED.otherwise(NARROW, 16000, band=7200.0) == []
    assert LEARNED.otherwise(replace(NARROW, bandwidth=4000.0), 16000, band=7200.0) == [
        "4 kHz of bandwidth where 22 kHz was learned (sampled at 16 kHz, not 44.1)"
    ]
    assert LEARNED.otherwise(replace(WIDE, bandwidth=16000.0), 48000)


def test_more_than_was_learned_is_a_difference_where_it_is_heard() -> None:
    narrow = usual(NARROW)
    assert narrow.otherwise(WIDE, 32000) == ["22 kHz of bandwidth where 8 kHz was learned"]
    assert narrow.otherwise(WIDE, 16000) == []
    assert narrow.otherwise(WIDE, 32000, band=7200.0) == []
    assert usual(replace(WIDE, codec="mp3", lossy=True)).otherwise(replace(WIDE, codec="opus", lossy=True), 16000) == []
    assert usual(replace(WIDE, channels=2)).otherwise(WIDE, 16000) == ["1 channel where 2 were learned"]


# -- of files


def test_of_many_recordings_some_are_measured_and_one_of_each_kind(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    sounds = [Sound(tmp_path / f"{number:03}.wav") for number in range(3 * MOST)]
    for sound in sounds:
        soundfile.write(sound.path, noise, 16000)
    odd = [7, 100]  # between those that are spread evenly
    soundfile.write(sounds[odd[0]].path, noise, 8000)
    sounds[odd[1]] = Sound(tmp_path / "compressed.ogg")
    soundfile.write(sounds[odd[1]].path, noise, 16000)
    found = usual_recording(sounds, kind=lambda sound: soundfile.info(sound.path).samplerate)
    assert found is not None
    assert MOST <= found.recordings <= MOST + 2
    assert found.sample_rate == (8000, 16000)
    assert found.bandwidth == (4000, 8000)
    assert (found.codecs, found.lossy) == (("vorbis", "wav"), True)
    assert usual_recording([]) is None


@pytest.mark.parametrize(
    ("recordings", "sample_rate", "band"),
    [
        ([WIDE, NARROW], 16000, 8000.0),
        ([WIDE, NARROW], 32000, 8000.0),
        ([WIDE, WIDE], 16000, None),
        ([NARROW, NARROW], 16000, None),
        ([NARROW, replace(NARROW, bandwidth=7000.0)], 16000, None),
        ([WIDE, replace(WIDE, bandwidth=16000.0)], 16000, None),
        ([WIDE, replace(WIDE, bandwidth=16000.0)], 32000, 16000.0),
    ],
)
def test_the_band_that_all_share_limits_where_some_have_less_than_is_heard(
    recordings: list[Recorded], sample_rate: int, band: float | None
) -> None:
    assert shared_band([usual(*recordings)], sample_rate) == band
    assert shared_band([usual(one) for one in recordings], sample_rate) == band
    assert shared_band([], sample_rate) is None


# -- as text


def test_what_is_kept_is_what_was_learned() -> None:
    assert UsualRecording.from_json(LEARNED.to_json()) == LEARNED


@pytest.mark.parametrize(
    "changed",
    [
        {"bandwidth": [1, 2, 3]},
        {"bandwidth": [2, 1]},
        {"bandwidth": None},
        {"sample_rate": [-5, 5]},
        {"level": ["low", "high"]},
        {"level": [-30, 1e9]},
        {"channels": [0]},
        {"channels": "many"},
        {"channels": 1},
        {"codecs": ["\x1b[31mred"]},
        {"codecs": [["wav"]]},
        {"codecs": ["w" * 1000]},
        {"recordings": True},
        {"recordings": "3"},
    ],
)
def test_what_a_file_says_is_not_trusted(changed: dict[str, Any]) -> None:
    said = {**json.loads(LEARNED.to_json()), **changed}
    for text in (json.dumps(said), json.dumps({key: said[key] for key in said if key not in changed})):
        with pytest.raises(UserError, match="how its recordings were made is broken; give one that `asd fit` wrote"):
            UsualRecording.from_json(text)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"7", b"{", b"[" * 10**6, b'{"level": [NaN, NaN]}'])
def test_nor_is_what_is_no_description(text: bytes) -> None:
    with pytest.raises(UserError, match="is broken"):
        UsualRecording.from_json(text)
