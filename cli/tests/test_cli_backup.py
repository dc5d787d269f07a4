"""backup create, delete, verify, load, restore: what they send, show, and how they end."""

import io
from typing import Any

import pytest
import yaml
from rich.console import Console

from cli_fake_api import FakeApi, status
from cli_objects import (
    BACKUPS,
    DATASTORES,
    INSTANCES,
    OPERATIONS,
    STORAGES,
    Object,
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
from coffer_cli import judge
from coffer_cli.commands.backup import delete as delete_module
from coffer_cli.commands.backup import group as group_module
from coffer_cli.commands.backup import schedule as schedule_module
from coffer_cli.judge import Meter, View
from coffer_cli.live import LiveProgress
from coffer_common.resources.backup import BackupPhase, BackupSpec
from coffer_common.resources.operation import OperationSpec

ORDERS = f"{INSTANCES}/orders"
SUNDAY = f"{BACKUPS}/sunday"
CREATE = ("backup", "create", "orders", "--name", "sunday")


@pytest.fixture(autouse=True)
def there(api: FakeApi) -> None:
    api.put(ORDERS, instance())
    api.put(f"{STORAGES}/store", storage())


def running(percent: int, **more: Any) -> Object:
    progress = {
        "bytesDone": percent * 10 * 1024**2,
        "bytesTotal": 1000 * 1024**2,
        "bytesPerSecond": 80 * 1024**2,
    }
    return {"phase": "Running", "message": "it is taken by orders", "progress": progress, **more}


# --- the list of commands -------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(group_module.COMMANDS))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    done = run("backup", name, "-h")
    assert done.exit_code == 0
    assert f"Usage: kubectl coffer backup {name}" in done.stdout


@pytest.mark.parametrize("name", list(schedule_module.COMMANDS))
def test_every_command_of_schedules_explains_itself(run: Run, name: str) -> None:
    done = run("backup", "schedule", name, "-h")
    assert done.exit_code == 0
    assert f"Usage: kubectl coffer backup schedule {name}" in done.stdout


# --- create ---------------------------------------------------------------------------------------
def test_create_names_it_and_finds_the_storage(run: Run, api: FakeApi) -> None:
    done = run("backup", "create", "orders")
    assert done.exit_code == 0, done.stderr
    [sent] = api.bodies
    assert sent["metadata"]["name"].startswith("orders-full-20")
    assert sent["spec"] == {
        "instanceRef": {"name": "orders"},
        "storageRef": {"name": "store"},
        "type": "full",
    }
    assert done.stdout == f"backup.coffer.dev/{sent['metadata']['name']} created\n"
    assert api.asked("WATCH") == []


def test_create_into_a_storage_that_is_not_there(run: Run, api: FakeApi) -> None:
    done = run(*CREATE, "--storage", "other")
    assert done.exit_code == 3
    assert "other" in done.stderr
    assert api.bodies == []


def test_create_with_everything(run: Run, api: FakeApi) -> None:
    api.put(f"{STORAGES}/other", storage("other"))
    options = ("--parent", "saturday", "--storage", "other", "--keep", "--deletion-policy")
    done = run(*CREATE, *options, "Retain", "--strategy", "X", "--database", "shop")
    assert done.exit_code == 0, done.stderr
    [sent] = api.bodies
    BackupSpec.model_validate(sent["spec"])
    assert sent["spec"] == {
        "instanceRef": {"name": "orders"},
        "storageRef": {"name": "other"},
        "type": "incremental",
        "parentRef": {"name": "saturday"},
        "strategy": "X",
        "databases": ["shop"],
        "keep": True,
        "deletionPolicy": "Retain",
    }


def test_create_follows_to_the_end(run: Run, api: FakeApi) -> None:
    api.script(
        SUNDAY,
        lambda: api.patch_status(SUNDAY, {"phase": "New", "message": "waits for its turn"}),
        lambda: api.patch_status(SUNDAY, running(3)),
        lambda: api.patch_status(SUNDAY, running(7)),
        lambda: api.patch_status(SUNDAY, running(42)),
        lambda: api.patch_status(SUNDAY, taken()),
    )
    done = run(*CREATE, "--follow")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "backup.coffer.dev/sunday created",
        "backup.coffer.dev/sunday completed in 16s, 753KiB stored: "
        "full backup of 17.6 MB, 0.8 MB stored",
    ]
    assert done.stderr.splitlines() == [
        "sunday: New: waiting for the operator to take notice",
        "sunday: New: waits for its turn",
        "sunday: Running: it is taken by orders (3%, 30MiB of 1000MiB, 80MiB/s)",
        "sunday: Running: it is taken by orders (42%, 420MiB of 1000MiB, 80MiB/s)",
        "sunday: Completed: full backup of 17.6 MB, 0.8 MB stored",
    ]


