"""Which refusals mean that a field cannot be changed, what the instance remembers, and how a pass recreates a child."""

from typing import Any

import pytest

from kroasync.engine.actions import Apply, Delete, PatchParent, Refusal, Refused
from kroasync.engine.outcome import ChangeKind
from kroasync.engine.plan import Options
from kroasync.engine.recreation import Recreated, obstacle, unchangeable
from kroasync.model.names import ANNOTATION_DELETION_POLICY, ANNOTATION_RECREATED
from kroasync.model.objects import Key, Obj, Resource
from kroasync.model.policies import Deletion, Policies
from tests.samples import CONFIG_MAPS

# The refusals


def cause(message: str, *, reason: str = "FieldValueInvalid", field: str = "spec.x") -> Obj:
    return {"reason": reason, "message": message, "field": field}


def forbidden(detail: str) -> Obj:
    return cause(f"Forbidden: {detail}", reason="FieldValueForbidden")


POD_SPEC = '\n  core.PodSpec{\n  \tContainers: []core.Container{{Image: "a"}}}'


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (cause('Invalid value: {"containers":[{"name":"a: b"}]}: field is immutable'), "field is immutable"),
        (cause('Invalid value: core.PodTemplateSpec{Name:"a: b"}: field is immutable'), "field is immutable"),
        (cause('Invalid value: "x": field is immutable'), "field is immutable"),
        (cause('Invalid value: ["10.0.0.1"]: may not change once set'), "may not change once set"),
        (cause("Invalid value: 3: field is immutable"), "field is immutable"),
        (cause("Invalid value: field is immutable"), "field is immutable"),
        (cause("Invalid value: null: field cannot be cleared once set"), "field cannot be cleared once set"),
        (cause("Invalid value: null: field cannot be set once created"), "field cannot be set once created"),
        (cause("Invalid value: null: field cannot be modified once set"), "field cannot be modified once set"),
        (cause('Invalid value: {"kind":"Role"}: cannot change roleRef'), "cannot change roleRef"),
        (cause('Invalid value: "object": failed rule: self == oldSelf'), "failed rule: self == oldSelf"),
        (
            cause('Invalid value: "object": failed rule: !has(oldSelf.size) || self.size == oldSelf.size'),
            "failed rule: !has(oldSelf.size) || self.size == oldSelf.size",
        ),
        (cause('Invalid value: "object": failed rule: oldSelf.a == self.a'), "failed rule: oldSelf.a == self.a"),
        (cause('Invalid value: "b": Value is immutable'), "Value is immutable"),
        (cause('Invalid value: "b": field "size" is immutable: ask us'), 'field "size" is immutable: ask us'),
        (forbidden("field is immutable when `immutable` is set"), "field is immutable when `immutable` is set"),
        (forbidden(f"spec is immutable after creation except resources.requests{POD_SPEC}"), None),
        (forbidden("spec.persistentvolumesource is immutable after creation"), None),
        (forbidden("updates to statefulset spec for fields other than 'replicas', 'template' are forbidden"), None),
        (forbidden("updates to parameters are forbidden."), None),
        (forbidden(f"pod updates may not change fields other than `spec.containers[*].image`{POD_SPEC}"), None),
        (forbidden("pod updates may not add or remove containers"), None),
        (forbidden("may not be changed in an update."), None),
        (forbidden("cannot be changed"), None),
    ],
)
def test_a_field_that_cannot_be_changed_is_found(found: Obj, said: str | None) -> None:
    expected = said or found["message"].removeprefix("Forbidden: ").partition("\n")[0]
    assert unchangeable([found]) == (("spec.x", expected),)


