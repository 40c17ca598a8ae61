"""Whatever is logged comes out as one line, readable, without a secret; and a broken sink harms nobody."""

import io
import json
import logging
import os
import pickle
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import pytest

from copilotapi.logs import FactRecord, configure_logging
from copilotapi.settings import Settings, SettingsError

CANARY = "c4n4ryC4N4RYc4n4ry"
PLAIN_SECRET = "plain-looking-secret"
_TOUCHED = ("", "gunicorn.error", "gunicorn.access", "apscheduler", "apscheduler.scheduler", "urllib3")


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TOUCHED]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.log"


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("copilotapi.somewhere")


def start(**values: object) -> None:
    """Logging as in the gateway's own process: pytest's handlers, which raise on a bad record, stand aside."""
    logging.getLogger().handlers[:] = our_handlers()
    configure_logging(Settings(**values))


def lines_of(log_file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_file.read_text(encoding="utf-8").split("\n") if line]


def our_handlers() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if handler.name == "copilotapi"]


class Explosive:
    def __str__(self) -> str:
        raise RuntimeError(CANARY)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# What a line looks like.


def test_a_line_has_time_level_logger_event_and_the_extras(log_file: Path, logger: logging.Logger) -> None:
    start(log_file=log_file)
    logger.warning("refresh_failed", extra={"attempt": 2, "seconds": 1.5, "hosts": ["a", "b"], "cause": None})

    (line,) = lines_of(log_file)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning", "logger": "copilotapi.somewhere", "event": "refresh_failed",
        "attempt": 2, "seconds": 1.5, "hosts": ["a", "b"], "cause": None,
    }  # fmt: skip


def test_an_extra_cannot_take_the_place_of_a_field_of_every_line(log_file: Path, logger: logging.Logger) -> None:
    start(log_file=log_file)
    logger.info("the_event", extra={"event": "other", "level": "other", "logger": "other", "timestamp": "other"})

    (line,) = lines_of(log_file)
    assert (line["event"], line["level"], line["logger"]) == ("the_event", "info", "copilotapi.somewhere")
    assert (line["event_"], line["level_"], line["logger_"], line["timestamp_"]) == ("other",) * 4


def test_an_exception_is_one_field_of_the_same_line(log_file: Path, logger: logging.Logger) -> None:
    start(log_file=log_file)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("it_broke")
    logger.exception("no_exception_here")

    first, second = lines_of(log_file)
    assert list(first)[-1] == "exception"
    assert first["exception"].startswith("Traceback (most recent call last):\n")
    assert first["exception"].endswith("ValueError: two\nlines")
    assert second["event"] == "no_exception_here"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_one_record_is_one_line_without_controls(log_format: str, log_file: Path, logger: logging.Logger) -> None:
    hostile = "a\r\nb\x1b[31mred\x85next\u2028next\u2029next\x00end\ud83d \x9b2J"
    start(log_file=log_file, log_format=log_format)
    logger.info("%s", hostile, extra={"field": hostile, "deep": {hostile: [hostile]}})
    logging.getLogger(hostile).info("from_a_hostile_name")

    text = log_file.read_bytes().decode("utf-8")
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "red" in text


def test_console_lines_are_for_reading(log_file: Path, logger: logging.Logger) -> None:
    start(log_file=log_file, log_format="console")
    logger.info("listening", extra={"url": "http://127.0.0.1:1", "said": 'a "b" c', "n": 1, "ok": True, "list": [1]})

    line = log_file.read_text().partition(" ")[2]
    assert (
        line
        == 'info     copilotapi.somewhere listening url=http://127.0.0.1:1 said="a \\"b\\" c" n=1 ok=true list=[1]\n'
    )


def test_values_that_json_does_not_know_are_written_all_the_same(log_file: Path, logger: logging.Logger) -> None:
    recursive: dict[str, object] = {}
    recursive["itself"] = recursive
    values = {"path": Path("/a"), "raw": b"b", "big": 2**70, "nan": float("nan"), "keys": {1: {2}}, "loop": recursive}
    start(log_file=log_file)
    logger.info("odd", extra=values)

    (line,) = lines_of(log_file)
    assert (line["path"], line["raw"], line["big"], line["nan"]) == ("/a", "b'b'", str(2**70), None)
    assert line["keys"] == {"1": [2]}
    assert "itself" in line["loop"]


