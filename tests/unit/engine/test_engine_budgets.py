"""Limits of an instance: steps of evaluation, bytes of an object, bytes of the status; and the pauses in a pass."""

import pytest

from kroasync.engine.actions import Pause, Refusal
from kroasync.engine.instance_status import TOO_LARGE, compose, composing, invalid
from kroasync.engine.outcome import Retry
from kroasync.engine.plan import Options, Plan
from kroasync.engine.walk import Walk

NOW = "2026-01-02T03:04:05Z"
LOOPS = "lists.range({0}).map(a, lists.range({0}).filter(b, a + b >= 0).size()).size()"
DEAR = "${string(" + LOOPS.format(2000) + ")}"
EVALUATION = "evaluation exceeds its budget of 300000 steps"


def composed(passed):
    return compose(passed.plan, passed.outcome, now=NOW)


def condition(status, type_):
    return next(c for c in status["conditions"] if c["type"] == type_)


@pytest.fixture
def walk_of(graph_of, cluster_of, instance_of, walked):
    """One pass over a new instance of a definition of these resources."""

    def run(*resources, options=None, spec=None, values=None, **schema):
        graph = graph_of(*resources, spec=spec, **schema)
        return walked(graph, cluster_of(instance_of(values or {})), options)

    return run


# Evaluation


def test_an_evaluation_over_its_budget_is_an_error_of_its_node_that_names_place_and_limit(walk_of, config):
    passed = walk_of(config("a", {"v": DEAR}), config("b", {"v": "1"}))
    assert passed.applied == [["b"]]
    text = f'node "a": failed to evaluate expression: {DEAR} at data.v: {EVALUATION}'
    assert passed.message("a") == text
    status = composed(passed)
    error = condition(status, "Error")
    assert (status["state"], error["status"], error["reason"]) == ("ERROR", "True", "ResourceError")
    assert error["message"] == f"resource error: {text}"


def test_what_is_over_its_budget_is_not_tried_again_before_something_changes(walk_of, config):
    passed = walk_of(config("a", {"v": DEAR}))
    assert passed.outcome.retry is Retry.EVENT
    assert condition(composed(passed), "Stalled")["status"] == "True"


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ({"includeWhen": ["${" + LOOPS.format(2000) + " > 0}"]}, "includeWhen[0]"),
        ({"readyWhen": ["${a.data.v == '1'}", "${" + LOOPS.format(2000) + " > 0}"]}, "readyWhen[1]"),
        ({"forEach": [{"i": "${lists.range(2000).map(x, lists.range(2000)).flatten()}"}]}, "forEach i"),
    ],
)
def test_the_budget_holds_wherever_expressions_are(walk_of, config, extra, place):
    resource = config("a", {"v": "1"}, **extra)
    if "forEach" in extra:
        resource["template"]["metadata"]["name"] = "${schema.metadata.name + string(i)}"
    passed = walk_of(resource)
    assert passed.state("a") == "ERROR"
    assert f" at {place}: {EVALUATION}" in passed.message("a")


def test_a_status_expression_over_its_budget_is_named_and_the_others_stand(walk_of, config):
    passed = walk_of(config("a", {"v": "1"}), status={"dear": "${a.data.v + " + DEAR[2:], "cheap": "${a.data.v}"})
    status = composed(passed)
    assert status["cheap"] == "1"
    assert "dear" not in status
    error = condition(status, "Error")
    assert error["reason"] == "StatusExpressionFailed"
    assert error["message"].endswith(f"at status.dear: {EVALUATION}")


def test_all_evaluations_of_a_pass_share_a_budget(walk_of, config):
    many = [config(f"n{i}", {"v": "${string(" + LOOPS.format(100 + i) + ")}"}) for i in range(20)]
    passed = walk_of(*many, options=Options(pass_steps=100_000))
    states = [passed.state(f"n{i}") for i in range(20)]
    assert states == ["SYNCED"] * states.count("SYNCED") + ["ERROR"] * states.count("ERROR")
    assert 3 <= states.count("SYNCED") <= 10
    text = "all evaluations of a pass together exceed their budget of 100000 steps"
    assert passed.message("n19").endswith(text)


def test_an_evaluation_over_its_budget_is_made_once_in_a_pass(walk_of, config):
    many = [config(f"n{i}", {"v": DEAR}) for i in range(40)]
    passed = walk_of(*many, options=Options(pass_steps=700_000))
    assert {passed.message(f"n{i}").rpartition(": ")[2] for i in range(40)} == {EVALUATION}


def test_a_budget_is_no_secret_of_a_secret(walk_of):
    template = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"v": DEAR}}
    passed = walk_of({"id": "s", "template": template})
    assert passed.message("s").endswith(EVALUATION)


