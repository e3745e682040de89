"""Everything an encoder plug-in is built from: the contract, front ends, augmentation, adapter and weights."""

from asd.encoders.augment import Augmentation
from asd.encoders.base import Encoder, Statistics
from asd.encoders.weights import WeightsCard

__all__ = ["Augmentation", "Encoder", "Statistics", "WeightsCard"]
