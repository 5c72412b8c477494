"""The steps of a release that can be wrong: docs/releasing.md. Needs Python alone.

python .ci/release.py check v1.2.3          every place that names the version names this one
python .ci/release.py notes v1.2.3          the changelog's section of it
python .ci/release.py image NAME DIGEST     makes the chart's values name that image
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGELOG = "docs/changelog.md"
VALUES = "charts/kroasync/values.yaml"
VERSION = re.compile(r"v(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.\d+)?)")
# Where the version is written, and how.
PLACES: tuple[tuple[str, str], ...] = (
    ("kroasync/__init__.py", r'^__version__ = "(.*)"$'),
    ("charts/kroasync/Chart.yaml", r"^version: (.*)$"),
    ("charts/kroasync/Chart.yaml", r"^appVersion: (.*)$"),
    ("Dockerfile", r"^ARG VERSION=(.*)$"),
    (CHANGELOG, r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$"),
)


def faults(tag: str, texts: Mapping[str, str]) -> Iterator[str]:
    """What keeps the tag from being a release of these files, given by name."""
    named = VERSION.fullmatch(tag)
    if named is None:
        yield f"{tag}: expected a tag such as v1.2.3 or v1.2.3-rc.1"
        return
    for file, pattern in PLACES:
        found = re.search(pattern, texts[file], re.M)
        if found is None or found[1] != named[1]:
            yield f"{file}: expected {named[1]}, found {found[1] if found else f'nothing like {pattern}'}"


def notes(tag: str, changelog: str) -> str:
    """The section of the changelog, without its heading."""
    heading = re.escape(f"## [{tag.removeprefix('v')}]")
    section = re.search(rf"^{heading}[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if section is None:
        raise SystemExit(f"error: {CHANGELOG} has no section for {tag}")
    return section[1].strip() + "\n"


def with_image(values: str, name: str, digest: str) -> str:
    """The chart's values with the image of that name and digest."""
    for key, value in (("repository", name), ("digest", digest)):
        values, count = re.subn(rf"(?<=^  {key}: ).*$", value, values, flags=re.M)
        if count != 1:
            raise SystemExit(f"error: {VALUES}: expected one image.{key}, found {count}")
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("tag")
    commands.add_parser("notes").add_argument("tag")
    image = commands.add_parser("image")
    image.add_argument("name")
    image.add_argument("digest")
    arguments = parser.parse_args()
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in (VALUES, *(file for file, _ in PLACES))}
    if arguments.command == "check":
        found = list(faults(arguments.tag, texts))
        for fault in found:
            print(f"error: {fault}", file=sys.stderr)
        return 1 if found else 0
    if arguments.command == "notes":
        print(notes(arguments.tag, texts[CHANGELOG]), end="")
        return 0
    (ROOT / VALUES).write_text(with_image(texts[VALUES], arguments.name, arguments.digest), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
