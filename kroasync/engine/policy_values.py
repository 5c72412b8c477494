"""The policies that hold for a node in a pass: the author's words, or the values of expressions over the instance.

An expression that yields no known value means the safest policy (`model.policies.SAFEST`), and the node says so.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from kroasync.cel import CelError
from kroasync.engine.scope import Compiled, Scope
from kroasync.model.policies import FORMS, SAFEST, Policies, one_of

_SAFE: Final = asdict(SAFEST)


def resolved(fixed: Policies, computed: Mapping[str, Compiled], scope: Scope) -> tuple[Policies, tuple[str, ...]]:
    """The policies of a node, and a text about each expression that yields none.

    `fixed` are the policies without the computed ones, `computed` the expressions by the names of `FORMS`.
    """
    if not computed:
        return fixed, ()
    found: dict[str, object] = {}
    faults: list[str] = []
    for name, expression in computed.items():
        values = FORMS[name]
        try:
            value = scope.json(expression)
            found[name] = values(value)
        except CelError as error:
            faults.append(f"policy.{name}: {expression.failure_text(error)}; {_meaning(name)}")
        except (ValueError, TypeError):
            shown = "a value that is withheld" if expression.secret else _shown(value)
            faults.append(f"policy.{name}: expected {one_of(values)}, got {shown}; {_meaning(name)}")
        found.setdefault(name, _SAFE[name])
    return replace(fixed, **found), tuple(faults)  # type: ignore[arg-type]


def _meaning(name: str) -> str:
    return f"{_SAFE[name]} holds until it is known"


def _shown(value: object) -> str:
    return f'"{value[:80]}"' if isinstance(value, str) else type(value).__name__
