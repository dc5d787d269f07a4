"""kubectl coffer backup verify, load, restore."""

import pytest

from cli_backups import (
    ORDERS,
    SUNDAY,
    running,
)
from cli_fake_api import FakeApi
from cli_objects import (
    DATASTORES,
    INSTANCES,
    OPERATIONS,
    STORAGES,
    Run,
    backup,
    building_status,
    datastore_version,
    instance,
    ready_status,
    stalled_status,
    storage,
    taken,
)
from coffer_common.resources.operation import OperationSpec


@pytest.fixture(autouse=True)
def there(api: FakeApi) -> None:
    api.put(ORDERS, instance())
    api.put(f"{STORAGES}/store", storage())


# --- verify and load ------------------------------------------------------------------------------
PROOF = {
    "time": "2026-01-02T00:00:00Z",
    "result": "Passed",
    "message": "12 tables are sound",
    "durationSeconds": 93,
}


def test_verify_makes_an_operation(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    done = run("backup", "verify", "sunday")
    assert done.stdout == "operation.coffer.dev/sunday-verify-x7k2p created\n"
    spec = OperationSpec.model_validate(api.bodies[0]["spec"])
    assert spec.backup_ref is not None
    assert (spec.type, spec.backup_ref.name) == ("VerifyBackup", "sunday")
    assert (spec.instance_ref, spec.ttl_seconds_after_finished) == (None, 86400)
    assert spec.not_after is not None


def test_verify_follows_and_tells_what_was_proved(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    path = f"{OPERATIONS}/sunday-verify-x7k2p"
    api.script(
        path,
        lambda: api.patch_status(path, {"phase": "Running", "message": "is being restored"}),
        lambda: api.patch_status(SUNDAY, taken(verified=PROOF)),
        lambda: api.patch_status(path, {"phase": "Completed", "message": "12 tables are sound"}),
    )
    done = run("backup", "verify", "sunday", "--follow")
    assert done.exit_code == 0
    last = "backup.coffer.dev/sunday verified in 93s: 12 tables are sound"
    assert done.stdout.splitlines()[-1] == last


def test_verify_ends_as_the_proof_ends(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    path = f"{OPERATIONS}/sunday-verify-x7k2p"
    failed = {"phase": "Failed", "message": "the table shop.orders is corrupt"}
    api.script(path, lambda: api.patch_status(path, failed))
    done = run("backup", "verify", "sunday", "--follow")
    assert done.exit_code == 1
    assert "Failed: the table shop.orders is corrupt" in done.stderr


def test_verify_of_what_has_failed(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status={"phase": "Failed", "message": "no room"}))
    done = run("backup", "verify", "sunday")
    assert (done.exit_code, api.bodies) == (2, [])
    assert "cannot be verified: Failed: no room" in done.stderr
    assert run("backup", "verify", "nothing").exit_code == 3


def test_load_replaces_tables_of_an_instance(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    assert run("backup", "load", "sunday", "orders").exit_code == 2
    path = f"{OPERATIONS}/orders-restore-x7k2p"
    api.script(path, lambda: api.patch_status(path, {"phase": "Completed", "message": "loaded"}))
    done = run("backup", "load", "sunday", "orders", "--yes", "--follow")
    assert done.exit_code == 0, done.stderr
    spec = OperationSpec.model_validate(api.bodies[0]["spec"])
    assert spec.type == "RestoreDatabases"
    assert spec.instance_ref is not None
    assert spec.instance_ref.name == "orders"
    assert spec.databases == ()
    assert done.stdout.endswith("databaseinstance.coffer.dev/orders loaded from sunday: loaded\n")


def test_load_of_some_databases_shows_how_far_it_is(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    path = f"{OPERATIONS}/orders-restore-x7k2p"
    api.script(
        path,
        lambda: api.patch_status(path, running(42)),
        lambda: api.patch_status(path, {"phase": "Completed", "message": "loaded a, b of x"}),
    )
    names = ("--database", "a", "--database", "b")
    done = run("backup", "load", "sunday", "orders", *names, "--yes", "--follow")
    assert done.exit_code == 0, done.stderr
    assert OperationSpec.model_validate(api.bodies[0]["spec"]).databases == ("a", "b")
    assert "(42%, 420MiB of 1000MiB, 80MiB/s)" in done.stderr


# --- restore --------------------------------------------------------------------------------------
AGAIN = f"{INSTANCES}/again"
RESTORE = ("backup", "restore", "sunday", "again")


def test_restore_makes_one_like_the_other(run: Run, api: FakeApi) -> None:
    api.put(ORDERS, instance(configurationRef={"name": "conf"}, deletionProtection=True))
    api.put(SUNDAY, backup(status=taken()))
    done = run(*RESTORE)
    assert done.exit_code == 0, done.stderr
    [sent] = api.bodies
    assert sent["metadata"]["name"] == "again"
    assert sent["spec"] == {
        "flavor": "small",
        "volume": {"size": "10Gi"},
        "databases": [{"name": "shop"}],
        "users": [{"name": "app", "databases": ["shop"]}],
        "configurationRef": {"name": "conf"},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "restoreFrom": {"backupRef": {"name": "sunday"}},
    }


def test_restore_with_other_sizes_of_an_instance_that_is_gone(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    api.put(f"{DATASTORES}/mariadb-10.11", datastore_version())
    api.put(f"{DATASTORES}/mariadb-11.4", datastore_version(version="11.4"))
    api.remove(ORDERS)
    done = run(*RESTORE)
    assert (done.exit_code, api.bodies) == (2, [])
    assert "--flavor and --volume must be given" in done.stderr
    run(*RESTORE, "--flavor", "large", "--volume", "20Gi", "--storage-class", "fast")
    assert api.bodies[0]["spec"] == {
        "datastore": {"type": "mariadb", "version": "10.11"},
        "flavor": "large",
        "volume": {"size": "20Gi", "storageClassName": "fast"},
        "restoreFrom": {"backupRef": {"name": "sunday"}},
    }


def test_restore_from_a_location_alone(run: Run, api: FakeApi) -> None:
    place = ("--location", "store", "u-1/base/b-1")
    options = ("--datastore", "mariadb:10.11", "--flavor", "small", "--volume", "1Gi")
    done = run("backup", "restore", *place, "again", *options)
    assert done.exit_code == 0, done.stderr
    location = {"storageRef": {"name": "store"}, "path": "u-1/base/b-1"}
    assert api.bodies[0]["spec"]["restoreFrom"] == {"location": location}
    done = run("backup", "restore", *place, "again")
    assert "--datastore and --flavor and --volume must be given" in done.stderr
    done = run("backup", "restore", "--location", "store", "elsewhere", "again", *options)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "restoreFrom.location.path" in done.stderr


@pytest.mark.parametrize("names", [(), ("sunday",), ("a", "b", "c")])
def test_restore_needs_two_names(run: Run, names: tuple[str, ...]) -> None:
    done = run("backup", "restore", *names)
    assert done.exit_code == 2
    assert "write BACKUP NEW-INSTANCE" in done.stderr


def test_restore_of_what_is_not_completed(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=running(3)))
    done = run(*RESTORE)
    assert (done.exit_code, api.bodies) == (2, [])
    assert "cannot be restored: Running: it is taken by orders" in done.stderr


def test_restore_follows_the_data_and_then_the_instance(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    progress = {"bytesDone": 512 * 1024**2, "bytesTotal": 1024**3, "bytesPerSecond": 1024**2}
    restoring = building_status("the data are being restored from u-1/base/b-1")
    restoring["restore"] = {"phase": "Running", "progress": progress}
    api.script(
        AGAIN,
        lambda: api.patch_status(AGAIN, restoring),
        lambda: api.patch_status(AGAIN, ready_status("again")),
    )
    done = run(*RESTORE, "--follow")
    assert done.exit_code == 0
    assert "(50%, 512MiB of 1.0GiB, 1.0MiB/s)" in done.stderr
    assert "databaseinstance.coffer.dev/again ready" in done.stdout


def test_restore_ends_as_the_restore_ends(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    why = "the backup at u-1/base/b-1 could not be restored: Damaged: a part was altered"
    api.script(AGAIN, lambda: api.patch_status(AGAIN, stalled_status(why)))
    done = run(*RESTORE, "--follow")
    assert done.exit_code == 1
    assert why in done.stderr
