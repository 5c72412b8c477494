"""The input of the offline commands: manifests from files, folders and standard input, and the options that say how to
judge them.
"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kroasync.model.manifests import Text
from kroasync.model.problems import Severity

if TYPE_CHECKING:
    from kroasync.graph.analysis import Analysis, CheckedDefinition
    from kroasync.model.manifests import Document


class MissingKinds(StrEnum):
    """What a kind that nobody knows is."""

    ERROR = "error"
    WARN = "warn"
    IGNORE = "ignore"

    @property
    def severity(self) -> Severity | None:
        return {"error": Severity.ERROR, "warn": Severity.WARNING, "ignore": None}[self.value]


CrdsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--crds", metavar="DIR", help="Also know the kinds of the CRDs and definitions in this folder, recursively."
    ),
]
FeaturesOption = Annotated[
    list[str] | None,
    typer.Option("--feature", metavar="NAME", help="Enable a feature gate, such as CELOmitFunction."),
]
MissingKindsOption = Annotated[
    MissingKinds,
    typer.Option("--missing-kinds", help="How to report kinds that are not known. Their fields are not checked."),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the definition, if the input has several.")]

STDIN: Final = "-"
_STDIN_SOURCE: Final = "<stdin>"
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


def source_of(name: str, texts: Sequence[Text]) -> str:
    """How messages name an input, which may have been read under another name."""
    if name == STDIN:
        return _STDIN_SOURCE
    return next(text.source for text in texts if Path(text.source).resolve() == Path(name).resolve())


def read_kinds(folders: Sequence[Path] | None) -> "list[Document]":
    """The CRDs and definitions below the folders, which make kinds known."""
    from kroasync.cli.kinds_cache import load_kinds

    return [document for kinds in load_kinds(read_texts((), folders or ())) for document in kinds.documents]


def without_crds(texts: Sequence[Text]) -> "tuple[list[Text], list[Document]]":
    """The texts but for those with nothing but CRDs, and those CRDs, of which there may be hundreds."""
    from kroasync.cli.kinds_cache import load_kinds

    candidates = [text for text in texts if "CustomResourceDefinition" in text.text]
    set_aside = [one for one in zip(candidates, load_kinds(candidates), strict=True) if one[1].only_crds]
    sources = {text.source for text, _ in set_aside}
    crds = [document for _, kinds in set_aside for document in kinds.documents]
    return [text for text in texts if text.source not in sources], crds


def analysed(
    files: Sequence[str], crds: Sequence[Path] | None, missing_kinds: MissingKinds = MissingKinds.ERROR
) -> "Analysis":
    """The contents of some files, whose problems are printed. Without a definition that can be read, the program exits
    with status 1.
    """
    from kroasync.graph.analysis import analyse
    from kroasync.model.problems import has_errors

    found = analyse(read_texts(files), read_kinds(crds), missing_kinds=missing_kinds.severity)
    for problem in found.problems:
        typer.echo(str(problem), err=True)
    if not found.definitions and has_errors(found.problems):
        raise typer.Exit(1)
    return found


def _read(path: Path) -> Text:
    if str(path) == STDIN:
        return Text(_STDIN_SOURCE, _text(sys.stdin.buffer.read()))
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
