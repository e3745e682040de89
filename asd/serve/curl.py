"""Each route as a command line, for the help of the program and for the page of the interface."""

from __future__ import annotations

CURL = {
    "/v1/score": "-F file=@today.wav -F machine=fan",
    "/v1/feedback": "-F file=@today.wav -F machine=fan -F kind=false_alarm",
    "/v1/calibrate": "-F file=@1.wav -F file=@2.wav -F machine=fan",
    "/v1/machines": "",
    "/v1/openapi.json": "",
    "/health": "",
    "/metrics": "",
}
"""What curl is given beside the address."""


def curl(route: str, address: str) -> str:
    """The command that asks a route of the service at an address, which ends without a slash."""
    return " ".join(filter(None, ["curl", CURL[route], address + route]))
