"""A long chain is known again from the bucket alone, to its tip."""

import pytest

from coffer_cluster.cluster import Cluster
from e2e_backup import (
    Scene,
    backup,
    checksums,
    from_backup,
    set_scene,
    shop,
    status,
    wait_completed,
)
from e2e_kube import Space, query
from e2e_manifests import API_VERSION

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Scene:
    return set_scene(shared_space, cluster)


def test_a_chain_of_seven_is_adopted_and_restored(scene: Scene) -> None:
    space = scene.space
    paths = []
    for number in range(7):
        with space.mysql("db", "app") as connection:
            query(connection, f"INSERT INTO shop.items (pad) VALUES ('{number}')")
        kind = "incremental" if number else "full"
        space.apply(backup(f"day{number}", "db", type=kind))
        done = wait_completed(space, f"day{number}")
        assert (done["type"], done.get("depth", 0)) == (kind, number)
        paths.append(done["path"])
    before = checksums(space, "db")
    for number in range(7):
        space.patch("backup", f"day{number}", {"spec": {"deletionPolicy": "Retain"}})
    names = [f"day{number}" for number in range(7)]
    space.kubectl("delete", "dbb", *names)
    for number, path in enumerate(paths):
        again = {
            "apiVersion": API_VERSION,
            "kind": "Backup",
            "metadata": {"name": f"again{number}"},
            "spec": {
                "path": path,
                "storageRef": {"name": "store"},
                "deletionPolicy": "Retain",
            },
        }
        space.apply(again)
        wait_completed(space, f"again{number}")
    assert status(space, "again6")["depth"] == 6
    space.apply(shop("restored", restoreFrom=from_backup("again6")))
    space.wait_ready("restored", timeout_s=120)
    assert checksums(space, "restored") == before
