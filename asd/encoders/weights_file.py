"""Opening a file of weights for what it is, by its first bytes; code in it is not run, sizes in it are not believed."""

from __future__ import annotations

import argparse
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from asd.errors import UserError

_FORGED = 4
"""Networks may name a tensor a few times."""

_ZIP = b"PK\x03\x04"
# The number that files of torch.save began with until 2020, as a pickle.
_PICKLE = re.compile(rb"\x80[\x02-\x05]\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.")
# What people have in the place of weights: the first bytes, what that is, and what to do.
_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(begin, re.DOTALL | re.IGNORECASE), remedy)
    for begin, remedy in (
        (rb"$", "is empty; download it again"),
        (rb"version https://git-lfs", "is a pointer of Git LFS, not the file itself; run `git lfs pull`"),
        (rb"(\xef\xbb\xbf)?\s*<", "is a web page, such as a sign-in or an error, not weights; download it again"),
        (rb"(\xef\xbb\xbf)?\s*[{\[]", "is JSON, such as a configuration or an index; give the weights beside it"),
        (
            rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|.{257}ustar",
            "is an archive; unpack it first",
        ),
        (rb"\x80[\x02-\x05]", "is a pickle of Python, which may hold code and is not run; convert it to safetensors"),
        (rb"\x89HDF", "is an HDF5 file of Keras, not of PyTorch"),
        (rb"\x93NUMPY", "is an array of NumPy, not weights by name"),
        (rb"GGUF", "is a GGUF file; get the weights in safetensors"),
        (rb"[\x08\x0a].{1,40}(onnx|pytorch|tf2onnx|ir_version)", "is an ONNX model; get the weights of PyTorch"),
    )
)
# Text encodings that make more bytes of bytes: one after the other, they fill the memory from a small file.
_GROWING = {"hex", "hex_codec", "quopri", "quopri_codec", "quoted_printable", "quotedprintable", "base64", "uu"}
_GROWING |= {"base_64", "base64_codec", "uu_codec", "bz2", "bz2_codec", "zip", "zlib", "zlib_codec"}


def format_of(path: Path) -> Literal["safetensors", "zip", "pickle"]:
    """What a file of weights is by its first bytes; its suffix does not matter.

    Raises:
        UserError: It is something else; says what, and what to do.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file of weights in it")
    with path.open("rb") as file:
        begin = file.read(512)
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") < 2**32:
        return "safetensors"
    if begin.startswith(_ZIP):
        return "zip"
    if _PICKLE.match(begin):
        return "pickle"
    for pattern, remedy in _OTHERS:
        if pattern.match(begin):
            raise UserError(f"{path} {remedy}")
    raise UserError(f"{path} is neither safetensors nor a file of torch.save: it begins with {begin[:16]!r}")


def read(path: Path) -> Mapping[str, Any]:
    """What a safetensors file or a file of `torch.save` holds, on the CPU.

    Tensors are mapped from the file where its format allows it. Beside tensors, plain values are taken: those of
    Python, numpy scalars, paths and `argparse.Namespace`; arrays of numpy are passed over. A sequence becomes a mapping
    from places: ``0``, ``1`` and so on.

    Raises:
        UserError: The file is something else, is cut short or damaged, or holds pickled code; or no mapping.
    """
    try:
        form = format_of(path)
        if form == "safetensors":
            tensors: Mapping[str, Any] = load_file(path)
            return tensors
        with path.open("rb") as file:
            (_check_archive if form == "zip" else _check_pickles)(file, path)
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols: read or refused
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=form == "zip")
    except UserError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        if "weights_only" in said or "Unsupported" in said:
            named = re.search(r"GLOBAL (\S+)", said)
            what = f" ({named[1]})" if named else ""
            raise UserError(
                f"{path} holds pickled code{what}, which is not run; get it from its authors or convert it to "
                "safetensors"
            ) from error
        raise UserError(f"{path} cannot be read as weights, it may be cut short: {said[:120]}") from error
    if isinstance(content, list | tuple):
        content = {str(place): part for place, part in enumerate(content)}
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name")
    return content


def check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise `UserError` for tensors that fill more memory than their file could hold: their shapes are forged."""
    held, there = sum(value.nbytes for value in state.values()), path.stat().st_size
    if held > _FORGED * there + 2**20:
        raise UserError(f"{path} says it holds {held:,} bytes of weights, but has {there:,}; get it from its authors")


def _check_archive(file: BinaryIO, path: Path) -> None:
    """That a zip archive is one of `torch.save`, and no larger unpacked than it is."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = [entry.filename.rpartition("/")[2] for entry in entries]
        if "data.pkl" not in names:
            raise UserError(f"{path} is a zip archive, but not of torch.save; unpack it, or give the weights in it")
        if "constants.pkl" in names:
            raise UserError(f"{path} is a TorchScript program, which is code and not run; get its state dict")
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise UserError(
                f"{path} unpacks to more than it holds, as torch.save never writes; get it from its authors"
            )
        with archive.open(entries[names.index("data.pkl")]) as pickled:
            _check_pickle(pickled, path)


def _check_pickles(file: BinaryIO, path: Path) -> None:
    # As torch.save wrote until 2020: five pickles, then the tensors' bytes.
    for _ in range(5):
        _check_pickle(file, path)
        if not file.peek(1):  # type: ignore[attr-defined]
            return


def _check_pickle(file: Any, path: Path) -> None:
    """That nothing in a pickle grows: what else it may call, `torch.load` decides."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise UserError(f"{path} holds pickled code (bytearray), which is not run; get it from its authors")
        if isinstance(argument, str) and argument.casefold().replace("-", "_") in _GROWING:
            raise UserError(f"{path} holds pickled code ({argument}), which is not run; get it from its authors")


class _NumpyType:
    """Stands in for `numpy.dtype`: a name and a byte order, of which nothing is made."""

    def __init__(self, name: str, *flags: object) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


def _numpy_scalar(kind: _NumpyType, data: bytes) -> Any:
    """Stands in for numpy's own, which reserves what is asked for; a plain number of Python."""
    dtype = np.dtype(kind.order.strip("=|") + kind.name)
    if dtype.kind not in "biufc" or len(data) != dtype.itemsize:
        raise ValueError(f"a numpy scalar of type {kind.name} in {len(data)} bytes")
    return np.frombuffer(data, dtype)[0].item()


class _NumpyArray:
    """Stands in for an array of numpy, of which nothing is made: what lies beside weights is not used."""

    def __setstate__(self, state: object) -> None:
        """Forget it."""


def _numpy_array(*_: object) -> _NumpyArray:
    return _NumpyArray()


def _path_text(*parts: str) -> str:
    return "/".join(map(str, parts))


# By the names that pickles call them; each makes plain data of what it is given.
_PLAIN: list[Any] = [
    (argparse.Namespace, "argparse.Namespace"),
    (_NumpyType, "numpy.dtype"),
    *((_numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_NumpyArray, "numpy.ndarray"),
    *((_numpy_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_path_text, f"pathlib.{kind}Path") for kind in ("Posix", "Windows", "PurePosix", "PureWindows")),
    *((_path_text, f"pathlib._local.{kind}Path") for kind in ("Posix", "Windows", "PurePosix", "PureWindows")),
    (OrderedDict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (OrderedDict, "lightning_fabric.utilities.data.AttributeDict"),
    (OrderedDict, "lightning.fabric.utilities.data.AttributeDict"),
]
