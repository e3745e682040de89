"""Which hosts the service answers to."""

from __future__ import annotations

import pytest

from asd.errors import UserError

pytest.importorskip("fastapi")
from starlette.datastructures import Headers

from asd.serve.hosts import Hosts, host_of


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost.:8000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("::1", "::1"),
        ("a_b-c.example:", "a_b-c.example"),
        *[(one, None) for one in (
            "", ".", ":80", "a b", "user@localhost", "localhost/", "localhost#", "localhost:80x", "local\nhost",
            "[::1", "::1]", "[localhost]", "[::1]x", "a:1:2", "*.example.com", "h\u00f6st", "\u0661.example", "x" * 256,
        )],
    ],
)  # fmt: skip
def test_a_host_is_read_as_it_is_compared(authority: str, host: str | None) -> None:
    assert host_of(authority) == host


def status(hosts: Hosts | None, *said: str, method: str = "GET", origin: str | None = None) -> int:
    assert hosts is not None
    raw = [(b"host", one.encode("latin-1")) for one in said]
    raw += [] if origin is None else [(b"origin", origin.encode())]
    found = hosts.refusal(method, Headers(raw=raw))
    return 200 if found is None else found[0]


@pytest.mark.parametrize(
    ("listening", "others", "good", "bad"),
    [
        (
            "127.0.0.1", [], ["localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"],
            ["evil.example", "localhost.evil.example", "evillocalhost", "192.168.1.5", "127.0.0.1.evil.example",
             "2130706433", "0.0.0.0", "0x7f.1", "[::2]", "xn--lcalhost-b4a"],
        ),
        ("192.168.7.9", [], ["192.168.7.9:8000", "localhost"], ["192.168.7.8", "evil.example"]),
        ("0.0.0.0", [], ["192.168.1.5:80", "10.0.0.1", "[fe80::1]", "localhost"], ["evil.example", "10.0.0.1.example"]),
        ("::", [], ["[2001:db8::5]:80", "192.168.1.5"], ["evil.example"]),
        (
            "0.0.0.0", ["asd.example.com", "*.plant.example", "M\u00fcller.example:80"],
            ["ASD.example.com.", "a.plant.example", "a.b.plant.example", "xn--mller-kva.example"],
            ["example.com", "b.asd.example.com", "plant.example", "xplant.example"],
        ),
    ],
)  # fmt: skip
def test_only_its_own_names_are_answered(listening: str, others: list[str], good: list[str], bad: list[str]) -> None:
    hosts = Hosts.of(listening, others)
    assert {host: status(hosts, host) for host in good} == dict.fromkeys(good, 200)
    assert {host: status(hosts, host) for host in bad} == dict.fromkeys(bad, 421)


def test_a_request_names_one_host() -> None:
    hosts = Hosts.of("127.0.0.1", [])
    assert status(hosts) == status(hosts, "") == status(hosts, "localhost", "localhost") == 400
    assert status(hosts, "localhost", "evil.example") == status(hosts, "local host") == 400
    assert Hosts.of("127.0.0.1", ["a.example", "*"]) is None


@pytest.mark.parametrize(
    ("origin", "method", "expected"),
    [
        ("http://localhost:8000", "POST", 200),
        ("https://plant.example", "POST", 200),
        ("http://evil.example", "POST", 403),
        ("http://10.0.0.66", "POST", 403),
        ("null", "POST", 403),
        ("", "POST", 403),
        ("http://evil.example", "GET", 200),
        (None, "POST", 200),
    ],
)
def test_pages_of_other_sites_send_nothing(origin: str | None, method: str, expected: int) -> None:
    assert status(Hosts.of("0.0.0.0", ["plant.example"]), "localhost", method=method, origin=origin) == expected


@pytest.mark.parametrize(
    "name", ["", "http://a.example", "a b", "a/b", "**", "*.", "a*.example", "*.*", "x" * 64, "a..b"]
)
def test_what_is_no_host_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"--allowed-hosts .* is no host"):
        Hosts.of("127.0.0.1", [name])
