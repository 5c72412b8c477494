"""`kroasync plan` (alias `preview`) and `kroasync diff`: what would happen in a live cluster; nothing is written.

Exit status 0: planned, or nothing to do; 1: problems in the files, or no plan at all; 2: the call itself is wrong, or
what --fail-on names would happen. With --detailed-exitcode, 1 also stands for a plan that is not whole, and 2 for
changes.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from kroasync.cli.inputs import (
    CrdsOption,
    DefaultPoliciesOption,
    FeaturesOption,
    default_policies,
    read_kinds,
    read_texts,
    usage_error,
    without_crds,
)

if TYPE_CHECKING:
    from rich.text import Text

    from kroasync.kube.client import Client
    from kroasync.planning.forecast import Forecast
    from kroasync.planning.request import PlanningError, Progress, Request

    Asking: TypeAlias = Callable[[Client], Awaitable[Request]]

_DESCRIPTION: Final = 50


class PlanFormat(StrEnum):
    TEXT = "text"
    DIFF = "diff"
    JSON = "json"
    GITHUB = "github"
    MARKDOWN = "markdown"


class DryRunOption(StrEnum):
    ALL = "all"
    EXISTING = "existing"
    NONE = "none"


_IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="PATH", help="Leave this field out, such as metadata.annotations[example.com/time]."
    ),
]
_OutputOption = Annotated[PlanFormat, typer.Option("-o", "--output", help="Format of the output.")]
_DryRunOption = Annotated[
    DryRunOption,
    typer.Option("--dry-run", help="Which applies the API server also answers, without storing anything."),
]
_DetailedOption = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 0 for no change, 1 for errors, 2 for changes.")
]
_KubeconfigOption = Annotated[
    str, typer.Option("--kubeconfig", help="Path of the kubeconfig; default: the one that kubectl uses.")
]
_ContextOption = Annotated[str, typer.Option("--context", help="Context of the kubeconfig.")]
_AsOption = Annotated[str, typer.Option("--as", metavar="USER", help="Act with the rights of this user.")]
_AsGroupOption = Annotated[
    list[str] | None, typer.Option("--as-group", metavar="GROUP", help="Act with the rights of this group.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """How the caller reaches the cluster, and as whom."""

    kubeconfig: str
    context: str
    user: str
    groups: Sequence[str] | None


def plan_command(
    files: Annotated[
        list[str] | None,
        typer.Option(
            "-f", "--filename", metavar="FILE", help='Definitions and instances to apply; "-" reads standard input.'
        ),
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option("-R", "--recursive", metavar="DIR", help="Also read every manifest in this folder, recursively."),
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="NAME", help="Plan that this definition is deleted.")
    ] = None,
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Only instances in this namespace.")] = "",
    all_namespaces: Annotated[
        bool, typer.Option("-A", "--all-namespaces", help="Instances in all namespaces; this is the default.")
    ] = False,
    instances: Annotated[
        list[str] | None,
        typer.Option("--instance", metavar="KIND/NAMESPACE/NAME", help="Only this instance; may be repeated."),
    ] = None,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Only instances with these labels.")] = "",
    output: _OutputOption = PlanFormat.TEXT,
    ignore: _IgnoreOption = None,
    dry_run: _DryRunOption = DryRunOption.ALL,
    eventual: Annotated[
        bool,
        typer.Option("--eventual", help="Also show what follows later, when new objects exist, as far as it is known."),
    ] = False,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on",
            metavar="CLASS,...",
            help="Exit with 2 if there is any of these: a class of steps such as delete, breaking, drift, error.",
        ),
    ] = "",
    detailed_exitcode: _DetailedOption = False,
    crds: CrdsOption = None,
    features: FeaturesOption = None,
    defaults: DefaultPoliciesOption = None,
    kubeconfig: _KubeconfigOption = "",
    context: _ContextOption = "",
    as_user: _AsOption = "",
    as_groups: _AsGroupOption = None,
) -> None:
    """Show what will happen to live instances if files are applied.

    The command reads the cluster with your rights and writes nothing.
    """
    watched = _classes(fail_on)
    if not files and not folders and not delete:
        raise usage_error(
            "nothing to plan: name files with -f, a folder with -R, or a definition with --delete; "
            "`kroasync diff INSTANCE` shows the drift of an instance"
        )
    if folder := next((one for one in files or () if Path(one).is_dir()), None):
        raise usage_error(f"cannot read {folder}: is a directory; read the manifests below it with -R {folder}")
    if namespace and all_namespaces:
        raise usage_error("-n and -A exclude each other")
    if wrong := next((one for one in instances or () if not _names_instance(one)), None):
        raise usage_error(f'--instance: "{wrong}" names no instance: expected KIND/NAMESPACE/NAME or KIND/NAME')
    policies = default_policies(defaults)
    texts, known = without_crds(read_texts(files or (), folders or ()))
    kinds = known + read_kinds(crds)

    async def request(_client: "Client") -> "Request":
        from kroasync.planning.request import Request

        return Request(
            texts=texts,
            kinds=kinds,
            namespace=namespace,
            instances=tuple(instances or ()),
            selector=selector,
            dry_run=dry_run.value,
            eventual=eventual,
            ignore=tuple(ignore or ()),
            delete=tuple(delete or ()),
            features=frozenset(features or ()),
            policies=policies,
        )

    access = _Caller(kubeconfig=kubeconfig, context=context, user=as_user, groups=as_groups)
    found = _forecast(access, request, output)
    for warning in found.warnings:
        typer.echo(str(warning), err=True)
    _print(found, output)
    raise typer.Exit(exit_code(found, watched, detailed=detailed_exitcode, changed=found.has_changes))


def diff_command(
    instance: Annotated[
        str, typer.Argument(metavar="INSTANCE", help="NAME, or KIND/NAME if instances of several kinds have that name.")
    ],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the instance.")] = "default",
    output: _OutputOption = PlanFormat.TEXT,
    ignore: _IgnoreOption = None,
    dry_run: _DryRunOption = DryRunOption.ALL,
    detailed_exitcode: _DetailedOption = False,
    defaults: DefaultPoliciesOption = None,
    kubeconfig: _KubeconfigOption = "",
    context: _ContextOption = "",
    as_user: _AsOption = "",
    as_groups: _AsGroupOption = None,
) -> None:
    """Show what the controller would change of a live instance now.

    The command reads the cluster with your rights and writes nothing.
    """

    policies = default_policies(defaults)

    async def request(client: "Client") -> "Request":
        from kroasync.cli.live import find_instance
        from kroasync.planning.request import Request

        kind, _, name = instance.rpartition("/")
        key, _ = await find_instance(client, kind=kind, namespace=namespace, name=name)
        parts = (key.resource.kind, key.namespace, key.name)
        return Request(
            instances=("/".join(part for part in parts if part),),
            dry_run=dry_run.value,
            ignore=tuple(ignore or ()),
            policies=policies,
        )

    access = _Caller(kubeconfig=kubeconfig, context=context, user=as_user, groups=as_groups)
    found = _forecast(access, request, output)
    _print(found, output)
    changed = found.has_changes or bool(found.drift_counts())
    raise typer.Exit(exit_code(found, frozenset(), detailed=detailed_exitcode, changed=changed))


BREAKING: Final = "breaking"
ERROR: Final = "error"
DRIFT: Final = "drift"


def _names_instance(text: str) -> bool:
    parts = text.split("/")
    return len(parts) in (2, 3) and all(parts)


def _classes(words: str) -> frozenset[str]:
    """The classes that --fail-on names; an unknown one ends the program with status 2."""
    from kroasync.planning.forecast import Verb

    known = (*(verb.value for verb in Verb), BREAKING, DRIFT, ERROR)
    found = frozenset(word for word in (word.strip() for word in words.split(",")) if word)
    if unknown := sorted(found - frozenset(known)):
        raise usage_error(f'--fail-on: there is no class "{unknown[0]}"; known: {", ".join(known)}')
    return found


def classes_of(forecast: "Forecast") -> frozenset[str]:
    """What --fail-on can name and this forecast has."""
    found = {verb.value for verb in forecast.counts()}
    found |= {one.verb.value for one in forecast.definitions if one.verb is not None}
    if any(one.is_breaking or one.misfits for one in forecast.definitions):
        found.add(BREAKING)
    if forecast.drift_counts():
        found.add(DRIFT)
    if forecast.errors:
        found.add(ERROR)
    return frozenset(found)


def exit_code(forecast: "Forecast", watched: frozenset[str], *, detailed: bool, changed: bool) -> int:
    """0, or what the caller asked to be told."""
    if watched & classes_of(forecast):
        return 2
    if not detailed:
        return 0
    return 1 if forecast.errors else 2 if changed else 0


def _forecast(access: _Caller, request: "Asking", output: PlanFormat) -> "Forecast":
    """The forecast. Without one, the program says why and exits with status 1."""
    from kroasync.cli.live import InspectionError
    from kroasync.kube.api_errors import ApiError
    from kroasync.kube.config import ConfigError
    from kroasync.planning.request import PlanningError

    try:
        return asyncio.run(_planned(access, request))
    except PlanningError as error:
        raise _refused(error, output) from None
    except (InspectionError, ConfigError, ApiError) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> typer.Exit:
    from kroasync.planning.wording import clean

    typer.echo(f"error: {clean(str(error))}", err=True)
    return typer.Exit(1)


def _refused(error: "PlanningError", output: PlanFormat) -> typer.Exit:
    """The problems of the files at their places, also as annotations."""
    from kroasync.cli.problem_output import as_github

    for problem in error.problems:
        typer.echo(str(problem), err=True)
    if output is PlanFormat.GITHUB:
        typer.echo(as_github(error.problems), nl=False)
    return _failed(error)


async def _planned(access: _Caller, request: "Asking") -> "Forecast":
    from kroasync import __version__
    from kroasync.kube.client import Client
    from kroasync.kube.config import Impersonation, connect
    from kroasync.planning.planner import forecast

    connection = await connect(
        kubeconfig=access.kubeconfig or None,
        context=access.context or None,
        user_agent=f"kroasync/{__version__}",
        impersonation=Impersonation(user=access.user, groups=tuple(access.groups or ())),
    )
    try:
        client = Client(connection)
        with _progress() as progress:
            return await forecast(client, await request(client), progress)
    finally:
        await connection.close()


@contextmanager
def _progress() -> "Iterator[Progress]":
    """What the forecast reports its progress to: count, total and remaining time, where somebody sees them."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _what: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("reading the cluster", total=None)

        def tell(done: int, total: int, what: str) -> None:
            shown.update(task, completed=done, total=total, description=f"planning {what}"[:_DESCRIPTION])

        yield tell


def _print(forecast: "Forecast", output: PlanFormat) -> None:
    from kroasync.planning import machine, terminal

    # Names and values may have characters that the terminal has not.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    match output:
        case PlanFormat.TEXT:
            _print_lines(terminal.report(forecast))
        case PlanFormat.DIFF:
            _print_lines(terminal.diffs(forecast))
        case PlanFormat.JSON:
            typer.echo(machine.as_json(forecast), nl=False)
        case PlanFormat.GITHUB:
            typer.echo(machine.as_github(forecast), nl=False)
        case PlanFormat.MARKDOWN:
            typer.echo(machine.as_markdown(forecast), nl=False)


def _print_lines(lines: "Iterable[Text]") -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line)
