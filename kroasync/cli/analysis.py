"""Checks all definitions of the input together, and reports every problem with its line and column.

Definitions may use the kinds of other definitions, of CRDs in the input, and the bundled kinds of Kubernetes. Instances
of the generated kinds are checked against the schema of their definition.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kroasync.cli.inputs import Text, usage_error
from kroasync.graph.build import Built, build, needed_kinds
from kroasync.graph.checks import object_kind
from kroasync.model import paths
from kroasync.model.definition import Definition, is_definition, parse_definition
from kroasync.model.manifests import Document, load
from kroasync.model.objects import Obj
from kroasync.model.problems import Problem
from kroasync.model.suggest import did_you_mean
from kroasync.schema.catalog import Catalog, bundled, crd_kinds
from kroasync.schema.crd import build_crd, instance_resource
from kroasync.schema.instances import check_instance

_OPEN: Final[Obj] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """A definition of the inputs and what came of it; both are None if its structure is wrong."""

    document: Document
    definition: Definition | None = None
    built: Built | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Analysis:
    """The contents of the input; problems are in the order of files, lines and columns."""

    definitions: list[Checked] = field(default_factory=list)
    instances: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def one_definition(self, name: str | None) -> Checked:
        """The only definition, or the one of that name.

        Ends the program with status 2 if there is none such.
        """
        found = [
            one
            for one in self.definitions
            if name is None or (one.definition is not None and one.definition.name == name)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise usage_error("several definitions in the input: choose one with --name")
        raise usage_error(f"no definition {f'named {name} ' if name else ''}in the input")


def analyse(
    texts: Iterable[Text], crd_texts: Iterable[Text] = (), *, features: frozenset[str] = frozenset()
) -> Analysis:
    """Checks every definition and instance; objects of other kinds are ignored."""
    analysis = Analysis()
    texts = list(texts)
    lines = {one.source: one.text.splitlines() for one in texts}
    documents = [document for one in texts for document in load(one.text, one.source)]
    foreign = [document for one in crd_texts for document in load(one.text, one.source)]
    for document in documents + foreign:
        analysis.problems += document.problems
    catalog = _with_crds(bundled(), foreign + documents, analysis)
    parsed = []
    for document in documents:
        if is_definition(document.obj):
            definition, problems = parse_definition(document.obj)
            analysis.problems += [document.locate(problem) for problem in problems]
            analysis.definitions.append(Checked(document=document))
            if definition is not None:
                parsed.append((len(analysis.definitions) - 1, definition))
    analysis.problems += _duplicate_kinds(analysis, parsed)
    for place, definition, built, kinds in _built_in_order(parsed, catalog, features):
        document = analysis.definitions[place].document
        analysis.definitions[place] = Checked(document=document, definition=definition, built=built)
        for problem in built.problems:
            located = document.locate(_with_kind_hint(problem, definition, kinds))
            offset = built.offsets.get(problem)
            if offset is not None:
                located = _inside(located, document, problem, offset, lines[document.source])
            analysis.problems.append(located)
    _check_instances(documents, analysis)
    analysis.problems.sort(key=lambda problem: (problem.source or "", problem.line or 0, problem.column or 0))
    return analysis


def _with_crds(catalog: Catalog, documents: Iterable[Document], analysis: Analysis) -> Catalog:
    crds = []
    for document in documents:
        if document.obj.get("kind") != "CustomResourceDefinition" or document.problems:
            continue
        try:
            crd_kinds(document.obj)
        except ValueError as error:
            analysis.problems.append(document.locate(Problem(code="crd-incomplete", message=str(error))))
        else:
            crds.append(document.obj)
    return catalog.with_crds(crds) if crds else catalog


def _duplicate_kinds(analysis: Analysis, parsed: Iterable[tuple[int, Definition]]) -> Iterator[Problem]:
    owners: dict[tuple[str, str], Definition] = {}
    for place, definition in parsed:
        owner = owners.setdefault((definition.group, definition.kind), definition)
        if owner is not definition:
            message = f"kind {definition.kind} of group {definition.group} is already generated by {owner.name}"
            problem = Problem(code="duplicate-kind", message=message, path=("spec", "schema", "kind"))
            yield analysis.definitions[place].document.locate(problem)


def _built_in_order(
    parsed: Iterable[tuple[int, Definition]], catalog: Catalog, features: frozenset[str]
) -> Iterator[tuple[int, Definition, Built, Catalog]]:
    """Build each definition after those whose kinds it uses. In a cycle of definitions, their kinds have no known
    fields.
    """
    waiting = list(parsed)
    while waiting:
        own = {instance_resource(definition).gvk for _, definition in waiting}
        ready = [one for one in waiting if own.isdisjoint(needed_kinds(one[1]))]
        if not ready:
            catalog = catalog.with_crds([_open_crd(definition) for _, definition in waiting])
            ready = waiting
        crds = []
        for place, definition in ready:
            built = build(definition, catalog, features=features)
            crds.append(built.crd or _open_crd(definition))
            yield place, definition, built, catalog
        catalog = catalog.with_crds(crds)
        done = {place for place, _ in ready}
        waiting = [one for one in waiting if one[0] not in done]


def _open_crd(definition: Definition) -> Obj:
    return build_crd(definition, _OPEN, _OPEN, owner_labels={})


def _with_kind_hint(problem: Problem, definition: Definition, kinds: Catalog) -> Problem:
    """Suggest, for an unknown kind, the kind with that name in another group or version, or a similar name."""
    if problem.code != "kind-not-found":
        return problem
    wanted = next(object_kind(spec) for spec in definition.resources if spec.path == problem.path[:3])
    name = wanted.kind if wanted else ""
    names = {gvk.kind for gvk in kinds}
    near = name if name in names else did_you_mean(name, names)
    found = next((gvk for gvk in kinds if gvk.kind == near), None)
    return problem if found is None else replace(problem, suggestion=f"{found.api_version}, Kind={found.kind}")


def _inside(located: Problem, document: Document, problem: Problem, offset: int, lines: Sequence[str]) -> Problem:
    """The position of a character of a string, if the file contains the string unchanged; otherwise the position of the
    string.
    """
    value, place = paths.get(document.obj, problem.path), document.positions.value(problem.path)
    if not isinstance(value, str) or place is None or not 0 <= offset < len(value) or place[0] > len(lines):
        return located
    line, column = place
    opening = lines[line - 1][column - 1 : column]
    if opening in ("|", ">"):
        content = lines[line] if line < len(lines) else ""
        before = value[:offset]
        line += 1 + before.count("\n")
        column = len(content) - len(content.lstrip(" ")) + offset - before.rfind("\n")
    else:
        column += offset + (opening in ("'", '"'))
    # Folded and escaped strings differ from the text in the file.
    if line > len(lines) or lines[line - 1][column - 1 : column] != value[offset]:
        return located
    return located.at(source=located.source, line=line, column=column)


def _check_instances(documents: Iterable[Document], analysis: Analysis) -> None:
    by_kind = {instance_resource(one.definition).gvk: one for one in analysis.definitions if one.definition is not None}
    for document in documents:
        for gvk, checked in by_kind.items():
            if (document.obj.get("apiVersion"), document.obj.get("kind")) != (gvk.api_version, gvk.kind):
                continue
            analysis.instances.append(document)
            if checked.definition is not None and checked.built is not None and checked.built.spec_schema is not None:
                found = check_instance(document.obj, checked.definition, checked.built.spec_schema)
                analysis.problems += [document.locate(problem) for problem in found]
