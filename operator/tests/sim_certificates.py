"""Certificates without cryptography: what the operator does with them is the same.

The real issuer's keys cost a millisecond each and differ from run to run.
"""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from coffer_common import naming
from coffer_operator.kube.api import Object
from coffer_operator.plan.world import CertificateFact, World

LIFE = timedelta(days=30)


class SimCertificates:
    """Issuer and CertificateReader of one installation."""

    def __init__(self, now: Callable[[], datetime], fingerprint: str) -> None:
        self._now = now
        self.fingerprint = fingerprint
        self.issued = 0

    def secret(self, world: World) -> Object:
        metadata = world.instance.metadata
        self.issued += 1
        certificate = {
            "number": self.issued,
            "not_before": self._now().isoformat(),
            "not_after": (self._now() + LIFE).isoformat(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": naming.agent_tls(metadata.name),
                "namespace": metadata.namespace,
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
            "data": {
                "tls.crt": _encoded(json.dumps(certificate)),
                "tls.key": _encoded("key"),
                "ca.crt": _encoded(self.fingerprint),
            },
        }

    def read(self, certificate: bytes, authority: bytes) -> CertificateFact | None:
        try:
            content = json.loads(certificate)
        except ValueError:
            return None
        return CertificateFact(
            not_after=datetime.fromisoformat(content["not_after"]),
            not_before=datetime.fromisoformat(content["not_before"]),
            ca_fingerprint=authority.decode(),
            checksum=str(content["number"]),
        )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
