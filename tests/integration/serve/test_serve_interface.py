"""The interface: every answer is as the document says, at the paths with a version and at the older ones."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.inference import Detector
from asd.serve import limits
from asd.serve.hosts import Hosts
from asd.serve.limits import Limits
from asd.serve.service import Kept, Service
from tests.integration.serve.client import RATE, Client, Started, form, held, running, sound, until
from tests.integration.serve.described import Described

TOKEN = {"Authorization": "Bearer open sesame"}


def fields(content: bytes, **said: str) -> tuple[bytes, dict[str, str]]:
    """A form with a recording and with what is said of it."""
    body, headers = form(content)
    texts = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{one}\r\n' for name, one in said.items()
    )
    return texts.encode() + body, headers


@pytest.fixture(scope="module")
def service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("own")
    own = Path(shutil.copy(trained / "checkpoints/last.ckpt", folder / "own.ckpt"))
    bounds = Limits(2, 60, 1, "open sesame", Hosts.of("127.0.0.1", []), 16)
    return Service(lambda: Detector.load(own), bounds, kept=Kept(own, folder / "new.ckpt"))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with running(service) as one:
        yield one


@pytest.fixture(scope="module")
def described(client: Client) -> Described:
    return Described(client.ask("/v1/openapi.json", headers=TOKEN)[1])


@pytest.fixture(scope="module")
def clip(clips: list[Path]) -> bytes:
    return clips[0].read_bytes()


def asked(client: Client, described: Described, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
    """What is answered, which is as the document says."""
    status, answer, more = client.ask(path, body, {**TOKEN, **(headers or {})})
    route = path.partition("?")[0]
    described.check("GET" if body is None else "POST", route, status, more["content-type"], answer)
    return status, answer


def test_whatever_is_answered_is_in_the_document(
    client: Client, described: Described, service: Service, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.tile(0.1 * np.random.default_rng(0).standard_normal(RATE), 3)
    samples[RATE : 2 * RATE] = 0
    score, with_gap = "/v1/score?machine=fan", sound(samples)
    for path, body, headers, expected in [
        (score, clip, {}, 200), (f"{score}&explain=true", clip, {}, 200), (score, with_gap, {}, 200),
        ("/v1/score", *fields(clip, machine="fan", explain="true"), 200), ("/v1/machines", None, {}, 200),
        ("/health", None, {}, 200), ("/v1/feedback?machine=fan&kind=missed", clip, {}, 200),
        ("/v1/calibrate?machine=bearing&add=false", clip, {}, 200),
        (score, b"x", {"Content-Type": "multipart/form-data"}, 400), (score, clip, {"Authorization": ""}, 401),
        ("/v1/machines", None, {"Authorization": "Bearer wrong"}, 401), ("/v1/score?machine=fen", clip, {}, 404),
        (score, clip, {"Origin": "http://evil.example"}, 403), ("/v1/score", clip, {}, 422),
        (score, bytes(2_100_000), {}, 413), ("/v1/machines", None, {"Host": "evil.example"}, 421),
        (score, b"no sound", {}, 422), ("/v1/feedback?machine=fan", clip, {}, 422),
        ("/v1/calibrate?machine=fan&false_alarms=often", clip, {}, 422),
    ]:  # fmt: skip
        status, answer = asked(client, described, path, body, headers)
        assert status == expected, (path, answer)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "_IDLE_SECONDS", 0.1)
        patch.setattr(limits, "_LINGER_SECONDS", 0.1)
        assert asked(client, described, score, iter([b"RIFF"]), {"Content-Length": "9"})[0] == 408
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkdtemp", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        patch.setattr("asd.serve.upload._IN_MEMORY", 9)
        assert asked(client, described, score, clip)[0] == 507
    with held(service):
        one = client.begin(clip, more="Authorization: Bearer open sesame\r\n")
        until(lambda: service.waiting == 1)
        assert asked(client, described, score, clip)[0] == 503
    one.recv(1000)
    monkeypatch.setattr(service, "kept", None)
    assert asked(client, described, "/v1/feedback?machine=fan&kind=missed", clip)[0] == 409
    assert described.never_seen() == set(), "a client that was generated waits for these in vain"


def test_the_older_paths_answer_the_same_and_are_not_in_the_document(
    client: Client, described: Described, clip: bytes
) -> None:
    for path, body in (("/score?machine=bearing", clip), ("/machines", None), ("/openapi.json", None)):
        assert client.ask(path, body, TOKEN)[:2] == client.ask(f"/v1{path}", body, TOKEN)[:2]
    paths = set(described.document["paths"])
    assert paths == {"/v1/score", "/v1/feedback", "/v1/calibrate", "/v1/machines", "/health", "/metrics"}
    assert {one for one in paths if not one.startswith("/v1/")} == {"/health", "/metrics"}


def test_what_the_query_may_say_the_form_may_say(client: Client, clip: bytes) -> None:
    by_query = client.ask("/v1/score?machine=bearing&explain=true", *with_token(form(clip)))[1]
    assert client.ask("/v1/score", *with_token(fields(clip, machine="bearing", explain="true")))[1] == by_query
    both = client.ask("/v1/score?machine=bearing", *with_token(fields(clip, machine="fen")))
    assert (both[0], both[1]["machine"]) == (200, by_query["machine"]), "the query counts"
    for said, status, error in (
        ({}, 422, "one of bearing, fan"), ({"machine": "fen"}, 404, "Did you mean fan?"),
        ({"machine": "fan", "explain": "eh"}, 422, "form.explain: "),
    ):  # fmt: skip
        found = client.ask("/v1/score", *with_token(fields(clip, **said)))
        assert found[0] == status
        assert error in found[1]["error"]
        assert "\n" not in found[1]["error"]
    found = client.ask("/v1/feedback", *with_token(fields(clip, machine="fan", kind="praise")))
    assert (found[0], "form.kind" in found[1]["error"]) == (422, True)
    said = {"machine": "bearing", "false_alarms": "30%", "add": "false"}
    status, found, _ = client.ask("/v1/calibrate", *with_token(fields(clip, **said)))
    assert (status, found["added"], found["machine"]) == (200, False, by_query["machine"])
    assert client.ask("/v1/calibrate", *with_token(fields(clip, **{**said, "false_alarms": "often"})))[0] == 422
    status, found, _ = client.ask("/v1/feedback", *with_token(fields(clip, machine="bearing", kind="missed")))
    assert (status, found["kind"]) == (200, "missed")


def with_token(sent: tuple[bytes, dict[str, str]]) -> tuple[bytes, dict[str, str]]:
    return sent[0], {**sent[1], **TOKEN}


def test_a_recording_in_a_form_needs_no_name_of_a_file(client: Client, clip: bytes) -> None:
    body, headers = with_token(fields(clip, machine="bearing", name="today"))
    bare = body.replace(b'; filename="a.wav"', b"")
    assert len(bare) < len(body)
    named, nameless = client.ask("/v1/score", body, headers)[1], client.ask("/v1/score", bare, headers)[1]
    assert (named["name"], nameless["name"]) == ("a.wav", "today")
    assert nameless["score"] == named["score"]


def test_the_page_of_the_interface_needs_no_token_and_tells_no_machine(client: Client, described: Described) -> None:
    page = client.text("/docs")
    assert all(path in page for path in described.document["paths"])
    assert f"curl -F file=@today.wav -F machine=fan {client.url}/v1/score" in page
    assert "bearing" not in page
    for link in set(re.findall(r'(?:href|src)="([^"#]+)"', page)) - {"v1/openapi.json", "."}:
        assert client.text(f"/{link}")


def test_the_commands_of_the_help_work(asd, trained: Path, clips: list[Path], tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    commands = re.findall(r"^  (curl .*)$", asd("serve", "--help", cwd=tmp_path).stdout, re.M)
    for name, path in zip(("today.wav", "1.wav", "2.wav"), clips, strict=False):
        shutil.copy(path, tmp_path / name)
    own = Path(shutil.copy(trained / "checkpoints/last.ckpt", tmp_path / "own.ckpt"))
    started = Started(own, tmp_path, "--calibrated", tmp_path / "new.ckpt")
    told = {}
    for command in commands:
        address = command.replace("http://127.0.0.1:8000", started.url)
        done = subprocess.run([*shlex.split(address), "-sS", "--fail"], cwd=tmp_path, capture_output=True, text=True)
        told[command.rpartition("8000")[2]] = (done.returncode, done.stderr)
    started.stop()
    routes = ("/v1/score", "/v1/feedback", "/v1/calibrate", "/v1/machines", "/v1/openapi.json", "/health", "/metrics")
    assert told == dict.fromkeys(routes, (0, ""))


def test_figures_are_as_prometheus_wants_them(client: Client, clip: bytes) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool (on Debian: apt-get install prometheus)")
    client.ask("/v1/score?machine=bearing", clip, TOKEN)
    text = client.text("/metrics", TOKEN)
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
