"""The gateways that are measured: how each is started, and what a caller must say to it.

This one runs as it is shipped, with nothing switched off; each of the others as its own manual says, with one worker.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType

from bench.ground import API_KEY, MANY_KEYS, Ground, free_port, plain_environment, python_of
from bench.install import Absent, copilot_api_on_bun, litellm_command, program
from bench.job import Target, bearer
from bench.processes import ProcessTree
from bench.shared_store import SOCKET_NAME
from bench.wire import MODEL, Plan, request_body

_START_SECONDS = 90.0
_STREAMS_A_WORKER = 10_000


@dataclass(frozen=True, slots=True)
class Command:
    """`files` are written into the gateway's own folder before its start."""

    argv: tuple[str, ...]
    target: Target
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """`processes` is None for the upstream itself, asked without a gateway."""

    name: str
    target: Target
    processes: ProcessTree | None

    @property
    def tree(self) -> ProcessTree:
        assert self.processes is not None
        return self.processes


def _own(ground: Ground, port: int, folder: Path, *, tls: bool = False, **settings: str) -> Command:
    root = ground.gateway_root
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "GITHUB_COPILOT_TOKEN": "tid=bench;exp=4102444800;sku=bench;st=dotcom;chat=1",
        "COPILOT_API_URL": ground.upstream_url(tls=tls),
        "REQUESTS_CA_BUNDLE": str(ground.authority),
        "API_KEYS": API_KEY,
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "REDIS_URL": "memory://",
        "MAX_STREAMS": str(_STREAMS_A_WORKER),
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
        "LOG_FILE": str(folder / "requests.log"),
        "COPILOTAPI_HOME": str(folder),
        "TIKTOKEN_CACHE_DIR": str(root / ".cache" / "tiktoken"),
        # Before what is installed: gunicorn reads its configuration file, which imports the gateway, before --pythonpath.
        "PYTHONPATH": str(root),
        **settings,
    }
    conf = str(root / "gunicorn.conf.py")
    argv = (str(python_of(root)), "-m", "gunicorn", "-c", conf, "--pythonpath", str(root), "wsgi:app")
    return Command(argv, Target(port, headers={"Authorization": f"Bearer {API_KEY}"}), environment)


def _own_tls(ground: Ground, port: int, folder: Path) -> Command:
    return _own(ground, port, folder, tls=True)


def _own_without_quota(ground: Ground, port: int, folder: Path) -> Command:
    return _own(ground, port, folder, RATE_LIMIT_PER_MINUTE="0")


def _own_with_many_keys(ground: Ground, port: int, folder: Path) -> Command:
    command = _own(ground, port, folder, API_KEYS=",".join(MANY_KEYS))
    return replace(command, target=Target(port, keys=MANY_KEYS))


def _own_two_workers(ground: Ground, port: int, folder: Path) -> Command:
    return _own(ground, port, folder, WEB_CONCURRENCY="2")


def _own_redis(ground: Ground, port: int, folder: Path) -> Command:
    return _own(ground, port, folder, REDIS_URL=f"unix://{ground.scratch / SOCKET_NAME}")


def _stock(ground: Ground, port: int, folder: Path, *, tls: bool = False) -> Command:
    argv = (
        *(str(python_of(ground.gateway_root)), "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1"),
        *("--worker-connections", str(2 * _STREAMS_A_WORKER), "--keep-alive", "75"),
        *("--bind", f"127.0.0.1:{port}", "--pythonpath", str(ground.root), "bench.relays.stock:app"),
    )
    environment = {"UPSTREAM": ground.upstream_url(tls=tls), "REQUESTS_CA_BUNDLE": str(ground.authority)}
    return Command(argv, Target(port), environment)


def _stock_tls(ground: Ground, port: int, folder: Path) -> Command:
    return _stock(ground, port, folder, tls=True)


def _aiohttp(ground: Ground, port: int, folder: Path) -> Command:
    argv = (str(ground.python), str(ground.root / "bench" / "relays" / "aiohttp_relay.py"), str(port))
    return Command(argv, Target(port), {"UPSTREAM": ground.upstream_url()})


