"""Unsupervised anomalous sound detection: a Lightning application with a plug-in model zoo.

Nothing heavy is imported here, so that ``asd --help`` answers at once.
"""

__version__ = "0.1.0"
