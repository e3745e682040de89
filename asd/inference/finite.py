"""No verdict without numbers: what is stored, and every score, has to be finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor, nn

from asd.data.audio.decoding import AudioError
from asd.errors import UserError
from asd.training.network import Network

_SHOWN = 3


def check_stored(model: Network) -> None:
    """Raise `UserError` where a score or a decision would come from a weight or a limit that is not finite."""
    parts: dict[str, nn.Module] = {"encoder": model.encoder, "adapter": model.adapter, "sections": model.sections}
    tensors = (
        (f"{part}.{key}", value)
        for part, module in parts.items()
        for key, value in module.state_dict().items()
        if isinstance(value, Tensor)
    )
    bad = [key for key, value in tensors if not _is_finite(value)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise UserError(
            f"the checkpoint holds numbers that are not finite (NaN or infinity), in {', '.join(bad[:_SHOWN])}{more}: "
            "nothing can be judged by it; take an earlier checkpoint, or train with a lower learning rate or in float32"
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    # Both ends say it in one pass and without a copy: NaN is passed on.
    return all(bool(end.isfinite()) for end in tensor.aminmax())


def check_scores(scores: Iterable[float], name: str) -> None:
    """Raise `AudioError` where one of a recording's scores is not finite: neither normal nor anomalous follows."""
    if not all(map(math.isfinite, scores)):
        raise AudioError(
            f"{name or 'the recording'}: its score is not finite (NaN or infinity), so nothing can be said of it; "
            "check the recording, and the detector on others"
        )
