"""Classification heads: margin losses over the auxiliary classes."""

from asd.heads.base import Head

__all__ = ["Head"]
