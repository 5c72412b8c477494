"""The input of the offline commands: manifests from files, folders and standard input, and the options that say how to
judge them.
"""

import codecs
import errno
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kroasync.model.manifests import Text
from kroasync.model.policies import FORMS, Policies, one_of
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
DefaultPoliciesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--default-policy", metavar="NAME=WORD", help="A default policy of the controller, such as conflicts=Yield."
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the definition, if the input has several.")]

STDIN: Final = "-"
_STDIN_SOURCE: Final = "<stdin>"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


def read_texts(files: Sequence[str], folders: Sequence[Path] = ()) -> list[Text]:
    """The named files, "-" for standard input, and every manifest below the folders, each of them once.

    The program exits with status 2 if a file or folder that the call names cannot be read. What cannot be read below a
    folder is in the result, so that it hides nothing else.
    """
    texts: dict[str, Text] = {}
    try:
        for path in map(Path, files):
            texts.setdefault(os.path.realpath(path), _read(path))
        for text in (text for folder in folders for text in _manifests(folder)):
            texts.setdefault(os.path.realpath(text.source), text)
    except OSError as error:
        raise usage_error(f"cannot read {error.filename}: {_reason(error)}") from error
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
        return _text(_STDIN_SOURCE, sys.stdin.buffer.read())
    return _text(str(path), path.read_bytes())


def _text(source: str, content: bytes) -> Text:
    """With the line ends of Unix and without the byte order mark of Windows."""
    for mark, encoding in _OTHER_ENCODINGS.items():
        if content.startswith(mark):
            return Text(source, "", fault=f"the text is not UTF-8: found {encoding}")
    text = content.decode("utf-8-sig", errors="surrogateescape")
    return Text(source, text.replace("\r\n", "\n").replace("\r", "\n"))


# Byte order marks. That of UTF-16 begins that of UTF-32.
_OTHER_ENCODINGS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def _manifests(folder: Path) -> list[Text]:
    """Every manifest below a folder in the order of the paths, and what cannot be read there."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(folder))
    found: dict[Path, Text] = {}

    def note(error: OSError) -> None:
        found[Path(error.filename)] = _unreadable(Path(error.filename), error)

    for parent, _, names in os.walk(folder, onerror=note):
        for path in (Path(parent, name) for name in names if name.endswith(_SUFFIXES)):
            # A pipe is no manifest; a link to nothing cannot be read.
            if os.path.isfile(path) or not os.path.exists(path):
                found[path] = _read_if_possible(path)
    return [found[path] for path in sorted(found)]


def _read_if_possible(path: Path) -> Text:
    try:
        return _read(path)
    except OSError as error:
        return _unreadable(path, error)


def _unreadable(path: Path, error: OSError) -> Text:
    return Text(str(path), "", fault=f"cannot read: {_reason(error)}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def one_definition(found: "Analysis", name: str | None) -> "CheckedDefinition":
    """The only definition of the inputs, or the one of that name; without one the program exits with status 2."""
    definitions = found.named(name)
    if len(definitions) == 1:
        return definitions[0]
    if definitions:
        raise usage_error("several definitions in the input: choose one with --name")
    raise usage_error(f"no definition {f'named {name} ' if name else ''}in the input")


def default_policies(written: Sequence[str] | None) -> Policies:
    """The default policies of a controller with these flags; the program exits with status 2 if one is wrong."""
    found: dict[str, StrEnum] = {}
    for text in written or ():
        name, _, word = text.partition("=")
        if name not in FORMS:
            raise usage_error(f'--default-policy: expected NAME=WORD with the name {" or ".join(FORMS)}, got "{text}"')
        if word not in list(FORMS[name]):
            raise usage_error(f'--default-policy {name}: expected {one_of(FORMS[name])}, got "{word}"')
        found[name] = FORMS[name](word)
    return Policies(**found)  # type: ignore[arg-type]


def usage_error(message: str) -> typer.Exit:
    """Print what is wrong with the call; the result is to be raised and exits with status 2."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)
