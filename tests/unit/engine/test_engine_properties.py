"""Random graphs in random worlds: passes converge, in order, and change only our own objects."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kroasync.engine.actions import Apply, Delete
from kroasync.engine.instance_status import compose
from kroasync.engine.offline import OfflineWorld, observed
from kroasync.engine.plan import Plan
from kroasync.engine.teardown import plan_teardown
from kroasync.engine.walk import Walk
from kroasync.model import names
from kroasync.model.objects import Key, is_deleting
from tests.samples import CONFIG_MAPS

PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Shape:
    """A random definition: for each node, its dependencies, and whether it waits, has a switch, or is a collection."""

    needs: tuple[tuple[int, ...], ...]
    waits: tuple[bool, ...]
    switched: tuple[bool, ...]
    collections: tuple[bool, ...]
    namespaces: tuple[bool, ...]


@st.composite
def shapes(draw):
    count = draw(st.integers(1, 7))

    def flags(share):
        return tuple(draw(st.integers(0, 9)) < share for _ in range(count))

    needs = tuple(tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=3)))) if i else () for i in range(count))
    return Shape(needs, flags(4), flags(2), flags(2), flags(2))


def resources(shape):
    for i, needed in enumerate(shape.needs):
        data = {
            f"n{j}": f"${{string(size(n{j}))}}" if shape.collections[j] else f"${{n{j}.metadata.name}}" for j in needed
        }
        meta = {"name": f"${{schema.metadata.name}}-{i}"}
        if shape.namespaces[i]:
            meta["namespace"] = "far"
        entry: dict[str, Any] = {
            "id": f"n{i}",
            "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data},
        }
        subject = f"n{i}"
        if shape.collections[i]:
            meta["name"] += "-${one}"
            entry["forEach"] = [{"one": "${schema.spec.items}"}]
            subject = "each"
        if shape.waits[i]:
            entry["readyWhen"] = [f"${{{subject}.metadata.?annotations['ready'].orValue('') == 'yes'}}"]
        if shape.switched[i]:
            entry["includeWhen"] = ["${schema.spec.on}"]
        yield entry


SPEC = {"on": "boolean", "items": "[]string"}


class Simulation:
    """A world whose controllers make some objects ready, and which checks every write against the rules."""

    def __init__(self, graph, instance, strangers):
        self.graph = graph
        self.plan = Plan.of(graph)
        self.world = OfflineWorld(instance, (), lambda gvk: CONFIG_MAPS)
        self.strangers = {}
        for name, labels in strangers:
            meta = {"name": name, "namespace": "team", "uid": name, "labels": labels}
            obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
            key = Key(CONFIG_MAPS, "team", name)
            self.world.put(key, obj)
            self.strangers[key] = obj
        members = self.world.members
        self.world.members = lambda: [self._marked(m) for m in members()]  # type: ignore[method-assign]

    def _marked(self, member):
        from dataclasses import replace

        return replace(member, ours=member.key not in self.strangers)

    def ready(self, key):
        obj = self.world.get(key)
        assert obj is not None
        meta = obj["metadata"]
        self.world.put(key, {**obj, "metadata": {**meta, "annotations": {**meta["annotations"], "ready": "yes"}}})

    def is_ready(self, node):
        shown = [
            obj
            for key, obj in self.world.objects.values()
            if key not in self.strangers and obj["metadata"]["labels"].get(names.LABEL_NODE_ID) == node
        ]
        if not self.graph.nodes[node].ready_when:
            return True
        return all(obj["metadata"]["annotations"].get("ready") == "yes" for obj in shown)

    def run(self):
        walk = Walk(self.plan, self.world.instance, self.world)
        emitted = []
        while actions := walk.next_actions():
            for action in actions:
                if isinstance(action, Apply):
                    self.check_apply(action, walk)
                elif isinstance(action, Delete):
                    assert action.key not in self.strangers
            walk.feed([self.world.perform(action) for action in actions])
            emitted += actions
        return walk.outcome, emitted

    def check_apply(self, action, walk):
        # All its dependencies exist and are ready, and the recorded inventory has its kind.
        for needed in self.graph.nodes[action.node].dependencies:
            assert self.is_ready(needed), (action.node, needed)
        recorded = self.world.instance["metadata"]["annotations"]
        assert "ConfigMap" in recorded[names.ANNOTATION_APPLYSET_GROUP_KINDS].split(",")
        if action.key.namespace != "team":
            assert action.key.namespace in recorded[names.ANNOTATION_APPLYSET_NAMESPACES].split(",")


STRANGERS = st.lists(
    st.sampled_from(
        [
            ("copied", {"kro.run/instance-id": "11111111-2222-3333-4444-555555555555", "kro.run/node-id": "n0"}),
            ("other", {"kro.run/instance-id": "somebody-else"}),
            ("plain", {}),
        ]
    ),
    unique_by=lambda pair: pair[0],
)


@PROPERTY
@given(
    shape=shapes(),
    strangers=STRANGERS,
    items=st.lists(st.sampled_from("abc"), unique=True),
    on=st.booleans(),
    data=st.data(),
)
def test_passes_converge_in_order_and_touch_only_their_own(graph_of, instance_of, shape, strangers, items, on, data):
    graph = graph_of(*resources(shape), spec=SPEC)
    simulation = Simulation(graph, instance_of({"on": on, "items": items}), strangers)
    for _ in range(40):
        outcome, emitted = simulation.run()
        if outcome.settled:
            break
        waiting = [key for r in outcome.nodes.values() if r.state.value == "WAITING_FOR_READINESS" for key in r.objects]
        assert waiting or emitted, "a pass that neither acts nor waits for anything"
        for key in data.draw(st.sets(st.sampled_from(waiting))) if waiting else ():
            simulation.ready(key)
    else:
        for _ in range(40):
            for key, obj in list(simulation.world.objects.values()):
                if names.ANNOTATION_APPLY_ORDER in obj["metadata"].get("annotations", {}):
                    simulation.ready(key)
            outcome, _ = simulation.run()
            if outcome.settled:
                break
    assert outcome.settled
    assert outcome.synced
    assert simulation.run()[1] == [], "a second pass over the result has nothing to do"
    status = compose(simulation.plan, outcome, now="2026-01-01T00:00:00Z")
    assert status["state"] == "ACTIVE"
    for key, obj in simulation.strangers.items():
        assert simulation.world.get(key) == obj


@PROPERTY
@given(shape=shapes(), strangers=STRANGERS, change=st.booleans())
def test_a_changed_instance_leaves_exactly_what_it_declares_and_its_deletion_nothing(
    graph_of, instance_of, shape, strangers, change
):
    still = Shape(shape.needs, tuple(False for _ in shape.waits), shape.switched, shape.collections, shape.namespaces)
    graph = graph_of(*resources(still), spec=SPEC)
    simulation = Simulation(graph, instance_of({"on": True, "items": ["a", "b"]}), strangers)
    simulation.run()
    instance = simulation.world.instance
    simulation.world.instance = {**instance, "spec": {"on": change, "items": ["b", "c"]}}
    for _ in range(3):
        outcome, _ = simulation.run()
    assert outcome.settled
    declared = {key for report in outcome.nodes.values() for key in report.objects}
    ours = {m.key for m in simulation.world.members() if m.ours}
    assert ours == declared
    check_teardown(simulation)
    assert set(simulation.strangers) == {key for key, _ in simulation.world.objects.values()}


def check_teardown(simulation):
    """Dependents are gone before their dependencies; nothing is deleted twice."""
    instance = simulation.world.instance
    while True:
        teardown = plan_teardown(instance, simulation.world.members())
        assert not teardown.blocked, teardown.message
        if teardown.finalizer_removal:
            return
        assert teardown.deletes
        present = {m.node for m in simulation.world.members() if m.ours}
        for delete in teardown.deletes:
            dependents = set(simulation.graph.dependents(delete.node))
            assert not dependents & present
            simulation.world.perform(delete)


def test_a_member_is_seen_with_its_marks(instance_of):
    meta = {
        "name": "x",
        "uid": "u",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kro.run/node-id": "n", "applyset.kubernetes.io/part-of": "p"},
        "annotations": {"internal.kro.run/apply-order": "7"},
    }
    member = observed(Key(CONFIG_MAPS, "team", "x"), {"metadata": meta})
    assert (member.uid, member.node, member.part_of, member.apply_order) == ("u", "n", "p", 7)
    assert member.deleting
    assert is_deleting(member.obj)


@pytest.mark.parametrize("order", ["", "x", "-1", "1.5", "٣"])
def test_a_malformed_order_counts_as_none(order):
    meta = {"name": "x", "annotations": {"internal.kro.run/apply-order": order}}
    assert observed(Key(CONFIG_MAPS, "team", "x"), {"metadata": meta}).apply_order == 0
