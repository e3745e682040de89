"""`asd data download` against a server on this machine that serves Zenodo's interface, well or badly."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.download import fetch
from asd.data.download.unzip import unpack
from asd.data.download.zenodo import RECORDS, machine_of
from asd.data.layouts.dcase import scan
from asd.errors import UserError


def wav() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(0).normal(0, 0.1, 4000), 16000, format="WAV", subtype="PCM_16")
    return out.getvalue()


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()


def train(machine: str, count: int = 3) -> bytes:
    return zipped({f"{machine}/train/section_00_source_train_normal_{n:04d}_spd_1.wav": wav() for n in range(count)})


def test(machine: str) -> bytes:
    return zipped({f"{machine}/test/section_00_{n:04d}.wav": wav() for n in range(2)})


test.__test__ = False  # type: ignore[attr-defined]


@dataclass
class Zenodo:
    """Files by record; `lies` changes what a listing says of a file, `drops` breaks off so many answers half-way."""

    records: dict[int, dict[str, bytes]]
    url: str = ""
    lies: dict[str, dict[str, object]] = field(default_factory=dict)
    drops: int = 0
    asked: list[str] = field(default_factory=list)


def handler(server: Zenodo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            record = int(parts[2])
            if record not in server.records:
                self.send_error(404)
                return
            if len(parts) == 3:
                self.answer(
                    json.dumps({"files": [self.entry(record, name) for name in server.records[record]]}).encode()
                )
                return
            server.asked.append(parts[4])
            content = server.records[record][parts[4]]
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.answer(content, begin)

        def entry(self, record: int, name: str) -> dict[str, object]:
            content = server.records[record][name]
            url = f"{server.url}/api/records/{record}/files/{name}/content"
            found = {"key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
            return {**found, "links": {"self": url}, **server.lies.get(name, {})}

        def answer(self, content: bytes, begin: int = 0) -> None:
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.send_header("ETag", '"one"')
            self.end_headers()
            if server.drops and begin == 0 and not self.path.split("/")[-1].isdigit():
                server.drops -= 1
                self.wfile.write(content[: len(content) // 2])
                return
            self.wfile.write(content[begin:])

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def zenodo() -> Iterator[Zenodo]:
    dev, (more, evaluation) = RECORDS[2025]["dev_data"][0], RECORDS[2025]["eval_data"]
    server = Zenodo(
        {
            dev: {"dev_fan.zip": train("fan"), "dev_valve.zip": train("valve"), "LICENSE.txt": b"text"},
            more: {
                "eval_data_Polisher_train.zip": train("Polisher"),
                "eval_data_Polisher_train_r2.zip": train("Polisher", 4),
            },
            evaluation: {"eval_data_Polisher_test.zip": test("Polisher")},
        }
    )
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler(server))
    server.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield server
    listening.shutdown()
    listening.server_close()


def run(here, server: Zenodo, *arguments: object, expect: int = 0):
    return here("data", "download", 2025, "--server", server.url, "--out", "root", *arguments, expect=expect)


def test_a_year_is_one_command_away(here, zenodo: Zenodo, tmp_path: Path) -> None:
    done = run(here, zenodo)
    assert "4 archives unpacked, 0 were there" in done.stdout
    clips = scan(tmp_path / "root", ["dev_data", "eval_data"], None)
    counts = {machine: sum(clip.machine == machine for clip in clips) for machine in ("fan", "valve", "Polisher")}
    assert counts == {"fan": 3, "valve": 3, "Polisher": 6}, "of two revisions, the newer one alone"
    assert not list((tmp_path / "root" / "downloads").rglob("*.zip")), "archives are removed once unpacked"
    asked = len(zenodo.asked)
    assert "0 archives unpacked, 4 were there" in run(here, zenodo).stdout
    assert len(zenodo.asked) == asked


def test_machines_and_subsets_by_choice(here, zenodo: Zenodo, tmp_path: Path) -> None:
    run(here, zenodo, "--machines", "fan", "--subsets", "dev_data", "--keep")
    assert zenodo.asked == ["dev_fan.zip"]
    assert (tmp_path / "root" / "downloads" / "dev_data" / "dev_fan.zip").is_file()
    refused = run(here, zenodo, "--machines", "fann", "--subsets", "dev_data", expect=2)
    assert "no machine 'fann' in 2025. Did you mean fan? Machines: fan, valve" in refused.stderr
    assert "no subset 'test'" in run(here, zenodo, "--subsets", "test", expect=2).stderr
    unknown = here("data", "download", 2019, "--server", zenodo.url, expect=2)
    assert "years are 2020 to 2026" in unknown.stderr


def test_dropped_connections_go_on(here, zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.drops = 2
    run(here, zenodo, "--subsets", "dev_data", "--jobs", "1")
    assert len(scan(tmp_path / "root", ["dev_data"], None)) == 6


@pytest.mark.parametrize(
    ("lie", "message"), [({"size": 10}, "bytes, expected 10"), ({"checksum": "md5:" + "0" * 32}, "wrong checksum")]
)
def test_a_lie_costs_one_machine_alone(
    here, zenodo: Zenodo, tmp_path: Path, lie: dict[str, object], message: str
) -> None:
    zenodo.lies["dev_fan.zip"] = lie
    refused = run(here, zenodo, "--subsets", "dev_data", expect=2)
    assert message in refused.stderr
    assert len(refused.stderr.strip().splitlines()[-1].split("asd: error:")) == 2
    assert {clip.machine for clip in scan(tmp_path / "root", ["dev_data"], None)} == {"valve"}
    zenodo.lies.clear()
    assert "1 archives unpacked, 1 were there" in run(here, zenodo, "--subsets", "dev_data").stdout


def test_a_broken_archive_leaves_nothing_behind(here, zenodo: Zenodo, tmp_path: Path) -> None:
    record = zenodo.records[RECORDS[2025]["dev_data"][0]]
    record["dev_fan.zip"] = train("fan", 20)[:-30]
    refused = run(here, zenodo, "--subsets", "dev_data", expect=2)
    assert "broken archive" in refused.stderr
    assert not (tmp_path / "root/dev_data/raw/fan").exists()


def test_without_network_archives_placed_by_hand_are_used(here, zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.records.clear()
    refused = run(here, zenodo, "--subsets", "dev_data", expect=2)
    assert "put the archives of" in refused.stderr
    assert "root/downloads/dev_data" in refused.stderr
    folder = tmp_path / "root" / "downloads" / "dev_data"
    folder.mkdir(parents=True)
    (folder / "dev_fan.zip").write_bytes(train("fan"))
    assert "1 archives unpacked" in run(here, zenodo, "--subsets", "dev_data").stdout
    assert len(scan(tmp_path / "root", ["dev_data"], None)) == 3


NAMES = {
    "dev_data_fan.zip": "fan", "eval_data_train_ToyCar.zip": "ToyCar", "eval_data_test_pump.zip": "pump",
    "eval_data_ToyTrain_train.zip": "ToyTrain", "dev_bearing.zip": "bearing", "dev_ToyCar_r2.zip": "ToyCar",
    "eval_data_3DPrinter_train_r2.zip": "3DPrinter", "README.md": None, "paper.pdf": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_archives_of_every_year_by_name(name: str) -> None:
    assert machine_of(name) == NAMES[name]


def test_every_year_has_its_records() -> None:
    assert sorted(RECORDS) == list(range(2020, 2027))
    numbers = [one for year in RECORDS.values() for records in year.values() for one in records]
    assert len(set(numbers)) == len(numbers) == 21


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name", ["../out.wav", "/etc/out.wav", "fan/../../out.wav", "fan\\..\\..\\out.wav", "C:/out.wav"]
)
def test_entries_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "dev_fan.zip"
    path.write_bytes(zipped({"fan/train/a.wav": b"a", name: b"b"}))
    with pytest.raises(UserError, match="leads outside the folder; nothing was unpacked"):
        unpack(path, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_links_bombs_and_doubles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev_fan.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link("fan/train/a.wav"), "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        unpack(path, tmp_path / "raw")
    path.write_bytes(zipped({"fan/train/a.wav": bytes(50_000_000)}))
    with pytest.raises(UserError, match="would unpack to 50,000,000"):
        unpack(path, tmp_path / "raw")
    path.write_bytes(zipped({"fan/a.wav": b"a", "fan/A.wav": b"b"}))
    with pytest.raises(UserError, match="is there twice"):
        unpack(path, tmp_path / "raw")


def test_an_entry_longer_than_it_says_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "dev_fan.zip"
    content = bytearray(zipped({"fan/train/a.wav": np.random.default_rng(0).bytes(5000)}))
    for at in [i for i in range(len(content) - 4) if content[i : i + 4] == (5000).to_bytes(4, "little")]:
        content[at : at + 4] = (4000).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="broken archive"):
        unpack(path, tmp_path / "raw")
    assert not list(tmp_path.rglob("a.wav"))


def test_jobs_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="jobs is 0"):
        fetch.fetch([], tmp_path, 0)
