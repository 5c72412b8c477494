"""A playground before it runs: names, directories, saved state, the audit policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kroasync.cli.playground import app
from kroasync.playground import (
    AlreadyUpError,
    Binaries,
    NotUpError,
    Playground,
    PlaygroundError,
    default_directory,
)
from kroasync.playground.components import COMPONENTS, PORT_NAMES, CommandInputs, Layout, audit_policy
from kroasync.playground.processes import Identity
from kroasync.playground.state import ComponentRecord, State, read_state, write_state


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "")
    return tmp_path


def state(process: Identity | None = None) -> State:
    ports = {name: 20000 + index for index, name in enumerate(PORT_NAMES)}
    components = {c.name: ComponentRecord(command=("/bin/false",), process=process) for c in COMPONENTS}
    return State(name="demo", admin_token="t", ports=ports, components=components)


def test_directory_is_below_the_users_state(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_directory("demo") == home / ".local" / "state" / "kroasync" / "playground" / "demo"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
    assert default_directory("demo") == home / "elsewhere" / "kroasync" / "playground" / "demo"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "-a", "a-", "a" * 41, "a\n", "a b"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(PlaygroundError, match="is not a valid playground name"):
        default_directory(name)


def test_playground_that_is_not_there(home: Path) -> None:
    with pytest.raises(NotUpError, match="there is no playground named 'demo'"):
        Playground.load("demo")
    with pytest.raises(NotUpError, match="there is no playground in"):
        Playground.load(directory=home / "none")


def test_directory_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PlaygroundError, match="is not an empty directory"):
        Playground.up(directory=tmp_path, binaries=Binaries())
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_second_start_in_one_directory_is_refused(tmp_path: Path) -> None:
    write_state(tmp_path / "state.json", state())
    with pytest.raises(AlreadyUpError, match="playground 'demo' already exists"):
        Playground.up(name="demo", directory=tmp_path, binaries=Binaries())


def test_state_survives_the_file(tmp_path: Path) -> None:
    written = state(Identity(pid=77, started="x/1"))
    write_state(tmp_path / "state.json", written)
    assert read_state(tmp_path / "state.json") == written
    assert read_state(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", json.dumps({"name": "x", "admin_token": "", "ports": 3, "components": {}})],
)
def test_file_that_is_no_state_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(PlaygroundError, match=r"state\.json is not the state of a playground"):
        read_state(tmp_path / "state.json")


@pytest.mark.parametrize("pid", [0, -1, 1, "7", None])
def test_pid_that_would_signal_others_is_no_state(tmp_path: Path, pid: object) -> None:
    file = tmp_path / "state.json"
    write_state(file, state(Identity(pid=77, started="x")))
    file.write_text(file.read_text().replace('"pid": 77', f'"pid": {json.dumps(pid)}'))
    with pytest.raises(PlaygroundError, match="is not the state of a playground"):
        read_state(file)


def test_left_behind_playground_is_reported_and_removed(tmp_path: Path) -> None:
    """After a reboot the state names processes that are gone."""
    directory = tmp_path / "data"
    (directory / "logs").mkdir(parents=True)
    (directory / "logs" / "etcd.log").write_text("one\ntwo\n")
    write_state(directory / "state.json", state(Identity(pid=2**22 + 1, started="another boot/1")))
    left = Playground.load(directory=directory)
    assert {status.state for status in left.status()} == {"crashed"}
    assert left.status()[0].log_tail == "one\ntwo"
    with pytest.raises(PlaygroundError, match="etcd is not running"):
        left.pause("etcd")
    left.down()
    assert list(tmp_path.iterdir()) == []
    left.down()  # nothing more to do
    with pytest.raises(NotUpError):
        left.status()


def test_audit_policy_names_users_or_leaves_the_control_plane_out() -> None:
    chosen = json.loads(audit_policy(["system:serviceaccount:kro:kro"]))
    assert chosen["rules"] == [
        {"level": "Metadata", "users": ["system:serviceaccount:kro:kro"]},
        {"level": "None"},
    ]
    everyone = json.loads(audit_policy([]))
    assert everyone["rules"][1] == {"level": "Metadata"}
    assert {c.user for c in COMPONENTS if c.user} <= set(everyone["rules"][0]["users"])


def test_everything_listens_on_loopback_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for component in COMPONENTS:
        (tmp_path / component.name).write_text("")
        (tmp_path / component.name).chmod(0o755)
    (tmp_path / "kwok-data").mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    ports = {name: 20000 + index for index, name in enumerate(PORT_NAMES)}
    plan = CommandInputs(layout=Layout(tmp_path), ports=ports, binaries=Binaries(), audited=False)
    for component in COMPONENTS:
        program, *arguments = component.command(plan)
        assert program == str(tmp_path / component.name)
        port = str(ports[component.name])
        listens = [
            f"--bind-address=127.0.0.1 --secure-port={port}",
            f"--listen-client-urls=http://127.0.0.1:{port}",
            f"--server-address=127.0.0.1:{port}",
        ]
        text = " ".join(a for a in arguments if not a.startswith(("--advertise-addr", "--endpoint-rec")))
        assert any(listen in text for listen in listens)


@pytest.mark.parametrize("command", ["down", "status", "kubeconfig"])
def test_commands_for_a_missing_playground_fail_in_one_line(home: Path, command: str) -> None:
    done = CliRunner().invoke(app, [command, "--name", "demo"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: there is no playground named 'demo'\n"


def test_clean_says_how_much_it_frees(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    folder = home / "kroasync" / "playground"
    (folder / "etcd-v1").mkdir(parents=True)
    (folder / "etcd-v1" / "etcd").write_bytes(b"x" * 2500)
    done = CliRunner().invoke(app, ["clean"])
    assert (done.exit_code, done.stdout) == (0, f"removed 2.5 kB of built programs from {folder}\n")
    assert "--go-cache" in done.stderr
    assert not folder.exists()
    assert CliRunner().invoke(app, ["clean"]).stdout == f"removed 0 bytes of built programs from {folder}\n"
