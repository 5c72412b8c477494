"""The audit of the dependencies: its findings without a network. It never reports an audit that did not happen."""

import importlib.util
import json
import sys
import threading
import tomllib
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audit() -> Iterator[ModuleType]:
    path = ROOT / ".ci" / "audit.py"
    spec = importlib.util.spec_from_file_location("ci_audit", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_audit"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ci_audit"]


class Installed:
    """A distribution as in importlib.metadata."""

    def __init__(self, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), **fields: str) -> None:
        self.version, self.requires = version, list(requires)
        self.metadata = Message()
        for field, value in {"Name": name, **fields}.items():
            self.metadata[field.replace("_", "-")] = value


def entry(**more: Any) -> dict[str, Any]:
    return {"licences": ["MIT"], "why": "for this", **more}


FLOOR = entry(floor="1.10", advisories=["CVE-1: bad"])


@pytest.mark.parametrize(
    ("listed", "installed", "faults"),
    [
        ({"a": entry()}, {"a": Installed("a")}, []),
        ({}, {"a": Installed("a")}, ["a 1.0: not listed; kroasync brings it. Is it needed, and trusted?"]),
        (
            {"a": entry()},
            {"a": Installed("a", requires=("B.c>=1",)), "b-c": Installed("B.c", "2")},
            ["b-c 2: not listed; a brings it. Is it needed, and trusted?"],
        ),
        ({"a": entry()}, {}, ["a: listed, but nothing needs it any more"]),
        ({"a": entry(when="on Windows")}, {}, []),
        ({"a": entry()}, {"a": Installed("a", License="GPL-3.0")}, ["a 1.0: licence GPL is not the one listed"]),
        ({"a": FLOOR}, {"a": Installed("a", "1.9")}, ["a 1.9: older than 1.10, so it has CVE-1: bad"]),
        ({"a": FLOOR}, {"a": Installed("a", "1.10")}, []),
    ],
)
def test_what_is_listed_and_what_is_installed(
    audit: ModuleType, listed: dict[str, Any], installed: dict[str, Any], faults: list[str]
) -> None:
    assert list(audit.list_faults(listed, installed)) == faults


@pytest.mark.parametrize(
    ("fields", "families"),
    [
        ({"License_Expression": "Apache-2.0 AND MIT"}, {"Apache", "MIT"}),
        ({"Classifier": "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"}, {"MPL"}),
        ({"Classifier": "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"}, {"LGPL"}),
        ({"License": "GNU General Public License\nMIT is mentioned below"}, {"GPL"}),
        ({"License": "Dual License"}, set()),
        ({}, set()),
    ],
)
def test_licences_are_read_from_the_metadata(audit: ModuleType, fields: dict[str, Any], families: set[str]) -> None:
    assert audit.licences_of(Installed("a", **fields)) == families


@pytest.mark.parametrize(
    ("requirement", "is_fault"),
    [("a>=1.10", False), ("a>=1.9", True), ("a", True), ("a<2", True), ("a==1.10.*", False), ("other", False)],
)
def test_what_is_declared_must_exclude_versions_below_the_floor(
    audit: ModuleType, requirement: str, is_fault: bool
) -> None:
    assert bool(list(audit.floor_faults({"a": FLOOR}, [requirement]))) is is_fault


def test_what_is_installed_is_what_is_listed(audit: ModuleType) -> None:
    listed = tomllib.loads((ROOT / ".ci" / "dependencies.toml").read_text(encoding="utf-8"))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    installed = audit.closure()
    assert [*audit.list_faults(listed, installed), *audit.floor_faults(listed, declared)] == []
    assert {"aiohttp", "pyyaml", "cel-python"} < installed.keys()
    assert {"kroasync", "pytest", "pip-audit"}.isdisjoint(installed)


def report(*entries: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(entries), "fixes": []})


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": ["CVE-1"]}]}
TOOL = {"name": "tool", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
UNREACHABLE = "Traceback ...\nConnectionError: no such host\n"


@pytest.mark.parametrize(
    ("output", "errors", "needed", "required", "told", "failed"),
    [
        (report(GOOD), "", "a", True, ["audited: 1 packages, no known vulnerabilities"], False),
        (
            report(BAD),
            "",
            "a",
            False,
            ["VULNERABLE: a 1: PYSEC-1, fixed in 2", "audited: 1 packages, 1 known vulnerabilities"],
            True,
        ),
        (report(GOOD, TOOL), "", "a", False, ["tool of development, not part of kroasync: tool 3: PYSEC-2"], False),
        (report(GOOD, SKIPPED), "", "ab", False, ["NOT audited: 1 of 2 packages"], False),
        (report(GOOD, SKIPPED), "", "ab", True, ["NOT audited: 1 of 2 packages", "KROASYNC_AUDIT=required"], True),
        (report(BAD, SKIPPED), "", "ab", False, ["VULNERABLE: a 1", "NOT audited: 1 of 2 packages"], True),
        ("", UNREACHABLE, "a", False, ["NOT audited: 1 of 1", "db: ConnectionError: no such host"], False),
        ("", "", "a", True, ["NOT audited: 1 of 1", "pip-audit said nothing", "this is a failure"], True),
        ("[]", "", "a", False, ["NOT audited: 1 of 1"], False),
    ],
)
def test_a_verdict_follows_from_what_the_databases_said(
    audit: ModuleType, output: str, errors: str, needed: str, required: bool, told: list[str], failed: bool
) -> None:
    verdict = audit.judge({"db": audit.read_answer(output, errors)}, frozenset(needed), required=required)
    assert verdict.failed is failed
    for text in told:
        assert any(text in line for line in verdict.lines), (text, verdict.lines)
    assert any(line.startswith("audited:") for line in verdict.lines) is not any("NOT" in t for t in verdict.lines)


class Database(BaseHTTPRequestHandler):
    """Speaks OSV's protocol and knows one vulnerability, of `rich` before 2."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]
        affected = [{"package": {"name": "rich", "ecosystem": "PyPI"}, "ranges": ranges}]
        found = {"id": "PYSEC-9", "modified": "2026-01-01T00:00:00Z", "aliases": [], "affected": affected}
        body = json.dumps({"vulns": [found]} if asked["package"]["name"] == "rich" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output stays clean."""


def test_pip_audits_own_words_are_understood(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        answer = audit.ask("osv", {"rich": "1.0", "lark": "1.0"})
        server.shutdown()
    assert answer.asked == {"rich", "lark"}
    assert [str(finding) for finding in answer.findings] == ["rich 1.0: PYSEC-9, fixed in 2"]
    unheard = audit.ask("osv", {"rich": "1.0"})
    assert (unheard.asked, bool(unheard.failure)) == (frozenset(), True)


def test_two_databases_together_may_know_all(audit: ModuleType) -> None:
    other = {"name": "b", "version": "1", "vulns": []}
    answers = {"one": audit.read_answer(report(GOOD, SKIPPED), ""), "two": audit.read_answer(report(other), "")}
    assert audit.judge(answers, frozenset("ab"), required=True).lines == (
        "audited: 2 packages, no known vulnerabilities",
    )
