"""The checks before a release, and the workflows that make the release."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import kroasync

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
CALLERS = sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])


@pytest.fixture(scope="module")
def release() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("ci_release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_release"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ci_release"]


OLD = "## [0.0.9] - 2025-01-02\n\n- old\n"


def files(version: str, **other: str) -> dict[str, str]:
    texts = {
        "kroasync/__init__.py": f'"""Doc."""\n\n__version__ = "{version}"\n',
        "charts/kroasync/Chart.yaml": f"apiVersion: v2\nversion: {version}\nappVersion: {version}\n",
        "Dockerfile": f"FROM base\nARG VERSION={version}\n",
        "docs/changelog.md": f"## [Unreleased]\n\n## [{version}] - 2026-01-02\n\n- new\n\n{OLD}",
    }
    return texts | other


@pytest.mark.parametrize(
    ("tag", "texts", "found"),
    [
        ("v1.2.3", files("1.2.3"), []),
        ("v1.2.3-rc.1", files("1.2.3-rc.1"), []),
        ("1.2.3", files("1.2.3"), ["1.2.3: expected a tag such as v1.2.3 or v1.2.3-rc.1"]),
        ("v1.2", files("1.2"), ["v1.2: expected a tag such as v1.2.3 or v1.2.3-rc.1"]),
        (
            "v1.2.3",
            files("1.2.3", Dockerfile="ARG VERSION=1.2.2\n"),
            ["Dockerfile: expected 1.2.3, found 1.2.2"],
        ),
        (
            "v1.2.3",
            files("1.2.3", **{"charts/kroasync/Chart.yaml": "version: 1.2.3\nappVersion: 1.2.2\n"}),
            ["charts/kroasync/Chart.yaml: expected 1.2.3, found 1.2.2"],
        ),
        (
            "v1.2.3",
            files("1.2.3", **{"docs/changelog.md": "## [Unreleased]\n\n## [1.2.2] - 2026-01-01\n"}),
            ["docs/changelog.md: expected 1.2.3, found 1.2.2"],
        ),
    ],
)
def test_every_place_names_the_version_of_the_tag(
    release: ModuleType, tag: str, texts: dict[str, str], found: list[str]
) -> None:
    assert list(release.faults(tag, texts)) == found


def test_every_place_is_there_and_names_one_version(release: ModuleType) -> None:
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file, _ in release.PLACES}
    version = kroasync.__version__
    texts["docs/changelog.md"] += f"\n## [{version}] - 2026-01-02\n"
    assert list(release.faults(f"v{version}", texts)) == []


def test_notes_are_the_section_of_the_changelog(release: ModuleType) -> None:
    changelog = files("1.2.3")["docs/changelog.md"]
    assert release.notes("v1.2.3", changelog) == "- new\n"
    assert release.notes("v0.0.9", changelog) == "- old\n"
    with pytest.raises(SystemExit, match=r"has no section for v1\.2\.4"):
        release.notes("v1.2.4", changelog)


def test_the_published_chart_names_the_published_image(release: ModuleType) -> None:
    values = (ROOT / "charts" / "kroasync" / "values.yaml").read_text(encoding="utf-8")
    changed = yaml.safe_load(release.with_image(values, "host.example/owner/kroasync", "sha256:12"))
    before = yaml.safe_load(values)
    image = before["image"] | {"repository": "host.example/owner/kroasync", "digest": "sha256:12"}
    assert changed == before | {"image": image}


# The workflows


def steps(path: Path) -> Iterator[dict[str, Any]]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for job in (*document.get("jobs", {}).values(), document.get("runs", {})):
        yield from job.get("steps", ())


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: str(path.relative_to(GITHUB)))
def test_actions_of_others_are_pinned_to_a_commit(path: Path) -> None:
    uses = re.findall(r"^ +(?:- )?uses: (.*)$", path.read_text(encoding="utf-8"), re.M)
    others = [line for line in uses if not line.startswith("./")]
    assert others or path.name == "ci.yml"
    assert [line for line in others if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: str(path.relative_to(GITHUB)))
def test_what_they_run_is_there(path: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for step in steps(path):
        script = step.get("run", "")
        assert [file for file in re.findall(r"\.ci/[\w.]+", script) if not (ROOT / file).exists()] == []
        for words in re.findall(r"^make (.*)$", script, re.M):
            assert {word for word in words.split() if "=" not in word} <= targets
        if step.get("uses", "").startswith("./"):
            assert (ROOT / step["uses"] / "action.yml").exists()


@pytest.mark.parametrize("path", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda path: path.name)
def test_they_may_read_only_unless_a_job_says_more(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}


def test_every_supported_python_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = [c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    jobs = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["locked"]["strategy"]["matrix"]["python"] == stated
    assert project["requires-python"] == f">={stated[0]}"