def test_joining_two_lists_of_five_hundred_is_within_the_budget(walk_of, config):
    join = "schema.spec.names.filter(a, schema.spec.names.exists(b, a + 'x' == b)).size()"
    names = [f"name-{i}" for i in range(500)]
    passed = walk_of(config("a", {"v": "${string(" + join + ")}"}), spec={"names": "[]string"}, values={"names": names})
    assert passed.desired("a")["data"] == {"v": "0"}


def test_an_explanation_has_no_budget_of_its_own(walk_of, config):
    """The message evaluates the operands of a false comparison again, but here no budget is left."""
    dear = LOOPS.format(200)
    resource = config("a", {"v": "1"}, readyWhen=["${" + dear + " < 0}"])
    assert walk_of(resource).message("a").endswith(" < 0}: 200 < 0 is false")
    assert walk_of(resource, options=Options(pass_steps=120_000)).message("a").endswith(" < 0}: is false")


# Size of objects


def test_an_object_over_the_limit_is_not_sent_and_the_error_has_both_numbers(walk_of, config):
    passed = walk_of(
        config("big", {"v": "${schema.spec.text}"}),
        config("small", {"v": "1"}),
        spec={"text": "string"},
        values={"text": "x" * 20_000},
        options=Options(max_object_bytes=10_000),
    )
    assert passed.applied == [["small"]]
    assert passed.state("big") == "ERROR"
    start, _, rest = passed.message("big").partition(" has ")
    size, _, end = rest.partition(" bytes ")
    assert start == 'node "big": apply ConfigMap team/shop-big: the object'
    assert 20_000 < int(size) < 22_000
    assert end == "as JSON, the limit is 10000"
    assert passed.outcome.retry is Retry.EVENT


def test_an_object_with_a_number_json_is_not_written_with_is_an_error_of_its_node(walk_of, config):
    """Only a file for the offline commands can contain such an object, not the API server."""
    meta = {"name": "${schema.metadata.name}-big"}
    template = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "revision": 1}
    passed = walk_of(
        {"id": "big", "template": {**template, "data": "${schema.spec.any}"}},
        config("small", {"v": "1"}),
        spec={"any": "object"},
        values={"any": {"n": 2**70}},
    )
    assert passed.applied == [["small"]]
    assert passed.state("big") == "ERROR"
    assert "cannot be written as JSON" in passed.message("big")


def test_an_object_of_exactly_the_limit_is_sent(walk_of, config):
    import orjson

    def run(limit):
        return walk_of(config("a", {"v": "1"}), options=Options(max_object_bytes=limit))

    size = len(orjson.dumps(run(100_000).desired("a")))
    assert run(size).state("a") == "SYNCED"
    assert run(size - 1).state("a") == "ERROR"


def test_items_of_a_collection_that_fit_are_sent_and_the_others_named(walk_of, config):
    resource = config("a", {"v": "${t}"}, forEach=[{"t": "${schema.spec.texts}"}])
    resource["template"]["metadata"]["name"] = "${'n' + string(size(t))}"
    texts = ["x", "x" * 20_000, "xxx"]
    passed = walk_of(
        resource, spec={"texts": "[]string"}, values={"texts": texts}, options=Options(max_object_bytes=9999)
    )
    assert [a.key.name for a in passed.actions if hasattr(a, "need")] == ["n1", "n3"]
    assert "collection item 1: apply" in passed.message("a")
    assert "the limit is 9999" in passed.message("a")


@pytest.mark.parametrize(("other", "retry"), [(None, Retry.EVENT), (Refusal.UNAVAILABLE, Retry.BACKOFF)])
def test_what_the_api_server_finds_too_big_waits_for_a_change(
    graph_of, cluster_of, instance_of, walked, config, other, retry
):
    graph = graph_of(config("a", {"v": "1"}), config("b", {"v": "1"}))
    refusals = {"shop-a": (Refusal.TOO_BIG, "etcdserver: request is too large")}
    if other is not None:
        refusals["shop-b"] = (other, "later")
    passed = walked(graph, cluster_of(instance_of({}), refusals=refusals))
    assert passed.outcome.retry is retry
    assert "request is too large" in passed.message("a")


# Size of the status


def status_of(passed, limit=1_500_000):
    return composed(passed), condition(composed(passed), "Error")


def test_status_fields_there_is_no_room_for_are_left_out_the_biggest_first(walk_of, config):
    big = "${schema.spec.text + schema.spec.text}"
    passed = walk_of(
        config("a", {"v": "1"}),
        spec={"text": "string"},
        values={"text": "x" * 60_000},
        status={"one": "${schema.spec.text}", "two": big, "small": "${a.data.v}"},
        options=Options(max_object_bytes=200_000),
    )
    status, error = status_of(passed)
    assert (status["one"], status["small"]) == ("x" * 60_000, "1")
    assert "two" not in status
    assert error["reason"] == "StatusTooLarge"
    assert error["message"].endswith('left out: "two" (120002 bytes)')
    assert (status["state"], condition(status, "Ready")["status"]) == ("ACTIVE", "True")


