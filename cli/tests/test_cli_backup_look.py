"""backup list, show, and schedules: what they print and send."""

import json

import pytest

from cli_fake_api import FakeApi
from cli_objects import (
    BACKUPS,
    INSTANCES,
    SCHEDULES,
    STORAGES,
    Run,
    backup,
    condition,
    instance,
    ready_status,
    schedule,
    storage,
    taken,
)
from coffer_common.resources.schedule import BackupScheduleSpec

NIGHTLY = f"{SCHEDULES}/nightly"
PROOF = {"time": "2026-01-02T00:00:00Z", "result": "Passed", "message": "12 tables are sound"}


@pytest.fixture
def backups(api: FakeApi) -> None:
    first = taken("u/base/1", verified=PROOF | {"durationSeconds": 93}, children=["monday"])
    position = {"gtid": "0-1-42", "toLsn": "900"}
    api.put(f"{BACKUPS}/sunday", backup("sunday", first | {"position": position, "keyId": "k1"}))
    second = taken("u/base/2", parent="u/base/1", type="incremental")
    api.put(f"{BACKUPS}/monday", backup("monday", second | {"startedAt": "2026-01-02T00:00:00Z"}))
    running = {"phase": "Running", "message": "taken", "progress": {"bytesDone": 5, "percent": 7}}
    api.put(f"{BACKUPS}/now", backup("now", running, instanceRef={"name": "billing"}))


@pytest.mark.usefixtures("backups")
def test_list_has_the_newest_first(run: Run) -> None:
    lines = run("backup", "list").stdout.splitlines()
    assert lines[0].split()[:6] == ["NAME", "INSTANCE", "TYPE", "PHASE", "DONE", "SIZE"]
    assert [line.split()[0] for line in lines[1:]] == ["now", "monday", "sunday"]
    assert lines[1].split()[:5] == ["now", "billing", "full", "Running", "7%"]
    assert lines[3].split()[:7] == [
        "sunday",
        "orders",
        "full",
        "Completed",
        "100%",
        "753KiB",
        "Passed",
    ]


@pytest.mark.usefixtures("backups")
def test_list_of_one_instance(run: Run) -> None:
    lines = run("backup", "list", "billing", "-o", "wide").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "now"]
    assert "No resources found" in run("backup", "list", "nobody").stderr


