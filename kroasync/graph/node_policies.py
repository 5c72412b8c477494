"""Compiles and checks the policies of resources and of the definition: words, and expressions over `schema`.

The words were checked when the definition was parsed. Here it is known what an expression can yield, which kind a
resource has, and which policies it has from the definition.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kroasync.cel.syntax import CONDITIONAL, Call, Expr, Index, ListLit, Literal, Macro, MapLit
from kroasync.cel.types import DYN, ERROR, STRING, Type
from kroasync.graph import checks
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import Parsed
from kroasync.graph.nodes import Expression, NodeType
from kroasync.graph.problem_report import Report
from kroasync.graph.references import SCHEMA, NameScope, Place
from kroasync.graph.resources import Entry
from kroasync.graph.templates import CHARS_PER_VALUE, ExtractionError, FieldSource, UnterminatedError, read_standalone
from kroasync.model import names
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.policies import FORMS, MAX_PRUNE, NEVER_RECREATED, Deletion, MaxPrune, Update, one_of
from kroasync.model.problems import Severity
from kroasync.model.steps import Steps
from kroasync.model.suggest import did_you_mean

PATH: Final[Path] = ("spec", "policy")
_ANNOTATION: Final = ("metadata", "annotations", names.ANNOTATION_DELETION_POLICY)
_FOLLOWED: Final = ("orValue", "or", "of", "ofNonZeroValue")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenPolicy:
    """One policy as an author wrote it: `value` is a word or an expression."""

    value: str | Expression
    path: Path
    # The literal words that it can yield, and whether these are all that it can yield.
    words: frozenset[str]
    is_complete: bool = True

    def is_always(self, word: str) -> bool:
        """Whether it yields this word for every instance."""
        return self.is_complete and self.words == {word}

    @property
    def is_inherited(self) -> bool:
        """Whether the definition sets it for its resources."""
        return self.path[: len(PATH)] == PATH

    @property
    def place(self) -> str:
        """Where it is written, for a message about a resource."""
        if self.path[-1] == names.ANNOTATION_DELETION_POLICY:
            return f"the annotation {self.path[-1]}"
        return f"spec.policy.{self.path[-1]} of the definition" if self.is_inherited else f"policy.{self.path[-1]}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenPolicies:
    """The policies that are set at one place of the definition, without rejected ones."""

    words: Mapping[str, WrittenPolicy] = field(default_factory=dict)
    max_prune: MaxPrune | None = None

    def over(self, defaults: "WrittenPolicies") -> "WrittenPolicies":
        """These policies, and those of the definition where there is none."""
        limit = defaults.max_prune if self.max_prune is None else self.max_prune
        return WrittenPolicies(words={**defaults.words, **self.words}, max_prune=limit)

    @property
    def values(self) -> dict[str, str | Expression]:
        """Words and expressions by name."""
        return {name: policy.value for name, policy in self.words.items()}


def compiling_defaults(written: Obj, declared: Declarations) -> Steps[WrittenPolicies]:
    """The policies of the definition, which hold for resources that do not set them; reports what is wrong."""
    defaults = yield from compiling_policies(written, PATH, declared, label="definition")
    _check_kept(defaults.words.get("update"), defaults.words.get("deletion"), declared.report, "definition")
    return defaults


def compiling_policies(written: Obj, path: Path, declared: Declarations, *, label: str) -> Steps[WrittenPolicies]:
    """The policies that are set at this path of the definition; reports rejected ones."""
    found: dict[str, WrittenPolicy] = {}
    for name in FORMS:
        value = written.get(name)
        if not isinstance(value, str):
            continue
        if "${" not in value:
            found[name] = WrittenPolicy(value=value, path=(*path, name), words=frozenset({value}))
            continue
        policy = yield from _compiled(name, value, (*path, name), declared, what=f"{label} policy.{name}")
        if policy is not None:
            found[name] = policy
    return WrittenPolicies(words=found, max_prune=MaxPrune.of(written.get(MAX_PRUNE)))


def _compiled(name: str, text: str, path: Path, declared: Declarations, *, what: str) -> Steps[WrittenPolicy | None]:
    report = declared.report
    if declared.budget.pause_after(1 + len(text) // CHARS_PER_VALUE):
        yield
    try:
        source = read_standalone(text)
    except UnterminatedError as error:
        report.add(error.code, f"{what}: {error}", path, offset=error.offset)
        return None
    except ExtractionError as error:
        report.add("not-standalone", f"{what}: {error}", path)
        return None
    scope = NameScope(place=Place.POLICY, allowed=frozenset({SCHEMA}), allow_omit=declared.allow_omit)
    parsed = yield from declared.parse_in(scope, source, path, label=what)
    if parsed is None:
        return None
    results = list(_results(parsed.ast.root))
    if declared.budget.pause_after(parsed.ast.size):
        yield
    words = _check_words(name, parsed, results, path, report, what)
    compiled = yield from declared.compile(parsed, path, what=f'{what}: failed to type-check "{source.text}"')
    if compiled is None:
        return None
    if not _is_text(compiled.result_type):
        message = f'{what}: expression "{source.text}" must return string, but returns "{compiled.result_type}"'
        if compiled.result_type.kind == "optional":
            message += "; orValue() gives it a value in every case"
        report.add("policy-type", message, path)
        return None
    expression = declared.expression(parsed, compiled)
    is_complete = all(isinstance(node, Literal) for node in results)
    return WrittenPolicy(value=expression, path=path, words=words, is_complete=is_complete)


def _check_words(
    name: str, parsed: Parsed, results: list[Expr], path: Path, report: Report, what: str
) -> frozenset[str]:
    """The literal words among the results of an expression; reports unknown ones."""
    values = FORMS[name]
    found = []
    for node in results:
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            continue
        found.append(node.value)
        if node.value not in list(values):
            report.add(
                "policy-value",
                f'{what}: expected {one_of(values)}, expression "{parsed.source.text}" can yield "{node.value}"',
                path,
                suggestion=did_you_mean(node.value, values) if report.suggests else None,
                offset=parsed.source.author_offset(node.span[0]),
            )
    return frozenset(found)


def _results(root: Expr) -> Iterator[Expr]:
    """The parts of an expression of which one is its result, as far as the syntax tells."""
    waiting: list[Expr] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and node.function == CONDITIONAL:
            waiting += reversed(node.args[1:])
        elif isinstance(node, Call) and node.target is not None and node.function in _FOLLOWED:
            # `optional.of(x)` and `a.orValue(x)`: the name `optional` is no result.
            waiting += reversed((*(() if node.function.startswith("of") else (node.target,)), *node.args))
        elif isinstance(node, Macro) and node.kind == "bind":
            waiting.append(node.body)
        elif isinstance(node, Index) and isinstance(node.operand, MapLit):
            waiting += reversed([entry.value for entry in node.operand.entries])
        elif isinstance(node, Index) and isinstance(node.operand, ListLit):
            waiting += reversed(node.operand.elements)
        else:
            yield node


def _is_text(result: Type) -> bool:
    return result in (STRING, DYN, ERROR)


def check_policies(entry: Entry, own: WrittenPolicies, defaults: WrittenPolicies, report: Report) -> None:
    """Check the policies of a resource that is no external reference against each other and its kind."""
    whole = own.over(defaults)
    label = f'resource "{entry.id}"'
    update, deletion, annotation = whole.words.get("update"), whole.words.get("deletion"), _annotation(entry)
    if update is not None and entry.gvk is not None and entry.gvk.group_kind in NEVER_RECREATED:
        _check_recreation(entry, update, report, label)
    if annotation and deletion and any(deletion.is_always(word) for word in Deletion if not annotation.is_always(word)):
        text = f"{label}: the annotation {names.ANNOTATION_DELETION_POLICY} says something else than {deletion.place}"
        report.add("policy-contradiction", f"{text}: keep one of them", annotation.path)
    elif not own.words.keys().isdisjoint(("update", "deletion")) or annotation:
        _check_kept(update, annotation or deletion, report, label)
    if own.max_prune is not None:
        _check_limit(entry, deletion, report, label)
    _check_unused(entry, own, update, report, label)


def check_annotations(entry: Entry, fields: Iterable[tuple[FieldSource, Parsed]], report: Report) -> None:
    """Check what expressions can yield for kro's annotation, by their literals."""
    for field_, parsed in fields:
        for node in _annotated(field_.path, parsed):
            if isinstance(node, Literal) and isinstance(node.value, str):
                offset = parsed.source.author_offset(node.span[0])
                checks.check_annotated_policy(entry.spec, node.value, entry.path(*field_.path), report, offset=offset)


