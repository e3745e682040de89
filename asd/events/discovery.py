"""What Home Assistant reads to show each source as a sensor of its own."""

from __future__ import annotations

import re
from typing import Any

from asd._version import __version__


def configs(prefix: str, topic: str, source: str, machine: str) -> dict[str, dict[str, Any]]:
    """Topics and contents of the sensors of a source: whether it sounds wrong, and whether it is heard.

    See the MQTT page of Home Assistant, "MQTT discovery". The ids follow from topic and source alone, so that a restart
    changes none.

    Args:
        prefix: Where Home Assistant looks.
        topic: Below which everything of this program is.
        source: Its name.
        machine: The machine that is listened for.
    """
    node = re.sub(r"[^A-Za-z0-9_-]+", "_", topic)
    common = {
        "state_topic": f"{topic}/{source}/state",
        "availability_topic": f"{topic}/status",
        "device": {
            "identifiers": [f"asd_{node}_{source}"],
            "name": source,
            "model": machine,
            "manufacturer": "asd",
            "sw_version": __version__,
        },
    }
    kinds = {
        "sound": ("Sounds wrong", "problem", "{{ 'ON' if value_json.sound == 'anomalous' else 'OFF' }}"),
        "heard": ("Heard", "connectivity", "{{ 'ON' if value_json.state == 'heard' else 'OFF' }}"),
    }
    return {
        f"{prefix}/binary_sensor/{node}/{source}_{kind}/config": {
            **common,
            "name": name,
            "unique_id": f"asd_{node}_{source}_{kind}",
            "device_class": device_class,
            "value_template": template,
        }
        for kind, (name, device_class, template) in kinds.items()
    }
