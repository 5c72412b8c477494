"""Checks all definitions of the input together, and reports every problem with its line and column.

Definitions may use the kinds of other definitions, of CRDs in the input, and the bundled kinds of Kubernetes. Instances
of the generated kinds are checked against the schema of their definition.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from kroasync.graph.build import Built, build, needed_kinds
from kroasync.graph.problem_report import without_place
from kroasync.graph.unknown_kinds import Use, grouped, is_meant_as_definition, misplaced, order_of, use_of
from kroasync.model import paths
from kroasync.model.definition import Definition, is_definition, parse_definition
from kroasync.model.manifests import Document, Text, load_objects
from kroasync.model.name_forms import MAX_LABEL
from kroasync.model.objects import GVK, Obj
from kroasync.model.problems import Problem, Severity, collect, has_errors
from kroasync.schema import name_rules
from kroasync.schema.catalog import Catalog, bundled, crd_kinds
from kroasync.schema.celtypes import readable
from kroasync.schema.crd import CRD_KIND, build_crd, crd_name, instance_resource, instance_schema
from kroasync.schema.instance_checks import check_instance
from kroasync.schema.instance_metadata import check_metadata
from kroasync.schema.instance_rules import InstanceRules, unusable_rules
from kroasync.schema.structural import OPEN

_TYPE_CODES: Final = frozenset(("literal-type", "instance-type", "definition-type", "schema-field"))
_Parsed: TypeAlias = tuple[int | None, Definition]
"""A definition with its place in the analysis; without one, it is not checked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedDefinition:
    """A definition of the input and the result of its build; both are None if its structure is invalid."""

    document: Document
    definition: Definition | None = None
    built: Built | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Analysis:
    """The contents of the input; problems are in the order of files, lines and columns."""

    definitions: list[CheckedDefinition] = field(default_factory=list)
    instances: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def named(self, name: str | None) -> list[CheckedDefinition]:
        """The definitions of that name; all of them without a name."""
        return [
            one
            for one in self.definitions
            if name is None or (one.definition is not None and one.definition.name == name)
        ]


def analyse(
    texts: Iterable[Text],
    others: Iterable[Document] = (),
    *,
    features: frozenset[str] = frozenset(),
    missing_kinds: Severity | None = Severity.ERROR,
) -> Analysis:
    """Checks every definition and instance; objects of other kinds are ignored.

    `others` are CRDs and definitions that only make kinds known. `missing_kinds` is how severe a kind is that nobody
    knows; None: such kinds are not reported.
    """
    analysis = Analysis()
    texts = list(texts)
    lines = {one.source: one.text.splitlines() for one in texts}
    # What is read as input makes its kinds known anyway.
    others = [one for one in others if one.source not in lines]
    documents = load_objects(texts)
    for document in documents:
        analysis.problems += _of_the_text(document, is_checked=is_definition(document.obj))
    for document in others:
        analysis.problems += _of_the_text(document, is_checked=False)
    catalog = _with_crds(bundled(), others + documents, analysis)
    parsed = _parsed(documents, analysis)
    analysis.problems += _duplicate_kinds(analysis, parsed)
    uses: list[Use] = []
    generated: dict[GVK, tuple[Definition, Built]] = {}
    results, catalog = _built_in_order(parsed + _foreign(others, parsed), catalog, features)
    for place, definition, built in results:
        generated.setdefault(instance_resource(definition).gvk, (definition, built))
        if place is None:
            continue
        document = analysis.definitions[place].document
        analysis.definitions[place] = CheckedDefinition(document=document, definition=definition, built=built)
        analysis.problems += map(document.locate, _unusable_rules(definition, built))
        for problem, located in _problems(analysis.definitions[place], lines[document.source]):
            use = use_of(problem, located, definition)
            if use is None:
                analysis.problems.append(located)
            else:
                uses.append(use)
    if missing_kinds is not None:
        analysis.problems += grouped(uses, catalog, missing_kinds)
    _check_others(documents, generated, catalog, analysis)
    analysis.problems.sort(key=order_of)
    return analysis


