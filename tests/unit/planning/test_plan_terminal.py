"""What people read of a forecast."""

import pytest
from rich.text import Text

from kroasync.engine.difference import ABSENT, FieldChange
from kroasync.planning.forecast import Forecast, InstanceForecast, PlannedStep, SchemaStep, Verb
from kroasync.planning.terminal import diffs, report, summary
from tests.unit.planning.samples import (
    create,
    definition,
    delete,
    instance,
    large,
    misfit,
    step,
    update,
    web,
)


def lines(texts: list[Text]) -> list[str]:
    return [text.plain for text in texts]


def whole(texts: list[Text]) -> str:
    return "\n".join(lines(texts))


def test_nothing_to_do_is_one_line() -> None:
    forecast = Forecast(definitions=(definition(verb=None),), instances=(instance(), instance("b")))
    assert whole(report(forecast)) == "Plan: no change (1 definition, 2 instances)"


def test_the_same_changes_are_told_once_with_the_instances() -> None:
    same = [instance(f"web{n}", update(f"web{n}")) for n in range(212)]
    found = lines(report(Forecast(instances=tuple(same))))
    assert "212 instances: the same 1 change" in found
    assert "  WebApplication team/web0, team/web1, team/web2 and 209 more" in found
    assert sum("image: web:2" in line for line in found) == 1


def test_the_summary_says_each_instance_and_the_total() -> None:
    forecast = Forecast(
        instances=(instance("one", update("one"), create("one")), instance("two", update("two"), create("two")),
                   instance("three", delete("three")), instance("four"))
    )  # fmt: skip
    assert lines(summary(forecast)) == [
        "Plan: 2 create, 2 update, 1 delete in 3 of 4 instances",
        "                                          create  update  delete",
        "  2 × WebApplication team/one and 1 more       1       1        ",
        "  1 × WebApplication team/three                                1",
        "  total                                        2       2       1",
    ]


def test_the_summary_of_much_fits_a_screen_and_counts_what_it_leaves_out() -> None:
    found = lines(summary(large()))
    assert len(found) <= 24
    assert max(map(len, found)) <= 170
    for text in (
        "and 9 definitions more",
        "and 48 more lines below",
        "and 17 instances with other changes",
        "and 7 more",
    ):
        assert any(text in line for line in found), text


def test_what_the_summary_cuts_is_said_below() -> None:
    text = whole(report(large()))
    assert all(text.count(f"breaking: spec.field{n}: removed") == 12 for n in range(2, 40, 2))
    assert "~ update d11 (WebApplication, 200 instances), CRD breaking" in text


def test_a_definition_says_its_change_of_the_crd_and_the_misfits() -> None:
    schema = (
        SchemaStep(path="spec.a", text="added", breaking=False),
        SchemaStep(path="spec.b", text="removed", breaking=True),
    )
    one = definition(schema=schema, misfits=(misfit("x"),), instances=1, why="the kind is renamed")
    assert lines(summary(Forecast(definitions=(one,))))[1:] == [
        "~ update webapplication (WebApplication, 1 instance), CRD breaking",
        "    the kind is renamed",
        "    does not fit: WebApplication team/x: spec.replicas: expected integer, found string",
        "    breaking: spec.b: removed",
        "    compatible: spec.a: added",
    ]


@pytest.mark.parametrize("verb", list(Verb))
def test_each_class_says_its_verb_object_node_and_reason(verb: Verb) -> None:
    text = whole(report(Forecast(instances=(instance("a", step(verb, why="the server says no")),))))
    assert f" {verb} ConfigMap team/a (node config): the server says no" in text


def test_objects_that_cannot_be_known_yet_are_not_guessed() -> None:
    unknown = PlannedStep(verb=Verb.UNKNOWN, node="dns", why="waits for status.address of service")
    text = whole(report(Forecast(instances=(instance("a", unknown),))))
    assert "? unknown node dns (known after apply): waits for status.address of service" in text


def test_drift_stands_apart() -> None:
    forecast = Forecast(instances=(instance("a", create(), drift=(update(),)),))
    text = whole(report(forecast))
    assert "Drift, with or without the edit: 1 update in 1 instance" in text
    assert (
        text.index("+ create ConfigMap") < text.index("drift, with or without the edit:") < text.index("~ update Dep")
    )
    assert "1 instance: 1 change and 1 step of drift" in text


