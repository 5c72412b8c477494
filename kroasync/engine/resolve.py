"""Build the object to apply from a template: fill in values, default the namespace, add labels and annotations.

The result shares its constant parts with the template and with observed objects, so nobody may change it. Data of an
instance is never scanned for expressions again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kroasync.cel import OMIT, CelError, PendingError
from kroasync.engine.labels import for_pods, inherited, inherits, is_hashed, is_pod, label_value
from kroasync.engine.plan import NodePlan, Plan
from kroasync.engine.scope import Compiled, NodeFailure, PendingData, Scope, without_omitted
from kroasync.model import names
from kroasync.model.applyset import Parent, is_namespace
from kroasync.model.definition import ALL, NONE
from kroasync.model.objects import Key, Obj, labels_of, metadata, name_of, namespace_of, uid_of
from kroasync.model.paths import nests_deeper
from kroasync.model.policies import Deletion
from kroasync.model.seal import seal
from kroasync.model.steps import Steps

# No kind of object has longer names; and how many characters of a name a message shows.
_MAX_NAME: Final = 253
_SHOWN: Final = 80
# A template must not set these labels and annotations, from whatever source: they would forge ownership, or what the
# controller of a nested instance remembers and takes back.
_RESERVED: Final = (
    *(*names.RESERVED_PREFIXES, names.APPLYSET_PREFIX),
    *(names.ANNOTATION_SEAL, names.ANNOTATION_RECREATED, names.ANNOTATION_ALLOW_PRUNE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """One object that a node declares."""

    key: Key
    obj: Obj
    # The index in the collection; None for a single resource.
    index: int | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return identity(self.key)


def identity(key: Key) -> tuple[str, str, str, str]:
    """The identity of an object in any API version: group, kind, namespace, name."""
    return (key.resource.group, key.resource.kind, key.namespace, key.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The metadata that an instance puts on each of its children."""

    parent: Parent
    applyset_id: str
    labels: Mapping[str, str]
    # What labels have a hash of.
    annotations: Mapping[str, str]
    # The labels of the instance for its children, and for Pods among them.
    inherited: Mapping[str, str]
    inherited_by_pods: Mapping[str, str] = field(default_factory=dict)
    # The UID of the instance.
    uid: str = ""
    seal_key: bytes = b""

    @staticmethod
    def of(plan: Plan, instance: Obj) -> "Ownership":
        resource = plan.graph.resource
        parent = Parent(
            name=name_of(instance),
            namespace=namespace_of(instance) if resource.namespaced else "",
            kind=resource.kind,
            group=resource.group,
        )
        applyset_id, uid = parent.applyset_id, uid_of(instance)
        policy = plan.graph.definition.label_propagation
        passed_on = {} if policy == NONE else inherited(labels_of(instance), plan.options.unpropagated_labels)
        full = {names.ANNOTATION_INSTANCE_NAME: parent.name, names.ANNOTATION_INSTANCE_GROUP: parent.group}
        labels = {
            **plan.child_labels,
            names.LABEL_INSTANCE_ID: uid,
            names.LABEL_INSTANCE_NAME: label_value(parent.name),
            names.LABEL_APPLYSET_PART_OF: applyset_id,
        }
        if parent.namespace:
            labels[names.LABEL_INSTANCE_NAMESPACE] = parent.namespace
        return Ownership(
            parent=parent,
            applyset_id=applyset_id,
            uid=uid,
            labels=labels,
            annotations={key: text for key, text in full.items() if is_hashed(text)},
            inherited=passed_on,
            inherited_by_pods=passed_on if policy == ALL else for_pods(passed_on),
            seal_key=plan.options.seal_key,
        )


def filling(plan: NodePlan, scope: Scope, variables: Mapping[str, Any] | None = None) -> Steps[Obj]:
    """The template of a resource or external with its values; raises PendingData or NodeFailure.

    Expressions that iterate see `variables`. The steps pause between two expressions whenever the pass is tired.
    """
    values: list[Any] = []
    for expression in plan.expressions:
        if values and scope.allowance.tired():
            yield
        if variables is not None and expression.is_iteration:
            values.append(evaluated_with(plan.id, expression, scope, variables))
        else:
            values.append(evaluated(plan.id, expression, scope))
    return _filled(plan, values)


def _filled(plan: NodePlan, values: list[Any]) -> Obj:
    for expression, value, room in zip(plan.expressions, values, plan.rooms, strict=True):
        if type(value) in (dict, list) and nests_deeper(value, room):
            text = f'node "{plan.id}": the value of {expression.shown} is nested too deeply'
            raise NodeFailure(text, expression=expression.text)
    filled = plan.fill(values)
    return without_omitted(filled) if plan.may_omit else filled  # type: ignore[no-any-return]


def evaluated(node: str, expression: Compiled, scope: Scope) -> Any:
    """The JSON value of an expression of a node; raises PendingData or NodeFailure."""
    try:
        return scope.json(expression)
    except CelError as error:
        raise failure_of(node, expression, error) from None


