"""Paths of earlier versions in configurations and checkpoints lead to the classes of today."""

from __future__ import annotations

from importlib import import_module

import pytest

from asd.moved import current, with_current

EARLIER = {
    "asd.averaging.AveragedWeights": "asd.training.AveragedWeights",
    "asd.callbacks.RunOutputs": "asd.training.RunOutputs",
    "asd.data.mimii.MIMII": "asd.data.MIMII",
    "asd.data.own.Recordings": "asd.data.Recordings",
    "asd.data.sharded.Shards": "asd.data.Shards",
    "asd.data.synthetic.Synthetic": "asd.data.Synthetic",
    "asd.data.toyadmos2.ToyADMOS2": "asd.data.ToyADMOS2",
    "asd.data.mixing.NoiseMix": "asd.data.NoiseMix",
    "asd.deploy.Detector": "asd.inference.Detector",
    "asd.deploy.detector.Detector": "asd.inference.Detector",
    "asd.detector.AnomalyDetector": "asd.training.AnomalyDetector",
    "asd.encoders.adapter.Adapter": "asd.encoders.Adapter",
    "asd.encoders.augment.Mixup": "asd.encoders.Mixup",
    "asd.encoders.augment.SpecAugment": "asd.encoders.SpecAugment",
    "asd.encoders.warmup.WarmUp": "asd.training.WarmUp",
    "asd.heads.cosine.SubclusterAdaCos": "asd.heads.SubclusterAdaCos",
    "asd.optim.OptimizerOptions": "asd.training.OptimizerOptions",
    "asd.scoring.kmeans.KMeansScorer": "asd.scoring.KMeansScorer",
    "asd.scoring.threshold.GammaThreshold": "asd.scoring.GammaThreshold",
}


@pytest.mark.parametrize("path", EARLIER)
def test_earlier_paths_are_found(path: str) -> None:
    assert current(path) == EARLIER[path]
    module, _, name = EARLIER[path].rpartition(".")
    assert getattr(import_module(module), name).__name__ == name


@pytest.mark.parametrize(
    "path", ["KMeansScorer", "torch.nn.ReLU", "asd.gone.away.Thing", "asd.scoring.kmeans.Gone", "asd"]
)
def test_others_stay_as_they_are(path: str) -> None:
    assert current(path) == path


def test_a_configuration_is_gone_through_to_its_end() -> None:
    given = {
        "data": {"class_path": "asd.data.own.Recordings", "init_args": {"root": "asd.data.own.Recordings"}},
        "trainer": {"callbacks": [{"class_path": "asd.averaging.AveragedWeights"}]},
    }
    assert with_current(given) == {
        "data": {"class_path": "asd.data.Recordings", "init_args": {"root": "asd.data.own.Recordings"}},
        "trainer": {"callbacks": [{"class_path": "asd.training.AveragedWeights"}]},
    }
