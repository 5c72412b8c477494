"""Every example is valid, and with its own observed objects it becomes active, in the order that it documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from kroasync.cli.main import app

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir() and folder.name != "__pycache__")

ORDER = {
    "webapplication": ["Deployment web-app", "Service web-app", "Ingress web-app"],
    "scheduled-reports": ["ConfigMap finance-settings", "CronJob finance-daily", "CronJob finance-monthly"],
    "shared-settings": ["Deployment resize-images"],
    "database": ["Database bakery-db", "Deployment bakery"],
    "tenant": [
        *("Namespace blue-dev", "Namespace blue-prod"),
        *("ResourceQuota tenant", "ResourceQuota tenant"),
        *("NetworkPolicy same-tenant-only", "NetworkPolicy same-tenant-only"),
    ],
    "migrated-app": ["Job accounts-v2", "Deployment accounts"],
    "policies": [
        *("PersistentVolumeClaim bakery-data", "Secret bakery-login", "Deployment bakery"),
        *("ConfigMap bakery-north", "ConfigMap bakery-south", "StatefulSet bakery-database"),
        *("HorizontalPodAutoscaler bakery", "Job bakery-migration"),
    ],
}
STATUS: dict[str, dict[str, object]] = {
    "webapplication": {"availableReplicas": 3},
    "scheduled-reports": {"count": 2, "schedules": ["finance-daily: 0 6 * * *", "finance-monthly: 0 6 1 * *"]},
    "shared-settings": {"region": "north"},
    "database": {"database": "bakery-db.default"},
    "tenant": {"namespaces": ["blue-dev", "blue-prod"]},
    "migrated-app": {"version": "v2"},
    "policies": {"replicas": 2},
}


def definition_file(folder: str) -> Path:
    (found,) = [
        path for name in ("resourcegroup.yaml", "definition.yaml") if (path := EXAMPLES / folder / name).exists()
    ]
    return found


def rendered(folder: str) -> list[dict[str, Any]]:
    """The objects in the order of creation, then the instance with its status."""
    done = CliRunner().invoke(
        app,
        [
            *("render", str(definition_file(folder)), str(EXAMPLES / folder / "instance.yaml"), "--status"),
            *(("--observed", str(observed)) if (observed := EXAMPLES / folder / "observed.yaml").exists() else ()),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "waiting" not in done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_every_folder_has_its_facts() -> None:
    assert set(FOLDERS) == set(ORDER) == set(STATUS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_is_valid_without_a_warning(folder: str) -> None:
    definition = definition_file(folder)
    done = CliRunner().invoke(app, ["validate", str(definition), str(definition.with_name("instance.yaml"))])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""


@pytest.mark.parametrize("folder", FOLDERS)
def test_becomes_active_in_the_order_of_its_references(folder: str) -> None:
    *children, instance = rendered(folder)
    assert [f"{child['kind']} {child['metadata']['name']}" for child in children] == ORDER[folder]
    status = instance["status"]
    assert status["state"] == "ACTIVE"
    assert {key: status.get(key) for key in STATUS[folder]} == STATUS[folder]


def test_the_web_application_is_the_one_of_the_page() -> None:
    """The instance on the page about instances."""
    instance = yaml.safe_load((EXAMPLES / "webapplication" / "instance.yaml").read_text(encoding="utf-8"))
    assert instance["kind"] == "WebApplication"
    assert instance["metadata"] == {"name": "my-app"}
    assert instance["spec"] == {"name": "web-app", "image": "nginx:latest", "ingress": {"enabled": True}}
    conditions = {c["type"]: c for c in rendered("webapplication")[-1]["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "ResourcesAvailable"
    assert conditions["Ready"]["message"] == "All resources are available and configured correctly"


def test_without_ingress_there_is_none(tmp_path: Path) -> None:
    instance = yaml.safe_load((EXAMPLES / "webapplication" / "instance.yaml").read_text(encoding="utf-8"))
    instance["spec"]["ingress"]["enabled"] = False
    file = tmp_path / "instance.yaml"
    file.write_text(yaml.safe_dump(instance), encoding="utf-8")
    folder = EXAMPLES / "webapplication"
    done = CliRunner().invoke(
        app,
        ["render", str(folder / "resourcegroup.yaml"), str(file), "--observed", str(folder / "observed.yaml")],
    )
    assert [obj["kind"] for obj in yaml.safe_load_all(done.stdout)] == ["Deployment", "Service"]
