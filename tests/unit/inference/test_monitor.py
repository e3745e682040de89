"""Events begin and end where they should, drift is told apart from them, and nothing grows."""

from __future__ import annotations

import gc
import io
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.errors import UserError
from asd.inference.monitor import Monitor, Rules
from asd.inference.stream import Block, buffered, from_file, from_microphone, from_pipe, new_files
from asd.inference.windower import Windower
from asd.inference.windows import Cut

NORMAL = torch.randn(200, generator=torch.Generator().manual_seed(1))
RULES = Rules(smooth=3, needed=3, among=5)


def monitor(rules: Rules = RULES, threshold: float = 2.0) -> Monitor:
    return Monitor(threshold, NORMAL, 5.0, rules)


def told(one: Monitor, scores: list[float], begin: int = 0) -> list[dict]:
    return [m for n, score in enumerate(scores, begin) for m in one.push(5.0 * n, score)]


# -- events


def test_an_event_has_a_start_an_end_and_a_peak() -> None:
    one = monitor()
    messages = told(one, [0.0] * 10 + [3.0, 4.0, 9.0, 4.0, 3.0, 3.0] + [0.0] * 10)
    assert [m["type"] for m in messages] == ["event_start", "event_end"]
    start, end = messages
    assert start["start"] == 55.0, "the first window whose median is above"
    assert (end["peak"], end["peak_time"]) == (9.0, 60.0)
    assert end["end"] > 75
    assert not end["open"]
    summary = list(one.finish(130.0))[-1]
    assert (summary["windows"], summary["events"]) == (26, 1)


@pytest.mark.parametrize("scores", [[9.0], [9.0, 9.0], [9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 9.0]])
def test_single_windows_are_no_event(scores: list[float]) -> None:
    assert not told(monitor(), [0.0] * 6 + scores + [0.0] * 6)


def test_one_event_is_not_told_twice_when_it_flickers() -> None:
    flicker = [9.0, 9.0, 9.0, 0.0, 9.0, 9.0, 0.0, 0.0, 9.0, 9.0, 9.0] * 3
    messages = told(monitor(), [0.0] * 6 + flicker + [0.0] * 10)
    assert [m["type"] for m in messages] == ["event_start", "event_end"]


def test_an_event_that_goes_on_is_told_at_the_end() -> None:
    one = monitor()
    told(one, [9.0] * 8)
    messages = list(one.finish(40.0))
    assert [m["type"] for m in messages] == ["event_end", "summary"]
    assert messages[0]["open"]


def test_a_gap_ends_an_event_and_forgets() -> None:
    one = monitor()
    told(one, [9.0] * 6)
    assert [m["type"] for m in one.gap(30.0)] == ["event_end"]
    assert not told(one, [9.0, 9.0], 10), "two windows after the gap are no event yet"


@pytest.mark.parametrize("rules", [{"smooth": 0}, {"needed": 6, "among": 5}, {"needed": 0}])
def test_rules_out_of_range_are_named(rules: dict[str, int]) -> None:
    with pytest.raises(UserError, match="smooth is"):
        Rules(**rules)


@pytest.mark.parametrize("rules", [{"grace": -1.0}, {"hold_off": float("nan")}, {"re_arm": float("inf")}])
def test_times_out_of_range_are_named(rules: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(rules))} is"):
        Rules(**rules)


def events(rules: Rules, scores: list[float]) -> list[tuple[str, float]]:
    return [(m["type"][6:], m.get("end", m["start"])) for m in told(monitor(rules), scores) if m["type"] != "drift"]


FAST = {"smooth": 1, "needed": 1, "among": 1}


def test_nothing_is_an_event_in_the_time_of_grace() -> None:
    one = monitor(Rules(**FAST, grace=20.0))
    scores = [9.0, 9.0, 0.0, 0.0, 9.0, 0.0]
    assert [m["start"] for m in told(one, scores)] == [20.0, 20.0]
    list(one.gap(30.0))
    assert not told(one, [9.0] * 4, 6), "the machine may be starting after a gap, too"
    assert (one.windows, one.watched, one.events) == (10, 2, 1)


def test_events_keep_their_distance() -> None:
    scores = [9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 9.0, 0.0]
    assert len(events(Rules(**FAST), scores)) == 6
    assert events(Rules(**FAST, hold_off=20.0), scores) == [
        ("start", 0.0),
        ("end", 5.0),
        ("start", 30.0),
        ("end", 35.0),
    ]


