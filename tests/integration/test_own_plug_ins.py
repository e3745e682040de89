"""One file of one's own may hold a part of every kind; each goes by its class name, and a checkpoint finds it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.quick import QUICK

OWN = '''
"""Parts of a user's own."""

import torch
from torch import nn

from asd.encoders import Adapter, Augmentation
from asd.heads import Head
from asd.scoring import Scorer, Threshold


class OwnHead(Head):
    """Cross-entropy.

    Args:
        scale: Factor on the logits.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def build(self, embedding_dim, classes):
        self.classes = classes
        self.own_linear = nn.Linear(embedding_dim, classes)
        return self

    def logits(self, embeddings):
        return self.scale * self.own_linear(embeddings).float()

    def forward(self, embeddings, targets):
        return -(targets * self.logits(embeddings).log_softmax(1)).sum(1).mean()


class OwnThreshold(Threshold):
    """Half the quantile and half the highest score.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        weight: Of the highest score.
    """

    def __init__(self, quantile: float = 0.5, weight: float = 0.5) -> None:
        super().__init__(quantile)
        self.weight = weight

    def at(self, scores, quantile):
        return float((1 - self.weight) * torch.quantile(scores, quantile) + self.weight * scores.max())


class OwnAugmentation(Augmentation):
    """A random gain.

    Args:
        spread: Its standard deviation.
    """

    def __init__(self, spread: float = 0.1) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, spectrogram):
        gain = self.spread * torch.randn_like(spectrogram[:, :1, :1])
        return spectrogram + gain if self.training else spectrogram


class OwnScorer(Scorer):
    """Distance to the mean.

    Args:
        power: Of the distance.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def fit(self, embeddings, target, group=None):
        self.check_reference(embeddings)
        self.remember(own_mean=embeddings.mean(0))
        return self

    def forward(self, embeddings):
        self.check_fitted()
        return (embeddings - self.own_mean).norm(dim=1) ** self.power


class OwnAdapter(Adapter):
    """The usual one."""
'''
PARTS = {"head": "OwnHead", "threshold": "OwnThreshold", "scorer": "OwnScorer", "adapter": "OwnAdapter"}


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "own_parts_of_a_user.py").write_text(OWN)
    return {"ASD_PLUGINS": str(tmp_path / "parts")}


def test_a_file_of_ones_own_holds_parts_of_every_kind(
    asd: Any, own: dict[str, str], synthetic: Path, tmp_path: Path
) -> None:
    config = {
        "model": {
            "encoder": {
                "class_path": "DualBranchCNN",
                "init_args": {"seconds": 1.0, "width": 4, "augment": {"class_path": "OwnAugmentation"}},
            },
            "head": {"class_path": "OwnHead", "init_args": {"scale": 2.0}},
            "scorer": "OwnScorer",
        }
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    done = asd(
        "fit", "--config", "own.yaml", "--model.threshold", "OwnThreshold", "--model.threshold.weight=0.25",
        "--model.adapter=OwnAdapter", "--model.encoder.augment.spread", "0.2", "--data.root", synthetic,
        "--data.seconds=1", "--data.batch_size=8", "--trainer.max_epochs=1", *QUICK, cwd=tmp_path, **own,
    )  # fmt: skip
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    saved = yaml.safe_load((folder / "config.yaml").read_text())["model"]
    for name, cls in PARTS.items():
        assert saved[name]["class_path"] == f"own_parts_of_a_user.{cls}"
    assert saved["threshold"]["init_args"]["weight"] == 0.25
    assert saved["encoder"]["init_args"]["augment"]["init_args"] == {"spread": 0.2}
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert any(key.endswith("own_linear.weight") for key in state)
    assert any(key.endswith("own_mean") for key in state)

    clip = next(synthetic.rglob("test/*.wav"))
    score = ("score", clip, "--checkpoint", folder, "--machine", clip.parents[1].name)
    assert "own_parts_of_a_user" in asd(*score, cwd=tmp_path, expect=2).stderr, (
        "without the folder it says what is missing"
    )
    again = asd("test", "--ckpt_path", folder, *QUICK, "--out=again", cwd=tmp_path, **own)
    assert "official" in again.stdout
