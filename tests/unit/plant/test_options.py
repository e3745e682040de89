"""Options of a plant are understood, or named with the place where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from asd.inference.edge_events import name_for
from asd.plant.options import KINDS, Options, SourceOptions, read

PLANT = """
checkpoint: runs/fan
false_alarms: 0.05
event: 2/4
mqtt: mqtts://asd@broker/plant
sources:
  pump: {folder: recordings/pump, machine: pump}
  fan-2: {url: 'rtsp://camera/2', stall: 5}
"""


def test_paths_are_relative_to_the_file_and_what_is_given_beside_it_counts_more(tmp_path: Path) -> None:
    path = tmp_path / "hall.yaml"
    path.write_text(PLANT)
    options = read(path, {"event": "3/6", "hop": 2.5})
    assert options.checkpoint == tmp_path / "runs/fan"
    assert options.state == tmp_path / "hall.state"
    assert (options.rules.needed, options.rules.among, options.hop) == (3, 6, 2.5)
    assert options.false_alarms == 0.05
    assert list(options.sources) == ["pump", "fan-2"]
    assert options.sources["pump"].folder == tmp_path / "recordings/pump"
    assert options.sources["fan-2"] == SourceOptions(url="rtsp://camera/2", stall=5.0)
    path.write_text(PLANT + "state: null\n")
    assert read(path, {}).state is None


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("event: 2/4", "evnt: 2/4", r"hall\.yaml: no option 'evnt'\. Did you mean event\?"),
        ("stall: 5", "stal: 5", r"hall\.yaml: sources: fan-2: no option 'stal'\. Did you mean stall\?"),
        ("stall: 5", "stall: soon", r"sources: fan-2: stall is 'soon'; give float"),
        ("stall: 5", "stall: 0", r"sources: fan-2: rate, channels, poll and stall must be above 0"),
        ("stall: 5", "stall: true", r"stall is 'True'; give float"),
        ("stall: 5", "format: mp3", r"format is 'mp3'; choose one of s16le"),
        ("stall: 5", "file: a.wav", r"fan-2: a source is file and url; give one of folder, file"),
        ("{url: 'rtsp://camera/2', stall: 5}", "{stall: 5}", r"a source is nothing; give one of"),
        ("fan-2:", "fan/2:", r"a source is called 'fan/2'; use letters"),
        ("checkpoint: runs/fan", "hop: 1", r"hall\.yaml: checkpoint: is missing"),
        ("false_alarms: 0.05", "queue: 0", r"queue must be above 0"),
        ("false_alarms: 0.05", "recorded_otherwise: shout", r"is 'shout'; give 'remark' or 'refuse' or 'ignore'"),
        ("false_alarms: 0.05", "explain: 3", r"explain is '3'; give bool"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(was: str, becomes: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hall.yaml"
    assert was in PLANT
    path.write_text(PLANT.replace(was, becomes))
    with pytest.raises(UserError, match=said) as error:
        read(path, {})
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "holds no mapping"),
        ("checkpoint: a", "sources: names each source"),
        ("{checkpoint: a, sources: {}}", "no source to listen to"),
        ("{checkpoint: a, sources: {pump: recordings}}", "sources: pump holds no mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_another_form_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "hall.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "hall.yaml", {})
    with pytest.raises(UserError, match="no plant"):
        read(tmp_path / "absent.yaml", {})


@pytest.mark.parametrize(
    ("place", "name"),
    [("recordings/live", "live"), ("a/Pump 7.wav", "Pump_7"), ("ger\udce4usch.wav", "ger_usch"), ("/", "source")],
)
def test_a_source_without_a_name_gets_one_that_every_topic_takes(place: str, name: str) -> None:
    assert name_for(Path(place)) == name
    assert Options(Path("a"), sources={name: SourceOptions(file=Path(place))})


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_source_is_what_is_given(kind: str) -> None:
    source = SourceOptions(**{kind: "somewhere"})
    assert source.kind == kind
    assert source.live == (kind in ("pipe", "microphone", "url"))