def test_an_event_ends_when_it_has_been_quiet_for_long_enough() -> None:
    scores = [9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 9.0]
    assert events(Rules(**FAST, re_arm=15.0), scores) == [("start", 0.0), ("end", 25.0), ("start", 30.0)]


def test_rates_are_told_where_there_is_an_hour_to_speak_of() -> None:
    one = monitor()
    told(one, [0.0] * 719)
    assert list(one.finish(0.0))[-1]["alarms_per_hour"] is None
    told(one, [9.0], 719)
    assert list(one.finish(0.0))[-1]["alarms_per_hour"] == 1.0


# -- drift


def normal_scores(count: int, shift: float = 0.0, seed: int = 3) -> list[float]:
    return (np.random.default_rng(seed).standard_normal(count) + shift).tolist()


def test_scores_that_stay_as_they_were_are_no_drift() -> None:
    for seed in range(5):
        messages = told(monitor(threshold=9.0), normal_scores(20_000, seed=seed))
        assert not messages


@pytest.mark.parametrize(("shift", "direction"), [(0.6, "higher"), (-0.6, "lower")])
def test_a_slow_change_is_drift_and_no_event(shift: float, direction: str) -> None:
    one = monitor(threshold=9.0)
    slope = (np.array(normal_scores(8000)) + np.linspace(0, shift, 8000)).tolist()
    messages = told(one, slope + normal_scores(2000, shift))
    assert {m["type"] for m in messages} == {"drift"}
    assert {m["scores"] for m in messages} == {direction}
    assert messages[0]["expected_alarms_per_hour"] is not None


def test_an_event_is_no_drift() -> None:
    messages = told(monitor(), normal_scores(600) + [9.0] * 300 + normal_scores(600, seed=4))
    assert {m["type"] for m in messages} == {"event_start", "event_end"}


def test_a_week_of_windows_keeps_no_memory() -> None:
    one = monitor(threshold=2.5)
    scores = normal_scores(10_000)
    told(one, scores)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for turn in range(12):  # 120,000 windows of 5 s: 7 days
        for n, score in enumerate(scores):
            for _ in one.push(5.0 * (turn * 10_000 + n), score):
                pass
    gc.collect()  # of what other tests left, too
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000, f"{grown} bytes more"


# -- streams


CUT = Cut(8000, 1.0, 0.5)


def pieces(samples: np.ndarray, sizes: list[int]) -> Iterator[Block]:
    start = 0
    while start < len(samples):
        size = sizes[0]
        sizes = [*sizes[1:], size]
        yield Block(samples[start : start + size, None].astype(np.float32))
        start += size


@pytest.mark.parametrize("sizes", [[100], [8000], [1, 7777, 3], [30_000]])
def test_windows_do_not_depend_on_how_the_stream_comes(sizes: list[int]) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(30_000)
    windower = Windower(CUT, 8000)
    found = [one for block in pieces(samples, sizes) for one in windower.push(block)]
    assert [at for at, _ in found] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    for at, window in found:
        first = round(at * 8000)
        assert np.allclose(window.numpy(), samples[first : first + 8000], atol=1e-5)
    assert windower.time == pytest.approx(30_000 / 8000)


def test_a_hop_longer_than_a_window_leaves_sound_out() -> None:
    samples = np.random.default_rng(0).standard_normal(40_000) * 0.1
    windower = Windower(Cut(8000, 1.0, 1.75), 8000)
    found = [one for block in pieces(samples, [999]) for one in windower.push(block)]
    assert [at for at, _ in found] == pytest.approx([0.0, 1.75, 3.5])
    for at, window in found:
        first = round(at * 8000)
        assert np.allclose(window.numpy(), samples[first : first + 8000], atol=1e-5)


def test_another_rate_is_resampled_as_it_comes() -> None:
    time_axis = np.arange(44100 * 3) / 44100
    windower = Windower(CUT, 44100)
    found = [one for block in pieces(0.5 * np.sin(2 * np.pi * 200 * time_axis), [4410]) for one in windower.push(block)]
    assert len(found) >= 3
    at, window = found[2]
    expected = 0.5 * np.sin(2 * np.pi * 200 * (at + np.arange(8000) / 8000))
    assert np.abs(window.numpy() - expected).max() < 0.02


def test_what_the_resampler_holds_back_comes_at_the_end() -> None:
    samples = np.sin(2 * np.pi * 300 * np.arange(44100) / 44100).astype(np.float32)
    one = Windower(Cut(16000, 1.0, 1.0), 44100)
    assert not list(one.push(Block(samples[:, None])))
    ((start, window),) = one.finish()
    assert (start, window.shape) == (0.0, (16000,))
    expected = np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)
    assert np.abs(window.numpy() - expected)[200:-200].max() < 1e-3


