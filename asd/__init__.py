"""Unsupervised anomalous sound detection: a Lightning application with a plug-in model zoo.

Nothing heavy is imported here, so that ``asd --help`` answers at once; `asd.Detector` is, when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd.inference import Detector, Result

__all__ = ["Detector", "Result", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Detector", "Result"):
        from asd import inference

        return getattr(inference, name)
    raise AttributeError(f"module 'asd' has no attribute {name!r}")
