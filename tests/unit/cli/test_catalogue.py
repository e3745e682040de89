"""Tables of what there is to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.cli.catalogue import markdown_table, score_sources
from asd.encoders import Encoder, KnownScore
from asd.plugins import known

RESULTS = Path(__file__).parents[3] / "tests/benchmarks/RESULTS.md"


def test_of_many_weights_the_first_few_are_named() -> None:
    rows = [{"encoder": "-", "weights": ", ".join(f"w{n}" for n in range(count))} for count in (6, 9)]
    six, nine = markdown_table(rows).splitlines()[2:]
    assert "w0, w1, w2, w3, w4, w5 " in six
    assert "w0, w1, w2 and 6 more " in nine


SCORES = [(name, score) for name, cls in known(Encoder).items() for score in cls.scores]


@pytest.mark.parametrize(("name", "score"), SCORES, ids=lambda one: one if isinstance(one, str) else str(one))
def test_scores_of_encoders_are_told_with_who_measured_them(name: str, score: KnownScore) -> None:
    assert f"{name}, {score}: {score.source}" in score_sources()
    assert score.source
    if score.on == "RealMix":
        assert f"{score.value:.2f}" in RESULTS.read_text(encoding="utf-8")