@pytest.mark.parametrize(
    "found",
    [
        # The words are part of the value, which anybody may have chosen.
        cause('Invalid value: "field is immutable"'),
        cause('Invalid value: "x: field is immutable": must be a number'),
        cause('Invalid value: "x\\": field is immutable": must be a number'),
        cause('Invalid value: {"a":"x","b":": field is immutable"}: must be empty'),
        cause('Invalid value: {"a":"b: field is immutable"}'),
        cause('Invalid value: core.Spec{Name:"a: field is immutable"}'),
        cause('Invalid value: core.Spec{Name:"a: field is immutable"}: must be empty'),
        cause("Invalid value: 3"),
        cause("Invalid value: &LabelSelector{MatchLabels:map[string]string{app: a: field is immutable,},}"),
        cause("Invalid value: null: can only be modified in tandem with spec.parallelism"),
        forbidden(f"may not be used{POD_SPEC}: field is immutable"),
        cause('Unsupported value: "a": supported values: "field is immutable"', reason="FieldValueNotSupported"),
        cause('Duplicate value: "field is immutable"', reason="FieldValueDuplicate"),
        cause("Required value: field is immutable", reason="FieldValueRequired"),
        # They are about something else.
        cause('Invalid value: "web:latest": the image must have an immutable tag'),
        cause('Invalid value: "web": a name that is not immutable'),
        cause('Invalid value: "object": failed rule: self.size >= oldSelf.size'),
        cause('Invalid value: "object": failed rule: self.size == 3'),
        forbidden("updates are not possible now"),
        cause("", reason=""),
        {},
    ],
)
def test_every_other_refusal_is_none(found: Obj) -> None:
    assert unchangeable([found]) == ()


def test_all_causes_must_be_immutable_fields_and_there_must_be_one() -> None:
    immutable, wrong = cause('Invalid value: "a": field is immutable'), cause('Invalid value: "a": must be a number')
    assert len(unchangeable([immutable, immutable])) == 2
    assert unchangeable([immutable, wrong]) == ()
    assert unchangeable([wrong, immutable]) == ()
    assert unchangeable([]) == ()


# What the instance remembers

KEY, OTHER = Key(CONFIG_MAPS, "team", "a"), Key(CONFIG_MAPS, "team", "b")


def annotated(text: str | None = None, *, generation: int = 1) -> Obj:
    annotations = {} if text is None else {ANNOTATION_RECREATED: text}
    return {"metadata": {"generation": generation, "annotations": annotations}}


def test_what_is_listed_is_due_and_what_came_after_it_was_recreated() -> None:
    found = Recreated.of(annotated(), "abc").adding(KEY, "u1").adding(OTHER, "u2")
    read = Recreated.of(annotated(found.annotation), "abc")
    assert read == found
    assert (read.is_due(KEY, "u1"), read.was(KEY, "u1")) == (True, False)
    assert (read.is_due(KEY, "u9"), read.was(KEY, "u9")) == (False, True)
    unlisted = Key(CONFIG_MAPS, "team", "c")
    assert (read.is_due(unlisted, "u1"), read.was(unlisted, "u1")) == (False, False)


def test_another_generation_or_revision_starts_anew() -> None:
    text = Recreated.of(annotated(), "abc").adding(KEY, "u1").annotation
    assert Recreated.of(annotated(text, generation=2), "abc").children == {}
    assert Recreated.of(annotated(text), "abd").children == {}


@pytest.mark.parametrize("text", ["", " ", "1-abc", "1-abc ,,", "1-abc =u", "1-abc k=", "1-abc k", "1 a=b"])
def test_what_somebody_wrote_instead_lists_nothing(text: str) -> None:
    assert Recreated.of(annotated(text), "abc").children == {}


def test_the_annotation_stays_small() -> None:
    found = Recreated("1-abc", {f"{n:012x}": "0" * 12 for n in range(2000)})
    assert len(found.annotation) < 60_000
    read = Recreated.of(annotated(found.annotation), "abc")
    why = obstacle(KEY, Policies(), read, "u1", is_orphaned=False)
    assert why == "2000 objects were recreated for this generation already"


def test_what_is_kept_is_not_deleted_to_be_recreated() -> None:
    none = Recreated("1-abc", {})
    assert obstacle(KEY, Policies(), none, "u1", is_orphaned=False) is None
    assert "Orphaned" in str(obstacle(KEY, Policies(), none, "u1", is_orphaned=True))
    assert "Orphaned" in str(obstacle(KEY, Policies(deletion=Deletion.ORPHAN), none, "u1", is_orphaned=False))


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("", "PersistentVolumeClaim"),
        ("", "PersistentVolume"),
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ],
)
def test_a_kind_that_holds_data_or_other_objects_is_never_recreated(group: str, kind: str) -> None:
    """An expression may yield Recreate, which no check of the definition sees."""
    key = Key(Resource(group, "v1", kind, f"{kind.lower()}s"), "team", "a")
    assert "never recreated" in str(obstacle(key, Policies(), Recreated("1-abc", {}), "u1", is_orphaned=False))


