"""Parses text to a syntax tree with cel-python's grammar. Only this module uses celpy and lark.

The grammar is the file cel.lark of cel-python, extended by EXTENSION (optional syntax, backticks, trailing commas) and
with its terminals replaced where they differ from the specification. Lark turns the grammar into LALR(1) tables. The
tables are package data, because importing Lark and building them takes a quarter of a second. They contain a digest of
the grammar; if the installed cel-python has another grammar, this module builds the tables again.
`python -m kroasync.cel.parse.tables` prints them.

The loop over the tables is our own: it does not recurse, and it makes the nodes in one pass over the characters.
"""

import functools
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from kroasync.cel.errors import Issue, ParseError
from kroasync.cel.parse.builder import TreeBuilder
from kroasync.cel.parse.reductions import REDUCTIONS, Reduction
from kroasync.cel.syntax import MAX_CODE_POINTS, MAX_DEPTH, TOO_DEEP, Ast

EXTENSION: Final = r"""
%override unary       : member | nots member | negs member
nots                  : "!" | nots "!"
negs                  : "-" | negs "-"
%extend member        : member_optdot | member_optindex
member_optdot         : member "." "?" field
member_optindex       : member "[" "?" expr "]"
%override member_dot  : member "." field
field                 : IDENT | ESC_IDENT
%override exprlist    : expr | exprlist "," expr
%override list_lit    : "[" "]" | "[" listinits "]" | "[" listinits "," "]"
listinits             : listinit | listinits "," listinit
listinit              : expr | "?" expr
%override map_lit     : "{" "}" | "{" mapinits "}" | "{" mapinits "," "}"
%override mapinits    : mapinit | mapinits "," mapinit
mapinit               : expr ":" expr | "?" expr ":" expr
%override member_object : member "{" "}" | member "{" fieldinits "}" | member "{" fieldinits "," "}"
%override fieldinits  : fieldinit | fieldinits "," fieldinit
fieldinit             : field ":" expr | "?" field ":" expr
%override literal     : UINT_LIT | FLOAT_LIT | INT_LIT | STRING_LIT | BYTES_LIT | "true" | "false" | "null"
"""

# Terminals with our own patterns. cel-python's string patterns take exponential time on an unterminated string and
# misread raw strings. It accepts `1.` as a double. A sign belongs to a number only if no operand precedes the sign.
TERMINALS: Final = {
    "FLOAT_LIT": r"-?(?:[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)",
    "UINT_LIT": r"(?:0x[0-9a-fA-F]+|[0-9]+)[uU]",
    "INT_LIT": r"-?(?:0x[0-9a-fA-F]+|[0-9]+)",
    "BYTES_LIT": r"[bB](?={quote})(?:{string})",
    "STRING_LIT": r"(?={quote})(?:{string})",
    "ESC_IDENT": r"`[A-Za-z0-9_.\-/ ]+`",
    "IDENT": r"[_a-zA-Z][_a-zA-Z0-9]*",
}
_QUOTE: Final = r"""[rR]?["']"""
_STRING: Final = "|".join(
    rf"[rR]{q * 3}(?s:.)*?{q * 3}|{q * 3}(?:[^\\]|\\(?s:.))*?{q * 3}"
    rf"|[rR]{q}[^{q}\r\n]*{q}|{q}(?:[^{q}\\\r\n]|\\[^\r\n])*{q}"
    for q in ('"', "'")
)
_SKIP: Final = r"(?:[\t\n\f\r ]+|//[^\n]*)+"
# After one of these a minus is an operator, not the sign of a number.
_OPERAND_ENDS: Final = frozenset(
    (
        *(")", "]", "}", "IDENT", "ESC_IDENT", "true", "false", "null"),
        *("INT_LIT", "UINT_LIT", "FLOAT_LIT", "STRING_LIT", "BYTES_LIT"),
    )
)
_END: Final = "$END"


