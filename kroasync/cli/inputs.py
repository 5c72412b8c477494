"""The input of the offline commands: manifests from files, folders and standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from kroasync.model.manifests import Text

if TYPE_CHECKING:
    from kroasync.graph.analysis import Analysis, CheckedDefinition

STDIN: Final = "-"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


def read_texts(files: Sequence[str], folders: Sequence[Path] = ()) -> list[Text]:
    """The named files, "-" for standard input, and every manifest below the folders, each of them once.

    The program exits with status 2 if one of them cannot be read.
    """
    texts: dict[Path, Text] = {}
    try:
        for path in [*map(Path, files), *(path for folder in folders for path in _manifests(folder))]:
            place = path.resolve()
            if place not in texts:
                texts[place] = _read(path)
    except OSError as error:
        raise usage_error(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error
    return list(texts.values())


def _read(path: Path) -> Text:
    if str(path) == STDIN:
        return Text("<stdin>", _text(sys.stdin.buffer.read()))
    return Text(str(path), _text(path.read_bytes()))


def _text(content: bytes) -> str:
    """With the line ends of Unix and without the byte order mark of Windows."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _manifests(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotADirectoryError(20, "not a directory", str(folder))
    return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def one_definition(found: "Analysis", name: str | None) -> "CheckedDefinition":
    """The only definition of the inputs, or the one of that name; without one the program exits with status 2."""
    definitions = found.named(name)
    if len(definitions) == 1:
        return definitions[0]
    if definitions:
        raise usage_error("several definitions in the input: choose one with --name")
    raise usage_error(f"no definition {f'named {name} ' if name else ''}in the input")


def usage_error(message: str) -> typer.Exit:
    """Print what is wrong with the call; the result is to be raised and exits with status 2."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)