# Where lines go.


def test_json_goes_to_standard_error_when_it_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, logger: logging.Logger
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    start()
    logger.info("hello")
    assert json.loads(stderr.getvalue())["event"] == "hello"


def test_a_terminal_gets_console_lines(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    start()
    logger.info("hello")
    assert stderr.getvalue().endswith(" info     copilotapi.somewhere hello\n")


def test_a_file_gets_json_although_a_terminal_is_there(
    monkeypatch: pytest.MonkeyPatch, log_file: Path, logger: logging.Logger
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    start(log_file=log_file)
    logger.info("hello")
    assert lines_of(log_file)[0]["event"] == "hello"


def test_configuring_twice_writes_each_line_once(log_file: Path, tmp_path: Path, logger: logging.Logger) -> None:
    start(log_file=tmp_path / "earlier.log")
    start(log_file=log_file)
    start(log_file=log_file)
    logger.info("once")

    assert len(our_handlers()) == 1
    assert len(lines_of(log_file)) == 1
    assert lines_of(tmp_path / "earlier.log") == []


def test_the_level_is_the_settings(log_file: Path, logger: logging.Logger) -> None:
    start(log_file=log_file, log_level="WARNING")
    logger.info("quiet")
    logger.warning("loud")
    assert [line["event"] for line in lines_of(log_file)] == ["loud"]


@pytest.mark.parametrize(
    ("level", "events"),
    [("DEBUG", ["debug", "info", "warning"]), ("INFO", ["warning"]), ("ERROR", [])],
)
@pytest.mark.parametrize("name", ["urllib3.connectionpool", "apscheduler.executors.default"])
def test_chatty_libraries_are_heard_from_warnings_up(name: str, level: str, events: list[str], log_file: Path) -> None:
    start(log_file=log_file, log_level=level)
    library = logging.getLogger(name)
    library.debug("debug")
    library.info("info")
    library.warning("warning")
    assert [line["event"] for line in lines_of(log_file)] == events


@pytest.mark.parametrize("name", ["gunicorn.error", "gunicorn.access"])
def test_gunicorns_records_come_the_same_way(name: str, log_file: Path) -> None:
    theirs, stream = logging.getLogger(name), io.StringIO()
    theirs.addHandler(logging.StreamHandler(stream))
    theirs.propagate = False
    theirs.setLevel("CRITICAL")

    start(log_file=log_file)
    theirs.info("Booting worker with pid: %s, key sk-%s", 7, CANARY)

    (line,) = lines_of(log_file)
    assert line["event"] == "Booting worker with pid: 7, key [redacted]"
    assert stream.getvalue() == ""


def test_other_handlers_stay_where_they_are(log_file: Path) -> None:
    theirs = logging.NullHandler()
    logging.getLogger().addHandler(theirs)
    configure_logging(Settings(log_file=log_file))
    assert theirs in logging.getLogger().handlers


# As https://docs.python.org/3/library/logging.html#logrecord-attributes lists them.
_NUMBERS = ("created", "levelno", "lineno", "msecs", "process", "relativeCreated", "thread")
_TEXTS = ("asctime", "filename", "funcName", "levelname", "message", "module", "name", "pathname", "processName")
FACTS = {"request_id": "r1", "status": 200, "duration_ms": 1.5}


def test_a_hosts_formatters_may_name_whatever_a_record_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, True)
    record = FactRecord("copilotapi.request", logging.INFO, "request", FACTS)
    numbers = logging.Formatter(" ".join(f"%({name})d" for name in _NUMBERS)).format(record).split()
    assert numbers[_NUMBERS.index("process")] == str(os.getpid())
    assert int(numbers[_NUMBERS.index("created")]) > 0
    texts = logging.Formatter(" ".join(f"{name}=%({name})s" for name in (*_TEXTS, *FACTS))).format(record)
    assert "levelname=INFO message=request" in texts
    assert "request_id=r1 status=200 duration_ms=1.5" in texts


def test_a_record_of_facts_goes_over_queues_and_to_other_processes(log_file: Path) -> None:
    start(log_file=log_file)
    record = FactRecord("copilotapi.request", logging.INFO, "request", FACTS)
    queued: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    QueueHandler(queued).handle(record)
    sent = logging.makeLogRecord(pickle.loads(pickle.dumps(record.__dict__)))
    for arrived in (record, queued.get_nowait(), sent):
        logging.getLogger("copilotapi.request").handle(arrived)
    lines = lines_of(log_file)
    assert len(lines) == 3
    for line in lines:
        assert (line["event"], line["level"], line["logger"]) == ("request", "info", "copilotapi.request")
    assert {name: lines[1][name] for name in FACTS} == FACTS


_TURNS = """
from gevent import monkey; monkey.patch_all()
import gevent, logging, os, sys
from pathlib import Path
from copilotapi import loop
from copilotapi.logs import FactRecord, configure_logging
from copilotapi.settings import Settings
file = Path(sys.argv[1])
configure_logging(Settings(log_file=file))
log = logging.getLogger("copilotapi.request")
def tell(number):
    log.handle(FactRecord(log.name, logging.INFO, f"told {number}", {}))
def told():
    return [int(line.partition("told ")[2].partition('"')[0]) for line in file.read_text().splitlines()]
"""


def _ran(script: str, log_file: Path) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", _TURNS + script, str(log_file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_lines_of_one_turn_of_the_loop_go_out_together_at_its_end(log_file: Path) -> None:
    script = """
loop.begin_turns()
tell(1); tell(2)
print(len(told()))
gevent.sleep(0)
gevent.sleep(0)
print(*told())
"""
    assert _ran(script, log_file) == ["0", "1", "2"]


@pytest.mark.parametrize("end", ["loop.end_turns()", "loop.end_turns(); os._exit(0)", "", "sys.exit(0)"])
def test_no_line_is_lost_or_doubled_when_a_process_ends(end: str, log_file: Path) -> None:
    script = f"""
loop.begin_turns()
gevent.joinall([gevent.spawn(tell, number) for number in range(100)])
for number in range(100, 200):
    tell(number)
{end}
"""
    _ran(script, log_file)
    assert sorted(line["event"] for line in lines_of(log_file)) == sorted(f"told {number}" for number in range(200))


def test_a_fork_doubles_no_line(log_file: Path) -> None:
    script = """
for number in range(100):
    tell(number)
children = []
for worker in range(1, 3):
    child = os.fork()
    if child == 0:
        loop.begin_turns()
        for number in range(100):
            tell(100 * worker + number)
            gevent.sleep(0)
        loop.end_turns()
        sys.exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children] == [0, 0])
"""
    assert _ran(script, log_file) == ["True"]
    assert sorted(line["event"] for line in lines_of(log_file)) == sorted(f"told {number}" for number in range(300))


def test_a_rotated_file_is_opened_anew(log_file: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilotapi.logs._LOOK_SECONDS", 0.0)
    start(log_file=log_file)
    logger.info("before")
    log_file.rename(log_file.with_suffix(".1"))
    logger.info("after")

    assert [line["event"] for line in lines_of(log_file.with_suffix(".1"))] == ["before"]
    assert [line["event"] for line in lines_of(log_file)] == ["after"]


# No secret in any sink.


def _speak(logger: logging.Logger) -> None:
    """Says a secret in every way a record has."""
    logger.info("message gho_%s", CANARY)
    logger.info(f"Authorization: Bearer {CANARY}\r\nX: tid=1;exp=2:{CANARY}")
    logger.info("args %s", {"Authorization": f"token {CANARY}"})
    logger.info("extra", extra={"url": f"redis://:{CANARY}@host", "github_token": CANARY, "n": {"api_key": [CANARY]}})
    logger.info("deep", extra={"headers": [{"x-api-key": CANARY, f"gho_{CANARY}": 1}], "raw": f"sk-{CANARY}".encode()})
    logger.info(
        "known %s", PLAIN_SECRET, extra={"field": f"<{PLAIN_SECRET}>", PLAIN_SECRET: 1, "pair": (PLAIN_SECRET,)}
    )
    logger.info("not enough %s %s gho_%s", CANARY)
    logger.info("explodes %s", Explosive(), extra={"field": f"gho_{CANARY}"})
    try:
        try:
            raise KeyError(f"gho_{CANARY}")
        except KeyError as exc:
            raise RuntimeError(f"password={CANARY} {PLAIN_SECRET}") from exc
    except RuntimeError:
        logger.exception("failed", stack_info=True)


SECRET_SETTINGS: list[dict[str, object]] = [
    {"api_keys": ("other-key", PLAIN_SECRET)},
    {"admin_key": PLAIN_SECRET},
    {"github_copilot_token": PLAIN_SECRET},
    {"redis_password": PLAIN_SECRET},
    {"redis_url": f"redis://:{PLAIN_SECRET.replace('-', '%2D')}@host"},
    {"https_proxy": f"http://user:{PLAIN_SECRET}@proxy:1"},
]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("secret", SECRET_SETTINGS, ids=lambda secret: next(iter(secret)))
@pytest.mark.parametrize("sink", ["file", "stderr"])
def test_no_secret_reaches_a_sink(
    sink: str,
    secret: dict[str, object],
    log_format: str,
    log_file: Path,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = {"log_file": log_file} if sink == "file" else {}
    start(log_level="DEBUG", log_format=log_format, **target, **secret)
    for name in ("copilotapi.somewhere", "urllib3.connectionpool", "gunicorn.error", "apscheduler"):
        _speak(logging.getLogger(name))

    captured = capsys.readouterr()
    logged = log_file.read_text() if sink == "file" else captured.err
    assert captured.out == ""
    assert sink == "stderr" or captured.err == ""
    assert len(logged.splitlines()) == 4 * 9
    assert "failed" in logged
    assert "[redacted]" in logged
    assert CANARY not in logged
    assert PLAIN_SECRET not in logged


def test_a_record_that_cannot_be_written_is_named_without_its_content(
    log_file: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    start(log_file=log_file)
    logger.info("%d and %d", CANARY)
    logger.info("explodes %s", Explosive())

    first, second = lines_of(log_file)
    assert (first["event"], first["error"], first["level"]) == ("log_record_unreadable", "TypeError", "info")
    assert (second["error"], second["logger"]) == ("RuntimeError", "copilotapi.somewhere")
    assert second["where"].startswith("test_logs:")
    assert capsys.readouterr().err == ""


# A sink that fails.


def test_a_closed_pipe_is_survived_in_silence(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr("sys.stderr", stream)
    start()
    logger.error("nobody_listens")
    logger.error("%d", "bad argument")

    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_closed_stream_is_survived(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    start()
    stderr.close()
    logger.error("nobody_listens")
    start()
    assert len(our_handlers()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_survived(logger: logging.Logger, log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(log_file=Path("/dev/full"))
    for _ in range(3):
        logger.error("no_room", extra={"text": "x" * 10_000})
    start(log_file=log_file)
    logger.error("room_again")

    assert lines_of(log_file)[0]["event"] == "room_again"
    assert capsys.readouterr().err == ""


def test_a_folder_that_disappears_loses_lines_until_it_is_back(tmp_path: Path, logger: logging.Logger) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    start(log_file=folder / "gateway.log")
    shutil.rmtree(folder)
    logger.error("lost")
    folder.mkdir()
    logger.error("found")

    assert [line["event"] for line in lines_of(folder / "gateway.log")] == ["found"]


def test_a_process_without_standard_error_can_log(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    monkeypatch.setattr("sys.stderr", None)
    start()
    logger.error("nowhere")
    assert len(our_handlers()) == 1


def test_a_file_that_cannot_be_opened_is_a_settings_error(log_file: Path) -> None:
    settings = Settings(log_file=log_file)
    log_file.mkdir()
    with pytest.raises(SettingsError) as caught:
        configure_logging(settings)
    assert caught.value.problems == ("LOG_FILE: cannot be opened: Is a directory",)
    assert our_handlers() == []
