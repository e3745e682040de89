"""The files of `configs/deploy` are what the programs read that they are for, and speak of what asd has."""

from __future__ import annotations

import argparse
import http.server
import importlib
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from asd.events.figures import Figures
from asd.plant import options
from asd.serve.observed import Observed
from asd.utils import configs
from tests.integration import broker

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "deploy"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
SERVICES = COMPOSE["services"]
EXPRESSIONS = [rule["expr"] for rule in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]]
PANELS = json.loads((FOLDER / "grafana" / "dashboard.json").read_text())["panels"]
EXPRESSIONS += [target["expr"] for panel in PANELS for target in panel["targets"]]


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {' and '.join(missing)}")


def plain(command: list[str], **more: Any) -> str:
    """What a program says of what it is content with."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def parsed(command: list[str]) -> None:
    """Ends the test unless `asd` has these options."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    importlib.import_module(f"asd.cli.{command[0]}").add_arguments(parser)
    parser.parse_args(command[1:])


# The containers


def test_the_image_is_made_of_what_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    kept = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    sources = {one for line in copied for one in line.split()}
    assert sources == kept
    assert all((ROOT / one).exists() for one in sources)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(wanted.split(",")) <= extras.keys()


def test_the_program_in_the_image_is_of_nobody_in_particular() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["asd"]
    assert DOCKERFILE.index("USER asd") < DOCKERFILE.index("ENTRYPOINT")


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_image_knows_whether_it_lives() -> None:
    (said,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    command = json.loads(said.replace("\\\n", ""))
    assert command[0] == "python"

    def lives(port: int) -> bool:
        run = subprocess.run(
            [sys.executable, *command[1:]], env={"HEALTH_PORT": str(port)}, capture_output=True, check=False
        )
        return run.returncode == 0

    with answering(200) as port:
        assert lives(port)
    assert not lives(port)
    with answering(503) as port:
        assert not lives(port)


@needs("buildah")
def test_the_image_file_is_understood(tmp_path: Path) -> None:
    """Up to its first image, which cannot be had without a network."""
    command = [
        "buildah",
        "--root",
        str(tmp_path / "root"),
        "--runroot",
        str(tmp_path / "run"),
        "--storage-driver",
        "vfs",
    ]
    told = subprocess.run(
        [*command, "bud", "--pull-never", "-f", str(FOLDER / "Dockerfile"), str(FOLDER)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "python:3.12-slim-bookworm" in told.stdout + told.stderr
    assert "unknown instruction" not in (told.stdout + told.stderr).lower()


def test_every_service_of_asd_is_started_by_options_that_it_has() -> None:
    own = {name: service for name, service in SERVICES.items() if service.get("image") == "asd"}
    assert own.keys() == {"watch", "serve"}
    for service in own.values():
        parsed([str(one) for one in service["command"]])


def test_what_services_share_is_there() -> None:
    for name, service in SERVICES.items():
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"], name
        for volume in service["volumes"]:
            place = volume.split(":")[0]
            assert place in COMPOSE["volumes"] or (FOLDER / place).exists(), (name, place)


def composer() -> list[str] | None:
    """`docker compose`, or the older program of its own."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    alone = shutil.which("docker-compose")
    return [alone] if alone else None


@pytest.mark.skipif(composer() is None, reason="needs docker compose")
def test_compose_takes_its_file(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "hall")
    (tmp_path / "hall" / "secrets").mkdir()
    for name in COMPOSE["secrets"]:
        (tmp_path / "hall" / "secrets" / name).write_text("word\n")
    command = [*(composer() or []), "-f", "compose.yaml", "config"]
    made = yaml.safe_load(plain(command, cwd=tmp_path / "hall"))
    assert made["services"].keys() == SERVICES.keys()


def test_asd_takes_the_plant(tmp_path: Path) -> None:
    read = options.read(FOLDER / "plant" / "plant.yaml", {})
    assert read.sources["pump"].folder == FOLDER / "plant" / "recordings" / "pump"
    assert read.metrics is not None
    assert read.metrics.endswith(SERVICES["watch"]["environment"]["HEALTH_PORT"])
    assert str(read.mqtt_password_file) == f"/run/secrets/{SERVICES['watch']['secrets'][0]}"
    home = SERVICES["watch"]["volumes"][1].split(":")[1]
    assert all(str(place).startswith(f"{home}/") for place in (read.state, read.clips))


# The broker


def admitted(port: int, user: str | None = None, password: str | None = None) -> bool:
    answers: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)
    client.on_connect = lambda *given: answers.append(not given[3].is_failure)
    client.connect("127.0.0.1", port)
    client.loop_start()
    broker.until(lambda: answers, "the broker does not answer")
    client.loop_stop()
    return answers[0]


@broker.needs_broker
def test_the_broker_knows_whoever_has_the_password(tmp_path: Path) -> None:
    conf = (FOLDER / "mosquitto.conf").read_text()
    more = [line for line in conf.splitlines() if not line.startswith(("#", "listener", "persistence", "log_dest"))]
    (tmp_path / "word").write_text("a word\n")
    made = SERVICES["mosquitto"]["command"][2].replace("$$", "$").partition("&& chown")[0]
    for place, here in (("/mosquitto/data", tmp_path), ("/run/secrets/mqtt", tmp_path / "word")):
        made = made.replace(str(place), str(here))
    subprocess.run(["sh", "-c", made], check=True, timeout=60)
    server = broker.Broker(tmp_path, "\n".join(more).replace("/mosquitto/data", str(tmp_path)))
    server.start()
    try:
        assert admitted(server.port, "asd", "a word")
        assert not admitted(server.port, "asd", "another")
        assert not admitted(server.port)
    finally:
        server.stop()


# Figures


@needs("promtool")
def test_prometheus_takes_its_files(tmp_path: Path) -> None:
    for name in ("prometheus.yaml", "alerts.yaml"):
        shutil.copy(FOLDER / name, tmp_path / name)
    assert "SUCCESS" in plain(["promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yaml")])
    shown = [{"record": f"shown:{number}", "expr": one} for number, one in enumerate(EXPRESSIONS)]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": shown}]}))
    for name in ("alerts.yaml", "all.yaml"):
        assert "SUCCESS" in plain(["promtool", "check", "rules", str(tmp_path / name)])


def test_prometheus_asks_where_services_are() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    targets = {job["static_configs"][0]["targets"][0] for job in jobs}
    read = options.read(FOLDER / "plant" / "plant.yaml", {})
    assert targets == {f"watch:{str(read.metrics).rpartition(':')[2]}", "serve:8000"}
    assert "--allowed-hosts=serve" in SERVICES["serve"]["command"]


def exported() -> set[str]:
    registries = [Figures().registry, Observed(lambda: 0).registry]
    families = [family for one in registries for family in one.collect()]
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {f"{family.name}{ending}" for family in families for ending in endings.get(family.type, [""])}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_figures_that_are_asked_for_are_those_that_asd_has(expression: str) -> None:
    assert set(re.findall(r"\basd_\w+", expression)) <= exported()
    assert "asd" in expression


def test_every_figure_of_watch_is_shown() -> None:
    shown = {name for one in EXPRESSIONS for name in re.findall(r"\basd_\w+", one)}
    assert {name for name in exported() if name.startswith("asd_watch")} <= shown


def test_the_dashboard_is_whole() -> None:
    (source,) = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())["providers"]
    assert any(
        volume.split(":")[1].startswith(provider["options"]["path"]) for volume in SERVICES["grafana"]["volumes"]
    )
    assert source["url"].removeprefix("http://").split(":")[0] in SERVICES
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


# Without a container


@needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "asd-watch.service").read_text()
    assert "/opt/asd/bin/asd watch --config" in text
    unit = tmp_path / "asd-watch.service"
    unit.write_text(text.replace("/opt/asd/bin/asd", sys.executable))
    assert plain(["systemd-analyze", "verify", "--man=no", str(unit)]).strip() == ""


def test_the_unit_knows_what_the_program_ends_with() -> None:
    text = (FOLDER / "asd-watch.service").read_text()
    assert "SuccessExitStatus=1" in text
    assert "RestartPreventExitStatus=2" in text
    command = re.findall(r"^ExecStart=\S+ (.+)$", text, re.MULTILINE)[0].split()
    parsed(command)


# Taken along


def test_deployment_is_no_config_of_the_program() -> None:
    assert not [name for name in configs.packaged() if name.startswith(configs.DEPLOYMENT)]


def test_all_of_it_is_copied_or_nothing(here: Any, tmp_path: Path) -> None:
    copy = ("configs", "copy", "deploy", tmp_path / "hall")
    here(*copy)
    made = {
        path.relative_to(tmp_path / "hall").as_posix(): path
        for path in (tmp_path / "hall").rglob("*")
        if path.is_file()
    }
    assert made.keys() == configs.deployment().keys()
    assert all(path.read_bytes() == (FOLDER / name).read_bytes() for name, path in made.items())
    made["Dockerfile"].unlink()
    assert "is there already" in here(*copy, expect=2).stderr
    assert not made["Dockerfile"].exists()
    here(*copy, "--force")
    assert made["Dockerfile"].exists()
