"""Problems in machine-readable formats: JSON, SARIF 2.1.0 (OASIS), workflow commands of GitHub Actions."""

import json
from collections.abc import Iterable
from typing import Any, Final

from kroasync import __version__
from kroasync.graph.analysis import Analysis
from kroasync.model.problems import Problem, Severity
from kroasync.planning.workflow_commands import workflow_command

_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def summary(found: Analysis) -> str:
    """One line that says what was checked, and the result."""
    errors = sum(problem.severity is Severity.ERROR for problem in found.problems)
    warnings = len(found.problems) - errors
    checked = [_count(len(found.definitions), "definition")]
    if found.instances:
        checked.append(_count(len(found.instances), "instance"))
    verdict = _count(errors, "error") if errors else "valid"
    if warnings:
        verdict += f", {_count(warnings, 'warning')}"
    return f"{' and '.join(checked)}: {verdict}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_json(problems: Iterable[Problem]) -> str:
    """A list of objects; unknown fields of a problem are null."""
    found = [
        {
            "severity": problem.severity.value,
            "code": problem.code,
            "message": problem.message,
            "path": problem.where,
            "suggestion": problem.suggestion,
            "file": problem.source,
            "line": problem.line,
            "column": problem.column,
        }
        for problem in problems
    ]
    return json.dumps({"problems": found}, indent=2, ensure_ascii=False) + "\n"


def as_sarif(problems: Iterable[Problem]) -> str:
    """One run of the tool. The rules are the codes that occur."""
    problems = list(problems)
    codes = sorted({problem.code for problem in problems})
    run = {
        "tool": {
            "driver": {
                "name": "kroasync",
                "version": __version__,
                "rules": [{"id": code, "name": code} for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(problem, codes) for problem in problems],
    }
    return (
        json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"
    )


def _sarif_result(problem: Problem, codes: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": problem.severity.value,
        "message": {"text": _text(problem)},
    }
    if problem.source is not None:
        place: dict[str, Any] = {"artifactLocation": {"uri": problem.source}}
        if problem.line is not None:
            place["region"] = {"startLine": problem.line, "startColumn": problem.column or 1}
        result["locations"] = [{"physicalLocation": place}]
        if problem.path:
            result["locations"][0]["logicalLocations"] = [{"fullyQualifiedName": problem.where}]
    return result


def _text(problem: Problem) -> str:
    hint = f' (did you mean "{problem.suggestion}"?)' if problem.suggestion else ""
    where = f"{problem.where}: " if problem.path else ""
    return f"{where}{problem.message}{hint}"


def as_github(problems: Iterable[Problem]) -> str:
    """One workflow command for each problem."""
    return "".join(
        workflow_command(
            problem.severity.value,
            _text(problem),
            file=problem.source,
            line=problem.line,
            col=problem.column,
            title=problem.code,
        )
        for problem in problems
    )
