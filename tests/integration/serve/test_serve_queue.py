"""Many at once: batches, a bounded queue, and clients that go away."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from asd.inference import Detector
from asd.serve.batching import Worker
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import held, machine_of, running, until


def test_many_at_once_score_as_each_alone(detector: Detector, clips: list[Path]) -> None:
    sizes: list[int] = []
    service = Service(lambda: detector, Limits())
    service.worker._observe = sizes.append
    half = len(clips) // 2
    mixed = [path for pair in zip(clips[:half], clips[half:], strict=True) for path in pair]
    jobs = (mixed * 3)[:24]
    assert {machine_of(path) for path in jobs[:2]} == {"fan", "bearing"}
    with running(service) as client, ThreadPoolExecutor(24) as pool:
        with held(service):
            asked = [
                pool.submit(client.ask, f"/score?machine={machine_of(path)}&name={number}", path.read_bytes())
                for number, path in enumerate(jobs)
            ]
            until(lambda: service.waiting == len(jobs) and len(service.worker._jobs) == len(jobs))
        answers = [one.result(60) for one in asked]
    assert sizes == [16, 8], "in as few passes as can be"
    for number, (path, (status, found, _)) in enumerate(zip(jobs, answers, strict=True)):
        assert status == 200
        assert (found["name"], found["machine"]) == (str(number), f"{machine_of(path)}_section_00")
        alone = detector.score(path, machine=machine_of(path)).score
        assert found["score"] == pytest.approx(alone, rel=1e-4, abs=1e-6)


def test_beyond_the_queue_it_says_so_at_once_and_stays_awake(detector: Detector, clips: list[Path]) -> None:
    service = Service(lambda: detector, Limits(waiting=2))
    sent = clips[0].read_bytes()
    with running(service) as client, ThreadPoolExecutor(2) as pool:
        with held(service):
            asked = [pool.submit(client.ask, "/score?machine=fan", sent) for _ in range(2)]
            until(lambda: service.waiting == 2)
            status, found, headers = client.ask("/score?machine=fan", sent)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "too many recordings wait" in found["error"]
            health = client.ask("/health")[1]
            assert (health["status"], health["waiting"]) == ("ok", 2)
            assert "asd_waiting 2.0" in client.text("/metrics")
        assert [one.result(60)[0] for one in asked] == [200, 200]
        assert client.ask("/score?machine=fan", sent)[0] == 200
        assert "asd_rejected_total 1.0" in client.text("/metrics")


def test_nothing_is_computed_for_a_client_that_went_away(detector: Detector, clips: list[Path]) -> None:
    sizes: list[int] = []
    service = Service(lambda: detector, Limits())
    service.worker._observe = sizes.append
    with running(service) as client:
        with held(service):
            connection = client.begin(clips[0].read_bytes())
            until(lambda: len(service.worker._jobs) == 1)
            connection.close()
            until(lambda: service.waiting == 0)
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200
        assert 'status="499"' in client.text("/metrics")
    assert sizes == [1], "only for the one who stayed"


def test_what_waits_is_scored_together(detector: Detector) -> None:
    sizes: list[int] = []
    worker = Worker(lambda: detector, observe=sizes.append)
    gate = threading.Event()
    windows = torch.randn(40, detector.cut.samples) * 0.1
    busy = worker.call(gate.wait)
    futures: list[Future[list[float]]] = [worker.score([window], number % 2) for number, window in enumerate(windows)]
    futures[2].cancel()
    gate.set()
    assert busy.result(30)
    found = [future.result(30)[0] for number, future in enumerate(futures) if number != 2]
    worker.close()
    assert sizes == [15, 16, 8], "without whoever went away"
    expected = [detector.score_windows([window], n % 2)[0] for n, window in enumerate(windows) if n != 2]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_waiting_for_others_fills_a_batch(detector: Detector) -> None:
    sizes: list[int] = []
    worker = Worker(lambda: detector, wait=60, observe=sizes.append)
    futures = [worker.score([window], 0) for window in torch.randn(16, detector.cut.samples)]
    assert all(future.result(30) for future in futures), "a full batch waits no longer"
    assert sizes == [16]
    last = worker.score([torch.randn(detector.cut.samples)], 0)
    worker.close()
    assert last.result(0), "at the end it waits no longer, either"


def test_a_failure_reaches_the_one_who_asked_and_no_other(detector: Detector) -> None:
    worker = Worker(lambda: detector)
    gate = threading.Event()
    worker.call(gate.wait)
    good, broken = worker.score([torch.randn(detector.cut.samples)], 0), worker.score([torch.zeros(3, 3, 3)], 0)
    gate.set()
    with pytest.raises(Exception, match=r"."):
        broken.result(30)
    assert len(good.result(30)) == 1
    worker.close()
