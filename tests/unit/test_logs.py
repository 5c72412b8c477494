"""Log lines: form, level, fields, and forbidden content."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from kroasync import logs

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """The stream of a logging setup; the root logger is restored at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    chatty = {name: logging.getLogger(name).level for name in ("asyncio", "aiohttp")}
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in chatty.items():
        logging.getLogger(name).setLevel(value)


def parsed(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_lines_have_zaps_names(out: io.StringIO) -> None:
    logs.setup(devel=False, stream=out)
    logging.getLogger("rgd-controller").info("done %d", 3, extra={"took_ms": 5, "level": "hidden"})
    (line,) = parsed(out)
    ts = line.pop("ts")
    assert len(ts) == len("2026-01-01T00:00:00Z")
    assert ts.endswith("Z")
    assert line == {"level": "info", "logger": "rgd-controller", "msg": "done 3", "took_ms": 5}


def test_console_lines_are_for_people(out: io.StringIO) -> None:
    logs.setup(devel=True, stream=out)
    logging.getLogger("setup").debug("starting", extra={"a": [1, "x"]})
    _, *rest = out.getvalue().rstrip("\n").split("\t")
    assert rest == ["DEBUG", "setup", "starting", '{"a":[1,"x"]}']


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"devel": False}, ["info", "error"]),
        ({"devel": True, "encoder": "json"}, ["debug", "info", "error"]),
        ({"devel": False, "level": "debug"}, ["debug", "info", "error"]),
        ({"devel": True, "encoder": "json", "level": "error"}, ["error"]),
        ({"devel": False, "level": "1"}, ["debug", "info", "error"]),
        ({"devel": False, "level": "3"}, ["debug", "debug", "info", "error"]),
        ({"devel": False, "level": "panic"}, []),
    ],
)
def test_levels(out: io.StringIO, options: dict[str, Any], seen: list[str]) -> None:
    logs.setup(**options, stream=out)
    log = logging.getLogger("x")
    log.log(logs.level_of("3"), "trace")
    log.debug("debug")
    log.info("info")
    log.error("error")
    assert [line["level"] for line in parsed(out)] == seen


def test_libraries_do_not_chat(out: io.StringIO) -> None:
    logs.setup(devel=True, stream=out)
    logging.getLogger("asyncio").debug("Using selector")
    assert out.getvalue() == ""


def test_the_key_is_on_every_line_of_a_pass(out: io.StringIO) -> None:
    logs.setup(devel=False, stream=out)
    token = logs.reconcile_key.set("WebApp default/shop")
    logging.getLogger("x").info("one")
    logs.reconcile_key.reset(token)
    logging.getLogger("x").info("two")
    assert [line.get("key") for line in parsed(out)] == ["WebApp default/shop", None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"token {JWT}.", "token [redacted]."),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic [redacted]"),
        ("the bearer of news", "the bearer of news"),
        ("a basic example", "a basic example"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_credentials_are_masked(text: str, expected: str) -> None:
    assert logs.redact(text) == expected


@pytest.mark.parametrize("encoder", ["json", "console"])
def test_no_way_into_the_log_for_secrets(out: io.StringIO, encoder: str) -> None:
    logs.setup(devel=False, encoder=encoder, stream=out)
    log = logging.getLogger("x")
    secret = {"kind": "Secret", "data": {"password": "aHVudGVyMg=="}, "stringData": {"p": "hunter2"}}
    log.info("got %s", JWT, extra={"obj": secret, "token": "hunter2", "headers": ["Bearer hunter2hunter2"]})
    try:
        raise ValueError(f"refused {JWT}")
    except ValueError:
        log.exception("failed")
    text = out.getvalue()
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
    assert "eyJhbGci" not in text
    assert "ValueError: refused [redacted]" in text


def test_one_event_is_one_line(out: io.StringIO) -> None:
    """The content of an object must not forge log lines."""
    logs.setup(devel=False, encoder="console", stream=out)
    logging.getLogger("x").info("name %s", "a\n2026 ERROR forged\r", extra={"f": "b\nc"})
    assert out.getvalue().count("\n") == 1


def test_exceptions_and_grave_lines_carry_their_place(out: io.StringIO) -> None:
    logs.setup(devel=False, stacktrace_level="warn", stream=out)
    log = logging.getLogger("x")
    log.info("fine")
    log.warning("hm")
    try:
        raise RuntimeError("bug")
    except RuntimeError:
        log.exception("failed")
    fine, warned, failed = parsed(out)
    assert "stacktrace" not in fine
    assert warned["stacktrace"].startswith("test_logs.py:")
    assert failed["stacktrace"].startswith("Traceback")
    assert failed["stacktrace"].endswith("RuntimeError: bug")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("rfc3339", "2026-01-02T03:04:05Z"),
        ("rfc3339nano", "2026-01-02T03:04:05.500000Z"),
        ("iso8601", "2026-01-02T03:04:05.500Z"),
        ("epoch", 1767323045.5),
        ("millis", 1767323045500.0),
        ("nano", 1767323045500000000),
    ],
)
def test_times(encoding: str, expected: Any) -> None:
    record = logging.makeLogRecord({"msg": "x", "levelno": 20, "created": 1767323045.5})
    line = logs.JsonFormatter(time_encoding=encoding, stack_from=40).format(record)
    assert orjson.loads(line)["ts"] == expected


def test_long_lines_and_odd_fields_do_not_break_a_line(out: io.StringIO) -> None:
    logs.setup(devel=False, stream=out)
    logging.getLogger("x").info("y" * 100_000, extra={"odd": object(), "bad": "\ud800", "big": 2**70})
    (line,) = parsed(out)
    assert len(line["msg"]) == 32 * 1024
    assert line["odd"].startswith("<object")
