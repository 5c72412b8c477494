"""A forecast for programs and for pull requests: JSON, Markdown, annotations of GitHub.

The form of the JSON is docs/plan.schema.json. `apiVersion` changes when a field changes its meaning or goes; new fields
may come at any time.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import chain
from typing import Any, Final

import orjson

from kroasync.engine.difference import Absent, FieldChange
from kroasync.model.objects import Key
from kroasync.planning.forecast import (
    DefinitionForecast,
    Forecast,
    Group,
    InstanceForecast,
    PlannedStep,
    Verb,
    counted,
)
from kroasync.planning.unified import diff_lines, is_worth_reading
from kroasync.planning.wording import (
    changed_definitions,
    clean,
    count,
    cut,
    cut_list,
    few,
    misfit_lines,
    named,
    subject,
    summary_line,
    tally,
    title,
    verdict,
)
from kroasync.planning.workflow_commands import workflow_command

API_VERSION: Final = "kroasync.io/v1"
KIND: Final = "Plan"


def as_json(forecast: Forecast) -> str:
    """The whole forecast; nothing is cut."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document(forecast), option=options).decode()


def document(forecast: Forecast) -> dict[str, Any]:
    """The forecast as a JSON value."""
    groups = {key: place for place, group in enumerate(forecast.groups()) for key in group.keys}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "dryRun": forecast.dry_run,
        "summary": {
            "hasChanges": forecast.has_changes,
            "definitions": len(forecast.definitions),
            "instances": len(forecast.instances),
            "changedInstances": sum(1 for one in forecast.instances if one.whole),
            "breaking": sum(1 for one in forecast.definitions if one.is_breaking),
            "misfits": sum(len(one.misfits) for one in forecast.definitions),
            "errors": len(forecast.errors),
            "steps": _counts(forecast.counts()),
            "drift": _counts(forecast.drift_counts()),
        },
        "definitions": [_definition(one) for one in forecast.definitions],
        "instances": [_instance(one, groups.get(one.key)) for one in forecast.instances],
        "unread": list(forecast.unread),
    }


def _counts(counts: Counter[Verb]) -> dict[str, int]:
    return {verb.value: counts[verb] for verb in Verb}


def _definition(one: DefinitionForecast) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "crd": one.crd,
        "verb": one.verb.value if one.verb else None,
        "why": one.why,
        "instances": one.instances,
        "breaking": one.is_breaking,
        "schema": [{"path": step.path, "text": step.text, "breaking": step.breaking} for step in one.schema],
        "misfits": [{"instance": _ref(misfit.key), "problems": list(misfit.problems)} for misfit in one.misfits],
    }


def _instance(one: InstanceForecast, group: int | None) -> dict[str, Any]:
    return {
        "instance": _ref(one.key),
        # Instances with the same number have the same steps.
        "group": group,
        "edit": _step(one.edit) if one.edit else None,
        "steps": [_step(step) for step in one.steps],
        "drift": [_step(step) for step in one.drift],
        "notes": list(one.notes),
        "error": one.error,
    }


def _step(step: PlannedStep) -> dict[str, Any]:
    return {
        "verb": step.verb.value,
        "node": step.node,
        "object": _ref(step.key) if step.key else None,
        "why": step.why,
        "fields": [_field(change) for change in step.fields],
        "before": step.before,
        "after": step.after,
    }


def _field(change: FieldChange) -> dict[str, Any]:
    """`before` or `after` is missing where the field does not exist."""
    values = {"before": change.before, "after": change.after}
    return {"path": change.path} | {key: value for key, value in values.items() if not isinstance(value, Absent)}


def _ref(key: Key) -> dict[str, str]:
    return {
        "apiVersion": key.resource.api_version,
        "kind": key.resource.kind,
        "namespace": key.namespace,
        "name": key.name,
    }


# GitHub refuses a longer comment. The tables have at most 30 rows of three sentences: a code span may triple its text.
COMMENT_LENGTH: Final = 65_536
_ROWS: Final = 10
_LINES: Final = 60
_DIFF_LINES: Final = 60
_WIDTH: Final = 200
_SENTENCE: Final = 300
_SECTION_LENGTH: Final = 15_000
# Room for the line that says what was cut.
_RESERVE: Final = 300


