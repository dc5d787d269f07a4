"""backup create, delete, verify, load, restore: what they send, show, and how they end."""

import io

import pytest
import yaml
from rich.console import Console

from cli_backups import (
    ORDERS,
    SUNDAY,
    running,
)
from cli_fake_api import FakeApi, status
from cli_objects import (
    BACKUPS,
    STORAGES,
    Run,
    backup,
    instance,
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

CREATE = ("backup", "create", "orders", "--name", "sunday")


@pytest.fixture(autouse=True)
def there(api: FakeApi) -> None:
    api.put(ORDERS, instance())
    api.put(f"{STORAGES}/store", storage())


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
        "backup.coffer.dev/sunday completed in 16s: full backup of 17MiB, 753KiB stored",
    ]
    assert done.stderr.splitlines() == [
        "sunday: New: waiting for the operator to take notice",
        "sunday: New: waits for its turn",
        "sunday: Running: it is taken by orders (3%, 30MiB of 1000MiB, 80MiB/s)",
        "sunday: Running: it is taken by orders (42%, 420MiB of 1000MiB, 80MiB/s)",
        "sunday: Completed: full backup of 17MiB, 753KiB stored",
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
