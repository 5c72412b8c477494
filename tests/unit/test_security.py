"""Expressions and templates access only their data: no Python, no file, no network, no unbounded time."""

import ast
import contextlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kroasync.cel import NONE, CelError, Env
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.types import DYN
from kroasync.model.manifests import load

ROOT = Path(__file__).parents[2]
PURE = ("cel", "model", "schema", "graph", "engine")
# Modules of the standard library, and others, that can only compute.
HARMLESS = frozenset(
    {
        *("abc", "base64", "binascii", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses"),
        *(
            "datetime",
            "decimal",
            "difflib",
            "enum",
            "fractions",
            "functools",
            "gzip",
            "hashlib",
            "heapq",
            "hmac",
            "ipaddress",
        ),
        *(
            "itertools",
            "json",
            "math",
            "operator",
            "re",
            "string",
            "struct",
            "textwrap",
            "types",
            "typing",
            "typing_extensions",
            "urllib.parse",
        ),
        *("unicodedata", "__future__"),
        *("lark", "networkx", "orjson", "re2", "semver", "yaml"),
    }
)
# Modules and builtins that can do harm, with the files that may use them, and the reason.
EXCUSED = {
    # The text of the grammar, a file of an installed package.
    ("cel/parse/parser.py", "os"),
    ("cel/parse/parser.py", "importlib.util"),
    ("cel/parse/parser.py", "open"),
    # The schemas of Kubernetes' kinds, files of this package.
    ("schema/catalog.py", "importlib"),
    # Time zones of timestamps: zoneinfo rejects names that leave its folder.
    ("cel/run/times.py", "zoneinfo"),
    # Generators of the documentation and of the parser's tables, which are separate programs.
    ("cel/function_pages.py", "sys"),
    ("cel/parse/tables.py", "sys"),
}
# Builtins that run text as code, or read and write by a name that may be data.
DANGEROUS = frozenset(
    {
        *("__import__", "breakpoint", "compile", "delattr", "eval", "exec", "globals", "input", "locals", "memoryview"),
        *("open", "setattr", "vars"),
    }
)


def uses(path: Path) -> Iterator[str]:
    """The modules and dangerous builtins a source file uses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
        elif isinstance(node, ast.Name) and node.id in DANGEROUS:
            yield node.id


def test_the_pure_packages_use_nothing_that_reaches_out() -> None:
    package = ROOT / "kroasync"
    found = {
        (path.relative_to(package).as_posix(), used)
        for name in PURE
        for path in sorted((package / name).rglob("*.py"))
        for used in uses(path)
        if not used.startswith("kroasync") and used not in HARMLESS
    }
    assert found == EXCUSED


def test_generators_are_imported_by_nothing() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "kroasync").rglob("*.py")}
    for module in ("kroasync.cel.function_pages", "kroasync.cel.parse.tables"):
        name = module.rpartition(".")[2]
        assert [p for p, text in sources.items() if f"import {name}" in text or f"from {module} import" in text] == []


def test_attributes_by_name_are_of_constants() -> None:
    """`getattr` with a name that is not a literal occurs only after the name was compared with a fixed list."""
    found = []
    for package in PURE:
        for path in sorted((ROOT / "kroasync" / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(), *_]):
                        pass
                    case ast.Call(func=ast.Name(id="getattr")):
                        found.append((path.relative_to(ROOT).as_posix(), ast.unparse(node)))
    assert found == [
        ("kroasync/cel/lib/std.py", "getattr(times.civil(timestamp, zone, budget), part)"),
        ("kroasync/cel/run/operations.py", "getattr(operand, field)"),
        ("kroasync/cel/run/operations.py", "getattr(operand, field)"),
    ]


# Expressions

VALUES: dict[str, Any] = {
    "text": "t",
    "number": 1,
    "real": 1.5,
    "truth": True,
    "bytes": b"b",
    "list": [1, 2],
    "map": {"k": "v"},
    "nothing": None,
}
ENV = Env(libraries=ALL_LIBRARIES, variables=dict.fromkeys(VALUES, DYN))
# Values that functions make.
MADE = (
    "timestamp('2026-01-01T00:00:00Z')",
    "duration('1s')",
    "optional.of('a')",
    "optional.none()",
    "type(1)",
    "1u",
    "quantity('1Gi')",
    "url('https://example.com/a')",
    "ip('10.0.0.1')",
    "cidr('10.0.0.0/8')",
    "semver('1.2.3')",
    "format.dns1123Label()",
)
ATTACKS = (
    "__import__('os')",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "os.system('id')",
    "globals()",
    "getattr(text, '__class__')",
    "text.__class__.__mro__",
    "text.__init__.__globals__",
    "map.__class__",
    "map['__class__']",
    "list['__class__']",
    "text['upper']",
    "text[0]",
    "type(text).__subclasses__()",
    "text.format_map(map)",
    "'{0.__class__}'.format([text]) + text.__class__",
    "'%(a)s'.format([text])",
    "'%s'.format([text.__class__])",
    "map.get('k')",
    "map.pop('k')",
    "list.append(3)",
    "list.__len__()",
    "[].clear()",
    "bytes.decode()",
    "json.loads('1')",
    "lambda: 1",
    "text.__str__",
    "timestamp('2026-01-01T00:00:00Z').getHours('../../../../etc/passwd')",
    "timestamp('2026-01-01T00:00:00Z').getHours('/etc/passwd')",
    "timestamp('2026-01-01T00:00:00Z').getHours('a\\x00b')",
)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_errors_of_the_expression(text: str, check: bool) -> None:
    with pytest.raises(CelError):
        ENV.program(text, check=check).evaluate(VALUES)


@pytest.mark.parametrize("value", [*VALUES, *MADE])
def test_no_attribute_of_python_can_be_read_or_called(value: str) -> None:
    """For each value, every attribute of its Python object, and of common ones, that is not a declared function.

    The checker does not run first: the evaluation itself must prevent the access.
    """
    made = ENV.program(value).evaluate(VALUES)
    names = {name for kind in (made, type(made), "", [], {}, b"", 1, 1.5) for name in dir(kind)}
    declared = {name.rpartition(".")[2] for name in ENV.functions}
    reached = []
    for name in sorted(names - declared):
        for text in (f"({value}).{name}", f"({value}).{name}()", f"({value}).{name}(text)", f"({value})['{name}']"):
            with contextlib.suppress(CelError):
                # A field that an optional does not have is an optional without a value.
                if ENV.program(text, check=False).evaluate(VALUES) is not NONE:
                    reached.append(text)
    assert reached == []


def test_dunder_names_of_data_are_data() -> None:
    data = {"map": {"__class__": "a", "__dict__": {"__init__": "b"}}}
    env = Env(variables={"map": DYN})
    assert env.program("map.__class__ + map.__dict__['__init__']", check=False).evaluate(data) == "ab"


@pytest.mark.parametrize(
    "text",
    [
        '\'"); __import__("os").abort(); ("\'',
        "'\\'); raise SystemExit #'",
        "'\\n__import__(\\'os\\').abort()\\n'",
        "{'a\\\"); raise SystemExit #': 1}",
        "'${schema.spec.x}'",
        "'#{1}' + '{{1}}' + '%s'",
    ],
)
def test_literals_are_values_whatever_is_in_them(text: str) -> None:
    value = ENV.program(text).evaluate({})
    assert ENV.program(text, check=False).evaluate({}) == value
    assert isinstance(value, str | dict)


@pytest.mark.parametrize(
    "text",
    [
        # Linear time, whatever the pattern and the text.
        "('a' + text).matches('^(a+)+$')",
        "text.matches('(a|aa)+b')",
        "text.matches('(.*)(.*)(.*)(.*)(.*)(.*)x')",
        "text.findAll('(a*)*b')",
        "regex.replace(text, '(a?){50}a{50}c', 'x')",
    ],
)
def test_patterns_take_linear_time(text: str) -> None:
    env = Env(libraries=ALL_LIBRARIES, variables={"text": DYN})
    program = env.program(text)
    began = time.process_time()
    with contextlib.suppress(CelError):
        program.evaluate({"text": "a" * 20_000 + "!"})
    assert time.process_time() - began < 2


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?<=a)b", r"(a)\\1", "((a{1000}){1000}){1000}", "(?P>a)"])
def test_patterns_that_could_not_are_refused(pattern: str) -> None:
    with pytest.raises(CelError):
        Env(libraries=ALL_LIBRARIES).program(f"'a'.matches('{pattern}')", check=False).evaluate({})


# Manifests


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['id']",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/object/new:subprocess.Popen [['id']]",
        "!include /etc/passwd",
        "!Ref x",
        "!!binary aGk=",
    ],
)
def test_tags_of_manifests_are_refused(tag: str) -> None:
    (document,) = load(f"kind: X\nspec:\n  a: {tag}\n")
    assert [problem.code for problem in document.problems] == ["yaml-tag"]


def test_text_that_names_files_and_addresses_is_text() -> None:
    (document,) = load("a: file:///etc/passwd\nb: '@/etc/passwd'\nc: $(cat /etc/passwd)\n")
    assert document.obj == {"a": "file:///etc/passwd", "b": "@/etc/passwd", "c": "$(cat /etc/passwd)"}


# The whole package under an audit hook

WATCHED = """
    import sys
    from pathlib import Path

    from kroasync.cel import CelError, Env
    from kroasync.cel.lib import ALL_LIBRARIES
    from kroasync.cli.offline_pass import observed_objects, only_instance, render
    from kroasync.graph.analysis import analyse
    from kroasync.model.manifests import Text

    texts = [Text(path, Path(path).read_text()) for path in sys.argv[1:]]
    seen, watching = set(), False

    def hook(event, args):
        if watching and event != "builtins.id":
            seen.add((event, str(args[0]) if args else ""))

    def everything():
        env = Env(libraries=ALL_LIBRARIES)
        for library in ALL_LIBRARIES:
            for row in (*library.overloads, *library.macros):
                try:
                    env.program(row.example, check=False).evaluate({})
                except CelError:
                    pass
        graph, instance = only_instance(analyse(texts), texts[1].source)
        rendered = render(graph, instance, observed_objects(texts[2:])[0], ())
        assert len(rendered.manifests) > 2 and not rendered.has_errors

    sys.addaudithook(hook)
    everything()
    watching = True
    everything()
    watching = False
    for event, what in sorted(seen):
        print(event, what)
"""


def test_the_interpreter_sees_only_the_schemas_being_read_while_expressions_and_templates_run() -> None:
    """Every example of every function, and a definition with its instance, under an audit hook.

    The hook sees every file, socket, process and import, and every text that runs as code.
    """
    folder = ROOT / "examples" / "webapplication"
    files = [str(folder / name) for name in ("resourcegroup.yaml", "instance.yaml", "observed.yaml")]
    script = textwrap.dedent(WATCHED)
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
    schemas = f"open {ROOT / 'kroasync' / 'schema' / 'data'}/"
    assert [line for line in done.stdout.splitlines() if not line.startswith(schemas)] == []
