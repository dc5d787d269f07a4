"""Certificates for tests: an authority, servers and clients."""

import datetime
import ipaddress
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        builder = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())

    def issue_server(self, folder: Path, name: str = "one.tests.agent") -> int:
        """Write tls.crt, tls.key and ca.crt, each by a rename; the certificate's serial number."""
        certificate, key = self._issue(name)
        _replace(folder / "ca.crt", _pem(self._certificate))
        _replace(folder / "tls.key", key)
        _replace(folder / "tls.crt", _pem(certificate))
        return certificate.serial_number

    def trusting(self) -> ssl.SSLContext:
        """A client that has no certificate of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=_pem(self._certificate).decode())
        return context

    def client(self, name: str, trusting: "Authority | None" = None) -> ssl.SSLContext:
        """A client with a certificate by this authority; it trusts `trusting` or this one."""
        context = (trusting or self).trusting()
        certificate, key = self._issue(name)
        with tempfile.NamedTemporaryFile() as file:
            file.write(_pem(certificate) + key)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _issue(self, name: str) -> tuple[x509.Certificate, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = self._builder(subject, key.public_key()).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return builder.sign(self._key, hashes.SHA256()), text

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _replace(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(data)
    scratch.chmod(0o644)
    scratch.rename(path)
