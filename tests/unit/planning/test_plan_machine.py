"""What programs and pull requests get of a forecast."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kroasync.engine.difference import ABSENT, FieldChange
from kroasync.planning.forecast import Forecast, InstanceForecast, PlannedStep, SchemaStep, Verb
from kroasync.planning.machine import COMMENT_LENGTH, as_github, as_json, as_markdown
from tests.unit.planning.samples import create, definition, delete, instance, large, misfit, step, update, web

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "plan.schema.json").read_text(encoding="utf-8"))
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "null": type(None),
}
WORDS = {"$schema", "$id", "title", "description", "$defs", "$ref", "type", "properties", "required", "items", "enum"}


def mismatches(value: Any, schema: Any, path: str = "$") -> list[str]:
    """Where a value does not match a schema, by the few words of JSON Schema that ours uses."""
    assert set(schema) <= WORDS, f"{path}: this test does not know all of {set(schema)}"
    if "$ref" in schema:
        return mismatches(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], path)
    found = []
    types = schema.get("type", list(TYPES))
    kinds = tuple(TYPES[name] for name in ([types] if isinstance(types, str) else types))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return [f"{path}: {type(value).__name__} instead of {types}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value}")
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value]
        found += [f"{path}.{name}: not described" for name in value if name not in schema["properties"]]
        for name, below in value.items():
            found += mismatches(below, schema["properties"].get(name, {}), f"{path}.{name}")
    if isinstance(value, list):
        for place, item in enumerate(value):
            found += mismatches(item, schema.get("items", {}), f"{path}[{place}]")
    return found


def everything() -> Forecast:
    """A forecast with every class and every field."""
    schema = (SchemaStep(path="spec.b", text="removed", breaking=True),)
    node_only = PlannedStep(verb=Verb.UNKNOWN, node="n", why="depends on status")
    added = step(Verb.CONFLICT, fields=(FieldChange(("spec", "x"), ABSENT, None), FieldChange(("a",), 1, ABSENT)))
    return Forecast(
        definitions=(definition(schema=schema, misfits=(misfit("x"),), why="why"), definition("same", verb=None)),
        instances=(
            instance("a", *(step(verb) for verb in Verb), update(), create(), delete(), node_only, added,
                     edit=update(), drift=(update(),), notes=("suspended",)),
            InstanceForecast(key=web("b", ""), error="forbidden"),
            instance("c"),
        ),
        unread=("secrets",),
        dry_run="existing",
    )  # fmt: skip


@pytest.mark.parametrize("forecast", [Forecast(), everything(), large()], ids=["nothing", "everything", "large"])
def test_the_json_has_the_documented_form(forecast: Forecast) -> None:
    assert mismatches(json.loads(as_json(forecast)), SCHEMA) == []


def test_the_schema_says_all_classes_and_requires_all_fields() -> None:
    defs = SCHEMA["$defs"]
    assert defs["verb"]["enum"] == [verb.value for verb in Verb]
    assert list(defs["counts"]["properties"]) == defs["verb"]["enum"]
    for name, one in {**defs, "plan": SCHEMA}.items():
        if "properties" in one and name != "field":
            assert one["required"] == list(one["properties"]), name


def test_a_value_of_another_form_is_noticed() -> None:
    document = json.loads(as_json(everything()))
    document["instances"][0]["steps"][0]["verb"] = "destroy"
    del document["summary"]["errors"]
    document["definitions"][0]["breaking"] = 1
    assert len(mismatches(document, SCHEMA)) == 3


def test_the_json_counts_and_tells_absent_from_null() -> None:
    document = json.loads(as_json(everything()))
    assert (document["apiVersion"], document["kind"]) == ("kroasync.io/v1", "Plan")
    summary = document["summary"]
    assert {key: summary[key] for key in ("instances", "changedInstances", "breaking", "misfits", "errors")} == {
        "instances": 3, "changedInstances": 1, "breaking": 1, "misfits": 1, "errors": 2}  # fmt: skip
    assert (summary["steps"]["update"], summary["drift"]["update"]) == (3, 1)
    (conflict,) = (one for one in document["instances"][0]["steps"] if one["fields"] and one["verb"] == "conflict")
    assert conflict["fields"] == [{"path": "spec.x", "after": None}, {"path": "a", "before": 1}]


def test_instances_with_the_same_steps_have_one_number() -> None:
    same = [instance(f"web{n}", update(f"web{n}")) for n in range(3)]
    found = json.loads(as_json(Forecast(instances=(*same, instance("x", delete("x")), instance("y")))))
    assert [one["group"] for one in found["instances"]] == [0, 0, 0, 1, None]


# Markdown


class Balance(HTMLParser):
    """The tags that a text opens and does not close."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, _attributes: Any) -> None:
        self.stack.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def prose(markdown: str) -> str:
    """The text without code blocks and code spans."""
    markdown = re.sub(r"^(`{3,})diff\n.*?^\1$", "", markdown, flags=re.M | re.S)
    return re.sub(r"(?<!`)(`+) .*? \1(?!`)", "", markdown)