def _annotated(path: Path, parsed: Parsed) -> Iterator[Expr]:
    """The possible values of kro's annotation that an expression at this path of a template contains."""
    if path == _ANNOTATION:
        yield from _results(parsed.ast.root)
    elif path == _ANNOTATION[:-1]:
        for found in _results(parsed.ast.root):
            for item in found.entries if isinstance(found, MapLit) else ():
                if isinstance(item.key, Literal) and item.key.value == _ANNOTATION[-1]:
                    yield from _results(item.value)


def _annotation(entry: Entry) -> WrittenPolicy | None:
    """What kro's annotation in the template says, if it is literal and known."""
    metadata = entry.obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    word = annotations.get(names.ANNOTATION_DELETION_POLICY) if isinstance(annotations, dict) else None
    meant = {names.POLICY_DELETE: Deletion.DELETE, names.POLICY_ORPHANED: Deletion.ORPHAN}
    if not isinstance(word, str) or word not in meant:
        return None
    return WrittenPolicy(value=word, path=entry.path(*_ANNOTATION), words=frozenset({meant[word]}))


def _check_recreation(entry: Entry, update: WrittenPolicy, report: Report, label: str) -> None:
    """Check that a kind that holds data or other objects is never recreated."""
    if Update.RECREATE not in update.words:
        return
    verb = "is" if update.is_always(Update.RECREATE) else "can be"
    text = (
        f"{label}: {update.place} {verb} {Update.RECREATE}, which deletes the object first, so that what a "
        f"{entry.obj['kind']} holds is lost: set policy.update of this resource to {Update.APPLY} or {Update.ONCE}"
    )
    report.add("policy-recreate", text, entry.path("kind") if update.is_inherited else update.path)


