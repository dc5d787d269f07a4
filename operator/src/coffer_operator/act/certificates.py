"""The installation's certificate authority, and what it signs.

The authority lies in one Secret of the operator's namespace, made by whoever comes first; agents
get short-lived certificates from it, the operator its client and webhook ones, in memory only.
Replacing the authority is not built: the agents would need both for a while (docs/limits.md).

Identities: an agent is its DNS name (subjectAltName), and its subject is always the same, so that
no name of an instance can make it look like the operator, which is known by its common name.
"""

import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coffer_common import naming
from coffer_operator.kube.api import SECRET, ConflictError, KubeApi, NotFoundError, Object
from coffer_operator.plan.world import CertificateFact, World

log = logging.getLogger(__name__)

AUTHORITY_SECRET: Final = "coffer-ca"  # noqa: S105  # a name, in the operator's namespace
AGENT_COMMON_NAME: Final = "coffer-agent"
AUTHORITY_LIFE: Final = timedelta(days=3650)
LIFE: Final = timedelta(days=30)
SKEW: Final = timedelta(minutes=10)  # clocks that are behind ours still find it valid

Now = Callable[[], datetime]


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates, and reads those that it signed."""

    def __init__(self, pair: Pair, now: Now) -> None:
        """Raises ValueError where `pair` is not a certificate and its key."""
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic curve's")  # noqa: TRY004
        if key.public_key() != self._certificate.public_key():
            raise ValueError("the authority's key is not its certificate's")
        self._key = key
        self._now = now
        self.pem = pair.certificate
        self.fingerprint = self._certificate.fingerprint(hashes.SHA256()).hex()

    @classmethod
    async def load(cls, api: KubeApi, namespace: str, now: Now) -> Self:
        """The authority of the installation, made now if there is none.

        Two operators that start at once end with the same one: the second create is refused.
        Raises the errors of KubeApi, and ValueError where the Secret holds something else.
        """
        try:
            found = await api.get(SECRET, namespace, AUTHORITY_SECRET)
        except NotFoundError:
            try:
                found = await api.create(SECRET, _authority_secret(namespace, new_authority(now())))
                log.info("made a certificate authority in Secret %s", AUTHORITY_SECRET)
            except ConflictError:
                found = await api.get(SECRET, namespace, AUTHORITY_SECRET)
        data = found.get("data") or {}
        certificate, key = (base64.b64decode(data.get(k, "")) for k in ("tls.crt", "tls.key"))
        return cls(Pair(certificate, key), now)

    def issue(self, common_name: str, names: Sequence[str] = ()) -> Pair:
        """A new key with a certificate for client and server authentication."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
                critical=False,
            )
        return _pair(builder.sign(self._key, hashes.SHA256()), key)

    # --- for the agents --------------------------------------------------------------------------
    def secret(self, world: World) -> Object:
        """The Secret with a new certificate for the agent of the World's instance."""
        metadata = world.instance.metadata
        namespace = metadata.namespace or ""
        pair = self.issue(AGENT_COMMON_NAME, [naming.agent_host(metadata.name, namespace)])
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": naming.agent_tls(metadata.name),
                "namespace": namespace,
                "labels": {
                    naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
                    naming.LABEL_INSTANCE: metadata.name,
                },
                "ownerReferences": [
                    {
                        "apiVersion": naming.API_VERSION,
                        "kind": "DatabaseInstance",
                        "name": metadata.name,
                        "uid": metadata.uid,
                        "controller": True,
                        "blockOwnerDeletion": False,
                    }
                ],
            },
            "type": "kubernetes.io/tls",
            "data": _encoded(pair) | {"ca.crt": base64.b64encode(self.pem).decode()},
        }

    def read(self, certificate: bytes, authority: bytes) -> CertificateFact | None:
        """The fact behind tls.crt and ca.crt; None where they are no certificates."""
        try:
            leaf = x509.load_pem_x509_certificate(certificate)
            root = x509.load_pem_x509_certificate(authority)
        except ValueError:
            return None
        return CertificateFact(
            not_after=leaf.not_valid_after_utc,
            not_before=leaf.not_valid_before_utc,
            ca_fingerprint=root.fingerprint(hashes.SHA256()).hex(),
            checksum=leaf.fingerprint(hashes.SHA256()).hex()[:16],
        )


def new_authority(now: datetime) -> Pair:
    """A new self-signed authority that signs end certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("Coffer CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - SKEW)
        .not_valid_after(now.astimezone(UTC) + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _authority_secret(namespace: str, pair: Pair) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": AUTHORITY_SECRET,
            "namespace": namespace,
            "labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
        },
        "type": "kubernetes.io/tls",
        "data": _encoded(pair),
    }


def _encoded(pair: Pair) -> dict[str, str]:
    return {
        "tls.crt": base64.b64encode(pair.certificate).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, naming.GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
