"""Every example in a real cluster, with the rights that the chart and the example grant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kroasync.playground import Playground

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = ("scheduled-reports", "shared-settings", "database", "tenant", "migrated-app", "policies")


@pytest.mark.parametrize("folder", FOLDERS)
def test_becomes_active_and_goes_without_a_trace(
    folder: str,
    playground: Playground,
    chart: Any,
    controller: Any,
    namespace: str,
    forbidden: Callable[[str], list[str]],
) -> None:
    def kubectl(*arguments: str) -> str:
        return playground.kubectl("--namespace", namespace, *arguments)

    place = EXAMPLES / folder
    for extra in ("rbac.yaml", "platform.yaml"):
        if (place / extra).exists():
            kubectl("apply", f"--filename={place / extra}")
    definition = place / "definition.yaml"
    kubectl("apply", f"--filename={definition}")
    kubectl("wait", "--for=condition=Ready", f"--filename={definition}", "--timeout=60s")
    instance = yaml.safe_load((place / "instance.yaml").read_text(encoding="utf-8"))
    name = f"{instance['kind'].lower()}/{instance['metadata']['name']}"
    kubectl("apply", f"--filename={place / 'instance.yaml'}")
    kubectl("wait", "--for=jsonpath={.status.state}=ACTIVE", name, "--timeout=60s")
    uid = json.loads(kubectl("get", name, "--output=json"))["metadata"]["uid"]
    kubectl("delete", name, "--timeout=60s")
    kinds = "deployments,services,statefulsets,cronjobs,jobs,configmaps,secrets,networkpolicies,resourcequotas,pvc,hpa"
    owned = f"--selector=kro.run/instance-id={uid}"
    assert playground.kubectl("get", kinds, "--all-namespaces", owned, "--output=name") == ""
    kubectl("delete", f"--filename={definition}", "--timeout=60s")
    assert forbidden(chart.user) == []
