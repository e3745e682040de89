"""A whole folder decided together, by p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from asd.errors import UserError
from asd.inference.result import Result
from asd.scoring.limits import Decision


def discoveries(results: Sequence[Result], rate: float) -> list[Result]:
    """The results decided together, so that of those called anomalous about that part is normal, at most.

    By the step-up procedure of Benjamini and Hochberg (1995), over all results of a folder, whatever their thresholds.

    Args:
        results: With p-values.
        rate: The false discovery rate, from above 0 to below 1.

    Raises:
        UserError: A rate that is none, or a machine of which no normal clip is known.
    """
    if not 0 < rate < 1:
        raise UserError(f"the false discovery rate is {rate}; give a part of the alarms above 0 and below 1, as 0.05")
    unknown = next((one.machine for one in results if math.isnan(one.p_value)), None)
    if unknown is not None:
        raise UserError(f"{unknown}: the checkpoint keeps no scores of its normal clips, so there are no p-values")
    ordered = sorted(one.p_value for one in results)
    allowed = (p for rank, p in enumerate(ordered, 1) if p <= rate * rank / len(ordered))
    highest = max(allowed, default=0.0)
    return [replace(one, decision=Decision.ANOMALOUS if one.p_value <= highest else Decision.NORMAL) for one in results]
