"""While nothing changes, nothing is written."""

import time

import pytest

from e2e_kube import PATHS, Object, Space, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e
QUIET_S = 30
KINDS = [kind for kind in PATHS if kind not in ("namespace", "webhook")]


def versions(space: Space) -> dict[tuple[str, str], str]:
    """resourceVersion of every object of the namespace: any write moves one."""
    found: list[Object] = [o for kind in KINDS for o in space.kube.items(kind, space.name)]
    return {(o["kind"], o["metadata"]["name"]): o["metadata"]["resourceVersion"] for o in found}


def test_converged_instance_causes_no_write(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    settled: list[dict[tuple[str, str], str]] = [{}]

    def settle() -> bool:
        before, settled[0] = settled[0], versions(space)
        return before == settled[0]

    wait_until("two equal looks", settle)
    until = time.monotonic() + QUIET_S
    wait_until("the quiet time is over", lambda: time.monotonic() > until)
    assert versions(space) == settled[0]


def test_hand_edited_child_is_repaired(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    space.kube.run(
        "patch",
        "service",
        "db-rw",
        "-n",
        space.name,
        "--type=merge",
        '-p={"metadata":{"labels":{"coffer.dev/instance":"other"}}}',
    )
    space.kube.run("delete", "networkpolicy", "-n", space.name, "--all")

    def repaired() -> bool:
        service = space.get("service", "db-rw")
        assert service is not None
        labels = service["metadata"]["labels"]
        return labels.get("coffer.dev/instance") == "db" and bool(
            space.kube.items("networkpolicy", space.name)
        )

    wait_until("label and NetworkPolicy are back", repaired)
