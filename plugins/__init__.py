"""Encoder plug-ins, one a file; imported as ``asd_plugins``."""