def as_markdown(forecast: Forecast) -> str:
    """A comment for a pull request: tables, then a part to unfold for each distinct change."""
    groups = forecast.groups()
    text = "\n".join(_head(forecast, groups)) + "\n"
    definitions = changed_definitions(forecast)
    sections = chain(map(_definition_section, definitions), map(_group_section, groups))
    for place, section in enumerate(sections):
        if len(text) + len(section) + _RESERVE > COMMENT_LENGTH:
            return text + _cut_off(max(0, len(definitions) - place), len(groups) - max(0, place - len(definitions)))
        text += section
    return text


def _cut_off(definitions: int, groups: int) -> str:
    """The line in place of the sections that the comment has no room for."""
    told = [count(definitions, "definition")] if definitions else []
    told += [count(groups, "distinct change")] if groups else []
    where = f"a comment has at most {COMMENT_LENGTH:,} characters"
    return f"\n*Cut, because {where}: the details of {' and '.join(told)}.*\n"


def _head(forecast: Forecast, groups: tuple[Group, ...]) -> Iterator[str]:
    yield f"### kroasync plan: {summary_line(forecast)}"
    if errors := forecast.errors:
        yield f"\n**{count(len(errors), 'error')}: this is not the whole plan**\n"
        yield from (f"- {_span(clean(text))}" for text in errors[:_ROWS])
        yield from _rest(len(errors) - _ROWS, "error")
    changed = changed_definitions(forecast)
    if changed:
        yield "\n| Definition | Change | Instances | CRD | Instances that do not fit |\n|---|---|---:|---|---:|"
        for one in changed[:_ROWS]:
            crd = f"**{verdict(one)}**" if one.is_breaking else verdict(one)
            name = _cell(f"{clean(one.name)} ({clean(one.kind)})")
            yield f"| {name} | {one.verb or 'unchanged'} | {one.instances:,} | {crd} | {len(one.misfits):,} |"
        yield from _rest(len(changed) - _ROWS, "definition")
    yield from _table(forecast, groups)
    if drift := forecast.drift_counts():
        yield f"\nDrift, with or without the edit: {tally(drift)}."
    if forecast.dry_run != "all":
        yield f"\nDry runs: {forecast.dry_run}. The API server has not answered all applies."


def _rest(number: int, noun: str) -> Iterator[str]:
    if number > 0:
        yield f"\n*and {count(number, noun)} more*"


def _table(forecast: Forecast, groups: tuple[Group, ...]) -> Iterator[str]:
    counts = forecast.counts()
    verbs = [verb for verb in Verb if counts[verb]]
    concerned = [group for group in groups if group.sample.whole]
    if not verbs:
        return
    yield f"\n| Steps of one instance | {' | '.join(verbs)} |\n|---|{'---:|' * len(verbs)}"
    for group in concerned[:_ROWS]:
        own = counted(group.sample.whole)
        yield f"| {len(group.keys):,} × {_cell(named(group.keys))} | {_numbers(own, verbs)} |"
    if left := sum(len(group.keys) for group in concerned[_ROWS:]):
        yield f"| *{count(left, 'instance')} with other changes* |{' |' * len(verbs)}"
    yield f"| **total** | {_numbers(counts, verbs)} |"


def _numbers(counts: Counter[Verb], verbs: Iterable[Verb]) -> str:
    return " | ".join(f"{counts[verb]:,}" if counts[verb] else "" for verb in verbs)


def _definition_section(one: DefinitionForecast) -> str:
    lines = [f"{_span(clean(one.why))}\n"] if one.why else []
    misfits = [f"does not fit: {_span(clean(line))}" for line in misfit_lines(one)]
    changes = [
        f"{'**breaking**' if step.breaking else 'compatible'}: " + _span(clean(f"{step.path}: {step.text}"))
        for step in sorted(one.schema, key=lambda step: not step.breaking)
    ]
    shown = [*cut_list(misfits, _LINES, "stored instances"), *cut_list(changes, _LINES, "changes of the CRD")]
    lines += [f"- {line}" for line in shown]
    return (
        _details(f"{one.verb or 'unchanged'} definition {clean(one.name)}: CRD {verdict(one)}", lines) if lines else ""
    )


def _group_section(group: Group) -> str:
    sample = group.sample
    lines = [f"{_span(named(group.keys, 10))}\n"]
    lines += [f"- note: {_span(clean(note))}" for note in sample.notes[:_ROWS]]
    if sample.error:
        lines.append(f"- error: {_span(clean(sample.error))}")
    room = _SECTION_LENGTH
    shown = [*((step, left, "") for step, left in few(sample.whole))]
    shown += [(step, left, " (drift)") for step, left in few(sample.drift)]
    for place, (step, left, remark) in enumerate(shown):
        text = _step_text(step, left, remark)
        room -= len(text)
        if room < 0:
            lines.append(f"\n*and the steps after these {place:,} of {len(shown):,}*")
            break
        lines.append(text)
    return _details(title(group), lines)


