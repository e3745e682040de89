"""One HTML file that tells all of a run."""

from asd.report.assemble import Options, Written, write

__all__ = ["Options", "Written", "write"]
