"""While nothing changes, nothing is written."""

import time

import pytest

from e2e_kube import CLUSTER_WIDE, PATHS, Object, Space, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e
QUIET_S = 30
SETTLED_S = 5
KINDS = [kind for kind in PATHS if kind not in CLUSTER_WIDE]


def versions(space: Space) -> dict[tuple[str, str], str]:
    """resourceVersion of every object of the namespace: any write moves one."""
    found: list[Object] = [o for kind in KINDS for o in space.kube.items(kind, space.name)]
    return {(o["kind"], o["metadata"]["name"]): o["metadata"]["resourceVersion"] for o in found}


def test_converged_instance_causes_no_write(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    settled = versions(space)
    since = time.monotonic()

    def settle() -> bool:
        nonlocal settled, since
        before, settled = settled, versions(space)
        if settled != before:
            since = time.monotonic()
        return time.monotonic() - since > SETTLED_S

    wait_until("kubelet and Kubernetes' controllers have written what they saw", settle)
    until = time.monotonic() + QUIET_S
    wait_until("the quiet time is over", lambda: time.monotonic() > until)
    assert versions(space) == settled


def test_hand_edited_child_is_repaired(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    other = {"metadata": {"labels": {"coffer.dev/instance": "other"}}}
    space.patch("service", "db-rw", other)
    space.kubectl("delete", "networkpolicy", "--all")

    def repaired() -> bool:
        service = space.get("service", "db-rw")
        assert service is not None
        labels = service["metadata"]["labels"]
        return labels.get("coffer.dev/instance") == "db" and bool(
            space.kube.items("networkpolicy", space.name)
        )

    wait_until("label and NetworkPolicy are back", repaired)
