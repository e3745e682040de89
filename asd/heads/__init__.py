"""Heads: margin losses over the auxiliary classes, and the loss of an autoencoder."""

from asd.heads.base import Head
from asd.heads.cosine import AdaCos, ArcFace, SubclusterAdaCos
from asd.heads.linear import CrossEntropy
from asd.heads.projection import AdaProj
from asd.heads.reconstruction import Reconstruction

__all__ = ["AdaCos", "AdaProj", "ArcFace", "CrossEntropy", "Head", "Reconstruction", "SubclusterAdaCos"]
