"""One HTML file that tells all of a run."""

from asd.report.assemble import Options, Written, write
from asd.report.card import write_card

__all__ = ["Options", "Written", "write", "write_card"]
