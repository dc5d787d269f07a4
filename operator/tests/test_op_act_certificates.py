"""Certificates: who is who, and who signs."""

import asyncio
import base64
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from coffer_common import naming
from coffer_operator.act.certificates import (
    AUTHORITY_SECRET,
    LIFE,
    Authority,
    Pair,
    new_authority,
)
from coffer_operator.kube.api import SECRET
from op_plan_worlds import instance, world
from sim_apiserver import NAMESPACE, ApiServer
from sim_client import SimClient

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def now() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(new_authority(NOW), now)


def common_name(certificate: x509.Certificate) -> str:
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_an_agents_certificate_bears_its_dns_name(authority: Authority) -> None:
    secret = authority.secret(world())
    leaf = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    root = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["ca.crt"]))
    assert names(leaf) == [naming.agent_host("shop", "prod")]
    leaf.verify_directly_issued_by(root)
    assert root.fingerprint(hashes.SHA256()).hex() == authority.fingerprint


@pytest.mark.parametrize("name", [naming.OPERATOR_COMMON_NAME, "coffer-agent", "x" * 40])
def test_no_name_of_an_instance_looks_like_the_operator(authority: Authority, name: str) -> None:
    secret = authority.secret(world(instance(name)))
    leaf = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    assert common_name(leaf) == "coffer-agent"
    assert names(leaf) == [naming.agent_host(name, "prod")]


def test_what_was_issued_is_read_again(authority: Authority) -> None:
    pair = authority.issue(naming.OPERATOR_COMMON_NAME)
    fact = authority.read(pair.certificate, authority.pem)
    assert fact is not None
    assert fact.not_after == NOW + LIFE
    assert fact.not_before <= NOW - timedelta(minutes=5)
    assert fact.ca_fingerprint == authority.fingerprint
    assert common_name(x509.load_pem_x509_certificate(pair.certificate)) == "coffer-operator"


@pytest.mark.parametrize("junk", [b"", b"junk"])
def test_what_is_no_certificate_gives_no_fact(authority: Authority, junk: bytes) -> None:
    assert authority.read(junk, authority.pem) is None
    assert authority.read(authority.pem, junk) is None


def test_a_key_that_does_not_fit_is_refused() -> None:
    one, two = new_authority(NOW), new_authority(NOW)
    with pytest.raises(ValueError, match="not its certificate's"):
        Authority(Pair(one.certificate, two.key), now)


def test_the_authority_signs_no_other_authority(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.pem)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


async def test_two_operators_that_start_at_once_have_one_authority() -> None:
    server = ApiServer(random.Random(0), now)
    server.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "coffer-system"}}
    )
    loads = (Authority.load(SimClient(server), "coffer-system", now) for _ in range(3))
    found = await asyncio.gather(*loads)
    assert len({authority.fingerprint for authority in found}) == 1
    assert server.get(SECRET, "coffer-system", AUTHORITY_SECRET)["type"] == "kubernetes.io/tls"
