"""gunicorn's own knobs, and the life of the background work in its workers."""

# The first statement: whatever imports ssl or urllib3 before it makes every https call in a worker a RecursionError.
from gevent import monkey

monkey.patch_all()

import atexit  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import uuid  # noqa: E402

# prometheus_client decides at its import whether workers share their numbers through files.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="copilotapi-metrics-")
    _master = os.getpid()
    _folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    atexit.register(lambda: os.getpid() == _master and shutil.rmtree(_folder, ignore_errors=True))

import gunicorn.util  # noqa: E402
import orjson  # noqa: E402
from prometheus_client import multiprocess  # noqa: E402

from copilotapi import loop  # noqa: E402
from copilotapi.server.worker import Worker  # noqa: E402
from copilotapi.settings import Settings, SettingsError  # noqa: E402
from copilotapi.token_file import signed_in  # noqa: E402

try:
    _settings = signed_in(Settings.from_env())
except SettingsError as exc:
    print(*(f"copilotapi: {problem}" for problem in exc.problems), sep="\n", file=sys.stderr)
    sys.exit(os.EX_CONFIG)


def _write_error(client, status, reason, message):
    """In place of gunicorn's page in HTML, for a request that it could not read: the shape of all other errors."""
    kind, code = ("invalid_request_error", "malformed_request") if status < 500 else ("server_error", "internal_error")
    error = {"message": f"{reason}. {message}".strip(), "type": kind, "param": None, "code": code}
    body = orjson.dumps({"error": error})
    request_id = uuid.uuid4().hex
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\nRequest-Id: {request_id}\r\nX-GitHub-Request-Id: {request_id}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    gunicorn.util.write_nonblock(client, head.encode("latin1") + body)


gunicorn.util.write_error = _write_error


_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"
workers = _settings.web_concurrency
worker_class = Worker
worker_connections = _settings.worker_connections
# Vocabularies are loaded once, before the fork: 62 MB a worker saved.
preload_app = True
# A liveness limit of the worker's loop, not of a request.
timeout = 60
graceful_timeout = 120
# Longer than nginx keeps its idle connections to us unless told otherwise (60 s): so it never meets a closed one.
keepalive = 75
# Recycling cuts streams; the absence of leaks is tested instead.
max_requests = 0
control_socket_disable = True
# Only TRUSTED_PROXY_COUNT says whose X-Forwarded-* are believed.
forwarded_allow_ips = ""
forwarder_headers = ""
accesslog = None
errorlog = "-"
loglevel = _settings.log_level.lower()


def when_ready(server):
    gc.collect()
    _give_back_freed_memory()
    gc.freeze()


def _give_back_freed_memory():
    """What the start has freed lies in holes, which glibc keeps until it is asked; not every C library can be asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def post_fork(server, worker):
    # Until the worker has its own, it would inherit the master's handlers, and a signal to stop would be lost.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def post_worker_init(worker):
    # With the defaults, collections of 10,000 open streams add hundreds of milliseconds to the slowest chunks.
    gc.set_threshold(50_000, 50, 100)
    loop.begin_turns()
    worker.wsgi.extensions["copilotapi.refresher"].start()


def worker_exit(server, worker):
    if worker.wsgi is not None:
        worker.wsgi.extensions["copilotapi.refresher"].stop()
    loop.end_turns()


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
