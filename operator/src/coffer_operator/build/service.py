"""The three Services of an instance and its group (design §7)."""

from coffer_common import naming
from coffer_operator.build.identity import Identity, Object


def _port(port: int) -> Object:
    # No name: the ports of the slice that the agent writes have none either, and kube-proxy
    # brings the two together by name.
    return {"port": port, "protocol": "TCP", "targetPort": port}


def instance_service(identity: Identity, port: int) -> Object:
    """`<name>`: leads to this instance whatever its readiness; the engine answers or refuses."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.name),
        "spec": {
            "type": "ClusterIP",
            "selector": {naming.LABEL_INSTANCE: identity.name},
            "publishNotReadyAddresses": True,
            "ports": [_port(port)],
        },
    }


def read_write_service(identity: Identity, port: int) -> Object:
    """`<group>-rw`: no selector; its addresses are written by the source's agent."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _group_metadata(identity, naming.read_write_service(identity.group)),
        "spec": {"type": "ClusterIP", "ports": [_port(port)]},
    }


def read_only_service(identity: Identity, port: int) -> Object:
    """`<group>-ro`: the ready pods of the group that bear the read-only label."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _group_metadata(identity, naming.read_only_service(identity.group)),
        "spec": {
            "type": "ClusterIP",
            "selector": {
                naming.LABEL_GROUP: identity.group,
                naming.LABEL_READ_ONLY: "true",
            },
            "ports": [_port(port)],
        },
    }


def _group_metadata(identity: Identity, name: str) -> Object:
    # The annotation tells a group's Services from others of that name: a new instance keeps away
    # from the former (another group id) and is stopped by the latter (NameTaken).
    return identity.metadata(name, annotations={naming.ANNOTATION_GROUP: identity.group})