def test_silence_and_broken_samples_are_left_out_and_counted() -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(24_000)
    samples[:8000] = 0
    samples[20_000] = np.nan
    windower = Windower(Cut(8000, 1.0, 1.0), 8000)
    found = [one for block in pieces(samples, [500]) for one in windower.push(block)]
    assert [at for at, _ in found] == [1.0]
    assert windower.unusable == 2


def test_lost_samples_are_a_gap_in_time() -> None:
    windower = Windower(CUT, 8000)
    sound = 0.1 * np.random.default_rng(0).standard_normal((6000, 1)).astype(np.float32)
    assert not list(windower.push(Block(sound)))
    found = list(windower.push(Block(np.concatenate([sound, sound]), lost=4000)))
    assert [at for at, _ in found] == [1.25, 1.75], "no window reaches over the gap"


def test_a_pipe_of_raw_samples() -> None:
    values = (np.arange(2 * 9000) % 1000).astype("<i2")
    blocks = list(from_pipe(io.BytesIO(values.tobytes() + b"\1"), 8000, 2, "s16le"))
    samples = np.concatenate([block.samples for block in blocks])
    assert samples.shape == (9000, 2), "half a sample at the end is left out"
    assert np.array_equal(samples.ravel(), values.astype(np.float32) / 32768)
    floats = np.linspace(-1, 1, 100, dtype="<f4")
    (block,) = from_pipe(io.BytesIO(floats.tobytes()), 8000, 1, "f32le")
    assert np.array_equal(block.samples[:, 0], floats)


def test_a_slow_reader_loses_the_oldest_and_knows_how_much() -> None:
    go = threading.Event()

    def source() -> Iterator[Block]:
        for number in range(40):
            yield Block(np.full((10, 1), number, np.float32))
        go.set()

    stream = buffered(source(), seconds=1.0, sample_rate=100)
    blocks = [next(stream)]
    go.wait(5)
    time.sleep(0.05)
    blocks += list(stream)
    assert sum(block.lost for block in blocks) + 10 * len(blocks) == 400
    assert blocks[-1].samples[0, 0] == 39
    assert any(block.lost for block in blocks)


def test_what_was_recorded_before_waits_for_a_slow_reader() -> None:
    blocks = [Block(np.full((10, 1), number, np.float32)) for number in range(200)]
    stream = buffered(iter(blocks), seconds=10.0, sample_rate=20)  # 100 s of sound at once
    taken = [next(stream)]
    time.sleep(0.2)
    taken += list(stream)
    assert [int(block.samples[0, 0]) for block in taken] == list(range(200))
    assert not any(block.lost for block in taken)


def test_errors_of_the_source_arrive() -> None:
    def source() -> Iterator[Block]:
        yield Block(np.zeros((1, 1), np.float32))
        raise UserError("unplugged")

    stream = buffered(source(), 1.0, 100)
    next(stream)
    with pytest.raises(UserError, match="unplugged"):
        next(stream)


def test_a_file_is_played_at_its_own_speed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(8000) * 0.1, 8000)
    waited: list[float] = []
    blocks = list(from_file(tmp_path / "a.wav", speed=2.0, clock=waited.append))
    assert sum(len(block.samples) for block in blocks) == 8000
    assert waited[-1] == pytest.approx(0.5, abs=0.1), "a second at twice the speed"
    assert len(list(from_file(tmp_path / "a.wav", 0.0, waited.append))) == len(blocks)


def test_files_come_once_each_when_they_have_stopped_growing(tmp_path: Path) -> None:
    looks = 0
    late = tmp_path / "b.wav"

    def wait(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            late.write_bytes(b"half")
        elif looks == 2:
            late.write_bytes(b"whole")
        elif looks > 6:
            raise KeyboardInterrupt

    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "notes.txt").write_bytes(b"text")
    seen: list[tuple[str, int]] = []

    def follow() -> None:
        for path in new_files(tmp_path, clock=wait):
            seen.append((path.name, len(path.read_bytes())))

    with pytest.raises(KeyboardInterrupt):
        follow()
    assert seen == [("a.wav", 5), ("b.wav", 5)]
    assert [path.name for path in new_files(tmp_path, follow=False)] == ["a.wav", "b.wav"]
    with pytest.raises(UserError, match="no folder"):
        next(new_files(tmp_path / "absent"))


def test_a_microphone_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(UserError, match="needs the package sounddevice"):
        next(from_microphone(16000, 1))