def _step_text(step: PlannedStep, left: int, remark: str) -> str:
    sentence = subject(step) + (f": {clean(step.why)}" if step.why else "")
    text = f"\n**{step.verb}**{remark} {_span(sentence)}"
    if is_worth_reading(step) and (lines := [cut(clean(line), _WIDTH) for line in diff_lines(step)]):
        text += "\n\n" + _fenced(cut_list(lines, _DIFF_LINES, "lines"))
    if left:
        text += f"\n\n*and {left:,} more {step.verb} of node {_span(clean(step.node))}*"
    return text


def _details(heading: str, lines: Iterable[str]) -> str:
    """A part to unfold. Between the HTML and the Markdown there must be an empty line."""
    body = "\n".join(lines)
    return f"\n<details><summary><code>{escape(cut(heading, _SENTENCE))}</code></summary>\n\n{body}\n\n</details>\n"


def _fenced(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}diff\n{text}\n{fence}"


def _span(text: str) -> str:
    """A code span: nothing in it is Markdown, HTML, a link or the name of somebody to notify."""
    text = cut(text, _SENTENCE)
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence} {text} {fence}" if text.strip(" ") else ""


def _cell(text: str) -> str:
    """A code span in a table, which a vertical bar would end."""
    return _span(text).replace("|", "\\|")


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


# GitHub shows ten annotations of each level.
_ANNOTATIONS: Final = 10
_LEVELS: Final = ("error", "warning", "notice")
_ERRORS: Final = frozenset({Verb.REFUSED})
_WARNINGS: Final = frozenset({Verb.DELETE, Verb.RELEASE, Verb.RECREATE, Verb.CONFLICT, Verb.HELD, Verb.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Annotation:
    level: str
    text: str
    source: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return workflow_command(self.level, self.text, file=self.source, line=self.line, title="kroasync plan")


def as_github(forecast: Forecast) -> str:
    """Annotations: of the definitions at their place in the files, and of each distinct change."""
    found = [_Annotation(level="notice", text=summary_line(forecast))]
    found += [_Annotation(level="error", text=cut(clean(text), _SENTENCE)) for text in forecast.errors]
    for one in changed_definitions(forecast):
        found += _of_definition(one)
    for group in forecast.groups():
        if steps := group.sample.whole:
            text = f"{title(group)} ({tally(counted(steps))}): {named(group.keys)}"
            found.append(_Annotation(level=_level(step.verb for step in steps), text=text))
    return "".join(line for level in _LEVELS for line in _shown([one for one in found if one.level == level]))


def _shown(same: list[_Annotation]) -> Iterator[str]:
    """At most as many annotations of one level as GitHub shows."""
    most = _ANNOTATIONS if len(same) <= _ANNOTATIONS else _ANNOTATIONS - 1
    yield from map(str, same[:most])
    if (left := len(same) - most) > 0:
        yield str(_Annotation(level=same[0].level, text=f"and {left:,} more of this level"))


def _of_definition(one: DefinitionForecast) -> Iterator[_Annotation]:
    def at(level: str, text: str) -> _Annotation:
        return _Annotation(level=level, text=text, source=one.source, line=one.line)

    if one.verb is not None:
        why = f": {clean(one.why)}" if one.why else ""
        text = f"{one.verb} definition {clean(one.name)} with {count(one.instances, 'instance')}{why}"
        yield at(_level([one.verb]), cut(text, _SENTENCE))
    if one.is_breaking:
        breaking = [cut(clean(f"{step.path}: {step.text}"), _SENTENCE) for step in one.schema if step.breaking]
        yield at("warning", "\n".join(["the change of the CRD is breaking:", *cut_list(breaking, _ROWS, "changes")]))
    if one.misfits:
        misfits = cut_list([cut(clean(line), _SENTENCE) for line in misfit_lines(one)], _ROWS, "instances")
        yield at("error", "\n".join(["the new schema refuses stored instances:", *misfits]))


def _level(verbs: Iterable[Verb]) -> str:
    found = set(verbs)
    return "error" if found & _ERRORS else "warning" if found & _WARNINGS else "notice"
