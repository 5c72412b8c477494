"""The words that every format of a forecast uses: counts, names, and what is cut with its count.

Texts of others (the API server, names, values) are printed as what they are: a character that a terminal would obey
becomes its escape.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kroasync.model.objects import Key
from kroasync.planning.forecast import DefinitionForecast, Forecast, Group, PlannedStep, Verb

SIGNS: Final = {
    Verb.CREATE: "+",
    Verb.UPDATE: "~",
    Verb.DELETE: "-",
    Verb.RELEASE: "o",
    Verb.RECREATE: "±",
    Verb.CONFLICT: "!",
    Verb.HELD: "!",
    Verb.REFUSED: "!",
    Verb.UNKNOWN: "?",
}
KNOWN_AFTER_APPLY: Final = "(known after apply)"
_STEPS_OF_ONE_KIND: Final = 3


def clean(text: str) -> str:
    """The text on one line, with escapes for what is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else " " if c == "\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def cut(text: str, most: int) -> str:
    """The text with at most so many characters of it."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def cut_list(texts: Sequence[str], most: int, what: str) -> list[str]:
    """At most so many of the texts, the last of which counts the rest."""
    if len(texts) <= most:
        return list(texts)
    shown = texts[: most - 1]
    return [*shown, f"and {len(texts) - len(shown):,} more {what}"]


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def place(key: Key) -> str:
    return clean(f"{key.namespace}/{key.name}" if key.namespace else key.name)


def named(keys: Sequence[Key], most: int = 3) -> str:
    """A few of the instances by name, and how many there are beside them."""
    if len({key.resource.kind for key in keys}) == 1:
        shown = f"{clean(keys[0].resource.kind)} " + ", ".join(place(key) for key in keys[:most])
    else:
        shown = ", ".join(clean(str(key)) for key in keys[:most])
    return shown if len(keys) <= most else f"{shown} and {len(keys) - most:,} more"


def tally(counts: Counter[Verb]) -> str:
    """`2 create, 1 delete`, in the order of the classes."""
    return ", ".join(f"{counts[verb]:,} {verb}" for verb in Verb if counts[verb])


def title(group: Group) -> str:
    """`212 instances: the same 1 change`."""
    changes, drift = len(group.sample.whole), len(group.sample.drift)
    found = [count(changes, "change")] if changes else []
    found += [f"{count(drift, 'step')} of drift"] if drift else []
    same = "the same " if len(group.keys) > 1 and found else ""
    told = " and ".join(found) if found else "nothing can be told"
    return f"{count(len(group.keys), 'instance')}: {same}{told}"


def subject(step: PlannedStep) -> str:
    """The object of a step, and the node that it is of."""
    node = f"node {clean(step.node)}" if step.node else ""
    if step.key is None:
        return (node or "the instance") + (f" {KNOWN_AFTER_APPLY}" if step.verb is Verb.UNKNOWN else "")
    return f"{clean(step.key.resource.kind)} {place(step.key)}" + (f" ({node})" if node else "")


def few(steps: Iterable[PlannedStep]) -> Iterator[tuple[PlannedStep, int]]:
    """The steps to show, each with the number of steps like it that are not shown after it.

    A collection may have thousands of objects with which the same happens. Steps of one node and class are alike if the
    same fields change.
    """
    same: dict[tuple[Verb, str, tuple[str, ...]], list[PlannedStep]] = {}
    for step in steps:
        same.setdefault((step.verb, step.node, tuple(change.path for change in step.fields)), []).append(step)
    for alike in same.values():
        shown = alike[:_STEPS_OF_ONE_KIND]
        for step in shown:
            yield step, len(alike) - len(shown) if step is shown[-1] else 0


def changed_definitions(forecast: Forecast) -> list[DefinitionForecast]:
    """The definitions of which there is something to say."""
    return [one for one in forecast.definitions if one.verb is not None or one.why or one.schema or one.misfits]


def verdict(one: DefinitionForecast) -> str:
    """What becomes of the CRD."""
    if one.is_breaking:
        return "breaking"
    return "compatible" if one.schema else "unchanged"


def misfit_lines(one: DefinitionForecast) -> list[str]:
    """The stored instances that the new schema refuses."""
    return [f"{misfit.key}: {'; '.join(misfit.problems)}" for misfit in one.misfits]


def summary_line(forecast: Forecast) -> str:
    """What would happen, in one line."""
    definitions = Counter(one.verb for one in forecast.definitions if one.verb is not None)
    found = [f"{tally(definitions)} of {count(len(forecast.definitions), 'definition')}"] if definitions else []
    counts = forecast.counts()
    if counts:
        concerned = sum(1 for one in forecast.instances if one.whole)
        found.append(f"{tally(counts)} in {concerned:,} of {count(len(forecast.instances), 'instance')}")
    looked_at = f"{count(len(forecast.definitions), 'definition')}, {count(len(forecast.instances), 'instance')}"
    return "; ".join(found) if found else f"no change ({looked_at})"
