"""An instance that exceeds a limit reports it in a condition; neither it nor others hang, on a real API server."""

import pytest

from tests.integration.cluster import Lab, condition, config

pytestmark = pytest.mark.integration

DEAR = "${string(lists.range(2000).map(a, lists.range(2000).filter(b, a + b > 0).size()).size())}"
BIG = "x" * 900_000


def test_an_expression_over_its_budget_is_named_and_others_work(lab: Lab) -> None:
    lab.define("Dear", [config("dear", data={"v": DEAR}), config("cheap", data={"v": "1"})])
    lab.define("Cheap", [config("cheap", data={"v": "1"})])
    lab.instance("Dear")
    lab.instance("Cheap", "two")
    lab.await_state("Cheap", "two")
    obj = lab.await_state("Dear", state="ERROR", message="evaluation exceeds its budget of 300000 steps")
    assert 'node "dear"' in condition(obj, "Error")["message"]
    assert "at data.v" in condition(obj, "Error")["message"]
    assert condition(obj, "Stalled")["status"] == "True"
    assert lab.child("ConfigMap", "one-cheap")["data"] == {"v": "1"}


def test_a_resource_over_the_size_limit_is_not_sent_and_comes_when_it_fits(lab: Lab) -> None:
    double = "${schema.spec.text + schema.spec.text}"
    lab.define("Big", [config("big", data={"v": double}), config("small", data={"v": "1"})], spec={"text": "string"})
    lab.instance("Big", spec={"text": BIG})
    obj = lab.await_state("Big", state="ERROR", message="bytes as JSON, the limit is 1500000")
    assert "one-big" in condition(obj, "Error")["message"]
    lab.await_child("ConfigMap", "one-small")
    assert lab.child("ConfigMap", "one-big") == {}
    lab.edit("Big", spec={"text": "short"})
    lab.await_state("Big")
    assert lab.child("ConfigMap", "one-big")["data"] == {"v": "shortshort"}


def test_status_fields_there_is_no_room_for_are_named_and_the_rest_is_written(lab: Lab) -> None:
    status = {"copy": "${schema.spec.text}", "small": "${c.metadata.name}"}
    lab.define("Wide", [config("c", data={"v": "1"})], spec={"text": "string"}, status=status)
    lab.instance("Wide", spec={"text": BIG})
    obj = lab.await_state("Wide")
    assert obj["status"]["small"] == "one-c"
    assert "copy" not in obj["status"]
    error = condition(obj, "Error")
    assert error["reason"] == "StatusTooLarge"
    assert 'left out: "copy" (900002 bytes)' in error["message"]
    lab.edit("Wide", spec={"text": "short"})
    lab.await_status("Wide", check=lambda status: status.get("copy") == "short")


def test_what_the_api_server_finds_too_long_is_told_in_its_words(lab: Lab) -> None:
    annotated = config("c", metadata={"annotations": {"note": "${schema.spec.text}"}})
    lab.define("Noted", [annotated], spec={"text": "string"})
    lab.instance("Noted", spec={"text": "x" * 300_000})
    obj = lab.await_state("Noted", state="ERROR", message="may not be more than 262144 bytes")
    assert len(condition(obj, "Error")["message"].encode()) <= 2048
