"""The names in a definition's expressions: ids and `schema` with their types, and the fields that expressions read.

An id whose kind has no schema is `dyn`. Type rules ignore such ids: their problem is the unknown kind.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel import Env, Program, outermost
from kroasync.cel.types import DYN, Type, list_of
from kroasync.graph import checks
from kroasync.graph.budget import Budget
from kroasync.graph.expressions import RUNTIME, Expressions, Parsed
from kroasync.graph.nodes import Expression
from kroasync.graph.problem_report import Report
from kroasync.graph.references import EACH, SCHEMA, NameScope
from kroasync.graph.resources import Entry
from kroasync.graph.templates import Source
from kroasync.model.definition import Definition
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.steps import Steps
from kroasync.schema.catalog import OBJECT_META
from kroasync.schema.celtypes import SchemaTypes, collection_of

_STRING: Final[Obj] = {"type": "string"}


class Declarations:
    """The names of one definition. If several entries have the same id, the id belongs to the first one."""

    def __init__(
        self,
        definition: Definition,
        entries: Iterable[Entry],
        spec_schema: Obj,
        *,
        allow_omit: bool,
        report: Report,
        budget: Budget,
    ) -> None:
        self.report = report
        self.budget = budget
        self.allow_omit = allow_omit
        self.cluster_instance = not definition.namespaced
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.id not in checks.RESERVED:
                self.entries.setdefault(entry.id, entry)
        self.ids = frozenset(self.entries)
        self.names = self.ids | {SCHEMA}
        schemas: dict[str, Any] = {SCHEMA: _instance_schema(definition, spec_schema)}
        for name, entry in self.entries.items():
            if entry.schema is not None:
                schemas[name] = collection_of(entry.schema) if entry.is_collection else entry.schema
        self.untyped = self.ids - schemas.keys()
        self.types = SchemaTypes(schemas)
        variables = self.types.variables()
        for name in self.untyped:
            variables[name] = list_of(DYN) if self.entries[name].is_collection else DYN
        iterators = {name for entry in self.entries.values() for name in entry.iterators}
        env = Env(variables=variables, types=self.types)
        self._expressions = Expressions(env, self.names | {EACH, RUNTIME} | iterators, budget)
        self._reads: dict[str, set[tuple[str, ...]]] = {}

    def owns(self, entry: Entry) -> bool:
        """Whether the entry's id belongs to this entry."""
        return self.entries.get(entry.id) is entry

    def object_type(self, entry: Entry) -> Type:
        """The type of one object of a node."""
        if entry.id in self.untyped or not self.owns(entry):
            return DYN
        declared = self.types.type_for(entry.id)
        return declared.element if entry.is_collection else declared

    def parse(self, source: Source, path: Path, *, what: str) -> Steps[Parsed | None]:
        """The tree of an expression; reports an expression that does not parse, and returns None."""
        return self._expressions.parse(source, self.report, path, what=what)

    def parse_in(self, scope: NameScope, source: Source, path: Path, *, label: str) -> Steps[Parsed | None]:
        """The tree of an expression; reports one that uses names which its place does not have, and returns None."""
        what = f'{label}: failed to extract dependencies from expression "{source.text}"'
        parsed = yield from self.parse(source, path, what=what)
        if parsed is None:
            return None
        with self.report.step(f"{label}: "):
            return parsed if scope.check(parsed, self.report, path) else None

    def compile(
        self,
        parsed: Parsed,
        path: Path,
        *,
        what: str,
        variables: Mapping[str, Type] = MappingProxyType({}),
        own: Entry | None = None,
    ) -> Steps[Program | None]:
        """The program of an expression, with its reads recorded; reports a type error, and returns None.

        `variables` are the variables of its place, in addition to the ids of the definition.
        """
        program = yield from self._expressions.compile(parsed, variables, self.report, path, what=what)
        if program is not None:
            self._note_reads(program, own)
        return program

    def _note_reads(self, program: Program, own: Entry | None) -> None:
        for root, *rest in program.reads:
            if root == EACH and own is not None:
                self._reads.setdefault(own.id, set()).add(tuple(rest))
            elif root in self.entries:
                # The first part of a path into a list of objects selects objects.
                path = rest[1:] if self.entries[root].is_collection else rest
                self._reads.setdefault(root, set()).add(tuple(path))

    def reads(self, name: str) -> frozenset[tuple[str, ...]]:
        """The field paths of a node's objects that compiled expressions read; no path is below another one."""
        return outermost(self._reads.get(name, ()))

    def expression(
        self, parsed: Parsed, program: Program, *, iterators: Collection[str] = (), to_bytes_field: bool = False
    ) -> Expression:
        """The compiled form that a graph keeps."""
        return Expression(
            text=parsed.source.text,
            program=program,
            references=tuple(name for name in parsed.names if name in self.ids),
            iterators=tuple(name for name in parsed.names if name in iterators),
            to_bytes_field=to_bytes_field,
        )


def _instance_schema(definition: Definition, spec_schema: Obj) -> Obj:
    """The type of `schema`: the instance without its status, and without a namespace if it has none."""
    metadata = OBJECT_META
    if not definition.namespaced:
        kept = {name: schema for name, schema in metadata["properties"].items() if name != "namespace"}
        metadata = {**metadata, "properties": kept}
    properties = {"apiVersion": _STRING, "kind": _STRING, "metadata": metadata, "spec": spec_schema}
    return {"type": "object", "properties": properties}