def test_a_status_left_out_once_is_left_out_again_and_written_once(walk_of, config, graph_of, cluster_of, instance_of):
    graph = graph_of(config("a", {"v": "1"}), spec={"text": "string"}, status={"one": "${schema.spec.text}"})
    plan = Plan.of(graph, Options(max_object_bytes=150_000))
    instance = instance_of({"text": "x" * 80_000})
    cluster = cluster_of(instance)

    def one_pass():
        walk = Walk(plan, cluster.world.instance, cluster.world)
        while actions := walk.next_actions():
            walk.feed([cluster.perform(action) for action in actions])
        return compose(plan, walk.outcome, now=NOW)

    status = one_pass()
    cluster.world.instance = {**cluster.world.instance, "status": status}
    assert one_pass() is status


def test_a_status_the_api_server_finds_too_big_is_made_without_the_authors_fields(walk_of, config):
    passed = walk_of(config("a", {"v": "1"}), status={"one": "${a.data.v}", "two": "${a.metadata.name}"})
    status = compose(passed.plan, passed.outcome, now=NOW, refused=TOO_LARGE)
    assert not {"one", "two"} & set(status)
    error = condition(status, "Error")
    assert error["reason"] == "StatusTooLarge"
    assert error["message"] == "the API server refuses the status as too big; left out: one, two"


def test_a_status_the_api_server_finds_invalid_is_made_without_the_authors_fields(walk_of, config):
    passed = walk_of(config("a", {"v": "1"}), status={"one": "${a.data.v}"})
    status = compose(passed.plan, passed.outcome, now=NOW, refused=invalid("status.one: must be an integer"))
    assert "one" not in status
    error = condition(status, "Error")
    assert error["reason"] == "StatusInvalid"
    assert error["message"] == "the API server refuses the status: status.one: must be an integer; left out: one"


def test_conditions_of_the_author_are_cut_to_their_budget_and_the_instance_says_error(walk_of, config):
    new = "runtime.newCondition({type: 'C' + string(i), status: 'True', reason: 'R', message: schema.spec.text})"
    made = "${lists.range(1000).map(i, " + new + ")}"
    passed = walk_of(
        config("a", {"v": "1"}),
        spec={"text": "string"},
        values={"text": "x" * 2000},
        status={"conditions": [made]},
    )
    status = composed(passed)
    assert 100 < len(status["conditions"]) < 130
    assert status["state"] == "ERROR"


def test_messages_are_cut(walk_of, config):
    passed = walk_of(config("a", {"v": "${schema.spec.text}"}), spec={"text": "string"}, values={})
    many = walk_of(
        *(config(f"n{i}", {"v": "${schema.spec.text}"}) for i in range(200)), spec={"text": "string"}, values={}
    )
    for status in (composed(passed), composed(many)):
        assert max(len(c["message"].encode()) for c in status["conditions"]) <= 2048


# Pauses


def test_a_tired_pass_pauses_between_the_expressions_of_a_node(graph_of, cluster_of, instance_of, config):
    data = {f"k{i}": "${schema.metadata.name + '" + str(i) + "'}" for i in range(10)}
    items = config("parts", {"a": "${i + 'a'}", "b": "${i + 'b'}"}, forEach=[{"i": "${['a', 'b']}"}])
    items["template"]["metadata"]["name"] = "${'n-' + i}"

    def pauses(*resources):
        cluster = cluster_of(instance_of({}))
        walk = Walk(graph_of(*resources), cluster.world.instance, cluster.world, tired=lambda: True)
        found = 0
        while actions := walk.next_actions():
            found += sum(isinstance(action, Pause) for action in actions)
            walk.feed([cluster.perform(action) for action in actions])
        assert walk.outcome.settled
        return found

    assert pauses(config("a", data)) == pauses(config("a", {"k0": data["k0"]})) + 9
    assert pauses(items) > 2 * 3


def test_a_tired_pass_pauses_between_nodes_items_and_status_fields(graph_of, cluster_of, instance_of, config):
    items = config("parts", {"v": "${i}"}, forEach=[{"i": "${['a', 'b', 'c']}"}], readyWhen=["${each.data.v != ''}"])
    items["template"]["metadata"]["name"] = "${'n-' + i}"
    graph = graph_of(config("a", {"v": "1"}), items, status={"one": "${a.data.v}", "two": "${string(parts.size())}"})
    cluster = cluster_of(instance_of({}))

    def run(tired):
        walk = Walk(graph, cluster.world.instance, cluster.world, tired=tired)
        pauses = 0
        while actions := walk.next_actions():
            pauses += sum(isinstance(action, Pause) for action in actions)
            walk.feed([cluster.perform(action) for action in actions])
        steps, between = composing(walk.plan, walk.outcome, now=NOW), 0
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return pauses, between, end.value
            between += 1

    pauses, between, status = run(lambda: True)
    assert pauses >= 2 + 3 + 3
    assert between == 2
    assert run(lambda: False) == (0, 0, status)
    assert status["state"] == "ACTIVE"
