"""Inputs of the audio models in transformers, computed for a batch at once where the waveforms are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.constants import constant
from asd.encoders.frontends import KaldiFilterBank
from asd.errors import UserError
from asd.utils.precision import full_precision

SETTINGS = {
    "do_normalize": "true or false",
    "mean": "a number",
    "std": "a number above 0",
    "sampling_rate": "a whole number of Hz",
}
"""Those of a folder's preprocessor_config.json that are used, and what they must be."""


def input_settings(weights: str, where: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder or hub name says of the inputs of its model; empty where it says nothing.

    Args:
        weights: The folder or name.
        where: Options of where the library looks.

    Raises:
        UserError: What it says cannot be read.
    """
    from transformers import FeatureExtractionMixin  # not above: the library is large

    try:
        found, _ = FeatureExtractionMixin.get_feature_extractor_dict(weights, **where)
    except (OSError, TypeError, ValueError) as error:
        # The library says the same of a file that is not there and of one that is no JSON, but for the cause.
        if isinstance(error, OSError) and not isinstance(error.__context__, ValueError):
            return {}
        found = None
    if not isinstance(found, Mapping):
        raise UserError(
            f"weights {weights}: preprocessor_config.json, or processor_config.json, is no JSON of settings; get it "
            "again from where the weights are"
        )
    return dict(found)


def check_settings(settings: Mapping[str, Any], weights: str | None) -> None:
    """Raise `UserError` for settings of inputs that are not what they must be, wherever they were given."""
    for name, kind in SETTINGS.items():
        if name in settings and not _fits(name, settings[name]):
            place = "config" if weights is None else f"preprocessor_config.json of {weights}, or config,"
            raise UserError(f"{place} says {name} is {settings[name]!r}; it must be {kind}")


def _fits(name: str, value: object) -> bool:
    if name == "do_normalize" or isinstance(value, bool):
        return name == "do_normalize" and isinstance(value, bool)
    if name == "sampling_rate":
        return isinstance(value, int) and value > 0
    return isinstance(value, int | float) and math.isfinite(value) and (name == "mean" or value > 0)


class WaveformInput(nn.Module):
    """The waveform itself, as the wav2vec 2.0 family takes it.

    Args:
        normalize: Give each clip zero mean and unit variance.
        shortest: Samples that the model's convolutions need for one frame.
    """

    def __init__(self, normalize: bool, shortest: int) -> None:
        super().__init__()
        self.normalize = normalize
        self.shortest = shortest

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, 1, T)``: one frame of ``T`` bands, the form of a spectrogram.

        Raises:
            UserError: The clips are shorter than one frame of the model.
        """
        if waveform.shape[-1] < self.shortest:
            raise UserError(
                f"clips of {waveform.shape[-1]} samples are too short for the encoder, which needs {self.shortest}; "
                "set data.seconds higher"
            )
        if self.normalize:
            variance, mean = torch.var_mean(waveform, dim=-1, correction=0, keepdim=True)
            waveform = (waveform - mean) / (variance + 1e-7).sqrt()
        return waveform[:, None]


class MelInput(nn.Module):
    """Mel spectrogram: centred periodic Hann windows, power, in float32 whatever the precision around it.

    Args:
        sample_rate: In Hz.
        fft: Samples per window.
        hop: Samples between windows.
        bands: Number of mel bands.
        low: Lowest frequency, Hz.
        high: Highest frequency, Hz.
        slaney: Slaney's mel scale and area normalisation; else that of HTK, not normalised.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, sample_rate: int, fft: int, hop: int, bands: int, low: float, high: float, slaney: bool) -> None:
        super().__init__()
        self.fft = fft
        self.hop = hop
        scale, norm = ("slaney", "slaney") if slaney else ("htk", None)
        from torchaudio.functional import melscale_fbanks  # not above: most encoders do without

        mel = constant(melscale_fbanks, fft // 2 + 1, low, high, bands, sample_rate, norm, scale)
        self.register_buffer("window", constant(torch.hann_window, fft), persistent=False)
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the decadic logarithm of the mel power ``(B, 1 + T // hop, M)``, at least -10."""
        with full_precision(waveform):
            spectrum = torch.stft(waveform.float(), self.fft, self.hop, window=self.window, return_complex=True)
            power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
            return (power.mT @ self.mel).clamp_min(1e-10).log10()


class KaldiInput(nn.Module):
    """Kaldi's log-mel filter bank, each band of a clip with zero mean and unit variance.

    As wav2vec 2.0-BERT (Barrault et al. 2023, arXiv:2312.05187) and fairseq S2T (Wang et al. 2020, arXiv:2010.05171)
    take it.

    Args:
        bands: Number of mel bands.
        stack: Frames side by side in one of the model.
        correction: Taken from the number of frames that the variance is divided by.
    """

    def __init__(self, bands: int, stack: int = 1, correction: int = 0) -> None:
        super().__init__()
        self.stack = stack
        self.correction = correction
        self.bank = KaldiFilterBank(bands, "povey")

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, M)``, ``F`` a multiple of the frames that are stacked.

        Raises:
            UserError: The clips are too short for that.
        """
        shortest = self.bank.frame + (self.stack - 1) * self.bank.hop
        if waveform.shape[-1] < shortest:
            raise UserError(
                f"clips of {waveform.shape[-1]} samples are too short for the encoder, which needs {shortest}; "
                "set data.seconds higher"
            )
        bank = self.bank(waveform * 2**15)
        variance, mean = torch.var_mean(bank, dim=1, correction=self.correction, keepdim=True)
        normal: Tensor = (bank - mean) / (variance + 1e-7).sqrt()
        return normal[:, : normal.shape[1] // self.stack * self.stack]

    def stacked(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to ``(B, F / S, S * M)``."""
        stacked: Tensor = spectrogram.unflatten(1, (-1, self.stack)).flatten(2)
        return stacked