def _check_kept(update: WrittenPolicy | None, deletion: WrittenPolicy | None, report: Report, label: str) -> None:
    """Check that an object that is never deleted is not deleted to be created anew."""
    if not update or not deletion:
        return
    if update.is_always(Update.RECREATE) and deletion.is_always(Deletion.ORPHAN):
        text = f"{label}: {update.place} {Update.RECREATE} deletes the object, but {deletion.place} keeps it"
        is_deletion_nearer = update.is_inherited and not deletion.is_inherited
        report.add("policy-contradiction", text, deletion.path if is_deletion_nearer else update.path)


def _check_limit(entry: Entry, deletion: WrittenPolicy | None, report: Report, label: str) -> None:
    path = (*entry.spec.path, "policy", MAX_PRUNE)
    if entry.type is not NodeType.COLLECTION:
        text = f"{label}: policy.{MAX_PRUNE} counts the objects of a collection, but this resource has no forEach"
        report.add("max-prune-place", text, path)
    elif deletion is not None and deletion.is_always(Deletion.ORPHAN):
        text = f"{label}: policy.{MAX_PRUNE} has no effect, because policy.deletion {Deletion.ORPHAN} deletes no object"
        report.add("policy-unused", text, path, severity=Severity.WARNING)


def _check_unused(entry: Entry, own: WrittenPolicies, update: WrittenPolicy | None, report: Report, label: str) -> None:
    """Warn of what decides about changes of an object that is never changed."""
    if update is None or not update.is_always(Update.ONCE):
        return
    unused = ["externalFields"] if entry.spec.external_fields else []
    unused += ["policy.conflicts"] if "conflicts" in own.words else []
    for name in unused:
        text = f"{label}: {name} has no effect, because policy.update {Update.ONCE} changes no object"
        path = (*entry.spec.path, *name.split("."))
        report.add("policy-unused", text, path, severity=Severity.WARNING)
