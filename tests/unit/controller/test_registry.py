"""The definitions that belong to a CRD, a kind or another definition."""

from kroasync.controller.crds import seen
from kroasync.controller.registry import Registry, key_of_identity
from kroasync.model import names
from kroasync.model.kinds import GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import GVK, Key, Obj

WEB, TEAM_WEB = Key(GRAPH_DEFINITIONS, "", "web"), Key(GROUPS, "team", "web")


def definition(key: Key, uid: str) -> Obj:
    meta = {"name": key.name, "uid": uid, "resourceVersion": "1"} | (
        {"namespace": key.namespace} if key.namespace else {}
    )
    schema = {"apiVersion": "v1alpha1", "kind": "App", "spec": {}}
    spec = {"schema": schema, "resources": []}
    return {"apiVersion": names.KRO_API_VERSION, "kind": key.resource.kind, "metadata": meta, "spec": spec}


def registry(woken: list[Key] | None = None, gone: list[str] | None = None) -> Registry:
    found = Registry((woken if woken is not None else []).append, (gone if gone is not None else []).append)
    found.store(WEB).put(definition(WEB, "d1"))
    found.store(TEAM_WEB).put(definition(TEAM_WEB, "d2"))
    return found


def crd(uid: str = "", name: str = "") -> Obj:
    labels = {names.LABEL_DEFINITION_ID: uid, names.LABEL_DEFINITION_NAME: name}
    return {"metadata": {"name": "apps.kro.run", "labels": labels}}


def test_a_crd_belongs_to_the_definition_of_its_uid_or_else_of_its_name() -> None:
    known = registry()
    assert known.owner_of(seen(crd("d2", "web"))) == TEAM_WEB
    assert known.owner_of(seen(crd("gone", "web"))) == WEB
    assert known.owner_of(seen(crd("gone", "gone"))) is None


def test_a_rival_is_another_live_definition() -> None:
    known = registry()
    assert known.rival_of(WEB, crd("d2", "web")) == TEAM_WEB
    assert known.rival_of(WEB, crd("d1", "web")) is None
    assert known.rival_of(WEB, crd("gone", "web")) is None


def test_definitions_that_want_one_crd_are_rivals() -> None:
    known = registry()
    known.of(WEB).crd = known.of(TEAM_WEB).crd = "apps.kro.run"
    assert known.generating("apps.kro.run") == [WEB, TEAM_WEB]
    assert known.rivals(definition(WEB, "d1")) == [WEB, TEAM_WEB]
    known.forget(TEAM_WEB)
    assert known.generating("apps.kro.run") == [WEB]
    assert known.rivals({"spec": "nonsense"}) == []


def test_a_definition_is_concerned_with_the_kinds_it_was_refused_over_in_any_version() -> None:
    known = registry()
    known.of(WEB).refused_over = (GVK("example.com", "v1", "Widget"),)
    assert known.concerned_with(("example.com", "Widget")) == [WEB]
    assert known.concerned_with(("example.com", "Gadget")) == []


def test_who_wants_the_crd_of_a_definition_that_is_gone_is_woken() -> None:
    woken: list[Key] = []
    gone: list[str] = []
    known = registry(woken, gone)
    known.of(WEB).crd = known.of(TEAM_WEB).crd = "apps.kro.run"
    woken.clear()
    known.store(WEB).remove(definition(WEB, "d1"))
    assert (set(woken), gone) == ({WEB, TEAM_WEB}, ["web"])


def test_revisions_name_their_definition() -> None:
    assert key_of_identity("web") == WEB
    assert key_of_identity("team/web") == TEAM_WEB
