"""One line for each log record, JSON or for a person, without secrets: for this program's records and its libraries'.

Called by the process's owner, once settings are known. It knows nothing of requests; code logs through `logging` only.
"""

import contextlib
import functools
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any, NamedTuple, TextIO
from urllib.parse import unquote, urlsplit

import orjson
from pydantic import SecretStr

from copilotapi import loop
from copilotapi.redaction import REDACTED, Redactor, names_a_secret
from copilotapi.settings import Settings, SettingsError

_HANDLER_NAME = "copilotapi"
_DEEPEST = 8
_LOOK_SECONDS = 1.0
_REMEMBERED_NAMES = 512
# The same few values come in most lines: routes, models, keys, addresses.
_REMEMBERED_TEXTS = 4096
_REMEMBERED_CHARS = 200
# gunicorn gives these handlers of their own and stops them from propagating (gunicorn/glogging.py).
_TAKEN_OVER = ("gunicorn.error", "gunicorn.access")
# APScheduler tells each run of a job at INFO, and warns of each that the one before, waiting for GitHub, stands in the
# way of; urllib3 tells each connection at DEBUG.
_CHATTY = {"apscheduler": logging.WARNING, "apscheduler.scheduler": logging.ERROR, "urllib3": logging.WARNING}
# Line breaks and terminal controls, and what UTF-8 cannot carry.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# JSON writes C0 controls as escapes by itself.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BARE = re.compile(r"""[^\s"'=]+""")
# What a record has without `extra`; a formatter of another handler leaves the last two.
_STANDARD_ATTRIBUTES = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_HEAD = ("timestamp", "level", "logger", "event")
_TAIL = "exception"
# Nothing in them could be a secret or break a line, and JSON knows them.
_PLAIN = frozenset({float, bool, type(None)})
# Of a record for which nothing was looked up: the attributes that other handlers' formatters may name.
_BLANK = {
    **dict.fromkeys(
        ("exc_info", "exc_text", "stack_info", "thread", "threadName", "process", "processName", "taskName")
    ),
    **dict.fromkeys(("pathname", "filename", "module", "funcName"), ""),
    **dict.fromkeys(("lineno", "msecs", "relativeCreated"), 0),
    "args": (),
}
# Beyond orjson's range.
_PAST_INT64 = 2**63
_TAKEN_NAMES = frozenset({*_HEAD, _TAIL})


def configure_logging(settings: Settings) -> None:
    """Puts the one handler on the root logger. Calling again replaces it.

    SettingsError when LOG_FILE cannot be opened. Later failures of the sink lose lines and raise nothing.
    """
    handler = _handler(settings)
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(_formatter(settings))
    root = logging.getLogger()
    _remove_ours(root)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in _TAKEN_OVER:
        _hand_to_root(logging.getLogger(name))
    # Nothing here reads them, and each costs every record (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name, least in _CHATTY.items():
        logging.getLogger(name).setLevel(logging.NOTSET if settings.log_level == "DEBUG" else max(least, root.level))


def _handler(settings: Settings) -> logging.Handler:
    if settings.log_file is None:
        return _StreamSink(sys.stderr) if sys.stderr is not None else logging.NullHandler()
    try:
        return _FileSink(settings.log_file, encoding="utf-8")
    except OSError as exc:
        raise SettingsError((f"LOG_FILE: cannot be opened: {exc.strerror}",)) from exc


def _formatter(settings: Settings) -> logging.Formatter:
    redactor = Redactor(_secrets(settings))
    if _log_format(settings) == "json":
        return _LineFormatter(_Cleaner(redactor, _UNSAFE_IN_JSON), _as_json)
    return _LineFormatter(_Cleaner(redactor, _UNPRINTABLE), _as_text)


