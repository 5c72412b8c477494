"""Writes log lines to stderr, for people (console) or for collectors (JSON), as kro's `--zap-...` flags say.

Fields in `extra` become part of the line. `reconcile_key` is a context variable: it is set once for each pass, and is
on every line that the pass writes. Credentials and the contents of Secrets are masked, wherever they come from.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson

reconcile_key: ContextVar[str] = ContextVar("reconcile_key", default="")
"""The key of the running pass, for example `WebApp default/shop`."""

_MASK: Final = "[redacted]"
_MASKED_FIELDS: Final = frozenset(
    {"authorization", "data", "password", "secret", "stringdata", "token", "client-key-data"}
)
# Bearer and basic credentials, and JSON web tokens without a scheme.
_CREDENTIAL = re.compile(
    r"(?i:\b(bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
)
_LINE_LIMIT: Final = 32 * 1024
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# zap's names; panic is above error, so it is CRITICAL here.
_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
}
# Libraries that log too much at debug level.
_CHATTY: Final = ("asyncio", "aiohttp", "kubernetes_asyncio", "urllib3")


def setup(
    *,
    devel: bool,
    encoder: str = "",
    level: str = "",
    stacktrace_level: str = "",
    time_encoding: str = "rfc3339",
    stream: TextIO | None = None,
) -> None:
    """Configure the root logger and replace its handlers; an empty text means the default of the mode."""
    chosen = encoder or ("console" if devel else "json")
    stack_from = _LEVELS[stacktrace_level or ("warn" if devel else "error")]
    formatter = (ConsoleFormatter if chosen == "console" else JsonFormatter)(
        time_encoding=time_encoding, stack_from=stack_from
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level_of(level or ("debug" if devel else "info")))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))


def level_of(text: str) -> int:
    """The level of a zap name or verbosity. Verbosity 1 is DEBUG; each further one logs more."""
    return _LEVELS[text] if text in _LEVELS else max(1, logging.DEBUG + 1 - int(text))


def redact(text: str) -> str:
    """The text, with a mask for everything that looks like a credential."""
    return _CREDENTIAL.sub(lambda m: f"{m.group(1)} {_MASK}" if m.group(1) else _MASK, text)


class _Formatter(logging.Formatter):
    def __init__(self, *, time_encoding: str, stack_from: int) -> None:
        super().__init__()
        self._time = _TIMES[time_encoding]
        self._stack_from = stack_from

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = {name: _masked(name, value) for name, value in record.__dict__.items() if name not in _STANDARD}
        key = reconcile_key.get()
        if key:
            fields.setdefault("key", key)
        return fields

    def _stack(self, record: logging.LogRecord) -> str:
        """The traceback of the logged exception; for a severe line without one, the place that wrote the line."""
        if record.exc_info and record.exc_info[0] is not None:
            return redact("".join(traceback.format_exception(*record.exc_info))).rstrip()
        if record.levelno >= self._stack_from:
            return f"{record.pathname.rpartition('/')[2]}:{record.lineno} {record.funcName}"
        return ""

    def _message(self, record: logging.LogRecord) -> str:
        text = redact(record.getMessage())
        return text if len(text) <= _LINE_LIMIT else text[: _LINE_LIMIT - 1] + "…"


class JsonFormatter(_Formatter):
    """One JSON object for each line: `level`, `ts`, `logger`, `msg`, the fields, `stacktrace`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": _name_of(record.levelno),
            "ts": self._time(record.created),
            "logger": record.name,
            "msg": self._message(record),
        }
        # A field never hides the fields that every line has.
        line |= {name: value for name, value in self._fields(record).items() if name not in line}
        stack = self._stack(record)
        if stack:
            line["stacktrace"] = stack
        return _json(line)


class ConsoleFormatter(_Formatter):
    """Time, level, logger, message and the fields as JSON, separated by tabs; a stack follows on separate lines."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [
            str(self._time(record.created)),
            _name_of(record.levelno).upper(),
            record.name,
            # One event is one line, so that the contents of an object cannot forge lines.
            self._message(record).replace("\n", "\\n").replace("\r", "\\r"),
        ]
        fields = self._fields(record)
        if fields:
            parts.append(_json(fields))
        stack = self._stack(record)
        return "\t".join(parts) + (f"\n{stack}" if stack else "")


def _name_of(level: int) -> str:
    return next((name for name in reversed(list(_LEVELS)) if level >= _LEVELS[name]), "debug")


def _masked(name: str, value: Any) -> Any:
    if name.lower() in _MASKED_FIELDS:
        return _MASK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(k): _masked(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", v) for v in value]
    return value


def _json(value: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits and unpaired surrogates must not prevent a line from being written.
        return json.dumps(value, default=_text)


def _text(value: object) -> str:
    return redact(str(value))


def _iso(created: float, timespec: str, zone: str) -> str:
    text = datetime.fromtimestamp(created, UTC).replace(tzinfo=None).isoformat(timespec=timespec)
    return text + zone


_TIMES: Final[Mapping[str, Any]] = {
    "rfc3339": lambda t: _iso(t, "seconds", "Z"),
    "rfc3339nano": lambda t: _iso(t, "microseconds", "Z"),
    "iso8601": lambda t: _iso(t, "milliseconds", "Z"),
    "epoch": lambda t: t,
    "millis": lambda t: t * 1e3,
    "nano": lambda t: int(t * 1e9),
}
