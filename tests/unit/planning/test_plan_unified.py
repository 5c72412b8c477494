"""Diffs show the fields of a step, and nothing else."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kroasync.engine.difference import ABSENT, FieldChange, difference
from kroasync.model.manifests import load
from kroasync.planning.forecast import PlannedStep, Verb
from kroasync.planning.unified import diff_lines, headers, is_worth_reading, states
from tests.unit.planning.samples import create, delete, deployment, step, update


def changed(step: PlannedStep) -> list[str]:
    return [line for line in diff_lines(step) if line[0] in "+-"]


def of(before: Any, after: Any) -> PlannedStep:
    """An update of two states of an object."""
    return PlannedStep(verb=Verb.UPDATE, node="n", before=before, after=after, fields=difference(before, after))


def test_an_update_shows_its_field_with_context() -> None:
    assert changed(update()) == ["-        image: web:1", "+        image: web:2"]
    assert headers(update()) == ("--- live/Deployment.apps/team/a", "+++ planned/Deployment.apps/team/a")


def test_a_created_and_a_deleted_object_are_whole() -> None:
    assert changed(create())[0] == "+apiVersion: v1"
    assert headers(create()) == ("--- /dev/null", "+++ planned/ConfigMap/team/a")
    assert changed(delete())[-1] == '-  size: "1"'
    assert headers(delete()) == ("--- live/ConfigMap/team/a", "+++ /dev/null")


def test_a_whole_object_is_shown_without_the_marks_of_its_instance() -> None:
    labels = {"kro.run/owned": "true", "applyset.kubernetes.io/part-of": "x", "team": "a"}
    annotations = {"internal.kro.run/node-path": "n", "kro.run/deletion-policy": "Orphaned"}
    obj: Any = {"kind": "ConfigMap", "metadata": {"name": "a", "labels": labels, "annotations": annotations}}
    one = PlannedStep(verb=Verb.CREATE, node="n", after=obj)
    assert [line for line in changed(one) if "/" in line or "team" in line] == [
        "+    kro.run/deletion-policy: Orphaned",
        "+    team: a",
    ]
    marked = of(obj, {**obj, "metadata": {**obj["metadata"], "labels": {**labels, "kro.run/owned": "false"}}})
    assert changed(marked) == ['-    kro.run/owned: "true"', '+    kro.run/owned: "false"']
    only_marks = {"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"kro.run/owned": "true"}}}
    assert "labels" not in "".join(changed(PlannedStep(verb=Verb.CREATE, node="n", after=only_marks)))


def test_another_order_of_keys_and_named_elements_is_no_difference() -> None:
    before = deployment("a", "web:1")
    after = dict(reversed(deployment("a", "web:1").items()))
    after["spec"] = {"template": {"spec": {"containers": [{"image": "log:2", "name": "log"}]}}, "replicas": 1}
    after["spec"]["template"]["spec"]["containers"].append({"image": "web:1", "name": "web"})
    assert changed(of(before, after)) == ["-        image: log:1", "+        image: log:2"]


def test_fields_that_are_ignored_are_not_in_the_diff() -> None:
    before, after = deployment("a", "web:1", replicas=1), deployment("a", "web:2", replicas=5)
    found = difference(before, after, ignored=["spec.replicas"])
    one = PlannedStep(verb=Verb.UPDATE, node="n", before=before, after=after, fields=found)
    assert changed(one) == ["-        image: web:1", "+        image: web:2"]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"spec": {"a": 1}}, {"spec": {}}, ["-spec:", "-  a: 1", "+spec: {}"]),
        ({"spec": {}}, {"spec": {"a": {"b": [1]}}}, ["-spec: {}", "+spec:", "+  a:", "+    b:", "+    - 1"]),
        ({"a": 1}, {"a": "1"}, ["-a: 1", '+a: "1"']),
        ({"a": True}, {"a": 1}, ["-a: true", "+a: 1"]),
        ({"a": None}, {"a": ""}, ["-a: null", "+a: ''"]),
        ({"a": [{"name": "x"}, {"name": "z"}]}, {"a": [{"name": "z"}]}, ["-- name: x"]),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "x"}, {"name": "z", "b": 1}]}, ["+- name: z", "+  b: 1"]),
        ({"a": "one\ntwo\n"}, {"a": "one\n2\n"}, ["-  two", "+  2"]),
    ],
)
def test_kinds_of_changes(before: Any, after: Any, lines: list[str]) -> None:
    before, after = ({"metadata": {"name": "x"}, **one} for one in (before, after))
    assert changed(of(before, after)) == lines


def test_a_state_is_the_other_one_with_the_fields() -> None:
    one = of(deployment("a", "web:1"), deployment("a", "web:2", replicas=3))
    assert states(one) == (deployment("a", "web:1"), deployment("a", "web:2", replicas=3))


def test_fields_without_an_object_are_shown_alone() -> None:
    fields = (
        FieldChange(("spec", "replicas"), 1, 2),
        FieldChange(("spec", "containers", ("name", "web"), "image"), ABSENT, "web:2"),
    )
    one = step(Verb.CONFLICT, fields=fields)
    assert changed(one) == ["-  replicas: 1", "+    image: web:2", "+  replicas: 2"]


def test_the_object_of_a_step_is_not_touched() -> None:
    one = update()
    diff_lines(one)
    assert (one.before, one.after) == (deployment("a", "web:1"), deployment("a", "web:2"))


def test_what_goes_needs_no_diff() -> None:
    assert [is_worth_reading(one) for one in (update(), create(), delete())] == [True, True, False]
    released = step(Verb.RELEASE, before={}, after={}, fields=(FieldChange(("metadata", "labels"), {}, ABSENT),))
    assert not is_worth_reading(released)


def test_many_lines_cost_little() -> None:
    before, after = ({"data": {"a": "\n".join(f"{key}{n}" for n in range(50_000))}} for key in "xy")
    lines = diff_lines(PlannedStep(verb=Verb.UPDATE, node="n", before=before, after=after))
    assert (lines[0], len(lines)) == ("@@ -1,50002 +1,50002 @@", 100_005)


@pytest.mark.skipif(shutil.which("patch") is None, reason="the program patch is not installed")
def test_patch_reads_a_diff(tmp_path: Path) -> None:
    one = update()
    old = diff_lines(PlannedStep(verb=Verb.CREATE, node="n", after=one.before))[1:]
    (tmp_path / "live").write_text("".join(f"{line[1:]}\n" for line in old))
    text = "# a comment\n" + "\n".join([*headers(one), *diff_lines(one)]) + "\n"
    done = subprocess.run(["patch", "live"], input=text, text=True, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert load((tmp_path / "live").read_text())[0].obj == one.after
