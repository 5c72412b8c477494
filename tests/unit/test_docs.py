"""The documentation is true: links have targets, commands exist and run, and reasons match the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

import kroasync
from kroasync import settings
from kroasync.cli.main import app
from kroasync.engine import instance_status
from kroasync.engine.owners import Treatment
from kroasync.model import names
from kroasync.model.objects import Obj
from kroasync.model.policies import FORMS, Policies

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "examples/README.md", "charts/kroasync/README.md")),
    ]
)
GENERATED = ("cel.md", "problems.md", "settings.md")
OFFLINE = ("validate", "render", "graph", "generate", "eval")
# The reader writes the greeting of getting-started.md.
FILES_OF_THE_READER = ("greeting.yaml", "first.yaml")


def ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The page without code blocks and code spans."""
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S))


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def commands() -> Iterator[tuple[str, list[str]]]:
    """The page and words of every `kroasync ...` line in a code block, and of every longer code span."""
    for page in PAGES:
        if page.name in GENERATED:
            continue
        text = text_of(page)
        lines = re.findall(r"^(?:    |\$ )?(?:\$ )?(kroasync .*)$", text, re.M)
        spans = re.findall(r"`(kroasync [^`]+)`", text)
        inner = re.findall(r"\$\((kroasync [^)]+)\)", text)
        for line in (*lines, *spans, *inner):
            if not line.startswith("kroasync is") and not line.startswith("kroasync creates"):
                yield str(page.relative_to(ROOT)), shlex.split(line)


COMMANDS = list(commands())


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme_or_a_page_it_links() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        found = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        waiting += [target for target in found if target.suffix == ".md" and target not in seen]
    assert set(PAGES) - seen == set()


def test_commands_were_found() -> None:
    assert {words[1] for _, words in COMMANDS} >= {*OFFLINE, "playground", "run", "tree"}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{p}: {' '.join(w)}" for p, w in COMMANDS])
def test_a_command_of_the_documentation_exists_with_its_options(page: str, words: list[str]) -> None:
    rest = words[1:]
    if rest[0] == "run":
        settings.parse([word for word in rest[1:] if word != "--help"], {})
        return
    command = typer.main.get_command(app)
    context = command.make_context("kroasync", [], resilient_parsing=True)
    while rest and hasattr(command, "get_command"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"{page}: there is no {rest[0]!r}"
        command, rest = found, rest[1:]
        context = command.make_context(rest[0] if rest else "", [], resilient_parsing=True)
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in rest if word.startswith("-") and len(word) > 1}
    assert given - options == set()


