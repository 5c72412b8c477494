"""A forecast for people at a terminal: a summary that fits a screen, then one block for each distinct change.

Nothing is left out without its count. `diffs` prints whole diffs and nothing else but comments, so that it can be
redirected to a file.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rich.text import Text

from kroasync.planning.forecast import DefinitionForecast, Forecast, Group, PlannedStep, Verb, counted
from kroasync.planning.unified import diff_lines, headers, is_worth_reading
from kroasync.planning.wording import (
    SIGNS,
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

# Together, the parts of the summary have at most 24 lines.
_DEFINITIONS: Final = 3
_DETAILS: Final = 6
_GROUPS: Final = 4
_ERRORS: Final = 3
_LINE: Final = 160
_SENTENCE: Final = 600
_DIFF_LINES: Final = 40
_NOTES: Final = 10
_MISFITS: Final = 20
_BLOCKS: Final = 100
_COLOURS: Final = {
    Verb.CREATE: "green",
    Verb.UPDATE: "yellow",
    Verb.DELETE: "red",
    Verb.RELEASE: "cyan",
    Verb.RECREATE: "magenta",
    Verb.CONFLICT: "red",
    Verb.HELD: "yellow",
    Verb.REFUSED: "red",
    Verb.UNKNOWN: "bright_black",
}
_FAINT: Final = "bright_black"


def report(forecast: Forecast) -> list[Text]:
    """The summary, then every distinct change with the instances that it is for."""
    groups = forecast.groups()
    lines = [*_summary(forecast, groups)]
    for place, definition in enumerate(changed_definitions(forecast)):
        lines += _rest_of(definition, _room(forecast) if place < _DEFINITIONS else -1)
    for group in groups[:_BLOCKS]:
        lines += [Text(), *_block(group)]
    if left := groups[_BLOCKS:]:
        instances = count(sum(len(group.keys) for group in left), "instance")
        lines += [Text(), Text(f"and {instances} with other changes; -o diff and -o json print them", style=_FAINT)]
    return lines


def summary(forecast: Forecast) -> list[Text]:
    """What happens in total and for an instance of each group, on one screen."""
    return list(_summary(forecast, forecast.groups()))


def diffs(forecast: Forecast) -> list[Text]:
    """One whole diff for each distinct change; comments say what it is for. `patch` skips the comments."""
    lines: list[Text] = []
    for group in forecast.groups():
        lines.append(Text(f"# {title(group)}: {named(group.keys)}", style=_FAINT))
        for step, is_drift in _all_steps(group):
            remark = f"# {step.verb}{' (drift)' if is_drift else ''}: {_sentence(step)}"
            lines.append(Text(remark, style=_FAINT))
            if found := diff_lines(step):
                lines += [*(Text(line, style="bold") for line in headers(step)), *map(_coloured, found)]
        if group.sample.error:
            lines.append(Text(f"# error: {clean(group.sample.error)}", style="red"))
    lines += [Text(f"# error: {clean(text)}", style="red") for text in forecast.unread]
    return lines


def _all_steps(group: Group) -> Iterator[tuple[PlannedStep, bool]]:
    yield from ((step, False) for step in group.sample.whole)
    yield from ((step, True) for step in group.sample.drift)


def _summary(forecast: Forecast, groups: tuple[Group, ...]) -> Iterator[Text]:
    yield Text(f"Plan: {summary_line(forecast)}", style="bold")
    changed = changed_definitions(forecast)
    for definition in changed[:_DEFINITIONS]:
        yield _head(definition)
        yield from cut_lines(_details(definition), _room(forecast), "lines below")
    if len(changed) > _DEFINITIONS:
        yield Text(f"  and {count(len(changed) - _DEFINITIONS, 'definition')} more", style=_FAINT)
    yield from _table(forecast, groups)
    if drift := forecast.drift_counts():
        drifted = sum(1 for one in forecast.instances if one.drift)
        yield Text(f"Drift, with or without the edit: {tally(drift)} in {count(drifted, 'instance')}", style="cyan")
    if forecast.dry_run != "all":
        yield Text(f"Dry runs: {forecast.dry_run}. The API server has not answered all applies.", style=_FAINT)
    if errors := forecast.errors:
        yield Text(f"{count(len(errors), 'error')}: this is not the whole plan", style="bold red")
        for text in cut_list([cut(clean(text), _LINE) for text in errors], _ERRORS, "errors"):
            yield Text(f"  {text}", style="red")


def cut_lines(lines: list[Text], most: int, what: str) -> list[Text]:
    """At most so many lines, the last of which counts the rest."""
    if len(lines) <= most:
        return lines
    left = len(lines) - most + 1
    return [*lines[: most - 1], Text(f"    and {left:,} more {what}", style=_FAINT)]


def _room(forecast: Forecast) -> int:
    """How many lines of the summary a definition has."""
    return max(1, _DETAILS // max(1, min(_DEFINITIONS, len(changed_definitions(forecast)))))


def _head(one: DefinitionForecast) -> Text:
    sign, colour = (SIGNS[one.verb], _COLOURS[one.verb]) if one.verb else (" ", "")
    crd = verdict(one)
    return Text.assemble(
        (f"{sign} {one.verb or 'unchanged'}", colour),
        (f" {clean(one.name)}", "bold"),
        f" ({clean(one.kind)}, {count(one.instances, 'instance')}), CRD ",
        (crd, "bold red" if crd == "breaking" else ""),
    )


def _details(one: DefinitionForecast) -> list[Text]:
    """Why, the misfits, the breaking changes, the compatible ones."""
    found = [Text(f"    {cut(clean(one.why), _SENTENCE)}")] if one.why else []
    misfits = [cut(clean(line), _SENTENCE) for line in misfit_lines(one)]
    shown = cut_list(misfits, _MISFITS, "stored instances")
    found += [Text(f"    does not fit: {line}", style="red") for line in shown]
    for step in sorted(one.schema, key=lambda step: not step.breaking):
        word, colour = ("breaking", "red") if step.breaking else ("compatible", "")
        found.append(Text(f"    {word}: {cut(clean(f'{step.path}: {step.text}'), _SENTENCE)}", style=colour))
    return found


def _rest_of(one: DefinitionForecast, shown: int) -> list[Text]:
    """The definition again, if the summary does not say all of it."""
    details = _details(one)
    return [Text(), _head(one), *details] if len(details) > shown else []


def _table(forecast: Forecast, groups: tuple[Group, ...]) -> Iterator[Text]:
    """One row for each of the largest groups with the steps of one of its instances, then the total."""
    counts = forecast.counts()
    verbs = [verb for verb in Verb if counts[verb]]
    concerned = [group for group in groups if group.sample.whole]
    if not verbs:
        return
    shown = concerned[:_GROUPS]
    rows = [(f"{len(g.keys):,} × {cut(named(g.keys, 1), 60)}", counted(g.sample.whole)) for g in shown]
    if left := concerned[_GROUPS:]:
        rows.append((f"and {count(sum(len(group.keys) for group in left), 'instance')} with other changes", Counter()))
    rows.append(("total", counts))
    width = max(len(name) for name, _ in rows)
    columns = {verb: max(len(verb), len(f"{counts[verb]:,}")) + 2 for verb in verbs}
    yield Text(" " * (width + 2) + "".join(f"{verb:>{columns[verb]}}" for verb in verbs), style="bold")
    for name, numbers in rows:
        cells = ((_cell(numbers[verb], columns[verb]), _COLOURS[verb]) for verb in verbs)
        yield Text.assemble(f"  {name:<{width}}", *cells)


def _cell(number: int, width: int) -> str:
    return f"{number:>{width},}" if number else " " * width


def _block(group: Group) -> Iterator[Text]:
    yield Text(title(group), style="bold")
    yield Text(f"  {named(group.keys)}")
    sample = group.sample
    for step, left in few(sample.whole):
        yield from _step(step, left)
    if sample.drift:
        yield Text("  drift, with or without the edit:", style="cyan")
        for step, left in few(sample.drift):
            yield from _step(step, left)
    for note in cut_list([cut(clean(note), _SENTENCE) for note in sample.notes], _NOTES, "notes"):
        yield Text(f"  note: {note}", style=_FAINT)
    if sample.error:
        yield Text(f"  error: {cut(clean(sample.error), _SENTENCE)}", style="red")


def _step(step: PlannedStep, left: int) -> Iterator[Text]:
    yield Text.assemble(
        "  ", (f"{SIGNS[step.verb]} {step.verb}", _COLOURS[step.verb]), f" {cut(_sentence(step), _SENTENCE)}"
    )
    if is_worth_reading(step):
        lines = [_coloured(cut(line, _LINE), indent="      ") for line in diff_lines(step)]
        yield from cut_lines(lines, _DIFF_LINES, "lines; -o diff prints them")
    if left:
        yield Text(f"  and {left:,} more {step.verb} of node {clean(step.node)}", style=_FAINT)


def _sentence(step: PlannedStep) -> str:
    return subject(step) + (f": {clean(step.why)}" if step.why else "")


def _coloured(line: str, indent: str = "") -> Text:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return Text(indent + clean(line), style=colours.get(line[:1], ""))
