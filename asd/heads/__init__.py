"""Classification heads: margin losses over the auxiliary classes."""

from asd.heads.base import Head
from asd.heads.cosine import AdaCos, ArcFace, SubclusterAdaCos
from asd.heads.linear import CrossEntropy
from asd.heads.projection import AdaProj

__all__ = ["AdaCos", "AdaProj", "ArcFace", "CrossEntropy", "Head", "SubclusterAdaCos"]
