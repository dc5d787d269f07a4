"""ServiceAccount, Role and RoleBinding of an agent: its group's slice by name, nothing else."""

from collections.abc import Sequence

from coffer_common import naming
from coffer_operator.build.identity import Identity, Object


def service_account(identity: Identity, pull_secrets: Sequence[str] = ()) -> Object:
    """The account of the pod; its token is mounted into the agent alone.

    A pod that is made gets the pull secrets of its account, and keeps them.
    """
    secrets = [{"name": name} for name in pull_secrets]
    return {
        **({"imagePullSecrets": secrets} if secrets else {}),
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": identity.metadata(identity.account),
        "automountServiceAccountToken": False,
    }


def role(identity: Identity) -> Object:
    """Reading and writing the one slice of the group."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": identity.metadata(identity.account),
        "rules": [
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "resourceNames": [naming.read_write_slice(identity.group)],
                "verbs": ["get", "patch"],
            }
        ],
    }


def role_binding(identity: Identity) -> Object:
    """Gives the Role to the account."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": identity.metadata(identity.account),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": identity.account,
        },
        "subjects": [
            {
                "kind": "ServiceAccount",
                "name": identity.account,
                "namespace": identity.namespace,
            }
        ],
    }
