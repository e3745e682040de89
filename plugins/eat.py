"""EAT: a transformer over spectrogram patches, pre-trained on AudioSet by predicting what a teacher makes of them.

Chen et al., "EAT: Self-supervised pre-training with efficient audio transformer" (2024), arXiv:2401.03497. SSLAM is the
same network, trained further on mixtures: Alex et al., "SSLAM: Enhancing self-supervised models with audio mixtures for
polyphonic soundscapes" (2025), arXiv:2506.12222.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, Self, get_args

import torch.nn.functional as F
from asd_plugins.eat_layers import (
    PATCH,
    TABLE,
    PatchTransformer,
    Student,
    check_target_length,
    classifier_of,
    read_student,
)
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.frontends import KaldiFilterBank
from asd.encoders.transformer import PROJECTIONS, TransformerShape, check_layers, decided
from asd.errors import UserError

Tokens = Literal["all", "class"]

_MEAN, _STD = -4.268, 4.569
_PADDED = (0 - _MEAN) / (2 * _STD)
_BANDS = 128
_ROWS = _BANDS // PATCH
_EAT, _SSLAM = "arXiv:2401.03497", "arXiv:2506.12222"
_HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"
_DRIVE = "https://drive.google.com"


@dataclass(frozen=True)
class EATShape(TransformerShape):
    """Dimensions of the network.

    Attributes:
        width: Feature width.
        depth: Number of layers.
        heads: Attention heads.
        max_length: Steps of 160 ms that there are positions for.
    """

    max_length: int = 768


def _card(name: str, hub: str, paper: str, sha256: str | None = None) -> WeightsCard:
    return WeightsCard(
        name, "model.safetensors", "MIT", paper, _HUB.format(hub), sha256=sha256, beside=("config.json",)
    )


class EAT(Encoder):
    """EAT and SSLAM at 16 kHz: base with 85 M parameters, large. A patch is 160 ms by 16 of 128 bands.

    Weights are taken in both layouts, that of fairseq and that of the hub; of a pre-trained file the student, not the
    teacher beside it.

    Args:
        size: Published size; ``None``: that of the weights, or base.
        target_length: Mel frames, 100 a second, that every clip is cut to, or padded to with zeros that the model
            hears, as the authors do; ``auto``: those of the clip, to the next multiple of 16.
        tokens: ``all`` tokens, the class token first; or it alone (``class``), the authors' embedding of a clip.
        layers: The last so many layers are returned.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file, or the hub's folder with ``config.json``, or the name of one that was fetched;
            ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    projections = PROJECTIONS
    sample_rate = 16000
    sizes: ClassVar[Mapping[str, EATShape]] = {"base": EATShape(768, 12, 12), "large": EATShape(1024, 24, 16)}
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(
            56.59,
            "frozen",
            "2025 evaluation",
            "nearest neighbour, features averaged; polestvr/daco-experiments",
        ),
    )
    cards: ClassVar[Sequence[WeightsCard]] = (
        _card(
            "eat_base_epoch30",
            "worstchan/EAT-base_epoch30_pretrain",
            _EAT,
            "8623072d09aac4f3ad1168b4fed3a24e4f68fe1da25b9fe733375efb237e5f48",
        ),
        _card("eat_base_epoch30_finetuned", "worstchan/EAT-base_epoch30_finetune_AS2M", _EAT),
        _card("eat_large_epoch20", "worstchan/EAT-large_epoch20_pretrain", _EAT),
        _card("eat_large_epoch20_finetuned", "worstchan/EAT-large_epoch20_finetune_AS2M", _EAT),
        # fairseq's files are shared by links of a file host that cannot be fetched by a program.
        *(
            WeightsCard(f"eat_{name}", f"EAT-{file}.pt", "MIT", _EAT, page=f"{_DRIVE}/file/d/{place}")
            for name, file, place in (
                ("base_epoch10", "base_epoch10_pt", "10pklbY_fKraQUIBizSg1kv4lJXNWxpxl"),
                ("base_epoch10_finetuned", "base_epoch10_ft_AS2M", "1F07zN8N54rXU-szvKUlYaCFMCepc4wHR"),
                ("base_epoch10_finetuned_as20k", "base_epoch10_ft_AS20K", "1fRX_Mgj4sHxV2F6AVfoqXObfgzFMnHRA"),
                ("base_epoch30_fairseq", "base_epoch30_pt", "19hfzLgHCkyqTOYmHt8dqVa9nm-weBq4f"),
                ("base_epoch30_finetuned_fairseq", "base_epoch30_ft", "1aCYiQmoZv_Gh1FxnR-CCWpNAp6DIJzn6"),
                ("large_epoch20_fairseq", "large_epoch20_pt", "1PEgriRvHsqrtLzlA478VemX7Q0ZGl889"),
                ("large_epoch20_finetuned_fairseq", "large_epoch20_ft", "1b_f_nQAdjM1B6u72OFUtFiUu-4yM2shd"),
            )
        ),
        _card(
            "sslam",
            "ta012/SSLAM_pretrain",
            _SSLAM,
            "8ec670adb241c710422ddd894ff1bade142ef0b25cf1ee68577aa45f89432298",
        ),
        _card("sslam_finetuned", "ta012/SSLAM_AS2M_Finetuned", _SSLAM),
        *(
            WeightsCard(name, file, "MIT", _SSLAM, page=f"{_DRIVE}/drive/folders/{place}")
            for name, file, place in (
                ("sslam_fairseq", "checkpoint_last.pt", "1aA65-qQCHSCrkiDeLGUtn1PiEjJi5HS8"),
                ("sslam_finetuned_fairseq", "checkpoint_best.pt", "1Yy38IyksON5RJFNM7gzeQoAOSPnEIKp2"),
            )
        ),
    )

    def __init__(
        self,
        size: Literal["base", "large"] | None = None,
        target_length: int | Literal["auto"] = 1024,
        tokens: Tokens = "all",
        layers: int = 1,
        shape: EATShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if tokens not in get_args(Tokens):
            raise UserError(f"EAT: tokens is {tokens!r}; give all or class")
        student = None if weights is None else read_student(weights, "EAT")
        file = None if student is None else (student.weights, _shape_of(student))
        shape = decided("EAT", self.sizes, size, shape, file)
        check_layers("EAT", layers, shape.depth)
        self.reach = PATCH * shape.max_length
        check_target_length("EAT", target_length, self.reach)
        self.shape = shape
        self.target_length = target_length
        self.tokens = tokens
        self.layers = layers
        self.feature_dim = shape.width
        self.gradient_checkpointing = gradient_checkpointing
        self.filter_bank = KaldiFilterBank(_BANDS, "hanning")
        self.trunk = PatchTransformer(shape, shape.max_length, _ROWS)
        if tokens == "all":
            self.layout = TokenLayout(_ROWS, special_tokens=1, hop_seconds=0.01 * PATCH)
        if student is not None:
            student.load(self.trunk)
            self.settled = {"shape": asdict(shape)}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(target_length="auto", layers=2, shape=EATShape(16, 2, 2, 64))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, 128)``, the normalised Kaldi filter bank without what is cut off."""
        bank: Tensor = self.filter_bank(waveform - waveform.mean(1, keepdim=True))
        if self.target_length != "auto":
            bank = bank[:, : self.target_length]
        return (bank - _MEAN) / (2 * _STD)

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, L, F', D)``: the class token, then eight rows of patches every 160 ms."""
        frames = spectrogram.shape[1]
        if self.target_length == "auto" and frames > self.reach:
            raise UserError(
                f"EAT: clips of {frames} frames, but positions reach {self.reach}, {0.01 * self.reach:.2f} s; cut the "
                "clips, or set target_length"
            )
        length = -(-frames // PATCH) * PATCH if self.target_length == "auto" else self.target_length
        padded = F.pad(spectrogram, (0, 0, 0, length - frames), value=_PADDED)
        # (B, D, T', 8) flattened: time first, the rows of patches within it.
        patches = self.trunk.patches(padded).flatten(2).mT
        features: Tensor = self.trunk(patches, self.layers, self.gradient_checkpointing)
        return features[:, :, :1] if self.tokens == "class" else features

    def stages(self) -> list[nn.Module]:
        """Patch embedding with the class token, then layer after layer."""
        stages: list[nn.Module] = self.trunk.stages()
        return stages


def _shape_of(student: Student) -> EATShape:
    path, columns = student.weights.path, student.columns()
    if "band_width" in student.settings or columns not in (None, _ROWS):
        raise UserError(f"{path} is of FISHER, not of EAT: it has positions of bands; load it by that encoder")
    positions = student.weights.dims(TABLE, 3)[1]
    if not positions or positions % _ROWS:
        raise UserError(f"{path} has a table of {positions} positions, which is no multiple of {_ROWS} rows")
    width, depth, heads = student.shape().size
    return EATShape(width, depth, heads, positions // _ROWS)


def audioset_classifier(weights: str) -> nn.Sequential:
    """The classifier of a fine-tuned file: class tokens of the last layer ``(B, D)`` to logits ``(B, 527)``.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `EAT`.
    """
    classifier: nn.Sequential = classifier_of(weights, "EAT")
    return classifier
