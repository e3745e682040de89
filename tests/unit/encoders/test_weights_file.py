"""What a file is, is told by its bytes; nothing in it is run, and what it promises is not believed."""

from __future__ import annotations

import argparse
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asd.encoders.pretrained import weights_of
from asd.encoders.weights_file import read
from asd.errors import UserError

STATE = {"layer.weight": torch.arange(6.0).view(2, 3)}


def same(path: Path) -> None:
    assert torch.equal(weights_of(path, "a layer", "layer.weight").state["layer.weight"], STATE["layer.weight"])


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.safetensors", "w", "w.txt"])
def test_the_suffix_does_not_matter(tmp_path: Path, name: str) -> None:
    for folder, save in (("a", save_file), ("b", torch.save)):
        (tmp_path / folder).mkdir()
        save(STATE, tmp_path / folder / name)
        same(tmp_path / folder / name)


def test_the_format_of_before_2020_is_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    same(tmp_path / "old.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; download it again"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\xef\xbb\xbf\r\n<html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of Git LFS.*`git lfs pull`"),
        (b'{"metadata": {"total_size": 1}, "weight_map": {}}', "is JSON"),
        (b'{"cfg": {"a": 1}}', "is JSON"),
        (b"\x1f\x8b" + bytes(50), "is an archive; unpack it"),
        (b"a" * 257 + b"ustar\x00", "is an archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY\x01\x00", "array of NumPy"),
        (b"GGUF\x03", "GGUF"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0", "ONNX"),
        (b"RIFF$\x00\x00\x00WAVE", "neither safetensors nor a file of torch.save: it begins with b'RIFF"),
        (bytes(4096), "neither safetensors"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"weights\.pt .*{said}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_folder_and_archives_of_other_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; give the file"):
        read(tmp_path)
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("weights.pt", b"")
    with pytest.raises(UserError, match="zip archive, but not of torch"):
        read(tmp_path / "w.zip")
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"w/{name}", b"\x80\x02}.")
    with pytest.raises(UserError, match="TorchScript program"):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_every_cut_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "w"
    state = {"layer.weight": torch.ones(300), "more": torch.ones(300)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for size in (1, 7, 9, 40, 100, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError):
            read(path)


def test_plain_values_beside_the_weights_are_taken(tmp_path: Path) -> None:
    beside: dict[str, Any] = {
        "epoch": 3,
        "map": np.float64(0.5),
        "steps": np.int64(7),
        "best": np.float32(0.25),
        "big_endian": np.dtype(">f8").type(2.0),
        "done": np.bool_(True),
        "order": np.arange(5),
        "names": np.array(["a", None], dtype=object),
        "args": argparse.Namespace(rate=16000, out=Path("runs")),
        "name": "x",
        "sizes": [1, (2, None)],
    }
    torch.save({"model": STATE, **beside}, tmp_path / "w.pt")
    content = read(tmp_path / "w.pt")
    same(tmp_path / "w.pt")
    assert [content[key] for key in ("map", "steps", "best", "big_endian", "done")] == [0.5, 7, 0.25, 2.0, True]
    assert vars(content["args"]) == {"rate": 16000, "out": "runs"}
    # What was allowed here is allowed here alone.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pt", weights_only=True)


def test_weights_in_a_sequence_are_found(tmp_path: Path) -> None:
    torch.save((STATE, {"classes": (0, ["a"])}), tmp_path / "w.pt")
    same(tmp_path / "w.pt")


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harmed"),))  # type: ignore[return-value]


@pytest.mark.parametrize("legacy", [False, True])
def test_code_beside_good_weights_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": STATE, "args": argparse.Namespace(hook=_Harm())}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"w\.pt holds pickled code \(\S+\), which is not run"):
        read(tmp_path / "w.pt")
    assert not (tmp_path / "harmed").exists()


def archive_of(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    """A file of torch.save with a pickle made by hand."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", pickled)
        archive.writestr("w/byteorder", b"little")
        archive.writestr("w/version", b"3\n")
        for name, content in records.items():
            archive.writestr(f"w/data/{name}", content)
    return path


class _Bytes:
    def __reduce__(self) -> tuple[object, tuple[int]]:
        return (bytearray, (8 * 2**30,))


class _Grown:
    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __reduce__(self) -> tuple[object, tuple[object, str]]:
        import _codecs

        return (_codecs.encode, (self.inner, "hex"))


def promise(path: Path, shape: tuple[int, ...], stride: tuple[int, ...], there: int = 4) -> Path:
    """A tensor of a shape over a storage of fewer numbers."""
    tensor = torch.empty(there)
    buffer = io.BytesIO()
    torch.save({"layer.weight": tensor}, buffer)
    pickled = zipfile.ZipFile(buffer).read("archive/data.pkl")
    # The four places that say the size and the stride: (4,) and (1,).
    old = b"K\x04\x85q"
    assert pickled.count(old) == 1
    numbers = b"".join(b"\x8a\x06" + one.to_bytes(6, "little") for one in shape)
    steps = b"".join(b"K" + bytes([one]) for one in stride)
    start = pickled.index(old)
    end = pickled.index(b"K\x01\x85q", start) + 5
    pickled = pickled[:start] + b"(" + numbers + b"t" + b"(" + steps + b"t" + pickled[end:]
    return archive_of(path, pickled, **{"0": bytes(4 * there)})


def growing(path: Path) -> Path:
    value: object = b"0123456789" * 8
    for _ in range(30):
        value = _Grown(value)
    return archive_of(path, pickle.dumps({"layer.weight": value}, 2))


FORGED = {
    "a deflated zip": lambda path: archive_of(path, bytes(2**28), zipfile.ZIP_DEFLATED),
    "bytes from nothing": lambda path: archive_of(path, pickle.dumps({"x": _Bytes()}, 2)),
    "an encoding again and again": growing,
    "a tensor beyond its storage": lambda path: promise(path, (2**32,), (1,)),
    "one number, expanded": lambda path: promise(path, (2**20, 2**20), (0, 0)),
}
# In a process of its own, whose memory is measured, and limited so that a failure harms no one.
CODE = """
import resource, sys
from pathlib import Path
from asd.encoders.pretrained import weights_of
from asd.errors import UserError
resource.setrlimit(resource.RLIMIT_DATA, (@, @))
for path in map(Path, sys.argv[1:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        weights_of(path, "a layer", "layer.weight")
    except UserError as error:
        print(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000, f"{path}: {grown} kB"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"{kind}.pt") for kind, make in FORGED.items()]
    assert all(path.stat().st_size < 2**19 for path in paths)
    code = CODE.replace("@", str(3 * 2**30))
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert all(str(path) in line for path, line in zip(paths, done.stdout.splitlines(), strict=True)), done.stdout
