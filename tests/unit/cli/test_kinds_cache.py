"""Parsed CRDs and definitions are kept between calls, and a damaged, foreign or missing cache changes no result."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from kroasync.cli.kinds_cache import cache_folder, load_kinds
from kroasync.model.manifests import Text

CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}}
DEFINITION = {"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGroup", "metadata": {"name": "b"}, "spec": {}}
TEXT = Text("crds/a.yaml", "\n---\n".join(orjson.dumps(obj).decode() for obj in (CRD, {"kind": "Other"}, DEFINITION)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = cache_folder()
    assert found == tmp_path / "kroasync" / "kinds"
    return found


def loaded(text: Text = TEXT) -> list[tuple[object, str, int]]:
    (kinds,) = load_kinds([text])
    assert not kinds.only_crds
    return [(document.obj, document.source, document.line) for document in kinds.documents]


EXPECTED = [(CRD, "crds/a.yaml", 1), (DEFINITION, "crds/a.yaml", 5)]


def test_what_is_kept_is_what_was_read(folder: Path) -> None:
    assert loaded() == EXPECTED
    (entry,) = folder.iterdir()
    assert loaded() == EXPECTED
    assert loaded(Text("elsewhere.yaml", TEXT.text)) == [(obj, "elsewhere.yaml", line) for obj, _, line in EXPECTED]
    assert list(folder.iterdir()) == [entry]


def test_an_entry_is_used_instead_of_the_text(folder: Path) -> None:
    loaded()
    (entry,) = folder.iterdir()
    content = orjson.dumps((False, [(7, {"kind": "CustomResourceDefinition"})]))
    entry.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert loaded() == [({"kind": "CustomResourceDefinition"}, "crds/a.yaml", 7)]


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff" * 100, b"0" * 64 + b"\n[]"])
def test_a_damaged_entry_is_written_anew(folder: Path, damage: bytes) -> None:
    loaded()
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    for content in (damage, whole[:-1], whole + b" "):
        entry.write_bytes(content)
        assert loaded() == EXPECTED
        assert entry.read_bytes() == whole


def test_another_text_has_another_entry(folder: Path) -> None:
    loaded()
    changed = Text(TEXT.source, TEXT.text.replace('"name":"a"', '"name":"c"'))
    assert loaded(changed)[0][0] == {**CRD, "metadata": {"name": "c"}}
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "text",
    ["a: [", "kind: CustomResourceDefinition\nkind: CustomResourceDefinition", "a: \udcff", "kind: {{ .Values.kind }}"],
)
def test_a_text_with_problems_is_not_kept(folder: Path, text: str) -> None:
    problems = [document.problems for document in load_kinds([Text("a", text)])[0].documents]
    assert problems[0]
    assert [document.problems for document in load_kinds([Text("a", text)])[0].documents] == problems
    assert not folder.exists()


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert loaded() == loaded() == EXPECTED
    assert (tmp_path / "file").read_text() == ""


def test_many_at_once_share_the_folder(folder: Path) -> None:
    texts = [Text(f"{n}.yaml", f"{TEXT.text}\n---\n{{kind: CustomResourceDefinition, n: {n}}}") for n in range(20)]

    def load(_: int) -> list[object]:
        return [document.obj for kinds in load_kinds(texts) for document in kinds.documents]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(load, range(16)))
    assert all(found == results[0] for found in results)
    assert len(results[0]) == 60
    assert len(list(folder.iterdir())) == 20


def test_entries_that_nobody_uses_are_deleted(folder: Path) -> None:
    loaded()
    (entry,) = folder.iterdir()
    left = folder / ".left-by-a-killed-process"
    left.write_text("")
    for path in (entry, left):
        os.utime(path, (0, 0))
    assert loaded() == EXPECTED  # a use is noted
    assert entry.stat().st_mtime > 0
    load_kinds([Text("b", "kind: CustomResourceDefinition")])
    assert entry.exists()
    assert not left.exists()
    os.utime(entry, (0, 0))
    load_kinds([Text("c", "kind: CustomResourceDefinition\nn: 1")])
    assert not entry.exists()


@pytest.mark.parametrize(
    ("text", "only_crds"),
    [
        ("kind: CustomResourceDefinition\n---\nkind: CustomResourceDefinition", True),
        ("kind: List\nitems: [{kind: CustomResourceDefinition}]", True),
        ("kind: CustomResourceDefinition\n---\nkind: Other", False),
        ("kind: CustomResourceDefinition\n---\na: [", False),
        (TEXT.text, False),
        ("", False),
    ],
)
def test_a_text_with_nothing_but_crds_is_known_as_such(text: str, only_crds: bool) -> None:
    for _ in range(2):
        assert [kinds.only_crds for kinds in load_kinds([Text("a", text)])] == [only_crds]
