"""Heads: margin losses over the auxiliary classes, feature exchange, and the loss of an autoencoder."""

from asd.heads.base import Head
from asd.heads.cosine import AdaCos, ArcFace, SubclusterAdaCos
from asd.heads.ensemble import EnsembleHead
from asd.heads.exchange import FeatureExchange
from asd.heads.linear import CrossEntropy
from asd.heads.projection import AdaProj
from asd.heads.reconstruction import Reconstruction

__all__ = [
    "AdaCos",
    "AdaProj",
    "ArcFace",
    "CrossEntropy",
    "EnsembleHead",
    "FeatureExchange",
    "Head",
    "Reconstruction",
    "SubclusterAdaCos",
]
