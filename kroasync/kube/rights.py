"""Checks that this process's account still has the permissions that every controller needs.

While access control refuses nothing, this module sends no request. After any refusal, it checks the permissions at
once, and repeats the check until the account has them. Later refusals, for example of one kind that the account may not
use, cause at most one check per minute. The definitions and instances that need such a kind report it themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from kroasync.kube.api_errors import ApiError
from kroasync.kube.client import Client
from kroasync.model.names import INTERNAL_GROUP, KRO_GROUP
from kroasync.model.objects import Obj

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# The verb, the group, and the resource with its subresource, if any.
NEEDED: Final = (
    ("list", KRO_GROUP, "resourcegroups"),
    ("list", KRO_GROUP, "resourcegraphdefinitions"),
    ("patch", KRO_GROUP, "resourcegraphdefinitions/status"),
    ("create", INTERNAL_GROUP, "graphrevisions"),
    ("create", "events.k8s.io", "events"),
)
_AGAIN_S: Final = 10.0
_QUIET_S: Final = 60.0


@dataclass(slots=True)
class Rights:
    """`problem` reports the missing permissions; it is None if none is known to be missing."""

    client: Client
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    problem: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Never returns."""
        refused = self.client.standing.refused
        while True:
            await refused.wait()
            refused.clear()
            await self._ask()
            while self.problem is not None:
                await self.sleep(_AGAIN_S)
                await self._ask()
            await self.sleep(_QUIET_S)

    async def _ask(self) -> None:
        try:
            missing = [right for right in NEEDED if not await self._has(*right)]
        except ApiError:
            return  # The permissions are unknown, so keep the last result. Others report the failed request.
        self.problem = problem(missing)

    async def _has(self, verb: str, group: str, resource: str) -> bool:
        answer = await self.client.request("POST", REVIEWS, body=review(verb, group, resource))
        return (answer.get("status") or {}).get("allowed") is True


def review(verb: str, group: str, resource: str, namespace: str = "") -> Obj:
    """The review that asks whether this account may do something in a namespace, or else in every one."""
    name, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }


def problem(missing: Iterable[tuple[str, str, str]]) -> str | None:
    """The message about missing permissions; None if none is missing."""
    named = [f"{verb} {resource}.{group}" for verb, group, resource in missing]
    return f"forbidden: this account may not {', '.join(named)}" if named else None
