"""Large definitions in a short notation."""

from collections.abc import Callable
from typing import Any

from kroasync.model.definition import Definition, parse_definition
from kroasync.model.objects import Obj
from tests.samples import config_map, definition

NAME = "schema.spec.name"


def thing(resources: list[Obj], *, spec: Obj | None = None, types: Obj | None = None, status: Obj | None = None) -> Obj:
    """A definition of the kind Thing."""
    return definition("Thing", resources, spec=spec or {"name": "string"}, types=types or {}, status=status or {})


def config(data: Obj, id_: str = "config", **more: Any) -> Obj:
    return {"id": id_, "template": config_map(f"x-{id_.lower()}", data=data), **more}


def deployment(id_: str, **spec: Any) -> Obj:
    template = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": id_.lower()}, "spec": spec}
    return {"id": id_, "template": template}


def holding(*texts: str) -> Obj:
    """A definition with these expressions."""
    return thing([config({f"k{place}": f"${{{text}}}" for place, text in enumerate(texts)})])


def chain(term: str, joint: str, length: int, end: str = "") -> str:
    return joint.join([term] * (length // (len(term) + len(joint)))) + end


def nested(opening: str, inner: str, closing: str, depth: int) -> str:
    return opening * depth + inner + closing * depth


def times(count: int, text: Callable[[int], str]) -> list[str]:
    return [text(place) for place in range(count)]


def binds(depth: int) -> str:
    inner = "".join(f"cel.bind(x{place + 1}, [x{place}, x{place}], " for place in range(1, depth))
    return f"cel.bind(x1, [[]], {inner}string(x{depth}.size()){')' * depth}"


def fields(count: int, value: str) -> Obj:
    return {f"f{place:05}": value for place in range(count)}


def json_nested(depth: int, inner: Any) -> Obj:
    for _ in range(depth):
        inner = {"p": inner}
    return inner


def times_of(count: int, make: Callable[[int], Obj]) -> list[Obj]:
    return [make(place) for place in range(count)]


def referring_to_all_before(count: int) -> Obj:
    """A definition where each resource refers to all previous resources."""

    def named(end: int) -> str:
        return ",".join(f"r{place}" for place in range(end))

    return thing(times_of(count, lambda i: config({"k": f"${{string([{named(i)}].size())}}"}, f"r{i}")))


def parsed(obj: Obj) -> Definition:
    found, problems = parse_definition(obj)
    assert found is not None, problems
    return found