# A pass

RECREATE = {"policy": {"update": "Recreate"}}
SEALED = Options(seal_key=b"k" * 32)
SAID = "data: field is immutable"


class Stage:
    """A cluster that refuses changes of the data of ConfigMaps as the API server refuses those of immutable fields."""

    def __init__(self, cluster: Any, walked: Any, graph_of: Any, config: Any) -> None:
        self.cluster, self._walked, self._graph_of, self._config = cluster, walked, graph_of, config
        self.immutable: tuple[str, ...] = (SAID,)
        perform = cluster.perform
        cluster.perform = lambda action: self._refuse(action) or perform(action)

    def _refuse(self, action: Any) -> Refused | None:
        live = self.cluster.world.get(action.key) if isinstance(action, Apply) and action.node == "a" else None
        if live is None or live.get("data") == action.obj["data"]:
            return None
        return Refused(action=action, refusal=Refusal.INVALID, message="no", immutable=self.immutable)

    def walk(self, value: str, **more: Any) -> Any:
        entries = [self._config("a", {"v": value}, **{**RECREATE, **more}), self._config("b", {"x": "${a.data.v}"})]
        return self._walked(self._graph_of(*entries), self.cluster, SEALED)


@pytest.fixture
def stage(cluster_of, instance_of, walked, graph_of, config) -> Stage:
    found = Stage(cluster_of(instance_of()), walked, graph_of, config)
    found.walk("1")
    return found


@pytest.fixture
def key(key_of) -> Key:
    return key_of("ConfigMap", "shop-a")


def recreations(passed: Any) -> list[list[type]]:
    wanted = (PatchParent, Delete)
    return [[type(a) for a in batch] for batch in passed.batches if any(isinstance(a, wanted) for a in batch)]


def test_the_instance_notes_it_then_the_child_goes_and_dependents_wait(stage: Stage, key: Key) -> None:
    passed = stage.walk("2")
    assert recreations(passed) == [[PatchParent], [Delete]]
    (delete,) = [action for action in passed.actions if isinstance(action, Delete)]
    assert (delete.key, delete.propagation) == (key, "Foreground")
    assert passed.state("a") == "DELETING"
    assert "team/shop-a" in passed.message("a")
    assert passed.state("b") == "IN_PROGRESS"
    assert not passed.outcome.failures
    assert dict(passed.outcome.recreated) == {key: SAID}
    assert [change.kind for change in passed.outcome.changes] == [ChangeKind.RECREATED]
    passed = stage.walk("2")
    assert passed.applied == [["a"], ["b"]]
    assert passed.outcome.settled
    assert stage.cluster.world.get(key)["data"] == {"v": "2"}


def test_it_happens_once_for_a_generation_and_the_error_says_so(stage: Stage, key: Key) -> None:
    stage.walk("2")
    stage.walk("2")
    changed = stage.cluster.world.get(key)
    meta = {**changed["metadata"], "uid": "another"}
    stage.cluster.world.put(key, {**changed, "metadata": meta, "data": {"v": "3"}})
    passed = stage.walk("2")
    assert recreations(passed) == []
    assert passed.state("a") == "ERROR"
    assert passed.message("a").endswith("it was recreated for this generation already: no")
    generation = {**stage.cluster.world.instance["metadata"], "generation": 2}
    stage.cluster.world.instance = {**stage.cluster.world.instance, "metadata": generation}
    assert recreations(stage.walk("2")) == [[PatchParent], [Delete]]


