"""URLs: `url("https://example.com:80/path?k=v")`, parsed by the rules of Go's net/url.

As Kubernetes does, this parses twice: ParseRequestURI decides whether a text is acceptable (an absolute URL or
an absolute path), then Parse splits off the fragment. Percent-encoding works on UTF-8 bytes.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.lib.ip import quoted
from kroasync.cel.meter import Meter
from kroasync.cel.types import Type, opaque

URL: Final = opaque("kubernetes.URL")

_ALPHANUMERIC: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Bytes that a part of a URL may contain unescaped, from net/url's encoding table.
_PATH: Final = (_ALPHANUMERIC + "-_.~$&+,/:;=@").encode()
_HOST: Final = (_ALPHANUMERIC + "-_.~!\"$&'()*+,:;<=>[]").encode()
_USER: Final = (_ALPHANUMERIC + "-_.~$&+,;=").encode()
_FRAGMENT: Final = (_ALPHANUMERIC + "-_.~!$&()*+,/:;=?@").encode()
# Bytes that a path or fragment keeps as the author wrote them.
_VALID_EXTRA: Final = b"!$&'()*+,;=:@[]%"
# Bytes that a host may contain: those outside ASCII, and the start of an escape.
_IN_HOST: Final = _HOST + b"%" + bytes(range(0x80, 0x100))
# How many characters of a URL are read or written in one step.
_CHARS_PER_STEP: Final = 4
# The cost of a pair of a query.
_PAIR: Final = 3
_USERINFO: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*):")
_PORT: Final = re.compile(r"(?::[0-9]*)?")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, eq=False)
class ParsedURL:
    """The parts of a URL; `path` and `host` are unescaped, `raw_path` is the path as written."""

    cel_type: ClassVar[Type] = URL

    scheme: str = ""
    opaque: str = ""
    user: tuple[str, ...] | None = None
    host: str = ""
    path: bytes = b""
    raw_path: bytes = b""
    query: str = ""
    force_query: bool = False
    fragment: bytes = b""
    raw_fragment: bytes = b""
    omit_host: bool = False

    @property
    def cel_size(self) -> int:
        return len(self.opaque) + len(self.host) + len(self.raw_path) + len(self.query) + len(self.raw_fragment)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParsedURL) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        text = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            text += self.opaque
        else:
            text += self._authority()
            path = self.escaped_path()
            text += "/" if path and not path.startswith("/") and self.host else ""
            text += path
        if self.force_query or self.query:
            text += f"?{self.query}"
        if self.fragment:
            text += f"#{_as_written(self.raw_fragment, self.fragment, _FRAGMENT)}"
        return text

    def _authority(self) -> str:
        if not (self.scheme or self.host or self.user) or (self.omit_host and not self.host and not self.user):
            return ""
        if not (self.host or self.path or self.user):
            return ""
        user = ":".join(_escape(part.encode(), _USER) for part in self.user) + "@" if self.user else ""
        return f"//{user}{_escape(self.host.encode(), _HOST)}"

    def escaped_path(self) -> str:
        return "*" if self.path == b"*" else _as_written(self.raw_path, self.path, _PATH)

    def host_and_port(self) -> tuple[str, str]:
        """The host without brackets, and the port, or '' if there is none."""
        host, colon, port = self.host.rpartition(":")
        if not colon or not _PORT.fullmatch(f":{port}"):
            host, port = self.host, ""
        return (host[1:-1] if host.startswith("[") and host.endswith("]") else host), port


def parse(text: str) -> ParsedURL:
    """The URL that a text denotes; raises ValueError_."""
    check(text)
    rest, _, fragment = text.partition("#")
    url = _parse(rest, text, request=False)
    raw = fragment.encode()
    return ParsedURL(
        scheme=url.scheme,
        opaque=url.opaque,
        user=url.user,
        host=url.host,
        path=url.path,
        raw_path=url.raw_path,
        query=url.query,
        force_query=url.force_query,
        fragment=_unescape(raw, text),
        raw_fragment=raw,
        omit_host=url.omit_host,
    )


def check(text: str) -> None:
    """Raise ValueError_ unless a text is an absolute URL or an absolute path (Go's ParseRequestURI)."""
    _parse(text, text, request=True)


def _refused(text: str, reason: str) -> ValueError_:
    return ValueError_(f"URL parse error during conversion from string: parse {quoted(text)}: {reason}")


def _parse(rest: str, text: str, *, request: bool) -> ParsedURL:
    if _CONTROL.search(rest):
        raise _refused(text, "net/url: invalid control character in URL")
    if not rest and request:
        raise _refused(text, "empty url")
    if rest == "*":
        return ParsedURL(path=b"*")
    if rest.startswith(":"):
        raise _refused(text, "missing protocol scheme")
    match = _SCHEME.match(rest)
    scheme = match.group(1).lower() if match else ""
    rest = rest[match.end() :] if match else rest
    force_query = rest.endswith("?") and rest.count("?") == 1
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return ParsedURL(scheme=scheme, opaque=rest, query=query, force_query=force_query)
        if request:
            raise _refused(text, "invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise _refused(text, "first path segment in URL cannot contain colon")
    user, host, omit_host = None, "", False
    if rest.startswith("//") and (scheme or (not request and not rest.startswith("///"))):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        user, host = _authority(authority, scheme, text)
    elif scheme and rest.startswith("/"):
        omit_host = True
    raw = rest.encode()
    return ParsedURL(
        scheme=scheme,
        user=user,
        host=host,
        path=_unescape(raw, text),
        raw_path=raw,
        query=query,
        force_query=force_query,
        omit_host=omit_host,
    )


def _authority(authority: str, scheme: str, text: str) -> tuple[tuple[str, ...] | None, str]:
    userinfo, at, host = authority.rpartition("@")
    host = _host(host, scheme, text)
    if not at:
        return None, host
    if not _USERINFO.fullmatch(userinfo):
        raise _refused(text, "net/url: invalid userinfo")
    parts = userinfo.split(":", 1)
    return tuple(_unescape(part.encode(), text).decode(errors="replace") for part in parts), host


def _host(host: str, scheme: str, text: str) -> str:
    if host.rfind("[") > 0:
        raise _refused(text, "invalid IP-literal")
    if host.startswith("["):
        return _ip_literal(host, text)
    # In web URLs, the host has at most one colon: the one before the port.
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0 and not _PORT.fullmatch(host[colon:]):
        raise _refused(text, f"invalid port {quoted(host[colon:])} after host")
    return _unescape_host(host, text)


def _ip_literal(host: str, text: str) -> str:
    name, bracket, port = host[1:].rpartition("]")
    if not bracket:
        raise _refused(text, "missing ']' in host")
    if not _PORT.fullmatch(port):
        raise _refused(text, f"invalid port {quoted(port)} after host")
    address, percent, zone = name.partition("%25")
    address = _unescape_host(address, text)
    if percent:
        zone = _unescape(zone.encode(), text).decode(errors="replace")
    try:
        ipaddress.IPv6Address(f"{address}%{zone}" if percent else address)
    except ValueError:
        raise _refused(text, "invalid host: unable to parse IP") from None
    return f"[{address}{'%' if percent else ''}{zone}]{port}"


def _unescape_host(host: str, text: str) -> str:
    """Check the escapes of a host: it may percent-encode only bytes outside ASCII, and `%` itself."""
    raw = host.encode()
    for match in _ESCAPE.finditer(raw):
        if match.group(1)[0] < ord("8") and match.group() != b"%25":
            raise _refused(text, f"invalid URL escape {quoted(match.group().decode())}")
    others = raw.translate(None, _IN_HOST)
    if others:
        raise _refused(text, f"invalid character {quoted(chr(others[0]))} in host name")
    return _unescape(raw, text).decode(errors="replace")


def _unescape(raw: bytes, text: str) -> bytes:
    if b"%" not in raw:
        return raw
    bad = re.search(rb"%(?![0-9A-Fa-f]{2})", raw)
    if bad:
        shown = raw[bad.start() : bad.start() + 3].decode(errors="replace")
        raise _refused(text, f"invalid URL escape {quoted(shown)}")
    return unquote_to_bytes(raw)


def _escape(raw: bytes, allowed: bytes) -> str:
    others = set(raw.translate(None, allowed))
    return "".join(map({byte: f"%{byte:02X}" if byte in others else chr(byte) for byte in set(raw)}.__getitem__, raw))


def _as_written(raw: bytes, value: bytes, allowed: bytes) -> str:
    """The author's encoding if it is valid, otherwise the default encoding."""
    if not raw.translate(None, allowed + _VALID_EXTRA):
        return raw.decode()
    return _escape(value, allowed)


_library = LibraryBuilder(
    "url", doc="URLs, by the rules of Go's net/url.", aliases={"url": URL}, weight=160, rate=_CHARS_PER_STEP
)


@_library.fn(
    "url(string) url",
    example="url('https://example.com/a').getHost() == 'example.com'",
    doc="Parses an absolute URL or an absolute path; an error if the text is neither.",
)
def _url(text: str) -> ParsedURL:
    return parse(text)


@_library.fn(
    "isURL(string) bool",
    example="isURL('https://example.com') && isURL('/a') && !isURL('a/b')",
    doc="Whether a text is an absolute URL or an absolute path.",
)
def _is_url(text: str) -> bool:
    try:
        check(text)
    except ValueError_:
        return False
    return True


@_library.fn(
    "url.getScheme() string",
    example="url('HTTPS://a').getScheme() == 'https'",
    doc="The scheme in lower case, or '' if there is none.",
    rate=0,
)
def _scheme(url: ParsedURL) -> str:
    return url.scheme


@_library.fn(
    "url.getHost() string",
    example="url('https://[::1]:80/').getHost() == '[::1]:80'",
    doc="The host and the port, with an IPv6 address in brackets.",
    rate=0,
)
def _get_host(url: ParsedURL) -> str:
    return url.host


@_library.fn(
    "url.getHostname() string",
    example="url('https://[::1]:80/').getHostname() == '::1'",
    doc="The host without port and brackets.",
)
def _get_hostname(url: ParsedURL) -> str:
    return url.host_and_port()[0]


@_library.fn(
    "url.getPort() string", example="url('https://a:80/').getPort() == '80'", doc="The port, or '' if there is none."
)
def _get_port(url: ParsedURL) -> str:
    return url.host_and_port()[1]


@_library.fn(
    "url.getEscapedPath() string",
    example="url('https://a/b c').getEscapedPath() == '/b%20c'",
    doc="The path, percent-encoded.",
)
def _get_escaped_path(url: ParsedURL) -> str:
    return url.escaped_path()


@_library.fn(
    "url.getQuery() map(string, list(string))",
    example="url('/a?k=1&k=2').getQuery() == {'k': ['1', '2']}",
    doc="The values of every query key, in order, without malformed pairs.",
    metered=True,
)
def _get_query(url: ParsedURL, *, budget: Meter) -> dict[str, list[str]]:
    budget.spend(len(url.query) // _CHARS_PER_STEP + _PAIR * url.query.count("&"))
    values: dict[str, list[str]] = {}
    for pair in url.query.split("&"):
        if not pair or ";" in pair:
            continue
        key, _, value = pair.partition("=")
        try:
            key, value = _query_part(key), _query_part(value)
        except ValueError_:
            continue
        values.setdefault(key, []).append(value)
    return values


def _query_part(text: str) -> str:
    return _unescape(text.replace("+", " ").encode(), text).decode(errors="replace")


LIBRARY: Final = _library.build()
