"""Logging in, TLS and proxies, against servers on the loopback interface."""

import datetime
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli_fake_api import FakeApi, status
from cli_objects import FLAVORS
from coffer_cli.api import FLAVOR, Api
from coffer_cli.errors import CliError, Exit, UnreachableError
from coffer_cli.kubeconfig import Cluster, ExecPlugin, Target, User

HOST = "api.cluster.test"


def target(server: str, user: User | None = None, **cluster: object) -> Target:
    made = replace(Cluster(server), **cluster)  # type: ignore[arg-type]  # fields of Cluster
    return Target(made, user or User(), "shop", "c")


# --- who is asking --------------------------------------------------------------------------------
def _authorization(api: FakeApi, user: User) -> str | None:
    client = Api(target(api.url, user))
    client.list(FLAVOR, None)
    client.close()
    return api.headers[-1].get("Authorization")


def test_every_way_to_log_in(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    assert _authorization(api, User(token="t")) == "Bearer t"
    assert _authorization(api, User(basic=("u", "p"))) == "Basic dTpw"
    assert _authorization(api, User(token="t", token_file=tmp_path / "token")) == "Bearer from-file"
    assert _authorization(api, User()) is None


def _plugin(tmp_path: Path, body: str, **more: object) -> User:
    """A plugin that notes each run in the file `runs`; `info` is what it was told."""
    text = (
        f"import json, os, pathlib\n"
        f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        f"runs.open('a').write('x')\n"
        f"n = len(runs.read_text())\n"
        f"info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        f"{body}\n"
    )
    version = "client.authentication.k8s.io/v1"
    plugin = ExecPlugin(version, sys.executable, ("-c", text), {"REGION": "x"}, "get it", True)
    return User(plugin=replace(plugin, **more))  # type: ignore[arg-type]  # fields of ExecPlugin


def _answer(fields: str) -> str:
    return f"print(json.dumps({{'apiVersion': info['apiVersion'], 'status': {fields}}}))"


@pytest.mark.guest  # starts processes
def test_a_plugin_runs_once_and_again_when_its_word_is_refused(
    api: FakeApi, tmp_path: Path
) -> None:
    user = _plugin(tmp_path, _answer("{'token': f\"{os.environ['REGION']}{n}\"}"))
    client = Api(target(api.url, user))
    client.list(FLAVOR, None)
    client.list(FLAVOR, None)
    assert api.headers[-1]["Authorization"] == "Bearer x1"
    api.refuse("GET", FLAVORS, status(401, "Unauthorized", "Unauthorized"))
    client.list(FLAVOR, None)
    client.close()
    assert api.headers[-1]["Authorization"] == "Bearer x2"


@pytest.mark.guest  # starts processes
def test_a_plugin_whose_word_has_run_out_runs_again(api: FakeApi, tmp_path: Path) -> None:
    fields = "{'token': f'{n}', 'expirationTimestamp': '2020-01-01T00:00:00Z'}"
    client = Api(target(api.url, _plugin(tmp_path, _answer(fields))))
    client.list(FLAVOR, None)
    client.list(FLAVOR, None)
    client.close()
    seen = [headers["Authorization"] for headers in api.headers]
    assert len(set(seen)) == 2


@pytest.mark.guest  # starts processes
def test_a_plugin_is_told_of_the_cluster(api: FakeApi, tmp_path: Path) -> None:
    user = _plugin(tmp_path, _answer("{'token': info['spec']['cluster']['server'][-5:]}"))
    assert _authorization(api, user) == f"Bearer {api.url[-5:]}"


@pytest.mark.guest  # starts processes
@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("print('secret-token')", "printed no ExecCredential"),
        (_answer("{}"), "printed no ExecCredential"),
    ],
)
def test_a_plugin_that_fails(api: FakeApi, tmp_path: Path, body: str, part: str) -> None:
    with pytest.raises(CliError, match=part) as caught:
        _authorization(api, _plugin(tmp_path, body))
    assert "secret-token" not in caught.value.message
    assert api.requests == []


def test_a_plugin_that_is_not_installed(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"cannot run no-such-plugin.*\(get it\)"):
        _authorization(api, _plugin(tmp_path, "", command="no-such-plugin"))


