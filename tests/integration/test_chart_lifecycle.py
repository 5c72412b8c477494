"""The chart's release from its first installation to the last: a second one, upgrades, uninstallation, CRDs of its own.

It has a control plane of its own, because a cluster can have only one release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kroasync.playground import CommandError, Playground
from tests.waiting import eventually

pytestmark = pytest.mark.integration

CHART = Path(__file__).parents[2] / "charts" / "kroasync"
IMAGE = ("--set", "image.repository=registry.example.com/kroasync")
SYSTEM = ("--namespace", "kroasync-system", "--create-namespace")
USER = "system:serviceaccount:kroasync-system:kroasync"


@pytest.fixture(scope="module")
def own(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground.up(name="chart-lifecycle", directory=tmp_path_factory.mktemp("own") / "data") as running:
        yield running


def left(own: Playground) -> set[str]:
    found = own.kubectl("get", "clusterroles,clusterrolebindings", "--output=name").split()
    return {name for name in found if "kroasync" in name}


def test_a_second_release_is_refused_and_nothing_is_left_of_the_first(own: Playground) -> None:
    for _ in range(5):  # the aggregated role once came back in one of five runs
        own.helm("install", "kroasync", str(CHART), *SYSTEM, *IMAGE)
        with pytest.raises(CommandError) as refused:
            own.helm("install", "other", str(CHART), "--namespace", "elsewhere", "--create-namespace", *IMAGE)
        assert "release kroasync-system/kroasync of kroasync is in this cluster already" in str(refused.value)
        own.helm("uninstall", "kroasync", *SYSTEM[:2], "--wait")
        assert left(own) == set()
    own.helm("install", "other", str(CHART), "--namespace", "elsewhere", "--create-namespace", *IMAGE)
    own.helm("uninstall", "other", "--namespace", "elsewhere", "--wait")


def test_rights_are_there_at_every_moment_of_an_upgrade(own: Playground) -> None:
    """Nobody writes the aggregated role, neither empty nor otherwise: its version stays."""
    own.helm("install", "kroasync", str(CHART), *SYSTEM, *IMAGE)
    label = "rbac.kro.run/aggregate-to-controller=true"
    own.kubectl("create", "clusterrole", "more", "--verb=get", "--resource=nodes")
    own.kubectl("label", "clusterrole", "more", label)

    def allowed() -> bool:
        try:
            return own.kubectl("auth", "can-i", "get", "nodes", f"--as={USER}").strip() == "yes"
        except CommandError:  # kubectl's way to say no
            return False

    assert eventually(allowed, timeout_s=30, what="the role of the user is aggregated")
    role = "clusterrole/kroasync:controller"
    before = json.loads(own.kubectl("get", role, "--output=json"))
    own.helm("upgrade", "kroasync", str(CHART), *SYSTEM[:2], *IMAGE, "--set", "config.workers=5")
    after = json.loads(own.kubectl("get", role, "--output=json"))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    own.helm("uninstall", "kroasync", *SYSTEM[:2], "--wait")
    own.kubectl("delete", "clusterrole", "more")


def test_crds_of_the_release_are_upgraded_and_kept(own: Playground) -> None:
    owned = ("--set", "crds.enabled=true")
    with pytest.raises(CommandError) as refused:
        own.helm("install", "kroasync", str(CHART), *SYSTEM, *IMAGE, *owned)
    assert "install with --skip-crds" in str(refused.value)
    names = ("graphrevisions.internal.kro.run", "resourcegraphdefinitions.kro.run", "resourcegroups.kro.run")
    own.kubectl("delete", "crd", *names)
    own.helm("install", "kroasync", str(CHART), *SYSTEM, *IMAGE, *owned, "--skip-crds")
    own.kubectl("patch", "crd", names[0], "--type=merge", '--patch={"spec":{"names":{"shortNames":["changed"]}}}')
    own.helm("upgrade", "kroasync", str(CHART), *SYSTEM[:2], *IMAGE, *owned)
    crd = json.loads(own.kubectl("get", "crd", names[0], "--output=json"))
    assert crd["spec"]["names"]["shortNames"] != ["changed"]
    own.helm("uninstall", "kroasync", *SYSTEM[:2], "--wait")
    own.kubectl("get", "crd", *names)
    # As the message of the chart says.
    for name in names:
        release = ("meta.helm.sh/release-name=again", "meta.helm.sh/release-namespace=kroasync-system")
        own.kubectl("annotate", "--overwrite", "crd", name, *release)
    own.helm("install", "again", str(CHART), *SYSTEM, *IMAGE, *owned, "--set", "crds.keep=false")
    # Without --wait, which once did not end within two minutes.
    own.helm("uninstall", "again", *SYSTEM[:2])
    eventually(lambda: own.kubectl("get", "crd", "--output=name"), lambda found: not any(n in found for n in names))