_NGINX = """\
{user}daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {descriptors}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 20m;
  client_body_buffer_size 1m;
  keepalive_requests 100000000;
  upstream copilot {{
    server 127.0.0.1:{upstream};
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://copilot;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer bench";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


def _nginx(ground: Ground, port: int, folder: Path) -> Command:
    user = "user root;\n" if os.geteuid() == 0 else ""
    conf = _NGINX.format(user=user, descriptors=20_000, folder=folder, upstream=ground.upstream_port, port=port)
    argv = (program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf"))
    return Command(argv, Target(port), files={"nginx.conf": conf})


_LITELLM_KEY = "sk-5f0c1b7e9a3d4268b1c07e5d9f3a6248"
_LITELLM = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: {upstream}/v1
      api_key: bench
"""


def _litellm(ground: Ground, port: int, folder: Path) -> Command:
    argv = (
        *(str(litellm_command(ground.cache)), "--config", str(folder / "litellm.yaml")),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"),
    )
    conf = _LITELLM.format(model=MODEL, upstream=ground.upstream_url())
    # Without the first LiteLLM fetches its table of prices at the start; without a key it does not start.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": _LITELLM_KEY}
    target = Target(port, headers={"Authorization": f"Bearer {_LITELLM_KEY}"})
    return Command(argv, target, environment, {"litellm.yaml": conf})


def _copilot_api(ground: Ground, port: int, folder: Path) -> Command:
    bun, main = copilot_api_on_bun(ground.cache)
    redirect = str(ground.root / "bench" / "relays" / "copilot_api_redirect.js")
    start = ("start", "--port", str(port), "--github-token", "bench")
    environment = {"UPSTREAM": ground.upstream_url(), "HOME": str(folder)}
    return Command((str(bun), "--preload", redirect, str(main), *start), Target(port), environment)


OWN, OWN_TLS, OWN_FREE = "CopilotAPI", "CopilotAPI, TLS", "CopilotAPI, no quota"
OWN_REDIS, OWN_TWO, OWN_KEYS = "CopilotAPI, Redis", "CopilotAPI, 2 workers", "CopilotAPI, 10,000 keys"
STOCK, STOCK_TLS, LITELLM = "stock", "stock, TLS", "LiteLLM"
COPILOT_API, NGINX, AIOHTTP, DIRECT = "copilot-api on Bun", "nginx", "aiohttp", "no gateway"

COMMANDS: Mapping[str, Callable[[Ground, int, Path], Command]] = MappingProxyType(
    {
        OWN: _own,
        OWN_TLS: _own_tls,
        OWN_FREE: _own_without_quota,
        OWN_REDIS: _own_redis,
        OWN_TWO: _own_two_workers,
        OWN_KEYS: _own_with_many_keys,
        STOCK: _stock,
        STOCK_TLS: _stock_tls,
        LITELLM: _litellm,
        COPILOT_API: _copilot_api,
        NGINX: _nginx,
        AIOHTTP: _aiohttp,
    }
)


@contextmanager
def running(name: str, ground: Ground) -> Iterator[Running]:
    """The gateway for the time of the block, from its first good answer on. Absent when it cannot be had here."""
    if name == DIRECT:
        yield Running(name, Target(ground.upstream_port), None)
        return
    port = free_port()
    # A port may be free a second time.
    folder = Path(tempfile.mkdtemp(prefix=f"{port}-", dir=ground.scratch))
    command = COMMANDS[name](ground, port, folder)
    for file, text in command.files.items():
        (folder / file).write_text(text)
    environment = plain_environment(**command.environment)
    processes = ProcessTree(command.argv, folder=folder, environment=environment, log=folder / "output.log")
    try:
        _await_answer(name, command.target, processes)
        yield Running(name, command.target, processes)
    finally:
        processes.stop()


def _await_answer(name: str, target: Target, processes: ProcessTree) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if not processes.is_running:
            raise Absent(f"{name} ended at its start: {_last_words(processes.log_path)}")
        try:
            if _answers(target):
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.1)
    raise Absent(f"{name} did not answer within {_START_SECONDS:.0f} s: {_last_words(processes.log_path)}")


def _answers(target: Target) -> bool:
    connection = HTTPConnection(target.host, target.port, timeout=10)
    try:
        headers = {"Content-Type": "application/json", **target.headers, **bearer(target.keys[:1])}
        connection.request("POST", target.path, request_body(Plan()), headers)
        response = connection.getresponse()
        response.read()
        return response.status == 200
    finally:
        connection.close()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"
