"""Tasks belong to a TaskGroup, and deadlines use `asyncio.timeout`; each exception has one place.

The test reads the syntax tree, because the linter would also ban the names in tests, which often need loose tasks.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "kroasync"

# A task that outlives its maker, results in one heap, a deadline that swallows a cancellation.
LOOSE = {"create_task", "ensure_future", "gather", "run_coroutine_threadsafe", "shield", "wait_for"}
# The two tasks of a lead end together, whichever ends first, with a reason.
EXCUSED = {("kube/lease.py", "asyncio.create_task")}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_bytes())


def loose(tree: ast.Module) -> Iterator[str]:
    """The calls that make loose tasks or deadlines; `create_task` of a task group does not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            yield from (f"asyncio.{alias.name}" for alias in node.names if alias.name in LOOSE)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOSE:
            called = ast.unparse(node.func)
            if called.split(".")[-2:-1] not in (["group"], ["_group"]):
                yield called


def test_what_is_loose_is_seen() -> None:
    text = """
from asyncio import gather
async def f(group, loop):
    group.create_task(g())
    asyncio.create_task(g())
    loop.create_task(g())
    await asyncio.wait_for(g(), 1)
"""
    assert sorted(loose(ast.parse(text))) == [
        "asyncio.create_task",
        "asyncio.gather",
        "asyncio.wait_for",
        "loop.create_task",
    ]


def test_tasks_belong_to_a_group_and_deadlines_to_a_timeout() -> None:
    assert {(module, called) for module, tree in modules() for called in loose(tree)} == EXCUSED


def test_one_door_to_the_web_server() -> None:
    """Import contracts cover whole libraries, but `kube` may use aiohttp's client."""
    found = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "aiohttp" and any(a.name == "web" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp.web"))
        or (isinstance(node, ast.Import) and any(a.name.startswith("aiohttp.web") for a in node.names))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "aiohttp.web")
    }
    assert found == {"server.py"}
