"""The condition set: one root that summarizes its dependents."""

from kroasync.model import conditions
from kroasync.model.conditions import ConditionSet, Subject

SET = ConditionSet(root="Ready", dependents=("A", "B"), pruned=("Old",))
BORN = "2024-01-01T00:00:00Z"
T1, T2, T3 = (f"2024-01-01T00:00:0{i}Z" for i in (1, 2, 3))
SUBJECT = Subject(generation=1, created=BORN)


def get(found: conditions.Conditions, type_: str) -> conditions.Condition:
    condition = conditions.find(found, type_)
    assert condition is not None
    return condition


def types(found: conditions.Conditions) -> list[str]:
    return [c["type"] for c in found]


def test_initialise_drops_retired_types_and_adds_unknown_ones() -> None:
    found = SET.initialise([{"type": "Old", "status": "True"}], SUBJECT, now=T1)
    assert types(found) == ["A", "B", "Ready"]
    assert get(found, "B") == {
        "type": "B",
        "status": "Unknown",
        "lastTransitionTime": BORN,
        "reason": "AwaitingReconciliation",
        "message": 'condition "B" is awaiting reconciliation',
        "observedGeneration": 1,
    }
    assert get(found, "Ready")["status"] == "Unknown"


def test_root_is_true_once_every_dependent_is() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    found = SET.set(found, SUBJECT, "A", "True", reason="Done", now=T1)
    assert get(found, "Ready")["status"] == "Unknown"
    found = SET.set(found, SUBJECT, "B", "True", reason="Done", now=T2)
    root = get(found, "Ready")
    assert (root["status"], root["reason"], root["message"]) == ("True", "Ready", "")
    assert SET.is_ready(found, 1)
    assert not SET.is_ready(found, 2)


def test_root_copies_the_newest_false_before_any_unknown() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    found = SET.set(found, SUBJECT, "A", "False", reason="Bad", message="broken", now=T2)
    found = SET.set(found, SUBJECT, "B", "Unknown", reason="Wait", message="later", now=T3)
    root = get(found, "Ready")
    assert (root["status"], root["reason"], root["message"]) == ("False", "Bad", "broken")


def test_a_missing_dependent_keeps_the_root_from_turning_true() -> None:
    found = SET.set([], SUBJECT, "A", "True", reason="Done", now=T1)
    assert conditions.find(found, "Ready") is None


def test_an_older_generation_leaves_the_root_as_it_is() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    for type_ in SET.dependents:
        found = SET.set(found, SUBJECT, type_, "True", reason="Done", now=T1)
    newer = Subject(generation=2, created=BORN)
    found = SET.set(found, newer, "A", "True", reason="Done", now=T2)
    assert get(found, "Ready")["observedGeneration"] == 1
    found = SET.set(found, newer, "B", "True", reason="Done", now=T2)
    assert SET.is_ready(found, 2)


def test_transition_time_moves_only_with_the_status() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    found = SET.set(found, SUBJECT, "A", "True", reason="X", now=T2)
    assert get(found, "A")["lastTransitionTime"] == T2
    found = SET.set(found, SUBJECT, "A", "True", reason="Y", now=T3)
    assert get(found, "A")["lastTransitionTime"] == T2
    assert get(found, "A")["reason"] == "Y"


def test_setting_the_same_changes_nothing() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    found = SET.set(found, SUBJECT, "A", "True", reason="X", now=T2)
    assert SET.set(found, SUBJECT, "A", "True", reason="X", now=T3) == found


def test_other_types_start_now_and_the_root_comes_last() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    found = SET.set(found, SUBJECT, "Custom", "True", reason="X", now=T2)
    assert get(found, "Custom")["lastTransitionTime"] == T2
    assert types(found)[-1] == "Ready"


def test_while_deleting_other_conditions_follow_the_generation() -> None:
    found = SET.initialise([], SUBJECT, now=T1)
    dying = Subject(generation=3, created=BORN, deleting=True)
    found = SET.set(found, dying, "A", "Unknown", reason="UnderDeletion", now=T2)
    assert {c["observedGeneration"] for c in found} == {3}


def test_the_input_list_is_not_touched() -> None:
    start = SET.initialise([], SUBJECT, now=T1)
    before = [dict(c) for c in start]
    SET.set(start, SUBJECT, "A", "False", reason="X", now=T2)
    assert start == before


def test_generation_zero_and_unknown_times_are_left_out() -> None:
    assert conditions.make("A", "True") == {"type": "A", "status": "True", "message": ""}


def test_conditions_and_facts_are_read_from_objects() -> None:
    obj = {
        "metadata": {"generation": 4, "creationTimestamp": BORN, "deletionTimestamp": T1},
        "status": {"conditions": [{"type": "A", "status": "True", "observedGeneration": 4}, "junk", {}]},
    }
    assert Subject.of(obj) == Subject(generation=4, created=BORN, deleting=True)
    found = conditions.conditions_of(obj)
    assert types(found) == ["A"]
    assert conditions.is_true(found, "A", 4)
    assert not conditions.is_true(found, "A", 5)
    assert conditions.conditions_of({"status": {"conditions": "x"}}) == []
