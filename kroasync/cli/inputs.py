"""The input of the offline commands: manifests from files, folders and standard input."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

STDIN: Final = "-"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Text:
    """One input: where it came from, as messages name it, and what is in it."""

    source: str
    text: str


def read_texts(files: Sequence[str], folders: Sequence[Path] = ()) -> list[Text]:
    """The named files, "-" for standard input, and every manifest below the folders.

    The program exits with status 2 if one of them cannot be read.
    """
    texts: list[Text] = []
    try:
        texts += [Text("<stdin>", sys.stdin.read()) if name == STDIN else _read(Path(name)) for name in files]
        for folder in folders:
            texts += [_read(path) for path in _manifests(folder)]
    except OSError as error:
        raise usage_error(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise usage_error(f"an input is not UTF-8 text: {error}") from error
    return texts


def _read(path: Path) -> Text:
    return Text(str(path), path.read_text(encoding="utf-8"))


def _manifests(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotADirectoryError(20, "not a directory", str(folder))
    return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def usage_error(message: str) -> typer.Exit:
    """Print what is wrong with the call; the result is to be raised and exits with status 2."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)
