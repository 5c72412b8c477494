"""`kroasync graph`: the complete drawings."""

import xml.etree.ElementTree as ElementTree

import pytest
import typer
from typer.testing import CliRunner

from kroasync.cli.graph import graph_command

DEFINITION = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: web}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec: {names: "[]string", enabled: boolean}
  resources:
    - id: service
      includeWhen: ["${schema.spec.enabled}"]
      template:
        apiVersion: v1
        kind: Service
        metadata: {name: "${config.data['name'] + pods[0].metadata.name}"}
    - id: config
      externalRef: {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}
    - id: pods
      forEach: [{name: "${schema.spec.names}"}]
      template:
        apiVersion: v1
        kind: Pod
        metadata: {name: "${name}"}
        spec: {containers: [{name: main, image: "${config.data['image']}"}]}
"""
TEXT = """\
web (kro.run/v1alpha1 Web)
  1. config   v1 ConfigMap  (external)
  2. pods     v1 Pod        <- config  (for each name)
  3. service  v1 Service    <- config, pods  (conditional)
"""
MERMAID = """\
---
title: web (kro.run/v1alpha1 Web)
---
flowchart TD
    n_config(["<b>config</b><br/>v1 ConfigMap<br/>external"])
    n_pods[["<b>pods</b><br/>v1 Pod<br/>for each name"]]
    n_service["<b>service</b><br/>v1 Service<br/>conditional"]
    n_config --> n_pods
    n_config --> n_service
    n_pods --> n_service
    classDef conditional stroke-dasharray: 5 5
    class n_service conditional
"""
DOT = """\
digraph "web (kro.run/v1alpha1 Web)" {
  rankdir=TB;
  node [shape=box, fontname="sans-serif"];
  "config" [label="config\\nv1 ConfigMap\\nexternal", style="rounded"];
  "pods" [label="pods\\nv1 Pod\\nfor each name", peripheries=2];
  "service" [label="service\\nv1 Service\\nconditional", style="dashed"];
  "config" -> "pods";
  "config" -> "service";
  "pods" -> "service";
}
"""


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(graph_command)
    return lambda *args, input=DEFINITION: CliRunner().invoke(app, list(args), input=input)


@pytest.mark.parametrize(("form", "expected"), [("text", TEXT), ("mermaid", MERMAID), ("dot", DOT)])
def test_drawing(run, form, expected):
    result = run("-", "-o", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == expected


def test_svg_shows_every_node_and_arrow_inside_the_picture(run):
    result = run("-", "-o", "svg")
    root = ElementTree.fromstring(result.stdout)
    ns = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{ns}text")]
    assert [t for t in texts if t in ("config", "pods", "service")] == ["config", "pods", "service"]
    assert len([path for path in root.iter(f"{ns}path") if path.get("marker-end")]) == 3
    _, _, width, height = map(float, root.get("viewBox").split())
    for box in root.iter(f"{ns}rect"):
        x, y, w, h = (float(box.get(key, "")) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y >= 0
        assert y + h <= height
    assert result.stdout == run("-", "-o", "svg").stdout


def test_the_svg_has_room_for_a_long_title_in_bold(run):
    name = "webapplication-with-a-long-name"
    result = run("-", "-o", "svg", input=DEFINITION.replace("name: web}", f"name: {name}}}"))
    root = ElementTree.fromstring(result.stdout)
    title = root.find("{http://www.w3.org/2000/svg}text")
    # In DejaVu Sans Bold at 13 px, a lower-case letter is 8.7 px wide.
    assert title is not None
    end = float(title.get("x", "nan")) + 8.7 * len(f"{name} (kro.run/v1alpha1 Web)")
    assert end <= float(root.get("width", "nan"))


def test_a_definition_with_problems_is_drawn_with_status_1(run):
    result = run("-", input=DEFINITION.replace("kind: Service", "kind: Servce"))
    assert result.exit_code == 1
    assert "schema not found" in result.stderr
    assert "3. service  v1 Servce" in result.stdout


def test_a_cycle_is_not_drawn(run):
    result = run("-", input=DEFINITION.replace("name: settings", "name: '${service.metadata.name}'"))
    assert result.exit_code == 1
    assert "graph contains a cycle: service -> config -> service" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("kind: X\napiVersion: v1\n", (), "no definition in the input"),
        (
            DEFINITION + "---\n" + DEFINITION.replace("name: web", "name: b").replace("Web", "B"),
            (),
            "choose one with --name",
        ),
        (DEFINITION, ("--name", "other"), "no definition named other in the input"),
    ],
)
def test_the_choice_of_the_definition(run, text, args, message):
    result = run("-", *args, input=text)
    assert result.exit_code == 2
    assert message in result.stderr


def test_one_of_several_by_name(run):
    text = DEFINITION + "---\n" + DEFINITION.replace("name: web", "name: b").replace("Web", "B")
    assert run("-", "--name", "b", input=text).stdout.startswith("b (kro.run/v1alpha1 B)\n")


def test_an_unreadable_manifest(run):
    result = run("-", input="a: [")
    assert result.exit_code == 1
    assert "[yaml-syntax]" in result.stderr