def test_a_collection_is_told_by_a_few_and_the_count() -> None:
    items = [create(f"item-{n}") for n in range(200)]
    text = whole(report(Forecast(instances=(instance("a", *items),))))
    assert text.count("+ create ConfigMap") == 3
    assert "and 197 more create of node config" in text


def test_an_item_of_a_collection_that_changes_in_another_way_is_shown() -> None:
    items = [update(f"item-{n}") for n in range(10)]
    fields = (FieldChange(("spec", "paused"), ABSENT, True),)
    items.append(PlannedStep(verb=Verb.UPDATE, node="deployment", key=items[0].key, fields=fields, before={}, after={}))
    text = whole(report(Forecast(instances=(instance("a", *items),))))
    assert "and 7 more update of node deployment" in text
    assert "+  paused: true" in text


def test_an_object_that_goes_is_named_and_not_printed() -> None:
    text = whole(report(Forecast(instances=(instance("a", delete(why="dropped from the definition")),))))
    assert "- delete ConfigMap team/a (node old): dropped from the definition" in text
    assert "size" not in text


def test_errors_say_that_the_plan_is_not_whole() -> None:
    broken = InstanceForecast(key=web("b"), error="deployments.apps is forbidden")
    found = lines(report(Forecast(instances=(broken,), unread=("cannot list secrets",))))
    assert found[1:4] == [
        "2 errors: this is not the whole plan",
        "  cannot list secrets",
        "  WebApplication team/b: deployments.apps is forbidden",
    ]
    assert "1 instance: nothing can be told" in found


def test_predictions_are_said_to_be_such() -> None:
    assert "Dry runs: none." in whole(report(Forecast(dry_run="none")))
    assert "Dry runs" not in whole(report(Forecast(dry_run="all")))


def test_long_values_and_diffs_are_cut_with_counts() -> None:
    wide = update("a", new="x" * 1000)
    assert "more characters)" in whole(report(Forecast(instances=(instance("a", wide),))))
    object_ = {"metadata": {"name": "a"}, "data": {f"k{n}": "v" for n in range(100)}}
    many = PlannedStep(verb=Verb.CREATE, node="n", after=object_)
    assert "and 65 more lines; -o diff prints them" in whole(report(Forecast(instances=(instance("a", many),))))


def test_many_distinct_changes_are_cut_with_the_count() -> None:
    forecast = Forecast(instances=tuple(instance(f"w{n}", update(f"w{n}", new=f"web:{n}-x")) for n in range(120)))
    assert lines(report(forecast))[-1] == "and 20 instances with other changes; -o diff and -o json print them"


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "a\u202eb", "\x9b1m", "two\nlines"])
def test_a_text_of_others_cannot_command_the_terminal(text: str) -> None:
    forecast = Forecast(
        definitions=(definition(why=text, schema=(SchemaStep(path=text, text=text, breaking=True),)),),
        instances=(
            instance("a", step(Verb.REFUSED, text, why=text, node=text), notes=(text,)),
            instance("b", update(new=text)),
            InstanceForecast(key=web("b", text), error=text),
        ),
        unread=(text,),
    )
    for found in (report(forecast), diffs(forecast)):
        assert all(character.isprintable() for line in lines(found) for character in line)
        assert text not in whole(found)


def test_whole_diffs_have_comments_for_what_is_no_diff() -> None:
    forecast = Forecast(
        instances=(
            instance("a", update(), step(Verb.UNKNOWN, why="it depends on status"), drift=(update(old="x:1"),)),
            InstanceForecast(key=web("b"), error="forbidden"),
        )
    )
    found = lines(diffs(forecast))
    assert found[:4] == [
        "# 1 instance: 2 changes and 1 step of drift: WebApplication team/a",
        "# update: Deployment team/a (node deployment)",
        "--- live/Deployment.apps/team/a",
        "+++ planned/Deployment.apps/team/a",
    ]
    assert "# unknown: ConfigMap team/a (node config): it depends on status" in found
    assert "# update (drift): Deployment team/a (node deployment)" in found
    assert found[-1] == "# error: forbidden"
    assert {line[0] for line in found} <= set("#-+@ ")


def test_the_colours_are_of_a_terminal() -> None:
    styles = {
        str(style)
        for line in report(Forecast(instances=(instance("a", update()),)))
        for style in (line.style, *(span.style for span in line.spans))
    }
    assert {"green", "red", "yellow", "cyan"} <= styles
