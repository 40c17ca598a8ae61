"""nginx with the shipped configuration in front of gateways; only ports, paths and the certificate are put in."""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.certificate import self_signed
from tests.faults.processes import eventually
from tests.gateway_process import GatewayProcess, Reply, free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NAME = "api.example.com"
# As in Debian's own file, which has gzip on.
_MAIN = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    access_log {folder}/default.log;
    include {folder}/copilotapi.conf;
}}
"""


def require_nginx() -> str:
    """The path of nginx. Skips the test without one, or fails it where CI=true."""
    path = shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("nginx not found on PATH, and CI=true")
    if path is None:
        pytest.skip("nginx not found on PATH")
    return path


class NginxProcess:
    """In front of `ports`, running inside a `with`. `changes` are texts of the shipped file and what stands in their place."""

    def __init__(self, ports: tuple[int, int], changes: Mapping[str, str] | None = None) -> None:
        self._path = require_nginx()
        self.folder = Path(tempfile.mkdtemp(prefix="copilotapi-nginx-"))
        self.port, self.plain_port = free_port(), free_port()
        self._certificate = self_signed(NAME, self.folder)
        self._write(
            {
                "127.0.0.1:8001": f"127.0.0.1:{ports[0]}",
                "127.0.0.1:8002": f"127.0.0.1:{ports[1]}",
                # The other addresses of this machine are strangers to it, as in the tests of what is not public.
                "listen 443 ": f"listen 0.0.0.0:{self.port} ",
                "listen 80": f"listen 0.0.0.0:{self.plain_port}",
                f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(self._certificate),
                f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(self._certificate),
                "/var/log/nginx/": f"{self.folder}/",
                "/var/www/html": str(self.folder / "html"),
                **(changes or {}),
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def certificate(self) -> Path:
        return self._certificate

    @property
    def access_log(self) -> str:
        return (self.folder / "copilotapi.log").read_text()

    @property
    def error_log(self) -> str:
        path = self.folder / "error.log"
        return path.read_text() if path.exists() else ""

    def __enter__(self) -> "NginxProcess":
        self._process = subprocess.Popen([self._path, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")])
        try:
            assert eventually(self._answers, 10), self.error_log
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def tls(self) -> ssl.SSLContext:
        """A client's side of TLS that trusts this server's certificate only."""
        return ssl.create_default_context(cafile=str(self._certificate))

    def connection(self, *, source: str = "127.0.0.1", plain: bool = False) -> http.client.HTTPConnection:
        """From the address `source`, which may be any of 127.0.0.0/8."""
        if plain:
            return http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=30)
        return _ByName(self, source)

    def tls_socket(self, source: str = "127.0.0.1", name: str | None = NAME) -> ssl.SSLSocket:
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0))
        try:
            return self.tls().wrap_socket(bare, server_hostname=name)
        except BaseException:
            bare.close()
            raise

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        source: str = "127.0.0.1",
        plain: bool = False,
    ) -> Reply:
        connection = self.connection(source=source, plain=plain)
        try:
            return asked(connection, method, path, body, headers)
        finally:
            connection.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.error_log
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def _write(self, places: Mapping[str, str]) -> None:
        """AssertionError when the shipped file has no such text any more."""
        text = "".join(line for line in SHIPPED.read_text().splitlines(keepends=True) if "listen [::]:" not in line)
        for shipped, put_in in places.items():
            assert shipped in text, f"{shipped!r} is not in {SHIPPED}"
            text = text.replace(shipped, put_in)
        (self.folder / "copilotapi.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(_MAIN.format(folder=self.folder))


class _ByName(http.client.HTTPSConnection):
    """The name that is asked for goes into the handshake; the address is this machine's."""

    def __init__(self, nginx: NginxProcess, source: str) -> None:
        super().__init__(NAME, nginx.port, timeout=30)
        self._nginx, self._source = nginx, source

    def connect(self) -> None:
        self.sock = self._nginx.tls_socket(self._source)


def asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on a connection that may be used again."""
    sent = {"Host": NAME, **({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    return Reply(response.status, dict(response.headers), response.read())


@contextmanager
def two_gateways(upstream_url: str, **settings: str) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Set as docs/deployment.md says for gateways behind nginx."""
    behind_nginx = {"TRUSTED_PROXY_COUNT": "1", "ALLOWED_HOSTS": NAME, "RATE_LIMIT_PER_MINUTE": "0", **settings}
    first, second = (GatewayProcess(upstream_url, **behind_nginx) for _ in range(2))
    with first, second:
        yield first, second