@pytest.mark.usefixtures("backups")
def test_show_tells_all_of_it(run: Run) -> None:
    text = run("backup", "show", "sunday").stdout
    facts = {line.split(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}
    assert facts["Size"] == "753KiB, of 17MiB"
    assert facts["Engine"] == "mariadb 10.11.6-MariaDB"
    assert facts["GTID"] == "0-1-42"
    assert facts["LSN"] == "0 to 900"
    assert facts["Needed by"] == "monday"
    assert facts["Verified"].startswith("Passed ")
    assert facts["Verified"].endswith("ago, in 93s: 12 tables are sound")
    assert facts["Key"] == "k1"
    assert "Parent:" not in text


@pytest.mark.usefixtures("backups")
def test_show_names_the_parent(run: Run, api: FakeApi) -> None:
    assert "Parent:           sunday\n" in run("backup", "show", "monday").stdout
    api.remove(f"{BACKUPS}/sunday")
    assert "u/base/1 (no Backup here)" in run("backup", "show", "monday").stdout
    assert run("backup", "show", "sunday").exit_code == 3


@pytest.mark.usefixtures("backups")
def test_show_as_json(run: Run) -> None:
    shown = json.loads(run("backup", "show", "monday", "-o", "json").stdout)
    assert shown["status"]["path"] == "u/base/2"


def test_an_instance_tells_of_its_backups(run: Run, api: FakeApi) -> None:
    found = ready_status() | {
        "lastBackup": {"name": "sunday", "time": "2026-01-01T00:00:16Z"},
        "restore": {"phase": "Completed", "path": "u/base/1"},
    }
    made = instance(restoreFrom={"backupRef": {"name": "old"}})
    api.put(f"{INSTANCES}/orders", made | {"status": found})
    text = run("show", "orders").stdout
    assert "Restored from:        old: Completed\n" in text
    assert "Last backup:          sunday, " in text


# --- schedules ------------------------------------------------------------------------------------
CREATE = ("backup", "schedule", "create", "orders", "--full", "0 2 * * 0")


@pytest.fixture
def there(api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance())
    api.put(f"{STORAGES}/store", storage())


@pytest.mark.usefixtures("there")
def test_a_schedule_is_made(run: Run, api: FakeApi) -> None:
    done = run(*CREATE)
    assert done.stdout == "backupschedule.coffer.dev/orders created\n"
    assert api.bodies[0]["spec"] == {
        "instanceRef": {"name": "orders"},
        "storageRef": {"name": "store"},
        "full": {"cron": "0 2 * * 0"},
    }


@pytest.mark.usefixtures("there")
def test_a_schedule_with_everything(run: Run, api: FakeApi) -> None:
    times = ("--incremental", "@daily", "--verify", "@weekly", "--time-zone", "Europe/Berlin")
    keep = ("--keep-count", "2", "--keep-age", "30d", "--keep-daily", "7", "--keep-weekly", "4")
    more = ("--keep-monthly", "12", "--concurrency", "Queue", "--deletion-policy", "Retain")
    done = run(*CREATE, "--name", "nightly", *times, *keep, *more)
    assert done.exit_code == 0, done.stderr
    spec = api.bodies[0]["spec"]
    BackupScheduleSpec.model_validate(spec)
    assert spec["retention"] == {
        "count": 2,
        "maxAge": "30d",
        "daily": 7,
        "weekly": 4,
        "monthly": 12,
    }
    assert (spec["incremental"], spec["verify"]) == ({"cron": "@daily"}, {"cron": "@weekly"})
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Europe/Berlin", "Queue")


BAD = [
    (("--keep-age", "often"), "retention.maxAge"),
    (("--keep-count", "0"), "retention.count"),
    (("--name", "n" * 41), "metadata.name must have at most 40 characters"),
]


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(("options", "words"), BAD)
def test_a_schedule_that_is_wrong(
    run: Run, api: FakeApi, options: tuple[str, ...], words: str
) -> None:
    done = run(*CREATE, *options)
    assert (done.exit_code, api.bodies, len(done.stderr.splitlines())) == (2, [], 1)
    assert words in done.stderr


STATUS = {
    "conditions": [condition("Ready", "True", "the next full backup is due")],
    "lastFull": {"time": "2026-01-04T02:00:00Z", "name": "nightly-full-1", "phase": "Completed"},
    "nextFull": "2026-01-11T02:00:00Z",
    "nextIncremental": "2026-01-05T00:00:00Z",
    "lastSuccess": "2026-01-04T02:01:00Z",
}


@pytest.fixture
def nightly(api: FakeApi) -> None:
    api.put(
        NIGHTLY, schedule(status=STATUS, incremental={"cron": "@daily"}, retention={"count": 3})
    )
    made = backup("nightly-full-1", taken())
    made["metadata"]["labels"] = {"coffer.dev/backup-schedule": "nightly"}
    api.put(f"{BACKUPS}/nightly-full-1", made)
    api.put(f"{BACKUPS}/other", backup("other", taken()))


@pytest.mark.usefixtures("nightly")
def test_schedules_are_listed_with_what_is_next(run: Run) -> None:
    done = run("backup", "schedule", "list", "-o", "wide")
    assert "LAST SUCCESS" in done.stdout
    line = done.stdout.splitlines()[1]
    assert "2026-01-05T00:00:00Z" in line, "the increment comes before the next full one"
    assert "0 2 * * 0" in line


@pytest.mark.usefixtures("nightly")
def test_a_schedule_tells_of_its_runs_and_backups(run: Run) -> None:
    text = run("backup", "schedule", "show", "nightly").stdout
    assert "Retention:        3 full ones\n" in text
    runs = text[text.index("Runs:") : text.index("Backups:")]
    assert "2026-01-04T02:00:00Z   Completed   nightly-full-1   2026-01-11T02:00:00Z" in runs
    assert "verify" not in runs
    made = text[text.index("Backups:") : text.index("Conditions:")]
    assert "nightly-full-1" in made
    assert "other" not in made


@pytest.mark.usefixtures("nightly")
def test_a_schedule_is_suspended_and_resumed(run: Run, api: FakeApi) -> None:
    words = [run("backup", "schedule", word, "nightly").stdout for word in ("suspend",) * 2]
    assert [text.split()[1] for text in words] == ["suspended", "unchanged"]
    assert api.objects[NIGHTLY]["spec"]["suspend"] is True
    assert run("backup", "schedule", "resume", "nightly").stdout.split()[1] == "resumed"
    assert api.objects[NIGHTLY]["spec"]["suspend"] is False
    assert len(api.bodies) == 2


@pytest.mark.usefixtures("nightly")
def test_a_schedule_is_deleted_and_its_backups_stay(run: Run, api: FakeApi) -> None:
    assert run("backup", "schedule", "delete", "nightly").exit_code == 2
    assert run("backup", "schedule", "delete", "nightly", "--yes").exit_code == 0
    assert NIGHTLY not in api.objects
    assert f"{BACKUPS}/nightly-full-1" in api.objects