def _unusable_rules(definition: Definition, built: Built) -> Iterator[Problem]:
    names, _ = name_rules.read(definition.name_validation)
    yield from unusable_rules(names, name_rules.PATH)
    if built.known_spec is not None:
        yield from unusable_rules(built.known_spec, ("spec", "schema", "spec"))


def _of_the_text(document: Document, *, is_checked: bool) -> Iterable[Problem]:
    """The problems of an object's text. What may surprise in an object that is not checked is nobody's concern."""
    if is_checked:
        return document.problems + document.surprises
    if not document.obj:
        return document.problems
    return [problem for problem in document.problems if problem.severity is Severity.ERROR]


def _problems(checked: CheckedDefinition, lines: Sequence[str]) -> Iterator[tuple[Problem, Problem]]:
    """The problems of a build, each also with its place in the file and its short message."""
    built, definition = checked.built, checked.definition
    if built is None or definition is None:
        return
    for problem in built.problems:
        located = _located(checked.document, replace(problem, message=_short(problem, built, definition)))
        offset = built.offsets.get(problem)
        yield problem, located if offset is None else _inside(located, checked.document, problem, offset, lines)


def _short(problem: Problem, built: Built, definition: Definition) -> str:
    """The message without what the path says, and without internal names."""
    message = built.short_messages.get(problem, problem.message)
    resource = next((spec for spec in definition.resources if spec.path == problem.path[:3]), None)
    if resource is not None:
        message = without_place(message, resource.id, paths.build(problem.path[4:]))
    return readable(message)


def _located(document: Document, problem: Problem) -> Problem:
    """The problem with its place, and with what an unquoted value is read as if its type is wrong."""
    located = document.locate(problem)
    reading = document.reading(problem.path) if problem.code in _TYPE_CODES else None
    return located if reading is None else replace(located, message=f"{located.message}: {reading}")


def _with_crds(catalog: Catalog, documents: Iterable[Document], analysis: Analysis) -> Catalog:
    crds = []
    for document in documents:
        if document.obj.get("kind") != CRD_KIND or has_errors(document.problems):
            continue
        try:
            crd_kinds(document.obj)
        except ValueError as error:
            analysis.problems.append(document.locate(Problem(code="crd-incomplete", message=str(error))))
        else:
            crds.append(document.obj)
    return catalog.with_crds(crds) if crds else catalog


def _parsed(documents: Iterable[Document], analysis: Analysis) -> list[_Parsed]:
    """The definitions with their places in the analysis, which gets their problems."""
    parsed: list[_Parsed] = []
    for document in documents:
        if not is_definition(document.obj):
            continue
        definition, problems = parse_definition(document.obj)
        analysis.problems += [_located(document, problem) for problem in problems]
        if definition is not None:
            analysis.problems += [document.locate(problem) for problem in _long_name(definition)]
            parsed.append((len(analysis.definitions), definition))
        analysis.definitions.append(CheckedDefinition(document=document))
    return parsed


def _long_name(definition: Definition) -> Iterator[Problem]:
    """A name that the API server accepts for the definition, but not as the value of the labels that carry it."""
    if len(definition.name) > MAX_LABEL:
        message = (
            f"the name has {len(definition.name)} characters: labels can carry {MAX_LABEL}, "
            "so they carry a hash, and kro refuses the definition"
        )
        path = ("metadata", "name")
        yield Problem(code="definition-name", message=message, path=path, severity=Severity.WARNING)


def _foreign(documents: Iterable[Document], own: Iterable[_Parsed]) -> list[_Parsed]:
    """Definitions that only make their kinds known, as far as they can be read and generate other kinds."""
    generated = {crd_name(definition) for _, definition in own}
    found: list[_Parsed] = []
    for document in documents:
        definition = parse_definition(document.obj)[0] if is_definition(document.obj) else None
        if definition is not None and crd_name(definition) not in generated:
            generated.add(crd_name(definition))
            found.append((None, definition))
    return found


