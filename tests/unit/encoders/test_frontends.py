"""Front ends equal torchaudio's clip by clip, and no clip changes another."""

from __future__ import annotations

import pytest
import torch
import torchaudio

from asd.encoders.frontends import KaldiFilterBank, LogMel
from asd.encoders.stft import _by_products, whole_magnitudes


def clips(count: int = 3, samples: int = 16000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, samples, generator=generator) * torch.tensor([[0.001], [0.1], [0.9]])[:count]


@pytest.mark.parametrize("window", ["povey", "hanning"])
@pytest.mark.parametrize("samples", [16000, 33333])
def test_filter_bank_equals_kaldi(window: str, samples: int) -> None:
    waveform = clips(samples=samples) * 2**15
    found = KaldiFilterBank(128, window)(waveform)
    for row, one in zip(found, waveform, strict=True):
        expected = torchaudio.compliance.kaldi.fbank(
            one[None], num_mel_bins=128, sample_frequency=16000, window_type=window, dither=0.0
        )
        torch.testing.assert_close(row, expected, rtol=0, atol=1e-4)


def test_log_mel_equals_torchaudio_clip_by_clip() -> None:
    waveform = clips()
    waveform[0, 8000:] = 0
    mel = torchaudio.transforms.MelSpectrogram(16000, 512, hop_length=160, n_mels=64, f_max=8000)
    level = torchaudio.transforms.AmplitudeToDB("power", 120.0)
    found = LogMel()(waveform)
    for row, one in zip(found, waveform, strict=True):
        torch.testing.assert_close(row, level(mel(one[None]))[0].mT, rtol=0, atol=1e-4)


@pytest.mark.parametrize("front_end", [KaldiFilterBank(), LogMel()])
def test_short_clips_and_autocast(front_end: torch.nn.Module) -> None:
    assert front_end(torch.ones(2, 10)).shape[1] >= 1
    waveform = clips()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(front_end(waveform), front_end(waveform.clone()))
        rounded = front_end(waveform)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, front_end(waveform))


@pytest.mark.parametrize("length", [16000, 96000, 160000])
def test_the_transform_by_products_is_the_fast_one(length: int) -> None:
    waveform = torch.randn(2, length, generator=torch.Generator().manual_seed(0))
    expected = torch.fft.fft(waveform.double())
    for found, part in zip(_by_products(waveform), (expected.real, expected.imag), strict=True):
        assert torch.allclose(found.double(), part, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("length", [16000, 16001])
def test_the_whole_spectrum_is_exported(length: int) -> None:
    class Whole(torch.nn.Module):
        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            return whole_magnitudes(waveform)

    waveform = torch.randn(2, length, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(Whole(), (waveform,), strict=False)
    names = {str(node.target) for node in program.graph.nodes}
    assert any("fft" in name for name in names) == (length == 16001), "lengths without factors keep the fast transform"
    found = program.module()(waveform)
    assert found.shape == (2, length // 2)
    assert torch.allclose(found, whole_magnitudes(waveform), rtol=1e-4, atol=1e-3)
