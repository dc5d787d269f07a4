"""The EndpointSlice behind `<group>-rw`, without what the agent writes.

`endpoints`, `ports` and the epoch belong to the source's agent: an apply that names them, even
empty, would take them away.
"""

from coffer_common import naming
from coffer_operator.build.identity import Identity, Object


def read_write_slice(identity: Identity) -> Object:
    """The slice's metadata and address type."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": identity.metadata(
            naming.read_write_slice(identity.group),
            labels={
                "kubernetes.io/service-name": naming.read_write_service(identity.group),
                "endpointslice.kubernetes.io/managed-by": naming.ENDPOINTSLICE_MANAGED_BY,
            },
        ),
        "addressType": "IPv4",
    }
