"""Verdicts: what was promised, what was seen, and what it cost."""

from __future__ import annotations

import numpy as np

from asd.evaluation.calibration import Calibration, Calibrations
from asd.evaluation.intervals import Rate
from asd.evaluation.metrics import SectionMetrics, section_metrics
from asd.evaluation.tables import decisions_table
from asd.evaluation.verdicts import Verdicts, together, verdicts_of, verdicts_table


def measured(alarms: str, labels: str, domains: str, band: str = "") -> SectionMetrics:
    """A character a clip: ``1`` an alarm, ``a`` anomalous, ``t`` of the target domain, ``?`` in the band."""
    decisions, anomalous, target = (
        np.array([one == sign for one in text])
        for text, sign in ((alarms, "1"), (labels, "a"), (domains, "t"))
    )  # fmt: skip
    abstain = np.array([one == "?" for one in band]) if band else None
    return section_metrics(decisions.astype(float), anomalous, target, decisions, abstain=abstain)


FAN = measured("10000110", "nnnnaann", "sssssstt")
PUMP = measured("110101", "nnaaaa", "ssssss")
KNOWN = Calibrations({"fan_section_00": Calibration(0.5, 0.5, (0.1, 0.2, 0.3, 0.9), (0.9,))}, seconds=10.0)


def test_promise_false_alarms_and_misses_of_each_domain() -> None:
    fan_source, fan_target, pump = verdicts_of({"fan": FAN, "pump": PUMP}, KNOWN)
    assert fan_source == Verdicts("fan", "source", Rate(1, 4), Rate(1, 4), Rate(1, 2), 0.0)
    assert (fan_target.promised, fan_target.false_alarms, fan_target.misses) == (Rate(1, 1), Rate(1, 2), Rate(0, 0))
    assert (pump.promised, pump.false_alarms, pump.misses) == (Rate(0, 0), Rate(2, 2), Rate(2, 4))
    assert together([fan_source, pump], lambda one: one.false_alarms) == Rate(3, 6)
    assert verdicts_of({"fan": SectionMetrics()}) == [], "no decision is known"


def test_the_table_has_intervals_and_both_domains_together() -> None:
    shown = verdicts_table(verdicts_of({"fan": FAN, "pump": PUMP}, KNOWN), KNOWN)
    assert shown is not None
    by = {row[0]: dict(zip(shown.headers, row, strict=True)) for row in [*shown.rows, *shown.summary]}
    assert list(by) == ["fan source", "fan target", "pump source", "all source", "all target"]
    assert by["fan source"]["false alarms promised"] == by["fan source"]["false alarms"] == "25.0 (0.6 to 80.6)"
    assert by["fan source"]["false alarms a day"] == "2160"
    assert by["fan target"]["misses"] == by["pump source"]["false alarms promised"] == "-"
    assert by["all source"]["false alarms"] == Rate(3, 6).text()
    assert by["all source"]["normal clips"] == by["all source"]["anomalous clips"] == "6"
    assert "exact 95 % intervals" in shown.note


def test_of_one_domain_it_is_not_spoken_of() -> None:
    shown = verdicts_table(verdicts_of({"pump": PUMP, "valve": PUMP}))
    assert shown is not None
    assert [row[0] for row in [*shown.rows, *shown.summary]] == ["pump", "valve", "all"]
    assert "false alarms promised" not in shown.headers, "nothing is known of a promise"
    alone = verdicts_table(verdicts_of({"pump": PUMP}))
    assert alone is not None
    assert not alone.summary, "one machine is all there is"
    assert verdicts_table([]) is None


def test_the_band_is_counted_apart() -> None:
    banded = measured("100010", "nnnnaa", "ssssss", "..?...")
    shown = verdicts_table(verdicts_of({"fan": banded, "pump": PUMP}))
    assert shown is not None
    by = {row[0]: dict(zip(shown.headers, row, strict=True)) for row in shown.rows}
    assert by["fan"]["false alarms"] == Rate(1, 3).text()
    assert (by["fan"]["uncertain"], by["pump"]["uncertain"]) == ("16.7", "0.0")


def test_the_official_f1_stands_beside_what_alarms_for_everything_give() -> None:
    balanced = measured("1101", "naan", "sstt")
    shown = decisions_table({"fan": balanced})
    assert shown is not None
    assert list(shown.headers) == ["decisions", "precision", "recall", "F1"]
    assert [row[3] for row in shown.rows] == ["66.67", "0.00"]
    assert "Calling every clip anomalous gives 66.67." in shown.note
    everything = decisions_table({"fan": measured("1111", "naan", "sstt"), "pump": PUMP})
    assert everything is not None
    harmonic = 3 / (2 / (2 / 3) + 1 / (4 / 8))
    assert everything.summary[0] == ["official F1", "", "", f"{100 * harmonic:.2f}"]
    assert f"gives {100 * 3 / (2 / (2 / 3) + 1 / (8 / 10)):.2f}" in everything.note, "of clips that are not balanced"
    normal = decisions_table({"fan": measured("01", "nn", "ss")})
    assert normal is not None
    assert not normal.summary
