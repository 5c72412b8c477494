"""Permissions are checked after access control refuses a request, and never without a refusal."""

import asyncio
from typing import Any

from kroasync.kube.api_errors import ApiError, error_of
from kroasync.kube.rights import NEEDED, Rights, problem
from kroasync.kube.standing import Standing

REFUSED = error_of(403, b'{"kind":"Status","message":"x.kro.run \\"a\\" is forbidden: User \\"u\\" cannot patch"}', {})


class FakeClient:
    """Answers reviews: `lacking` has the resources without permission, or is None while the server is down."""

    def __init__(self) -> None:
        self.standing = Standing(lambda: 0.0)
        self.lacking: set[str] | None = set()
        self.asked = 0

    async def request(self, method: str, path: str, *, body: Any) -> Any:
        assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        self.asked += 1
        if self.lacking is None:
            raise ApiError("away")
        return {"status": {"allowed": body["spec"]["resourceAttributes"]["resource"] not in self.lacking}}


class Run:
    """A run whose pauses the test ends."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.pauses: list[float] = []
        self.go_on = asyncio.Event()
        self.rights = Rights(self.client, self.sleep)  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.go_on.wait()
        self.go_on.clear()

    async def turn(self) -> None:
        self.go_on.set()
        for _ in range(50):
            await asyncio.sleep(0)


async def test_rights_are_asked_for_after_a_refusal_until_they_are_there() -> None:
    run = Run()
    task = asyncio.create_task(run.rights.run())
    await run.turn()
    run.go_on.clear()
    assert run.client.asked == 0
    run.client.lacking = {"graphrevisions"}
    run.client.standing.answered(REFUSED)
    for _ in range(50):
        await asyncio.sleep(0)
    assert run.rights.problem == "forbidden: this account may not create graphrevisions.internal.kro.run"
    run.client.lacking = None
    await run.turn()
    assert run.rights.problem is not None
    run.client.lacking = set()
    await run.turn()
    assert run.rights.problem is None
    assert run.pauses == [10.0, 10.0, 60.0]
    task.cancel()


async def test_refusals_of_one_kind_lead_to_a_question_a_minute() -> None:
    run = Run()
    task = asyncio.create_task(run.rights.run())
    for _ in range(20):
        run.client.standing.answered(REFUSED)
        for _ in range(20):
            await asyncio.sleep(0)
    assert (run.client.asked, run.pauses, run.rights.problem) == (len(NEEDED), [60.0], None)
    task.cancel()


def test_what_is_missing_is_all_named() -> None:
    text = "forbidden: this account may not list a.g, patch b/status.h"
    assert problem([("list", "g", "a"), ("patch", "h", "b/status")]) == text
    assert problem([]) is None
