"""The NetworkPolicy of an instance's pod: who may reach which port."""

from typing import Any

from coffer_common import naming
from coffer_operator.build.identity import OPERATOR_LABELS, Identity, Object


def _port(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}


def network_policy(identity: Identity, port: int, operator_namespace: str) -> Object:
    """The engine's port is open; the agent's to operator and group; probes and metrics are open.

    Where the operator's namespace is not known, its pods' labels count in every namespace: the
    agent asks for a client certificate in any case.
    """
    operator: dict[str, Any] = {
        "namespaceSelector": (
            {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}
            if operator_namespace
            else {"matchExpressions": [_ANY_NAMESPACE]}
        ),
        "podSelector": {"matchLabels": dict(OPERATOR_LABELS)},
    }
    group = {"podSelector": {"matchLabels": {naming.LABEL_GROUP: identity.group}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(identity.name),
        "spec": {
            "podSelector": {"matchLabels": {naming.LABEL_INSTANCE: identity.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [_port(port)]},
                {"ports": [_port(naming.AGENT_PORT)], "from": [operator, group]},
                {"ports": [_port(naming.PROBE_PORT)]},
            ],
        },
    }


# Every namespace has this label; a selector that is not empty survives the pruning of digests.
_ANY_NAMESPACE = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}
