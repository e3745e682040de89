"""Files of weights: what is wrong with one is said in a line, and code in it is never run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asd.encoders.checkpoints import load_strict, read
from asd.errors import UserError


def test_both_formats_are_read(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save({"model": state}, tmp_path / "a.pt")
    save_file(dict(state), tmp_path / "a.safetensors")
    assert torch.equal(read(tmp_path / "a.pt")["model"]["weight"], state["weight"])
    assert torch.equal(read(tmp_path / "a.safetensors")["weight"], state["weight"])


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harmed"),))  # type: ignore[return-value]


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "bad.pt").open("wb") as file:
        pickle.dump({"model": _Harm()}, file)
    torch.save({"model": _Harm()}, tmp_path / "worse.pt")
    for name in ("bad.pt", "worse.pt"):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"weight": torch.ones(1000)}, path)
    else:
        save_file({"weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cut short"):
        read(path)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"weight": None}, "no key weight"),
        ({"extra": torch.ones(1)}, "unexpected key extra"),
        ({"weight": torch.ones(5, 5)}, r"weight is of shape \(5, 5\), expected \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor | None], shown: str) -> None:
    layer = nn.Linear(3, 2)
    state = {key: value for key, value in {**layer.state_dict(), **change}.items() if value is not None}
    with pytest.raises(UserError, match=shown):
        load_strict(layer, state, Path("weights.pt"))
