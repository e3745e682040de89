"""Where a broker is, who asks, and names that stay the same; what it is told is in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from asd.events.mqtt import Address, Mqtt, password_of


def test_an_address_says_all() -> None:
    assert Address.parse("mqtts://asd@broker.local/plant/hall_1/") == Address(
        True, "broker.local", 8883, "asd", "plant/hall_1"
    )
    assert Address.parse("mqtt://[::1]:1884/a%20b") == Address(False, "::1", 1884, "", "a b")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://broker/topic", "give one such as mqtts://user@broker/plant/hall"),
        ("mqtt://broker", "give one such as"),
        ("mqtt:///topic", "give one such as"),
        ("mqtt://broker/plant/#", "give one such as"),
        ("mqtt://broker:many/topic", "is no address"),
        ("mqtt://asd:secret@broker/topic", "holds a password; leave it out"),
    ],
)
def test_another_form_is_named_and_a_password_is_not_shown(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        Address.parse(url)
    assert "secret" not in str(error.value)


def test_a_password_comes_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASD_MQTT_PASSWORD", raising=False)
    assert password_of(None) is None
    monkeypatch.setenv("ASD_MQTT_PASSWORD", "secret")
    assert password_of(None) == "secret"
    (tmp_path / "password").write_text("other\n")
    assert password_of(tmp_path / "password") == "other"
    with pytest.raises(UserError, match=r"--mqtt-password-file .*absent cannot be read \(No such file"):
        password_of(tmp_path / "absent")


def test_certificates_that_are_none_are_named_before_anything_is_heard(tmp_path: Path) -> None:
    address = Address.parse("mqtts://broker/topic")
    with pytest.raises(UserError, match=r"--mqtt-ca .*absent: "):
        Mqtt(address, None, {}, tmp_path / "absent")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UserError, match=r"--mqtt-ca .*give a file of certificates \(PEM\)"):
        Mqtt(address, None, {}, tmp_path / "ca.pem")


def test_names_stay_the_same_from_one_start_to_the_next() -> None:
    address = Address.parse("mqtt://broker/plant/hall")
    one, other = (Mqtt(address, None, {"pump": "pump_section_00", "fan": "fan_section_00"}) for _ in range(2))
    assert one.client_id == other.client_id
    assert len(one.client_id) <= 23, "brokers of version 3.1 take no longer one"
    assert one.name == other.name == "mqtt://broker:1883/plant/hall"
    assert Mqtt(address, None, {"pump": "pump_section_00"}).client_id != one.client_id
