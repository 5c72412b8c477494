"""Semantic versions: `semver("1.2.3-beta.1")`, strict (semver.org 2.0.0) as in Kubernetes' first version."""

from dataclasses import dataclass
from typing import ClassVar, Final

from semver import Version

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import RangeError, ValueError_
from kroasync.cel.lib.ip import quoted
from kroasync.cel.types import Type, opaque
from kroasync.cel.values import INT_MAX, UINT_MAX

SEMVER: Final = opaque("kubernetes.Semver")

# Every number of a version must fit uint64, so a longer version is rejected before it is parsed.
_MAX_LENGTH: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class SemanticVersion:
    """A version. Equality ignores build metadata, because precedence does."""

    cel_type: ClassVar[Type] = SEMVER

    version: Version

    @property
    def cel_size(self) -> int:
        return len(self.version.prerelease or "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SemanticVersion) and compare(self, other) == 0

    def __hash__(self) -> int:
        return hash((self.version.major, self.version.minor, self.version.patch, self.version.prerelease))

    def __str__(self) -> str:
        return str(self.version)


def parse(text: str) -> SemanticVersion:
    """The version that a text denotes; raises ValueError_."""
    if not text:
        raise ValueError_("version string empty")
    try:
        if len(text) > _MAX_LENGTH:
            raise ValueError
        version = Version.parse(text)
        numbers = [version.major, version.minor, version.patch]
        numbers += [int(part) for part in (version.prerelease or "").split(".") if part.isdigit()]
        if max(numbers) > UINT_MAX:
            raise ValueError
    except ValueError:
        raise ValueError_(f"{quoted(text)} is not a semantic version (major.minor.patch)") from None
    return SemanticVersion(version)


def compare(a: SemanticVersion, b: SemanticVersion) -> int:
    """-1, 0 or 1 by precedence."""
    return int(a.version.compare(b.version))


_library = LibraryBuilder("semver", doc="Semantic versions, strict.", aliases={"semver": SEMVER}, weight=96, rate=2)


@_library.fn(
    "semver(string) semver",
    example="semver('1.2.3').major() == 1",
    doc="Parses a version; an error if the text is not one.",
)
def _semver(text: str) -> SemanticVersion:
    return parse(text)


@_library.fn(
    "isSemver(string) bool",
    example="isSemver('1.0.0-rc.1') && !isSemver('v1.0')",
    doc="Whether a text is a version.",
)
def _is_semver(text: str) -> bool:
    try:
        parse(text)
    except ValueError_:
        return False
    return True


@_library.fn("semver.major() int", example="semver('1.2.3').major() == 1", doc="The first number.")
def _major(version: SemanticVersion) -> int:
    return _number(version.version.major)


@_library.fn("semver.minor() int", example="semver('1.2.3').minor() == 2", doc="The second number.")
def _minor(version: SemanticVersion) -> int:
    return _number(version.version.minor)


@_library.fn("semver.patch() int", example="semver('1.2.3').patch() == 3", doc="The third number.")
def _patch(version: SemanticVersion) -> int:
    return _number(version.version.patch)


def _number(value: int) -> int:
    if value > INT_MAX:
        raise RangeError(f"version number {value} overflows int")
    return value


@_library.fn(
    "semver.isGreaterThan(semver) bool",
    example="semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))",
    doc="Whether the receiver is the later version.",
)
def _is_greater(a: SemanticVersion, b: SemanticVersion) -> bool:
    return compare(a, b) > 0


@_library.fn(
    "semver.isLessThan(semver) bool",
    example="semver('1.2.0').isLessThan(semver('1.10.0'))",
    doc="Whether the receiver is the earlier version.",
)
def _is_less(a: SemanticVersion, b: SemanticVersion) -> bool:
    return compare(a, b) < 0


@_library.fn(
    "semver.compareTo(semver) int",
    example="semver('1.0.0').compareTo(semver('2.0.0')) == -1",
    doc="-1, 0 or 1 if the receiver is before, equal to or after the argument.",
)
def _compare_to(a: SemanticVersion, b: SemanticVersion) -> int:
    return compare(a, b)


LIBRARY: Final = _library.build()
