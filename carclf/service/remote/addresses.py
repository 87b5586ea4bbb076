"""Which addresses are on the public internet, and which URLs may be asked for at all."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PORTS = {"http": 80, "https": 443}
MOST_LETTERS = 2048

# Written out: what `ipaddress` takes for global changed between versions of Python, and multicast counts there.
_NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # public by its number, but of the host that an Azure machine runs on
    )
]
# Global unicast, which leaves out ::1, ::ffff:0:0/96, 64:ff9b::/96 (NAT64), fc00::/7, fe80::/10 and ff00::/8; and of
# that neither Teredo, ORCHID and the like, documentation, nor 6to4, in which an address of IPv4 is hidden.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class NotFetched(Exception):
    """status: of the answer to the client. The message is one sentence, and tells nothing of what is not public."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status = status


def not_public() -> NotFetched:
    """The same for a name that nobody knows and for an internal one: neither is anybody's business."""
    return NotFetched(403, "The host of the URL is not on the public internet: send the photo itself.")


@dataclass(frozen=True)
class Target:
    """Where to ask, and for what. address: only where the URL holds one in place of a name. path: with the query."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def netloc(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def joined(self, location: str) -> str:
        """The URL that a redirect from here means."""
        return urljoin(f"{self.scheme}://{self.netloc}{self.path}", location)


def is_public(address: Address) -> bool:
    """Whether it may be connected to.

    >>> [is_public(ipaddress.ip_address(one)) for one in ("8.8.8.8", "10.0.0.1", "2606:4700::1", "::ffff:8.8.8.8")]
    [True, False, True, False]
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None or address not in _PUBLIC_6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)


def parse(url: str, ports: frozenset[int]) -> Target:
    """Raises `NotFetched` for a URL that is none, that holds a password, or of another scheme or port."""
    if len(url) > MOST_LETTERS or any(not "!" <= letter <= "~" or letter == "\\" for letter in url):
        raise NotFetched(
            400, f"The URL must have {MOST_LETTERS} letters at most, of ASCII and without spaces: write others as %20."
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise NotFetched(400, "The URL is not well-formed: send one as https://host/car.jpg.") from None
    if parts.scheme not in PORTS:
        raise NotFetched(400, "The URL must begin with https:// or http://.")
    if "@" in parts.netloc:
        raise NotFetched(400, "The URL must not hold a user or a password.")
    port = PORTS[parts.scheme] if port is None else port
    if port not in ports:
        raise NotFetched(400, f"The URL must be of port {' or '.join(map(str, sorted(ports)))}.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, _literal(host))


def _literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. Raises `NotFetched` for what is neither.

    127.1, 0177.0.0.1, 0x7f000001 and 2130706433 are what some systems read as addresses: no public host needs that.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise NotFetched(400, "The URL has no host, or one that is not well-formed: send one as https://host/car.jpg.")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise not_public()
    return None
