"""Who gets into the guest API, and a certificate that is renewed. An agent without an engine."""

import contextlib
import http.client
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common import naming
from guest_certificates import Authority
from guest_harness import DEADLINE_S, Pod, until

pytestmark = pytest.mark.guest


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod("mariadb", "10.11", tmp_path)
    try:
        pod.start_agent()
        until("the agent answers", pod.status)
        yield pod
    finally:
        pod.close()


def refused(pod: Pod, context: ssl.SSLContext) -> bool:
    """In TLS 1.3 the client learns of it with the first answer, as an alert or a closed socket."""
    try:
        pod.ask_as(context, "GET", "/v1/status")
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return True
    return False


def test_only_the_operators_certificate_opens(pod: Pod) -> None:
    assert refused(pod, pod.authority.trusting()), "no certificate"
    stranger = Authority().client(naming.OPERATOR_COMMON_NAME, trusting=pod.authority)
    assert refused(pod, stranger), "another authority"
    other = pod.ask_as(pod.authority.client("one.tests.agent"), "GET", "/v1/status")
    assert other.status == 403
    assert other.body["reason"] == "Forbidden"
    unknown = pod.ask_as(pod.authority.client("one.tests.agent"), "GET", "/v1/nothing")
    assert unknown.status == 403
    assert pod.ask("GET", "/v1/status").status == 200
    old = pod.authority.client(naming.OPERATOR_COMMON_NAME)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(pod, old), "an old protocol"


def test_nothing_but_probes_without_a_certificate(pod: Pod) -> None:
    assert pod.probe("/livez").status == 200
    assert pod.probe("/readyz").status == 503
    for path in ("/v1/status", "/", "/metrics/x"):
        assert pod.probe(path).status == 404


def test_renewed_certificates_count_from_the_next_connection_on(pod: Pod) -> None:
    operator = pod.authority.client(naming.OPERATOR_COMMON_NAME)
    lasting = http.client.HTTPSConnection(
        "127.0.0.1", pod.agent_port, context=operator, timeout=DEADLINE_S
    )
    with contextlib.closing(lasting):
        lasting.request("GET", "/v1/status")
        assert lasting.getresponse().read()
        assert lasting.sock is not None
        before = lasting.sock

        # half a renewal: the old certificate serves on
        (pod.tls / "tls.key").write_text("nonsense")
        assert pod.ask("GET", "/v1/status").status == 200

        renewed = Authority()
        renewed.issue_server(pod.tls)
        assert refused(pod, operator), "it trusts the former authority"
        answer = pod.ask_as(renewed.client(naming.OPERATOR_COMMON_NAME), "GET", "/v1/status")
        assert answer.status == 200
        stale = pod.authority.client(naming.OPERATOR_COMMON_NAME, trusting=renewed)
        assert refused(pod, stale), "the former authority counts no more"

        lasting.request("GET", "/v1/status")
        assert lasting.getresponse().status == 200
        assert lasting.sock is before, "the connection has lived on"


def test_agent_waits_for_its_certificate(tmp_path: Path) -> None:
    pod = Pod("mariadb", "10.11", tmp_path)
    try:
        kept = pod.root / "kept"
        shutil.move(pod.tls, kept)
        pod.tls.mkdir()
        pod.start_agent()
        until("it says so", lambda: "waiting for a certificate" in pod.log("agent"))
        assert pod.probe("/livez").status == 200
        for path in kept.iterdir():
            shutil.copy(path, pod.tls)
            (pod.tls / path.name).chmod(0o644)
        until("the agent answers", pod.status)
    finally:
        pod.close()
