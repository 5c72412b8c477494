"""IP addresses: `ip("192.168.0.1")`.

Parsing is as strict as in Kubernetes: no zones, no IPv4-mapped IPv6 addresses, no leading zeros. `ipaddress`
does the rest.
"""

import ipaddress
import json
from dataclasses import dataclass
from typing import ClassVar, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.types import Type, opaque, type_of

IP: Final = opaque("net.IP")

_LINK_LOCAL_MULTICAST: Final = (ipaddress.IPv4Network("224.0.0.0/24"), 0xFF02)
# The length of the longest address in any notation.
LONGEST: Final = 64
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class IPAddress:
    """An address without a zone."""

    cel_type: ClassVar[Type] = IP

    address: ipaddress.IPv4Address | ipaddress.IPv6Address

    def __str__(self) -> str:
        return str(self.address)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that a text denotes; raises ValueError_."""
    if "%" in text and ":" in text:
        raise ValueError_(f"IP address {quoted(text)} with zone value is not allowed")
    try:
        if len(text) > LONGEST:
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError_(
            f"IP Address {quoted(text)} parse error during conversion from string: "
            f"ParseAddr({quoted(text)}): {_reason(text)}"
        ) from None
    if is_mapped(address):
        raise ValueError_(f"IPv4-mapped IPv6 address {quoted(text)} is not allowed")
    return address


def is_mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for ::ffff:0:0/96. Kubernetes rejects such an address because it has two notations."""
    return address.version == 6 and address.ipv4_mapped is not None


def quoted(text: str) -> str:
    """The text in double quotes, escaped, and cut to fit in a message."""
    return json.dumps(text if len(text) <= 100 else f"{text[:100]}...", ensure_ascii=False)


def _reason(text: str) -> str:
    if len(text) > LONGEST:
        return f"more than {LONGEST} characters"
    family: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]
    if ":" in text:
        family = ipaddress.IPv6Address
    elif "." in text:
        family = ipaddress.IPv4Address
    else:
        return "unable to parse IP"
    try:
        family(text)
    except ValueError as error:
        return str(error)[:200]
    return "unable to parse IP"


_library = LibraryBuilder(
    "ip", doc="IP addresses of both families.", aliases={"ip": IP}, types={"net.IP": type_of(IP)}, weight=144
)


@_library.fn(
    "ip(string) ip", example="ip('127.0.0.1').isLoopback()", doc="Parses an address; an error if the text is not one."
)
def _ip(text: str) -> IPAddress:
    return IPAddress(parse_address(text))


@_library.fn("isIP(string) bool", example="isIP('::1') && !isIP('1.2.3')", doc="Whether a text is an address.")
def _is_ip(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError_:
        return False
    return True


@_library.fn(
    "ip.isCanonical(string) bool",
    static=True,
    example="ip.isCanonical('2001:db8::68') && !ip.isCanonical('2001:DB8::68')",
    doc="Whether an address is in its canonical form; an error if the text is not an address.",
)
def _is_canonical(text: str) -> bool:
    return str(parse_address(text)) == text


@_library.fn("string(ip) string", example="string(ip('2001:DB8::1')) == '2001:db8::1'", doc="The canonical form.")
def _string(ip: IPAddress) -> str:
    return str(ip.address)


@_library.fn("ip.family() int", example="ip('::1').family() == 6", doc="4 or 6.")
def _family(ip: IPAddress) -> int:
    return ip.address.version


@_library.fn("ip.isUnspecified() bool", example="ip('0.0.0.0').isUnspecified()", doc="0.0.0.0 or ::.")
def _is_unspecified(ip: IPAddress) -> bool:
    return ip.address.is_unspecified


@_library.fn("ip.isLoopback() bool", example="ip('127.0.0.1').isLoopback()", doc="127.0.0.0/8 or ::1.")
def _is_loopback(ip: IPAddress) -> bool:
    return ip.address.is_loopback


@_library.fn(
    "ip.isLinkLocalMulticast() bool",
    example="ip('224.0.0.1').isLinkLocalMulticast()",
    doc="224.0.0.0/24, or ff02::/16 with any flags.",
)
def _is_link_local_multicast(ip: IPAddress) -> bool:
    if isinstance(ip.address, ipaddress.IPv4Address):
        return ip.address in _LINK_LOCAL_MULTICAST[0]
    return (int(ip.address) >> 112) & 0xFF0F == _LINK_LOCAL_MULTICAST[1]


@_library.fn(
    "ip.isLinkLocalUnicast() bool",
    example="ip('169.254.169.254').isLinkLocalUnicast()",
    doc="169.254.0.0/16 or fe80::/10.",
)
def _is_link_local_unicast(ip: IPAddress) -> bool:
    return ip.address.is_link_local


@_library.fn(
    "ip.isGlobalUnicast() bool",
    example="ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
    doc="A unicast address, private or not, that is not unspecified, loopback or link-local.",
)
def _is_global_unicast(ip: IPAddress) -> bool:
    address = ip.address
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and address != _BROADCAST


LIBRARY: Final = _library.build()
