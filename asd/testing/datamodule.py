"""What every data module of clips must hold to."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from asd.data.audio.tar_members import read_member
from asd.data.clip import Clip, ClipBatch, Condition, Kind, Split
from asd.data.datamodule import ClipDataModule, Loader

_RENAMED_CLIPS = 8


def check_datamodule(datamodule: ClipDataModule) -> None:
    """Check a data module that is not set up yet; best on little data, which is read several times.

    Raises:
        AssertionError: What is broken.
    """
    _check_documented(datamodule)
    datamodule.prepare_data()
    datamodule.setup("fit")
    _check_clips(datamodule)
    _check_train(datamodule)
    _check_order(datamodule)
    _check_evaluation(datamodule)
    _check_statistics(datamodule)
    if datamodule.encoded is None:  # else there are no files that could be renamed
        _check_test_names(datamodule)


def _check_documented(datamodule: ClipDataModule) -> None:
    names = [name for name in type(datamodule).__init__.__annotations__ if name != "return"]
    missing = [name for name in names if f"{name}:" not in (type(datamodule).__doc__ or "")]
    assert not missing, f"{type(datamodule).__name__}: arguments not described in the docstring: {', '.join(missing)}"


def _check_clips(data: ClipDataModule) -> None:
    assert data.train_clips, "no training clips"
    assert all(clip.split != Split.TEST for clip in data.train_clips), "a test clip is among the training clips"
    assert all(clip.condition != Condition.ANOMALY for clip in data.train_clips), "an anomaly is trained on"
    assert all(clip.split == Split.TEST for clip in data.query_clips), "a query clip is not a test clip"
    assert data.reference_clips == [clip for clip in data.train_clips if clip.kind == Kind.MACHINE], (
        "the reference clips are not the machines' normal training clips"
    )
    sounds = [clip.sound for clip in (*data.train_clips, *data.query_clips)]
    assert len(set(sounds)) == len(sounds), "a file, or the same part of one, is listed twice"
    names = list(data.classes.names)
    assert len(set(names)) == len(names), f"classes of the same name: {names}"
    labels = {data.classes.label(clip) for clip in data.train_clips}
    assert labels == set(range(len(names))), "classes do not come from the training clips alone"


def _width(data: ClipDataModule) -> int:
    """Samples of a waveform, or numbers of what stands in its place."""
    return round(data.seconds * data.sample_rate) if data.encoded is None else data.encoded.width


def _check_batch(data: ClipDataModule, batch: ClipBatch, clips: list[Clip]) -> None:
    assert isinstance(batch, ClipBatch), f"a batch is a {type(batch).__name__}, not a ClipBatch"
    waveform, label, index = batch
    rows = len(index)
    assert 0 < rows <= data.batch_size, f"a batch of {rows} clips, batch_size is {data.batch_size}"
    expected = (rows, _width(data))
    assert tuple(waveform.shape) == expected, f"waveform {tuple(waveform.shape)} is not (B, T) = {expected}"
    assert waveform.dtype == torch.float32, f"waveform is {waveform.dtype}, not float32"
    assert bool(waveform.isfinite().all()), "waveform is not finite"
    assert data.encoded is not None or float(waveform.abs().max()) <= 1, "waveform is not in [-1, 1]"
    assert bool(waveform.any(dim=1).all()), "a waveform is silent"
    assert label.shape == index.shape == (rows,), "label and index are not (B,)"
    assert label.dtype == index.dtype == torch.int64, "label and index are not int64"
    for one, row in zip(label.tolist(), index.tolist(), strict=True):
        clip = clips[row]
        right = -1 if clip.split == Split.TEST else data.classes.label(clip)
        assert one == right, f"{clip.path}: label {one} instead of {right}"


def _read(data: ClipDataModule, loader: Loader, clips: list[Clip]) -> tuple[Tensor, Tensor]:
    """Every row of a loader, checked: index ``(N,)`` and waveform ``(N, T)``."""
    index, waveform = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, _width(data))]
    for batch in loader:
        _check_batch(data, batch, clips)
        index.append(batch.index)
        waveform.append(batch.waveform)
    return torch.cat(index), torch.cat(waveform)


def _check_train(data: ClipDataModule) -> None:
    index, _ = _read(data, data.train_dataloader(), data.train_clips)
    assert len(set(index.tolist())) == len(index), "a training clip comes twice in an epoch"
    left_out = len(data.train_clips) - len(index)
    single = data.batch_size > 1 and len(data.train_clips) % data.batch_size == 1
    assert left_out <= single, f"{left_out} training clips are left out of the epoch"


def _check_order(data: ClipDataModule) -> None:
    def order(epoch: int) -> list[int]:
        loader = data.train_dataloader()
        set_epoch = getattr(loader.sampler, "set_epoch", None)
        assert set_epoch is not None, "the training sampler has no set_epoch: a resumed run repeats the first epoch"
        set_epoch(epoch)
        return [row for batch in loader for row in batch.index.tolist()]

    assert order(0) == order(0), "the same seed and epoch give another order"
    if len(data.train_clips) > 8:
        assert order(0) != order(1), "every epoch has the same order"


def _check_evaluation(data: ClipDataModule) -> None:
    for kind, loaders in (("val", data.val_dataloader), ("test", data.test_dataloader)):
        first, again = loaders(), loaders()
        assert len(first) == 2, f"{kind}_dataloader gives {len(first)} loaders, not [reference, query]"
        for one, other, clips in zip(first, again, (data.reference_clips, data.query_clips), strict=True):
            index, waveform = _read(data, one, clips)
            assert index.tolist() == list(range(len(clips))), f"{kind}_dataloader: the clips are not all there in order"
            for repeat in (one, other):
                assert torch.equal(_read(data, repeat, clips)[1], waveform), f"{kind}_dataloader: not the same twice"


def _check_statistics(data: ClipDataModule) -> None:
    index, waveform = _read(data, data.statistics_dataloader(), data.train_clips)
    assert index.tolist() == list(range(len(data.train_clips))), "statistics_dataloader: clips missing or not in order"
    for rank in range(2):
        part, dealt = _read(data, data.statistics_dataloader(rank, 2), data.train_clips)
        assert torch.equal(part, index[rank::2]), f"statistics_dataloader: rank {rank} of 2 has the wrong clips"
        assert torch.equal(dealt, waveform[rank::2]), "statistics_dataloader: a crop depends on the number of processes"


class _Renamed(ClipDataModule):
    def __init__(self, data: ClipDataModule, clips: Iterable[Clip]) -> None:
        super().__init__(
            data.seconds, data.batch_size, 0, data.pad, data.channel, data.clean_class, data.noise_class, cache_gb=0
        )
        self.sample_rate = data.sample_rate
        self._clips = list(clips)

    def clips(self) -> list[Clip]:
        return self._clips


def _check_test_names(data: ClipDataModule) -> None:
    """Labelled test names give the answer away: with neutral ones, in another order, all else must be the same."""
    chosen = data.query_clips[:_RENAMED_CLIPS]
    with TemporaryDirectory() as folder:
        neutral = []
        for number, clip in enumerate(reversed(chosen)):
            path = Path(folder) / f"{number:04d}{clip.path.suffix}"
            if clip.member is None:
                shutil.copyfile(clip.path, path)
            else:
                path.write_bytes(read_member(clip.member))
            neutral.append(Clip(path, clip.machine, clip.section, Split.TEST, start=clip.start, seconds=clip.seconds))
        renamed = _Renamed(data, [*data.train_clips, *neutral])
        renamed.setup("fit")
        assert renamed.classes.names == data.classes.names, "the classes depend on the names of test clips"
        index, waveform = _read(renamed, renamed.val_dataloader()[1], renamed.query_clips)
        assert len(index) == len(chosen), "a test clip is left out because of its name"
        before = [batch.waveform for batch in data.val_dataloader()[1]]
        if before:
            assert torch.equal(waveform.flip(0), torch.cat(before)[: len(chosen)]), "waveforms depend on the file name"