@pytest.mark.parametrize(
    ("page", "words"),
    [(p, w) for p, w in COMMANDS if w[1] in OFFLINE and len(w) > 2 and not set(w) & set(FILES_OF_THE_READER)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_offline_command_of_the_documentation_runs(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    assert done.stdout


def test_the_greeting_is_a_valid_definition_and_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", text_of(ROOT / "docs" / "getting-started.md"), re.M | re.S)
    for name, block in zip(FILES_OF_THE_READER, blocks, strict=True):
        (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["validate", *FILES_OF_THE_READER])
    assert (done.exit_code, done.stderr) == (0, "")
    (message,) = yaml.safe_load_all(CliRunner().invoke(app, ["render", *FILES_OF_THE_READER]).stdout)
    assert message["data"] == {"text": "hello world", "times": "1"}


POLICIES = ROOT / "docs" / "policies.md"
DEFINITIONS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text_of(POLICIES), re.M | re.S)]


@pytest.mark.parametrize("obj", DEFINITIONS, ids=[obj["metadata"]["name"] for obj in DEFINITIONS])
def test_an_example_of_the_policies_is_valid_and_renders(obj: Obj, tmp_path: Path) -> None:
    kind = obj["spec"]["schema"]["kind"]
    instance = {"apiVersion": "kro.run/v1alpha1", "kind": kind, "metadata": {"name": "one"}, "spec": {}}
    files = [str(tmp_path / name) for name in ("definition.yaml", "instance.yaml")]
    for file, content in zip(files, (obj, instance), strict=True):
        Path(file).write_text(yaml.safe_dump(content), encoding="utf-8")
    done = CliRunner().invoke(app, ["validate", "--strict", *files])
    assert (done.exit_code, done.stderr) == (0, "")
    done = CliRunner().invoke(app, ["render", *files])
    assert "error" not in done.stderr
    assert done.exit_code == 0


def test_every_policy_has_its_words_and_an_example() -> None:
    text = text_of(POLICIES)
    rows = {row[0]: row[1] for row in re.findall(r"^\| \[`(\w+)`\]\(#[^|]*\| ([^|]+) \|", text, re.M)}
    assert set(rows) == {*FORMS, "maxPrune", "externalFields"}
    for name, words in FORMS.items():
        assert re.findall(r"`(\w+)`", rows[name]) == sorted(words, key=lambda w: w is not getattr(Policies(), name))
    used = {name for obj in DEFINITIONS for entry in obj["spec"]["resources"] for name in entry.get("policy", ())}
    assert used | {"externalFields"} == set(rows)


def test_every_result_of_the_owners_is_described() -> None:
    section = text_of(POLICIES).partition("## Who manages which field")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z ]+)` \|", section, re.M)) == set(Treatment)


def test_the_instance_of_the_readme_is_the_example() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", text_of(ROOT / "README.md"), re.M | re.S)
    example = yaml.safe_load(text_of(ROOT / "examples" / "webapplication" / "instance.yaml"))
    assert yaml.safe_load(blocks[0]) == example


# docs/instance_status.md


def table_words(heading: str, column: int = 0) -> set[str]:
    """The code spans in a column of the first table below a heading of instance_status.md."""
    text = text_of(ROOT / "docs" / "status.md")
    below = text[text.index(f"{heading}\n") + len(heading) :]
    rows = re.findall(r"^\|.*$", below.split("\n#")[0], re.M)[2:]
    return {word for row in rows for word in re.findall(r"`([A-Za-z]+)`", row.split("|")[column + 1])}


def source(*packages: str) -> str:
    return "".join(
        path.read_text(encoding="utf-8")
        for package in packages
        for path in sorted((ROOT / "kroasync" / package).glob("*.py"))
    )


def test_every_state_and_phase_is_described() -> None:
    text = text_of(ROOT / "docs" / "status.md")
    assert [word for pair in instance_status.PHASES.items() for word in pair if f"`{word}`" not in text] == []


def test_every_condition_of_an_instance_is_described() -> None:
    types = {
        instance_status.PROGRESSING,
        instance_status.DEGRADED,
        instance_status.ERROR,
        instance_status.RECONCILING,
        instance_status.STALLED,
    }
    assert table_words("### Conditions of an instance") == types | instance_status.BUILT_IN


def test_reasons_of_instances_are_those_of_the_code() -> None:
    code = source("engine") + source("model")
    missing = [word for word in table_words("### Reasons on instances") if f'"{word}"' not in code]
    assert missing == []
    used = set(
        re.findall(r'"([A-Z][a-z]+(?:[A-Z][a-z]+)+)"', text_of(ROOT / "kroasync" / "engine" / "instance_status.py"))
    )
    assert used - table_words("### Reasons on instances") - instance_status.BUILT_IN == set()


def test_conditions_and_reasons_of_definitions_are_those_of_the_code() -> None:
    files = ("definitions.py", "crd_stage.py")
    code = "".join(text_of(ROOT / "kroasync" / "controller" / name) for name in files)
    set_there = re.findall(r'StageCondition\(\s*"(\w+)"', code)
    assert table_words("### Conditions of a definition") == {*set_there, "Ready"}
    reasons = table_words("### Conditions of a definition", 1)
    assert [word for word in reasons if f'"{word}"' not in code] == []


def test_events_are_those_of_the_code() -> None:
    code = source("controller")
    written = set(re.findall(r'recorder\.record\([^)]*?reason="(\w+)"', code, re.S))
    written |= set(re.findall(r'\(ChangeKind\.\w+, "(\w+)"\)', code))
    written |= set(re.findall(r'\[\("(Ready)", ', code))
    assert table_words("## Events") == written


def test_names_the_cluster_sees_are_right_wherever_they_are_written() -> None:
    known = {value for value in vars(names).values() if isinstance(value, str) and value.startswith("kro.run/")}
    known |= {"kro.run/v1alpha1"}
    written = {
        word
        for page in PAGES
        if page.name not in GENERATED
        for word in re.findall(r"(?<![./\w>])kro\.run/[a-z][-a-z0-9]*", text_of(page))
    }
    assert written - known == set()


def test_metrics_of_the_operations_page_exist() -> None:
    code = text_of(ROOT / "kroasync" / "metrics.py")
    rows = re.findall(r"^\| `([a-z]+_[a-z_]+)` \|", text_of(ROOT / "docs" / "operations.md"), re.M)
    assert rows
    assert [name for name in rows if f'"{name}"' not in code] == []


def test_no_page_names_a_place_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~])/(?:work|root|home|tmp)/")
    assert [str(page) for page in PAGES if pattern.search(text_of(page))] == []


def test_the_paths_through_the_code_are_those_of_the_code() -> None:
    """Every file that the page names exists, and another file imports it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Two paths through the code")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+(?:/\w+)+\.py)`", section)
    assert len(named) >= 20
    assert [name for name in named if not (ROOT / "kroasync" / name).is_file()] == []
    for name in named:
        # Names that a package re-exports are imported from the package.
        module = f"kroasync.{name.removesuffix('.py').replace('/', '.')}"
        package = module.rpartition(".")[0]
        users = [
            p
            for p in (ROOT / "kroasync").rglob("*.py")
            if module in (text := p.read_text(encoding="utf-8"))
            or f"from {package} import {module.rpartition('.')[2]}" in text
        ]
        assert users, f"nothing imports {name}"


def test_the_words_of_the_code_are_where_the_glossary_says() -> None:
    section = text_of(ROOT / "docs" / "glossary.md").partition("## Words of the code")[2]
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| ")][1:]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row[2])]
    assert len(named) >= len(rows) >= 20
    assert [name for name in named if not is_named(name)] == []
    words = [row[0].removeprefix("| ") for row in rows]
    assert words == sorted(words)


def is_named(name: str) -> bool:
    """Whether `kroasync` has a module of this name, or one that defines its last part."""
    module, _, word = name.rpartition(".")
    whole, home = (ROOT / "kroasync" / f"{path.replace('.', '/')}.py" for path in (name, module))
    defined = rf"^(class|def) {word}\b"
    return whole.is_file() or (home.is_file() and re.search(defined, text_of(home), re.M) is not None)


def test_the_changelog_has_a_section_for_what_is_not_released() -> None:
    text = text_of(ROOT / "docs" / "changelog.md")
    assert re.search(r"^## \[Unreleased\]$", text, re.M)
    released = re.findall(r"^## \[(\d[^\]]*)\]", text, re.M)
    assert not released or released[0] == kroasync.__version__
