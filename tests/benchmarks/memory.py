"""`python -m tests.benchmarks.memory [-n 1050] [--shape text|keys] [--of strangers]`: the memory that large lists need.

The output is the peak memory of a process that lists them. A server in another process streams the objects, so that no
store has to be filled.
"""

import argparse
import asyncio
import base64
import itertools
import multiprocessing
import random
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any

import orjson
from aiohttp import web

from kroasync.controller.child_store import ChildStore
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.room import Room
from kroasync.controller.watches import ChildSink, InstanceSink
from kroasync.kube.client import Client
from kroasync.kube.config import Connection
from kroasync.kube.watch import Watch
from kroasync.model.names import LABEL_INSTANCE_ID, LABEL_NODE_ID, LABEL_OWNED
from tests.samples import CONFIG_MAPS

_RANDOM = random.Random(1)
# Random text, which does not compress well.
_TEXT = base64.b64encode(_RANDOM.randbytes(750_000)).decode()
_KEYS = {f"{number:05x}": "" for number in range(45_000)}


def objects(count: int, shape: str) -> Iterator[bytes]:
    """ConfigMaps of about 1 MB as the API server lists them, including managedFields."""
    data = {"v": _TEXT} if shape == "text" else _KEYS
    fields = {"f:data": {f"f:{name}": {} for name in data}}
    labels = {LABEL_OWNED: "true", LABEL_NODE_ID: "x", LABEL_INSTANCE_ID: "i"}
    managed = [{"manager": "kubectl", "operation": "Update", "fieldsV1": fields}]
    rest = orjson.dumps({"namespace": "full", "labels": labels, "managedFields": managed})[1:]
    content = orjson.dumps(data)
    for number in range(1, count + 1):
        own = b'"name":"c%06d","uid":"%036d","resourceVersion":"%d",' % (number, number, number)
        yield b'{"metadata":{' + own + rest + b',"data":' + content + b"}"


def serve(count: int, shape: str, ready: Pipe) -> None:
    """Serve the list, page by page, and a watch without events, until the process ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if "watch" in request.query:
            await asyncio.Event().wait()
        with suppress(ConnectionError):
            await stream(request, response)
        return response

    async def stream(request: web.Request, response: web.StreamResponse) -> None:
        begin, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or count)
        rest = begin + limit if begin + limit < count else ""
        await response.write(
            b'{"kind":"ConfigMapList","metadata":{"resourceVersion":"%d","continue":"%s"},"items":['
            % (count, str(rest).encode())
        )
        for number, content in enumerate(itertools.islice(objects(count, shape), begin, begin + limit)):
            await response.write(b"," + content if number else content)
        await response.write(b"]}")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/api/v1/configmaps", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def sink_of(what: str) -> Any:
    if what == "instances":
        return InstanceSink(InstanceStore(CONFIG_MAPS, lambda key: None, lambda key, obj: None, room=Room()))
    return ChildSink(ChildStore(lambda key: None, claims=lambda key, obj: what == "children", room=Room()), CONFIG_MAPS)


async def listed(url: str, what: str) -> tuple[int, float]:
    """The number of known objects after a list, and the seconds of the list."""
    connection = Connection(url)
    sink = sink_of(what)
    watch = Watch(Client(connection), CONFIG_MAPS, sink=sink)
    started = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(watch.run())
            await watch.synced.wait()
            took_s = time.monotonic() - started
            task.cancel()
        return len(sink.store), took_s
    finally:
        await connection.close()


def most_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1050)
    parser.add_argument("--shape", choices=("text", "keys"), default="text")
    parser.add_argument("--of", choices=("strangers", "children", "instances"), default="strangers")
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    spawning = multiprocessing.get_context("spawn")
    server = spawning.Process(target=serve, args=(options.n, options.shape, there), daemon=True)
    server.start()
    port = here.recv()
    before_mb = most_mb()
    count, took_s = asyncio.run(listed(f"http://127.0.0.1:{port}", options.of))
    server.terminate()
    what = f"{count} {options.of} of 1 MB ({options.shape})"
    print(f"{what}: {before_mb:.0f} MB before, at most {most_mb():.0f} MB, {took_s:.1f} s")


if __name__ == "__main__":
    main()
