"""What stands in front of a gateway in tests: a reverse proxy, well or badly set up; and certificates made on the spot."""

import datetime
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_READ_BYTES = 65_536
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


class FrontProxy:
    """Passes requests on to `gateway_port`. `sets` replaces headers of the caller; without it all pass as they came.

    `collects`: an answer is read whole before it goes on. `tls`: callers speak TLS.
    """

    def __init__(
        self,
        gateway_port: int,
        *,
        sets: Mapping[str, str] | None = None,
        collects: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(gateway_port, dict(sets or {}), collects))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "FrontProxy":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _handler(gateway_port: int, sets: dict[str, str], collects: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP} | sets
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", gateway_port, timeout=20)
            try:
                connection.request(self.command, self.path, body or None, headers)
                self._pass_on(connection.getresponse())
            finally:
                connection.close()

        do_POST = do_GET

        def _pass_on(self, response: http.client.HTTPResponse) -> None:
            whole = response.read() if collects else None
            self.send_response(response.status)
            for name, value in response.headers.items():
                if name.lower() not in _HOP_BY_HOP and not (collects and name.lower() == "content-length"):
                    self.send_header(name, value)
            if whole is not None:
                self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            if whole is not None:
                self.wfile.write(whole)
            while whole is None and (block := response.read1(_READ_BYTES)):
                self.wfile.write(block)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def certified(folder: Path, issuer: str) -> tuple[Path, ssl.SSLContext]:
    """A new authority called `issuer`: its certificate as a file, and what a server on 127.0.0.1 needs to show one of it."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(issuer, issuer, authority_key.public_key(), authority_key, is_authority=True)
    leaf = _certificate("127.0.0.1", issuer, key.public_key(), authority_key, is_authority=False)
    bundle, chain = folder / "authority.pem", folder / "server.pem"
    bundle.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return bundle, context


def _certificate(
    subject: str,
    issuer: str,
    public_key: ec.EllipticCurvePublicKey,
    signing_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage |= {"decipher_only": False, "digital_signature": True, "key_cert_sign": is_authority, "crl_sign": False}
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