def test_create_ends_as_the_backup_ends(run: Run, api: FakeApi) -> None:
    failed = {"phase": "Failed", "message": "attempt 3 failed: NoSpace: the bucket is full"}
    api.script(SUNDAY, lambda: api.patch_status(SUNDAY, failed))
    done = run(*CREATE, "--follow")
    assert done.exit_code == 1
    assert done.stderr.endswith(
        "error: backup.coffer.dev/sunday: Failed: attempt 3 failed: NoSpace: the bucket is full\n"
    )


def test_create_gives_up_in_time(run: Run, api: FakeApi) -> None:
    api.script(SUNDAY, lambda: api.patch_status(SUNDAY, running(3)))
    done = run(*CREATE, "--follow", "--timeout", "0.2")
    assert done.exit_code == 4
    assert SUNDAY in api.objects


BAD = [
    (("--full", "--incremental"), 2, "--full and --incremental: give one of them"),
    (("--full", "--parent", "x"), 2, "--full and --parent: give one of them"),
    (("--database", "shop"), 2, "--database needs --strategy, such as MySQLDump"),
    (("--name", "No Name"), 2, "'No Name' is not the name of anything in Kubernetes"),
    (("--parent", "x" * 300), 2, "parentRef.name"),
]


@pytest.mark.parametrize(("options", "code", "words"), BAD)
def test_create_says_what_is_wrong(
    run: Run, api: FakeApi, options: tuple[str, ...], code: int, words: str
) -> None:
    done = run("backup", "create", "orders", *options)
    assert (done.exit_code, api.bodies) == (code, [])
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_create_of_what_is_not_there(run: Run, api: FakeApi) -> None:
    assert run("backup", "create", "nobody").exit_code == 3
    api.put(f"{STORAGES}/other", storage("other"))
    done = run(*CREATE)
    assert (done.exit_code, done.stderr) == (2, "error: --storage: choose one of other, store\n")
    for name in ("store", "other"):
        api.remove(f"{STORAGES}/{name}")
    assert "there is no BackupStorage in shop" in run(*CREATE).stderr


def test_create_tells_what_the_webhook_says(run: Run, api: FakeApi) -> None:
    words = "redis-7.0 offers no incremental backups; make a Backup of type full"
    text = f'admission webhook "validate.coffer.dev" denied the request: {words}'
    api.refuse("POST", BACKUPS, status(422, "Invalid", text))
    done = run(*CREATE, "--incremental")
    assert (done.exit_code, done.stderr) == (2, f"error: {words}\n")


def test_create_prints_the_manifest_that_it_would_send(run: Run, api: FakeApi) -> None:
    shown = run(*CREATE, "--dry-run", "client", "-o", "yaml")
    assert api.bodies == []
    run(*CREATE)
    assert yaml.safe_load(shown.stdout) == api.bodies[0]


def test_a_terminal_has_a_bar_and_a_rate() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=160)
    with LiveProgress("sunday", console) as shown:
        shown.show(View("Running", "taken", meter=Meter(42 * 1024**2, 100 * 1024**2, 8 * 1024**2)))
    text = written.getvalue()
    assert "42%, 42MiB of 100MiB, 8.0MiB/s" in text
    assert "━" in text


