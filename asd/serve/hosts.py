"""By which names a service answers: a page of elsewhere whose name was pointed at it (DNS rebinding) is refused."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers

from asd.errors import UserError

_LOCAL = ("localhost", "127.0.0.1", "::1")
_LONGEST = 255
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]*)?", re.ASCII)
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Hosts:
    """The hosts that may be asked for.

    Attributes:
        names: Names and addresses; ``*.example.com``: every name below.
        addresses: Whether any address will do: a page reaches its own server by a name, so an address is no disguise.
    """

    names: frozenset[str]
    addresses: bool = False

    @classmethod
    def of(cls, host: str, others: Iterable[str]) -> Hosts | None:
        """This computer's own, `host`, which the service listens at, and others; ``None``: any, for ``*`` among them.

        Raises:
            UserError: What is given is no host.
        """
        others = list(others)
        if "*" in others:
            return None
        address = _address_of(host)
        everywhere = _is_address(address) and ipaddress.ip_address(address).is_unspecified
        here = () if everywhere else (host_of(host), host_of(address))
        return cls(frozenset([*_LOCAL, *filter(None, here), *map(_given, others)]), everywhere)

    def refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Status and reason where a request is not meant for this service, or comes from a page of another."""
        said = headers.getlist("host")
        host = host_of(said[0]) if len(said) == 1 else None
        if host is None:
            return 400, "say once which host is asked: Host: ..."
        if not (self._named(host) or (self.addresses and _is_address(host))):
            return 421, f"this service does not answer to {host}; start it with --allowed-hosts {host}"
        origin = headers.get("origin")
        if origin is not None and method not in _SAFE:
            page = host_of(origin.partition("://")[2])
            if page is None or not (page == host or self._named(page)):
                return 403, "the page that asks belongs to another site; start the service with --allowed-hosts for it"
        return None

    def _named(self, host: str) -> bool:
        above = (f"*{host[dot:]}" for dot, letter in enumerate(host) if letter == ".")
        return host in self.names or any(one in self.names for one in above)


def host_of(authority: str) -> str | None:
    """The host in ``host``, ``host:port`` or ``[address]:port``, as it is compared; ``None`` where it is none."""
    if len(authority) > _LONGEST:
        return None
    found = _AUTHORITY.fullmatch(authority.lower())
    host = authority if found is None else found[1] or found[2].removesuffix(".")
    if _is_address(host):
        return str(ipaddress.ip_address(host))
    return host if found and found[2] and host else None


def _address_of(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except (OSError, UnicodeError):
        return host  # to listen there fails, and says why


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _given(name: str) -> str:
    try:
        below, plain = name.startswith("*."), name.removeprefix("*.").encode("idna").decode()
    except UnicodeError:
        plain = ""
    if not (host := host_of(plain)):
        raise UserError(f"--allowed-hosts {name!r} is no host; give names such as asd.example.com, or * for any")
    return f"*.{host}" if below else host