@dataclass(frozen=True, slots=True)
class Tables:
    """LALR(1) tables: `actions[state][terminal]` is the next state, or -(rule + 1) to reduce; 0 accepts.

    A rule is (number of symbols, nonterminal, text such as "unary: nots member").
    """

    start: int
    actions: tuple[dict[str, int], ...]
    gotos: tuple[dict[str, int], ...]
    rules: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The tables, the reduction of each rule (None: take the value of its only symbol), and the pattern of a token."""

    tables: Tables
    build: tuple[tuple[int, str, Reduction | None], ...]
    scan: Callable[[str, int], re.Match[str] | None]
    keywords: frozenset[str]


def parse(text: str, *, max_nodes: int = MAX_CODE_POINTS) -> Ast:
    """The syntax tree of an expression; raises ParseError with every issue that the parser finds.

    Parsing stops with TooLargeError at the first node beyond `max_nodes`.
    """
    if len(text) > MAX_CODE_POINTS:
        message = f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_CODE_POINTS}"
        raise ParseError(text[:100], (Issue(message, (0, 0)),))
    builder = TreeBuilder(text, max_nodes)
    grammar = _grammar()
    root = _run(grammar, text, builder)
    if builder.issues:
        raise ParseError(text, tuple(sorted(builder.issues, key=lambda issue: issue.span)))
    return Ast(source=text, root=root, size=builder.next_id)


def _run(grammar: Grammar, text: str, builder: TreeBuilder) -> Any:
    """Run the tables over the tokens."""
    actions, gotos, rules = grammar.tables.actions, grammar.tables.gotos, grammar.build
    states: list[int] = [grammar.tables.start]
    values: list[Any] = []
    starts: list[int] = []
    ends: list[int] = []
    for kind, start, end in _tokens(grammar, text):
        while True:
            action = actions[states[-1]].get(kind)
            if action is None:
                raise _unexpected(text, start, end)
            if action > 0:
                states.append(action)
                values.append(text[start:end])
                starts.append(start)
                ends.append(end)
                break
            if action == 0:
                return values[0]
            size, symbol, build = rules[-action - 1]
            if build is not None:
                value = build(builder, values[-size:], starts[-size:], ends[-size:])
                if size > 1:
                    end_offset = ends[-1]
                    del values[1 - size :], starts[1 - size :], ends[1 - size :], states[1 - size :]
                    ends[-1] = end_offset
                values[-1] = value
            states[-1] = gotos[states[-2]][symbol]
    raise AssertionError("the end token is always accepted or refused")


def _tokens(grammar: Grammar, text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every token, then of the end token. The kind of punctuation and keywords is their text."""
    scan, keywords = grammar.scan, grammar.keywords
    offset, size, depth = 0, len(text), 0
    previous = ""
    while offset < size:
        match = scan(text, offset)
        if match is None:
            raise _unrecognised(text, offset)
        kind = match.lastgroup
        start, offset = offset, match.end()
        if kind == "SKIP":
            continue
        if kind == "PUNCT":
            kind = match.group()
            if kind in "([{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ParseError(text, (Issue(TOO_DEEP, (start, offset)),))
            elif kind in ")]}":
                depth -= 1
        elif kind == "IDENT":
            word = match.group()
            if word in keywords:
                kind = word
        elif kind in ("INT_LIT", "FLOAT_LIT") and previous in _OPERAND_ENDS and text[start] == "-":
            kind, offset = "-", start + 1
        assert kind is not None
        previous = kind
        yield kind, start, offset
    yield _END, size, size


def _unexpected(text: str, start: int, end: int) -> ParseError:
    found = repr(text[start:end]) if end > start else "'<EOF>'"
    return ParseError(text, (Issue(f"Syntax error: unexpected input {found}", (start, end)),))


def _unrecognised(text: str, offset: int) -> ParseError:
    if re.match(r"""[bB]?[rR]?["']""", text[offset:]):
        message = "Syntax error: string literal is not terminated"
    else:
        message = f"Syntax error: token recognition error at: {text[offset]!r}"
    return ParseError(text, (Issue(message, (offset, offset + 1)),))


@functools.cache
def _grammar() -> Grammar:
    """The grammar, a constant that the first use makes."""
    tables = load_tables(base_grammar())
    terminals = sorted({terminal for row in tables.actions for terminal in row} - {_END})
    punctuation = [t for t in terminals if not t[0].isalpha()]
    keywords = {t for t in terminals if t[0].isalpha() and t.islower()}
    patterns = {
        name: pattern.replace("{quote}", _QUOTE).replace("{string}", _STRING) for name, pattern in TERMINALS.items()
    }
    groups = [f"(?P<SKIP>{_SKIP})", *(f"(?P<{name}>{pattern})" for name, pattern in patterns.items())]
    longest_first = sorted(punctuation, key=len, reverse=True)
    groups.append(f"(?P<PUNCT>{'|'.join(map(re.escape, longest_first))})")
    return Grammar(
        tables=tables,
        build=tuple((size, symbol, _reduction(text, size)) for size, symbol, text in tables.rules),
        scan=re.compile("|".join(groups)).match,
        keywords=frozenset(keywords),
    )


def _reduction(rule: str, size: int) -> Reduction | None:
    reduction = REDUCTIONS.get(rule)
    if reduction is None and (size != 1 or not rule.partition(": ")[2].islower()):
        raise AssertionError(f"no reduction for the rule {rule!r}")
    return reduction


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def base_grammar() -> str:
    """The text of cel-python's grammar."""
    # Find the file without importing celpy, because the import takes a tenth of a second.
    spec = importlib.util.find_spec("celpy")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("cel-python is not installed: its grammar file is missing")
    return _read(spec.submodule_search_locations[0], "cel.lark")