def test_judging_knows_every_phase_of_a_backup() -> None:
    ends = {phase: judge.backup({"status": {"phase": phase}}).outcome for phase in BackupPhase}
    assert ends == {
        BackupPhase.NEW: judge.Outcome.PENDING,
        BackupPhase.RUNNING: judge.Outcome.PENDING,
        BackupPhase.COMPLETED: judge.Outcome.DONE,
        BackupPhase.FAILED: judge.Outcome.FAILED,
        BackupPhase.DELETING: judge.Outcome.PENDING,
    }


# --- delete ---------------------------------------------------------------------------------------
@pytest.fixture
def chain(api: FakeApi) -> None:
    """sunday, monday on it, tuesday on that; and other, on nothing."""
    api.put(SUNDAY, backup("sunday", taken("u/base/1", children=["monday"])))
    api.put(f"{BACKUPS}/monday", backup("monday", taken("u/base/2", parent="u/base/1")))
    api.put(f"{BACKUPS}/tuesday", backup("tuesday", taken("u/base/3", parent="u/base/2")))
    api.put(f"{BACKUPS}/other", backup("other", taken("u/base/4")))


def test_delete_waits_until_it_is_gone(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup(status=taken()))
    done = run("backup", "delete", "sunday", "--yes")
    assert (done.exit_code, done.stdout) == (0, "backup.coffer.dev/sunday deleted\n")
    assert SUNDAY not in api.objects


def test_delete_says_what_holds_it_up(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put(SUNDAY, backup(status=taken()))
    blocked = taken() | {"phase": "Deleting", "message": "the storage does not answer"}
    monkeypatch.setattr(api, "remove", lambda path: api.patch_status(path, blocked))
    done = run("backup", "delete", "sunday", "--yes", "--timeout", "0.2")
    assert done.exit_code == 4
    assert "sunday: Deleting: the storage does not answer" in done.stderr
    assert "still there after 0.2 s (the storage does not answer)" in done.stderr


@pytest.mark.usefixtures("chain")
def test_delete_refuses_what_others_need(run: Run, api: FakeApi) -> None:
    done = run("backup", "delete", "sunday", "--yes")
    assert done.exit_code == 5
    assert "is needed by tuesday, monday; delete them first" in done.stderr
    assert SUNDAY in api.objects


@pytest.mark.usefixtures("chain")
def test_delete_takes_the_chain_along(run: Run, api: FakeApi) -> None:
    done = run("backup", "delete", "sunday", "--yes", "--cascade")
    assert done.exit_code == 0, done.stderr
    names = [path.rsplit("/", 1)[-1] for path in api.asked("DELETE")]
    assert names == ["tuesday", "monday", "sunday"], "children first"
    marked = [path.rsplit("/", 1)[-1].partition("?")[0] for path in api.asked("PATCH")]
    assert marked == names
    mark = {"metadata": {"annotations": {"coffer.dev/delete-chain": "true"}}}
    assert mark in api.bodies
    assert [path for path in api.objects if path.startswith(f"{BACKUPS}/")] == [f"{BACKUPS}/other"]


@pytest.mark.usefixtures("chain")
def test_delete_asks_and_says_what_goes(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("backup", "delete", "other").exit_code == 2
    monkeypatch.setattr(delete_module, "_can_ask", lambda: True)
    done = run("backup", "delete", "monday", "--cascade", stdin="n\n")
    assert done.exit_code == 1
    assert "Delete backup monday and tuesday, which need it?" in done.stderr
    assert "what is in the bucket is DELETED" in done.stderr
    assert api.asked("DELETE") == []


def test_delete_tells_what_is_kept(run: Run, api: FakeApi) -> None:
    api.put(SUNDAY, backup("sunday", taken("u/base/1"), deletionPolicy="Retain"))
    api.put(f"{BACKUPS}/monday", backup("monday", taken("u/base/2", parent="u/base/1")))
    done = run("backup", "delete", "sunday", "--yes")
    assert done.stdout.splitlines() == [
        "backup.coffer.dev/sunday deleted",
        "s3://backups/u/base/1 kept",
    ]


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
    assert done.stdout.endswith("databaseinstance.coffer.dev/orders loaded from sunday: loaded\n")


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