def test_a_token_file_that_is_gone(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="No such file"):
        _authorization(api, User(token_file=tmp_path / "none"))


# --- TLS ------------------------------------------------------------------------------------------
class Authority:
    """A certificate authority, with a server's and a client's certificate."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.ca, _ = self._issue("authority", self._key, ca=True)
        self.client = self._issue("client", ec.generate_private_key(ec.SECP256R1()))
        certificate, key = self._issue(HOST, ec.generate_private_key(ec.SECP256R1()))
        self.server = folder / "server.pem"
        self.server.write_bytes(certificate + key)

    def _issue(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False
    ) -> tuple[bytes, bytes]:
        now = datetime.datetime.now(datetime.UTC)
        public = self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(pem), private


class _Secure(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        peer: dict[str, Any] = dict(self.connection.getpeercert() or {})
        subject = dict(pair[0] for pair in peer.get("subject", ()))
        data = json.dumps({"subject": subject}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Silent."""


class _Quiet(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> Iterator[str]:
    """An HTTPS server that says who its client is."""
    (tmp_path / "ca.pem").write_bytes(authority.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = _Quiet(("127.0.0.1", 0), _Secure)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _subject(made: Target) -> object:
    client = Api(made)
    try:
        return client.get_path("/who")["subject"]
    finally:
        client.close()


def test_server_and_client_know_each_other(secure: str, authority: Authority) -> None:
    certificate, key = authority.client
    user = User(certificate=certificate, key=key)
    made = target(secure, user, ca=authority.ca, server_name=HOST)
    assert _subject(made) == {"commonName": "client"}
    assert _subject(target(secure, ca=authority.ca, server_name=HOST)) == {}
    assert _subject(target(secure, insecure=True)) == {}


def test_nobody_else_is_trusted(secure: str, authority: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for made in (
        target(secure, ca=authority.ca),  # its certificate is for another name
        target(secure, ca=Authority(other).ca, server_name=HOST),
    ):
        with pytest.raises(CliError, match="its certificate"):
            _subject(made)


def test_certificates_that_are_none(secure: str, authority: Authority) -> None:
    for made in (
        target(secure, ca=b"not PEM"),
        target(secure, User(certificate=b"x", key=b"y"), ca=authority.ca),
    ):
        with pytest.raises(CliError, match="cannot use its certificates") as caught:
            _subject(made)
        assert caught.value.code is Exit.USAGE


def test_a_certificate_leaves_no_file(
    secure: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(os.listdir(tmp_path))
    _subject(target(secure, User(*authority.client), ca=authority.ca, server_name=HOST))
    assert set(os.listdir(tmp_path)) == before


# --- proxies, and servers that are none -----------------------------------------------------------
class _Proxy(BaseHTTPRequestHandler):
    """CONNECT to one server, whatever was asked for."""

    asked: list[str]
    to: tuple[str, int]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        with socket.create_connection(self.to) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self._copy, args=(far, self.connection), daemon=True)
            back.start()
            self._copy(self.connection, far)
            back.join()
        self.close_connection = True

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Silent."""


def test_through_a_proxy(secure: str, authority: Authority) -> None:
    port = int(secure.rsplit(":", 1)[1])
    asked: list[str] = []
    handler = type("Proxy", (_Proxy,), {"to": ("127.0.0.1", port), "asked": asked})
    server = _Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    made = target(f"https://{HOST}:6443", ca=authority.ca, proxy=proxy)
    assert _subject(made) == {}
    thread.join()
    server.server_close()
    assert asked == [f"{HOST}:6443"]


def test_a_proxy_of_another_kind() -> None:
    with pytest.raises(CliError, match="only http:// ones are"):
        _subject(target("https://127.0.0.1:1", proxy="socks5://127.0.0.1:1"))


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]
)
def test_what_answers_is_no_api_server(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with door.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(UnreachableError):
            _subject(target(f"http://127.0.0.1:{door.getsockname()[1]}"))
        thread.join()


def test_time_is_the_servers_once_it_has_told(api: FakeApi) -> None:
    client = Api(target(api.url))
    ours = datetime.datetime.now(datetime.UTC)
    assert abs((client.now() - ours).total_seconds()) < 60
    client.list(FLAVOR, None)
    client.close()
    assert abs((client.now() - ours).total_seconds()) < 60
