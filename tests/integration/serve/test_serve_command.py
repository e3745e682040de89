"""What the service tells of itself, and the command that starts it."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.inference import Detector
from tests.integration.serve.client import RATE, Started, sound, until


def test_machines_health_and_metrics(started: Started, detector: Detector, clips: list[Path]) -> None:
    started.ask("/score?machine=fan", clips[0].read_bytes())
    status, found, headers = started.ask("/machines")
    assert status == 200
    assert [one["name"] for one in found["machines"]] == list(detector.machines)
    assert sum(found["machines"][0]["histogram"]["counts"]) == found["machines"][0]["normal_clips"] == 15
    assert (found["seconds"], found["sample_rate"], found["max_megabytes"], found["max_seconds"]) == (1, RATE, 2, 60)
    assert headers["content-security-policy"].startswith("default-src 'self'")
    health = started.ask("/health")[1]
    assert (health["status"], health["waiting"]) == ("ok", 0)
    assert health["uptime_seconds"] > 0
    text = started.text("/metrics")
    for line in (
        'asd_recordings_total{decision="',
        'asd_requests_total{route="/score",status="200"}',
        "asd_score_seconds_bucket",
        "asd_batch_windows_bucket",
        "asd_audio_seconds_total",
        "asd_waiting 0.0",
        "asd_rejected_total 0.0",
    ):
        assert line in text
    assert "/v1/score" in started.ask("/openapi.json")[1]["paths"]


def test_the_token_is_needed_and_what_waits_is_answered_before_the_end(
    trained: Path, clips: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    client = Started(trained, tmp_path, "--token-file", tmp_path / "token", "--hop", "0.06", "--host", "0.0.0.0")
    right = {"Authorization": "Bearer open sesame"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
        for path in ("/score?machine=fan", "/machines", "/metrics", "/openapi.json", "/nothing"):
            status, found, more = client.ask(path, clips[0].read_bytes() if "score" in path else None, headers)
            assert (status, more["www-authenticate"]) == (401, "Bearer")
            assert "Bearer" in found["error"]
    assert client.ask("/health")[0] == 200
    assert "<html" in client.text("/")
    slow = sound(0.1 * np.random.default_rng(0).standard_normal(6 * RATE))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.ask, "/score?machine=fan", slow, right) for _ in range(3)]
        until(lambda: client.ask("/health")[1]["waiting"] == 3)
        code, errors = client.stop()
        assert [answer.result(60)[0] for answer in answers] == [200] * 3
    assert (code, errors) == (0, ""), "no warning where a token is needed, and the token is nowhere"
    assert client.left_over() == []


def test_a_service_open_to_all_is_warned_of(trained: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.serve.server.serve", lambda app, listening: listening.close())
    threads = torch.get_num_threads()
    done = here("serve", trained, "--host", "0.0.0.0", "--port", 0, "--threads", threads, "--batch-wait-ms", 1)
    assert done.stderr.splitlines()[-1].startswith("asd: warning: anyone who reaches 0.0.0.0:")
    assert "warning" not in here("serve", trained, "--port", 0).stderr
    monkeypatch.setenv("ASD_TOKEN", "open sesame")
    assert "warning" not in here("serve", trained, "--host", "0.0.0.0", "--port", 0).stderr


def test_what_the_command_refuses(trained: Path, here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no checkpoint" in here("serve", "none.ckpt", expect=2).stderr
    assert "above 0" in here("serve", trained, "--max-seconds", 0, expect=2).stderr
    assert "--threads 1 or more" in here("serve", trained, "--threads", 0, expect=2).stderr
    assert "cannot be read" in here("serve", trained, "--token-file", "none", expect=2).stderr
    for content, shown in (("\n", "is empty"), ("a\nb", "one line of ASCII"), ("é", "one line of ASCII")):
        (tmp_path / "token").write_text(content, encoding="utf-8")
        assert shown in here("serve", trained, "--token-file", "token", expect=2).stderr
    monkeypatch.setenv("ASD_TOKEN", "é")
    assert "ASD_TOKEN holds" in here("serve", trained, expect=2).stderr
    monkeypatch.delenv("ASD_TOKEN")
    assert "choose another --host" in here("serve", trained, "--host", "nowhere.invalid", expect=2).stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = here("serve", trained, "--port", taken.getsockname()[1], expect=2)
    assert "choose another --host or --port" in done.stderr


def test_a_missing_package_is_one_line(trained: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asd.serve.app", None)
    assert "pip install 'asd-zoo[serve]'" in here("serve", trained, expect=2).stderr