def _duplicate_kinds(analysis: Analysis, parsed: Iterable[_Parsed]) -> Iterator[Problem]:
    owners: dict[str, Definition] = {}
    for place, definition in parsed:
        name = crd_name(definition)
        owner = owners.setdefault(name, definition)
        if owner is definition or place is None:
            continue
        message = f"kind {definition.kind} of group {definition.group} is already generated by {owner.name}"
        if owner.kind != definition.kind:
            message = (
                f"kind {definition.kind} needs the CRD {name}, which kind {owner.kind} of {owner.name} has already"
            )
        problem = Problem(code="duplicate-kind", message=message, path=("spec", "schema", "kind"))
        yield analysis.definitions[place].document.locate(problem)


def _built_in_order(
    parsed: Iterable[_Parsed], catalog: Catalog, features: frozenset[str]
) -> tuple[list[tuple[int | None, Definition, Built]], Catalog]:
    """Build each definition after those whose kinds it uses. In a cycle of definitions, their kinds have no known
    fields. The catalog knows all of their kinds.
    """
    results: list[tuple[int | None, Definition, Built]] = []
    waiting = list(parsed)
    while waiting:
        own = {instance_resource(definition).gvk for _, definition in waiting}
        ready = [one for one in waiting if own.isdisjoint(needed_kinds(one[1]))]
        if not ready:
            catalog = catalog.with_crds([_open_crd(definition) for _, definition in waiting])
            ready = waiting
        found = [(place, definition, build(definition, catalog, features=features)) for place, definition in ready]
        catalog = catalog.with_crds([built.crd or _open_crd(definition) for _, definition, built in found])
        results += found
        done = {id(definition) for _, definition in ready}
        waiting = [one for one in waiting if id(one[1]) not in done]
    return results, catalog


def _open_crd(definition: Definition) -> Obj:
    return build_crd(definition, OPEN, OPEN, owner_labels={})


def _inside(located: Problem, document: Document, problem: Problem, offset: int, lines: Sequence[str]) -> Problem:
    """The position of a character of a string, or of the string if the file does not contain it unchanged."""
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


def _check_others(
    documents: Iterable[Document],
    generated: Mapping[GVK, tuple[Definition, Built]],
    catalog: Catalog,
    analysis: Analysis,
) -> None:
    """The instances among the documents, with their problems, and what is only meant as one or as a definition."""
    definitions = [definition for definition, _ in generated.values()]
    rules: dict[GVK, InstanceRules] = {}
    for document in documents:
        obj = document.obj
        if is_meant_as_definition(obj, catalog):
            analysis.problems += [document.locate(problem) for problem in parse_definition(obj)[1]]
            continue
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str) or is_definition(obj):
            continue
        gvk = GVK.parse(api_version, kind)
        if gvk not in generated:
            if fault := misplaced(obj, definitions, catalog):
                analysis.problems.append(document.locate(fault))
            continue
        definition, built = generated[gvk]
        analysis.instances.append(document)
        warnings = [problem for problem in document.problems if problem.severity is Severity.WARNING]
        analysis.problems += [*warnings, *document.surprises]
        found = [*check_metadata(obj)]
        if built.known_spec is not None:
            found += check_instance(obj, definition, built.known_spec)
        if built.crd is not None:
            if gvk not in rules:
                rules[gvk] = InstanceRules(instance_schema(built.crd))
            invalid = [problem.path for problem in found if problem.severity is Severity.ERROR]
            found += rules[gvk].broken(obj, invalid)
        kept: list[Problem] = []
        for problem in found:
            collect(kept, problem)
        analysis.problems += [_located(document, problem) for problem in kept]