def _digest(base: str) -> str:
    import hashlib

    return hashlib.sha256("\0".join((base, EXTENSION, *TERMINALS)).encode()).hexdigest()


def load_tables(base: str) -> Tables:
    """The shipped tables, or new ones if they were not made from `base`, the grammar of the installed cel-python."""
    import json

    data = json.loads(_read(os.path.dirname(__file__), "grammar.json"))
    if data["digest"] != _digest(base):
        data = build_tables(base)
    return _tables_of(data)


def _tables_of(data: dict[str, Any]) -> Tables:
    names = data["names"]
    return Tables(
        start=data["start"],
        actions=tuple({names[k]: v for k, v in zip(row[::2], row[1::2], strict=True)} for row in data["actions"]),
        gotos=tuple({names[k]: v for k, v in zip(row[::2], row[1::2], strict=True)} for row in data["gotos"]),
        rules=tuple((size, symbol, text) for size, symbol, text in data["rules"]),
    )


def build_tables(base: str | None = None) -> dict[str, Any]:
    """The content of grammar.json, which Lark makes from cel-python's grammar and our extension."""
    from lark import Lark

    base = base_grammar() if base is None else base
    names = re.findall(r"^([a-zA-Z_]+)(?:\.\d+)?\s*:", base, re.M)
    # Lark mangles the names of rules that are not imported by name, and such rules cannot be replaced.
    unused = {
        "MLSTRING_LIT",
        "BOOL_LIT",
        "NULL_LIT",
        "RESERVED",
        "DIGIT",
        "HEXDIGIT",
        "EXPONENT",
        "WHITESPACE",
        "COMMENT",
    }
    imported = ", ".join(name for name in names if name not in unused)
    # Give Lark a distinct placeholder for each terminal, because our own scanner reads the text.
    stand_ins = "\n".join(f'{"%override " if name in names else ""}{name} : "@{name}"' for name in sorted(TERMINALS))
    lark = Lark(
        f"%import cel ({imported})\n{EXTENSION}\n{stand_ins}\n",
        parser="lalr",
        lexer="basic",
        start="expr",
        import_paths=[lambda _base, path: (str(path), base) if str(path).endswith("cel.lark") else _missing(path)],
        maybe_placeholders=False,
    )
    return _dump(lark, _digest(base))


def _missing(path: object) -> tuple[str, str]:
    raise OSError(f"no grammar {path}")


def _dump(lark: Any, digest: str) -> dict[str, Any]:
    """Lark's tables, with the literal text of anonymous terminals instead of Lark's names."""
    table = lark.parser.parser._parse_table
    literals = {
        t.name: t.pattern.value if t.pattern.type == "str" and not t.pattern.value.startswith("@") else t.name
        for t in lark.terminals
    }
    # Number the LALR states from 1, so that a next state is never 0.
    renumber = {state: number for number, state in enumerate(_reachable(table), 1)}
    rules: dict[str, int] = {}
    names: dict[str, int] = {}

    def name(symbol: str) -> int:
        text = literals.get(symbol, symbol)
        return names.setdefault(text, len(names))

    rule_rows: list[list[Any]] = []

    def rule_number(rule: Any) -> int:
        symbols = [literals.get(symbol.name, symbol.name) for symbol in rule.expansion]
        text = f"{rule.origin.name}: {' '.join(symbols)}"
        if text not in rules:
            rules[text] = len(rule_rows)
            rule_rows.append([len(symbols), rule.origin.name, text])
        return rules[text]

    actions: list[list[int]] = [[]]
    gotos: list[list[int]] = [[]]
    end_state = table.end_states[lark.options.start[0]]
    nonterminals = {rule.origin.name for rule in lark.rules} | {"$root"}
    for state in renumber:
        row: list[int] = []
        goto: list[int] = []
        for symbol, (kind, argument) in sorted(table.states[state].items(), key=lambda item: str(item[0])):
            if symbol in nonterminals:
                goto += [name(symbol), renumber[argument]]
            elif str(kind) == "Reduce":
                row += [name(symbol), -(rule_number(argument) + 1)]
            else:
                row += [name(symbol), renumber[argument]]
        if state == end_state:
            row += [name(_END), 0]
        actions.append(row)
        gotos.append(goto)
    return {
        "digest": digest,
        "start": renumber[table.start_states[lark.options.start[0]]],
        "names": list(names),
        "rules": rule_rows,
        "actions": actions,
        "gotos": gotos,
    }


def _reachable(table: Any) -> list[Any]:
    """The states, breadth first from the start state, in a stable order."""
    (start,) = table.start_states.values()
    order = [start]
    seen = {start}
    for state in order:
        for _, (kind, argument) in sorted(table.states[state].items(), key=lambda item: str(item[0])):
            if str(kind) != "Reduce" and argument not in seen:
                seen.add(argument)
                order.append(argument)
    return order
