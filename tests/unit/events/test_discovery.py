"""What Home Assistant reads follows from the names of topic and source alone."""

from __future__ import annotations

from asd.events.discovery import configs


def test_each_source_is_two_sensors_of_one_device() -> None:
    found = configs("homeassistant", "plant/hall 1", "pump", "pump_section_00")
    assert set(found) == {
        "homeassistant/binary_sensor/plant_hall_1/pump_sound/config",
        "homeassistant/binary_sensor/plant_hall_1/pump_heard/config",
    }
    assert {one["device_class"] for one in found.values()} == {"problem", "connectivity"}
    assert {one["unique_id"] for one in found.values()} == {
        "asd_plant_hall_1_pump_sound",
        "asd_plant_hall_1_pump_heard",
    }
    assert {tuple(one["device"]["identifiers"]) for one in found.values()} == {("asd_plant_hall_1_pump",)}
    for one in found.values():
        assert one["state_topic"] == "plant/hall 1/pump/state"
        assert one["availability_topic"] == "plant/hall 1/status"