def test_after_a_crash_before_the_delete_it_is_deleted_without_another_note(stage: Stage, key: Key) -> None:
    perform = stage.cluster.perform
    stage.cluster.perform = lambda action: (
        Refused(action=action, refusal=Refusal.UNAVAILABLE, message="cut off")
        if isinstance(action, Delete)
        else perform(action)
    )
    passed = stage.walk("2")
    assert passed.state("a") == "ERROR"
    assert "it cannot be deleted to be recreated: cut off" in passed.message("a")
    # So it is tried again as soon as the API server is there.
    assert [failure.refusal for failure in passed.outcome.failures] == [Refusal.UNAVAILABLE]
    stage.cluster.perform = perform
    passed = stage.walk("2")
    assert recreations(passed) == [[Delete]]
    assert passed.state("a") == "DELETING"


def test_nothing_is_deleted_if_the_instance_cannot_note_it(stage: Stage, key: Key) -> None:
    stage.cluster.refusals = {"PatchParent": (Refusal.FORBIDDEN, "not you")}
    passed = stage.walk("2")
    assert recreations(passed) == [[PatchParent]]
    assert passed.state("a") == "ERROR"
    assert "not you" in passed.message("a")
    assert stage.cluster.world.get(key)["data"] == {"v": "1"}


def test_the_note_is_bound_to_the_instance_that_the_pass_saw(stage: Stage) -> None:
    meta = {**stage.cluster.world.instance["metadata"], "resourceVersion": "41"}
    stage.cluster.world.instance = {**stage.cluster.world.instance, "metadata": meta}
    (patch,) = [action for action in stage.walk("2").actions if isinstance(action, PatchParent)]
    assert patch.version == "41"
    assert list(patch.annotations) == [ANNOTATION_RECREATED]


def test_what_is_released_where_it_would_be_deleted_is_not_recreated(stage: Stage, key: Key) -> None:
    live = stage.cluster.world.get(key)
    kept = {**live["metadata"]["annotations"], ANNOTATION_DELETION_POLICY: "Orphaned"}
    stage.cluster.world.put(key, {**live, "metadata": {**live["metadata"], "annotations": kept}})
    passed = stage.walk("2")
    assert recreations(passed) == []
    assert "its deletion policy is Orphaned" in passed.message("a")


def test_what_no_seal_proves_is_not_deleted(stage: Stage, key: Key) -> None:
    live = stage.cluster.world.get(key)
    stage.cluster.world.put(key, {**live, "metadata": {**live["metadata"], "annotations": {}}})
    passed = stage.walk("2")
    assert recreations(passed) == []
    assert "nothing proves that it is a resource of this instance" in passed.message("a")


@pytest.mark.parametrize("policy", [{}, {"policy": {"update": "Apply"}}])
def test_without_the_policy_the_refusal_stands(stage: Stage, policy: Obj) -> None:
    passed = stage.walk("2", **(policy or {"policy": {}}))
    assert recreations(passed) == []
    assert passed.state("a") == "ERROR"


def test_a_refusal_for_other_reasons_stands(stage: Stage) -> None:
    stage.immutable = ()
    passed = stage.walk("2")
    assert recreations(passed) == []
    assert passed.state("a") == "ERROR"


def test_nothing_is_deleted_in_order_to_be_adopted(cluster_of, instance_of, walked, graph_of, config) -> None:
    free = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-a", "namespace": "team", "uid": "x"}}
    found = Stage(cluster_of(instance_of(), [{**free, "data": {"v": "0"}}]), walked, graph_of, config)
    passed = found.walk("1")
    assert not any(isinstance(action, Delete) for action in passed.actions)
    assert passed.state("a") == "ERROR"


def test_only_the_refused_item_of_a_collection_goes(cluster_of, instance_of, walked, graph_of, config) -> None:
    cluster = cluster_of(instance_of())
    Stage(cluster, walked, graph_of, config)

    def walk(changed: str) -> Any:
        cluster.world.instance = {**cluster.world.instance, "spec": {"items": ["x", "y"], "changed": changed}}
        items = {"name": "shop-${one}", "forEach": [{"one": "${schema.spec.items}"}]}
        entry = config("a", {"v": '${one == schema.spec.changed ? "2" : "1"}'}, **items, **RECREATE)
        return walked(graph_of(entry, spec={"items": "[]string", "changed": "string"}), cluster, SEALED)

    walk("none")
    passed = walk("y")
    assert passed.deleted == [["shop-y"]]
    assert passed.state("a") == "DELETING"
    assert walk("y").outcome.settled
