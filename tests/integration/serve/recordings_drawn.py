"""What schemathesis sends where the document asks for a recording: one. It imports this file by its name."""

from __future__ import annotations

import numpy as np
import schemathesis
from hypothesis import strategies
from schemathesis.transport.serialization import Binary

from tests.integration.serve.client import RATE, sound

_RECORDINGS = strategies.sampled_from(
    [sound(0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))) for seconds in (0.3, 1, 2.5)]
)
schemathesis.openapi.media_type("application/octet-stream", _RECORDINGS, aliases=["audio/wav"])
schemathesis.openapi.format("binary", _RECORDINGS.map(Binary))