def evaluated_with(node: str, expression: Compiled, scope: Scope, variables: Mapping[str, Any]) -> Any:
    """The JSON value of an expression under other variables; raises PendingData or NodeFailure."""
    try:
        return scope.json_with(expression, variables)
    except CelError as error:
        raise failure_of(node, expression, error) from None


def failure_of(node: str, expression: Compiled, error: CelError) -> PendingData | NodeFailure:
    """The engine's error for a failed evaluation."""
    text = f'node "{node}": failed to evaluate expression: {expression.failure_text(error)}'
    if isinstance(error, PendingError):
        return PendingData(f"{text} ({expression.pending_text(error)})", expression=expression.text)
    return NodeFailure(text, expression=expression.text)


def desired(
    plan: NodePlan,
    obj: Obj,
    ownership: Ownership,
    deletion: Deletion = Deletion.DELETE,
    *,
    index: int | None = None,
    size: int | None = None,
) -> Desired:
    """The object to apply, with its identity; raises NodeFailure if it has none.

    The object carries its deletion policy: a deletion reads only children.
    """
    key = key_of(plan, obj, ownership.parent.namespace)
    labels = {**_inherited(ownership, plan), **_allowed(plan, obj, "labels"), **ownership.labels, **plan.labels}
    if index is not None:
        labels[names.LABEL_COLLECTION_INDEX] = str(index)
        labels[names.LABEL_COLLECTION_SIZE] = str(size)
    annotations = {
        **_allowed(plan, obj, "annotations", plan.exempt_annotations),
        **plan.annotations,
        **ownership.annotations,
    }
    if deletion is Deletion.ORPHAN:
        annotations[names.ANNOTATION_DELETION_POLICY] = names.POLICY_ORPHANED
    if ownership.seal_key:
        annotations[names.ANNOTATION_SEAL] = seal(ownership.seal_key, ownership.uid, key)
    meta = {**obj["metadata"], "name": key.name, "labels": labels, "annotations": annotations}
    if key.namespace:
        meta["namespace"] = key.namespace
    else:
        meta.pop("namespace", None)
    return Desired(key=key, obj={**obj, "metadata": meta}, index=index)


def _inherited(ownership: Ownership, plan: NodePlan) -> Mapping[str, str]:
    resource = plan.node.resource
    if not inherits(resource):
        return {}
    return ownership.inherited_by_pods if is_pod(resource) else ownership.inherited


def key_of(plan: NodePlan, obj: Obj, default_namespace: str) -> Key:
    """The identity of a filled template; raises NodeFailure if its name or namespace is missing or invalid."""
    meta, resource = metadata(obj), plan.node.resource
    name = meta.get("name")
    if not isinstance(name, str) or not name:
        raise NodeFailure(f'node "{plan.id}": metadata.name must be a non-empty string, got {_kind(name)}')
    if not _is_name(name):
        raise NodeFailure(
            f'node "{plan.id}": metadata.name must be at most {_MAX_NAME} printable characters without "/" and "%", '
            f"got {_shown(plan, name)}"
        )
    if not resource.namespaced:
        return Key(resource, "", name)
    namespace = namespace_in(plan, meta.get("namespace"))
    if not namespace and not default_namespace:
        raise NodeFailure(
            f'node "{plan.id}" is namespaced and must resolve metadata.namespace when the instance is cluster-scoped'
        )
    return Key(resource, namespace or default_namespace, name)


def namespace_in(plan: NodePlan, namespace: Any) -> str:
    """The namespace of a filled template, empty if it has none; raises NodeFailure if the name is invalid.

    An invalid name must not get into an inventory, which could not be read back.
    """
    if namespace is None or namespace == "":
        return ""
    if not isinstance(namespace, str):
        raise NodeFailure(f'node "{plan.id}": metadata.namespace must be a string, got {_kind(namespace)}')
    if not is_namespace(namespace):
        raise NodeFailure(
            f'node "{plan.id}": metadata.namespace must be a DNS label (at most 63 lower case letters, digits and '
            f'"-", beginning and ending with a letter or digit), got {_shown(plan, namespace)}'
        )
    return namespace


def _is_name(text: str) -> bool:
    """Whether the text can be a name of any object. Some kinds have stricter rules."""
    return len(text) <= _MAX_NAME and text.isprintable() and text not in (".", "..") and not {"/", "%"} & set(text)


def _shown(plan: NodePlan, text: str) -> str:
    """The text, short and in one line; withheld if it may contain a value of a Secret."""
    if any(expression.secret for expression in plan.expressions):
        return "something else (details withheld: values of a Secret are involved)"
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...").replace("'", '"')


def _allowed(plan: NodePlan, obj: Obj, field: str, exempt: frozenset[str] = frozenset()) -> dict[str, Any]:
    # An optional without a value leaves null, which is no valid label value. An expression may also add reserved keys.
    found = obj["metadata"].get(field)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise NodeFailure(f'node "{plan.id}": metadata.{field} must be a map, got {_kind(found)}')
    return {k: v for k, v in found.items() if v is not None and (k in exempt or not k.startswith(_RESERVED))}


def _kind(value: Any) -> str:
    if value is None or value is OMIT:
        return "nothing"
    return type(value).__name__ if not isinstance(value, str) else "a string" if value else '""'
