"""What cel-go 0.31 answered where captures are empty and offsets are beyond the end: a value, or an error."""

from typing import Any, Final

import pytest

from kroasync.cel.env import Env
from kroasync.cel.errors import EvalError
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.values import Optional

ENV: Final = Env(libraries=ALL_LIBRARIES)
ERROR: Final = object()

ANSWERS: Final[list[tuple[str, Any]]] = [
    # A group that is empty is left out, a match that is empty is not.
    ("regex.extractAll('key=, key=', 'key=([^,]*)')", []),
    ("regex.extractAll('key=, key=a', 'key=([^,]*)')", ["a"]),
    ("regex.extractAll('ab', '(x)?')", []),
    ("regex.extractAll('aba', 'b|(a)')", ["a", "a"]),
    ("regex.extractAll('ab', 'x*')", ["", "", ""]),
    ("regex.extractAll('', '')", [""]),
    ("regex.extractAll('', '()')", []),
    ("regex.extractAll('ta', '(?P<n>t)?a')", ["t"]),
    ("regex.extract('key=', 'key=([^,]*)').hasValue()", False),
    ("regex.extract('a', '(x)?a').hasValue()", False),
    ("regex.extract('', '()').hasValue()", False),
    ("regex.extract('a', 'x*').value()", ""),
    ("regex.extract('', '').value()", ""),
    ("regex.replace('key=, key=', 'key=([^,]*)', '[\\\\1]')", "[], []"),
    ("regex.replace('ab', '(x)?', '-')", "-a-b-"),
    ("regex.replace('ab', '(x)?', '-', 1)", "-ab"),
    ("'ab'.findAll('x*')", ["", "", ""]),
    ("'ab'.findAll('x*', 0)", []),
    ("'ab'.find('x*')", ""),
    # A replacement is read where something is replaced.
    ("regex.replace('b', 'a', '\\\\')", "b"),
    ("regex.replace('b', 'a', '\\\\9')", "b"),
    ("regex.replace('a', 'a', '\\\\')", ERROR),
    ("regex.replace('a', 'a', '\\\\9')", ERROR),
    ("regex.replace('a', 'a', '\\\\9', 0)", "a"),
    ("regex.replace('a', '[', 'b', 0)", "a"),
    ("regex.replace('a', '[', 'b')", ERROR),
    # Offsets beyond the end.
    ("'tacocat'.lastIndexOf('', 7)", 7),
    ("'tacocat'.lastIndexOf('', 8)", 7),
    ("'tacocat'.lastIndexOf('', 30)", 7),
    ("'tacocat'.lastIndexOf('', 9223372036854775807)", 7),
    ("'tacocat'.lastIndexOf('', -1)", ERROR),
    ("''.lastIndexOf('', 1)", 0),
    ("'ta©o©αT'.lastIndexOf('', 30)", 7),
    ("'tacocat'.lastIndexOf('t', 6)", 6),
    ("'tacocat'.lastIndexOf('t', 7)", -1),
    ("'tacocat'.lastIndexOf('cat', 6)", 4),
    ("'tacocat'.lastIndexOf('tacocats', 3)", -1),
    ("'tacocat'.indexOf('', 7)", 7),
    ("'tacocat'.indexOf('', 30)", 7),
    ("'tacocat'.indexOf('t', 30)", -1),
    ("'tacocat'.indexOf('t', -1)", ERROR),
    ("'tacocat'.charAt(7)", ""),
    ("'tacocat'.charAt(8)", ERROR),
    ("'tacocat'.substring(7)", ""),
    ("'tacocat'.substring(8)", ERROR),
    ("'tacocat'.substring(7, 7)", ""),
    ("'tacocat'.substring(0, 8)", ERROR),
    ("'tacocat'.split('', 30)", ["t", "a", "c", "o", "c", "a", "t"]),
    ("''.split('')", []),
    ("''.split(',')", [""]),
    ("'tacocat'.replace('', '-', 30)", "-t-a-c-o-c-a-t-"),
    ("'tacocat'.replace('', '-', 8)", "-t-a-c-o-c-a-t-"),
    ("'tacocat'.replace('', '-', 1)", "-tacocat"),
    ("[1, 2].slice(2, 2)", []),
    ("[1, 2].slice(0, 3)", ERROR),
    ("[1, 2].slice(3, 3)", ERROR),
    ("[1, 2][?2].hasValue()", False),
    ("[].first().hasValue()", False),
    ("[].last().hasValue()", False),
]


@pytest.mark.parametrize(("expression", "answer"), ANSWERS)
def test_the_answer_is_that_of_go(expression: str, answer: Any) -> None:
    program = ENV.program(expression)
    if answer is ERROR:
        with pytest.raises(EvalError):
            program.evaluate({})
        return
    found = program.evaluate({})
    assert (found.value if isinstance(found, Optional) else found) == answer
