"""Shards hold every clip once, whoever wrote them and however many read them."""

from __future__ import annotations

import functools
import http.server
import json
import tarfile
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from asd.data.dataset import as_is
from asd.data.layouts.dcase import scan
from asd.data.layouts.shards import INDEX, read_shards, write_shards
from asd.data.modules.shards import Shards
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.errors import UserError
from asd.testing import write_dataset

SIZE = 60_000


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "files")


@pytest.fixture
def shards(files: Path, tmp_path: Path) -> Path:
    written = write_shards(scan(files), tmp_path / "shards", SIZE)
    assert written.shards == len(list((tmp_path / "shards").glob("*.tar"))) > 3
    return tmp_path / "shards"


def served(data: ToyADMOS2 | Shards) -> dict[tuple[str, str], torch.Tensor]:
    data.setup("fit")
    found = {}
    for loader, clips in zip(
        [data.statistics_dataloader(), *data.val_dataloader()],
        [data.train_clips, data.reference_clips, data.query_clips],
        strict=True,
    ):
        for batch in loader:
            for waveform, row in zip(batch.waveform, batch.index.tolist(), strict=True):
                found[clips[row].machine, clips[row].title] = waveform
    return found


def test_what_is_served_is_what_the_files_hold(files: Path, shards: Path) -> None:
    expected, found = served(ToyADMOS2(files, seconds=0.25)), served(Shards(str(shards), seconds=0.25))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    facts = [
        (c.machine, c.section, c.split, c.domain, c.condition, c.attributes, c.kind, c.group)
        for c in read_shards(str(shards))
    ]
    assert Counter(facts) == Counter(
        (c.machine, c.section, c.split, c.domain, c.condition, c.attributes, c.kind, c.group) for c in scan(files)
    )


def test_one_machine_is_chosen(shards: Path) -> None:
    assert {clip.machine for clip in Shards(str(shards), machines=["fan"]).clips()} == {"fan"}
    with pytest.raises(UserError, match="Did you mean fan"):
        Shards(str(shards), machines=["fun"]).clips()


@pytest.mark.filterwarnings("ignore:.*many workers.*")
@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 0), (2, 2), (3, 2)])
def test_ranks_and_workers_lose_and_repeat_nothing(ranks: int, workers: int, shards: Path) -> None:
    data = Shards(str(shards), seconds=0.25, batch_size=3)
    data.setup("fit")
    dataset = data.train_dataloader().dataset
    count = len(data.train_clips)
    rows: Counter[int] = Counter()
    for rank in range(ranks):
        sampler: DistributedSampler[object] = DistributedSampler(dataset, ranks, rank)
        loader = DataLoader(dataset, 3, sampler=sampler, num_workers=workers, collate_fn=as_is)
        rows.update(row for batch in loader for row in batch.index.tolist())
    assert set(rows) == set(range(count))
    assert sum(rows.values()) == -(-count // ranks) * ranks, "no repeat but those that make the ranks equal"


def test_shards_without_an_index_are_indexed(shards: Path) -> None:
    written = read_shards(str(shards))
    (shards / INDEX).unlink()
    assert sorted(read_shards(str(shards)), key=str) == sorted(written, key=str)
    assert (shards / INDEX).is_file()


def test_any_tar_program_reads_them(shards: Path) -> None:
    names: list[str] = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    keys = Counter(name.partition(".")[0] for name in names)
    assert set(keys.values()) == {2}, "each clip has its sound and its facts under one key"
    assert names == sorted(names, key=lambda name: name.partition(".")[0]), "the two lie together"


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves parts of files, as object stores do."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range")
        if not path.is_file() or asked is None:
            super().do_GET()
            return
        content = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if part else 416)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


def test_shards_are_read_over_http(files: Path, shards: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Ranges, directory=str(shards.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/shards"
        expected, found = served(ToyADMOS2(files, seconds=0.25)), served(Shards(url, seconds=0.25))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        with pytest.raises(UserError, match=r"cannot read .*/absent/index\.jsonl"):
            read_shards(f"http://127.0.0.1:{server.server_port}/absent")
    finally:
        server.shutdown()


def test_what_is_broken_is_named(files: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds shards already"):
        write_shards(scan(files), shards, SIZE)
    with pytest.raises(UserError, match="no shards"):
        read_shards(str(tmp_path / "absent"))
    index = (shards / INDEX).read_text()
    first = json.loads(index.splitlines()[0])
    for line, shown in (
        ("no json", "line 1: broken"),
        (json.dumps(first | {"shard": "../other.tar"}), "which no file can be called"),
        (json.dumps(first | {"shard": "shard-9.tar"}), r"shard-9\.tar is in index\.jsonl but not there"),
        ("", "lists no clip"),
    ):
        (shards / INDEX).write_text(line)
        with pytest.raises(UserError, match=shown):
            read_shards(str(shards))


def test_a_truncated_shard_is_one_clear_line(shards: Path) -> None:
    path = sorted(shards.glob("*.tar"))[0]
    path.write_bytes(path.read_bytes()[:1500])
    data = Shards(str(shards), seconds=0.25, cache_gb=0)
    data.setup("fit")
    with pytest.raises(UserError, match="the archive ends"):
        list(data.statistics_dataloader())


def test_a_stopped_run_is_no_data_set(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, total: int) -> None:
        if done == total - 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(scan(files), tmp_path / "out", SIZE, stop)
    assert not (tmp_path / "out" / INDEX).exists()
    assert write_shards(scan(files), tmp_path / "out", SIZE).clips == len(scan(files))
    assert len(read_shards(str(tmp_path / "out"))) == len(scan(files))


def test_members_without_facts_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        (tmp_path / "x.wav").write_bytes(b"sound")
        tar.add(tmp_path / "x.wav", "000.wav")
    with pytest.raises(UserError, match=r"no 000\.json beside"):
        read_shards(str(tmp_path))