class _LineFormatter(logging.Formatter):
    """A record as named fields, cleaned and written: time, level, logger and event first, a traceback last."""

    def __init__(self, clean: "_Cleaner", write: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self._clean = clean
        self._write = write
        self._utc = _UtcClock()

    def format(self, record: logging.LogRecord) -> str:
        fields = self._clean({**_head(record), **_extras(record), **self._traceback(record)})
        return self._write({"timestamp": self._utc(record.created), **fields})

    def _traceback(self, record: logging.LogRecord) -> dict[str, str]:
        if record.exc_info and record.exc_info[0] is not None:
            return {_TAIL: self.formatException(record.exc_info)}
        return {}


def _head(record: logging.LogRecord) -> dict[str, str]:
    return {"level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of `extra={…}`. One that is named like a field of every line gets an underscore behind it."""
    if isinstance(record, FactRecord):
        return record.facts
    return {
        f"{name}_" if name in _TAKEN_NAMES else name: value
        for name, value in vars(record).items()
        if name not in _STANDARD_ATTRIBUTES
    }


class FactRecord(logging.LogRecord):
    """A record of `facts`, none of which is named like a field of every line. Nothing is looked up for it: not who logs,
    nor which thread; but in a host's process it is a record like any other. For what is logged with each request, by
    Logger.handle.
    """

    def __init__(self, name: str, level: int, event: str, facts: dict[str, Any]) -> None:
        # As `extra` would: other handlers than ours find them there.
        self.__dict__.update(facts)
        if logging.logThreads:
            # Not configured here: their formatters may name whatever a record has.
            super().__init__(name, level, "", 0, event, (), None)
        else:
            self.__dict__.update(
                _BLANK, name=name, levelno=level, levelname=logging.getLevelName(level), msg=event, created=time.time()
            )
        self.facts = facts


class _UtcClock:
    """A time as ISO 8601 tells it. The date is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._date = ""

    def __call__(self, created: float) -> str:
        microseconds = round(created * 1e6)
        second = microseconds // 1_000_000
        if second != self._second:
            self._second, self._date = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._date}.{microseconds % 1_000_000:06d}Z"


def _log_format(settings: Settings) -> str:
    if settings.log_format is not None:
        return settings.log_format
    is_open = settings.log_file is None and sys.stderr is not None and not sys.stderr.closed
    return "console" if is_open and sys.stderr.isatty() else "json"


def _remove_ours(root: logging.Logger) -> None:
    for old in [handler for handler in root.handlers if handler.name == _HANDLER_NAME]:
        root.removeHandler(old)
        with contextlib.suppress(OSError, ValueError):
            old.close()


def _hand_to_root(logger: logging.Logger) -> None:
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def _secrets(settings: Settings) -> Iterator[str]:
    for value in dict(settings).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, SecretStr):
                yield from _spellings(item.get_secret_value())


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    if "://" in secret and (password := urlsplit(secret).password):
        yield password
        yield unquote(password)


class _StreamSink(logging.StreamHandler[TextIO]):
    """Lines of one turn of the loop go out together."""

    _is_due = False

    def flush(self) -> None:
        if not self._is_due:
            self._is_due = True
            loop.soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        with contextlib.suppress(OSError, ValueError):
            super().flush()

    def handleError(self, record: logging.LogRecord) -> None:
        _note_loss(self, record)


class _FileSink(_StreamSink, WatchedFileHandler):
    """Notices once a second at most that its file was moved away: what comes until then is in the moved one."""

    _looked = 0.0

    def reopenIfNeeded(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            super().reopenIfNeeded()

    def emit(self, record: logging.LogRecord) -> None:
        # Reopening a rotated file happens outside the stock handler's own try.
        try:
            super().emit(record)
        except (OSError, ValueError):
            self.handleError(record)


def _note_loss(handler: _StreamSink | _FileSink, record: logging.LogRecord) -> None:
    """In place of logging's own report, which would print the record's arguments unredacted to standard error."""
    error = sys.exc_info()[0]
    if error is None or issubclass(error, OSError) or handler.stream is None:
        return
    note = logging.makeLogRecord(
        {"name": record.name, "levelno": record.levelno, "levelname": record.levelname, "msg": "log_record_unreadable"}
    )
    note.error = error.__name__
    note.where = f"{record.module}:{record.lineno}" if record.lineno else record.name
    with contextlib.suppress(OSError, ValueError):
        handler.stream.write(handler.format(note) + handler.terminator)
        handler.flush()


class _Name(NamedTuple):
    """Of a field, fit to be written, and whether it names a secret."""

    name: str
    is_secret: bool


class _Cleaner:
    """The last word on every field: redacted, then without characters that could break or repaint a line."""

    def __init__(self, redactor: Redactor, unsafe: re.Pattern[str]) -> None:
        self._redactor = redactor
        self._unsafe = unsafe
        self._remembered = functools.lru_cache(maxsize=_REMEMBERED_TEXTS)(self._cleaned)
        self._names: dict[str, _Name] = {}

    def __call__(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for name, value in fields.items():
            shown = self._names.get(name) or self._learnt(name)
            if shown.is_secret:
                cleaned[shown.name] = REDACTED
            elif value.__class__ in _PLAIN or (value.__class__ is int and abs(value) < _PAST_INT64):
                cleaned[shown.name] = value
            elif value.__class__ is str and len(value) <= _REMEMBERED_CHARS:
                cleaned[shown.name] = self._remembered(value)
            else:
                cleaned[shown.name] = self._value(value, _DEEPEST)
        return cleaned

    def _learnt(self, name: str) -> _Name:
        learnt = _Name(self._text(name), names_a_secret(name))
        if len(self._names) < _REMEMBERED_NAMES:
            self._names[name] = learnt
        return learnt

    def _field(self, name: str, value: object, depth: int) -> object:
        return REDACTED if names_a_secret(name) else self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        match value:
            case str():
                return self._text(value)
            case bool() | None:
                return value
            case float():
                return float(value)  # orjson refuses subclasses
            case int() if abs(value) < _PAST_INT64:
                return int(value)
            case Mapping() if depth:
                return {self._text(str(name)): self._field(str(name), item, depth - 1) for name, item in value.items()}
            case list() | tuple() | set() | frozenset() if depth:
                return [self._value(item, depth - 1) for item in value]
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        return self._remembered(text) if len(text) <= _REMEMBERED_CHARS else self._cleaned(text)

    def _cleaned(self, text: str) -> str:
        redacted = self._redactor(text)
        return redacted if redacted.isalnum() else self._unsafe.sub(_escape, redacted)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _as_json(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields).decode()


def _as_text(fields: dict[str, Any]) -> str:
    head = [str(fields.pop(name, "")) for name in _HEAD]
    head[1] = f"{head[1]:<8}"
    return " ".join([*head, *(f"{name}={_quoted(value)}" for name, value in fields.items())])


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if _BARE.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'
