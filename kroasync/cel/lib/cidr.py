"""Network prefixes: `cidr("10.0.0.0/8")`. `masked()` removes the host bits. Parsing is as strict as in `ip`."""

import ipaddress
from dataclasses import dataclass
from typing import ClassVar, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import OverloadError, ValueError_
from kroasync.cel.lib.ip import IP, LONGEST, IPAddress, is_mapped, parse_address, quoted
from kroasync.cel.types import Type, opaque, type_of

CIDR: Final = opaque("net.CIDR")


@dataclass(frozen=True, slots=True)
class Prefix:
    """An address and the number of its leading bits that form the network."""

    cel_type: ClassVar[Type] = CIDR

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    bits: int

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"

    def network(self) -> int:
        """The leading bits as a number."""
        return int(self.address) >> (self.address.max_prefixlen - self.bits)


_FAILED: Final = "network address parse error during conversion from string: "


def parse_prefix(text: str) -> Prefix:
    """The prefix that a text denotes; raises ValueError_."""
    head, slash, bits = text.rpartition("/")
    if not slash:
        raise _refused(text, "no '/'")
    try:
        if len(head) > LONGEST:
            raise ValueError
        address = ipaddress.ip_address(head)
    except ValueError:
        raise _refused(text, f"ParseAddr({quoted(head)}): unable to parse IP") from None
    if address.version == 6 and address.scope_id is not None:
        raise _refused(text, "IPv6 zones cannot be present in a prefix")
    digits = bits.isascii() and bits.isdigit()
    if not digits or (len(bits) > 1 and bits[0] == "0"):
        raise _refused(text, f"bad bits after slash: {quoted(bits)}")
    if len(bits) > 3 or int(bits) > address.max_prefixlen:
        raise _refused(text, "prefix length out of range")
    if is_mapped(address):
        raise ValueError_(f"{_FAILED}IPv4-mapped IPv6 address {quoted(text)} is not allowed")
    return Prefix(address, int(bits))


def _refused(text: str, reason: str) -> ValueError_:
    # Kubernetes adds this prefix to its message twice.
    return ValueError_(f"{_FAILED}{_FAILED}netip.ParsePrefix({quoted(text)}): {reason}")


def _contains(prefix: Prefix, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.version == prefix.address.version and Prefix(address, prefix.bits).network() == prefix.network()


_library = LibraryBuilder(
    "cidr",
    doc="Networks in CIDR notation.",
    aliases={"cidr": CIDR, "ip": IP},
    types={"net.CIDR": type_of(CIDR)},
    weight=96,
)


@_library.fn(
    "cidr(string) cidr",
    example="cidr('10.0.0.0/8').prefixLength() == 8",
    doc="Parses a prefix; an error if the text is not a prefix.",
)
def _cidr(text: str) -> Prefix:
    return parse_prefix(text)


@_library.fn("isCIDR(string) bool", example="isCIDR('::/0') && !isCIDR('10.0.0.0')", doc="Whether a text is a prefix.")
def _is_cidr(text: str) -> bool:
    try:
        parse_prefix(text)
    except ValueError_:
        return False
    return True


@_library.fn("string(cidr) string", example="string(cidr('::1/128')) == '::1/128'", doc="The canonical form.")
def _string(prefix: Prefix) -> str:
    return str(prefix)


@_library.fn(
    "cidr.containsIP(ip) bool",
    example="cidr('192.168.0.0/24').containsIP(ip('192.168.0.7'))",
    doc="Whether the network contains an address. It never contains an address of the other family.",
)
def _contains_ip(prefix: Prefix, ip: IPAddress) -> bool:
    return _contains(prefix, ip.address)


@_library.fn(
    "cidr.containsIP(string) bool",
    example="!cidr('192.168.0.0/24').containsIP('192.168.1.7')",
    doc="The same for an address as text; an error if the text is not an address.",
)
def _contains_ip_text(prefix: Prefix, text: str) -> bool:
    try:
        address = parse_address(text)
    except ValueError_ as error:
        raise OverloadError(f"no such overload: containsIP: {error.message}") from error
    return _contains(prefix, address)


@_library.fn(
    "cidr.containsCIDR(cidr) bool",
    example="cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/25'))",
    doc="Whether the network contains another network or equals it.",
)
def _contains_cidr(prefix: Prefix, other: Prefix) -> bool:
    return prefix.bits <= other.bits and _contains(prefix, other.address)


@_library.fn(
    "cidr.containsCIDR(string) bool",
    example="!cidr('192.168.0.0/24').containsCIDR('192.168.0.0/23')",
    doc="The same for a prefix as text; an error if the text is not a prefix.",
)
def _contains_cidr_text(prefix: Prefix, text: str) -> bool:
    return _contains_cidr(prefix, parse_prefix(text))


@_library.fn(
    "cidr.ip() ip",
    example="cidr('192.168.0.1/24').ip() == ip('192.168.0.1')",
    doc="The address, including the host bits.",
)
def _address(prefix: Prefix) -> IPAddress:
    return IPAddress(prefix.address)


@_library.fn("cidr.prefixLength() int", example="cidr('::/32').prefixLength() == 32", doc="The number of network bits.")
def _prefix_length(prefix: Prefix) -> int:
    return prefix.bits


@_library.fn(
    "cidr.masked() cidr",
    example="cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
    doc="The same network with all host bits set to zero.",
)
def _masked(prefix: Prefix) -> Prefix:
    number = prefix.network() << (prefix.address.max_prefixlen - prefix.bits)
    return Prefix(type(prefix.address)(number), prefix.bits)


LIBRARY: Final = _library.build()