HOSTILE = [
    "</details><img src=x onerror=alert(1)>",
    "@everyone fixes #1",
    "`code` and ```` fences ````",
    "```\n</details>\n[a](http://x)",
    "a | b | c",
    "**bold** <!-- comment",
    "\n\n# heading\n",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_others_is_no_markdown(text: str) -> None:
    schema = (SchemaStep(path=text, text=text, breaking=True),)
    forecast = Forecast(
        definitions=(definition(text, why=text, schema=schema, misfits=(misfit(text),)),),
        instances=(
            instance(text, step(Verb.REFUSED, text, why=text, node=text), update(new=text), notes=(text,)),
            InstanceForecast(key=web("b", text), error=text),
        ),
        unread=(text,),
    )  # fmt: skip
    found = prose(as_markdown(forecast))
    balance = Balance()
    balance.feed(found)
    assert (balance.stack, balance.seen) == ([], {"details", "summary", "code"})
    # What is left is our own, but for summaries, which are HTML.
    ours = re.sub(r"<summary>.*?</summary>", "", found)
    for part in ("@everyone", "http:", "bold", "# heading", "comment", "fixes"):
        assert part not in ours
    rows = [line for line in ours.split("\n") if line.startswith("|")]
    assert {row.replace("\\|", "").count("|") for row in rows} <= {4, 6}


def test_a_comment_has_tables_and_a_part_for_each_distinct_change() -> None:
    text = as_markdown(everything())
    assert text.startswith("### kroasync plan: 1 update of 2 definitions; ")
    assert "| ` webapplication (WebApplication) ` | update | 0 | **breaking** | 1 |" in text
    assert "- does not fit: ` WebApplication team/x: spec.replicas: expected integer, found string `" in text
    assert "```diff\n@@" in text
    assert "**update** (drift) ` Deployment team/a (node deployment) `" in text
    assert "**2 errors: this is not the whole plan**" in text


def test_a_long_list_of_a_comment_ends_with_its_count() -> None:
    misfits = tuple(misfit(f"w{n}") for n in range(90))
    text = as_markdown(Forecast(definitions=(definition(misfits=misfits),)))
    assert text.count("- does not fit:") == 59
    assert "\n- and 31 more stored instances\n" in text


def test_a_long_comment_is_cut_and_says_what_was_cut() -> None:
    wide = [instance(f"w{n}", create(f"w{n}"), update(f"w{n}", new=f"{n}-x")) for n in range(300)]
    text = as_markdown(Forecast(definitions=large().definitions, instances=tuple(wide)))
    assert COMMENT_LENGTH - 2000 < len(text) <= COMMENT_LENGTH
    shown = text.count("</summary>") - 12
    assert text.endswith(
        f"*Cut, because a comment has at most 65,536 characters: the details of {300 - shown} distinct changes.*\n"
    )


@pytest.mark.parametrize("length", [1, 100, 10_000])
@pytest.mark.parametrize("letters", ["`é|<", "`", "|"])
def test_no_text_of_others_makes_a_comment_too_long(letters: str, length: int) -> None:
    text = letters * length
    steps = [update(text, new=f"{n}{text}", why=text) for n in range(30)]
    forecast = Forecast(
        definitions=tuple(
            definition(f"{n}{text}", why=text, misfits=tuple(misfit(text) for _ in range(90))) for n in range(30)
        ),
        instances=tuple(instance(f"{n}{text}", *steps, notes=(text,) * 30) for n in range(3)),
        unread=(text,) * 100,
    )
    assert len(as_markdown(forecast)) <= COMMENT_LENGTH


# Annotations


def commands(text: str) -> list[tuple[str, str, str]]:
    return [re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line).groups() for line in text.splitlines()]  # type: ignore[misc]


def test_a_definition_is_annotated_at_its_place() -> None:
    schema = (SchemaStep(path="spec.b", text="removed", breaking=True),)
    one = definition(schema=schema, misfits=(misfit("x"),), instances=2, source="defs/web,1.yaml", line=7)
    place = "file=defs/web%2C1.yaml,line=7,title=kroasync plan"
    assert commands(as_github(Forecast(definitions=(one,)))) == [
        ("error", place, "the new schema refuses stored instances:%0A"
                         "WebApplication team/x: spec.replicas: expected integer, found string"),
        ("warning", place, "the change of the CRD is breaking:%0Aspec.b: removed"),
        ("notice", "title=kroasync plan", "1 update of 1 definition"),
        ("notice", place, "update definition webapplication with 2 instances"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "level"),
    [(Verb.CREATE, "notice"), (Verb.UPDATE, "notice"), (Verb.REFUSED, "error")]
    + [(verb, "warning") for verb in Verb if verb not in (Verb.CREATE, Verb.UPDATE, Verb.REFUSED)],
)
def test_the_level_follows_the_classes(verb: Verb, level: str) -> None:
    found = commands(as_github(Forecast(instances=(instance("a", step(verb)),))))
    assert (level, "title=kroasync plan", f"1 instance: 1 change (1 {verb}): WebApplication team/a") in found


def test_no_text_begins_another_command() -> None:
    text = "a\r\n::error::b%0A::error::c"
    forecast = Forecast(
        definitions=(definition(text, why=text, misfits=(misfit(text),), source=text),),
        instances=(instance(text, step(Verb.REFUSED, text, why=text)),),
        unread=(text,),
    )
    found = as_github(forecast)
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in found.splitlines())
    assert "%250A" in found


def test_no_level_has_more_annotations_than_github_shows() -> None:
    found = commands(as_github(large()))
    for level in ("error", "warning", "notice"):
        same = [text for one, _, text in found if one == level]
        assert len(same) == 10
        assert re.fullmatch(r"and \d+ more of this level", same[-1])