class WhisperInput(nn.Module):
    """The log-mel of Whisper (Radford et al. 2022, arXiv:2212.04356).

    The model always takes clips padded to its full length. The frames of the padding are all alike, so they are left
    out here, where they would only be in the way of augmentation, and added by `pad`.

    Args:
        bands: Number of mel bands.
        frames: Frames that the model takes, 3000 for 30 s.
    """

    _SILENT_FRAMES = 4

    def __init__(self, bands: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.mel = MelInput(16000, 400, 160, bands, 0.0, 8000.0, slaney=True)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, M)``: the clip and a few frames of silence, or all frames."""
        frames = min(self.frames, 2 * -(-waveform.shape[-1] // 320) + self._SILENT_FRAMES)
        samples = frames * self.mel.hop
        waveform = F.pad(waveform[:, :samples], (0, max(0, samples - waveform.shape[-1])))
        log: Tensor = self.mel(waveform)[:, :-1]
        return (log.maximum(log.amax((1, 2), keepdim=True) - 8) + 4) / 4

    def pad(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to ``(B, M, frames)``, the missing frames filled with each clip's silence."""
        missing = self.frames - spectrogram.shape[1]
        silence = spectrogram.amin((1, 2))[:, None, None].expand(-1, missing, spectrogram.shape[2])
        return torch.cat([spectrogram, silence], dim=1).mT

    def tokens(self, frames: int) -> int:
        """Tokens that hold the clip, of a spectrogram of that many frames."""
        return frames // 2 if frames == self.frames else (frames - self._SILENT_FRAMES) // 2


class ClapInput(nn.Module):
    """The log-mel of CLAP's audio model (Wu et al. 2023, arXiv:2211.06687) in decibels.

    Args:
        bands: Number of mel bands.
        slaney: As `MelInput`; weights trained with feature fusion have it off.
        seconds: Length that a shorter clip is repeated to, and then padded; of a longer one the beginning is taken.
    """

    def __init__(self, bands: int, slaney: bool, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.samples = round(48000 * seconds)
        self.mel = MelInput(48000, 1024, 480, bands, 50.0, 14000.0, slaney)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 48 kHz to ``(B, F, M)``, the same ``F`` for every ``T``."""
        waveform = waveform[:, : self.samples]
        waveform = waveform.repeat(1, self.samples // waveform.shape[-1])
        decibels: Tensor = 10 * self.mel(F.pad(waveform, (0, self.samples - waveform.shape[-1])))
        return decibels
