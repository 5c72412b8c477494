"""`kroasync tree` of an instance that a controller keeps, read with the rights of its caller."""

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from kroasync.cli.live import find_instance, inspect_instance
from kroasync.cli.main import app
from kroasync.cli.tree_text import print_tree
from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.engine.views import InstanceView
from kroasync.metrics import Metrics
from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj, Resource
from kroasync.model.policies import Policies, Update
from tests.fakes import virtual
from tests.fakes.client import Answer, FakeClient
from tests.fakes.kube import FakeServer
from tests.samples import CONFIG_MAPS, config_map, definition

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SHOP = Key(Resource("kro.run", "v1alpha1", "Shop", "shops"), "default", "one")
CONFIG, EXTRA = Key(CONFIG_MAPS, "default", "one"), Key(CONFIG_MAPS, "default", "extra")
ONE = {"id": "config", "template": config_map("one", data={"a": "1", "b": "2"}), "externalFields": ["data.a"]}

Story = Callable[[FakeClient], Awaitable[None]]


def viewed(story: Story, *resources: Obj, refused: str = "", **options: object) -> InstanceView:
    """The view of an instance after a story of what others did. The reader may not read paths with `refused`."""

    async def refuse(method: str, target: str) -> Answer | None:
        body = {"kind": "Status", "reason": "Forbidden", "message": f"{target} is forbidden", "code": 403}
        return (403, json.dumps(body).encode(), {}) if refused and refused in target else None

    async def main() -> InstanceView:
        loop = asyncio.get_running_loop()
        server = FakeServer(now=lambda: EPOCH + timedelta(seconds=loop.time()))
        user, reader = FakeClient(server, actor="user"), FakeClient(server, actor="reader")
        reader.meanwhile = refuse
        stop = asyncio.Event()
        runtime = Runtime(
            FakeClient(server, actor="controller"),
            options=RuntimeOptions(),
            metrics=Metrics(now=loop.time),
            clock=loop.time,
            now=lambda: EPOCH + timedelta(seconds=loop.time()),
            rng=random.Random(1),
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(runtime.run(stop))
            await user.create(Key(GRAPH_DEFINITIONS, "", "shop"), definition("Shop", resources or [ONE], name="shop"))
            await asyncio.sleep(5)
            await user.create(SHOP, {"metadata": {"name": "one", "namespace": "default"}, "spec": {}})
            await asyncio.sleep(2)
            stop.set()
            await running
        await story(user)
        key, found = await find_instance(reader, kind="shop", namespace="default", name="one")
        given = {"policies": Policies(), "with_owners": True, **options}
        return await inspect_instance(reader, key, found, **given)  # type: ignore[arg-type]

    return virtual.run(main())


async def nothing(_user: FakeClient) -> None:
    """Nobody did anything."""


async def edited(user: FakeClient) -> None:
    """Somebody edited two declared fields and added one."""
    await user.merge_patch(CONFIG, {"data": {"a": "x", "b": "y", "c": "z"}}, manager="kubectl-edit")


def test_the_tables_are_aligned_below_their_objects(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(viewed(edited), owners=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("├── ")[2] or line.partition("└── ")[2] for line in lines[3:]] == [
        "FIELD    DECLARED  LIVE  MANAGER                RESULT",
        '.data.a  "1"       "x"   kubectl-edit (Update)  external',
        '.data.b  "2"       "y"   kubectl-edit (Update)  taken back',
        "undeclared fields: kubectl-edit 1",
    ]


def test_no_value_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async def painted(user: FakeClient) -> None:
        await user.merge_patch(CONFIG, {"data": {"b": "\u009b2J\u202e\u007f"}}, manager="m")

    print_tree(viewed(painted), owners=True)
    assert '"\\u009b2J\\u202e\\u007f"' in capsys.readouterr().out


def test_the_tree_says_if_there_is_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(viewed(nothing), owners=True)
    assert capsys.readouterr().out.splitlines()[-1] == "No other field manager has a declared field."


def test_the_tree_says_of_which_nodes_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {**ONE, "readyWhen": ["${config.data.a == '2'}"]}
    second = {"id": "second", "template": config_map("second", data={"of": "${config.metadata.name}"})}
    print_tree(viewed(nothing, waiting, second), owners=True)
    assert capsys.readouterr().out.splitlines()[-1] == "Not known yet what these declare: second"


def test_without_owners_the_tree_does_not_speak_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    view = viewed(edited, with_owners=False)
    print_tree(view, owners=False)
    assert "kubectl-edit" not in capsys.readouterr().out + json.dumps(asdict(view))


def test_the_view_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(json.dumps(asdict(viewed(edited))))
    [owners] = [obj["owners"] for node in found["nodes"] for obj in node["objects"]]
    assert owners["undeclared"] == {"kubectl-edit": 1}
    assert owners["fields"][1] == {
        "field": ".data.b",
        "declared": '"2"',
        "live": '"y"',
        "manager": "kubectl-edit (Update)",
        "treatment": "taken back",
    }


def test_the_defaults_of_the_controller_count() -> None:
    [node] = viewed(edited, policies=Policies(update=Update.ONCE)).nodes
    assert node.objects[0].owners is not None
    assert {one.treatment for one in node.objects[0].owners.fields} == {"kept"}


def test_an_object_of_somebody_else_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def replaced(user: FakeClient) -> None:
        await user.delete(CONFIG)
        meta = {
            "annotations": {"meta.helm.sh/release-name": "shop"},
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
        }
        obj = config_map("one", "default", {"a": "9"}, **meta)
        await user.create(CONFIG, obj, manager="helm")

    print_tree(viewed(replaced), owners=True)
    text = capsys.readouterr().out
    assert 'existed before and belongs to Helm release "shop"' in text
    assert "not a child" in text
    assert re.search(r'\.data\.a +"1" +"9" +helm \(Update\) +not adopted$', text, re.M)


def test_a_kind_that_may_not_be_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(viewed(edited, refused="/configmaps"), owners=True)
    text = capsys.readouterr().out
    assert "objects of kind ConfigMap are not shown" in text
    assert "is forbidden" in text
    assert "ConfigMap default/one  not readable" in text
    assert "does not exist" not in text
    assert "missing" not in text
    assert "No other field manager" not in text
    assert "Nothing is known about ConfigMap one" in text


def test_rights_in_the_namespace_suffice(capsys: pytest.CaptureFixture[str]) -> None:
    print_tree(viewed(edited, refused="/api/v1/configmaps"), owners=True)
    text = capsys.readouterr().out
    assert "forbidden" not in text
    assert '"y"   kubectl-edit (Update)  taken back' in text


def test_a_definition_that_may_not_be_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    view = viewed(edited, refused="/resourcegraphdefinitions")
    assert "the definition cannot be read" in view.note
    print_tree(view, owners=True)
    last = "Nothing is known about ConfigMap one: it cannot be read, or nothing known declares it."
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert [obj.name for node in view.nodes for obj in node.objects] == ["one"]


def test_an_external_object_that_may_not_be_read_is_said() -> None:
    external = {"id": "platform", "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}}
    view = viewed(nothing, ONE, external, refused="/secrets/keys")
    [node] = [node for node in view.nodes if node.id == "platform"]
    assert "failed to read external reference platform" in node.waits_for


@pytest.mark.parametrize("output", ["mermaid", "svg"])
def test_owners_cannot_be_drawn(output: str) -> None:
    done = CliRunner().invoke(app, ["tree", "one", "--owners", "-o", output])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--owners cannot be drawn" in done.stderr
