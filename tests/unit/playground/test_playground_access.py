"""Tokens, kubeconfigs and free ports."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path

import pytest

from kroasync.playground.access import User, kubeconfig, request, write_private
from kroasync.playground.plane_errors import PlaygroundError
from kroasync.playground.ports import CANDIDATES, free_ports


def test_kubeconfig_has_address_certificate_and_token_and_skips_no_check() -> None:
    text = kubeconfig(server="https://127.0.0.1:20001", certificate=b"PEM", token="s3cret", context="here")
    content = json.loads(text)
    assert content["clusters"] == [
        {
            "name": "here",
            "cluster": {
                "server": "https://127.0.0.1:20001",
                "certificate-authority-data": base64.b64encode(b"PEM").decode(),
            },
        }
    ]
    assert content["users"] == [{"name": "here", "user": {"token": "s3cret"}}]
    assert content["contexts"] == [{"name": "here", "context": {"cluster": "here", "user": "here"}}]
    assert content["current-context"] == "here"
    assert "insecure" not in text


def test_row_of_the_token_file() -> None:
    assert User(name="admin", token="t", groups=("a", "b")).row == 't,admin,admin,"a,b"\n'


def test_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("old")
    write_private(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_ports_are_free_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert all(port in CANDIDATES for port in ports)
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_taken_port_is_passed_over() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        other = free_ports(1)[0]
        assert free_ports(1, candidates=[taken, other]) == [other]
        with pytest.raises(PlaygroundError, match=r"expected 1 free TCP ports .*, found 0"):
            free_ports(1, candidates=[taken])


def test_request_to_nobody_is_an_os_error() -> None:
    with pytest.raises(OSError, match="refused"):
        request(f"http://127.0.0.1:{free_ports(1)[0]}/readyz")
